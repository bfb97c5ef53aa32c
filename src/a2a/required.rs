//! What a request must have and may not have, checked before anything is sent (A2A 5.7).
//!
//! prost does not know `google.api.field_behavior`, and an agent's own complaint about a missing member may be a
//! 500 without a word. So the check is here, and it names every member that is missing.

use crate::error::{Error, FieldViolation, Kind};
use crate::operation::{Operation, Version};
use crate::proto::{self, wkt};

/// Ids are looked up, recorded and echoed, so they have a limit.
pub const ID_BYTES_MAX: usize = 256;
/// Tasks that one message may refer to.
const REFERENCES_MAX: usize = 64;

/// Refuses an operation that lacks what A2A requires, naming each member in the spelling of `version`.
///
/// # Errors
/// InvalidParams with one violation for each missing member.
pub fn check(operation: &Operation, version: Version) -> Result<(), Error> {
    let mut missing = Missing { version, fields: Vec::new() };
    match operation {
        Operation::SendMessage(request) | Operation::SendStreamingMessage(request) => missing.send(request),
        Operation::GetTask(request) => missing.text("id", "id", &request.id),
        Operation::CancelTask(request) => missing.text("id", "id", &request.id),
        Operation::SubscribeToTask(request) => missing.text("id", "id", &request.id),
        Operation::CreatePushConfig(request) => {
            missing.text("taskId", "taskId", &request.task_id);
            missing.text("url", "pushNotificationConfig.url", &request.url);
        }
        Operation::GetPushConfig(request) => {
            missing.text("taskId", "id", &request.task_id);
            // 0.3 lets the id of the config be absent: then it is the task's only one.
            if version == Version::V1_0 {
                missing.text("id", "pushNotificationConfigId", &request.id);
            }
        }
        Operation::ListPushConfigs(request) => missing.text("taskId", "id", &request.task_id),
        Operation::DeletePushConfig(request) => {
            missing.text("taskId", "id", &request.task_id);
            missing.text("id", "pushNotificationConfigId", &request.id);
        }
        Operation::ListTasks(request) => return page(request),
        Operation::GetExtendedAgentCard(_) => {}
    }
    if operation.history_length().is_some_and(|length| length < 0) {
        return Err(Error::invalid("historyLength", "must be 0 or more"));
    }
    missing.into_result()?;
    ids(operation, version)
}

/// Ids that can be kept, and a push config that leaves the task to the message that it comes with.
fn ids(operation: &Operation, version: Version) -> Result<(), Error> {
    let too_long = |id: Option<&str>| id.is_some_and(|id| !is_short(id));
    let rule = "must be at most 256 bytes without control characters";
    let in_paths = "must be at most 256 bytes without control characters, and no part of it between slashes . or ..";
    if operation.task_id().is_some_and(|id| too_long(Some(id)) || has_dots(id)) {
        return Err(Error::invalid(task_field(operation, version), in_paths));
    }
    let tenant = operation.tenant();
    if too_long(Some(tenant)) || has_dots(tenant) || (!tenant.is_empty() && tenant.split('/').any(str::is_empty)) {
        return Err(Error::invalid("tenant", in_paths));
    }
    if let Operation::GetPushConfig(proto::GetTaskPushNotificationConfigRequest { id, .. })
    | Operation::DeletePushConfig(proto::DeleteTaskPushNotificationConfigRequest { id, .. })
    | Operation::CreatePushConfig(proto::TaskPushNotificationConfig { id, .. }) = operation
        && (too_long(Some(id)) || has_dots(id))
    {
        let field = if version == Version::V1_0 { "id" } else { "pushNotificationConfigId" };
        return Err(Error::invalid(field, in_paths));
    }
    if too_long(operation.context_id()) {
        let in_message = matches!(operation, Operation::SendMessage(_) | Operation::SendStreamingMessage(_));
        return Err(Error::invalid(if in_message { "message.contextId" } else { "contextId" }, rule));
    }
    let (Operation::SendMessage(request) | Operation::SendStreamingMessage(request)) = operation else { return Ok(()) };
    let Some(message) = &request.message else { return Ok(()) };
    if too_long(Some(&message.message_id)) {
        return Err(Error::invalid("message.messageId", rule));
    }
    let references = &message.reference_task_ids;
    if references.len() > REFERENCES_MAX || references.iter().any(|id| too_long(Some(id))) {
        return Err(Error::invalid("message.referenceTaskIds", "must be at most 64 ids of at most 256 bytes"));
    }
    let config = request.configuration.as_ref().and_then(|c| c.task_push_notification_config.as_ref());
    if config.is_some_and(|config| !config.task_id.is_empty() || !config.tenant.is_empty()) {
        let field = "configuration.taskPushNotificationConfig";
        return Err(Error::invalid(field, "must not name a task or a tenant: it belongs to the message's task"));
    }
    Ok(())
}

/// Whether an id can be kept.
pub fn is_short(id: &str) -> bool {
    id.len() <= ID_BYTES_MAX && !id.chars().any(char::is_control)
}

/// Whether an id can be kept and stand in a path.
pub fn is_id(id: &str) -> bool {
    is_short(id) && !has_dots(id)
}

/// Whether it would lead elsewhere in a path, also for a proxy that decodes `%2F` before it looks for dots.
pub fn has_dots(text: &str) -> bool {
    text.split(['/', '\\']).any(|part| matches!(part, "." | ".."))
}

/// A2A 3.1.4: 1 to 100, 50 when absent.
fn page(request: &proto::ListTasksRequest) -> Result<(), Error> {
    if request.page_size.is_some_and(|size| !(1..=100).contains(&size)) {
        return Err(Error::invalid("pageSize", "must be from 1 to 100"));
    }
    if request.history_length.is_some_and(|length| length < 0) {
        return Err(Error::invalid("historyLength", "must be 0 or more"));
    }
    if request.status_timestamp_after.is_some_and(|time| !wkt::is_time(&time)) {
        return Err(Error::invalid("statusTimestampAfter", "must be of the years 1 to 9999, its nanos below a second"));
    }
    Ok(())
}

/// Where the operation names its task.
fn task_field(operation: &Operation, version: Version) -> &'static str {
    match operation {
        Operation::SendMessage(_) | Operation::SendStreamingMessage(_) => "message.taskId",
        Operation::CreatePushConfig(_) => "taskId",
        Operation::GetPushConfig(_) | Operation::ListPushConfigs(_) | Operation::DeletePushConfig(_)
            if version == Version::V1_0 =>
        {
            "taskId"
        }
        _ => "id",
    }
}

struct Missing {
    version: Version,
    fields: Vec<&'static str>,
}

impl Missing {
    fn text(&mut self, name: &'static str, name_0_3: &'static str, value: &str) {
        self.flag(name, name_0_3, value.is_empty());
    }

    fn flag(&mut self, name: &'static str, name_0_3: &'static str, is_missing: bool) {
        if is_missing {
            self.fields.push(if self.version == Version::V1_0 { name } else { name_0_3 });
        }
    }

    fn send(&mut self, request: &proto::SendMessageRequest) {
        let Some(message) = &request.message else {
            self.fields.push("message");
            return;
        };
        self.text("message.messageId", "message.messageId", &message.message_id);
        self.flag("message.role", "message.role", message.role == i32::from(proto::Role::Unspecified));
        self.flag("message.parts", "message.parts", message.parts.is_empty());
        let without_content = message.parts.iter().any(|part| part.content.is_none());
        self.flag("message.parts.content", "message.parts.kind", without_content);
        let config = request.configuration.as_ref().and_then(|c| c.task_push_notification_config.as_ref());
        let path = "configuration.taskPushNotificationConfig.url";
        self.flag(path, "configuration.pushNotificationConfig.url", config.is_some_and(|c| c.url.is_empty()));
    }

    fn into_result(self) -> Result<(), Error> {
        let Some(first) = self.fields.first() else { return Ok(()) };
        let description = |field: &str| match field {
            "message.parts.content" => "each part needs one of text, raw, url and data",
            "message.parts.kind" => "each part needs a kind and its content",
            "message.parts" => "is required: at least one part",
            "message.role" => "is required: ROLE_USER for a message to an agent (\"user\" in 0.3)",
            _ => "is required",
        };
        let message = format!("{first}: {}", description(first));
        let error = Error::new(Kind::InvalidParams, message);
        Err(self.fields.iter().fold(error, |error, field| {
            error.violation(FieldViolation { field: (*field).to_owned(), description: description(field).to_owned() })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_missing_member_in_the_callers_spelling() {
        let empty = Operation::SendMessage(proto::SendMessageRequest {
            message: Some(proto::Message::default()),
            ..Default::default()
        });
        let error = check(&empty, Version::V1_0).unwrap_err();
        let fields: Vec<_> = error.violations().iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["message.messageId", "message.role", "message.parts"]);
        let push = Operation::CreatePushConfig(proto::TaskPushNotificationConfig::default());
        let error = check(&push, Version::V0_3).unwrap_err();
        assert_eq!(error.violations()[1].field, "pushNotificationConfig.url");
    }

    #[test]
    fn lets_0_3_leave_the_config_id_out() {
        let get = Operation::GetPushConfig(proto::GetTaskPushNotificationConfigRequest {
            task_id: "t".into(),
            ..Default::default()
        });
        assert!(check(&get, Version::V0_3).is_ok());
        assert!(check(&get, Version::V1_0).is_err());
    }
}
