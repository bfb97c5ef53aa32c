//! The requests of 0.3's protobuf form, and its push configs, whose names are paths.

use super::{FileBytes, message_from, message_to, pb};
use crate::a2a::v0_3::ConvertError;
use crate::a2a::v0_3::types as old;
use crate::operation::Rpc;

/// A request as one of the messages of the service.
#[derive(Debug)]
pub enum Asked {
    Send(pb::SendMessageRequest),
    Get(pb::GetTaskRequest),
    Cancel(pb::CancelTaskRequest),
    Subscribe(pb::TaskSubscriptionRequest),
    SetPush(pb::CreateTaskPushNotificationConfigRequest),
    GetPush(pb::GetTaskPushNotificationConfigRequest),
    ListPush(pb::ListTaskPushNotificationConfigRequest),
    Card(pb::GetAgentCardRequest),
    DeletePush(pb::DeleteTaskPushNotificationConfigRequest),
}

/// The ids in `tasks/{task}` or `tasks/{task}/pushNotificationConfigs/{config}`; a path may begin with a slash, and the
/// second id may be missing.
///
/// # Errors
/// When it is no such name.
pub fn ids_in(name: &str, field: &str) -> Result<(String, String), ConvertError> {
    const CONFIGS: &str = "/pushNotificationConfigs";
    let shape = || {
        let hint = "must be a name such as tasks/{id} or tasks/{id}/pushNotificationConfigs/{id}";
        ConvertError::new(field, hint)
    };
    let below = name.trim_start_matches('/').strip_prefix("tasks/").ok_or_else(shape)?;
    let (task, config) = match below.rsplit_once(CONFIGS) {
        Some((task, "" | "/")) => (task, ""),
        Some((task, config)) => (task, config.strip_prefix('/').ok_or_else(shape)?),
        None => (below, ""),
    };
    if task.is_empty() { Err(shape()) } else { Ok((task.to_owned(), config.to_owned())) }
}

fn task_name(id: &str) -> String {
    format!("tasks/{id}")
}

/// The name of a push config.
pub fn config_name(task: &str, config: &str) -> String {
    format!("tasks/{task}/pushNotificationConfigs/{config}")
}

/// What a request says.
///
/// # Errors
/// A name that is none, a part without content.
pub fn request_from(asked: Asked, files: FileBytes) -> Result<old::Request, ConvertError> {
    let task = |name: &str| {
        let (id, push_notification_config_id) = ids_in(name, "name")?;
        Ok(old::TaskParams { id, push_notification_config_id, ..Default::default() })
    };
    Ok(old::Request::Task(match asked {
        Asked::Send(request) => return Ok(old::Request::Send(Box::new(send_from(request, files)?))),
        Asked::SetPush(request) => return Ok(old::Request::SetPush(set_from(request)?)),
        Asked::Card(_) => return Ok(old::Request::Card {}),
        Asked::Get(request) => {
            // 0 is the default, and no limit.
            let history_length = Some(request.history_length).filter(|length| *length != 0);
            old::TaskParams { history_length, ..task(&request.name)? }
        }
        Asked::Cancel(request) => task(&request.name)?,
        Asked::Subscribe(request) => task(&request.name)?,
        Asked::GetPush(request) => task(&request.name)?,
        Asked::DeletePush(request) => task(&request.name)?,
        Asked::ListPush(request) => {
            let (id, _) = ids_in(&request.parent, "parent")?;
            old::TaskParams { id, ..Default::default() }
        }
    }))
}

fn send_from(request: pb::SendMessageRequest, files: FileBytes) -> Result<old::MessageSendParams, ConvertError> {
    let message = request.request.map(|message| message_from(message, files));
    let configuration = request.configuration.map(|configuration| old::MessageSendConfiguration {
        accepted_output_modes: configuration.accepted_output_modes,
        history_length: Some(configuration.history_length).filter(|length| *length != 0),
        push_notification_config: configuration.push_notification.map(inner_from),
        // Absent is false, unless there is no configuration at all, which the SDKs read as blocking.
        blocking: Some(configuration.blocking),
    });
    Ok(old::MessageSendParams {
        message: message.transpose()?,
        config: None,
        configuration,
        metadata: request.metadata,
    })
}

fn set_from(
    request: pb::CreateTaskPushNotificationConfigRequest,
) -> Result<old::TaskPushNotificationConfig, ConvertError> {
    let config = request.config.unwrap_or_default();
    let (task_id, _) = ids_in(if request.parent.is_empty() { &config.name } else { &request.parent }, "parent")?;
    let mut inner = config.push_notification_config.map(inner_from).unwrap_or_default();
    if inner.id.is_empty() {
        let named = ids_in(&config.name, "config.name").map(|(_, config)| config).unwrap_or_default();
        inner.id = if request.config_id.is_empty() { named } else { request.config_id };
    }
    Ok(old::TaskPushNotificationConfig { task_id, push_notification_config: Some(inner) })
}

/// What a request is in protobuf.
pub fn request_to(rpc: Rpc, request: old::Request, files: FileBytes) -> Asked {
    let params = match request {
        old::Request::Send(params) => {
            return Asked::Send(pb::SendMessageRequest {
                request: params.message.map(|message| message_to(message, files)),
                configuration: params.configuration.map(|configuration| pb::SendMessageConfiguration {
                    accepted_output_modes: configuration.accepted_output_modes,
                    push_notification: configuration.push_notification_config.map(inner_to),
                    history_length: configuration.history_length.unwrap_or(0),
                    blocking: configuration.blocking.unwrap_or(true),
                }),
                metadata: params.metadata,
            });
        }
        old::Request::SetPush(config) => {
            let inner = config.push_notification_config.unwrap_or_default();
            let config_id = inner.id.clone();
            return Asked::SetPush(pb::CreateTaskPushNotificationConfigRequest {
                parent: task_name(&config.task_id),
                config: Some(pb::TaskPushNotificationConfig {
                    name: config_name(&config.task_id, &config_id),
                    push_notification_config: Some(inner_to(inner)),
                }),
                config_id,
            });
        }
        old::Request::Card {} => return Asked::Card(pb::GetAgentCardRequest {}),
        old::Request::Task(params) => params,
    };
    let name = task_name(&params.id);
    let config = config_name(&params.id, &params.push_notification_config_id);
    match rpc {
        Rpc::CancelTask => Asked::Cancel(pb::CancelTaskRequest { name }),
        Rpc::SubscribeToTask => Asked::Subscribe(pb::TaskSubscriptionRequest { name }),
        Rpc::GetPushConfig => Asked::GetPush(pb::GetTaskPushNotificationConfigRequest { name: config }),
        Rpc::DeletePushConfig => Asked::DeletePush(pb::DeleteTaskPushNotificationConfigRequest { name: config }),
        Rpc::ListPushConfigs => {
            Asked::ListPush(pb::ListTaskPushNotificationConfigRequest { parent: name, ..Default::default() })
        }
        _ => Asked::Get(pb::GetTaskRequest { name, history_length: params.history_length.unwrap_or(0) }),
    }
}

fn inner_from(new: pb::PushNotificationConfig) -> old::PushNotificationConfig {
    old::PushNotificationConfig {
        id: new.id,
        url: new.url,
        token: new.token,
        authentication: new.authentication.map(|authentication| old::PushNotificationAuthenticationInfo {
            schemes: authentication.schemes,
            credentials: authentication.credentials,
        }),
    }
}

fn inner_to(old: old::PushNotificationConfig) -> pb::PushNotificationConfig {
    pb::PushNotificationConfig {
        id: old.id,
        url: old.url,
        token: old.token,
        authentication: old.authentication.map(|authentication| pb::AuthenticationInfo {
            schemes: authentication.schemes,
            credentials: authentication.credentials,
        }),
    }
}

/// What is said of a push config.
///
/// # Errors
/// A name that is none.
pub fn push_config_from(new: pb::TaskPushNotificationConfig) -> Result<old::TaskPushNotificationConfig, ConvertError> {
    let (task_id, named) = ids_in(&new.name, "name")?;
    let mut inner = new.push_notification_config.map(inner_from).unwrap_or_default();
    if inner.id.is_empty() {
        inner.id = named;
    }
    Ok(old::TaskPushNotificationConfig { task_id, push_notification_config: Some(inner) })
}

/// What a push config is in protobuf.
pub fn push_config_to(old: old::TaskPushNotificationConfig) -> pb::TaskPushNotificationConfig {
    let inner = old.push_notification_config.unwrap_or_default();
    pb::TaskPushNotificationConfig {
        name: config_name(&old.task_id, &inner.id),
        push_notification_config: Some(inner_to(inner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_with_ids_of_any_characters() {
        let ids = |name| ids_in(name, "name").map(|(task, config)| format!("{task} {config}"));
        assert_eq!(ids("tasks/a").unwrap(), "a ");
        assert_eq!(ids("/tasks/a/b:c").unwrap(), "a/b:c ");
        assert_eq!(ids("tasks/a/pushNotificationConfigs/p/q").unwrap(), "a p/q");
        assert_eq!(ids("tasks/a/pushNotificationConfigs").unwrap(), "a ");
        for wrong in ["", "a", "tasks", "tasks/", "task/a", "tasks//pushNotificationConfigs/p"] {
            assert!(ids(wrong).is_err(), "{wrong}");
        }
    }
}
