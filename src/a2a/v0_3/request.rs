//! Requests of 0.3: params to the typed 1.0 operation and back.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::types as old;
use super::{ConvertError, push, raw, reply, state_by_name};
use crate::operation::{Operation, Rpc};
use crate::proto;

/// Reads the params of a 0.3 request.
///
/// # Errors
/// What is wrong, with the path of the member in 0.3's spelling.
pub fn params_from_v0_3(rpc: Rpc, params: &[u8]) -> Result<Operation, ConvertError> {
    Ok(match rpc {
        Rpc::SendMessage => Operation::SendMessage(send_request(parse(params)?)?),
        Rpc::SendStreamingMessage => Operation::SendStreamingMessage(send_request(parse(params)?)?),
        Rpc::GetTask => {
            let old::TaskParams { id, history_length, .. } = parse(params)?;
            Operation::GetTask(proto::GetTaskRequest {
                tenant: String::new(),
                id,
                history_length: limited(history_length),
            })
        }
        Rpc::ListTasks => Operation::ListTasks(list_request(parse(params)?)?),
        Rpc::CancelTask => {
            let old::TaskParams { id, metadata, .. } = parse(params)?;
            Operation::CancelTask(proto::CancelTaskRequest { tenant: String::new(), id, metadata })
        }
        Rpc::SubscribeToTask => {
            let old::TaskParams { id, .. } = parse(params)?;
            Operation::SubscribeToTask(proto::SubscribeToTaskRequest { tenant: String::new(), id })
        }
        Rpc::CreatePushConfig => Operation::CreatePushConfig(push::push_config_from_v0_3(parse(params)?)),
        Rpc::GetPushConfig => {
            let old::TaskParams { id: task_id, push_notification_config_id: id, .. } = parse(params)?;
            Operation::GetPushConfig(proto::GetTaskPushNotificationConfigRequest { tenant: String::new(), task_id, id })
        }
        Rpc::ListPushConfigs => {
            let old::TaskParams { id: task_id, .. } = parse(params)?;
            Operation::ListPushConfigs(proto::ListTaskPushNotificationConfigsRequest { task_id, ..Default::default() })
        }
        Rpc::GetExtendedAgentCard => Operation::GetExtendedAgentCard(proto::GetExtendedAgentCardRequest::default()),
        Rpc::DeletePushConfig => {
            let old::TaskParams { id: task_id, push_notification_config_id: id, .. } = parse(params)?;
            Operation::DeletePushConfig(proto::DeleteTaskPushNotificationConfigRequest {
                tenant: String::new(),
                task_id,
                id,
            })
        }
    })
}

/// Writes an operation as the params of a 0.3 request; `None` where 0.3 has no such operation.
///
/// # Errors
/// A part without content, which 0.3 cannot say.
pub fn params_to_v0_3(operation: &Operation) -> Result<Option<Box<RawValue>>, ConvertError> {
    let task = |id: &str| old::TaskParams { id: id.to_owned(), ..Default::default() };
    let push_params =
        |task_id: &str, id: &str| old::TaskParams { push_notification_config_id: id.to_owned(), ..task(task_id) };
    let params = match operation {
        Operation::SendMessage(r) | Operation::SendStreamingMessage(r) => raw(&send_params(r)?),
        Operation::GetTask(r) => raw(&old::TaskParams { history_length: r.history_length, ..task(&r.id) }),
        Operation::ListTasks(_) => return Ok(None),
        Operation::CancelTask(r) => raw(&old::TaskParams { metadata: r.metadata.clone(), ..task(&r.id) }),
        Operation::SubscribeToTask(r) => raw(&task(&r.id)),
        Operation::CreatePushConfig(r) => raw(&push::push_config_to_v0_3(r)),
        Operation::GetPushConfig(r) => raw(&push_params(&r.task_id, &r.id)),
        Operation::ListPushConfigs(r) => raw(&task(&r.task_id)),
        Operation::GetExtendedAgentCard(_) => raw(&serde_json::Map::new()),
        Operation::DeletePushConfig(r) => raw(&push_params(&r.task_id, &r.id)),
    };
    params.map(Some)
}

/// Parses, and on failure says where: the path is only tracked in a second pass.
pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, ConvertError> {
    serde_json::from_slice(json).map_err(|_| {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Ok(_) => ConvertError::new("", "trailing characters"),
            Err(error) => ConvertError::new(error.path().to_string(), crate::a2a::problem::of(error.inner())),
        }
    })
}

fn send_request(params: old::MessageSendParams) -> Result<proto::SendMessageRequest, ConvertError> {
    let message = params.message.map(|message| reply::message_from_v0_3(message).map_err(|e| e.inside("message")));
    Ok(proto::SendMessageRequest {
        tenant: String::new(),
        message: message.transpose()?,
        configuration: params.configuration.map(configuration),
        metadata: params.metadata,
    })
}

fn configuration(old: old::MessageSendConfiguration) -> proto::SendMessageConfiguration {
    let push = old.push_notification_config.map(|config| {
        push::push_config_from_v0_3(old::TaskPushNotificationConfig {
            task_id: String::new(),
            push_notification_config: Some(config),
        })
    });
    proto::SendMessageConfiguration {
        accepted_output_modes: old.accepted_output_modes,
        task_push_notification_config: push,
        history_length: limited(old.history_length),
        return_immediately: old.blocking == Some(false),
    }
}

/// In 0.3, a history length of 0 means no limit.
fn limited(history_length: Option<i32>) -> Option<i32> {
    history_length.filter(|length| *length != 0)
}

fn list_request(old: old::ListTasksParams) -> Result<proto::ListTasksRequest, ConvertError> {
    let status = match old.status.as_deref() {
        None => proto::TaskState::Unspecified,
        Some(name) => state_by_name(name)
            .or_else(|| proto::TaskState::from_str_name(name))
            .ok_or_else(|| ConvertError::new("status", "is no task state of A2A 0.3, as in \"input-required\""))?,
    };
    Ok(proto::ListTasksRequest {
        tenant: String::new(),
        context_id: old.context_id,
        status: status.into(),
        page_size: old.page_size,
        page_token: old.page_token,
        history_length: limited(old.history_length),
        status_timestamp_after: old.status_timestamp_after,
        include_artifacts: old.include_artifacts,
    })
}

fn send_params(request: &proto::SendMessageRequest) -> Result<old::MessageSendParams, ConvertError> {
    let message = request.message.as_ref().map(|m| reply::message_to_v0_3(m).map_err(|e| e.inside("message")));
    Ok(old::MessageSendParams {
        message: message.transpose()?,
        configuration: request.configuration.as_ref().map(|c| old::MessageSendConfiguration {
            accepted_output_modes: c.accepted_output_modes.clone(),
            history_length: c.history_length,
            push_notification_config: c
                .task_push_notification_config
                .as_ref()
                .and_then(|config| push::push_config_to_v0_3(config).push_notification_config),
            blocking: Some(!c.return_immediately),
        }),
        metadata: request.metadata.clone(),
    })
}
