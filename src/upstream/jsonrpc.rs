//! Agents that speak JSON-RPC, in 1.0 (A2A 9) and in 0.3 (its specification, section 7).

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use tokio::time::timeout;

use super::events::{Events, Watch};
use super::{Endpoint, Upstream, about_the_same_task, failure, with_history_of};
use crate::access::Permitted;
use crate::call::{Call, ExtensionUri, Form, Reply, ReplyBody, ReplyMeta};
use crate::error::{Error, Kind, Sent};
use crate::operation::{Operation, Rpc, Version};
use crate::outbound::{Destination, ReplyBody as AgentBody};
use crate::proto;
use crate::proto::stream_response::Payload;
use crate::wire::body::{self, Pace, Pieces};
use crate::wire::json;
use crate::wire::jsonrpc::{self, Outcome};

const A2A_VERSION: HeaderName = HeaderName::from_static("a2a-version");
const OUR_NAME: HeaderValue = HeaderValue::from_static(concat!("switchboard/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream, application/json");

/// One call on its way to one endpoint.
struct Exchange<'a> {
    upstream: &'a Upstream,
    call: &'a Call,
    endpoint: &'a Endpoint,
    /// The id of our envelope: the caller's own where it has one.
    id: Bytes,
    headers: HeaderMap,
}

pub(super) async fn send(upstream: &Upstream, permitted: &Permitted<'_>, endpoint: &Endpoint) -> Result<Reply, Error> {
    let call = permitted.call();
    let method = call.operation.method();
    if !method.exists_in(endpoint.version) {
        let message = format!("the agent speaks A2A {}, which has no {}", endpoint.version, method.name);
        return Err(Error::new(Kind::UnsupportedOperation, message));
    }
    let params = params(call, endpoint.version, endpoint.tenant_for(permitted)?)?;
    let id = call.rpc_id.clone().filter(|id| jsonrpc::is_plain_id(id));
    let exchange = Exchange {
        upstream,
        call,
        endpoint,
        id: id.unwrap_or_else(|| Bytes::from(format!("\"{}\"", call.id))),
        headers: headers(permitted, endpoint),
    };
    if method.streams { Box::pin(exchange.stream(params)).await } else { exchange.unary(params).await }
}

/// The caller's own bytes when they are in the agent's form, with the tenant spliced in if it needs one.
fn params(call: &Call, version: Version, tenant: String) -> Result<Bytes, Error> {
    let wants_tenant = version == Version::V1_0 && !tenant.is_empty();
    match &call.raw {
        Some(raw) if raw.form == Form::Json(version) => {
            if tenant == call.operation.tenant() {
                return Ok(raw.bytes.clone());
            }
            if wants_tenant && call.operation.tenant().is_empty() {
                return Ok(with_member(&raw.bytes, "tenant", &tenant));
            }
        }
        _ => {}
    }
    if tenant == call.operation.tenant() {
        return json::write_request(&call.operation, version);
    }
    json::write_request(&call.operation.clone().with_tenant(tenant), version)
}

/// The object `json` with one more member at its beginning.
fn with_member(json: &[u8], name: &str, value: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(json.len() + name.len() + value.len() + 8);
    out.put_slice(b"{\"");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\":");
    out.put_slice(serde_json::to_string(value).expect("text serializes").as_bytes());
    let rest = json[1..].trim_ascii_start();
    if !rest.starts_with(b"}") {
        out.put_slice(b",");
    }
    out.put_slice(rest);
    out.freeze()
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
    headers.insert(CONTENT_TYPE, JSON);
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
    // The operator's word is the last.
    for (name, value) in &agent.settings.headers {
        headers.insert(name, value.clone());
    }
    headers
}

impl Exchange<'_> {
    async fn unary(&self, params: Bytes) -> Result<Reply, Error> {
        let rpc = self.call.operation.rpc();
        let limit = self.upstream.settings.timeouts.unary;
        let exchange = async {
            let (response, attempts) = self.post(rpc, params, JSON).await?;
            let extensions = ExtensionUri::all_in(response.headers());
            Ok((self.outcome(response).await?, extensions, attempts))
        };
        let (outcome, extensions, attempts) = failure::in_time(limit, exchange).await?;
        let result = match outcome {
            Outcome::Result(result) => result,
            Outcome::Error(error) => return Err(jsonrpc::agent_error(error)),
        };
        let limits = &self.upstream.settings.limits.json;
        let mut answer = json::read_answer(rpc, self.endpoint.version, result, limits)?;
        about_the_same_task(self.call.operation.task_id(), &answer.peek)?;
        if let Some(length) = self.call.operation.history_length().filter(|_| self.is_upgrade()) {
            answer = with_history_of(answer, length)?;
        }
        Ok(Reply { meta: self.meta(extensions, attempts), body: ReplyBody::One(answer) })
    }

    async fn stream(&self, params: Bytes) -> Result<Reply, Error> {
        let rpc = self.call.operation.rpc();
        let timeouts = &self.upstream.settings.timeouts;
        let (response, attempts) = failure::in_time(timeouts.unary, self.post(rpc, params, EVENT_STREAM)).await?;
        let extensions = ExtensionUri::all_in(response.headers());
        let meta = self.meta(extensions, attempts);
        if !has_type(response.headers(), "text/event-stream") || !response.status().is_success() {
            return failure::in_time(timeouts.unary, self.single(response, meta)).await;
        }
        refuse_encoded(response.headers())?;
        let mut events =
            Events::new(response.into_body(), self.id.clone(), self.endpoint.version, self.call, self.upstream);
        if rpc == Rpc::SubscribeToTask && self.is_upgrade() {
            // A2A 3.1.6: the first event of a subscription is the task; 0.3 agents send only what happens later.
            events.put_first(self.current_task().await?);
        }
        // An error before the first event is the answer, not an event; but a slow agent must not keep its caller
        // without a response for longer than a quiet stream would.
        let first = timeout(timeouts.keep_alive, events.next()).await;
        let events = match first {
            Ok(None) => futures_util::stream::empty().boxed(),
            Ok(Some(first)) => futures_util::stream::iter([Ok(first?)]).chain(events.into_stream()).boxed(),
            Err(_) => events.into_stream().boxed(),
        };
        Ok(Reply { meta, body: ReplyBody::Stream(events) })
    }

    /// A streaming call that was answered without a stream: an error, or one result that is the whole stream.
    async fn single(&self, response: http::Response<AgentBody>, meta: ReplyMeta) -> Result<Reply, Error> {
        match self.outcome(response).await? {
            Outcome::Error(error) => Err(jsonrpc::agent_error(error)),
            Outcome::Result(result) => {
                let event = json::read_event(self.endpoint.version, result, &self.upstream.settings.limits.json)?;
                let mut watch = Watch::new(self.call);
                watch.check(&event.peek)?;
                let rest = watch.at_end().err().map(Err);
                let events = futures_util::stream::iter([Ok(event)].into_iter().chain(rest));
                Ok(Reply { meta, body: ReplyBody::Stream(events.boxed()) })
            }
        }
    }

    /// The task that is subscribed to, as the first event.
    async fn current_task(&self) -> Result<crate::call::Event, Error> {
        let id = self.call.operation.task_id().unwrap_or_default().to_owned();
        let get = Operation::GetTask(proto::GetTaskRequest { id, ..Default::default() });
        let params = json::write_request(&get, self.endpoint.version)?;
        let limit = self.upstream.settings.timeouts.unary;
        let exchange = async { self.outcome(self.post(Rpc::GetTask, params, JSON).await?.0).await };
        let result = match failure::in_time(limit, exchange).await? {
            Outcome::Result(result) => result,
            Outcome::Error(error) => return Err(jsonrpc::agent_error(error)),
        };
        let answer =
            json::read_answer(Rpc::GetTask, self.endpoint.version, result, &self.upstream.settings.limits.json)?;
        about_the_same_task(get.task_id(), &answer.peek)?;
        if answer.peek.state.is_some_and(proto::TaskState::is_terminal) {
            return Err(Error::new(Kind::UnsupportedOperation, "the task has ended: there is nothing to subscribe to"));
        }
        match json::typed_answer(answer)? {
            crate::call::Response::Task(task) => {
                Ok(json::typed_event_of(proto::StreamResponse { payload: Some(Payload::Task(task)) }))
            }
            _ => Err(Error::new(Kind::InvalidAgentResponse, "the agent did not answer with the task")),
        }
    }

    /// A 1.0 caller before a 0.3 agent.
    fn is_upgrade(&self) -> bool {
        self.call.version == Version::V1_0 && self.endpoint.version == Version::V0_3
    }

    fn meta(&self, extensions: Vec<ExtensionUri>, attempts: u32) -> ReplyMeta {
        ReplyMeta {
            extensions,
            endpoint: Some(self.endpoint.label.clone()),
            version: Some(self.endpoint.version),
            attempts,
        }
    }

    /// Posts the request; one 307 or 308 within the origin is followed, for it asks to repeat what was not taken.
    async fn post(
        &self,
        rpc: Rpc,
        params: Bytes,
        accept: HeaderValue,
    ) -> Result<(http::Response<AgentBody>, u32), Error> {
        let name = rpc.method().jsonrpc_name(self.endpoint.version);
        let (head, tail) = jsonrpc::write_request(&self.id, name);
        let mut to = self.endpoint.destination.clone();
        for attempt in 1.. {
            let mut request = Request::new(Pieces::new([head.clone(), params.clone(), tail.clone()]));
            *request.method_mut() = Method::POST;
            *request.headers_mut() = self.headers.clone();
            request.headers_mut().insert(ACCEPT, accept.clone());
            let response = self.upstream.outbound.send(&to, request).await.map_err(failure::of_outbound)?;
            match redirect(&to, &response).filter(|_| attempt == 1) {
                Some(elsewhere) => to = elsewhere,
                None => return Ok((response, attempt)),
            }
        }
        unreachable!("the second attempt returns")
    }

    /// Reads a whole JSON reply. A JSON-RPC error counts whatever the HTTP status says: agents differ in that.
    async fn outcome(&self, response: http::Response<AgentBody>) -> Result<Outcome, Error> {
        let settings = &self.upstream.settings;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            refuse_encoded(&head.headers)?;
        }
        let pace = Pace {
            bytes_max: settings.limits.reply_bytes_max,
            pause_max: settings.timeouts.stream_idle,
            bytes_per_second_min: 0,
        };
        let whole = body::read(body, pace, &self.upstream.budget, self.upstream.clock.instant()).await;
        if head.status.is_success() {
            let whole = whole.map_err(failure::of_body)?;
            return jsonrpc::read_reply(&whole, &self.id, self.endpoint.version)
                .map_err(|error| error.sent_is(Sent::Sent));
        }
        let said = whole.ok().and_then(|whole| jsonrpc::read_reply(&whole, &self.id, self.endpoint.version).ok());
        match said {
            Some(Outcome::Error(error)) => Ok(Outcome::Error(error)),
            _ => Err(failure::of_status(head.status, &head.headers)),
        }
    }
}

fn redirect(from: &Destination, response: &http::Response<AgentBody>) -> Option<Destination> {
    let follows = matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if follows { from.redirected(response.headers()) } else { None }
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// We ask for no encoding, so there must be none.
fn refuse_encoded(headers: &HeaderMap) -> Result<(), Error> {
    if body::is_encoded(headers) {
        let message = "the agent's answer is compressed, which was not asked for";
        return Err(Error::new(Kind::InvalidAgentResponse, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splices_a_member_into_any_object() {
        assert_eq!(with_member(br#"{"a":1}"#, "tenant", "x\"y"), r#"{"tenant":"x\"y","a":1}"#);
        assert_eq!(with_member(b"{ }", "tenant", "x"), r#"{"tenant":"x"}"#);
    }
}
