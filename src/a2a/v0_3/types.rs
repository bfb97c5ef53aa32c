//! The JSON objects of A2A 0.3 (its specification, section 6), as serde reads and writes them.
//!
//! Reading is tolerant where peers in use are careless: snake_case names, `type` for `kind`, and a missing kind
//! that the other members make plain. Writing is strict. Optional members are left out, never null.

use serde::{Deserialize, Serialize};

use crate::proto::{Struct, Value};

/// Reads what may be absent or null.
fn lax<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    #[serde(default, skip_deserializing)]
    pub kind: &'static str,
    #[serde(default, deserialize_with = "lax", alias = "message_id")]
    pub message_id: String,
    #[serde(default, deserialize_with = "lax", alias = "context_id", skip_serializing_if = "String::is_empty")]
    pub context_id: String,
    #[serde(default, deserialize_with = "lax", alias = "task_id", skip_serializing_if = "String::is_empty")]
    pub task_id: String,
    #[serde(default, deserialize_with = "lax")]
    pub role: String,
    #[serde(default, deserialize_with = "lax")]
    pub parts: Vec<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
    #[serde(default, deserialize_with = "lax", alias = "reference_task_ids", skip_serializing_if = "Vec::is_empty")]
    pub reference_task_ids: Vec<String>,
}

/// One of text, file and data; `kind` says which.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Part {
    #[serde(default, alias = "type")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<File>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Base64.
    #[serde(default, alias = "fileWithBytes", skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    #[serde(default, alias = "fileWithUri", skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    #[serde(default, deserialize_with = "lax", alias = "mime_type", skip_serializing_if = "String::is_empty")]
    pub mime_type: String,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub name: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    #[serde(default, skip_deserializing)]
    pub kind: &'static str,
    #[serde(default, deserialize_with = "lax")]
    pub id: String,
    #[serde(default, deserialize_with = "lax", alias = "context_id")]
    pub context_id: String,
    #[serde(default, deserialize_with = "lax")]
    pub status: TaskStatus,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct TaskStatus {
    #[serde(default, deserialize_with = "lax")]
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<crate::proto::Timestamp>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    #[serde(default, deserialize_with = "lax", alias = "artifact_id")]
    pub artifact_id: String,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, deserialize_with = "lax")]
    pub parts: Vec<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatusUpdateEvent {
    #[serde(default, skip_deserializing)]
    pub kind: &'static str,
    #[serde(default, deserialize_with = "lax", alias = "task_id")]
    pub task_id: String,
    #[serde(default, deserialize_with = "lax", alias = "context_id")]
    pub context_id: String,
    #[serde(default, deserialize_with = "lax")]
    pub status: TaskStatus,
    #[serde(default, deserialize_with = "lax", rename = "final")]
    pub is_final: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskArtifactUpdateEvent {
    #[serde(default, skip_deserializing)]
    pub kind: &'static str,
    #[serde(default, deserialize_with = "lax", alias = "task_id")]
    pub task_id: String,
    #[serde(default, deserialize_with = "lax", alias = "context_id")]
    pub context_id: String,
    #[serde(default, deserialize_with = "lax")]
    pub artifact: Artifact,
    #[serde(default, deserialize_with = "lax")]
    pub append: bool,
    #[serde(default, deserialize_with = "lax", alias = "last_chunk")]
    pub last_chunk: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

/// Enough of an object to tell which kind it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tag {
    #[serde(default)]
    pub kind: Option<String>,
    #[serde(default, alias = "message_id")]
    pub message_id: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub artifact: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub id: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct MessageSendParams {
    #[serde(default)]
    pub message: Option<Message>,
    /// As RouteIQ's callers write it; no version of A2A has it.
    #[serde(default, skip_serializing)]
    pub config: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<MessageSendConfiguration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageSendConfiguration {
    /// Written even when it is empty, as most SDKs do: agents in use refuse a configuration without it.
    #[serde(default, deserialize_with = "lax", alias = "accepted_output_modes")]
    pub accepted_output_modes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "history_length")]
    pub history_length: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "push_notification_config")]
    pub push_notification_config: Option<PushNotificationConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocking: Option<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct PushNotificationConfig {
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, deserialize_with = "lax")]
    pub url: String,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<PushNotificationAuthenticationInfo>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct PushNotificationAuthenticationInfo {
    #[serde(default, deserialize_with = "lax")]
    pub schemes: Vec<String>,
    #[serde(default, deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub credentials: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPushNotificationConfig {
    #[serde(default, deserialize_with = "lax", alias = "task_id")]
    pub task_id: String,
    #[serde(default, alias = "push_notification_config")]
    pub push_notification_config: Option<PushNotificationConfig>,
}

/// The params of every operation on an existing task; each operation uses some of the members.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskParams {
    #[serde(default, deserialize_with = "lax")]
    pub id: String,
    #[serde(
        default,
        deserialize_with = "lax",
        alias = "push_notification_config_id",
        skip_serializing_if = "String::is_empty"
    )]
    pub push_notification_config_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "history_length")]
    pub history_length: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Struct>,
}

/// The params of `tasks/list`, which 0.3 does not define but its callers use.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTasksParams {
    #[serde(default, deserialize_with = "lax")]
    pub context_id: String,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub page_size: Option<i32>,
    #[serde(default, deserialize_with = "lax")]
    pub page_token: String,
    #[serde(default)]
    pub history_length: Option<i32>,
    #[serde(default)]
    pub status_timestamp_after: Option<crate::proto::Timestamp>,
    #[serde(default)]
    pub include_artifacts: Option<bool>,
}

/// The answer to `tasks/list`: 1.0's, with tasks as 0.3 writes them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTasksResult {
    pub tasks: Vec<Task>,
    pub next_page_token: String,
    pub page_size: i32,
    pub total_size: i32,
}

/// The request of an operation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Request {
    Send(Box<MessageSendParams>),
    /// Everything about one task, and about a push config of it, but setting one.
    Task(TaskParams),
    SetPush(TaskPushNotificationConfig),
    Card {},
}

/// One event of a stream, or the answer to a send.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Event {
    Task(Task),
    Message(Message),
    StatusUpdate(TaskStatusUpdateEvent),
    ArtifactUpdate(TaskArtifactUpdateEvent),
}
