//! Responses that are the same in every door over HTTP.

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::error::{Error, Kind};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NOSNIFF: (HeaderName, HeaderValue) = (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

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
    if error.kind() == Kind::Unauthenticated {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"switchboard\""));
    }
    with_retry_after(response, error)
}

/// When to try again, in whole seconds, if the error says so.
pub(super) fn with_retry_after(mut response: Response, error: &Error) -> Response {
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

/// An error outside JSON-RPC, as AIP-193 writes it: `{"error":{"code","status","message","details"}}`.
pub fn error_response(error: &Error) -> Response {
    let row = error.kind().row();
    let body = serde_json::json!({ "error": {
        "code": row.http,
        "status": row.grpc.name(),
        "message": error.message(),
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": row.reason,
            "domain": error.kind().domain(),
        }],
    }});
    with_error_headers(json_response(StatusCode::OK, body.to_string()), error)
}

/// 405, with the verbs that are allowed.
pub(super) fn verb_not_allowed(allowed: &'static str) -> Response {
    let error = Error::new(Kind::VerbNotAllowed, format!("this address answers {allowed} only"));
    let mut response = error_response(&error);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
