//! The agents' cards at their well-known paths, as ours (A2A 8.2).

use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::arrival::{arrival, base_url, named_version};
use super::respond::{error_response, json_response};
use super::{Doors, closing};
use crate::a2a::card::{self, Face};
use crate::call::{AgentName, Arrival};
use crate::error::{Error, Kind};
use crate::operation::{Binding, Version};
use crate::registry::Agent;

/// What stays as it is in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-').remove(b'~');

/// Answers with the card: pure 1.0 for callers that name that version, else the hybrid that all clients read.
pub(super) async fn serve(doors: &Doors, agent: AgentName, request: Request) -> Response {
    let (mut head, _) = request.into_parts();
    let arrival = arrival(doors, agent, Binding::HttpJson, &mut head);
    match body(doors, &arrival, &head.uri).await {
        Ok(body) => {
            let mut response = json_response(StatusCode::OK, body);
            // It depends on the key, so no shared cache may keep it.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
            response.headers_mut().insert(VARY, HeaderValue::from_static("A2A-Version, Authorization"));
            response
        }
        Err(error) => closing(head.version, error_response(&error)),
    }
}

async fn body(doors: &Doors, arrival: &Arrival, uri: &http::Uri) -> Result<Vec<u8>, Error> {
    let (agent, theirs) = doors.gateway.card(arrival).await?;
    let version = named_version(&arrival.headers, uri.query())?;
    let face = face(agent, &base_url(&arrival.settings, arrival.peer, &arrival.headers, uri));
    let ours = card::rewritten(&theirs, &face);
    match (version, face.pinned) {
        (Some(Version::V1_0), None) | (_, Some(Version::V1_0)) => Ok(card::write_v1(&ours)),
        _ => card::write_hybrid(&ours)
            .map_err(|error| Error::new(Kind::Internal, "the card cannot be written").because(error)),
    }
}

/// What callers see of an agent.
pub fn face(agent: &Agent, base_url: &str) -> Face {
    let name = utf8_percent_encode(agent.name(), SEGMENT);
    let url = format!("{base_url}/a2a/{name}");
    let upstream = agent.settings.url.authority().to_owned();
    Face { url, pinned: agent.settings.serve_version, upstream }
}
