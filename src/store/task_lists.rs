//! Lists of tasks: by owner and last change, each owner's by an index of its own.

use super::Store;
use super::owned::{OwnedRow, TASK};
use super::rows::can_be_kept;
use super::sql::{Sql, Value, bound};
use crate::config::Database;
use crate::error::Error;

/// Whose tasks to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnedBy<'a> {
    Anybody,
    /// What this key made, whatever team it was in.
    Key(&'a str),
    /// What this key made while it was in no team.
    KeyAlone(&'a str),
    /// What keys of this team made.
    Team(&'a str),
}

/// Which tasks to list; of the owners any.
#[derive(Clone, Copy, Debug, Default)]
pub struct TasksOf<'a> {
    pub agent_id: &'a str,
    pub owners: &'a [OwnedBy<'a>],
    /// Empty for all.
    pub context_id: &'a str,
    /// Empty for all.
    pub state: &'a str,
    /// Of this time or later.
    pub since: Option<i64>,
    /// Those that have not ended.
    pub is_open: bool,
    /// The time and id at which the page before ended.
    pub after: Option<(i64, &'a str)>,
}

impl OwnedBy<'_> {
    /// As `shared_with` and `made_by` have it.
    pub(super) fn spelled(self) -> String {
        match self {
            Self::Anybody => String::new(),
            Self::Key(key) | Self::KeyAlone(key) => format!("key:{key}"),
            Self::Team(team) => format!("team:{team}"),
        }
    }
}

impl TasksOf<'_> {
    /// The index that fits. PostgreSQL finds it by itself; SQLite counts columns, and would read all of a team's tasks to
    /// find those of one conversation.
    fn index(&self, owner: OwnedBy<'_>) -> &'static str {
        match owner {
            _ if !self.context_id.is_empty() => "tasks_context",
            _ if self.is_open => "tasks_open",
            OwnedBy::Anybody => "tasks_agent",
            OwnedBy::Key(_) => "tasks_made",
            OwnedBy::KeyAlone(_) | OwnedBy::Team(_) => "tasks_shared",
        }
    }
}

impl<'a> Sql<'a> {
    /// The tasks of one owner, last change first.
    fn tasks(&mut self, columns: &str, of: TasksOf<'a>, owner: OwnedBy<'a>, database: Database) {
        let index = match database {
            Database::Postgres => String::new(),
            Database::Sqlite | Database::Memory => format!(" INDEXED BY {}", of.index(owner)),
        };
        self.add(&format!("SELECT {columns} FROM tasks{index} WHERE "));
        self.add("agent_id = ");
        self.bind(Value::Text(of.agent_id));
        match owner {
            OwnedBy::Anybody => self.add(" AND deleted_at IS NULL"),
            OwnedBy::Key(_) => self.and("made_by = ", Value::Owned(owner.spelled())),
            OwnedBy::KeyAlone(_) | OwnedBy::Team(_) => self.and("shared_with = ", Value::Owned(owner.spelled())),
        }
        if !of.context_id.is_empty() {
            self.and("context_id = ", Value::Text(of.context_id));
        }
        if !of.state.is_empty() {
            self.and("state = ", Value::Text(of.state));
        }
        if let Some(since) = of.since {
            self.and("state_at >= ", Value::Number(since));
        }
        if of.is_open {
            self.add(" AND deleted_at IS NULL AND ended_at IS NULL");
        }
        if let Some((at, id)) = of.after {
            self.and("(state_at, task_id) < (", Value::Number(at));
            self.add(", ");
            self.bind(Value::Text(id));
            self.add(")");
        }
    }
}

impl Store {
    /// Tasks, the last changed first.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn tasks(&self, of: TasksOf<'_>, rows_max: usize) -> Result<Vec<OwnedRow>, Error> {
        if !is_kept(&of) {
            return Ok(Vec::new());
        }
        let order = format!(" ORDER BY state_at DESC, id DESC LIMIT {rows_max}");
        let mut sql = Sql::default();
        // Each owner's by its own index, and then the first of all.
        sql.add("SELECT * FROM (");
        for (at, owner) in of.owners.iter().enumerate() {
            sql.add(if at == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
            sql.tasks(TASK, of, *owner, self.database);
            sql.add(&order.replace("id DESC", "task_id DESC"));
            sql.add(&format!(") AS owner_{at}"));
        }
        sql.add(") AS found");
        sql.add(&order);
        self.read(bound!(sqlx::query_as, sql).fetch_all(&self.pool)).await
    }

    /// How many tasks there are, on all pages together.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn count_tasks(&self, of: TasksOf<'_>) -> Result<i64, Error> {
        if !is_kept(&of) {
            return Ok(0);
        }
        let of = TasksOf { after: None, ..of };
        let mut sql = Sql::default();
        sql.add("SELECT ");
        for (at, owner) in of.owners.iter().enumerate() {
            sql.add(if at == 0 { "(" } else { " + (" });
            sql.tasks("COUNT(*)", of, *owner, self.database);
            sql.add(")");
        }
        self.read(bound!(sqlx::query_scalar, sql).fetch_one(&self.pool)).await
    }
}

fn is_kept(of: &TasksOf<'_>) -> bool {
    [of.agent_id, of.context_id, of.state].iter().all(|text| can_be_kept(text)) && !of.owners.is_empty()
}
