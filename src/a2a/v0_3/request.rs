//! Requests of 0.3: params to the typed 1.0 operation and back.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::types as old;
use super::{ConvertError, parts, push, raw, state_by_name};
use crate::operation::{Operation, Rpc};
use crate::proto;

/// Reads the params of a 0.3 request.
///
/// # Errors
/// What is wrong, with the path of the member in 0.3's spelling.
pub fn params_from_v0_3(rpc: Rpc, params: &[u8]) -> Result<Operation, ConvertError> {
    let request = match rpc {
        Rpc::SendMessage | Rpc::SendStreamingMessage => old::Request::Send(Box::new(parse(params)?)),
        Rpc::ListTasks => return Ok(Operation::ListTasks(list_request(parse(params)?)?)),
        Rpc::CreatePushConfig => old::Request::SetPush(parse(params)?),
        Rpc::GetExtendedAgentCard => old::Request::Card {},
        _ => old::Request::Task(parse(params)?),
    };
    operation(rpc, request)
}

/// A 0.3 request as the operation that it is.
///
/// # Errors
/// What is wrong, with the path of the member in 0.3's spelling.
pub(super) fn operation(rpc: Rpc, request: old::Request) -> Result<Operation, ConvertError> {
    let tenant = String::new();
    let old = match request {
        old::Request::Send(params) if rpc == Rpc::SendMessage => {
            return Ok(Operation::SendMessage(send_request(*params)?));
        }
        old::Request::Send(params) => return Ok(Operation::SendStreamingMessage(send_request(*params)?)),
        old::Request::SetPush(config) => {
            return Ok(Operation::CreatePushConfig(push::push_config_from_v0_3(config)));
        }
        old::Request::Card {} => old::TaskParams::default(),
        old::Request::Task(params) => params,
    };
    let (id, config) = (old.id, old.push_notification_config_id);
    Ok(match rpc {
        Rpc::CancelTask => Operation::CancelTask(proto::CancelTaskRequest { tenant, id, metadata: old.metadata }),
        Rpc::SubscribeToTask => Operation::SubscribeToTask(proto::SubscribeToTaskRequest { tenant, id }),
        Rpc::GetPushConfig => {
            Operation::GetPushConfig(proto::GetTaskPushNotificationConfigRequest { tenant, task_id: id, id: config })
        }
        Rpc::ListPushConfigs => Operation::ListPushConfigs(proto::ListTaskPushNotificationConfigsRequest {
            task_id: id,
            ..Default::default()
        }),
        Rpc::GetExtendedAgentCard => Operation::GetExtendedAgentCard(proto::GetExtendedAgentCardRequest { tenant }),
        Rpc::DeletePushConfig => Operation::DeletePushConfig(proto::DeleteTaskPushNotificationConfigRequest {
            tenant,
            task_id: id,
            id: config,
        }),
        _ => Operation::GetTask(proto::GetTaskRequest { tenant, id, history_length: limited(old.history_length) }),
    })
}

/// Writes an operation as the params of a 0.3 request; `None` where 0.3 has no such operation.
///
/// # Errors
/// A part without content, which 0.3 cannot say.
pub fn params_to_v0_3(operation: &Operation) -> Result<Option<Box<RawValue>>, ConvertError> {
    request(operation)?.as_ref().map(raw).transpose()
}

/// An operation as the request of 0.3 that it is; `None` where 0.3 has no such operation.
///
/// # Errors
/// A part without content, which 0.3 cannot say.
pub(super) fn request(operation: &Operation) -> Result<Option<old::Request>, ConvertError> {
    let task = |id: &str| old::TaskParams { id: id.to_owned(), ..Default::default() };
    let push_params =
        |task_id: &str, id: &str| old::TaskParams { push_notification_config_id: id.to_owned(), ..task(task_id) };
    let params = match operation {
        Operation::SendMessage(r) | Operation::SendStreamingMessage(r) => {
            return Ok(Some(old::Request::Send(Box::new(send_params(r)?))));
        }
        Operation::CreatePushConfig(r) => return Ok(Some(old::Request::SetPush(push::push_config_to_v0_3(r)))),
        Operation::GetExtendedAgentCard(_) => return Ok(Some(old::Request::Card {})),
        Operation::ListTasks(_) => return Ok(None),
        Operation::GetTask(r) => old::TaskParams { history_length: r.history_length, ..task(&r.id) },
        Operation::CancelTask(r) => old::TaskParams { metadata: r.metadata.clone(), ..task(&r.id) },
        Operation::SubscribeToTask(r) => task(&r.id),
        Operation::GetPushConfig(r) => push_params(&r.task_id, &r.id),
        Operation::ListPushConfigs(r) => task(&r.task_id),
        Operation::DeletePushConfig(r) => push_params(&r.task_id, &r.id),
    };
    Ok(Some(old::Request::Task(params)))
}

pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, ConvertError> {
    crate::a2a::parse::located(json).map_err(|(field, problem)| {
        ConvertError::new(field, problem.unwrap_or_else(|| "trailing characters".to_owned()))
    })
}

fn send_request(mut params: old::MessageSendParams) -> Result<proto::SendMessageRequest, ConvertError> {
    if let Some(config) = params.config {
        params.metadata.get_or_insert_default().fields.entry("config".to_owned()).or_insert(config);
    }
    let message = params.message.map(|message| parts::message_from_v0_3(message).map_err(|e| e.inside("message")));
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
    let message = request.message.as_ref().map(|m| parts::message_to_v0_3(m).map_err(|e| e.inside("message")));
    Ok(old::MessageSendParams {
        message: message.transpose()?,
        config: None,
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
