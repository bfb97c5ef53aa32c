//! Responses that are the same in every door over HTTP.

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::error::{Error, Kind};
use crate::operation::Version;
use crate::wire::status;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Browsers must not guess what an answer is.
pub(super) const NOSNIFF: (HeaderName, HeaderValue) =
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// The limit that was hit, what is left of it, and in how many seconds there is more.
const RATE_LIMIT: (HeaderName, HeaderName, HeaderName) = (
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
);

/// A response with a JSON body.
pub fn json_response(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(NOSNIFF.0, NOSNIFF.1);
    response
}

/// The HTTP status of an error, with the headers that belong to it.
pub(super) fn with_error_headers(mut response: Response, error: &Error) -> Response {
    let row = error.kind().row();
    *response.status_mut() = StatusCode::from_u16(row.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    describe(response.headers_mut(), error);
    response
}

/// What HTTP says of an error in headers: how to authenticate, and in how many whole seconds to try again.
pub(super) fn describe(headers: &mut HeaderMap, error: &Error) {
    if error.kind() == Kind::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"switchboard\""));
    }
    if let Some(after) = error.retry_after() {
        let seconds = HeaderValue::from(u64::try_from(after.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1));
        if error.kind() == Kind::RateLimited
            && let Some(max) = error.metadata().get("limitMax").and_then(|max| HeaderValue::from_str(max).ok())
        {
            headers.insert(RATE_LIMIT.0, max);
            headers.insert(RATE_LIMIT.1, HeaderValue::from_static("0"));
            headers.insert(RATE_LIMIT.2, seconds.clone());
        }
        headers.insert(RETRY_AFTER, seconds);
    }
}

/// An error outside JSON-RPC, as AIP-193 writes it.
pub fn error_response(error: &Error) -> Response {
    error_response_in(error, Version::V1_0)
}

/// An error of HTTP+JSON in this version.
pub(super) fn error_response_in(error: &Error, version: Version) -> Response {
    let (code, body) = match version {
        Version::V1_0 => status::write_json(error),
        Version::V0_3 => status::v0_3::write_json(error),
    };
    let mut response = with_error_headers(json_response(StatusCode::OK, body), error);
    // An agent's own error keeps its own status.
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The answer to a verb that is none of `allowed`: OPTIONS asks for them, any other is refused.
pub fn other_verb(verb: &Method, allowed: &str) -> Response {
    if verb == Method::OPTIONS { options(allowed) } else { verb_not_allowed(allowed) }
}

/// 405, with the verbs that are allowed.
pub(super) fn verb_not_allowed(allowed: &str) -> Response {
    let error = Error::new(Kind::VerbNotAllowed, format!("this address answers {allowed} only"));
    let mut response = error_response(&error);
    response.headers_mut().extend(HeaderValue::from_str(allowed).ok().map(|allowed| (ALLOW, allowed)));
    response
}

/// The answer to OPTIONS: the verbs that are allowed, and nothing else.
fn options(allowed: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().extend(HeaderValue::from_str(allowed).ok().map(|allowed| (ALLOW, allowed)));
    response
}
