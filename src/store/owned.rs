//! The rows of tasks and contexts: who made each, where it lives, and the last that was seen of it.
//!
//! A row is written once and never changes hands. It is found by (agent, id); lists go by owner and last change.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::FromRow;

use super::rows::can_be_kept;
use super::sql::{Sql, Value, bound};
use super::task_lists::OwnedBy;
use super::{Store, StoreError, Tx};
use crate::error::{Error, Kind};

/// A task or a context. Times are microseconds since 1970; a text is empty for what there is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct OwnedRow {
    /// 1 for a context, 0 for a task.
    pub is_context: i64,
    pub agent_id: String,
    /// As the agent knows it.
    pub id: String,
    /// Of a task.
    pub context_id: String,
    pub key_id: String,
    pub team_id: String,
    pub user_id: String,
    /// In which version a task was made.
    pub caller_version: String,
    /// Where it lives.
    pub endpoint_id: String,
    pub agent_binding: String,
    pub agent_version: String,
    /// The last that was seen of a task, as protobuf names it.
    pub state: String,
    pub state_at: i64,
    pub ended_at: Option<i64>,
    pub created_at: i64,
    /// It is not listed or got any more; its id is taken all the same.
    pub deleted_at: Option<i64>,
    /// What the owner of a context calls it, where the agent knows it by another id.
    pub client_id: String,
    /// The call that claimed a context, as long as it may still give it back.
    pub claim: String,
}

impl OwnedRow {
    /// By what it is found, among its kind.
    fn place(&self) -> (String, String) {
        (self.agent_id.clone(), self.id.clone())
    }
}

/// What a reply names for the first time.
#[derive(Clone, Debug, Default)]
pub struct NewOwned {
    pub context: Option<OwnedRow>,
    pub task: Option<OwnedRow>,
}

impl NewOwned {
    pub fn rows(&self) -> impl Iterator<Item = &OwnedRow> {
        self.context.iter().chain(&self.task)
    }
}

pub(super) const TASK: &str = "0 AS is_context, agent_id, task_id AS id, context_id, key_id, team_id, user_id, caller_version, endpoint_id, agent_binding, agent_version, state, state_at, ended_at, created_at, deleted_at, '' AS client_id, '' AS claim";
const CONTEXT: &str = "1 AS is_context, agent_id, context_id AS id, '' AS context_id, key_id, team_id, user_id, '' AS caller_version, endpoint_id, agent_binding, agent_version, '' AS state, CAST(0 AS BIGINT) AS state_at, CAST(NULL AS BIGINT) AS ended_at, created_at, deleted_at, client_id, claim";

const INTO_TASKS: &str = "tasks (agent_id, task_id, context_id, key_id, team_id, user_id, caller_version, endpoint_id, agent_binding, agent_version, state, state_at, created_at, ended_at, shared_with, made_by)";
const INTO_CONTEXTS: &str = "contexts (agent_id, context_id, key_id, team_id, user_id, endpoint_id, agent_binding, agent_version, created_at, client_id, claim)";

/// Rows of one statement; those of a larger batch are written by several.
const ROWS_MAX: usize = 64;

/// A new state of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    pub agent_id: String,
    pub task_id: String,
    pub state: String,
    pub state_at: i64,
    pub ended_at: Option<i64>,
}

impl Tx {
    /// Writes what replies name for the first time. Of each, those come back, as they are, whose ids were taken; with a
    /// context that was, its task is not written.
    pub async fn insert_owned(&mut self, replies: &[Arc<NewOwned>]) -> Result<Vec<Vec<OwnedRow>>, StoreError> {
        let contexts = self.insert_firsts(replies.iter().filter_map(|new| new.context.as_ref())).await?;
        let is_own =
            |new: &&Arc<NewOwned>| new.context.as_ref().is_none_or(|row| contexts.get(&row.place()) == Some(row));
        let tasks = self.insert_firsts(replies.iter().filter(is_own).filter_map(|new| new.task.as_ref())).await?;
        let of = |new: &Arc<NewOwned>| {
            let found = [(&new.context, &contexts), (&new.task, &tasks)];
            let there =
                found.into_iter().filter_map(|(row, there)| Some((row.as_ref()?, there.get(&row.as_ref()?.place())?)));
            there.filter(|(row, there)| row != there).map(|(_, there)| there.clone()).collect()
        };
        Ok(replies.iter().map(of).collect())
    }

    /// Writes the first row of each id, and returns what is there.
    async fn insert_firsts<'r>(
        &mut self,
        rows: impl Iterator<Item = &'r OwnedRow>,
    ) -> Result<BTreeMap<(String, String), OwnedRow>, StoreError> {
        // Always in the same order, so that two gateways do not wait for each other.
        let mut there = BTreeMap::new();
        for row in rows {
            there.entry(row.place()).or_insert_with(|| row.clone());
        }
        let firsts: Vec<OwnedRow> = there.values().cloned().collect();
        for taken in self.insert_all(&firsts).await? {
            there.insert(taken.place(), taken);
        }
        Ok(there)
    }

    /// Rows of one table.
    async fn insert_all(&mut self, rows: &[OwnedRow]) -> Result<Vec<OwnedRow>, StoreError> {
        let mut taken = Vec::new();
        let is_context = rows.first().is_some_and(|row| row.is_context == 1);
        let (into, values) = into(is_context);
        let id = if is_context { "context_id" } else { "task_id" };
        let mut rest = rows;
        while !rest.is_empty() {
            // By powers of two, so that there are few different statements to be prepared.
            let (now, later) = rest.split_at((1 << rest.len().ilog2()).min(ROWS_MAX));
            rest = later;
            let mut sql = Sql::default();
            sql.add(&format!("INSERT INTO {into} VALUES "));
            sql.tuples(now, values);
            sql.add(&format!(" ON CONFLICT DO NOTHING RETURNING agent_id, {id} AS id"));
            let written: Vec<(String, String)> = bound!(sqlx::query_as, sql).fetch_all(&mut *self.inner).await?;
            for row in now.iter().filter(|row| !written.iter().any(|(a, id)| *a == row.agent_id && *id == row.id)) {
                taken.extend(self.insert_or_read(row).await?);
            }
        }
        Ok(taken)
    }

    /// What is in the way of a row; none when it was gone again, as a claim that was given back, and the row is written.
    async fn insert_or_read(&mut self, row: &OwnedRow) -> Result<Option<OwnedRow>, StoreError> {
        const ATTEMPTS_MAX: usize = 8;
        for _ in 0..ATTEMPTS_MAX {
            let mut sql = Sql::default();
            by_ids(&mut sql, row.is_context == 1, &row.agent_id, &[&row.id]);
            let found = bound!(sqlx::query_as, sql).fetch_optional(&mut *self.inner).await?;
            if found.is_some() {
                return Ok(found);
            }
            let mut sql = Sql::default();
            let (into, values) = into(row.is_context == 1);
            sql.add(&format!("INSERT INTO {into} VALUES "));
            sql.tuples(std::slice::from_ref(row), values);
            sql.add(" ON CONFLICT DO NOTHING");
            if bound!(sqlx::query, sql).execute(&mut *self.inner).await?.rows_affected() == 1 {
                return Ok(None);
            }
        }
        Err(Error::new(Kind::Overloaded, "too many calls claim the same context at once").into())
    }

    /// Notes a task's state, unless it has ended.
    pub async fn note_state(&mut self, change: &StateChange) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE tasks SET state = $3, state_at = CASE WHEN state_at > $4 THEN state_at ELSE $4 END, ended_at = $5 WHERE agent_id = $1 AND task_id = $2 AND ended_at IS NULL",
        );
        let query = query.bind(&change.agent_id).bind(&change.task_id).bind(&change.state).bind(change.state_at);
        query.bind(change.ended_at).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Makes a claim for good, at the endpoint of `row` if it has one. False when the context is not there any more.
    pub async fn settle_context(&mut self, row: &OwnedRow) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "UPDATE contexts SET claim = '', endpoint_id = CASE WHEN endpoint_id = '' THEN $3 ELSE endpoint_id END, agent_binding = CASE WHEN endpoint_id = '' THEN $4 ELSE agent_binding END, agent_version = CASE WHEN endpoint_id = '' THEN $5 ELSE agent_version END WHERE agent_id = $1 AND context_id = $2",
        );
        let query = query.bind(&row.agent_id).bind(&row.id).bind(&row.endpoint_id);
        let query = query.bind(&row.agent_binding).bind(&row.agent_version);
        Ok(query.execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    /// Takes back the claim of a call that sent nothing, unless somebody used it meanwhile.
    pub async fn release_context(&mut self, agent_id: &str, id: &str, claim: &str) -> Result<(), StoreError> {
        let query =
            sqlx::query("DELETE FROM contexts WHERE agent_id = $1 AND context_id = $2 AND claim = $3 AND claim <> ''");
        query.bind(agent_id).bind(id).bind(claim).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Forgets up to `rows_max` tasks that ended before then; how many there were.
    pub async fn forget_ended(&mut self, before: i64, rows_max: i64) -> Result<u64, StoreError> {
        // Who made it, and that its id is taken, stays.
        let query = sqlx::query(
            "UPDATE tasks SET deleted_at = $1, provider_ref = NULL, shared_with = NULL, made_by = NULL WHERE (agent_id, task_id) IN (SELECT agent_id, task_id FROM tasks WHERE ended_at IS NOT NULL AND deleted_at IS NULL AND ended_at < $2 ORDER BY ended_at LIMIT $3)",
        );
        let done = query.bind(self.now).bind(before).bind(rows_max).execute(&mut *self.inner).await?;
        Ok(done.rows_affected())
    }

    /// That something can be written at all.
    pub async fn prove_writable(&mut self) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('written_at', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        );
        query.bind(self.now.to_string()).execute(&mut *self.inner).await?;
        Ok(())
    }
}

/// The table and columns of a kind of row, and the values for them.
fn into(is_context: bool) -> (&'static str, fn(&OwnedRow) -> Vec<Value<'_>>) {
    if is_context { (INTO_CONTEXTS, context_values) } else { (INTO_TASKS, task_values) }
}

fn task_values(row: &OwnedRow) -> Vec<Value<'_>> {
    let texts = [
        &row.agent_id,
        &row.id,
        &row.context_id,
        &row.key_id,
        &row.team_id,
        &row.user_id,
        &row.caller_version,
        &row.endpoint_id,
        &row.agent_binding,
        &row.agent_version,
        &row.state,
    ];
    let mut values: Vec<_> = texts.into_iter().map(|text| Value::Text(text)).collect();
    values.extend([Value::Number(row.state_at), Value::Number(row.created_at), Value::NumberOrNull(row.ended_at)]);
    let shared = if row.team_id.is_empty() { OwnedBy::KeyAlone(&row.key_id) } else { OwnedBy::Team(&row.team_id) };
    values.extend([shared, OwnedBy::Key(&row.key_id)].map(|owner| Value::Owned(owner.spelled())));
    values
}

fn context_values(row: &OwnedRow) -> Vec<Value<'_>> {
    let texts = [&row.agent_id, &row.id, &row.key_id, &row.team_id, &row.user_id, &row.endpoint_id];
    let mut values: Vec<_> = texts.into_iter().map(|text| Value::Text(text)).collect();
    values.extend([Value::Text(&row.agent_binding), Value::Text(&row.agent_version)]);
    values.extend([Value::Number(row.created_at), Value::Text(&row.client_id), Value::Text(&row.claim)]);
    values
}

fn by_ids<'a>(sql: &mut Sql<'a>, is_context: bool, agent_id: &'a str, ids: &[&'a str]) {
    let (columns, table, id) =
        if is_context { (CONTEXT, "contexts", "context_id") } else { (TASK, "tasks", "task_id") };
    sql.add(&format!("SELECT {columns} FROM {table} WHERE agent_id = "));
    sql.bind(Value::Text(agent_id));
    sql.add(&format!(" AND {id} IN ("));
    // By powers of two, as above: one id may stand there more than once.
    let count = ids.len().next_power_of_two();
    for at in 0..count {
        sql.add(if at == 0 { "" } else { ", " });
        sql.bind(Value::Text(ids[at.min(ids.len() - 1)]));
    }
    sql.add(")");
}

impl Store {
    /// The tasks and contexts of an agent with these ids, deleted ones too: the same one query, whether there are any.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn owned(&self, agent_id: &str, tasks: &[&str], contexts: &[&str]) -> Result<Vec<OwnedRow>, Error> {
        if ![tasks, contexts].concat().iter().all(|id| can_be_kept(id)) {
            return Ok(Vec::new());
        }
        let mut sql = Sql::default();
        for (is_context, ids) in [(false, tasks), (true, contexts)] {
            if !ids.is_empty() {
                sql.add(if sql.text.is_empty() { "" } else { " UNION ALL " });
                by_ids(&mut sql, is_context, agent_id, ids);
            }
        }
        if sql.text.is_empty() {
            return Ok(Vec::new());
        }
        self.read(bound!(sqlx::query_as, sql).fetch_all(&self.pool)).await
    }
}
