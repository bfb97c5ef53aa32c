//! Where agents send push notifications, for the callers who asked for them.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{Method, StatusCode};

use super::respond::{error_response, json_response};
use super::{Doors, closing, other_verb, request};
use crate::error::Error;

/// Hands a notification on. It is answered once the webhook has it, so that an agent which repeats what failed does.
pub(super) async fn serve(State(doors): State<Doors>, Path(handle): Path<String>, request: Request) -> Response {
    if !doors.gateway.settings.a2a_enabled {
        return super::unknown_path().await;
    }
    if *request.method() != Method::POST {
        return other_verb(request.method(), "POST");
    }
    let version = request.version();
    match Box::pin(handed_on(&doors, &handle, request)).await {
        Ok(()) => json_response(StatusCode::OK, "{}"),
        Err(error) => closing(version, error_response(&error)),
    }
}

async fn handed_on(doors: &Doors, handle: &str, request: Request) -> Result<(), Error> {
    let gateway = &doors.gateway;
    let (head, body) = request.into_parts();
    let notification = gateway.admit_notification(handle, &head.headers, super::peer_of(&head.extensions)).await?;
    request::json_type(&head.headers)?;
    let payload = request::read(gateway, gateway.clock.instant(), body).await?;
    gateway.notify(&notification, payload).await
}
