//! Request bodies, read once the caller is known.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use tokio::time::Instant;

use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::wire::body::{self, BodyError, Pace};

/// JSON without an encoding. No type at all is taken for JSON.
pub(super) fn json_type(headers: &HeaderMap) -> Result<(), Error> {
    const JSON_TYPES: [&str; 4] =
        ["application/json", "application/a2a+json", "application/json-rpc", "application/jsonrequest"];
    if body::is_encoded(headers) {
        return Err(Error::new(
            Kind::UnsupportedMediaType,
            "the body must not be compressed: leave Content-Encoding out",
        ));
    }
    match media_type(headers) {
        None => Ok(()),
        Some(value) if JSON_TYPES.contains(&value.as_str()) => Ok(()),
        Some(_) => {
            Err(Error::new(Kind::UnsupportedMediaType, "the body must be JSON: send `Content-Type: application/json`"))
        }
    }
}

/// The media type in lower case, without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().unwrap_or_default();
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Reads the whole body, with its share of the memory for bodies.
///
/// # Errors
/// RequestTooLarge, RequestTimeout, Overloaded, Canceled.
pub(super) async fn read(gateway: &Gateway, received: Instant, body: Body) -> Result<Bytes, Error> {
    read_at_most(gateway, received, body, usize::MAX).await
}

/// As [`read`], within a limit that is smaller than that of all bodies.
pub(super) async fn read_at_most(
    gateway: &Gateway,
    received: Instant,
    body: Body,
    bytes_max: usize,
) -> Result<Bytes, Error> {
    let settings = &gateway.settings;
    let pace = Pace {
        bytes_max: settings.limits.body_bytes_max.min(bytes_max),
        pause_max: settings.timeouts.body_pause,
        bytes_per_second_min: settings.timeouts.body_bytes_per_second_min,
    };
    body::read(body, pace, &gateway.budget, received).await.map_err(|error| match &error {
        BodyError::TooLarge(limit) => Error::new(
            Kind::RequestTooLarge,
            format!("the body is larger than {limit} bytes, the limit here: send large files by url"),
        ),
        BodyError::TooSlow => Error::new(Kind::RequestTimeout, "the body arrived too slowly"),
        BodyError::NoBudget => Error::new(Kind::Overloaded, "no memory is left for another body: try again")
            .retry_after_is(Duration::from_secs(1)),
        BodyError::Broken(_) => Error::new(Kind::Canceled, "the body broke off").because(error),
    })
}
