//! KeyService.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::kept::{self, Kept as _, Pages, not_found};
use super::{Actor, Admin, Scope, check};
use crate::call::{AgentName, KeyId};
use crate::clock::Clock;
use crate::config::{Role, key_hash};
use crate::error::{Error, Kind};
use crate::proto::admin as api;
use crate::proto::wkt::time;
use crate::store::{KeyColumns, PageOf, Resource, Row, StoreError, Tx};

/// The longest that a value is taken after a rotation.
const OVERLAP_MS_MAX: u32 = 30 * 24 * 3_600 * 1_000;

/// What a rotation does to a key's values.
struct Rotation {
    hash: String,
    overlap_micros: i64,
}

impl Admin {
    pub async fn create_key(
        &self,
        actor: &Actor,
        request: api::CreateKeyRequest,
    ) -> Result<api::CreateKeyResponse, Error> {
        let mut key = request.key.unwrap_or_default();
        if actor.scope == Scope::Own && key.team_id.is_empty() {
            actor.team()?.clone_into(&mut key.team_id);
        }
        self.check_key(actor, &mut key, None).await?;
        let secret = self.secret(request.secret)?;
        (key.hash, key.former_expire_time, key.hint) = (String::new(), None, hint(&secret));
        let key = key.with(&kept::new_id::<api::Key>(), None);
        let columns = KeyColumns { hash: key_hash(&secret), ..columns(&key) };
        let (kept, values) = (&key, &columns);
        let written = move |mut tx: Tx| async move {
            let row = kept::insert(&mut tx, actor, kept, String::new()).await?;
            team_is_there(&mut tx, &row).await?;
            if !tx.take_hash(&values.hash, &row.id).await? {
                return Err(value_taken().into());
            }
            tx.write_key(&row.id, values).await?;
            Ok((tx, row))
        };
        let row = self.store().run_tx("create key", written).await?;
        self.taken_over().await;
        Ok(api::CreateKeyResponse { key: Some(shown(&row, &columns)?), secret })
    }

    pub async fn get_key(&self, actor: &Actor, request: api::GetKeyRequest) -> Result<api::GetKeyResponse, Error> {
        let (row, columns) = self.visible_key(actor, &request.id).await?;
        Ok(api::GetKeyResponse { key: Some(shown(&row, &columns)?) })
    }

    pub async fn list_keys(
        &self,
        actor: &Actor,
        request: api::ListKeysRequest,
    ) -> Result<api::ListKeysResponse, Error> {
        let team_id = match actor.scope {
            Scope::All => request.team_id.clone(),
            Scope::Own => {
                let own = actor.team()?;
                if !request.team_id.is_empty() && request.team_id != own {
                    return Err(actor.refused());
                }
                own.to_owned()
            }
        };
        let filter =
            PageOf { team_id: &team_id, user_id: &request.user_id, agent_id: &request.agent_id, ..PageOf::default() };
        let told = format!("{team_id:?} {:?} {:?}", request.user_id, request.agent_id);
        let pages = Pages { store: self.store(), actor, filter: told };
        let (rows, next_page_token) =
            pages.rows(Resource::Keys, (request.page_size, &request.page_token), filter).await?;
        let columns = self.store().columns_of(&rows).await?;
        let with_columns = |row: &Row| columns.get(&row.id).map(|columns| shown(row, columns));
        // One may have been deleted since the page was read.
        let keys = rows.iter().filter_map(with_columns).collect::<Result<_, _>>()?;
        Ok(api::ListKeysResponse { keys, next_page_token })
    }

    pub async fn update_key(
        &self,
        actor: &Actor,
        request: api::UpdateKeyRequest,
    ) -> Result<api::UpdateKeyResponse, Error> {
        let patch = request.key.unwrap_or_default();
        let (seen, key) = self.changeable_key(actor, &patch.id).await?;
        kept::must_have(&seen, patch.provenance().map_or(0, |provenance| provenance.revision))?;
        let mut after = kept::patched(&key, &patch, request.update_mask.as_ref())?;
        self.check_key(actor, &mut after, Some(&key)).await?;
        let key = self.write_key(actor, "update key", &seen, after, None).await?;
        Ok(api::UpdateKeyResponse { key: Some(key) })
    }

    pub async fn block_key(
        &self,
        actor: &Actor,
        request: api::BlockKeyRequest,
    ) -> Result<api::BlockKeyResponse, Error> {
        let key = self.set_blocked(actor, &request.id, true).await?;
        Ok(api::BlockKeyResponse { key: Some(key) })
    }

    pub async fn unblock_key(
        &self,
        actor: &Actor,
        request: api::UnblockKeyRequest,
    ) -> Result<api::UnblockKeyResponse, Error> {
        let key = self.set_blocked(actor, &request.id, false).await?;
        Ok(api::UnblockKeyResponse { key: Some(key) })
    }

    /// Writes this one field, whatever else changes at the same time: a key must not stay open over a lost race.
    async fn set_blocked(&self, actor: &Actor, id: &str, blocked: bool) -> Result<api::Key, Error> {
        let (seen, _) = self.changeable_key(actor, id).await?;
        let id = &seen.id;
        let written = move |mut tx: Tx| async move {
            tx.next_seq(Resource::Keys).await?;
            let before = kept::wanted::<api::Key>(&mut tx, id, 0).await?;
            must_rule(actor, &before)?;
            let key = api::Key { blocked, ..kept::read(&before)? };
            let row = kept::update(&mut tx, actor, &before, &key, String::new()).await?;
            let columns = tx.key_columns(id).await?;
            Ok((tx, (row, columns)))
        };
        let (row, columns) = self.store().run_tx("block key", written).await?;
        self.taken_over().await;
        shown(&row, &columns)
    }

    pub async fn rotate_key(
        &self,
        actor: &Actor,
        request: api::RotateKeyRequest,
    ) -> Result<api::RotateKeyResponse, Error> {
        if request.overlap_ms > OVERLAP_MS_MAX {
            return Err(Error::invalid("overlap_ms", format!("must be at most {OVERLAP_MS_MAX}, which is 30 days")));
        }
        let secret = self.secret(request.secret)?;
        let rotation = Rotation { hash: key_hash(&secret), overlap_micros: i64::from(request.overlap_ms) * 1_000 };
        let (seen, key) = self.changeable_key(actor, &request.id).await?;
        let key = api::Key { hint: hint(&secret), ..key };
        let key = self.write_key(actor, "rotate key", &seen, key, Some(rotation)).await?;
        Ok(api::RotateKeyResponse { key: Some(key), secret })
    }

    pub async fn delete_key(
        &self,
        actor: &Actor,
        request: api::DeleteKeyRequest,
    ) -> Result<api::DeleteKeyResponse, Error> {
        let (row, _) = self.changeable_key(actor, &request.id).await?;
        let (id, revision) = (&row.id, request.revision);
        let deleted = move |mut tx: Tx| async move {
            let before = kept::wanted::<api::Key>(&mut tx, id, revision).await?;
            must_rule(actor, &before)?;
            kept::delete(&mut tx, actor, Resource::Keys, &before).await?;
            Ok((tx, ()))
        };
        self.store().run_tx("delete key", deleted).await?;
        self.taken_over().await;
        Ok(api::DeleteKeyResponse {})
    }

    pub async fn explain_access(
        &self,
        actor: &Actor,
        request: api::ExplainAccessRequest,
    ) -> Result<api::ExplainAccessResponse, Error> {
        let agent = self.gateway.agent(&AgentName(request.agent.as_str().into()));
        let agent = agent.filter(|agent| self.sees(actor, agent));
        let agent = agent.ok_or_else(|| not_found::<api::Agent>(&request.agent))?;
        let configured = self.gateway.configured_caller(&request.key).filter(|_| actor.scope == Scope::All);
        let known = if configured.is_some() {
            configured
        } else {
            let (row, _) = self.visible_key(actor, &request.key).await?;
            self.gateway.caller(&KeyId(row.id.as_str().into())).await?
        };
        let Some(caller) = known else {
            let reasons = vec!["the key is blocked or expired, or its team is blocked or gone".to_owned()];
            return Ok(api::ExplainAccessResponse { allowed: false, reasons, operations: Vec::new() });
        };
        let (allowed, reasons) = self.gateway.explain(&caller, &agent);
        let operations = self.gateway.operations(&caller).into_iter().filter(|_| allowed);
        let operations = operations.map(|rpc| rpc.method().name.to_owned()).collect();
        Ok(api::ExplainAccessResponse { allowed, reasons, operations })
    }

    /// Writes a key over the row that was seen, with new values if it is to be rotated.
    async fn write_key(
        &self,
        actor: &Actor,
        name: &'static str,
        seen: &Row,
        key: api::Key,
        rotation: Option<Rotation>,
    ) -> Result<api::Key, Error> {
        let (kept, rotation) = (&key, &rotation);
        let written = move |mut tx: Tx| async move {
            let before = kept::wanted::<api::Key>(&mut tx, &seen.id, seen.revision).await?;
            let old = tx.key_columns(&before.id).await?;
            let values = match rotation {
                None => old,
                Some(rotation) => rotated(&mut tx, &before.id, old, rotation).await?,
            };
            let row = kept::update(&mut tx, actor, &before, kept, String::new()).await?;
            if row.team_id != before.team_id {
                team_is_there(&mut tx, &row).await?;
            }
            let after = KeyColumns {
                hash: values.hash,
                former_hash: values.former_hash,
                former_until: values.former_until,
                ..columns(kept)
            };
            tx.write_key(&row.id, &after).await?;
            Ok((tx, (row, after)))
        };
        let (row, columns) = self.store().run_tx(name, written).await?;
        self.taken_over().await;
        shown(&row, &columns)
    }

    /// What the actor may write, field by field; agents and groups are written as their ids.
    async fn check_key(&self, actor: &Actor, key: &mut api::Key, before: Option<&api::Key>) -> Result<(), Error> {
        check::text("key.alias", &key.alias, 256)?;
        check::text("key.user_id", &key.user_id, 256)?;
        if actor.scope == Scope::Own {
            // Before it is looked up, or this would tell which teams there are.
            actor.must_be_of(&key.team_id)?;
        }
        if !key.team_id.is_empty() && before.is_none_or(|before| before.team_id != key.team_id) {
            let team = self.store().find(Resource::Teams, &key.team_id).await?;
            key.team_id = team.ok_or_else(|| Error::invalid("key.team_id", "is no team here"))?.id;
        }
        let role = if key.role() == Role::Unspecified { Role::Caller } else { key.role() };
        key.set_role(role);
        let is_same = before.is_some_and(|before| before.role() == role);
        if !is_same && !actor.may_give(role) {
            let message = "key.role: nobody gives a role that rules more than their own, and only the master key makes administrators";
            return Err(Error::new(Kind::PermissionDenied, message));
        }
        if matches!(role, Role::Publisher | Role::TeamAdmin) && key.team_id.is_empty() {
            return Err(Error::invalid("key.team_id", "publishers and team administrators belong to a team"));
        }
        if !key.agent_id.is_empty() && before.is_none_or(|before| before.agent_id != key.agent_id) {
            let agent = self.gateway.agent(&AgentName(key.agent_id.as_str().into()));
            let agent = agent.filter(|agent| actor.rules(agent));
            key.agent_id = agent.ok_or_else(|| Error::invalid("key.agent_id", "is no agent here"))?.id.to_string();
        }
        check::limits("key.limits", key.limits.as_ref())?;
        let granted = before.and_then(|before| before.grants.as_ref());
        self.check_grants(actor, "key.grants", key.grants.as_mut(), granted).await
    }

    /// A key's new value: the one given if it is strong enough, else a random one.
    fn secret(&self, given: String) -> Result<String, Error> {
        if given.is_empty() {
            return Ok(format!("sk-{}", URL_SAFE_NO_PAD.encode(Clock.random::<32>())));
        }
        if !given.bytes().all(|byte| byte.is_ascii_graphic()) || given.len() > 512 {
            return Err(Error::invalid(
                "secret",
                "must be at most 512 visible ASCII characters: it stands in a header",
            ));
        }
        let is_open = !self.gateway.settings.listen.ip().is_loopback();
        if is_open && !check::looks_random(&given) {
            let message = "must have at least 32 characters that look random, or be left out";
            return Err(Error::invalid("secret", message));
        }
        if self.gateway.is_of_config(&given) {
            return Err(value_taken());
        }
        Ok(given)
    }

    /// The key that an id, an alias or a hash means to the actor.
    pub(super) async fn visible_key(&self, actor: &Actor, id: &str) -> Result<(Row, KeyColumns), Error> {
        let of_hash = if id.len() == 64 { self.store().key_id(id).await? } else { None };
        let wanted = of_hash.as_deref().unwrap_or(id);
        let row = self.store().find(Resource::Keys, wanted).await?;
        let found = match row {
            Some(row) => self.store().key(&row.id).await?,
            None => None,
        };
        let rules = |row: &Row| actor.caller.role == Role::TeamAdmin && actor.is_of(&row.team_id);
        let visible = found.filter(|(row, _)| actor.scope == Scope::All || rules(row) || row.id == actor.id());
        visible.ok_or_else(|| not_found::<api::Key>(if id.starts_with("sk-") { "of this value" } else { id }))
    }

    async fn changeable_key(&self, actor: &Actor, id: &str) -> Result<(Row, api::Key), Error> {
        let (row, _) = self.visible_key(actor, id).await?;
        must_rule(actor, &row)?;
        let key = kept::read(&row)?;
        Ok((row, key))
    }
}

/// That the team of a key that was just written is still there. Whoever deletes it now waits for this transaction, and
/// then finds the key.
async fn team_is_there(tx: &mut Tx, row: &Row) -> Result<(), StoreError> {
    if row.team_id.is_empty() || tx.get(Resource::Teams, &row.team_id).await?.is_some() {
        return Ok(());
    }
    Err(Error::invalid("key.team_id", "is no team here any more").into())
}

/// That the key of a row is the actor's to change.
fn must_rule(actor: &Actor, row: &Row) -> Result<(), Error> {
    let key: api::Key = kept::read(row)?;
    actor.must_rule(&row.team_id)?;
    if actor.may_give(key.role()) { Ok(()) } else { Err(actor.refused()) }
}

/// The values of a key after a rotation.
async fn rotated(tx: &mut Tx, id: &str, old: KeyColumns, rotation: &Rotation) -> Result<KeyColumns, StoreError> {
    if !tx.take_hash(&rotation.hash, id).await? {
        return Err(value_taken().into());
    }
    let overlaps = rotation.overlap_micros > 0;
    Ok(KeyColumns {
        former_hash: overlaps.then_some(old.hash),
        former_until: overlaps.then(|| tx.now() + rotation.overlap_micros),
        hash: rotation.hash.clone(),
        ..old
    })
}

fn value_taken() -> Error {
    Error::new(Kind::AlreadyExists, "secret: this value is, or was, a key's: choose another or leave it out")
}

/// The last four characters, where they tell too little to matter.
fn hint(secret: &str) -> String {
    let last: String =
        if secret.len() >= 16 { secret.chars().skip(secret.chars().count() - 4).collect() } else { String::new() };
    format!("...{last}")
}

/// What a key's columns say beside its values.
fn columns(key: &api::Key) -> KeyColumns {
    let limits = key.limits.unwrap_or_default();
    KeyColumns {
        user_id: key.user_id.clone(),
        agent_id: key.agent_id.clone(),
        requests_per_minute_max: limits.requests_per_minute_max.into(),
        calls_max: limits.calls_max.into(),
        streams_max: limits.streams_max.into(),
        ..KeyColumns::default()
    }
}

fn shown(row: &Row, columns: &KeyColumns) -> Result<api::Key, Error> {
    let key: api::Key = kept::read(row)?;
    Ok(api::Key { hash: columns.hash.clone(), former_expire_time: columns.former_until.map(time), ..key })
}
