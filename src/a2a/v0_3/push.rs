//! Push notification configs: nested in 0.3, flat in 1.0.

use serde_json::value::RawValue;

use super::ConvertError;
use super::raw;
use super::request::parse;
use super::types as old;
use crate::proto;

/// A nested 0.3 config as the flat one of 1.0. Of several authentication schemes the first is kept.
pub fn push_config_from_v0_3(old: old::TaskPushNotificationConfig) -> proto::TaskPushNotificationConfig {
    let config = old.push_notification_config.unwrap_or_default();
    proto::TaskPushNotificationConfig {
        tenant: String::new(),
        id: config.id,
        task_id: old.task_id,
        url: config.url,
        token: config.token,
        authentication: config.authentication.map(|authentication| proto::AuthenticationInfo {
            scheme: authentication.schemes.into_iter().next().unwrap_or_default(),
            credentials: authentication.credentials,
        }),
    }
}

/// The flat config of 1.0 as 0.3 nests it.
pub fn push_config_to_v0_3(new: &proto::TaskPushNotificationConfig) -> old::TaskPushNotificationConfig {
    old::TaskPushNotificationConfig {
        task_id: new.task_id.clone(),
        push_notification_config: Some(old::PushNotificationConfig {
            id: new.id.clone(),
            url: new.url.clone(),
            token: new.token.clone(),
            authentication: new.authentication.as_ref().map(|authentication| old::PushNotificationAuthenticationInfo {
                schemes: vec![authentication.scheme.clone()],
                credentials: authentication.credentials.clone(),
            }),
        }),
    }
}

/// Reads the array that answers `tasks/pushNotificationConfig/list`.
pub fn push_configs_from_v0_3(json: &[u8]) -> Result<proto::ListTaskPushNotificationConfigsResponse, ConvertError> {
    let old: Vec<old::TaskPushNotificationConfig> = parse(json)?;
    let configs = old.into_iter().map(push_config_from_v0_3).collect();
    Ok(proto::ListTaskPushNotificationConfigsResponse { configs, next_page_token: String::new() })
}

/// Writes that array. Its pages cannot be told in 0.3.
pub fn push_configs_to_v0_3(
    new: &proto::ListTaskPushNotificationConfigsResponse,
) -> Result<Box<RawValue>, ConvertError> {
    raw(&new.configs.iter().map(push_config_to_v0_3).collect::<Vec<_>>())
}

/// Reads the answer to a push config's `set` or `get`.
pub fn parse_push_config(json: &[u8]) -> Result<proto::TaskPushNotificationConfig, ConvertError> {
    parse(json).map(push_config_from_v0_3)
}
