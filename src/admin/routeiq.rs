//! RouteIQ's registry at `/a2a/agents`, with the capability filter that its documentation promises.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};

use super::Routes;
use super::litellm::{Fields, answered, asked, card, known, ok, query, verbs};
use crate::bindings::base_of;
use crate::error::{Error, Kind};
use crate::proto::admin as api;
use crate::registry::Agent;

pub(super) fn router() -> Router<Routes> {
    Router::new()
        .route("/a2a/agents", verbs(get(list).post(register), "GET, HEAD, POST"))
        .route("/a2a/agents/{id}", verbs(axum::routing::delete(unregister), "DELETE"))
        .route("/a2a/agents/{id}/card", verbs(get(card_of), "GET, HEAD"))
}

async fn register(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "AgentService/CreateAgent")?;
            let fields = Fields::of(&body)?;
            let name = fields.text("agent_name")?.or(fields.text("name")?);
            let id = fields.text("agent_id")?.filter(|id| Some(id) != name.as_ref());
            let name = name.or_else(|| id.clone()).ok_or_else(|| Error::invalid("name", "is required"))?;
            let url =
                fields.text("url")?.ok_or_else(|| Error::invalid("url", "is required: the agent is called there"))?;
            let metadata =
                fields.typed("metadata", "must be an object", |value| serde_json::from_value(value.clone()).ok())?;
            let agent = api::Agent {
                aliases: Vec::from_iter(id.filter(|id| *id != name)),
                description: fields.text("description")?.unwrap_or_default(),
                endpoints: vec![api::Endpoint { url, weight: 1, ..Default::default() }],
                capabilities: fields.texts("capabilities")?.unwrap_or_default(),
                metadata,
                name,
                ..Default::default()
            };
            let created = routes.admin.create_agent(&actor, api::CreateAgentRequest { agent: Some(agent) }).await?;
            let agent = created.agent.unwrap_or_default();
            ok(json!({ "status": "registered", "agent_id": shown_id(&agent), "agent_name": agent.name }))
        }
        .await,
    )
}

/// The agents that the key may call; for administrators, all.
async fn list(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller, "AgentService/ListAgents")?;
            let wanted = query(request.uri(), "capability").unwrap_or_default();
            let has = |about: &api::Agent| wanted.is_empty() || about.capabilities.contains(&wanted);
            let base = base_of(&routes.doors.gateway, &request);
            let agents = routes.doors.gateway.agents();
            let seen = agents.iter().filter(|agent| has(&agent.about) && routes.admin.sees(&actor, agent));
            let agents: Vec<Value> = seen.map(|agent| entry(agent, &base)).collect();
            ok(json!({ "agents": agents }))
        }
        .await,
    )
}

async fn unregister(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller, "AgentService/DeleteAgent")?;
            routes.admin.delete_agent(&actor, api::DeleteAgentRequest { id: id.clone(), revision: 0 }).await?;
            Ok((StatusCode::OK, json!({ "status": "unregistered", "agent_id": id })))
        }
        .await,
    )
}

async fn card_of(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let agents = routes.doors.gateway.visible_agents(&caller);
            let agent = agents.iter().find(|agent| agent.is_called(&id));
            let agent = agent.ok_or_else(|| Error::new(Kind::NotFound, "there is no such agent for this key"))?;
            ok(card(&routes, agent, &base_of(&routes.doors.gateway, &request)))
        }
        .await,
    )
}

/// RouteIQ's callers choose ids, which are names here too.
fn shown_id(about: &api::Agent) -> &str {
    about.aliases.first().unwrap_or(&about.name)
}

/// The address is ours: how the agent is reached is nobody's business.
fn entry(agent: &Agent, base_url: &str) -> Value {
    let about = &agent.about;
    json!({
        "agent_id": shown_id(about),
        "name": about.name,
        "description": about.description,
        "url": format!("{base_url}/a2a/{}", about.name),
        "capabilities": about.capabilities,
    })
}
