//! LiteLLM's HTTP surface, as its users' programs expect it.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::a2a::card::{rewritten, synthesised, write_hybrid, write_v1};
use crate::bindings::{Doors, base_url, error_response, face, json_response};
use crate::call::Peer;
use crate::registry::Agent;

/// `GET /v1/agents`: a bare array of the agents that the key may call. Nothing of how they are reached is in it.
pub(super) async fn agents(State(doors): State<Doors>, request: Request) -> Response {
    let gateway = &doors.gateway;
    let visible = match gateway.visible_agents(request.headers()) {
        Ok(visible) => visible,
        Err(error) => return error_response(&error),
    };
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.unwrap_or(Peer { address: gateway.settings.listen });
    let base = base_url(&gateway.settings, peer, request.headers(), request.uri());
    let agents: Vec<Value> = visible.into_iter().map(|agent| entry(&doors, agent, &base)).collect();
    json_response(StatusCode::OK, Value::from(agents).to_string())
}

/// LiteLLM's AgentResponse. Members for what this release does not have are null, as they are there.
fn entry(doors: &Doors, agent: &Agent, base_url: &str) -> Value {
    let known = doors.gateway.known_card(agent);
    let card = known.map_or_else(|| synthesised(agent.name(), &agent.settings.description), |card| (*card).clone());
    let ours = rewritten(&card, &face(agent, base_url));
    let card = write_hybrid(&ours).unwrap_or_else(|_| write_v1(&ours));
    let mut card: Value = serde_json::from_slice(&card).unwrap_or_default();
    if card.get("url").is_none() {
        card["url"] = ours.supported_interfaces[0].url.clone().into();
    }
    card["protocolVersion"] = ours.supported_interfaces[0].protocol_version.clone().into();
    json!({
        "identity": null,
        "identity_managed": false,
        "enabled": true,
        "execution_mode": "autonomous",
        "jwt_auth_configured": false,
        "agent_id": agent.id.to_string(),
        "agent_name": agent.name(),
        "litellm_params": { "is_public": false },
        "agent_card_params": card,
        "object_permission": null,
        "spend": 0.0,
        "tpm_limit": null,
        "rpm_limit": null,
        "session_tpm_limit": null,
        "session_rpm_limit": null,
        "static_headers": null,
        "extra_headers": null,
        "access_group_ids": [],
        "kill_switch": null,
        "keys": null,
        "search_score": null,
        "created_at": null,
        "updated_at": null,
        "created_by": null,
        "updated_by": null,
    })
}
