//! The tolerant reader: what peers in use write that no version of A2A defines, read as what it means.
//!
//! It is asked only when the strict readers have failed, and what it reads is written strictly. It tells things by
//! what they have in them and not by what the peer said it would send: 1.0's wrappers and 0.3's bare objects, with or
//! without `kind`; names in camelCase and snake_case; states and roles in any spelling; parts as 1.0, as 0.3 and as
//! the SDKs before 0.2 had them, or as bare text; times without a zone, which are taken as UTC, and times that are
//! none, which are left out. What stays unclear is not guessed: then the strict reader's complaint stands.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::call::{FileBytes, PayloadKind, Response};
use crate::operation::{Operation, Rpc};
use crate::proto;

mod pieces;

use pieces::{Dialect, any, object, text};

/// An answer to this operation, in whatever spelling.
pub fn response(rpc: Rpc, json: &[u8], files: FileBytes) -> Option<Response> {
    let dialect = Dialect { files };
    let value: Value = serde_json::from_slice(json).ok()?;
    Some(match rpc {
        Rpc::GetTask | Rpc::CancelTask => {
            let (kind, task) = payload(value)?;
            Response::Task((kind == PayloadKind::Task).then(|| typed(dialect.task(task)?)).flatten()?)
        }
        Rpc::CreatePushConfig | Rpc::GetPushConfig => Response::PushConfig(typed(pieces::push_config(object(value)?))?),
        Rpc::ListPushConfigs => {
            let configs = match value {
                Value::Array(configs) => configs,
                Value::Object(mut list) => match list.remove("configs") {
                    Some(Value::Array(configs)) => configs,
                    None | Some(Value::Null) => Vec::new(),
                    Some(_) => return None,
                },
                _ => return None,
            };
            let config = |config| typed(pieces::push_config(object(config)?));
            Response::PushConfigs(proto::ListTaskPushNotificationConfigsResponse {
                configs: configs.into_iter().map(config).collect::<Option<_>>()?,
                next_page_token: String::new(),
            })
        }
        Rpc::SendMessage => {
            let wrapped = match payload(value)? {
                (PayloadKind::Task, task) => ("task", dialect.task(task)?),
                (PayloadKind::Message, message) => ("message", dialect.message(message)?),
                _ => return None,
            };
            Response::SendMessage(typed(wrapper(wrapped))?)
        }
        _ => return None,
    })
}

/// An event, in whatever spelling.
pub fn event(json: &[u8], files: FileBytes) -> Option<proto::StreamResponse> {
    let dialect = Dialect { files };
    let (kind, members) = payload(serde_json::from_slice(json).ok()?)?;
    let wrapped = match kind {
        PayloadKind::Task => ("task", dialect.task(members)?),
        PayloadKind::Message => ("message", dialect.message(members)?),
        PayloadKind::StatusUpdate => ("statusUpdate", dialect.status_update(members)?),
        PayloadKind::ArtifactUpdate => ("artifactUpdate", dialect.artifact_update(members)?),
    };
    typed(wrapper(wrapped))
}

/// A request to send a message, in whatever spelling; of other requests there are no others.
pub fn request(rpc: Rpc, json: &[u8]) -> Option<Operation> {
    let dialect = Dialect { files: FileBytes::Auto };
    let mut params = object(serde_json::from_slice(json).ok()?)?;
    let message = any(&mut params, &["message", "request"]).and_then(object)?;
    let mut request = Map::new();
    request.insert("message".to_owned(), Value::Object(dialect.message(message)?));
    let configuration = any(&mut params, &["configuration"]).and_then(object).map(pieces::configuration);
    request.extend(configuration.map(|configuration| ("configuration".to_owned(), Value::Object(configuration))));
    let mut metadata = params.remove("metadata").and_then(object);
    if let Some(config) = params.remove("config") {
        // As RouteIQ's callers write it: nothing in A2A means it, and the agent may.
        metadata.get_or_insert_default().entry("config").or_insert(config);
    }
    request.extend(metadata.map(|metadata| ("metadata".to_owned(), Value::Object(metadata))));
    match rpc {
        Rpc::SendMessage => Some(Operation::SendMessage(typed(request)?)),
        Rpc::SendStreamingMessage => Some(Operation::SendStreamingMessage(typed(request)?)),
        _ => None,
    }
}

/// The webhook in a body of HTTP+JSON 0.3, in whatever spelling. It has no name, for the path says the task.
pub fn push_config_v0_3(json: &[u8]) -> Option<proto::v0_3::TaskPushNotificationConfig> {
    let mut body = object(serde_json::from_slice(json).ok()?)?;
    let whole = any(&mut body, &["config"]).and_then(object);
    let config: proto::TaskPushNotificationConfig = typed(pieces::push_config(whole.unwrap_or(body)))?;
    if config.url.is_empty() {
        return None;
    }
    let authentication = config.authentication.map(|authentication| proto::v0_3::AuthenticationInfo {
        schemes: vec![authentication.scheme],
        credentials: authentication.credentials,
    });
    let inner =
        proto::v0_3::PushNotificationConfig { id: config.id, url: config.url, token: config.token, authentication };
    Some(proto::v0_3::TaskPushNotificationConfig { name: String::new(), push_notification_config: Some(inner) })
}

/// What of a task, message or update it is, and its members.
fn payload(value: Value) -> Option<(PayloadKind, Map<String, Value>)> {
    const WRAPPERS: [(&str, PayloadKind); 7] = [
        ("task", PayloadKind::Task),
        ("message", PayloadKind::Message),
        ("msg", PayloadKind::Message),
        ("statusUpdate", PayloadKind::StatusUpdate),
        ("status_update", PayloadKind::StatusUpdate),
        ("artifactUpdate", PayloadKind::ArtifactUpdate),
        ("artifact_update", PayloadKind::ArtifactUpdate),
    ];
    let mut members = object(value)?;
    let kind = match text(&members, &["kind"]).as_deref() {
        Some("task") => PayloadKind::Task,
        Some("message") => PayloadKind::Message,
        Some("status-update") => PayloadKind::StatusUpdate,
        Some("artifact-update") => PayloadKind::ArtifactUpdate,
        Some(_) => return None,
        None => {
            let mut wrapped = WRAPPERS.iter().filter(|(name, _)| members.get(*name).is_some_and(Value::is_object));
            match (wrapped.next(), wrapped.next()) {
                (Some((name, kind)), None) => return Some((*kind, object(members.remove(*name)?)?)),
                (Some(_), Some(_)) => return None,
                (None, _) => {}
            }
            let has = |names: &[&str]| names.iter().any(|name| members.contains_key(*name));
            match () {
                () if has(&["parts", "content"]) => PayloadKind::Message,
                () if has(&["artifact"]) => PayloadKind::ArtifactUpdate,
                () if has(&["status"]) && has(&["taskId", "task_id"]) => PayloadKind::StatusUpdate,
                () if has(&["status"]) && has(&["id"]) => PayloadKind::Task,
                () => return None,
            }
        }
    };
    Some((kind, members))
}

fn wrapper((name, members): (&str, Map<String, Value>)) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), Value::Object(members))])
}

/// The strict form as a message.
fn typed<T: DeserializeOwned>(members: Map<String, Value>) -> Option<T> {
    serde_json::from_value(Value::Object(members)).ok()
}

#[cfg(test)]
mod tests;
