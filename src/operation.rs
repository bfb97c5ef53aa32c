//! The eleven operations of A2A, and the one table that says how each is spelled on every wire.
//!
//! Doors and upstreams are driven from [`METHODS`]; none of them knows a method name, a path or a verb of its own.

use std::fmt;

use http::Method as Verb;

use crate::proto;

/// A protocol version of A2A. The patch part plays no role in negotiation (A2A 3.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    V0_3,
    V1_0,
}

impl Version {
    /// The package of its protobuf schema.
    pub const fn package(self) -> &'static str {
        match self {
            Self::V0_3 => "a2a.v1",
            Self::V1_0 => "lf.a2a.v1",
        }
    }

    /// As it stands in the `A2A-Version` header and in cards.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_3 => "0.3",
            Self::V1_0 => "1.0",
        }
    }

    /// Reads `Major.Minor` with an optional patch part; `None` for a version that we do not speak.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split('.');
        let version = match (numbers.next()?, numbers.next()?) {
            ("0", "3") => Self::V0_3,
            ("1", "0") => Self::V1_0,
            _ => return None,
        };
        match (numbers.next(), numbers.next()) {
            (None, _) => Some(version),
            (Some(patch), None) if !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()) => Some(version),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A wire form of the A2A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    Grpc,
    Connect,
    GrpcWeb,
    JsonRpc,
    HttpJson,
}

impl Binding {
    /// The name in records and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Connect => "connect",
            Self::GrpcWeb => "grpc_web",
            Self::JsonRpc => "jsonrpc",
            Self::HttpJson => "http_json",
        }
    }
}

/// Which of the eleven operations: the key of [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rpc {
    SendMessage,
    SendStreamingMessage,
    GetTask,
    ListTasks,
    CancelTask,
    SubscribeToTask,
    CreatePushConfig,
    GetPushConfig,
    ListPushConfigs,
    GetExtendedAgentCard,
    DeletePushConfig,
}

impl Rpc {
    /// This operation's row.
    pub fn method(self) -> &'static Method {
        &METHODS[self as usize]
    }
}

/// What an agent's card must offer before an operation makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    None,
    Streaming,
    PushNotifications,
    ExtendedAgentCard,
}

/// How one operation is spelled on the wires of both versions.
#[derive(Debug)]
pub struct Method {
    pub rpc: Rpc,
    /// RPC name in 1.0, also its JSON-RPC method name (A2A 9.4).
    pub name: &'static str,
    /// JSON-RPC method name in 0.3.
    pub name_0_3: &'static str,
    /// RPC name in `a2a.v1`, the gRPC form of 0.3; none where 0.3 has no such RPC.
    pub rpc_0_3: Option<&'static str>,
    /// Verb and path template in 1.0, as in the `google.api.http` annotation.
    pub http: (Verb, &'static str),
    /// Verb and path template in 0.3.
    pub http_0_3: Option<(Verb, &'static str)>,
    /// The answer is a stream of events.
    pub streams: bool,
    /// A repeat has the same outcome and the same answer, so it may be sent again.
    pub repeatable: bool,
    pub capability: Capability,
}

impl Method {
    /// The method of this name in the schema, which is also its JSON-RPC name in 1.0.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// The method of this name in the schema of `version`.
    pub fn by_rpc_name(name: &str, version: Version) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.rpc_name(version) == Some(name))
    }

    /// The name in the schema of `version`, if that has the operation.
    pub const fn rpc_name(&self, version: Version) -> Option<&'static str> {
        match version {
            Version::V0_3 => self.rpc_0_3,
            Version::V1_0 => Some(self.name),
        }
    }

    /// The method of this JSON-RPC name, and the version whose spelling it is.
    pub fn by_jsonrpc_name(name: &str) -> Option<(&'static Self, Version)> {
        METHODS.iter().find_map(|method| match name {
            _ if name == method.name => Some((method, Version::V1_0)),
            _ if name == method.name_0_3 => Some((method, Version::V0_3)),
            _ => None,
        })
    }

    /// The JSON-RPC method name in `version`.
    pub const fn jsonrpc_name(&self, version: Version) -> &'static str {
        match version {
            Version::V0_3 => self.name_0_3,
            Version::V1_0 => self.name,
        }
    }

    /// Whether `version` defines this operation. 0.3 has no ListTasks; the name `tasks/list` is in use nevertheless.
    pub fn exists_in(&self, version: Version) -> bool {
        version == Version::V1_0 || self.rpc_0_3.is_some()
    }
}

/// One row an operation, in the order of [`Rpc`] and of the service in the schema.
#[rustfmt::skip]
pub static METHODS: [Method; 11] = [
    Method { rpc: Rpc::SendMessage, name: "SendMessage", name_0_3: "message/send", rpc_0_3: Some("SendMessage"),
        http: (Verb::POST, "/message:send"), http_0_3: Some((Verb::POST, "/v1/message:send")),
        streams: false, repeatable: false, capability: Capability::None },
    Method { rpc: Rpc::SendStreamingMessage, name: "SendStreamingMessage", name_0_3: "message/stream", rpc_0_3: Some("SendStreamingMessage"),
        http: (Verb::POST, "/message:stream"), http_0_3: Some((Verb::POST, "/v1/message:stream")),
        streams: true, repeatable: false, capability: Capability::Streaming },
    Method { rpc: Rpc::GetTask, name: "GetTask", name_0_3: "tasks/get", rpc_0_3: Some("GetTask"),
        http: (Verb::GET, "/tasks/{id=*}"), http_0_3: Some((Verb::GET, "/v1/{name=tasks/*}")),
        streams: false, repeatable: true, capability: Capability::None },
    Method { rpc: Rpc::ListTasks, name: "ListTasks", name_0_3: "tasks/list", rpc_0_3: None,
        http: (Verb::GET, "/tasks"), http_0_3: None,
        streams: false, repeatable: true, capability: Capability::None },
    Method { rpc: Rpc::CancelTask, name: "CancelTask", name_0_3: "tasks/cancel", rpc_0_3: Some("CancelTask"),
        http: (Verb::POST, "/tasks/{id=*}:cancel"), http_0_3: Some((Verb::POST, "/v1/{name=tasks/*}:cancel")),
        streams: false, repeatable: false, capability: Capability::None },
    Method { rpc: Rpc::SubscribeToTask, name: "SubscribeToTask", name_0_3: "tasks/resubscribe", rpc_0_3: Some("TaskSubscription"),
        http: (Verb::GET, "/tasks/{id=*}:subscribe"), http_0_3: Some((Verb::GET, "/v1/{name=tasks/*}:subscribe")),
        streams: true, repeatable: true, capability: Capability::Streaming },
    Method { rpc: Rpc::CreatePushConfig, name: "CreateTaskPushNotificationConfig", name_0_3: "tasks/pushNotificationConfig/set", rpc_0_3: Some("CreateTaskPushNotificationConfig"),
        http: (Verb::POST, "/tasks/{task_id=*}/pushNotificationConfigs"), http_0_3: Some((Verb::POST, "/v1/{parent=tasks/*/pushNotificationConfigs}")),
        streams: false, repeatable: false, capability: Capability::PushNotifications },
    Method { rpc: Rpc::GetPushConfig, name: "GetTaskPushNotificationConfig", name_0_3: "tasks/pushNotificationConfig/get", rpc_0_3: Some("GetTaskPushNotificationConfig"),
        http: (Verb::GET, "/tasks/{task_id=*}/pushNotificationConfigs/{id=*}"), http_0_3: Some((Verb::GET, "/v1/{name=tasks/*/pushNotificationConfigs/*}")),
        streams: false, repeatable: true, capability: Capability::PushNotifications },
    Method { rpc: Rpc::ListPushConfigs, name: "ListTaskPushNotificationConfigs", name_0_3: "tasks/pushNotificationConfig/list", rpc_0_3: Some("ListTaskPushNotificationConfig"),
        http: (Verb::GET, "/tasks/{task_id=*}/pushNotificationConfigs"), http_0_3: Some((Verb::GET, "/v1/{parent=tasks/*}/pushNotificationConfigs")),
        streams: false, repeatable: true, capability: Capability::PushNotifications },
    Method { rpc: Rpc::GetExtendedAgentCard, name: "GetExtendedAgentCard", name_0_3: "agent/getAuthenticatedExtendedCard", rpc_0_3: Some("GetAgentCard"),
        http: (Verb::GET, "/extendedAgentCard"), http_0_3: Some((Verb::GET, "/v1/card")),
        streams: false, repeatable: true, capability: Capability::ExtendedAgentCard },
    Method { rpc: Rpc::DeletePushConfig, name: "DeleteTaskPushNotificationConfig", name_0_3: "tasks/pushNotificationConfig/delete", rpc_0_3: Some("DeleteTaskPushNotificationConfig"),
        http: (Verb::DELETE, "/tasks/{task_id=*}/pushNotificationConfigs/{id=*}"), http_0_3: Some((Verb::DELETE, "/v1/{name=tasks/*/pushNotificationConfigs/*}")),
        streams: false, repeatable: true, capability: Capability::PushNotifications },
];

/// One operation with its typed 1.0 request.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    SendMessage(proto::SendMessageRequest),
    SendStreamingMessage(proto::SendMessageRequest),
    GetTask(proto::GetTaskRequest),
    ListTasks(proto::ListTasksRequest),
    CancelTask(proto::CancelTaskRequest),
    SubscribeToTask(proto::SubscribeToTaskRequest),
    CreatePushConfig(proto::TaskPushNotificationConfig),
    GetPushConfig(proto::GetTaskPushNotificationConfigRequest),
    ListPushConfigs(proto::ListTaskPushNotificationConfigsRequest),
    GetExtendedAgentCard(proto::GetExtendedAgentCardRequest),
    DeletePushConfig(proto::DeleteTaskPushNotificationConfigRequest),
}

impl Operation {
    pub const fn rpc(&self) -> Rpc {
        match self {
            Self::SendMessage(_) => Rpc::SendMessage,
            Self::SendStreamingMessage(_) => Rpc::SendStreamingMessage,
            Self::GetTask(_) => Rpc::GetTask,
            Self::ListTasks(_) => Rpc::ListTasks,
            Self::CancelTask(_) => Rpc::CancelTask,
            Self::SubscribeToTask(_) => Rpc::SubscribeToTask,
            Self::CreatePushConfig(_) => Rpc::CreatePushConfig,
            Self::GetPushConfig(_) => Rpc::GetPushConfig,
            Self::ListPushConfigs(_) => Rpc::ListPushConfigs,
            Self::GetExtendedAgentCard(_) => Rpc::GetExtendedAgentCard,
            Self::DeletePushConfig(_) => Rpc::DeletePushConfig,
        }
    }

    pub fn method(&self) -> &'static Method {
        self.rpc().method()
    }

    /// The `tenant` of the request; empty when there is none.
    pub fn tenant(&self) -> &str {
        match self {
            Self::SendMessage(r) | Self::SendStreamingMessage(r) => &r.tenant,
            Self::GetTask(r) => &r.tenant,
            Self::ListTasks(r) => &r.tenant,
            Self::CancelTask(r) => &r.tenant,
            Self::SubscribeToTask(r) => &r.tenant,
            Self::CreatePushConfig(r) => &r.tenant,
            Self::GetPushConfig(r) => &r.tenant,
            Self::ListPushConfigs(r) => &r.tenant,
            Self::GetExtendedAgentCard(r) => &r.tenant,
            Self::DeletePushConfig(r) => &r.tenant,
        }
    }

    /// Replaces the `tenant`, as when the agent knows its tenant by another name than the caller.
    #[must_use]
    pub fn with_tenant(mut self, tenant: String) -> Self {
        match &mut self {
            Self::SendMessage(r) | Self::SendStreamingMessage(r) => r.tenant = tenant,
            Self::GetTask(r) => r.tenant = tenant,
            Self::ListTasks(r) => r.tenant = tenant,
            Self::CancelTask(r) => r.tenant = tenant,
            Self::SubscribeToTask(r) => r.tenant = tenant,
            Self::CreatePushConfig(r) => r.tenant = tenant,
            Self::GetPushConfig(r) => r.tenant = tenant,
            Self::ListPushConfigs(r) => r.tenant = tenant,
            Self::GetExtendedAgentCard(r) => r.tenant = tenant,
            Self::DeletePushConfig(r) => r.tenant = tenant,
        }
        self
    }

    /// The task that the operation names, if it names one.
    pub fn task_id(&self) -> Option<&str> {
        let id = match self {
            Self::SendMessage(r) | Self::SendStreamingMessage(r) => r.message.as_ref().map_or("", |m| &m.task_id),
            Self::GetTask(r) => &r.id,
            Self::CancelTask(r) => &r.id,
            Self::SubscribeToTask(r) => &r.id,
            Self::CreatePushConfig(r) => &r.task_id,
            Self::GetPushConfig(r) => &r.task_id,
            Self::ListPushConfigs(r) => &r.task_id,
            Self::DeletePushConfig(r) => &r.task_id,
            Self::ListTasks(_) | Self::GetExtendedAgentCard(_) => "",
        };
        Some(id).filter(|id| !id.is_empty())
    }

    /// The context that the operation names, if it names one.
    pub fn context_id(&self) -> Option<&str> {
        let id = match self {
            Self::SendMessage(r) | Self::SendStreamingMessage(r) => r.message.as_ref().map_or("", |m| &m.context_id),
            Self::ListTasks(r) => &r.context_id,
            _ => "",
        };
        Some(id).filter(|id| !id.is_empty())
    }

    /// How many messages of history the caller asked for; `Some(0)` is none, `None` is all.
    pub fn history_length(&self) -> Option<i32> {
        match self {
            Self::SendMessage(r) | Self::SendStreamingMessage(r) => r.configuration.as_ref()?.history_length,
            Self::GetTask(r) => r.history_length,
            Self::ListTasks(r) => r.history_length,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_rows_in_the_order_of_their_keys() {
        for (at, method) in METHODS.iter().enumerate() {
            assert_eq!(method.rpc as usize, at, "{}", method.name);
        }
    }

    #[test]
    fn reads_versions_without_their_patch_part() {
        assert_eq!(Version::parse("1.0"), Some(Version::V1_0));
        assert_eq!(Version::parse("1.0.1"), Some(Version::V1_0));
        assert_eq!(Version::parse(" 0.3.0 "), Some(Version::V0_3));
        for unknown in ["", "1", "2.0", "0.2.6", "1.0.x", "v1.0", "1.0.0.0", "1.0."] {
            assert_eq!(Version::parse(unknown), None, "{unknown}");
        }
    }
}
