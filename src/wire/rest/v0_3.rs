//! HTTP+JSON 0.3: the paths of 1.0 below `/v1`, and bodies that are the JSON of 0.3's protobuf messages.

use bytes::Bytes;
use http::Method as Verb;
use serde_json::{Map, Value};

use super::{NoRoute, Route, Target, encoded, from_query, segment, takes_body, variables, verbs_of};
use crate::a2a::lenient;
use crate::a2a::v0_3::protobuf::Asked;
use crate::config::JsonLimits;
use crate::error::{Error, Kind};
use crate::operation::{METHODS, Method, Operation, Rpc, Version};
use crate::proto::v0_3 as pb;
use crate::wire::json;
use crate::wire::proto::v0_3;

/// What all paths begin with.
pub const PREFIX: &str = "/v1";

/// The path of an operation below the prefix: that of 1.0, but for the card's. None where 0.3 lacks the operation.
fn template(method: &'static Method) -> Option<&'static str> {
    match method.rpc {
        Rpc::GetExtendedAgentCard => Some("/card"),
        _ => method.http_0_3.as_ref().map(|_| method.http.1),
    }
}

/// The operation at `path`, which begins with a slash and is still percent-encoded.
///
/// # Errors
/// Why there is none.
pub fn find(verb: &Verb, path: &str) -> Result<Route, NoRoute> {
    let below = path.strip_prefix(PREFIX).and_then(|below| below.strip_prefix('/')).ok_or(NoRoute::Unknown)?;
    let segments: Vec<&str> = below.split('/').collect();
    let mut verbs: Vec<Verb> = Vec::new();
    for method in &METHODS {
        let Some(variables) = template(method).and_then(|template| variables(template, &segments)) else { continue };
        if verbs_of(method).contains(verb) {
            return Ok(Route { version: Version::V0_3, method, variables, tenant: String::new() });
        }
        verbs.extend(verbs_of(method));
    }
    Err(if verbs.is_empty() { NoRoute::Unknown } else { NoRoute::Verbs(verbs) })
}

/// Reads a request: its path, its query and its body, in which path variables win.
///
/// # Errors
/// InvalidRequest for a body that is no JSON object, InvalidParams that names the member.
pub fn read_request(route: &Route, query: Option<&str>, body: &Bytes, limits: &JsonLimits) -> Result<Operation, Error> {
    let rpc = route.method.rpc;
    let variable = |name: &str| {
        let found = route.variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let task = if is_about_push(rpc) { variable("taskId") } else { variable("id") };
    let name = format!("tasks/{task}");
    let config = format!("{name}/pushNotificationConfigs/{}", variable("id"));
    v0_3::operation(
        rpc,
        match rpc {
            Rpc::SendMessage | Rpc::SendStreamingMessage => {
                return v0_3::read_request_json(rpc, body, limits).map_err(as_body);
            }
            Rpc::CreatePushConfig => Asked::SetPush(push_config(body, name, limits)?),
            Rpc::CancelTask => return cancel(body, task, limits),
            Rpc::SubscribeToTask => Asked::Subscribe(pb::TaskSubscriptionRequest { name }),
            Rpc::GetPushConfig => Asked::GetPush(pb::GetTaskPushNotificationConfigRequest { name: config }),
            Rpc::DeletePushConfig => Asked::DeletePush(pb::DeleteTaskPushNotificationConfigRequest { name: config }),
            Rpc::ListPushConfigs => {
                Asked::ListPush(pb::ListTaskPushNotificationConfigRequest { parent: name, ..Default::default() })
            }
            Rpc::GetExtendedAgentCard => Asked::Card(pb::GetAgentCardRequest {}),
            Rpc::GetTask | Rpc::ListTasks => {
                let history_length = history_length(query.unwrap_or_default())?;
                Asked::Get(pb::GetTaskRequest { name, history_length })
            }
        },
    )
}

const fn is_about_push(rpc: Rpc) -> bool {
    matches!(rpc, Rpc::CreatePushConfig | Rpc::GetPushConfig | Rpc::ListPushConfigs | Rpc::DeletePushConfig)
}

fn as_body(error: Error) -> Error {
    match error.kind() {
        Kind::Parse => Error::new(Kind::InvalidRequest, "the body must be one JSON object"),
        _ => error,
    }
}

fn history_length(query: &str) -> Result<i32, Error> {
    let query = from_query(query)?;
    let text = ["historyLength", "history_length"].iter().find_map(|name| query.get(*name)?.as_str());
    text.map_or(Ok(0), |text| text.parse().map_err(|_| Error::invalid("historyLength", "must be a number")))
}

/// A cancellation's body says nothing that the path does not, but for metadata, which some send.
fn cancel(body: &Bytes, task: &str, limits: &JsonLimits) -> Result<Operation, Error> {
    let mut params = Map::new();
    if !body.is_empty() {
        json::scan_request(body, limits).map_err(as_body)?;
        let said: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        params.extend(said.into_iter().filter(|(name, _)| name == "metadata"));
    }
    params.insert("id".to_owned(), Value::from(task));
    let params = Bytes::from(Value::Object(params).to_string());
    Ok(json::read_request(Rpc::CancelTask, Version::V0_3, Some(params), limits)?.0)
}

/// A webhook: the whole request, as the Python SDKs send it; the config inside it, as the schema has it and the
/// JavaScript SDK sends it; or that in the words of JSON-RPC.
fn push_config(
    body: &Bytes,
    parent: String,
    limits: &JsonLimits,
) -> Result<pb::CreateTaskPushNotificationConfigRequest, Error> {
    json::scan_request(body, limits).map_err(as_body)?;
    if let Ok(whole) = serde_json::from_slice::<pb::CreateTaskPushNotificationConfigRequest>(body)
        && whole.config.is_some()
    {
        return Ok(pb::CreateTaskPushNotificationConfigRequest { parent, ..whole });
    }
    let inner = serde_json::from_slice::<pb::TaskPushNotificationConfig>(body).ok();
    let inner = inner.filter(|config| config.push_notification_config.is_some());
    let config = inner.or_else(|| lenient::push_config_v0_3(body)).ok_or_else(|| {
        Error::invalid("pushNotificationConfig", "is required: {\"pushNotificationConfig\": {\"url\": ..}}")
    })?;
    Ok(pb::CreateTaskPushNotificationConfigRequest { parent, config_id: String::new(), config: Some(config) })
}

/// The target of `operation`, with the prefix. A subscription goes by GET, as 0.3 has it.
///
/// # Errors
/// InvalidParams for an id that would lead elsewhere, UnsupportedOperation for what 0.3 lacks.
pub fn target(operation: &Operation) -> Result<Target, Error> {
    let method = operation.method();
    let missing = || Error::new(Kind::UnsupportedOperation, "the agent speaks A2A 0.3, which cannot list tasks");
    let template = template(method).ok_or_else(missing)?;
    let mut path = PREFIX.to_owned();
    for expected in template.trim_start_matches('/').split('/') {
        path.push('/');
        match expected.strip_prefix('{').and_then(|variable| variable.split_once("=*}")) {
            None => path += expected,
            Some((name, custom)) => {
                let config = match operation {
                    Operation::GetPushConfig(request) => &request.id,
                    Operation::DeletePushConfig(request) => &request.id,
                    _ => "",
                };
                let is_task = name == "task_id" || !is_about_push(method.rpc);
                let id = if is_task { operation.task_id().unwrap_or_default() } else { config };
                path += &segment(if is_task { "taskId" } else { "id" }, id)?;
                path += custom;
            }
        }
    }
    if let Operation::GetTask(request) = operation
        && let Some(length) = request.history_length
    {
        path += &format!("?historyLength={}", encoded(&length.to_string()));
    }
    let verb = method.http_0_3.as_ref().map_or(Verb::GET, |(verb, _)| verb.clone());
    Ok(Target { verb, path_and_query: path, has_body: takes_body(method.rpc) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_paths_of_the_schema() {
        for method in &METHODS {
            let ours = template(method).map(|template| format!("{PREFIX}{template}"));
            let schema = method.http_0_3.as_ref().map(|(_, path)| {
                // `{name=tasks/*}` is one variable there and `tasks/{id=*}` here; both match the same.
                path.replace("{name=", "").replace("{parent=", "").replace('}', "")
            });
            let plain = |path: String| path.replace("{id=*}", "*").replace("{task_id=*}", "*");
            assert_eq!(ours.map(plain), schema, "{}", method.name);
        }
    }

    #[test]
    fn finds_paths_before_a_tenant_of_that_name() {
        let found = |verb, path| super::super::find(&verb, path).map(|route| (route.version, route.method.rpc));
        assert_eq!(found(Verb::GET, "/v1/tasks/a%2Fb"), Ok((Version::V0_3, Rpc::GetTask)));
        assert_eq!(found(Verb::GET, "/v1/tasks/a:b:subscribe"), Ok((Version::V0_3, Rpc::SubscribeToTask)));
        assert_eq!(found(Verb::GET, "/v1/card"), Ok((Version::V0_3, Rpc::GetExtendedAgentCard)));
        assert_eq!(found(Verb::GET, "/v1/tasks"), Ok((Version::V1_0, Rpc::ListTasks)), "of a tenant called v1");
        assert!(matches!(found(Verb::PUT, "/v1/message:send"), Err(NoRoute::Verbs(_))));
    }
}
