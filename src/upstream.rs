//! The far side: a permitted call to one endpoint of its agent, in the binding and version that it speaks.

use std::sync::Arc;

use crate::access::Permitted;
use crate::call::{Answer, Content, FileBytes, Form, Peek, Reply, Response};
use crate::clock::Clock;
use crate::config::{Dialect, Settings};
use crate::error::{Error, Kind};
use crate::limits::Reserved;
use crate::operation::{Binding, Version};
use crate::outbound::{Destination, Outbound};
use crate::proto::send_message_response::Payload as Sent;
use crate::store::OwnedRow;
use crate::wire::body::Budget;
use crate::wire::content;

mod events;
mod exchange;
mod failure;
mod grpc;
mod http;
mod jsonrpc;
mod rest;
mod waiting;

use exchange::Exchange;
pub use failure::of_outbound;

/// One address of an agent, with its binding and protocol version.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub destination: Destination,
    pub binding: Binding,
    pub version: Version,
    /// The tenant that the agent's card publishes for this address; empty for none.
    pub tenant: String,
    /// What the agent does otherwise than A2A says.
    pub dialect: Dialect,
    /// It is where the operator registered the agent, so the headers of its entry may go there.
    pub is_registered_origin: bool,
    /// As the record names it.
    pub label: Arc<str>,
}

impl Endpoint {
    /// How the endpoint spells messages.
    pub fn form(&self) -> Form {
        match (self.binding, self.version) {
            (Binding::Grpc | Binding::Connect | Binding::GrpcWeb, Version::V1_0) => Form::Proto,
            (Binding::Grpc | Binding::Connect | Binding::GrpcWeb, Version::V0_3) => Form::ProtoV0_3(self.file_bytes()),
            (Binding::HttpJson, Version::V0_3) => Form::ProtoJsonV0_3(self.file_bytes()),
            (Binding::JsonRpc | Binding::HttpJson, version) => Form::Json(version),
        }
    }

    /// What the bytes of files are to it, in the protobuf form of 0.3.
    pub fn file_bytes(&self) -> FileBytes {
        self.dialect.file_bytes_by(self.binding)
    }

    /// Whether a task or context was made here.
    pub fn is_home(&self, row: &OwnedRow) -> bool {
        *row.endpoint_id == *self.label
            && row.agent_binding == self.binding.as_str()
            && row.agent_version == self.version.as_str()
    }

    /// The tenant that the agent is to see.
    ///
    /// A caller may say `agent` or `agent/inner`, where the agent's own name is ours to resolve, or the tenant that
    /// the endpoint publishes. Anything else names somebody else.
    ///
    /// # Errors
    /// InvalidParams when the tenant names another agent than the path did.
    pub fn tenant_for(&self, permitted: &Permitted<'_>) -> Result<String, Error> {
        let asked = permitted.call().operation.tenant();
        let agent = permitted.agent();
        if asked.is_empty() || asked == self.tenant || agent.is_called(asked) {
            // 0.3 has no tenants.
            return Ok(if self.version == Version::V0_3 { String::new() } else { self.tenant.clone() });
        }
        match asked.split_once('/') {
            Some((name, inner)) if agent.is_called(name) && !inner.is_empty() => Ok(inner.to_owned()),
            _ => Err(Error::invalid(
                "tenant",
                "names another agent than the address, or a tenant that this agent does not have: leave it out",
            )),
        }
    }
}

/// What calls need on their way out. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    pub outbound: Arc<Outbound>,
    pub budget: Budget,
    pub clock: Clock,
    pub settings: Arc<Settings>,
}

impl Upstream {
    /// Makes the call. It is sent at most once.
    ///
    /// # Errors
    /// The agent's own, or what went wrong on the way; [`Error::sent`] says whether the agent may have the request.
    pub async fn send(&self, reserved: &Reserved<'_>, endpoint: &Endpoint) -> Result<Reply, Error> {
        let permitted = reserved.permitted();
        let reply = async {
            let method = permitted.call().operation.method();
            if !method.exists_in(endpoint.version) {
                let message = format!("the agent speaks A2A {}, which has no {}", endpoint.version, method.name);
                return Err(Error::new(Kind::UnsupportedOperation, message));
            }
            let exchange = Exchange::new(self, permitted, endpoint)?;
            if method.streams { Box::pin(exchange.stream()).await } else { exchange.unary().await }
        };
        reply.await.map_err(|error| error.at(&endpoint.label, endpoint.binding, endpoint.version))
    }
}

/// Refuses an answer that is about another task than the one asked for: it could be somebody else's.
fn about_the_same_task(asked: Option<&str>, peek: &Peek) -> Result<(), Error> {
    match (asked, peek.task_id.as_deref()) {
        (Some(asked), Some(found)) if asked != found => {
            Err(Error::new(Kind::InvalidAgentResponse, "the agent answered about another task than the one asked for"))
        }
        _ => Ok(()),
    }
}

fn has_ended() -> Error {
    Error::new(Kind::UnsupportedOperation, "the task has ended: there is nothing to subscribe to")
}

/// Refuses a list of push configs with one of another task.
fn all_of_one_task(answer: &Answer, task_id: &str) -> Result<(), Error> {
    match content::typed_answer(answer.clone())? {
        Response::PushConfigs(list) if list.configs.iter().all(|config| ["", task_id].contains(&&*config.task_id)) => {
            Ok(())
        }
        _ => Err(Error::new(Kind::InvalidAgentResponse, "the agent listed the push configs of another task")),
    }
}

/// A 0.3 agent takes a history length of 0 for no limit; a 1.0 caller means none (A2A 3.2.4).
fn with_history_of(answer: Answer, length: i32) -> Result<Answer, Error> {
    let (rpc, peek) = (answer.rpc, answer.peek.clone());
    let mut response = content::typed_answer(answer)?;
    if let Response::Task(task)
    | Response::SendMessage(crate::proto::SendMessageResponse { payload: Some(Sent::Task(task)) }) = &mut response
    {
        content::keep_latest(task, length);
    }
    Ok(Answer { rpc, peek, content: Content::Typed(Box::new(response)) })
}
