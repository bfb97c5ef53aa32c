//! LiteLLM's HTTP surface, as its users' programs expect it: thin translations over the functions of the admin API.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::Routes;
use crate::bindings::{error_response, json_response, other_verb, read_body, sender};
use crate::call::Caller;
use crate::error::{Error, Kind};
use crate::wire::status;

mod agent_config;
mod agents;
mod fields;
mod groups;
mod keys;
mod teams;

pub(super) use agents::card;
pub(super) use fields::Fields;

/// The routes, each with its verbs; another verb is 405 with `Allow`.
pub(super) fn router() -> Router<Routes> {
    let routes: [(&str, MethodRouter<Routes>, &'static str); 24] = [
        ("/v1/agents", get(agents::list).post(agents::create), "GET, HEAD, POST"),
        ("/v1/agents/", get(agents::list).post(agents::create), "GET, HEAD, POST"),
        ("/v1/agents/make_public", post(agents::make_these_public), "POST"),
        (
            "/v1/agents/{id}",
            get(agents::one).put(agents::replace).patch(agents::merge).delete(agents::delete),
            "GET, HEAD, PUT, PATCH, DELETE",
        ),
        ("/v1/agents/{id}/make_public", post(agents::make_public), "POST"),
        ("/public/agent_hub", get(agents::hub), "GET, HEAD"),
        ("/v1/a2a/discover", post(agents::discover), "POST"),
        ("/key/generate", post(keys::generate), "POST"),
        ("/key/update", post(keys::update), "POST"),
        ("/key/delete", post(keys::delete), "POST"),
        ("/key/info", get(keys::info), "GET, HEAD"),
        ("/key/list", get(keys::list), "GET, HEAD"),
        ("/key/block", post(keys::block), "POST"),
        ("/key/unblock", post(keys::unblock), "POST"),
        ("/key/regenerate", post(keys::regenerate), "POST"),
        ("/key/{key}/regenerate", post(keys::regenerate_this), "POST"),
        ("/team/new", post(teams::new), "POST"),
        ("/team/update", post(teams::update), "POST"),
        ("/team/delete", post(teams::delete), "POST"),
        ("/team/info", get(teams::info), "GET, HEAD"),
        ("/team/list", get(teams::list), "GET, HEAD"),
        ("/v1/access_group", get(groups::list).post(groups::create), "GET, HEAD, POST"),
        ("/v1/access_group/", get(groups::list).post(groups::create), "GET, HEAD, POST"),
        (
            "/v1/access_group/{id}",
            get(groups::one).put(groups::update).delete(groups::delete),
            "GET, HEAD, PUT, DELETE",
        ),
    ];
    routes
        .into_iter()
        .fold(Router::new(), |router, (path, handlers, allowed)| router.route(path, verbs(handlers, allowed)))
}

/// Handlers, and for every other verb a refusal that names `allowed`.
pub(super) fn verbs(handlers: MethodRouter<Routes>, allowed: &'static str) -> MethodRouter<Routes> {
    handlers.fallback(move |verb: Method| async move { other_verb(&verb, allowed) })
}

/// What a handler answers: a status and a JSON body, or an error.
pub(super) type Answer = Result<(StatusCode, Value), Error>;

#[expect(clippy::unnecessary_wraps, reason = "it is the end of what may fail")]
pub(super) fn ok(body: Value) -> Answer {
    Ok((StatusCode::OK, body))
}

/// Who asks, and the body, if there is one.
pub(super) async fn asked(routes: &Routes, request: Request) -> Result<(Caller, Value), Error> {
    let caller = known(routes, &request).await?;
    let body = read_body(&routes.doors.gateway, request).await?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok((caller, json!({})));
    }
    let body = serde_json::from_slice(&body).map_err(|_| Error::new(Kind::Parse, "the body is not JSON"))?;
    Ok((caller, body))
}

/// Who asks for what needs no body. The future has nothing of the request, which cannot be shared between threads.
pub(super) fn known(routes: &Routes, request: &Request) -> impl Future<Output = Result<Caller, Error>> + use<> {
    let gateway = Arc::clone(&routes.doors.gateway);
    let (headers, sender) = (request.headers().clone(), sender(&gateway, request));
    async move { gateway.identify(&headers, sender).await }
}

/// As LiteLLM writes errors, in both of its forms, around the same as everywhere else.
pub(super) fn answered(answer: Answer) -> Response {
    let error = match answer {
        Ok((StatusCode::NO_CONTENT, _)) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        Ok((status, body)) => return json_response(status, body.to_string()),
        Err(error) => error,
    };
    let response = error_response(&error);
    let mut body: Value = serde_json::from_slice(&status::write_json(&error).1).unwrap_or_default();
    body["error"]["type"] = match error.kind() {
        Kind::Unauthenticated => "auth_error",
        Kind::RateLimited => "throttling_error",
        Kind::Internal | Kind::Overloaded => "internal_server_error",
        _ => "invalid_request_error",
    }
    .into();
    body["error"]["param"] = error.violations().first().map_or(Value::Null, |wrong| wrong.field.clone().into());
    body["detail"] = error.message().into();
    // A name that is taken is a bad request there.
    let status = if error.kind() == Kind::AlreadyExists { StatusCode::BAD_REQUEST } else { response.status() };
    let mut written = json_response(status, body.to_string());
    for (name, value) in response.headers() {
        if !written.headers().contains_key(name) && name != http::header::CONTENT_LENGTH {
            written.headers_mut().insert(name, value.clone());
        }
    }
    written
}

/// One parameter of the query, decoded.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
