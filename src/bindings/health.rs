//! Whether the process lives and takes calls, for whatever watches it. No key is needed and nothing is told.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Doors;
use super::respond::json_response;

pub(super) async fn live() -> Response {
    json_response(StatusCode::OK, r#"{"status":"alive"}"#)
}

/// Not ready from the moment at which the process begins to stop.
pub(super) async fn ready(State(doors): State<Doors>) -> Response {
    if doors.draining.is_cancelled() {
        return json_response(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#);
    }
    json_response(StatusCode::OK, r#"{"status":"ready"}"#)
}
