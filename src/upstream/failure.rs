//! What a failed exchange with an agent is to its caller: said without our addresses, and with whether the agent
//! may have the request.

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::error::{Error, Kind, Origin, Sent};
use crate::outbound::OutboundError;
use crate::wire::body::BodyError;

/// The longest wait that an agent may ask of our callers.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A request that could not be made, or whose connection broke.
pub fn of_outbound(error: OutboundError) -> Error {
    let (message, sent) = match &error {
        OutboundError::Connect(_) => ("the agent cannot be reached; nothing was sent", Sent::NotSent),
        OutboundError::Forbidden(_) => ("the agent's address is not allowed; nothing was sent", Sent::NotSent),
        OutboundError::Broken(_) => ("the connection to the agent broke; it may have the request", Sent::Maybe),
    };
    Error::new(Kind::UpstreamUnavailable, message).sent_is(sent).because(error)
}

/// What comes of `exchange` with an agent within `limit`.
///
/// # Errors
/// DeadlineExceeded when nothing does; else those of `exchange`.
pub fn in_time<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, Error>>,
) -> impl Future<Output = Result<T, Error>> {
    // An async function would hold the exchange, which is large, twice.
    timeout(limit, exchange).map(move |ended| {
        ended.unwrap_or_else(|_| {
            let message = format!("the agent did not answer within {} s; it may have the request", limit.as_secs_f32());
            Err(Error::new(Kind::DeadlineExceeded, message).origin_is(Origin::Agent).sent_is(Sent::Maybe))
        })
    })
}

/// A reply that could not be read.
pub fn of_body(error: BodyError) -> Error {
    let broken = |kind, message: &str| Error::new(kind, message).sent_is(Sent::Sent);
    match &error {
        BodyError::TooLarge(_) => broken(Kind::InvalidAgentResponse, "the agent's answer is larger than allowed"),
        BodyError::TooSlow => broken(Kind::DeadlineExceeded, "the agent's answer stopped half-way"),
        BodyError::NoBudget => {
            broken(Kind::Overloaded, "no memory is left for the agent's answer").retry_after_is(Duration::from_secs(1))
        }
        BodyError::Broken(_) => broken(Kind::UpstreamUnavailable, "the agent's answer broke off"),
    }
    .because(error)
}

/// An HTTP status that is no success, from an agent that said nothing in its binding, where that would be `expected`.
pub fn of_status(status: StatusCode, headers: &HeaderMap, expected: &str) -> Error {
    let code = status.as_u16();
    let (kind, message) = match code {
        401 | 403 | 407 => {
            (Kind::UpstreamRefused, format!("the agent refused the gateway's credentials (HTTP {code})"))
        }
        300..=399 => (
            Kind::InvalidAgentResponse,
            format!("the agent redirects to another address (HTTP {code}), which is not followed"),
        ),
        404 | 405 | 410 => {
            (Kind::UpstreamUnavailable, format!("the agent does not answer at its address (HTTP {code})"))
        }
        429 | 502..=504 => (Kind::UpstreamUnavailable, format!("the agent is not available (HTTP {code})")),
        _ => (Kind::InvalidAgentResponse, format!("the agent answered HTTP {code} without {expected}")),
    };
    let error = Error::new(kind, message).origin_is(Origin::Agent).sent_is(Sent::Sent);
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    match after {
        Some(after) => error.retry_after_is(after.min(RETRY_AFTER_MAX)),
        None => error,
    }
}
