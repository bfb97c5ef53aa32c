//! What keys have beside the columns of every row: how their values are found.

use sqlx::FromRow;

use super::{Resource, Row, Store, StoreError, Tx};
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

    /// Whether any key, deleted ones included, has or had this value not longer ago than one rotation.
    pub async fn hash_is_taken(&mut self, hash: &str) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar("SELECT COUNT(*) FROM keys WHERE hash = $1 OR former_hash = $1");
        let count: i64 = query.bind(hash).fetch_one(&mut *self.inner).await?;
        Ok(count > 0)
    }

    /// The ids of a team's keys.
    pub async fn keys_of_team(&mut self, team_id: &str) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_scalar("SELECT id FROM keys WHERE team_id = $1 AND deleted_at IS NULL");
        Ok(query.bind(team_id).fetch_all(&mut *self.inner).await?)
    }
}

const COLUMNS_OF_ID: &str = "SELECT hash, former_hash, former_until, user_id, agent_id, requests_per_minute_max, calls_max, streams_max FROM keys WHERE id = $1";

impl Store {
    /// The id of the key whose value has this hash, now or before its last rotation.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn key_id(&self, hash: &str) -> Result<Option<String>, Error> {
        let query =
            sqlx::query_scalar("SELECT id FROM keys WHERE (hash = $1 OR former_hash = $1) AND deleted_at IS NULL");
        self.read(query.bind(hash).fetch_optional(&self.pool)).await
    }

    /// A key by its id.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn key(&self, id: &str) -> Result<Option<(Row, KeyColumns)>, Error> {
        let Some(row) = self.find(Resource::Keys, id).await?.filter(|row| row.id == id) else { return Ok(None) };
        let columns = sqlx::query_as::<_, KeyColumns>(COLUMNS_OF_ID).bind(id);
        match self.read(columns.fetch_optional(&self.pool)).await? {
            Some(columns) => Ok(Some((row, columns))),
            None => Err(Error::new(Kind::Internal, format!("table keys: the row {id} disappeared"))),
        }
    }
}
