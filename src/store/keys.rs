//! What keys have beside the columns of every row: how their values are found.

use std::collections::HashMap;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Row as _};

use super::{AuditRow, Resource, Row, Store, StoreError, Tx};
use crate::error::{Error, Kind};

/// The columns that only keys have. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct KeyColumns {
    /// SHA-256 of the key's value, in hex.
    pub hash: String,
    /// Of its value before the last rotation.
    pub former_hash: Option<String>,
    /// Until when that one is taken too.
    pub former_until: Option<i64>,
    pub user_id: String,
    pub agent_id: String,
    pub requests_per_minute_max: i64,
    pub calls_max: i64,
    pub streams_max: i64,
}

impl Tx {
    /// Writes the columns of a key whose row is written.
    pub async fn write_key(&mut self, id: &str, columns: &KeyColumns) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE keys SET hash = $2, former_hash = $3, former_until = $4, user_id = $5, agent_id = $6, requests_per_minute_max = $7, calls_max = $8, streams_max = $9 WHERE id = $1",
        );
        let query = query.bind(id).bind(&columns.hash).bind(&columns.former_hash).bind(columns.former_until);
        let query = query.bind(&columns.user_id).bind(&columns.agent_id).bind(columns.requests_per_minute_max);
        query.bind(columns.calls_max).bind(columns.streams_max).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// The columns of the key with this id.
    pub async fn key_columns(&mut self, id: &str) -> Result<KeyColumns, StoreError> {
        Ok(sqlx::query_as(COLUMNS_OF_ID).bind(id).fetch_one(&mut *self.inner).await?)
    }

    /// Takes a value for one key, for good. False when it is or was a key's already.
    pub async fn take_hash(&mut self, hash: &str, key_id: &str) -> Result<bool, StoreError> {
        let insert = sqlx::query("INSERT INTO key_hashes (hash, key_id) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        Ok(insert.bind(hash).bind(key_id).execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    /// Deletes all keys of a team, each with its line in the audit, however many they are.
    pub async fn delete_keys_of_team(&mut self, team_id: &str, row: &AuditRow) -> Result<(), StoreError> {
        let seq = self.next_seq(Resource::Keys).await?;
        let audit = sqlx::query(
            "INSERT INTO audit (id, at, actor_id, actor_name, method, resource_id, resource_name, revision, detail) SELECT $2 || '-' || id, $3, $4, $5, $6, id, name, revision + 1, '{}' FROM keys WHERE team_id = $1 AND team_id <> '' AND deleted_at IS NULL",
        );
        let audit = audit.bind(team_id).bind(&row.id).bind(row.at).bind(&row.actor_id).bind(&row.actor_name);
        audit.bind(&row.method).execute(&mut *self.inner).await?;
        let delete = sqlx::query(
            "UPDATE keys SET deleted_at = $2, updated_at = $2, updated_by = $3, revision = revision + 1, seq = $4 WHERE team_id = $1 AND team_id <> '' AND deleted_at IS NULL",
        );
        delete.bind(team_id).bind(row.at).bind(&row.actor_id).bind(seq).execute(&mut *self.inner).await?;
        Ok(())
    }
}

const COLUMNS: &str =
    "hash, former_hash, former_until, user_id, agent_id, requests_per_minute_max, calls_max, streams_max";
const COLUMNS_OF_ID: &str = "SELECT hash, former_hash, former_until, user_id, agent_id, requests_per_minute_max, calls_max, streams_max FROM keys WHERE id = $1";

impl Store {
    /// The id of the key whose value has this hash, now or before its last rotation.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn key_id(&self, hash: &str) -> Result<Option<String>, Error> {
        if !super::rows::can_be_kept(hash) {
            return Ok(None);
        }
        let query =
            sqlx::query_scalar("SELECT id FROM keys WHERE (hash = $1 OR former_hash = $1) AND deleted_at IS NULL");
        self.read(query.bind(hash).fetch_optional(&self.pool)).await
    }

    /// The columns of a page of keys, by id.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn columns_of(&self, rows: &[Row]) -> Result<HashMap<String, KeyColumns>, Error> {
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<String> = (1..=rows.len()).map(|at| format!("${at}")).collect();
        let sql = format!("SELECT id, {COLUMNS} FROM keys WHERE id IN ({})", places.join(", "));
        let query = rows.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, row| query.bind(&row.id));
        let found = self.read(query.fetch_all(&self.pool)).await?;
        let read = |row: &AnyRow| Ok::<_, sqlx::Error>((row.try_get("id")?, KeyColumns::from_row(row)?));
        found.iter().map(read).collect::<Result<_, _>>().map_err(|error| StoreError::from(error).into())
    }

    /// A key by its id.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn key(&self, id: &str) -> Result<Option<(Row, KeyColumns)>, Error> {
        let Some(row) = self.by_id(Resource::Keys, id).await? else { return Ok(None) };
        let columns = sqlx::query_as::<_, KeyColumns>(COLUMNS_OF_ID).bind(id);
        match self.read(columns.fetch_optional(&self.pool)).await? {
            Some(columns) => Ok(Some((row, columns))),
            None => Err(Error::new(Kind::Internal, format!("table keys: the row {id} disappeared"))),
        }
    }
}
