//! Agents that speak HTTP+JSON 1.0 (A2A 11).

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};

use super::events::{Decode, Source};
use super::exchange::{Answered, Asked, Exchange};
use super::failure;
use super::http::{EVENT_STREAM, JSON, Outgoing, is_event_stream, refuse_encoded};
use crate::call::{Answer, ExtensionUri, Form};
use crate::error::{Error, Kind};
use crate::operation::{Rpc, Version};
use crate::outbound::ReplyBody;
use crate::wire::{json, rest, status};

pub(super) async fn unary(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Answer>, Error> {
    let (response, attempts) = send(exchange, asked, None, JSON).await?;
    let extensions = ExtensionUri::all_in(response.headers());
    let whole = whole(exchange, response).await?;
    // Some agents answer a delete with nothing, as HTTP has it.
    let whole = if asked.rpc() == Rpc::DeletePushConfig { Bytes::from_static(b"{}") } else { whole };
    json::is_object(&whole).map_err(not_json)?;
    let content = json::read_answer(asked.rpc(), Version::V1_0, whole, &exchange.upstream.settings.limits.json)?;
    Ok(Answered { content, extensions, attempts })
}

pub(super) async fn open(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Source>, Error> {
    let (mut response, mut attempts) = send(exchange, asked, None, EVENT_STREAM).await?;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && asked.rpc() == Rpc::SubscribeToTask {
        // The prose of A2A has POST, which is what the SDKs send and serve; the schema has GET.
        let again = send(exchange, asked, Some(Method::GET), EVENT_STREAM).await?;
        (response, attempts) = (again.0, attempts + again.1);
    }
    let extensions = ExtensionUri::all_in(response.headers());
    let content = if is_event_stream(&response) {
        refuse_encoded(response.headers())?;
        Source::sse(response.into_body(), Decode::Rest, exchange.upstream)
    } else {
        let whole = whole(exchange, response).await?;
        json::is_object(&whole).map_err(not_json)?;
        let event = json::read_event(Version::V1_0, whole, &exchange.upstream.settings.limits.json)?;
        Source::One(Some(Box::new(event)))
    };
    Ok(Answered { content, extensions, attempts })
}

async fn send(
    exchange: &Exchange<'_>,
    asked: &Asked<'_>,
    verb: Option<Method>,
    accept: HeaderValue,
) -> Result<(Response<ReplyBody>, u32), Error> {
    let target = rest::target(asked.operation, asked.tenant)?;
    let to = exchange.endpoint.destination.below(&target.path_and_query);
    let to = to.ok_or_else(|| Error::new(Kind::InvalidParams, "an id is too long for an address"))?;
    let body = if target.has_body {
        Some([asked.bytes(Form::Json(Version::V1_0))?, Bytes::new(), Bytes::new()])
    } else {
        None
    };
    exchange.send(Outgoing { to, verb: verb.unwrap_or(target.verb), body, accept }).await
}

/// Reads a whole JSON reply that is a success; an error of AIP-193 is the agent's own.
async fn whole(exchange: &Exchange<'_>, response: Response<ReplyBody>) -> Result<Bytes, Error> {
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        refuse_encoded(&head.headers)?;
        return exchange.read(body).await;
    }
    let failed = failure::of_status(head.status, &head.headers, "an A2A error");
    if failed.kind() == Kind::UpstreamRefused {
        return Err(failed);
    }
    let said = exchange.read(body).await.ok().and_then(|body| status::read_json(Some(head.status.as_u16()), &body));
    Err(said.unwrap_or(failed))
}

pub(super) fn not_json(_: json::NotAnObject) -> Error {
    Error::new(Kind::InvalidAgentResponse, "the agent's answer is not a JSON object")
}
