//! Agents that speak HTTP+JSON, in 1.0 (A2A 11) and in 0.3 (its specification, section 3.2.3).

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};

use super::events::{Decode, Source};
use super::exchange::{Answered, Asked, Exchange};
use super::failure;
use super::http::{EVENT_STREAM, JSON, Outgoing, is_event_stream, refuse_encoded};
use crate::call::{Answer, ExtensionUri};
use crate::error::{Error, Kind};
use crate::operation::{Rpc, Version};
use crate::outbound::ReplyBody;
use crate::wire::proto::v0_3;
use crate::wire::{json, rest, status};

pub(super) async fn unary(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Answer>, Error> {
    let (response, attempts) = send(exchange, asked, None, JSON).await?;
    let extensions = ExtensionUri::all_in(response.headers());
    let whole = whole(exchange, asked, response).await?;
    // Some agents answer a delete with nothing, as HTTP has it.
    let whole = if asked.rpc() == Rpc::DeletePushConfig { Bytes::from_static(b"{}") } else { whole };
    json::is_object(&whole).map_err(not_json)?;
    let limits = &exchange.upstream.settings.limits.json;
    let content = match exchange.endpoint.version {
        Version::V1_0 => json::read_answer(asked.rpc(), Version::V1_0, whole, limits)?,
        Version::V0_3 => v0_3::read_answer_json(asked.rpc(), &whole, limits, exchange.endpoint.file_bytes())?,
    };
    Ok(Answered { content, extensions, attempts })
}

pub(super) async fn open(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Source>, Error> {
    let (mut response, mut attempts) = send(exchange, asked, None, EVENT_STREAM).await?;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && asked.rpc() == Rpc::SubscribeToTask {
        // The prose of 1.0 has POST, which is what the SDKs send and serve, and the schema has GET; 0.3 has GET.
        let other = if exchange.endpoint.version == Version::V1_0 { Method::GET } else { Method::POST };
        let again = send(exchange, asked, Some(other), EVENT_STREAM).await?;
        (response, attempts) = (again.0, attempts + again.1);
    }
    let extensions = ExtensionUri::all_in(response.headers());
    let decode = match exchange.endpoint.version {
        Version::V1_0 => Decode::Rest,
        Version::V0_3 => Decode::RestV0_3 { rpc: asked.rpc(), files: exchange.endpoint.file_bytes() },
    };
    let content = if is_event_stream(&response) {
        refuse_encoded(response.headers())?;
        Source::sse(response.into_body(), decode, exchange.upstream)
    } else {
        let whole = whole(exchange, asked, response).await?;
        json::is_object(&whole).map_err(not_json)?;
        let limits = &exchange.upstream.settings.limits.json;
        let event = match exchange.endpoint.version {
            Version::V1_0 => json::read_event(Version::V1_0, whole, limits)?,
            Version::V0_3 => v0_3::read_event_json(&whole, limits, exchange.endpoint.file_bytes())?,
        };
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
    let target = match exchange.endpoint.version {
        Version::V1_0 => rest::target(asked.operation, asked.tenant)?,
        Version::V0_3 => rest::v0_3::target(asked.operation)?,
    };
    let base = &exchange.endpoint.destination;
    // Cards of 0.3 differ in whether the address has the version at its end already.
    let has_version = base.uri().path().trim_end_matches('/').ends_with(rest::v0_3::PREFIX);
    let path = match target.path_and_query.strip_prefix(rest::v0_3::PREFIX) {
        Some(below) if has_version && exchange.endpoint.version == Version::V0_3 => below,
        _ => &target.path_and_query,
    };
    let to = base.below(path).ok_or_else(|| Error::new(Kind::InvalidParams, "an id is too long for an address"))?;
    let body =
        if target.has_body { Some([asked.bytes(exchange.endpoint.form())?, Bytes::new(), Bytes::new()]) } else { None };
    exchange.send(Outgoing { to, verb: verb.unwrap_or(target.verb), body, accept }).await
}

/// Reads a whole JSON reply that is a success; an error of A2A is the agent's own.
async fn whole(exchange: &Exchange<'_>, asked: &Asked<'_>, response: Response<ReplyBody>) -> Result<Bytes, Error> {
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        refuse_encoded(&head.headers)?;
        return exchange.read(body).await;
    }
    let failed = failure::of_status(head.status, &head.headers, "an A2A error");
    if failed.kind() == Kind::UpstreamRefused {
        return Err(failed);
    }
    let http = Some(head.status.as_u16());
    let said = exchange.read(body).await.ok().and_then(|body| match exchange.endpoint.version {
        Version::V1_0 => status::read_json(http, &body),
        Version::V0_3 => status::v0_3::read_json(http, &body, asked.rpc()),
    });
    Err(said.unwrap_or(failed))
}

pub(super) fn not_json(_: json::NotAnObject) -> Error {
    Error::new(Kind::InvalidAgentResponse, "the agent's answer is not a JSON object")
}
