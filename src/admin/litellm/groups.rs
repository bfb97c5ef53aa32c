//! `/v1/access_group`.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::fields::{self, Fields};
use super::{answered, asked, known, ok};
use crate::admin::Routes;
use crate::error::Error;
use crate::proto::{FieldMask, admin as api};

pub(super) async fn list(State(routes): State<Routes>, request: Request) -> Response {
    const GROUPS_MAX: usize = 10_000;
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller, "AccessGroupService/ListAccessGroups")?;
            let (mut groups, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = api::ListAccessGroupsRequest { page_size: 1_000, page_token };
                let page = routes.admin.list_access_groups(&actor, request).await?;
                groups.extend(page.access_groups.iter().map(shown));
                page_token = page.next_page_token;
                if page_token.is_empty() || groups.len() >= GROUPS_MAX {
                    return ok(groups.into());
                }
            }
        }
        .await,
    )
}

pub(super) async fn create(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "AccessGroupService/CreateAccessGroup")?;
            let group = group_of(&Fields::of(&body)?)?;
            let request = api::CreateAccessGroupRequest { access_group: Some(group) };
            let created = routes.admin.create_access_group(&actor, request).await?;
            Ok((StatusCode::CREATED, shown(&created.access_group.unwrap_or_default())))
        }
        .await,
    )
}

pub(super) async fn one(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller, "AccessGroupService/GetAccessGroup")?;
            let found = routes.admin.get_access_group(&actor, api::GetAccessGroupRequest { id }).await?;
            ok(shown(&found.access_group.unwrap_or_default()))
        }
        .await,
    )
}

pub(super) async fn update(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "AccessGroupService/UpdateAccessGroup")?;
            let patch = api::AccessGroup { id, ..group_of(&Fields::of(&body)?)? };
            let written = [
                ("access_group_name", "name"),
                ("description", "description"),
                ("access_agent_ids", "agents"),
                ("assigned_team_ids", "teams"),
                ("assigned_key_ids", "keys"),
            ];
            let update_mask = Some(FieldMask { paths: fields::said(&body, &written) });
            let request = api::UpdateAccessGroupRequest { access_group: Some(patch), update_mask };
            let updated = routes.admin.update_access_group(&actor, request).await?;
            ok(shown(&updated.access_group.unwrap_or_default()))
        }
        .await,
    )
}

pub(super) async fn delete(State(routes): State<Routes>, Path(id): Path<String>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller, "AccessGroupService/DeleteAccessGroup")?;
            let request = api::DeleteAccessGroupRequest { id, revision: 0 };
            routes.admin.delete_access_group(&actor, request).await?;
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        .await,
    )
}

fn group_of(body: &Fields<'_>) -> Result<api::AccessGroup, Error> {
    let texts = |name: &str| Ok::<_, Error>(body.texts(name)?.unwrap_or_default());
    Ok(api::AccessGroup {
        name: body.text("access_group_name")?.unwrap_or_default(),
        description: body.text("description")?.unwrap_or_default(),
        agents: texts("access_agent_ids")?,
        teams: texts("assigned_team_ids")?,
        keys: texts("assigned_key_ids")?,
        ..Default::default()
    })
}

fn shown(group: &api::AccessGroup) -> Value {
    let provenance = group.provenance.clone().unwrap_or_default();
    json!({
        "access_group_id": group.id,
        "access_group_name": group.name,
        "description": group.description,
        "access_model_names": [],
        "access_mcp_server_ids": [],
        "access_agent_ids": group.agents,
        "assigned_team_ids": group.teams,
        "assigned_key_ids": group.keys,
        "created_at": fields::time(provenance.create_time.as_ref()),
        "created_by": provenance.created_by,
        "updated_at": fields::time(provenance.update_time.as_ref()),
        "updated_by": provenance.updated_by,
    })
}
