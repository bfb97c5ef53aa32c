//! What agents, keys, teams and access groups have in common: a row with a document, a revision, and a line in the audit
//! for every change.

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Actor;
use crate::clock::Clock;
use crate::config::hex;
use crate::error::{Error, Kind};
use crate::proto::{FieldMask, admin, wkt};
use crate::registry;
use crate::store::{AuditRow, PageOf, Resource, Row, Store, StoreError, Tx};

/// A message that is kept as a row.
pub(super) trait Kept: Message + Serialize + DeserializeOwned + Default + Clone {
    const RESOURCE: Resource;
    /// What requests call it.
    const FIELD: &'static str;
    /// What ids begin with.
    const PREFIX: &'static str;
    /// What the gateway writes, beside the provenance; nobody else may.
    const OUTPUTS: &'static [&'static str];

    fn id(&self) -> &str;
    fn name(&self) -> &str;
    fn team_id(&self) -> &str;
    fn provenance(&self) -> Option<&admin::Provenance>;
    /// Puts in what the row's other columns say.
    fn with(self, id: &str, provenance: Option<admin::Provenance>) -> Self;
    /// Without what is not kept in the document.
    fn document(&self) -> Self {
        self.clone().with("", None)
    }
}

macro_rules! kept {
    ($message:ty, $resource:ident, $field:literal, $prefix:literal, $name:ident, $outputs:expr, $team:expr) => {
        impl Kept for $message {
            const RESOURCE: Resource = Resource::$resource;
            const FIELD: &'static str = $field;
            const PREFIX: &'static str = $prefix;
            const OUTPUTS: &'static [&'static str] = &$outputs;

            fn id(&self) -> &str {
                &self.id
            }
            fn name(&self) -> &str {
                &self.$name
            }
            fn team_id(&self) -> &str {
                let team: fn(&Self) -> &str = $team;
                team(self)
            }
            fn provenance(&self) -> Option<&admin::Provenance> {
                self.provenance.as_ref()
            }
            fn with(self, id: &str, provenance: Option<admin::Provenance>) -> Self {
                Self { id: id.to_owned(), provenance, ..self }
            }
        }
    };
}

kept!(admin::Agent, Agents, "agent", "agt_", name, ["id", "source", "provenance", "problem"], |agent| &agent.team_id);
kept!(admin::Key, Keys, "key", "key_", alias, ["id", "hint", "hash", "formerExpireTime", "provenance"], |key| &key
    .team_id);
kept!(admin::Team, Teams, "team", "team_", name, ["id", "provenance"], |_| "");
kept!(admin::AccessGroup, AccessGroups, "access_group", "grp_", name, ["id", "provenance"], |_| "");

/// A new id, in a form that no name can have; ids made later sort after.
pub(super) fn new_id<T: Kept>() -> String {
    format!("{}{}", T::PREFIX, hex(Clock.uuid().as_bytes()))
}

/// The resource of a row.
///
/// # Errors
/// Internal for a row that is not as this release writes it.
pub(super) fn read<T: Kept>(row: &Row) -> Result<T, Error> {
    let kept: T = serde_json::from_str(&row.doc).map_err(|error| {
        let message = format!("table {}: the row {} is not as this release writes it", T::RESOURCE.table(), row.id);
        Error::new(Kind::Internal, message).because(error)
    })?;
    Ok(kept.with(&row.id, Some(registry::provenance(row))))
}

/// That there is no such resource, or none that the actor may see.
pub(super) fn not_found<T: Kept>(id: &str) -> Error {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(80).collect();
    Error::new(Kind::NotFound, format!("there is no {} {shown:?}", T::RESOURCE.noun()))
}

/// Two of one name.
pub(super) fn taken<T: Kept>(field: &str, name: &str) -> Error {
    let noun = T::RESOURCE.noun();
    Error::new(Kind::AlreadyExists, format!("{field}: {name:?} is the name of another {noun}"))
        .violation(crate::error::FieldViolation { field: field.to_owned(), description: "is taken".to_owned() })
}

/// The document of a resource.
///
/// # Errors
/// InvalidParams for what JSON cannot spell, and for one that is too large.
fn document<T: Kept>(kept: &T) -> Result<String, Error> {
    const BYTES_MAX: usize = 512 << 10;
    let text = serde_json::to_string(&kept.document()).map_err(|error| Error::invalid(T::FIELD, error.to_string()))?;
    if text.len() > BYTES_MAX {
        return Err(Error::invalid(T::FIELD, format!("is larger than {BYTES_MAX} bytes in all")));
    }
    Ok(text)
}

/// Writes a new resource with its line in the audit.
pub(super) async fn insert<T: Kept>(tx: &mut Tx, actor: &Actor, kept: &T, sealed: String) -> Result<Row, StoreError> {
    let seq = tx.next_seq(T::RESOURCE).await?;
    if !kept.name().is_empty() && tx.by_name(T::RESOURCE, kept.name()).await?.is_some() {
        return Err(taken::<T>(&format!("{}.{}", T::FIELD, name_field::<T>()), kept.name()).into());
    }
    if tx.was_used(T::RESOURCE, kept.id()).await? {
        return Err(taken::<T>(&format!("{}.id", T::FIELD), kept.id()).into());
    }
    let now = tx.now();
    let row = Row {
        id: kept.id().to_owned(),
        name: kept.name().to_owned(),
        team_id: kept.team_id().to_owned(),
        doc: document(kept)?,
        sealed,
        revision: 1,
        seq,
        created_at: now,
        created_by: actor.id().to_owned(),
        updated_at: now,
        updated_by: actor.id().to_owned(),
        deleted_at: None,
    };
    tx.insert(T::RESOURCE, &row).await?;
    audit(tx, actor, None, &row).await?;
    Ok(row)
}

/// Writes a changed resource over its row with its line in the audit.
pub(super) async fn update<T: Kept>(
    tx: &mut Tx,
    actor: &Actor,
    before: &Row,
    kept: &T,
    sealed: String,
) -> Result<Row, StoreError> {
    let seq = tx.next_seq(T::RESOURCE).await?;
    let has_new_name = kept.name() != before.name && !kept.name().is_empty();
    if has_new_name && tx.by_name(T::RESOURCE, kept.name()).await?.is_some() {
        return Err(taken::<T>(&format!("{}.{}", T::FIELD, name_field::<T>()), kept.name()).into());
    }
    let row = Row {
        name: kept.name().to_owned(),
        team_id: kept.team_id().to_owned(),
        doc: document(kept)?,
        sealed,
        revision: before.revision + 1,
        seq,
        updated_at: tx.now(),
        updated_by: actor.id().to_owned(),
        ..before.clone()
    };
    tx.update(T::RESOURCE, &row).await?;
    audit(tx, actor, Some(before), &row).await?;
    Ok(row)
}

/// Marks a resource as deleted, with its line in the audit.
pub(super) async fn delete(tx: &mut Tx, actor: &Actor, resource: Resource, before: &Row) -> Result<(), StoreError> {
    let seq = tx.next_seq(resource).await?;
    let now = tx.now();
    let row = Row {
        revision: before.revision + 1,
        seq,
        // What it could not do without is not kept longer than it is.
        sealed: String::new(),
        updated_at: now,
        updated_by: actor.id().to_owned(),
        deleted_at: Some(now),
        ..before.clone()
    };
    tx.update(resource, &row).await?;
    audit(tx, actor, Some(before), &row).await
}

/// The row that an update or a deletion is for, which must have the revision that the actor has seen, if it says one.
pub(super) async fn wanted<T: Kept>(tx: &mut Tx, id: &str, revision: i64) -> Result<Row, StoreError> {
    let row = tx.get(T::RESOURCE, id).await?.ok_or_else(|| not_found::<T>(id))?;
    must_have(&row, revision)?;
    Ok(row)
}

/// That a row has the revision that somebody has seen; 0 is whichever.
///
/// # Errors
/// Aborted when it has another one.
pub(super) fn must_have(row: &Row, revision: i64) -> Result<(), Error> {
    if revision == 0 || row.revision == revision {
        return Ok(());
    }
    let message = format!("it has revision {} now, not {revision}: read it again, and repeat the change", row.revision);
    Err(Error::new(Kind::Aborted, message))
}

const fn name_field<T: Kept>() -> &'static str {
    match T::RESOURCE {
        Resource::Keys => "alias",
        _ => "name",
    }
}

async fn audit(tx: &mut Tx, actor: &Actor, before: Option<&Row>, row: &Row) -> Result<(), StoreError> {
    let detail = match (before, row.deleted_at) {
        (_, Some(_)) => json!({}),
        (before, None) => changes(before.map_or("{}", |before| &before.doc), &row.doc),
    };
    tx.audit(&AuditRow { revision: row.revision, detail: detail.to_string(), ..line(actor, row, row.updated_at) }).await
}

/// What a line of the audit says of a row whatever changed.
pub(super) fn line(actor: &Actor, row: &Row, at: i64) -> AuditRow {
    AuditRow {
        id: Clock.uuid().to_string(),
        at,
        actor_id: actor.id().to_owned(),
        actor_name: actor.caller.name.to_string(),
        method: actor.method.to_owned(),
        resource_id: row.id.clone(),
        resource_name: row.name.clone(),
        revision: row.revision,
        detail: "{}".to_owned(),
    }
}

/// Each member that differs, as `[before, after]`. Documents hold no secrets.
fn changes(before: &str, after: &str) -> Value {
    let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (before, after) = (read(before), read(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let differ = names.filter(|name| before.get(*name) != after.get(*name));
    let pair = |name: &String| (name.clone(), json!([before.get(name), after.get(name)]));
    Value::Object(differ.map(pair).collect())
}

/// `current` with the fields of `patch` that `mask` names; without a mask, with those that are not empty.
///
/// # Errors
/// InvalidParams for a mask that names what does not exist or what the gateway writes.
pub(super) fn patched<T: Kept>(current: &T, patch: &T, mask: Option<&FieldMask>) -> Result<T, Error> {
    let json = |message: &T| match serde_json::to_value(message) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(Error::invalid(T::FIELD, error.to_string())),
    };
    let (mut target, source) = (json(current)?, json(patch)?);
    let written = || source.keys().filter(|name| !T::OUTPUTS.contains(&name.as_str())).cloned().collect();
    let paths: Vec<String> = match mask.filter(|mask| !mask.paths.is_empty()) {
        None => written(),
        Some(mask) if mask.paths == ["*"] => {
            target.retain(|name, _| T::OUTPUTS.contains(&name.as_str()));
            written()
        }
        Some(mask) => mask.paths.iter().map(|path| checked_path::<T>(path)).collect::<Result<_, _>>()?,
    };
    for path in paths {
        let names: Vec<&str> = path.split('.').collect();
        copy(&mut target, &source, &names);
    }
    serde_json::from_value(Value::Object(target)).map_err(|error| Error::invalid(T::FIELD, error.to_string()))
}

/// A path of a mask as JSON spells it.
fn checked_path<T: Kept>(path: &str) -> Result<String, Error> {
    let spelled: Vec<String> = path.split('.').map(wkt::camel_case).collect();
    let refuse = |why: &str| {
        let shown: String = path.chars().filter(|c| !c.is_control()).take(80).collect();
        Err(Error::invalid("update_mask", format!("{shown:?} {why}")))
    };
    if T::OUTPUTS.contains(&spelled[0].as_str()) {
        return refuse("is written by the gateway");
    }
    if spelled.len() > 1 && !["limits", "timeouts", "prices", "grants"].contains(&spelled[0].as_str()) {
        return refuse("goes into what is written as a whole");
    }
    let nested = spelled.iter().rev().fold(Value::Null, |inner, name| json!({ name: inner }));
    let mut is_known = true;
    // Whatever else it says of the null at its end.
    let _ = serde_ignored::deserialize::<_, _, T>(nested, |_| is_known = false);
    if is_known { Ok(spelled.join(".")) } else { refuse("is no field") }
}

fn copy(target: &mut Map<String, Value>, source: &Map<String, Value>, path: &[&str]) {
    match (path, source.get(path[0])) {
        ([name], Some(value)) => drop(target.insert((*name).to_owned(), value.clone())),
        ([name], None) => drop(target.remove(*name)),
        ([name, rest @ ..], value) => {
            let empty = Map::new();
            let inner = value.and_then(Value::as_object).unwrap_or(&empty);
            let place = target.entry((*name).to_owned()).or_insert_with(|| json!({}));
            if let Some(place) = place.as_object_mut() {
                copy(place, inner, rest);
            }
        }
        ([], _) => {}
    }
}

/// How many items a page has.
///
/// # Errors
/// InvalidParams beyond the largest page.
pub(super) fn page_size(asked: u32) -> Result<usize, Error> {
    match asked {
        0 => Ok(100),
        1..=1_000 => Ok(asked as usize),
        _ => Err(Error::invalid("page_size", "must be at most 1000")),
    }
}

/// Page tokens: where a page ended, sealed for this actor, method and filter, so that no other one can use it.
pub(super) struct Pages<'a> {
    pub(super) store: &'a Store,
    pub(super) actor: &'a Actor,
    pub(super) filter: String,
}

impl Pages<'_> {
    fn list(&self) -> String {
        format!("{} {}", self.actor.id(), self.filter)
    }

    /// Where the page before ended; empty for the first.
    ///
    /// # Errors
    /// InvalidParams for a token that is not of this list.
    pub(super) fn after(&self, token: &str) -> Result<String, Error> {
        if token.is_empty() {
            return Ok(String::new());
        }
        let end = self.store.cipher().page_end(self.actor.method, &self.list(), token);
        end.ok_or_else(|| Error::invalid("page_token", "is none of this list: it goes with the same key and filters"))
    }

    /// The token of the page after the one that ended at `last`.
    pub(super) fn token(&self, last: &str) -> String {
        self.store.cipher().page_token(self.actor.method, &self.list(), last)
    }

    /// A page of rows, and the token of the next one.
    ///
    /// # Errors
    /// InvalidParams for a token that is not of this list; Overloaded when the store does not answer.
    pub(super) async fn rows(
        &self,
        resource: Resource,
        asked: (u32, &str),
        filter: PageOf<'_>,
    ) -> Result<(Vec<Row>, String), Error> {
        let (size, after) = (page_size(asked.0)?, self.after(asked.1)?);
        let mut rows = self.store.page(resource, PageOf { after: &after, rows_max: size + 1, ..filter }).await?;
        let has_more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| has_more).map(|last| self.token(&last.id)).unwrap_or_default();
        Ok((rows, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
    }

    #[test]
    fn changes_what_the_mask_names_and_nothing_else() {
        let limits = |calls_max, streams_max| Some(admin::Limits { calls_max, streams_max, ..Default::default() });
        let current =
            admin::Team { id: "t".into(), name: "a".into(), blocked: true, limits: limits(1, 2), ..Default::default() };
        let patch = admin::Team { name: "b".into(), limits: limits(7, 8), ..Default::default() };
        let after = patched(&current, &patch, Some(&mask(&["limits.calls_max", "blocked"]))).unwrap();
        assert_eq!(after, admin::Team { blocked: false, limits: limits(7, 2), ..current.clone() });
        let after = patched(&current, &patch, None).unwrap();
        assert_eq!(after, admin::Team { name: "b".into(), limits: limits(7, 8), ..current.clone() });
        let whole = patched(&current, &patch, Some(&mask(&["*"]))).unwrap();
        assert_eq!(whole, admin::Team { id: "t".into(), ..patch.clone() });
        for wrong in ["nonsense", "limits.nonsense", "id", "provenance.revision", ""] {
            let error = patched(&current, &patch, Some(&mask(&[wrong]))).unwrap_err();
            assert_eq!(error.violations()[0].field, "update_mask", "{wrong}");
        }
    }

    #[test]
    fn tells_what_differs() {
        let told = changes(r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"b":5,"d":4}"#);
        assert_eq!(told, json!({ "b": [2, 5], "c": [3, null], "d": [null, 4] }));
    }
}
