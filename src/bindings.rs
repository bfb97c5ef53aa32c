//! The doors: each turns a request of its wire into a `Call`, and the `Reply` into a response of its wire.
//!
//! Doors share everything but their wire. None of them knows access, routing or the ledger; all they can do with a
//! call is to hand it to the gateway.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use http::Method;
use percent_encoding::percent_decode_str;
use tokio_util::sync::CancellationToken;

use crate::call::{AgentName, Peer};
use crate::error::{Error, Kind};
use crate::gateway::Gateway;

mod address;
mod arrival;
mod card;
mod cors;
mod events;
mod exchange;
mod health;
mod jsonrpc;
mod push;
mod request;
mod respond;
mod rest;
mod rpc;

use address::base_url;
use address::source;
pub use card::face;
pub use respond::{error_response, json_response, other_verb};
pub use rpc::serve_other;

/// What every door needs.
#[derive(Clone)]
pub struct Doors {
    pub gateway: Arc<Gateway>,
    /// Cancelled when the process begins to stop: it is not ready any more.
    pub draining: CancellationToken,
    rpc: rpc::Rpc,
}

impl Doors {
    pub fn new(gateway: Arc<Gateway>, draining: CancellationToken) -> Self {
        Self { rpc: rpc::Rpc::new(&gateway), gateway, draining }
    }
}

/// The routes of all doors.
pub fn router(doors: Doors) -> Router {
    let infrastructure = rpc::infrastructure(&doors.gateway, &doors.draining);
    Router::new()
        .route("/a2a/{agent}", any(agent_door))
        .route("/a2a/{agent}/{*tail}", any(agent_door))
        .route("/a2a/{agent}/", any(agent_door))
        .route("/v1/a2a/{agent}", any(agent_door))
        .route("/v1/a2a/{agent}/", any(agent_door))
        .route("/v1/a2a/{agent}/{*tail}", any(agent_door))
        .route("/lf.a2a.v1.A2AService/{method}", any(service_door))
        .route("/a2a.v1.A2AService/{method}", any(service_door))
        .route("/push/{handle}", any(push::serve))
        .route("/health/live", get(health::live).fallback(only_get))
        .route("/health/liveliness", get(health::live).fallback(only_get))
        .route("/health/liveness", get(health::live).fallback(only_get))
        .route("/health/ready", get(health::ready).fallback(only_get))
        .route("/health/readiness", get(health::ready).fallback(only_get))
        .fallback(unknown_path)
        .with_state(doors)
        .merge(infrastructure)
}

/// The router with what browsers need, where the operator allows it.
pub fn for_browsers(router: Router, settings: &crate::config::Settings) -> Router {
    match cors::layer(&settings.cors) {
        Some(layer) => router.layer(layer),
        None => router,
    }
}

/// Everything under an agent's address, by verb and path. Each door's future lives in a box: they are large, and
/// would be copied on their way through the router.
async fn agent_door(State(doors): State<Doors>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some((agent, tail)) = below_agents(&path).filter(|_| doors.gateway.settings.a2a_enabled) else {
        return unknown_path().await;
    };
    match (request.method().clone(), tail) {
        (Method::POST, "" | "/" | "/message/send") => {
            Box::pin(jsonrpc::serve(&doors, agent, jsonrpc::Spelling::Method, request)).await
        }
        (Method::POST, "/message/stream") => {
            Box::pin(jsonrpc::serve(&doors, agent, jsonrpc::Spelling::Stream, request)).await
        }
        (Method::GET | Method::HEAD, "/.well-known/agent-card.json" | "/.well-known/agent.json") => {
            Box::pin(card::serve(&doors, agent, request)).await
        }
        (verb, "/.well-known/agent-card.json" | "/.well-known/agent.json") => respond::other_verb(&verb, "GET, HEAD"),
        (verb, "" | "/" | "/message/send" | "/message/stream") => respond::other_verb(&verb, "POST"),
        (_, tail) => match rpc::MethodPath::of(&tail[1..]) {
            Some(called) => Box::pin(rpc::serve(&doors, Some(agent), called, request)).await,
            None => Box::pin(rest::serve(&doors, agent, tail, request)).await,
        },
    }
}

/// The services at the root, where metadata, the host or the request itself name the agent.
async fn service_door(State(doors): State<Doors>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let called = rpc::MethodPath::of(&path[1..]).filter(|_| doors.gateway.settings.a2a_enabled);
    let Some(called) = called else { return unknown_path().await };
    Box::pin(rpc::serve(&doors, None, called, request)).await
}

/// The agent that a path names, and the path below it, which is still percent-encoded: an id may hold a slash.
fn below_agents(path: &str) -> Option<(AgentName, &str)> {
    let path = path.strip_prefix("/v1").unwrap_or(path).strip_prefix("/a2a/")?;
    let (agent, tail) = path.split_at(path.find('/').unwrap_or(path.len()));
    let agent = percent_decode_str(agent).decode_utf8().ok()?;
    Some((AgentName(agent.into()), tail))
}

async fn unknown_path() -> Response {
    let message = "there is nothing at this path: agents are at /a2a/{agent}, their cards at /a2a/{agent}/.well-known/agent-card.json";
    respond::error_response(&Error::new(Kind::PathNotFound, message))
}

/// For addresses that are only read.
pub async fn only_get() -> Response {
    respond::verb_not_allowed("GET, HEAD")
}

/// How the sender of a request reaches this gateway.
pub fn base_of(gateway: &Gateway, request: &Request) -> String {
    let unknown = Peer { address: gateway.settings.listen };
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(unknown);
    base_url(&gateway.settings, peer, request.headers(), request.uri())
}

/// Reads the whole body of a request that is JSON, with its share of the memory for bodies.
///
/// # Errors
/// UnsupportedMediaType, RequestTooLarge, RequestTimeout, Overloaded, Canceled.
pub async fn read_body(gateway: &Gateway, request: Request) -> Result<bytes::Bytes, Error> {
    let (head, body) = request.into_parts();
    request::json_type(&head.headers)?;
    request::read_at_most(gateway, gateway.clock.instant(), body, ADMIN_BODY_BYTES_MAX).await
}

/// The largest body of what is asked of the gateway itself.
const ADMIN_BODY_BYTES_MAX: usize = 1 << 20;

/// The other end of the connection.
fn peer_of(extensions: &http::Extensions) -> Peer {
    let unknown = Peer { address: std::net::SocketAddr::from(([0, 0, 0, 0], 0)) };
    extensions.get::<Peer>().copied().unwrap_or(unknown)
}

/// Who sent a request.
pub fn sender(gateway: &Gateway, request: &Request) -> std::net::IpAddr {
    let peer = peer_of(request.extensions());
    source(&gateway.settings, peer, request.headers())
}

/// A request that was not read to its end: over HTTP/1.1 the connection must not be used again.
fn closing(version: http::Version, mut response: Response<Body>) -> Response<Body> {
    if version <= http::Version::HTTP_11 {
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    response
}
