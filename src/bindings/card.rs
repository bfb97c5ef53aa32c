//! The agents' cards at their well-known paths, as ours (A2A 8.2).

use std::time::{Duration, SystemTime};

use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::utf8_percent_encode;
use sha2::{Digest as _, Sha256};

use super::address::{base_url, has_port};
use super::arrival::{arrival, named_version};
use super::respond::{error_response, json_response};
use super::{Doors, closing};
use crate::a2a::card::{self, Face};
use crate::call::{AgentName, Arrival};
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::operation::{Binding, Version};
use crate::registry::Agent;
use crate::wire::rest::SEGMENT;

/// A card as it is served.
struct Served {
    body: Vec<u8>,
    modified: SystemTime,
}

/// Answers with the card: pure 1.0 for callers that name that version, else the hybrid that all clients read.
pub(super) async fn serve(doors: &Doors, agent: AgentName, request: Request) -> Response {
    let (mut head, _) = request.into_parts();
    let mut arrival = arrival(&doors.gateway, Some(agent), Binding::HttpJson, &mut head);
    match served(doors, &mut arrival).await {
        Ok(served) => {
            let tag = tag(&served.body);
            let mut response = if is_known(&arrival.headers, &tag, served.modified) {
                let mut response = json_response(StatusCode::NOT_MODIFIED, "");
                response.headers_mut().remove(http::header::CONTENT_TYPE);
                response
            } else {
                json_response(StatusCode::OK, served.body)
            };
            let headers = response.headers_mut();
            headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (ETAG, tag)));
            let modified = httpdate::fmt_http_date(served.modified);
            headers.extend(HeaderValue::try_from(modified).ok().map(|time| (LAST_MODIFIED, time)));
            // It depends on the key, so no shared cache may keep it.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
            headers.insert(VARY, HeaderValue::from_static("A2A-Version, Authorization"));
            response
        }
        Err(error) => closing(head.version, error_response(&error)),
    }
}

async fn served(doors: &Doors, arrival: &mut Arrival) -> Result<Served, Error> {
    let (agent, theirs) = doors.gateway.card(arrival).await?;
    let version = named_version(&arrival.headers, arrival.uri.query())?;
    let face = face(&doors.gateway, &agent, &base_url(&arrival.settings, arrival.peer, &arrival.headers, &arrival.uri));
    let ours = card::rewritten(&theirs.card, &face);
    let body = match (version, face.pinned) {
        (Some(Version::V1_0), None) | (_, Some(Version::V1_0)) => card::write_v1(&ours),
        _ => card::write_hybrid(&ours)
            .map_err(|error| Error::new(Kind::Internal, "the card cannot be written").because(error))?,
    };
    let modified = SystemTime::UNIX_EPOCH + Duration::from_micros(theirs.changed_unix_micros.try_into().unwrap_or(0));
    Ok(Served { body, modified })
}

/// A strong tag: it changes with every byte.
fn tag(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    format!("\"{}\"", digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Whether the caller has the card already (RFC 9110, 13.2.2: the tag counts before the time).
fn is_known(headers: &HeaderMap, tag: &str, modified: SystemTime) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(known) = text(IF_NONE_MATCH) {
        let is_same = |known: &str| known == "*" || known.trim_start_matches("W/") == tag;
        return known.split(',').map(str::trim).any(is_same);
    }
    let since = text(IF_MODIFIED_SINCE).and_then(|time| httpdate::parse_http_date(time).ok());
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    since.is_some_and(|since| seconds(modified) <= seconds(since))
}

/// What callers see of an agent.
pub fn face(gateway: &Gateway, agent: &Agent, base_url: &str) -> Face {
    let name = utf8_percent_encode(agent.name(), SEGMENT);
    Face {
        grpc_v0_3: grpc_v0_3(gateway, agent, &grpc_target(base_url)),
        url: format!("{base_url}/a2a/{name}"),
        grpc: grpc_target(base_url),
        tenant: agent.name().to_owned(),
        pinned: agent.settings.serve_version,
        upstream: agent.settings.url.authority().to_owned(),
    }
}

/// Where a gRPC caller reaches the agent without naming it: at its own port, by its own host, or as the usual one.
fn grpc_v0_3(gateway: &Gateway, agent: &Agent, shared: &str) -> Option<String> {
    let settings = &gateway.settings;
    let (host, port) = shared.rsplit_once(':').unwrap_or((shared, "443"));
    if let Some(own) = gateway.own_address(agent) {
        return Some(format!("{host}:{}", own.port()));
    }
    let is_label = agent.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if let Some(domain) = settings.agent_domain.as_ref().filter(|_| is_label) {
        return Some(format!("{}.{domain}:{port}", agent.name()));
    }
    let is_usual = settings.grpc_default_agent.as_ref().is_some_and(|usual| agent.is_called(&usual.0));
    is_usual.then(|| shared.to_owned())
}

/// Host and port, which is how gRPC libraries dial.
fn grpc_target(base_url: &str) -> String {
    let (scheme, rest) = base_url.split_once("://").unwrap_or(("http", base_url));
    let authority = rest.split('/').next().unwrap_or_default();
    match (has_port(authority), scheme) {
        (true, _) => authority.to_owned(),
        (false, "https") => format!("{authority}:443"),
        (false, _) => format!("{authority}:80"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_port_that_a_url_leaves_out() {
        for (base, target) in [
            ("http://h", "h:80"),
            ("https://h/x", "h:443"),
            ("https://h:8443", "h:8443"),
            ("http://[::1]", "[::1]:80"),
            ("http://[::1]:4000", "[::1]:4000"),
        ] {
            assert_eq!(grpc_target(base), target);
        }
    }
}
