//! `/v1/agents`, `/public/agent_hub` and `/v1/a2a/discover`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::agent_config::{agent_of, every_path, kept_member, merged, paths_of, with_the_rest};
use super::fields::{self, Fields};
use super::{Answer, answered, asked, known, ok, query};
use crate::a2a::card::{rewritten, synthesised, write_hybrid, write_v1};
use crate::admin::Routes;
use crate::bindings::{base_of, face};
use crate::call::Caller;
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::proto::{FieldMask, admin as api};
use crate::registry::Agent;

/// Agents whose health is asked at once.
const PROBED_AT_ONCE: usize = 8;
/// Of one list.
const PROBED_MAX: usize = 200;
/// For one agent, and for all of a list; LiteLLM's own limits.
const PROBE: Duration = Duration::from_secs(5);
const PROBES: Duration = Duration::from_secs(30);
/// Cards of the public hub, which anybody may ask for.
const HUB_MAX: usize = 1_000;

/// A bare array of the agents that the key may call; for administrators, of all.
pub(super) async fn list(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let base = base_of(&routes.doors.gateway, &request);
            let gateway = &routes.doors.gateway;
            let actor = routes.actor(caller.clone(), "AgentService/ListAgents")?;
            let mut agents = gateway.agents();
            agents.retain(|agent| routes.admin.sees(&actor, agent));
            if let Some(text) = query(request.uri(), "query") {
                let text = text.to_lowercase();
                let has =
                    |about: &api::Agent| format!("{} {}", about.name, about.description).to_lowercase().contains(&text);
                agents.retain(|agent| has(&agent.about));
                let top = query(request.uri(), "top_k").and_then(|top| top.parse().ok()).unwrap_or(100);
                agents.truncate(std::cmp::min(top, 100));
            }
            if query(request.uri(), "health_check").as_deref() == Some("true") {
                // For whoever may have cards read at all.
                routes.actor(caller.clone(), "AgentService/RefreshAgentCard")?;
                agents = healthy(gateway, agents).await;
            }
            ok(agents.iter().map(|agent| entry(&routes, &caller, agent, &base)).collect())
        }
        .await,
    )
}

/// Those whose card can be read now, a few at a time and all within one limit; of a long list, the first.
async fn healthy(gateway: &Gateway, mut agents: Vec<Arc<Agent>>) -> Vec<Arc<Agent>> {
    agents.truncate(PROBED_MAX);
    let probe = |agent: Arc<Agent>| async move {
        let card = timeout(PROBE, gateway.refresh_card(&agent)).await;
        card.is_ok_and(|card| card.is_ok()).then_some(agent)
    };
    let probes = stream::iter(agents).map(probe).buffered(PROBED_AT_ONCE);
    let deadline = Box::pin(tokio::time::sleep(PROBES));
    probes.take_until(deadline).filter_map(std::future::ready).collect().await
}

pub(super) async fn one(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let base = base_of(&routes.doors.gateway, &request);
            shown(&routes, &caller, &id, &base, StatusCode::OK)
        }
        .await,
    )
}

pub(super) async fn create(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let base = base_of(&routes.doors.gateway, &request);
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller.clone(), "AgentService/CreateAgent")?;
            let agent = agent_of(&Fields::of(&body)?, &body)?;
            let name = agent.name.clone();
            let created = routes.admin.create_agent(&actor, api::CreateAgentRequest { agent: Some(agent) }).await;
            let created = created.map_err(|error| match error.kind() {
                Kind::AlreadyExists => {
                    Error::new(Kind::AlreadyExists, format!("Agent with name {name} already exists"))
                }
                _ => error,
            })?;
            shown(&routes, &caller, &created.agent.unwrap_or_default().id, &base, StatusCode::OK)
        }
        .await,
    )
}

pub(super) async fn replace(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(write(&routes, &id, request, true).await)
}

pub(super) async fn merge(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(write(&routes, &id, request, false).await)
}

async fn write(routes: &Routes, id: &str, request: Request, is_whole: bool) -> Answer {
    let base = base_of(&routes.doors.gateway, &request);
    let (caller, body) = asked(routes, request).await?;
    let actor = routes.actor(caller.clone(), "AgentService/UpdateAgent")?;
    let before = routes.admin.changeable_agent(&actor, id)?;
    // What LiteLLM's body cannot say stays; of what it can, a replacement takes away what it leaves out.
    let paths = if is_whole { every_path() } else { paths_of(&body) };
    if paths.is_empty() {
        return shown(routes, &caller, &before.id.0, &base, StatusCode::OK);
    }
    let written = body.clone();
    let body = if is_whole { body } else { merged(&before.about, body) };
    let mut patch = agent_of(&Fields::of(&body)?, &body)?;
    with_the_rest(&mut patch, &before.about, &written);
    let provenance = before.about.provenance.clone();
    let patch = api::Agent { id: before.id.to_string(), provenance, ..patch };
    let update_mask = Some(FieldMask { paths });
    routes.admin.update_agent(&actor, api::UpdateAgentRequest { agent: Some(patch), update_mask }).await?;
    shown(routes, &caller, &before.id.0, &base, StatusCode::OK)
}

pub(super) async fn delete(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller, "AgentService/DeleteAgent")?;
            routes.admin.delete_agent(&actor, api::DeleteAgentRequest { id: id.clone(), revision: 0 }).await?;
            ok(json!({ "message": format!("Agent {id} deleted successfully") }))
        }
        .await,
    )
}

pub(super) async fn make_public(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller.clone(), "AgentService/UpdateAgent")?;
            let agent = routes.admin.changeable_agent(&actor, &id)?;
            if agent.about.public {
                return Err(Error::new(Kind::InvalidParams, "the agent is public already"));
            }
            set_public(&routes, &caller, &agent, true).await?;
            ok(public_groups(&routes, &caller))
        }
        .await,
    )
}

/// The agents that are public are those of the list, and no others.
pub(super) async fn make_these_public(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller.clone(), "AgentService/UpdateAgent")?;
            let ids = Fields::of(&body)?.texts("agent_ids")?;
            let ids = ids.ok_or_else(|| Error::invalid("agent_ids", "is required: a list of agents"))?;
            let wanted =
                ids.iter().map(|id| routes.admin.changeable_agent(&actor, id)).collect::<Result<Vec<_>, _>>()?;
            for agent in routes.doors.gateway.agents().iter().filter(|agent| !agent.is_of_config()) {
                let public = wanted.iter().any(|wanted| wanted.id == agent.id);
                if public != agent.about.public {
                    set_public(&routes, &caller, agent, public).await?;
                }
            }
            ok(public_groups(&routes, &caller))
        }
        .await,
    )
}

async fn set_public(routes: &Routes, caller: &Caller, agent: &Agent, public: bool) -> Result<(), Error> {
    let actor = routes.actor(caller.clone(), "AgentService/UpdateAgent")?;
    let patch = api::Agent { id: agent.id.to_string(), public, ..Default::default() };
    let update_mask = Some(FieldMask { paths: vec!["public".to_owned()] });
    routes.admin.update_agent(&actor, api::UpdateAgentRequest { agent: Some(patch), update_mask }).await.map(drop)
}

fn public_groups(routes: &Routes, caller: &Caller) -> Value {
    let agents = routes.doors.gateway.agents();
    let public: Vec<_> = agents.iter().filter(|agent| agent.about.public).map(|agent| agent.id.to_string()).collect();
    json!({ "message": "the public agents were changed", "public_agent_groups": public, "updated_by": &*caller.name })
}

/// The cards of public agents, for anybody: without a key nothing else of them is shown.
pub(super) async fn hub(State(routes): State<Routes>, request: Request) -> Response {
    let base = base_of(&routes.doors.gateway, &request);
    let agents = routes.doors.gateway.agents();
    let public = agents.iter().filter(|agent| agent.about.public && agent.settings.is_served);
    answered(ok(public.take(HUB_MAX).map(|agent| card(&routes, agent, &base)).collect()))
}

pub(super) async fn discover(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "AgentService/DiscoverAgentCard")?;
            let body = Fields::of(&body)?;
            if body.text("discovery_mode")?.is_some_and(|mode| mode != "well_known_fallback") {
                return Err(Error::invalid(
                    "discovery_mode",
                    "must be well_known_fallback, the only one of this release",
                ));
            }
            let url = body.text("url")?.ok_or_else(|| Error::invalid("url", "is required"))?;
            let found = routes.admin.discover_agent_card(&actor, api::DiscoverAgentCardRequest { url }).await?;
            let card = found.card.map(|card| serde_json::from_slice(&write_v1(&card)).unwrap_or_default());
            ok(json!({ "url": found.url, "agent_card": card.unwrap_or(Value::Null) }))
        }
        .await,
    )
}

fn shown(routes: &Routes, caller: &Caller, id: &str, base: &str, status: StatusCode) -> Answer {
    let actor = routes.actor(caller.clone(), "AgentService/GetAgent")?;
    let agent = routes.admin.visible_agent(&actor, id)?;
    Ok((status, entry(routes, caller, &agent, base)))
}

/// The agent's card as callers see it, with the address of the gateway.
pub(in crate::admin) fn card(routes: &Routes, agent: &Agent, base_url: &str) -> Value {
    let known = routes.doors.gateway.known_card(agent);
    let card = known.map_or_else(|| synthesised(agent.name(), &agent.settings.description), |card| (*card).clone());
    let ours = rewritten(&card, &face(&routes.doors.gateway, agent, base_url));
    let card = write_hybrid(&ours).unwrap_or_else(|_| write_v1(&ours));
    let mut card: Value = serde_json::from_slice(&card).unwrap_or_default();
    if card.get("url").is_none() {
        card["url"] = ours.supported_interfaces[0].url.clone().into();
    }
    card["protocolVersion"] = ours.supported_interfaces[0].protocol_version.clone().into();
    card
}

/// To those who rule the agent, the card as they wrote it, with the agent's address: they write it back.
fn own_card(routes: &Routes, agent: &Agent, base_url: &str) -> Value {
    let mut own = kept_member(&agent.about, "agent_card_params");
    if !own.is_object() {
        own = card(routes, agent, base_url);
    }
    own["url"] = agent.about.endpoints.first().map_or(Value::Null, |endpoint| endpoint.url.clone().into());
    own
}

/// LiteLLM's AgentResponse, with its members in its order. Who only calls the agent sees nothing of how it is reached.
fn entry(routes: &Routes, caller: &Caller, agent: &Agent, base_url: &str) -> Value {
    let about = &agent.about;
    let rules = routes.actor(caller.clone(), "AgentService/UpdateAgent").is_ok_and(|actor| actor.rules(agent));
    let mut params = kept_member(about, "litellm_params");
    if !params.is_object() || !rules {
        params = json!({});
    }
    params["is_public"] = about.public.into();
    let only = |value: Value| if rules { value } else { Value::Null };
    let provenance = about.provenance.clone().unwrap_or_default();
    json!({
        "identity": null,
        "identity_managed": false,
        "enabled": if rules { about.enabled.unwrap_or(true) } else { agent.settings.is_served },
        "execution_mode": "autonomous",
        "jwt_auth_configured": false,
        "agent_id": about.id,
        "agent_name": about.name,
        "litellm_params": params,
        "agent_card_params": if rules { own_card(routes, agent, base_url) } else { card(routes, agent, base_url) },
        "object_permission": null,
        "spend": 0.0,
        "tpm_limit": null,
        "rpm_limit": fields::shown(agent.settings.rates.requests_per_minute_max),
        "session_tpm_limit": null,
        "session_rpm_limit": null,
        "static_headers": only(about.endpoints.first().map_or(Value::Null, |endpoint| json!(endpoint.headers))),
        "extra_headers": only(json!(about.forward_headers)),
        "access_group_ids": about.access_groups,
        "kill_switch": null,
        "keys": null,
        "search_score": null,
        "created_at": fields::time(provenance.create_time.as_ref()),
        "updated_at": fields::time(provenance.update_time.as_ref()),
        "created_by": only(provenance.created_by.into()),
        "updated_by": only(provenance.updated_by.into()),
    })
}
