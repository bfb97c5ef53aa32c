//! The rows of agents, keys, teams and access groups: alike but for a few columns of keys.

use sqlx::{AssertSqlSafe, FromRow};

use super::{Store, StoreError, Tx};
use crate::error::{Error, Kind};

/// A kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Agents,
    Keys,
    Teams,
    AccessGroups,
}

impl Resource {
    pub const ALL: [Self; 4] = [Self::Agents, Self::Keys, Self::Teams, Self::AccessGroups];

    /// Its table, which is also its topic.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Keys => "keys",
            Self::Teams => "teams",
            Self::AccessGroups => "access_groups",
        }
    }

    /// What one of them is called in messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Agents => "agent",
            Self::Keys => "key",
            Self::Teams => "team",
            Self::AccessGroups => "access group",
        }
    }
}

/// One resource as it is kept. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, FromRow)]
pub struct Row {
    pub id: String,
    pub name: String,
    pub team_id: String,
    /// ProtoJSON, without secrets and without what the other columns say.
    pub doc: String,
    /// Its secrets, encrypted; empty for none.
    pub sealed: String,
    /// 1 for a new one; goes up with every change.
    pub revision: i64,
    /// The number of its last change among all of its kind.
    pub seq: i64,
    pub created_at: i64,
    pub created_by: String,
    pub updated_at: i64,
    pub updated_by: String,
    pub deleted_at: Option<i64>,
}

const COLUMNS: &str =
    "id, name, team_id, doc, sealed, revision, seq, created_at, created_by, updated_at, updated_by, deleted_at";

/// Which keys to list; an empty filter lets all pass.
#[derive(Clone, Debug, Default)]
pub struct PageOf<'a> {
    /// The id at which the last page ended; empty for the first.
    pub after: &'a str,
    pub team_id: &'a str,
    pub user_id: &'a str,
    pub agent_id: &'a str,
    pub rows_max: usize,
}

/// The rows of a kind that changed after some moment, deleted ones too, in the order of their changes.
#[derive(Debug)]
pub struct Changes<'a> {
    store: &'a Store,
    resource: Resource,
    seq: i64,
    after: Option<String>,
    is_at_end: bool,
}

impl Changes<'_> {
    /// The next of them; `None` after the last. A page that failed may be asked for again.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Row>>, Error> {
        const ROWS_MAX: usize = 500;
        if self.is_at_end {
            return Ok(None);
        }
        let rows = self.store.changed_since(self.resource, self.seq, self.after.as_deref(), ROWS_MAX).await?;
        self.is_at_end = rows.len() < ROWS_MAX;
        let Some(last) = rows.last() else { return Ok(None) };
        (self.seq, self.after) = (last.seq, Some(last.id.clone()));
        Ok(Some(rows))
    }

    /// Where to go on next time, once all pages are read: before that, some rows of this number may be unread.
    pub fn seq(&self) -> i64 {
        self.seq
    }
}

impl Tx {
    /// Now, as rows of this transaction have it.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The number of the next change. Whoever has it holds up every other writer of this kind until the end of the
    /// transaction, so checks that follow stay true.
    pub async fn next_seq(&mut self, resource: Resource) -> Result<i64, StoreError> {
        self.wrote = true;
        let next = sqlx::query_scalar("UPDATE revision SET n = n + 1 WHERE topic = $1 RETURNING n");
        Ok(next.bind(resource.table()).fetch_one(&mut *self.inner).await?)
    }

    /// Writes a new row.
    pub async fn insert(&mut self, resource: Resource, row: &Row) -> Result<(), StoreError> {
        self.wrote = true;
        // Keys have a hash at once, for it must be unique; the other columns of theirs have defaults.
        let hash = if resource == Resource::Keys { (", hash", ", $1") } else { ("", "") };
        let sql = format!(
            "INSERT INTO {} ({COLUMNS}{}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL{})",
            resource.table(),
            hash.0,
            hash.1
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(&row.id).bind(&row.name).bind(&row.team_id);
        let query = query.bind(&row.doc).bind(&row.sealed).bind(row.revision).bind(row.seq);
        let query = query.bind(row.created_at).bind(&row.created_by).bind(row.updated_at).bind(&row.updated_by);
        query.execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Writes a row over the one that has the revision before.
    pub async fn update(&mut self, resource: Resource, row: &Row) -> Result<(), StoreError> {
        self.wrote = true;
        let sql = format!(
            "UPDATE {} SET name = $2, team_id = $3, doc = $4, sealed = $5, revision = $6, seq = $7, updated_at = $8, updated_by = $9, deleted_at = $10 WHERE id = $1 AND revision = $6 - 1 AND deleted_at IS NULL",
            resource.table()
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(&row.id).bind(&row.name).bind(&row.team_id);
        let query = query.bind(&row.doc).bind(&row.sealed).bind(row.revision).bind(row.seq);
        let query = query.bind(row.updated_at).bind(&row.updated_by).bind(row.deleted_at);
        match query.execute(&mut *self.inner).await?.rows_affected() {
            1 => Ok(()),
            _ => Err(changed_meanwhile(resource).into()),
        }
    }

    /// The row with this id, unless it is deleted.
    pub async fn get(&mut self, resource: Resource, id: &str) -> Result<Option<Row>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {} WHERE id = $1 AND deleted_at IS NULL", resource.table());
        Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut *self.inner).await?)
    }

    /// Whether there was ever a row with this id.
    pub async fn was_used(&mut self, resource: Resource, id: &str) -> Result<bool, StoreError> {
        let sql = format!("SELECT COUNT(*) FROM {} WHERE id = $1", resource.table());
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).bind(id).fetch_one(&mut *self.inner).await?;
        Ok(count > 0)
    }

    /// The row with this name, unless it is deleted.
    pub async fn by_name(&mut self, resource: Resource, name: &str) -> Result<Option<Row>, StoreError> {
        let sql = by_name(resource);
        Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(name).fetch_optional(&mut *self.inner).await?)
    }

    /// Gives an agent these names and no others. The first that another agent has is returned, and nothing is written.
    pub async fn claim_names(&mut self, agent_id: &str, names: &[&str]) -> Result<Option<String>, StoreError> {
        self.wrote = true;
        let names: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        for name in &names {
            let owner = sqlx::query_scalar::<_, String>("SELECT agent_id FROM agent_names WHERE name = $1");
            let owner = owner.bind(*name).fetch_optional(&mut *self.inner).await?;
            if owner.is_some_and(|owner| owner != agent_id) {
                return Ok(Some((*name).to_owned()));
            }
        }
        sqlx::query("DELETE FROM agent_names WHERE agent_id = $1").bind(agent_id).execute(&mut *self.inner).await?;
        for name in &names {
            let insert = sqlx::query("INSERT INTO agent_names (name, agent_id) VALUES ($1, $2)");
            insert.bind(*name).bind(agent_id).execute(&mut *self.inner).await?;
        }
        Ok(None)
    }
}

impl Store {
    /// The number of the last change of each kind, in the order of [`Resource::ALL`].
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn revisions(&self) -> Result<[i64; 4], Error> {
        let query = sqlx::query_as::<_, (String, i64)>("SELECT topic, n FROM revision");
        let found = self.read(query.fetch_all(&self.pool)).await?;
        let of = |resource: Resource| found.iter().find(|(topic, _)| topic == resource.table()).map_or(0, |(_, n)| *n);
        Ok(Resource::ALL.map(of))
    }

    /// What changed after `seq`, to be read a page at a time.
    pub fn changes_since(&self, resource: Resource, seq: i64) -> Changes<'_> {
        Changes { store: self, resource, seq, after: None, is_at_end: false }
    }

    /// Rows that changed after `seq`, deleted ones too, in the order of their changes; with `after`, also those of this
    /// `seq` whose id follows it, for one change may be of many rows.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    async fn changed_since(
        &self,
        resource: Resource,
        seq: i64,
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Vec<Row>, Error> {
        let table = resource.table();
        let sql = match after {
            None => format!("SELECT {COLUMNS} FROM {table} WHERE seq > $1 AND $2 = '' ORDER BY seq, id LIMIT $3"),
            Some(_) => format!(
                "SELECT {COLUMNS} FROM {table} WHERE seq >= $1 AND (seq > $1 OR id > $2) ORDER BY seq, id LIMIT $3"
            ),
        };
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(seq).bind(after.unwrap_or_default());
        let query = query.bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
        self.read(query.fetch_all(&self.pool)).await
    }

    /// All rows that are not deleted.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn all(&self, resource: Resource) -> Result<Vec<Row>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM {} WHERE deleted_at IS NULL", resource.table());
        // Read at the start only: a hundred thousand rows may take longer than one call has patience.
        let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&self.pool).await;
        rows.map_err(|error| StoreError::from(error).into())
    }

    /// The row with this id, else the one with this name. What no row can have finds nothing.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn find(&self, resource: Resource, id_or_name: &str) -> Result<Option<Row>, Error> {
        match self.by_id(resource, id_or_name).await? {
            Some(row) => Ok(Some(row)),
            None if !can_be_kept(id_or_name) => Ok(None),
            None => {
                let sql = by_name(resource);
                let query = sqlx::query_as(AssertSqlSafe(sql)).bind(id_or_name);
                self.read(query.fetch_optional(&self.pool)).await
            }
        }
    }

    /// The row with this id.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn by_id(&self, resource: Resource, id: &str) -> Result<Option<Row>, Error> {
        if !can_be_kept(id) {
            return Ok(None);
        }
        let sql = format!("SELECT {COLUMNS} FROM {} WHERE id = $1 AND deleted_at IS NULL", resource.table());
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(id);
        self.read(query.fetch_optional(&self.pool)).await
    }

    /// Rows by falling id, which for ids made here is the newest first.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn page(&self, resource: Resource, page: PageOf<'_>) -> Result<Vec<Row>, Error> {
        let mut sql = format!("SELECT {COLUMNS} FROM {} WHERE deleted_at IS NULL", resource.table());
        let mut values = Vec::new();
        if [page.after, page.team_id, page.user_id, page.agent_id].iter().any(|value| !can_be_kept(value)) {
            return Ok(Vec::new());
        }
        let filters = [
            ("id < ", page.after),
            ("team_id = ", page.team_id),
            ("user_id = ", page.user_id),
            ("agent_id = ", page.agent_id),
        ];
        for (condition, value) in filters.into_iter().filter(|(_, value)| !value.is_empty()) {
            values.push(value);
            sql.push_str(&format!(" AND {condition}${}", values.len()));
            if condition.ends_with("_id = ") {
                // As the partial index says.
                sql.push_str(&format!(" AND {}<> ''", condition.trim_end_matches("= ")));
            }
        }
        sql.push_str(&format!(" ORDER BY id DESC LIMIT {}", page.rows_max));
        let query = values.into_iter().fold(sqlx::query_as(AssertSqlSafe(sql)), sqlx::query::QueryAs::bind);
        self.read(query.fetch_all(&self.pool)).await
    }

    /// Writes `sealed` in place of `was`, without a change that anybody has to hear of.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn reseal(&self, id: &str, was: &str, sealed: &str) -> Result<(), Error> {
        let query = sqlx::query("UPDATE agents SET sealed = $3 WHERE id = $1 AND sealed = $2");
        self.read(query.bind(id).bind(was).bind(sealed).execute(&self.pool)).await.map(drop)
    }
}

/// The partial index is of rows with a name, and is only used by who says so.
fn by_name(resource: Resource) -> String {
    format!("SELECT {COLUMNS} FROM {} WHERE name = $1 AND name <> '' AND deleted_at IS NULL", resource.table())
}

/// PostgreSQL refuses NUL in a text; no id or name has control characters, or is long.
pub(super) fn can_be_kept(text: &str) -> bool {
    text.len() <= 512 && !text.chars().any(char::is_control)
}

/// A write that found another revision than the one it was made for.
pub(super) fn changed_meanwhile(resource: Resource) -> Error {
    let message = format!("the {} was changed meanwhile: read it again, and repeat the change", resource.noun());
    Error::new(Kind::Aborted, message)
}
