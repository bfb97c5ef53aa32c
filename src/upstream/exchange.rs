//! One call on its way to one endpoint: what is the same whatever the binding.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use tokio::time::timeout;

use super::events::{Events, Source};
use super::{
    Endpoint, Upstream, about_the_same_task, all_of_one_task, failure, grpc, has_ended, jsonrpc, rest, waiting,
    with_history_of,
};
use crate::access::Permitted;
use crate::call::{A2A_VERSION, Answer, Call, Event, ExtensionUri, Form, Raw, Reply, ReplyBody, ReplyMeta};
use crate::config::Timeouts;
use crate::error::{Error, Kind};
use crate::operation::{Binding, Operation, Rpc, Version};
use crate::outbound::OUR_NAME;
use crate::proto::stream_response::Payload;
use crate::proto::{self};
use crate::registry::Agent;
use crate::wire::content;
use crate::wire::{json, proto as protobuf};

pub(super) struct Exchange<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) call: &'a Call,
    pub(super) endpoint: &'a Endpoint,
    /// The protocol's own headers, what the agent's entry asks for, and what it says.
    pub(super) headers: HeaderMap,
    /// The tenant that the agent is to see.
    pub(super) tenant: String,
    pub(super) patience: Patience,
}

/// What an exchange is made of, for as long as a stream is open.
pub(super) struct Owned {
    upstream: Upstream,
    call: Call,
    endpoint: Endpoint,
    headers: HeaderMap,
    tenant: String,
    patience: Patience,
}

impl Owned {
    pub(super) fn exchange(&self) -> Exchange<'_> {
        Exchange {
            upstream: &self.upstream,
            call: &self.call,
            endpoint: &self.endpoint,
            headers: self.headers.clone(),
            tenant: self.tenant.clone(),
            patience: self.patience,
        }
    }
}

/// How long the agent may take.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// To the first byte of its answer; None: as long as the whole.
    first_byte: Option<Duration>,
    /// For a unary answer, or to the beginning of a stream.
    total: Duration,
    /// The longest silence inside an answer.
    pub(super) idle: Duration,
}

impl Patience {
    fn with(agent: &Agent, all: &Timeouts) -> Self {
        let own = &agent.settings.timeouts;
        Self {
            first_byte: own.first_byte,
            total: own.total.unwrap_or(all.unary),
            idle: own.idle.unwrap_or(all.stream_idle),
        }
    }

    /// For a unary answer.
    pub(super) fn total(self) -> Duration {
        self.total
    }

    /// To the head of an answer.
    pub(super) fn head(self) -> Duration {
        self.first_byte.map_or(self.total, |first_byte| first_byte.min(self.total))
    }
}

/// What is asked of the agent: the call itself, or something that we need for it.
pub(super) struct Asked<'a> {
    pub(super) operation: &'a Operation,
    pub(super) raw: Option<&'a Raw>,
    pub(super) tenant: &'a str,
}

/// An agent's answer, and what came with it.
pub(super) struct Answered<T> {
    pub(super) content: T,
    pub(super) extensions: Vec<ExtensionUri>,
    pub(super) attempts: u32,
}

impl Asked<'_> {
    pub(super) fn rpc(&self) -> Rpc {
        self.operation.rpc()
    }

    /// The caller's own bytes when they are in `form`, with the tenant spliced in where it differs; else written anew.
    pub(super) fn bytes(&self, form: Form) -> Result<bytes::Bytes, Error> {
        let own = self.operation.tenant();
        match self.raw {
            Some(raw) if raw.form.reads(form) && own == self.tenant => Ok(raw.bytes.clone()),
            Some(Raw { form: Form::Proto, bytes }) if form == Form::Proto => {
                Ok(protobuf::with_tenant(self.rpc(), bytes, self.tenant))
            }
            Some(raw) if raw.form == form && form == Form::Json(Version::V1_0) && own.is_empty() => {
                Ok(json::with_member(&raw.bytes, "tenant", self.tenant))
            }
            _ if own == self.tenant => content::write_request(self.operation, form),
            _ => content::write_request(&self.operation.clone().with_tenant(self.tenant.to_owned()), form),
        }
    }
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        upstream: &'a Upstream,
        permitted: &Permitted<'a>,
        endpoint: &'a Endpoint,
    ) -> Result<Self, Error> {
        let tenant = endpoint.tenant_for(permitted)?;
        let patience = Patience::with(permitted.agent(), &upstream.settings.timeouts);
        let headers = headers(permitted, endpoint);
        Ok(Self { upstream, call: permitted.call(), endpoint, headers, tenant, patience })
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { operation: &self.call.operation, raw: self.raw(), tenant: &self.tenant }
    }

    /// The caller's own bytes, unless the agent is known to refuse what callers write.
    pub(super) fn raw(&self) -> Option<&'a Raw> {
        self.call.raw.as_ref().filter(|_| self.endpoint.dialect.strict_requests != Some(true))
    }

    fn owned(&self) -> Owned {
        Owned {
            upstream: self.upstream.clone(),
            call: self.call.clone(),
            endpoint: self.endpoint.clone(),
            headers: self.headers.clone(),
            tenant: self.tenant.clone(),
            patience: self.patience,
        }
    }

    pub(super) async fn unary(&self) -> Result<Reply, Error> {
        let Answered { content: mut answer, extensions, attempts } = self.ask_and_wait().await?;
        about_the_same_task(self.call.operation.task_id(), &answer.peek)?;
        if let Operation::ListPushConfigs(request) = &self.call.operation {
            all_of_one_task(&answer, &request.task_id)?;
        }
        if let Some(length) = self.call.operation.history_length().filter(|_| self.is_upgrade()) {
            answer = with_history_of(answer, length)?;
        }
        Ok(Reply { meta: self.meta(extensions, attempts), body: ReplyBody::One(answer) })
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Result<Answered<Answer>, Error> {
        match self.endpoint.binding {
            Binding::JsonRpc => jsonrpc::unary(self, asked).await,
            Binding::HttpJson => rest::unary(self, asked).await,
            Binding::Grpc => Box::pin(grpc::unary(self, asked)).await,
            other => Err(not_spoken(other)),
        }
    }

    pub(super) async fn open(&self, asked: &Asked<'_>) -> Result<Answered<Source>, Error> {
        match self.endpoint.binding {
            Binding::JsonRpc => jsonrpc::open(self, asked).await,
            Binding::HttpJson => rest::open(self, asked).await,
            Binding::Grpc => grpc::open(self, asked).await,
            other => Err(not_spoken(other)),
        }
    }

    pub(super) async fn stream(&self) -> Result<Reply, Error> {
        let opened = if self.cannot_stream() {
            Err(None)
        } else {
            failure::in_time(self.patience.head(), self.open(&self.asked())).await.map_err(Some)
        };
        let Answered { content: source, extensions, attempts } = match opened {
            Ok(opened) => opened,
            // It has no such method, so the message was not taken.
            Err(Some(error)) if error.kind() != Kind::MethodNotFound || error.from_agent().is_none() => {
                return Err(error);
            }
            Err(_) => {
                let content = Source::Unfolded(waiting::unfolded(self.owned()));
                Answered { content, extensions: Vec::new(), attempts: 1 }
            }
        };
        let meta = self.meta(extensions, attempts);
        let is_whole = matches!(source, Source::One(_) | Source::Unfolded(_));
        let mut events = Events::new(source, self);
        if self.call.operation.rpc() == Rpc::SubscribeToTask && self.is_upgrade() && !is_whole {
            // A2A 3.1.6: the first event of a subscription is the task; 0.3 agents send only what happens later.
            events.put_first(self.current_task().await?);
        }
        // An error before the first event is the answer, not an event; but a slow agent must not keep its caller
        // without a response for longer than a quiet stream would.
        let first = timeout(self.upstream.settings.timeouts.keep_alive, events.next()).await;
        let events = match first {
            Ok(None) => futures_util::stream::empty().boxed(),
            Ok(Some(first)) => futures_util::stream::iter([Ok(first?)]).chain(events.into_stream()).boxed(),
            Err(_) => events.into_stream().boxed(),
        };
        Ok(Reply { meta, body: ReplyBody::Stream(events) })
    }

    /// The task that is subscribed to, as the first event.
    async fn current_task(&self) -> Result<Event, Error> {
        let id = self.call.operation.task_id().unwrap_or_default().to_owned();
        let get = Operation::GetTask(proto::GetTaskRequest { id, ..Default::default() });
        let asked = Asked { operation: &get, raw: None, tenant: &self.tenant };
        let limit = self.patience.total;
        let answer = failure::in_time(limit, self.ask(&asked)).await?.content;
        about_the_same_task(get.task_id(), &answer.peek)?;
        if answer.peek.state.is_some_and(proto::TaskState::is_terminal) {
            return Err(has_ended());
        }
        let task = content::task_of(answer)?;
        Ok(content::typed_event(proto::StreamResponse { payload: Some(Payload::Task(task)) }))
    }

    /// A 1.0 caller before a 0.3 agent.
    fn is_upgrade(&self) -> bool {
        self.call.version == Version::V1_0 && self.endpoint.version == Version::V0_3
    }

    fn meta(&self, extensions: Vec<ExtensionUri>, attempts: u32) -> ReplyMeta {
        ReplyMeta {
            extensions,
            endpoint: Some(self.endpoint.label.clone()),
            binding: Some(self.endpoint.binding),
            version: Some(self.endpoint.version),
            attempts,
        }
    }
}

fn not_spoken(binding: Binding) -> Error {
    Error::new(Kind::Internal, format!("agents are not called by {}", binding.as_str()))
}

/// What travels to the agent: the protocol's own headers, what its entry asks for, and what its entry says.
fn headers(permitted: &Permitted<'_>, endpoint: &Endpoint) -> HeaderMap {
    let (call, agent) = (permitted.call(), permitted.agent());
    let mut headers = HeaderMap::with_capacity(8);
    for name in &agent.settings.forward_headers {
        for value in call.forwardable.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers.insert(USER_AGENT, OUR_NAME);
    headers.insert(A2A_VERSION, HeaderValue::from_static(endpoint.version.as_str()));
    if let Some((name, value)) = ExtensionUri::header(&call.extensions, endpoint.version) {
        headers.insert(name, value);
    }
    let trace = [("traceparent", &call.trace.traceparent), ("tracestate", &call.trace.tracestate)];
    for (name, value) in trace {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    // The operator's word is the last. It holds credentials, which are for the registered origin only.
    for (name, value) in agent.settings.headers.iter().filter(|_| endpoint.is_registered_origin) {
        headers.insert(name, value.clone());
    }
    headers
}
