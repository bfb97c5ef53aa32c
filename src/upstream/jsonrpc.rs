//! Agents that speak JSON-RPC, in 1.0 (A2A 9) and in 0.3 (its specification, section 7).

use bytes::Bytes;
use http::{HeaderValue, Method, Response};

use super::events::{Decode, Source};
use super::exchange::{Answered, Asked, Exchange};
use super::failure;
use super::http::{EVENT_STREAM, JSON, Outgoing, is_event_stream, refuse_encoded};
use crate::call::{Answer, ExtensionUri, Form};
use crate::error::{Error, Sent};
use crate::outbound::ReplyBody;
use crate::wire::json;
use crate::wire::jsonrpc::{self, Outcome};

pub(super) async fn unary(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Answer>, Error> {
    let id = id(exchange);
    let (response, attempts) = post(exchange, asked, &id, JSON).await?;
    let extensions = ExtensionUri::all_in(response.headers());
    let result = result(exchange, &id, response).await?;
    let limits = &exchange.upstream.settings.limits.json;
    let content = json::read_answer(asked.rpc(), exchange.endpoint.version, result, limits)?;
    Ok(Answered { content, extensions, attempts })
}

pub(super) async fn open(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Source>, Error> {
    let (id, version) = (id(exchange), exchange.endpoint.version);
    let (response, attempts) = post(exchange, asked, &id, EVENT_STREAM).await?;
    let extensions = ExtensionUri::all_in(response.headers());
    let content = if is_event_stream(&response) {
        refuse_encoded(response.headers())?;
        Source::sse(response.into_body(), Decode::JsonRpc { id, version }, exchange.upstream)
    } else {
        // Answered without a stream: an error, or one result that is the whole stream.
        let result = result(exchange, &id, response).await?;
        let event = json::read_event(version, result, &exchange.upstream.settings.limits.json)?;
        Source::One(Some(Box::new(event)))
    };
    Ok(Answered { content, extensions, attempts })
}

/// The id of our envelope: the caller's own where it has one that comes back in the same bytes.
fn id(exchange: &Exchange<'_>) -> Bytes {
    let own = exchange.call.rpc_id.clone().filter(|id| jsonrpc::is_plain_id(id));
    own.unwrap_or_else(|| Bytes::from(format!("\"{}\"", exchange.call.id)))
}

async fn post(
    exchange: &Exchange<'_>,
    asked: &Asked<'_>,
    id: &Bytes,
    accept: HeaderValue,
) -> Result<(Response<ReplyBody>, u32), Error> {
    let version = exchange.endpoint.version;
    let params = asked.bytes(Form::Json(version))?;
    let (head, tail) = jsonrpc::write_request(id, asked.rpc().method().jsonrpc_name(version));
    let to = exchange.endpoint.destination.clone();
    exchange.send(Outgoing { to, verb: Method::POST, body: Some([head, params, tail]), accept }).await
}

/// Reads a whole JSON reply. A JSON-RPC error counts whatever the HTTP status says: agents differ in that.
async fn result(exchange: &Exchange<'_>, id: &Bytes, response: Response<ReplyBody>) -> Result<Bytes, Error> {
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        refuse_encoded(&head.headers)?;
    }
    let whole = exchange.read(body).await;
    let version = exchange.endpoint.version;
    if head.status.is_success() {
        return match jsonrpc::read_reply(&whole?, id, version).map_err(|error| error.sent_is(Sent::Sent))? {
            Outcome::Result(result) => Ok(result),
            Outcome::Error(error) => Err(error),
        };
    }
    match whole.ok().and_then(|whole| jsonrpc::read_reply(&whole, id, version).ok()) {
        Some(Outcome::Error(error)) => Err(error),
        _ => Err(failure::of_status(head.status, &head.headers, "a JSON-RPC error")),
    }
}
