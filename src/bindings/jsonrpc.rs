//! The JSON-RPC door, in 1.0 (A2A 9) and 0.3 (its specification, section 7): the method's name says which.
//!
//! Before a caller is admitted to the agent, errors have their HTTP status; afterwards all are HTTP 200, for the
//! SDKs of both generations read a JSON-RPC error only there.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};

use super::arrival::{Asked, arrival};
use super::events::{self, Envelope};
use super::exchange::{Admitted, exchange};
use super::respond::{describe, json_response, with_error_headers};
use super::{Doors, closing, request};
use crate::call::{AgentName, ExtensionUri, Form, Reply, ReplyBody};
use crate::error::{Error, Kind};
use crate::operation::{Binding, Method, Rpc, Version};
use crate::wire::body::Pieces;
use crate::wire::jsonrpc::{self, BadEnvelope, NULL_ID};
use crate::wire::{content, json};

/// How the path spells the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// By the method's name alone.
    Method,
    /// `/message/stream`: a send is streamed whatever its method says.
    Stream,
}

/// What the caller is to read.
struct Asking {
    id: Bytes,
    version: Version,
    /// The caller reads events.
    streams: bool,
}

pub(super) async fn serve(doors: &Doors, agent: AgentName, spelling: Spelling, request: Request) -> Response {
    let gateway = &doors.gateway;
    let (mut head, body) = request.into_parts();
    let mut arrival = arrival(gateway, Some(agent), Binding::JsonRpc, &mut head);
    let caller = match gateway.admit(&mut arrival).await {
        Ok(caller) => caller,
        Err(error) => return closing(head.version, refused(&error)),
    };
    let whole = match request::json_type(&arrival.headers) {
        Ok(()) => request::read(gateway, arrival.received, body).await,
        Err(error) => Err(error),
    };
    match whole {
        Ok(whole) => admitted_call(doors, Admitted { arrival, caller }, spelling, whole).await,
        Err(error) => closing(head.version, refused(&gateway.refuse(&arrival, &caller, error))),
    }
}

/// A refusal before the caller was admitted, or of a body that was not read: with its HTTP status.
fn refused(error: &Error) -> Response {
    let body = jsonrpc::write_error(&NULL_ID, error, Version::V1_0);
    with_error_headers(json_response(StatusCode::OK, body), error)
}

async fn admitted_call(doors: &Doors, admitted: Admitted, spelling: Spelling, whole: Bytes) -> Response {
    let gateway = &doors.gateway;
    let refuse = |error| gateway.refuse(&admitted.arrival, &admitted.caller, error);
    let envelope = match jsonrpc::read_request(&whole) {
        Ok(envelope) => envelope,
        Err(BadEnvelope { id, error }) => {
            // The method is not known, so neither is the caller's version; both read this.
            let asking = Asking { id, version: Version::V1_0, streams: false };
            return failed(&asking, &refuse(error));
        }
    };
    drop(whole);
    let Some((method, version)) = Method::by_jsonrpc_name(&envelope.method) else {
        let version = if envelope.method.contains('/') { Version::V0_3 } else { Version::V1_0 };
        let asking = Asking { id: envelope.id, version, streams: false };
        let message = "method is none of A2A 1.0 (such as SendMessage) or 0.3 (such as message/send)";
        return failed(&asking, &refuse(Error::new(Kind::MethodNotFound, message)));
    };
    let rpc = streamed(method.rpc, spelling, &admitted.arrival.headers);
    let asking = Asking { id: envelope.id.clone(), version, streams: rpc.method().streams };
    let reply = exchange(gateway, admitted, version, |arrival| {
        let (operation, raw) = json::read_request(rpc, version, envelope.params, &arrival.settings.limits.json)?;
        Ok(Asked { version, form: Form::Json(version), operation, raw, rpc_id: Some(envelope.id) })
    });
    match reply.await {
        Ok(reply) => answered(doors, &asking, reply),
        Err(error) => failed(&asking, &error),
    }
}

/// A send is streamed by the alias, and for a caller that accepts events and not JSON.
fn streamed(rpc: Rpc, spelling: Spelling, headers: &HeaderMap) -> Rpc {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let only_events = accept.contains("text/event-stream") && !accept.contains("json") && !accept.contains("*/*");
    match rpc {
        Rpc::SendMessage if spelling == Spelling::Stream || only_events => Rpc::SendStreamingMessage,
        rpc => rpc,
    }
}

fn answered(doors: &Doors, asking: &Asking, reply: Reply) -> Response {
    let version = asking.version;
    let mut response = match reply.body {
        ReplyBody::Stream(events) => {
            let envelope = Envelope::JsonRpc { id: asking.id.clone(), version };
            let keep_alive = doors.gateway.settings.timeouts.keep_alive;
            events::response(events, envelope, Form::Json(version), keep_alive)
        }
        ReplyBody::One(answer) => match content::write_answer(answer, Form::Json(version)) {
            Err(error) => return failed(asking, &error),
            Ok(result) => {
                let (start, end) = jsonrpc::write_result(&asking.id);
                json_response(StatusCode::OK, Body::new(Pieces::new([start, result, end])))
            }
        },
    };
    response.headers_mut().extend(ExtensionUri::header(&reply.meta.extensions, version));
    response
}

fn failed(asking: &Asking, error: &Error) -> Response {
    let body = jsonrpc::write_error(&asking.id, error, asking.version);
    let mut response = if asking.streams && asking.version == Version::V0_3 {
        // A 0.3 client that asking for a stream reads nothing else.
        events::single(&body)
    } else {
        json_response(StatusCode::OK, body)
    };
    describe(response.headers_mut(), error);
    if error.kind() == Kind::RateLimited {
        // Clients and proxies look for this status, whoever refused.
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    response
}
