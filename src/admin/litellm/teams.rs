//! `/team/*`.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::fields::{self, Fields};
use super::{answered, asked, known, ok, query};
use crate::admin::Routes;
use crate::error::Error;
use crate::proto::{FieldMask, admin as api};

pub(super) async fn new(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "TeamService/CreateTeam")?;
            let team = team_of(&Fields::of(&body)?)?;
            let created = routes.admin.create_team(&actor, api::CreateTeamRequest { team: Some(team) }).await?;
            ok(shown(&created.team.unwrap_or_default()))
        }
        .await,
    )
}

pub(super) async fn update(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "TeamService/UpdateTeam")?;
            let patch = team_of(&Fields::of(&body)?)?;
            if patch.id.is_empty() {
                return Err(Error::invalid("team_id", "is required"));
            }
            let written = [
                ("team_alias", "name"),
                ("blocked", "blocked"),
                ("metadata", "metadata"),
                ("members_with_roles", "members"),
                ("object_permission.agents", "grants.agents"),
                ("object_permission.agents", "grants.all_agents"),
                ("object_permission.agent_access_groups", "grants.access_groups"),
                ("access_group_ids", "grants.access_groups"),
                ("rpm_limit", "limits.requests_per_minute_max"),
                ("max_parallel_requests", "limits.calls_max"),
            ];
            let paths = fields::said(&body, &written);
            let update_mask = Some(FieldMask { paths });
            let updated =
                routes.admin.update_team(&actor, api::UpdateTeamRequest { team: Some(patch), update_mask }).await?;
            let team = shown(&updated.team.unwrap_or_default());
            ok(json!({ "team_id": team["team_id"], "data": team }))
        }
        .await,
    )
}

pub(super) async fn delete(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "TeamService/DeleteTeam")?;
            let ids = Fields::of(&body)?.texts("team_ids")?.unwrap_or_default();
            if ids.is_empty() {
                return Err(Error::invalid("team_ids", "is required: a list of teams"));
            }
            for id in &ids {
                routes.admin.get_team(&actor, api::GetTeamRequest { id: id.clone() }).await?;
            }
            for id in &ids {
                routes.admin.delete_team(&actor, api::DeleteTeamRequest { id: id.clone(), revision: 0 }).await?;
            }
            ok(json!({ "deleted_teams": ids }))
        }
        .await,
    )
}

pub(super) async fn info(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let own = caller.team.as_ref().map(|team| team.0.to_string());
            let actor = routes.actor(caller.clone(), "TeamService/GetTeam")?;
            let id = query(request.uri(), "team_id").or(own).ok_or_else(|| Error::invalid("team_id", "is required"))?;
            let team = routes.admin.get_team(&actor, api::GetTeamRequest { id }).await?.team.unwrap_or_default();
            let listed = match routes.actor(caller, "KeyService/ListKeys") {
                Ok(actor) => {
                    let request = api::ListKeysRequest { team_id: team.id.clone(), page_size: 1_000, ..Default::default() };
                    routes.admin.list_keys(&actor, request).await?.keys
                }
                Err(_) => Vec::new(),
            };
            let key = |key: &api::Key| json!({ "token": key.hash, "key_alias": key.alias, "key_name": format!("sk-{}", key.hint) });
            let keys: Vec<Value> = listed.iter().map(key).collect();
            ok(json!({ "team_id": team.id, "team_info": shown(&team), "keys": keys, "team_memberships": [] }))
        }
        .await,
    )
}

/// All of them: LiteLLM's has no pages.
pub(super) async fn list(State(routes): State<Routes>, request: Request) -> Response {
    const TEAMS_MAX: usize = 10_000;
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller, "TeamService/ListTeams")?;
            let (mut teams, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = api::ListTeamsRequest { page_size: 1_000, page_token };
                let page = routes.admin.list_teams(&actor, request).await?;
                teams.extend(page.teams.iter().map(shown));
                page_token = page.next_page_token;
                if page_token.is_empty() || teams.len() >= TEAMS_MAX {
                    return ok(teams.into());
                }
            }
        }
        .await,
    )
}

fn team_of(body: &Fields<'_>) -> Result<api::Team, Error> {
    body.refuse(&[
        "team_member_budget",
        "team_member_rpm_limit",
        "team_member_tpm_limit",
        "team_member_key_duration",
        "require_trace_id",
    ])?;
    let member = |value: &Value| {
        Some(api::Member {
            user_id: value["user_id"].as_str()?.to_owned(),
            role: value["role"].as_str().unwrap_or("user").to_owned(),
        })
    };
    let members = body.typed("members_with_roles", "must be a list of {user_id, role}", |value| {
        value.as_array()?.iter().map(member).collect::<Option<Vec<_>>>()
    })?;
    let named = |name: &str, role: &str| {
        let users = body.texts(name)?.unwrap_or_default();
        Ok::<_, Error>(
            users.into_iter().map(|user_id| api::Member { user_id, role: role.to_owned() }).collect::<Vec<_>>(),
        )
    };
    let members = members.into_iter().flatten().chain(named("admins", "admin")?).chain(named("members", "user")?);
    Ok(api::Team {
        id: body.text("team_id")?.unwrap_or_default(),
        name: body.text("team_alias")?.unwrap_or_default(),
        members: members.collect(),
        grants: fields::grants(body)?,
        limits: fields::limits(body)?,
        blocked: body.flag("blocked")?.unwrap_or(false),
        metadata: fields::metadata(body)?,
        ..Default::default()
    })
}

fn shown(team: &api::Team) -> Value {
    let limits = team.limits.unwrap_or_default();
    let provenance = team.provenance.clone().unwrap_or_default();
    let members: Vec<Value> =
        team.members.iter().map(|member| json!({ "user_id": member.user_id, "role": member.role })).collect();
    json!({
        "team_id": team.id,
        "team_alias": team.name,
        "organization_id": null,
        "members_with_roles": members,
        "metadata": team.metadata.as_ref().map_or_else(|| json!({}), |metadata| serde_json::to_value(metadata).unwrap_or_default()),
        "rpm_limit": fields::shown(limits.requests_per_minute_max),
        "max_parallel_requests": fields::shown(limits.calls_max),
        "tpm_limit": null,
        "max_budget": null,
        "budget_duration": null,
        "spend": 0.0,
        "models": [],
        "blocked": team.blocked,
        "object_permission": fields::permission(team.grants.as_ref()),
        "created_at": fields::time(provenance.create_time.as_ref()),
        "updated_at": fields::time(provenance.update_time.as_ref()),
    })
}
