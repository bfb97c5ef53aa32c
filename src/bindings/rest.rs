//! The HTTP+JSON door, in 1.0 (A2A 11) and in 0.3, whose paths begin with `/v1`: one function for every path and verb below an agent's address.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method as Verb, StatusCode};

use super::arrival::{Asked, arrival};
use super::events::{self, Envelope};
use super::exchange::{self, Admitted};
use super::respond::{error_response_in, json_response, other_verb};
use super::rpc::for_peer;
use super::{Doors, closing, request, unknown_path};
use crate::call::{AgentName, ExtensionUri, FileBytes, Form, ReplyBody};
use crate::error::Error;
use crate::operation::{Binding, Version};
use crate::wire::rest::{self, NoRoute, Route};

const A2A_JSON: HeaderValue = HeaderValue::from_static("application/a2a+json");

/// Serves what `path` and the verb say, below the agent's address.
pub(super) async fn serve(doors: &Doors, agent: AgentName, path: &str, request: Request) -> Response {
    match rest::find(request.method(), path) {
        Ok(route) => admitted(doors, agent, route, request).await,
        Err(NoRoute::Unknown) => unknown_path().await,
        Err(NoRoute::Verbs(verbs)) => {
            let allowed = verbs.iter().map(Verb::as_str).collect::<Vec<_>>().join(", ");
            other_verb(request.method(), &allowed)
        }
    }
}

async fn admitted(doors: &Doors, agent: AgentName, route: Route, request: Request) -> Response {
    let gateway = &doors.gateway;
    let (mut head, body) = request.into_parts();
    let mut arrival = arrival(gateway, Some(agent), Binding::HttpJson, &mut head);
    let caller = match gateway.admit(&mut arrival).await {
        Ok(caller) => caller,
        Err(error) => return closing(head.version, error_response_in(&error, route.version)),
    };
    let version = route.version;
    let whole = match read(doors, &arrival, &head.method, body).await {
        Ok(whole) => whole,
        Err(error) => {
            return closing(head.version, error_response_in(&gateway.refuse(&arrival, &caller, error), version));
        }
    };
    let media_type = media_type(&arrival.headers);
    match answer(doors, Admitted { arrival, caller }, route, whole).await {
        Ok(mut response) => {
            if response.headers().get(CONTENT_TYPE) == Some(&super::respond::JSON) {
                response.headers_mut().insert(CONTENT_TYPE, media_type);
            }
            response
        }
        Err(error) => error_response_in(&error, version),
    }
}

/// The body of a request that has one; a GET's is nobody's business, for some clients send `null`.
async fn read(doors: &Doors, arrival: &crate::call::Arrival, verb: &Verb, body: Body) -> Result<Bytes, Error> {
    if *verb != Verb::POST {
        return Ok(Bytes::new());
    }
    request::json_type(&arrival.headers)?;
    request::read(&doors.gateway, arrival.received, body).await
}

async fn answer(doors: &Doors, admitted: Admitted, route: Route, whole: Bytes) -> Result<Response, Error> {
    let version = route.version;
    let form = match version {
        Version::V1_0 => Form::Json(version),
        Version::V0_3 => for_peer(Form::ProtoJsonV0_3(FileBytes::Auto), &admitted.arrival.headers),
    };
    let query = admitted.arrival.uri.query().map(str::to_owned);
    let reply = exchange::exchange(&doors.gateway, admitted, version, |arrival| {
        let limits = &arrival.settings.limits.json;
        let (operation, raw) = match version {
            Version::V1_0 => rest::read_request(&route, query.as_deref(), &whole, limits)?,
            Version::V0_3 => (rest::v0_3::read_request(&route, query.as_deref(), &whole, limits)?, None),
        };
        Ok(Asked { version, form, operation, raw, rpc_id: None })
    });
    let reply = reply.await?;
    let mut response = match reply.body {
        ReplyBody::One(answer) => {
            let mut response = json_response(StatusCode::OK, exchange::body(answer, form)?);
            // Tasks and extended cards are their caller's alone, and change.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
            response
        }
        ReplyBody::Stream(events) => {
            let keep_alive = doors.gateway.settings.timeouts.keep_alive;
            events::response(events, Envelope::None { version }, form, keep_alive)
        }
    };
    response.headers_mut().extend(ExtensionUri::header(&reply.meta.extensions, version));
    Ok(response)
}

/// `application/a2a+json` for those who use it: in what they accept, or in what they sent.
fn media_type(headers: &HeaderMap) -> HeaderValue {
    let names_it = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .unwrap_or_default()
            .contains("application/a2a+json")
    };
    if names_it(ACCEPT) || names_it(CONTENT_TYPE) { A2A_JSON } else { super::respond::JSON }
}
