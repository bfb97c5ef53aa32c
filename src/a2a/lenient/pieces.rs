//! The pieces of messages and tasks, from any spelling to 1.0's.

use serde_json::{Map, Value, json};

use crate::a2a::v0_3::{protobuf, state_by_name};
use crate::call::FileBytes;
use crate::clock::Clock;
use crate::proto::TaskState;

type Members = Map<String, Value>;

/// What the peer is known to do.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    /// What the bytes of its files are, in the protobuf form of 0.3.
    pub(super) files: FileBytes,
}

pub(super) fn object(value: Value) -> Option<Members> {
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// The first of these members that is there, taken out; null is absent.
pub(super) fn any(members: &mut Members, names: &[&str]) -> Option<Value> {
    names.iter().find_map(|name| members.remove(*name).filter(|value| !value.is_null()))
}

/// The first of these members that is a text.
pub(super) fn text(members: &Members, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| members.get(*name)?.as_str().map(str::to_owned))
}

/// Copies members under their names in 1.0, where they are what they should be.
fn copy(from: &mut Members, to: &mut Members, names: &[(&str, &[&str])], fits: fn(&Value) -> bool) {
    for (name, spellings) in names {
        if let Some(value) = any(from, spellings).filter(fits) {
            to.insert((*name).to_owned(), value);
        }
    }
}

fn texts_only(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

const CONTEXT: (&str, &[&str]) = ("contextId", &["contextId", "context_id"]);
const TASK: (&str, &[&str]) = ("taskId", &["taskId", "task_id"]);
const METADATA: (&str, &[&str]) = ("metadata", &["metadata"]);
const EXTENSIONS: (&str, &[&str]) = ("extensions", &["extensions"]);

fn fresh_id() -> Value {
    Value::from(Clock.uuid().to_string())
}

/// Any spelling of a role.
fn role(value: Option<&Value>) -> &'static str {
    let is_number = |number: u64| value.and_then(Value::as_u64) == Some(number);
    let text = value.and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    match text.trim_start_matches("role_") {
        "user" | "human" => "ROLE_USER",
        "agent" | "assistant" | "model" | "ai" => "ROLE_AGENT",
        _ if is_number(1) => "ROLE_USER",
        _ if is_number(2) => "ROLE_AGENT",
        _ => "ROLE_UNSPECIFIED",
    }
}

/// Any spelling of a state.
fn state(value: Option<&Value>) -> Option<&'static str> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Some(TaskState::Unspecified.as_str_name()) };
    if let Some(number) = value.as_i64() {
        return TaskState::try_from(i32::try_from(number).ok()?).ok().map(|state| state.as_str_name());
    }
    let name = value.as_str()?.to_ascii_lowercase().replace('_', "-");
    let name = name.trim_start_matches("task-state-");
    let name = match name {
        "cancelled" => "canceled",
        "unspecified" | "" => "unknown",
        name => name,
    };
    state_by_name(name).map(|state| state.as_str_name())
}

/// RFC 3339; without a zone it is UTC. What is no time is nothing.
fn timestamp(value: &Value) -> Option<Value> {
    let text = value.as_str()?.trim();
    let strict = |text: &str| serde_json::from_value::<crate::proto::Timestamp>(Value::from(text)).is_ok();
    let spaced = if text.contains('T') { text.to_owned() } else { text.replacen(' ', "T", 1) };
    [spaced.clone(), format!("{spaced}Z")].into_iter().find(|text| strict(text)).map(Value::from)
}

impl Dialect {
    /// A message. One that has no id gets one, for 1.0 requires it; who says it must be said.
    pub(super) fn message(self, mut old: Members) -> Option<Members> {
        let mut new = Members::new();
        let id = any(&mut old, &["messageId", "message_id"]).filter(Value::is_string).unwrap_or_else(fresh_id);
        new.insert("messageId".to_owned(), id);
        new.insert("role".to_owned(), role(old.get("role")).into());
        copy(&mut old, &mut new, &[CONTEXT, TASK], Value::is_string);
        copy(&mut old, &mut new, &[METADATA], Value::is_object);
        let references: &[&str] = &["referenceTaskIds", "reference_task_ids"];
        copy(&mut old, &mut new, &[EXTENSIONS, ("referenceTaskIds", references)], texts_only);
        let parts = any(&mut old, &["parts", "content"]);
        new.insert("parts".to_owned(), self.parts(parts)?);
        Some(new)
    }

    /// Parts in a list, one part by itself, or a text.
    fn parts(self, value: Option<Value>) -> Option<Value> {
        let parts = match value {
            None => Vec::new(),
            Some(Value::Array(parts)) => parts,
            Some(single) => vec![single],
        };
        let parts: Option<Vec<Value>> = parts.into_iter().map(|part| self.part(part).map(Value::Object)).collect();
        parts.map(Value::from)
    }

    fn part(self, value: Value) -> Option<Members> {
        let mut old = match value {
            Value::String(text) => return Some(Members::from_iter([("text".to_owned(), Value::from(text))])),
            value => object(value)?,
        };
        let has_kind = any(&mut old, &["kind", "type"]).is_some();
        let mut new = Members::new();
        copy(&mut old, &mut new, &[METADATA], Value::is_object);
        let media_type: &[&str] = &["mediaType", "media_type", "mimeType", "mime_type"];
        let filename: &[&str] = &["filename", "fileName", "file_name"];
        let described = [("mediaType", media_type), ("filename", filename)];
        copy(&mut old, &mut new, &described, Value::is_string);
        if let Some(file) = any(&mut old, &["file"]) {
            self.file(object(file)?, &mut new)?;
        } else if let Some(text) = any(&mut old, &["text"]) {
            new.insert("text".to_owned(), Value::from(text.as_str()?));
        } else if let Some(raw) = any(&mut old, &["raw", "bytes"]) {
            new.insert("raw".to_owned(), raw);
        } else if let Some(url) = any(&mut old, &["url", "uri"]) {
            new.insert("url".to_owned(), url);
        } else {
            let data = old.remove("data")?;
            let inner =
                data.get("data").filter(|inner| inner.is_object() && data.as_object().is_some_and(|d| d.len() == 1));
            // In 0.3's protobuf form a part says what it is by its member alone, and its data is one level further in.
            let data = if has_kind { data } else { inner.cloned().unwrap_or(data) };
            let data = unwrapped(data, &mut new);
            new.insert("data".to_owned(), data);
        }
        Some(new)
    }

    fn file(self, mut file: Members, new: &mut Members) -> Option<()> {
        let media_type: &[&str] = &["mimeType", "mime_type", "mediaType", "media_type"];
        let described = [("mediaType", media_type), ("filename", &["name", "filename"][..])];
        copy(&mut file, new, &described, Value::is_string);
        let (name, value) = if let Some(twice) = any(&mut file, &["fileWithBytes", "file_with_bytes"]) {
            ("raw", Value::from(protobuf::base64_of_base64(twice.as_str()?, self.files)?))
        } else if let Some(bytes) = any(&mut file, &["bytes", "raw", "data"]) {
            ("raw", bytes)
        } else {
            ("url", any(&mut file, &["uri", "url", "fileWithUri", "file_with_uri"])?)
        };
        new.insert(name.to_owned(), value);
        Some(())
    }

    fn status(self, value: Option<Value>) -> Option<Value> {
        let mut old = match value {
            None => return Some(json!({})),
            // Some write the state alone.
            Some(Value::String(state)) => Members::from_iter([("state".to_owned(), Value::from(state))]),
            Some(value) => object(value)?,
        };
        let mut new = Members::new();
        new.insert("state".to_owned(), state(old.get("state"))?.into());
        match any(&mut old, &["message", "update"]) {
            Some(Value::Object(message)) => {
                new.insert("message".to_owned(), Value::Object(self.message(message)?));
            }
            // A sentence is a message of the agent's.
            Some(text @ Value::String(_)) => {
                let said = Members::from_iter([("role".to_owned(), "agent".into()), ("parts".to_owned(), text)]);
                new.insert("message".to_owned(), Value::Object(self.message(said)?));
            }
            _ => {}
        }
        new.extend(old.get("timestamp").and_then(timestamp).map(|time| ("timestamp".to_owned(), time)));
        Some(Value::Object(new))
    }

    fn artifact(self, mut old: Members) -> Option<Members> {
        let mut new = Members::new();
        let id = any(&mut old, &["artifactId", "artifact_id", "id"]).filter(Value::is_string).unwrap_or_else(fresh_id);
        new.insert("artifactId".to_owned(), id);
        copy(&mut old, &mut new, &[("name", &["name"]), ("description", &["description"])], Value::is_string);
        copy(&mut old, &mut new, &[METADATA], Value::is_object);
        copy(&mut old, &mut new, &[EXTENSIONS], texts_only);
        // RouteIQ's agents write an artifact as the one part that it has.
        let parts = any(&mut old, &["parts", "content"]).unwrap_or(Value::Object(old));
        new.insert("parts".to_owned(), self.parts(Some(parts))?);
        Some(new)
    }

    pub(super) fn task(self, mut old: Members) -> Option<Members> {
        let mut new = Members::new();
        new.insert("id".to_owned(), any(&mut old, &["id", "taskId", "task_id"]).filter(Value::is_string)?);
        copy(&mut old, &mut new, &[CONTEXT], Value::is_string);
        new.insert("status".to_owned(), self.status(any(&mut old, &["status"]))?);
        copy(&mut old, &mut new, &[METADATA], Value::is_object);
        let mut list = |name: &str, read: &dyn Fn(Members) -> Option<Members>| -> Option<()> {
            let Some(Value::Array(items)) = any(&mut old, &[name]) else { return Some(()) };
            let items: Option<Vec<Value>> =
                items.into_iter().map(|item| read(object(item)?).map(Value::Object)).collect();
            new.insert(name.to_owned(), Value::from(items?));
            Some(())
        };
        list("artifacts", &|artifact| self.artifact(artifact))?;
        list("history", &|message| self.message(message))?;
        Some(new)
    }

    pub(super) fn status_update(self, mut old: Members) -> Option<Members> {
        let mut new = Members::new();
        copy(&mut old, &mut new, &[CONTEXT, ("taskId", &["taskId", "task_id", "id"])], Value::is_string);
        new.insert("status".to_owned(), self.status(any(&mut old, &["status"]))?);
        copy(&mut old, &mut new, &[METADATA], Value::is_object);
        Some(new)
    }

    pub(super) fn artifact_update(self, mut old: Members) -> Option<Members> {
        let mut new = Members::new();
        copy(&mut old, &mut new, &[CONTEXT, ("taskId", &["taskId", "task_id", "id"])], Value::is_string);
        let flags = [("append", &["append"][..]), ("lastChunk", &["lastChunk", "last_chunk"])];
        copy(&mut old, &mut new, &flags, Value::is_boolean);
        let artifact = any(&mut old, &["artifact"]).and_then(object)?;
        new.insert("artifact".to_owned(), Value::Object(self.artifact(artifact)?));
        copy(&mut old, &mut new, &[METADATA], Value::is_object);
        Some(new)
    }
}

/// What the SDKs wrap as `{"value": ..}` because 0.3's data must be an object.
fn unwrapped(data: Value, part: &mut Members) -> Value {
    const FLAG: &str = "data_part_compat";
    let Some(metadata) = part.get_mut("metadata").and_then(Value::as_object_mut) else { return data };
    let wraps = data.as_object().is_some_and(|object| object.len() == 1 && object.contains_key("value"));
    if !wraps || metadata.get(FLAG) != Some(&Value::Bool(true)) {
        return data;
    }
    metadata.remove(FLAG);
    if metadata.is_empty() {
        part.remove("metadata");
    }
    data["value"].clone()
}

/// A push config, flat or nested, with or without a name for its task.
pub(super) fn push_config(mut old: Members) -> Members {
    let mut new = Members::new();
    let named = text(&old, &["name"]).and_then(|name| protobuf::ids_in(&name, "name").ok());
    copy(&mut old, &mut new, &[TASK], Value::is_string);
    let mut inner = any(&mut old, &["pushNotificationConfig", "push_notification_config"]).and_then(object);
    let inner = inner.as_mut().unwrap_or(&mut old);
    let flat = [("id", &["id"][..]), ("url", &["url"]), ("token", &["token"])];
    copy(inner, &mut new, &flat, Value::is_string);
    if let Some((task, config)) = named {
        new.entry("taskId").or_insert(task.into());
        new.entry("id").or_insert(config.into());
    }
    if let Some(mut authentication) = any(inner, &["authentication"]).and_then(object) {
        let scheme = match any(&mut authentication, &["scheme", "schemes"]) {
            Some(Value::Array(schemes)) => schemes.into_iter().next().unwrap_or_default(),
            other => other.unwrap_or_default(),
        };
        let mut kept = Members::from_iter([("scheme".to_owned(), scheme)]);
        copy(&mut authentication, &mut kept, &[("credentials", &["credentials"])], Value::is_string);
        new.insert("authentication".to_owned(), Value::Object(kept));
    }
    new
}

/// How a message is to be answered.
pub(super) fn configuration(mut old: Members) -> Members {
    let mut new = Members::new();
    let modes: &[&str] = &["acceptedOutputModes", "accepted_output_modes"];
    copy(&mut old, &mut new, &[("acceptedOutputModes", modes)], texts_only);
    let history = any(&mut old, &["historyLength", "history_length"]);
    // In 0.3, 0 is no limit.
    new.extend(history.filter(|length| *length != 0).map(|length| ("historyLength".to_owned(), length)));
    if any(&mut old, &["blocking"]) == Some(Value::Bool(false)) {
        new.insert("returnImmediately".to_owned(), Value::Bool(true));
    }
    copy(&mut old, &mut new, &[("returnImmediately", &["returnImmediately", "return_immediately"])], Value::is_boolean);
    let push: &[&str] =
        &["pushNotificationConfig", "push_notification_config", "pushNotification", "push_notification"];
    if let Some(push) = any(&mut old, push).and_then(object) {
        new.insert("taskPushNotificationConfig".to_owned(), Value::Object(push_config(push)));
    }
    new
}
