//! The book of what administrators changed: one row in the same transaction as the change.

use sqlx::FromRow;

use super::{Store, StoreError, Tx};
use crate::error::Error;

/// One change.
#[derive(Clone, Debug, FromRow)]
pub struct AuditRow {
    pub id: String,
    /// Microseconds since 1970.
    pub at: i64,
    /// The key that made the change.
    pub actor_id: String,
    pub actor_name: String,
    /// The method of the admin API, such as `AgentService/UpdateAgent`, whichever way it was called.
    pub method: String,
    pub resource_id: String,
    pub resource_name: String,
    /// The resource's revision after the change.
    pub revision: i64,
    /// What changed, as a JSON object from field to value before and after; without secrets.
    pub detail: String,
}

impl Tx {
    /// Writes one row.
    pub async fn audit(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO audit (id, at, actor_id, actor_name, method, resource_id, resource_name, revision, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        );
        let query = query.bind(&row.id).bind(row.at).bind(&row.actor_id).bind(&row.actor_name).bind(&row.method);
        let query = query.bind(&row.resource_id).bind(&row.resource_name).bind(row.revision).bind(&row.detail);
        query.execute(&mut *self.inner).await?;
        Ok(())
    }
}

impl Store {
    /// The newest rows, the newest first.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn audit_rows(&self, rows_max: i64) -> Result<Vec<AuditRow>, Error> {
        let query = sqlx::query_as(
            "SELECT id, at, actor_id, actor_name, method, resource_id, resource_name, revision, detail FROM audit ORDER BY id DESC LIMIT $1",
        );
        self.read(query.bind(rows_max).fetch_all(&self.pool)).await
    }
}
