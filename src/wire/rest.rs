//! HTTP+JSON (A2A 11; [`v0_3`] is the same of 0.3): operations as verbs, paths and queries, in both directions, driven by [`METHODS`].
//!
//! An id is one segment of a path, percent-encoded; a custom verb stands after the last colon. A tenant is whatever
//! stands before the path of an operation; a path that reads with and without one is the one without.

use std::borrow::Cow;

use bytes::Bytes;
use http::Method as Verb;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::json;
use crate::a2a::required::has_dots;
use crate::call::Raw;
use crate::config::JsonLimits;
use crate::error::{Error, Kind};
use crate::operation::{METHODS, Method, Operation, Rpc, Version};

pub mod v0_3;

/// What stays as it is in a path segment and in a query value.
pub const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-').remove(b'~');
/// Members that are booleans; a query has only texts.
const FLAGS: [&str; 2] = ["includeArtifacts", "include_artifacts"];
/// Parameters of one query.
const PARAMETERS_MAX: usize = 64;

/// A path that is an operation's.
#[derive(Debug)]
pub struct Route {
    pub version: Version,
    pub method: &'static Method,
    /// The variables of its template, as JSON members: `id`, `taskId`.
    pub variables: Vec<(&'static str, String)>,
    pub tenant: String,
}

/// Why a path is none.
#[derive(Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No operation has this path.
    Unknown,
    /// It is an operation's, with other verbs: these.
    Verbs(Vec<Verb>),
}

/// The operation at `path`, which begins with a slash and is still percent-encoded.
///
/// # Errors
/// Why there is none.
pub fn find(verb: &Verb, path: &str) -> Result<Route, NoRoute> {
    match v0_3::find(verb, path) {
        // What reads as 0.3 and as a tenant called v1 is 0.3.
        Err(NoRoute::Unknown) => find_1_0(verb, path),
        found => found,
    }
}

fn find_1_0(verb: &Verb, path: &str) -> Result<Route, NoRoute> {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let mut verbs: Vec<Verb> = Vec::new();
    for tenant_length in 0..segments.len() {
        let (tenant, rest) = segments.split_at(tenant_length);
        for method in &METHODS {
            let Some(variables) = variables(method.http.1, rest) else { continue };
            if !verbs_of(method).contains(verb) {
                verbs.extend(verbs_of(method));
                continue;
            }
            let Some(tenant) = tenant.iter().map(|segment| decoded(segment)).collect::<Option<Vec<_>>>() else {
                return Err(NoRoute::Unknown);
            };
            return Ok(Route { version: Version::V1_0, method, variables, tenant: tenant.join("/") });
        }
        if !verbs.is_empty() {
            return Err(NoRoute::Verbs(verbs));
        }
    }
    Err(NoRoute::Unknown)
}

/// The verbs of an operation: the schema has GET for subscriptions, the prose and the SDKs POST; a HEAD is a GET
/// whose body nobody reads, so it is no way to subscribe.
fn verbs_of(method: &Method) -> Vec<Verb> {
    match (method.rpc, &method.http.0) {
        (Rpc::SubscribeToTask, _) => vec![Verb::GET, Verb::POST],
        (_, &Verb::GET) => vec![Verb::GET, Verb::HEAD],
        (_, verb) => vec![verb.clone()],
    }
}

/// The variables of `template` in these segments, if they match.
fn variables(template: &str, segments: &[&str]) -> Option<Vec<(&'static str, String)>> {
    let mut expected = template.trim_start_matches('/').split('/');
    let mut variables = Vec::new();
    for segment in segments {
        let expected = expected.next()?;
        match expected.strip_prefix('{').and_then(|variable| variable.split_once("=*}")) {
            None if expected == *segment => {}
            None => return None,
            Some((name, custom)) => {
                let value = match segment.rsplit_once(':') {
                    Some((value, verb)) if is_custom(verb) => {
                        (custom.strip_prefix(':') == Some(verb)).then_some(value)?
                    }
                    _ if custom.is_empty() => segment,
                    _ => return None,
                };
                variables.push((member(name), decoded(value)?));
            }
        }
    }
    expected.next().is_none().then_some(variables)
}

/// Whether a task's path may end in it after a colon.
fn is_custom(verb: &str) -> bool {
    METHODS.iter().any(|method| method.http.1.rsplit_once("}:").is_some_and(|(_, custom)| custom == verb))
}

/// A variable of a template as a JSON member.
fn member(variable: &str) -> &'static str {
    if variable == "task_id" { "taskId" } else { "id" }
}

/// One segment, which may hold anything but what could be taken for a path.
fn decoded(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.is_empty() && !has_dots(&text)).then(|| text.into_owned())
}

/// Reads a request: its path, its query and its body, in which path variables win (A2A 11.5).
///
/// # Errors
/// InvalidRequest for a body that is no JSON object, InvalidParams that names the member.
pub fn read_request(
    route: &Route,
    query: Option<&str>,
    body: &Bytes,
    limits: &JsonLimits,
) -> Result<(Operation, Option<Raw>), Error> {
    let rpc = route.method.rpc;
    if takes_body(rpc) && !(body.is_empty() && rpc == Rpc::CancelTask) {
        // First, for the scan trusts that it reads JSON.
        json::is_object(body).map_err(|_| Error::new(Kind::InvalidRequest, "the body must be one JSON object"))?;
        if route.variables.is_empty() && route.tenant.is_empty() {
            return json::read_request(rpc, Version::V1_0, Some(body.clone()), limits);
        }
        let amend = |members: &mut Map<String, Value>| {
            set_variables(members, &route.variables);
            set_tenant(members, &route.tenant)
        };
        return Ok((json::read_request_with(rpc, body, limits, amend)?, None));
    }
    let mut members = if takes_body(rpc) { Map::new() } else { from_query(query.unwrap_or_default())? };
    set_tenant(&mut members, &route.tenant)?;
    set_variables(&mut members, &route.variables);
    let params = Bytes::from(Value::Object(members).to_string());
    let (operation, _) = json::read_request(rpc, Version::V1_0, Some(params), limits)?;
    Ok((operation, None))
}

/// Whether the schema says `body: "*"`.
fn takes_body(rpc: Rpc) -> bool {
    rpc.method().http.0 == Verb::POST
}

fn set_variables(members: &mut Map<String, Value>, variables: &[(&'static str, String)]) {
    for (name, value) in variables {
        if *name == "taskId" {
            members.remove("task_id");
        }
        members.insert((*name).to_owned(), Value::from(value.clone()));
    }
}

/// A tenant in the path and another one elsewhere name two agents.
fn set_tenant(members: &mut Map<String, Value>, tenant: &str) -> Result<(), Error> {
    if tenant.is_empty() {
        return Ok(());
    }
    match members.get("tenant").and_then(Value::as_str) {
        Some(other) if !other.is_empty() && other != tenant => {
            return Err(Error::invalid("tenant", "is another one in the path: leave one of the two out"));
        }
        _ => members.insert("tenant".to_owned(), Value::from(tenant)),
    };
    Ok(())
}

/// A query as JSON members. Of a name that occurs twice the last one counts; names that the request does not have are
/// ignored with the decoding.
fn from_query(query: &str) -> Result<Map<String, Value>, Error> {
    let mut members = Map::new();
    if query.split('&').count() > PARAMETERS_MAX {
        return Err(Error::new(Kind::InvalidParams, format!("the query has more than {PARAMETERS_MAX} parameters")));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |part: &str| {
            let spaced: Cow<'_, str> = if part.contains('+') { part.replace('+', " ").into() } else { part.into() };
            percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned)
        };
        let (Ok(name), Ok(value)) = (text(name), text(value)) else {
            return Err(Error::new(Kind::InvalidParams, "the query is not UTF-8 in percent-encoding"));
        };
        let value = match (FLAGS.contains(&name.as_str()), value.as_str()) {
            // An empty value is an absent one, as in a form.
            (_, "") => Value::Null,
            (true, "true") => Value::Bool(true),
            (true, "false") => Value::Bool(false),
            (true, _) => return Err(Error::invalid(name, "must be true or false")),
            (false, text) => Value::from(text),
        };
        members.insert(name, value);
    }
    Ok(members)
}

/// Where an operation goes, below the address of an agent.
#[derive(Debug)]
pub struct Target {
    pub verb: Verb,
    /// Begins with a slash.
    pub path_and_query: String,
    pub has_body: bool,
}

/// The target of `operation` for this tenant. A subscription goes by POST, as the SDKs have it.
///
/// # Errors
/// InvalidParams for an id or a tenant that would lead elsewhere, and for what JSON cannot say.
pub fn target(operation: &Operation, tenant: &str) -> Result<Target, Error> {
    let method = operation.method();
    let has_body = takes_body(method.rpc);
    // Messages are large, and nothing of them stands in an address.
    let is_fixed = has_body && !method.http.1.contains('{');
    let mut members = if is_fixed { Map::new() } else { json::members(operation)? };
    members.remove("tenant");
    let mut path = String::new();
    let tenant = tenant.trim_matches('/');
    for part in tenant.split('/').filter(|_| !tenant.is_empty()) {
        path += &format!("/{}", segment("tenant", part)?);
    }
    for expected in method.http.1.trim_start_matches('/').split('/') {
        path.push('/');
        match expected.strip_prefix('{').and_then(|variable| variable.split_once("=*}")) {
            None => path += expected,
            Some((name, custom)) => {
                let value = members.remove(member(name)).unwrap_or_default();
                path += &segment(member(name), value.as_str().unwrap_or_default())?;
                path += custom;
            }
        }
    }
    let is_subscription = method.rpc == Rpc::SubscribeToTask;
    let verb = if is_subscription { Verb::POST } else { method.http.0.clone() };
    if !tenant.is_empty() && !find_1_0(&verb, &path).is_ok_and(|route| route.method.rpc == method.rpc) {
        return Err(Error::invalid(
            "tenant",
            "cannot stand in the address of the agent: with its end the address is that of another operation",
        ));
    }
    if !has_body && !is_subscription {
        let parameters: Vec<String> = members.iter().filter_map(|(name, value)| parameter(name, value)).collect();
        if !parameters.is_empty() {
            path += &format!("?{}", parameters.join("&"));
        }
    }
    Ok(Target { verb, path_and_query: path, has_body })
}

/// One segment of a path.
fn segment(name: &str, text: &str) -> Result<String, Error> {
    if text.is_empty() || has_dots(text) {
        return Err(Error::invalid(
            name,
            "cannot stand in the address of the agent: it is empty, or has . or .. in it",
        ));
    }
    Ok(encoded(text))
}

fn parameter(name: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then(|| format!("{name}={}", encoded(&text)))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests;
