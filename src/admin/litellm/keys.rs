//! `/key/*`.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::fields::{self, Fields};
use super::{Answer, answered, asked, known, ok, query};
use crate::admin::{Actor, Routes, Scope};
use crate::config::key_hash;
use crate::error::Error;
use crate::proto::wkt::time;
use crate::proto::{FieldMask, admin as api};

pub(super) async fn generate(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "KeyService/CreateKey")?;
            let fields = Fields::of(&body)?;
            let mut key = key_of(&fields, routes.admin.store().now())?;
            // There, a key of a team without grants of its own may what its team may.
            if key.grants.is_none() && (!key.team_id.is_empty() || actor.scope == Scope::Own) {
                key.grants = Some(api::Grants { all_agents: true, ..Default::default() });
            }
            let secret = fields.text("key")?.unwrap_or_default();
            let created = routes.admin.create_key(&actor, api::CreateKeyRequest { key: Some(key), secret }).await?;
            ok(with_value(&created.key.unwrap_or_default(), &created.secret))
        }
        .await,
    )
}

pub(super) async fn update(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "KeyService/UpdateKey")?;
            let fields = Fields::of(&body)?;
            let id = id_of(&required(&fields)?);
            let (row, _) = routes.admin.visible_key(&actor, &id).await?;
            let patch = api::Key { id: row.id, ..key_of(&fields, routes.admin.store().now())? };
            let written = [
                ("key_alias", "alias"),
                ("team_id", "team_id"),
                ("user_id", "user_id"),
                ("agent_id", "agent_id"),
                ("metadata", "metadata"),
                ("blocked", "blocked"),
                ("duration", "expire_time"),
                ("object_permission.agents", "grants.agents"),
                ("object_permission.agents", "grants.all_agents"),
                ("object_permission.agent_access_groups", "grants.access_groups"),
                ("access_group_ids", "grants.access_groups"),
                ("rpm_limit", "limits.requests_per_minute_max"),
                ("max_parallel_requests", "limits.calls_max"),
            ];
            let paths = fields::said(&body, &written);
            if paths.is_empty() {
                let key = routes.admin.get_key(&actor, api::GetKeyRequest { id: patch.id }).await?;
                return ok(shown(&key.key.unwrap_or_default()));
            }
            let update_mask = Some(FieldMask { paths });
            let updated =
                routes.admin.update_key(&actor, api::UpdateKeyRequest { key: Some(patch), update_mask }).await?;
            ok(shown(&updated.key.unwrap_or_default()))
        }
        .await,
    )
}

/// By value, hash or alias; all of them, or none if one is not there.
pub(super) async fn delete(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let actor = routes.actor(caller, "KeyService/DeleteKey")?;
            let fields = Fields::of(&body)?;
            let keys = fields.texts("keys")?.unwrap_or_default();
            let aliases = fields.texts("key_aliases")?.unwrap_or_default();
            if keys.is_empty() && aliases.is_empty() {
                return Err(Error::invalid("keys", "is required: a list of keys, or key_aliases"));
            }
            let mut rows = Vec::new();
            for id in keys.iter().map(|key| id_of(key)).chain(aliases) {
                rows.push(routes.admin.visible_key(&actor, &id).await?.0);
            }
            for row in rows {
                routes.admin.delete_key(&actor, api::DeleteKeyRequest { id: row.id, revision: 0 }).await?;
            }
            ok(json!({ "deleted_keys": body["keys"].as_array().cloned().unwrap_or_default() }))
        }
        .await,
    )
}

/// Of the key that is named, or of the one that asks.
pub(super) async fn info(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let own = caller.key.0.to_string();
            let actor = routes.actor(caller, "KeyService/GetKey")?;
            let id = query(request.uri(), "key").map_or(own, |key| id_of(&key));
            let key = routes.admin.get_key(&actor, api::GetKeyRequest { id }).await?.key.unwrap_or_default();
            ok(json!({ "key": key.hash, "info": shown(&key) }))
        }
        .await,
    )
}

pub(super) async fn list(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let caller = known(&routes, &request).await?;
            let actor = routes.actor(caller, "KeyService/ListKeys")?;
            let uri = request.uri().clone();
            let number = |name: &str, usual: u32| query(&uri, name).and_then(|n| n.parse().ok()).unwrap_or(usual);
            let (page, size) = (number("page", 1).clamp(1, 1_000), number("size", 10).clamp(1, 100));
            let text = |name: &str| query(&uri, name).unwrap_or_default();
            let mut asked = api::ListKeysRequest {
                page_size: size,
                team_id: text("team_id"),
                user_id: text("user_id"),
                agent_id: text("agent_id"),
                ..Default::default()
            };
            let mut found = api::ListKeysResponse::default();
            let mut last = 0;
            for at in 1..=page {
                found = routes.admin.list_keys(&actor, asked.clone()).await?;
                asked.page_token.clone_from(&found.next_page_token);
                last = at;
                if asked.page_token.is_empty() {
                    break;
                }
            }
            if last < page {
                // Past the end there is nothing, or a reader of pages would never end.
                found.keys.clear();
            }
            let is_whole = text("return_full_object") == "true";
            let keys: Vec<Value> =
                found.keys.iter().map(|key| if is_whole { shown(key) } else { key.hash.clone().into() }).collect();
            let more = u32::from(!found.next_page_token.is_empty());
            ok(json!({ "keys": keys, "total_count": null, "current_page": page, "total_pages": last + more }))
        }
        .await,
    )
}

pub(super) async fn block(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (actor, id) = named(&routes, request, "KeyService/BlockKey").await?;
            let key = routes.admin.block_key(&actor, api::BlockKeyRequest { id }).await?.key;
            ok(shown(&key.unwrap_or_default()))
        }
        .await,
    )
}

pub(super) async fn unblock(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (actor, id) = named(&routes, request, "KeyService/UnblockKey").await?;
            let key = routes.admin.unblock_key(&actor, api::UnblockKeyRequest { id }).await?.key;
            ok(shown(&key.unwrap_or_default()))
        }
        .await,
    )
}

pub(super) async fn regenerate(State(routes): State<Routes>, request: Request) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            let id = id_of(&required(&Fields::of(&body)?)?);
            rotate(&routes, routes.actor(caller, "KeyService/RotateKey")?, id, &body).await
        }
        .await,
    )
}

pub(super) async fn regenerate_this(
    State(routes): State<Routes>,
    Path(key): Path<String>,
    request: Request,
) -> Response {
    answered(
        async move {
            let (caller, body) = asked(&routes, request).await?;
            rotate(&routes, routes.actor(caller, "KeyService/RotateKey")?, id_of(&key), &body).await
        }
        .await,
    )
}

async fn rotate(routes: &Routes, actor: Actor, id: String, body: &Value) -> Answer {
    let fields = Fields::of(body)?;
    let grace = fields.text("grace_period")?.map(|text| {
        fields::seconds(&text).ok_or_else(|| Error::invalid("grace_period", "must be as in 30s, 5m, 24h or 7d"))
    });
    let overlap = grace.transpose()?.unwrap_or(0).saturating_mul(1_000);
    let (row, _) = routes.admin.visible_key(&actor, &id).await?;
    let request = api::RotateKeyRequest {
        id: row.id,
        secret: fields.text("new_key")?.unwrap_or_default(),
        overlap_ms: u32::try_from(overlap).unwrap_or(u32::MAX),
    };
    let rotated = routes.admin.rotate_key(&actor, request).await?;
    ok(with_value(&rotated.key.unwrap_or_default(), &rotated.secret))
}

async fn named(routes: &Routes, request: Request, method: &str) -> Result<(Actor, String), Error> {
    let (caller, body) = asked(routes, request).await?;
    let actor = routes.actor(caller, method)?;
    let id = id_of(&required(&Fields::of(&body)?)?);
    let (row, _) = routes.admin.visible_key(&actor, &id).await?;
    Ok((actor, row.id))
}

fn required(fields: &Fields<'_>) -> Result<String, Error> {
    fields.text("key")?.ok_or_else(|| Error::invalid("key", "is required: the key, or its hash"))
}

/// A key is named by its value there, or by the hash of it; here by hash or id.
fn id_of(key: &str) -> String {
    let is_hash = key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hash || key.starts_with("key_") { key.to_owned() } else { key_hash(key) }
}

fn key_of(body: &Fields<'_>, now: i64) -> Result<api::Key, Error> {
    body.refuse(&[
        "auto_rotate",
        "model_max_budget",
        "enforced_params",
        "allowed_cache_controls",
        "allowed_vector_store_indexes",
    ])?;
    let routes = body.texts("allowed_routes")?.unwrap_or_default();
    if routes.iter().any(|route| !["agent_routes", "llm_api_routes"].contains(&route.as_str())) {
        return Err(Error::invalid(
            "allowed_routes",
            "must be agent_routes or llm_api_routes: others are not enforced by this release",
        ));
    }
    if body.text("key_type")?.is_some_and(|kind| !["default", "llm_api"].contains(&kind.as_str())) {
        return Err(Error::invalid(
            "key_type",
            "must be default or llm_api: make keys that administer with KeyService and a role",
        ));
    }
    let duration = body.text("duration")?.map(|text| {
        fields::seconds(&text).ok_or_else(|| Error::invalid("duration", "must be as in 30s, 5m, 24h or 30d"))
    });
    let expire_time = duration.transpose()?.map(|seconds| time(now.saturating_add(seconds.saturating_mul(1_000_000))));
    let text = |name: &str| Ok::<_, Error>(body.text(name)?.unwrap_or_default());
    Ok(api::Key {
        alias: text("key_alias")?,
        team_id: text("team_id")?,
        user_id: text("user_id")?,
        agent_id: text("agent_id")?,
        grants: fields::grants(body)?,
        limits: fields::limits(body)?,
        blocked: body.flag("blocked")?.unwrap_or(false),
        expire_time,
        metadata: fields::metadata(body)?,
        ..Default::default()
    })
}

fn with_value(key: &api::Key, secret: &str) -> Value {
    let mut shown = shown(key);
    shown["key"] = secret.into();
    shown["token_id"] = key.hash.clone().into();
    shown
}

fn shown(key: &api::Key) -> Value {
    let limits = key.limits.unwrap_or_default();
    let provenance = key.provenance.clone().unwrap_or_default();
    let text = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    json!({
        "token": key.hash,
        "key_name": format!("sk-{}", key.hint),
        "key_alias": text(&key.alias),
        "spend": 0.0,
        "expires": fields::time(key.expire_time.as_ref()),
        "models": [],
        "user_id": text(&key.user_id),
        "team_id": text(&key.team_id),
        "agent_id": text(&key.agent_id),
        "max_parallel_requests": fields::shown(limits.calls_max),
        "rpm_limit": fields::shown(limits.requests_per_minute_max),
        "tpm_limit": null,
        "max_budget": null,
        "budget_duration": null,
        "metadata": key.metadata.as_ref().map_or_else(|| json!({}), |metadata| serde_json::to_value(metadata).unwrap_or_default()),
        "blocked": key.blocked,
        "object_permission": fields::permission(key.grants.as_ref()),
        "created_at": fields::time(provenance.create_time.as_ref()),
        "created_by": provenance.created_by,
        "updated_at": fields::time(provenance.update_time.as_ref()),
        "updated_by": provenance.updated_by,
    })
}
