//! The doors: each turns a request of its wire into a `Call`, and the `Reply` into a response of its wire.
//!
//! Doors share everything but their wire. None of them knows access, routing or the ledger; all they can do with a
//! call is to hand it to the gateway.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use http::Method;
use tokio_util::sync::CancellationToken;

use crate::call::AgentName;
use crate::error::{Error, Kind};
use crate::gateway::Gateway;

mod arrival;
mod card;
mod health;
mod jsonrpc;
mod respond;

pub use arrival::base_url;
pub use card::face;
pub use respond::{error_response, json_response};

/// What every door needs.
#[derive(Clone)]
pub struct Doors {
    pub gateway: Arc<Gateway>,
    /// Cancelled when the process begins to stop: it is not ready any more.
    pub draining: CancellationToken,
}

/// The routes of all doors.
pub fn router(doors: Doors) -> Router {
    Router::new()
        .route("/a2a/{agent}", any(agent_root))
        .route("/a2a/{agent}/", any(agent_root))
        .route("/a2a/{agent}/{*tail}", any(agent_tail))
        .route("/v1/a2a/{agent}", any(agent_root))
        .route("/v1/a2a/{agent}/", any(agent_root))
        .route("/v1/a2a/{agent}/{*tail}", any(agent_tail))
        .route("/health/live", get(health::live).fallback(only_get))
        .route("/health/liveliness", get(health::live).fallback(only_get))
        .route("/health/liveness", get(health::live).fallback(only_get))
        .route("/health/ready", get(health::ready).fallback(only_get))
        .route("/health/readiness", get(health::ready).fallback(only_get))
        .fallback(unknown_path)
        .with_state(doors)
}

async fn agent_root(
    State(doors): State<Doors>,
    agent: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    match agent {
        Ok(Path(agent)) => agent_door(doors, agent, String::new(), request).await,
        Err(_) => unknown_path().await,
    }
}

async fn agent_tail(
    State(doors): State<Doors>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    match path {
        Ok(Path((agent, tail))) => agent_door(doors, agent, tail, request).await,
        Err(_) => unknown_path().await,
    }
}

/// Everything under an agent's address, by verb and path. Each door's future lives in a box: they are large, and
/// would be copied on their way through the router.
async fn agent_door(doors: Doors, agent: String, tail: String, request: Request) -> Response {
    let agent = AgentName(agent.into());
    let verb = request.method().clone();
    match (verb, tail.as_str()) {
        (Method::POST, "" | "message/send") => {
            Box::pin(jsonrpc::serve(&doors, agent, jsonrpc::Spelling::Method, request)).await
        }
        (Method::POST, "message/stream") => {
            Box::pin(jsonrpc::serve(&doors, agent, jsonrpc::Spelling::Stream, request)).await
        }
        (Method::GET | Method::HEAD, ".well-known/agent-card.json" | ".well-known/agent.json") => {
            Box::pin(card::serve(&doors, agent, request)).await
        }
        (_, ".well-known/agent-card.json" | ".well-known/agent.json") => respond::verb_not_allowed("GET, HEAD"),
        (_, "" | "message/send" | "message/stream") => respond::verb_not_allowed("POST"),
        _ => unknown_path().await,
    }
}

async fn unknown_path() -> Response {
    let message = "there is nothing at this path: agents are at /a2a/{agent}, their cards at /a2a/{agent}/.well-known/agent-card.json";
    respond::error_response(&Error::new(Kind::PathNotFound, message))
}

/// For addresses that are only read.
pub async fn only_get() -> Response {
    respond::verb_not_allowed("GET, HEAD")
}

/// A request that was not read to its end: over HTTP/1.1 the connection must not be used again.
fn closing(version: http::Version, mut response: Response<Body>) -> Response<Body> {
    if version <= http::Version::HTTP_11 {
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    response
}
