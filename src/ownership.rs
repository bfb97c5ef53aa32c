//! Who made each task and context, and where it lives: nobody else learns that it is there.
//!
//! An owner is written down when an agent's reply to a send first names a task or context, before the caller reads it,
//! and never changes. What belongs to somebody else is treated as what never was: by the same query, with the same
//! words. Whether a caller shares in it is decided at every call, so moving a key or changing a scope needs no rows.
//!
//! On PostgreSQL a row is committed before the reply goes on, for another gateway may be asked next. On SQLite there is
//! one process: what is in memory counts at once and is written within milliseconds, and what a crash loses belongs to
//! nobody, so nobody gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::call::{Call, Caller};
use crate::config::{ClientContexts, Database, TaskScope, TaskSettings};
use crate::error::{Error, Kind};
use crate::operation::{Operation, Rpc};
use crate::proto::TaskState;
use crate::registry::Agent;
use crate::store::{OwnedBy, OwnedRow, Store};

mod contexts;
mod index;
mod learner;
mod namespaced;
mod writer;

pub use contexts::Claim;
use index::Index;
pub use namespaced::Namespace;
use writer::Write;
pub use writer::Writer;

/// How often a race for one id is looked at again.
const ATTEMPTS_MAX: usize = 16;

/// The owners of tasks and contexts.
#[derive(Debug)]
pub struct Ownership {
    store: Arc<Store>,
    settings: TaskSettings,
    index: Index,
    queue: mpsc::Sender<Write>,
    /// What could be written last could not, so nothing is sent whose owner might be lost.
    is_failing: Arc<AtomicBool>,
    /// Rows must be committed before replies go on: other gateways are on the same database.
    is_shared: bool,
    namespace: Namespace,
}

/// What a permitted call names of what was made before.
#[derive(Clone, Debug, Default)]
pub struct Named {
    pub task: Option<Arc<OwnedRow>>,
    pub context: Option<Arc<OwnedRow>>,
}

impl Named {
    /// Where the task, or else the context, lives.
    pub fn home(&self) -> Option<&OwnedRow> {
        self.task.as_deref().or(self.context.as_deref()).filter(|row| !row.endpoint_id.is_empty())
    }
}

/// Whether `caller` shares in what the maker of `row` made.
pub fn shares(scope: TaskScope, row: &OwnedRow, caller: &Caller) -> bool {
    let is_own = *row.key_id == *caller.key.0;
    match scope {
        TaskScope::None => true,
        TaskScope::Key => is_own,
        // What was made outside every team is its maker's alone.
        TaskScope::Team if row.team_id.is_empty() => is_own,
        TaskScope::Team => caller.team.as_ref().is_some_and(|team| *row.team_id == *team.0),
    }
}

/// Whose tasks a caller finds in its lists: those that it shares in.
pub fn owners(scope: TaskScope, caller: &Caller) -> Vec<OwnedBy<'_>> {
    let key = &*caller.key.0;
    match (scope, &caller.team) {
        (TaskScope::None, _) => vec![OwnedBy::Anybody],
        (TaskScope::Key, _) => vec![OwnedBy::Key(key)],
        (TaskScope::Team, None) => vec![OwnedBy::KeyAlone(key)],
        (TaskScope::Team, Some(team)) => vec![OwnedBy::Team(&team.0), OwnedBy::KeyAlone(key)],
    }
}

impl Ownership {
    /// The owners that `store` knows, and the writer of new ones, which must be run.
    ///
    /// # Errors
    /// Overloaded when the store does not answer; Internal when its secret cannot be opened.
    pub async fn open(store: Arc<Store>, settings: &TaskSettings, calls_max: usize) -> Result<(Self, Writer), Error> {
        let (queue, receiver) = mpsc::channel(calls_max);
        let is_failing = Arc::<AtomicBool>::default();
        let index = Index::new(settings.cached_max);
        let writer = Writer::new(&store, receiver, &index, Arc::clone(&is_failing), settings.retention);
        let ownership = Self {
            is_shared: store.database() == Database::Postgres,
            namespace: Namespace::new(store.shared_secret("context_namespace").await?),
            settings: settings.clone(),
            store,
            index,
            queue,
            is_failing,
        };
        Ok((ownership, writer))
    }

    /// How the tasks of this agent are shared.
    pub fn scope(&self, agent: &Agent) -> TaskScope {
        agent.settings.task_scope.unwrap_or(self.settings.scope)
    }

    fn client_contexts(&self, agent: &Agent) -> ClientContexts {
        agent.settings.client_contexts.unwrap_or(self.settings.client_contexts)
    }

    /// What `call` names, if its caller shares in all of it.
    ///
    /// # Errors
    /// TaskNotFound for a task that is somebody else's or never was, whichever; InvalidParams for somebody else's
    /// context; Overloaded when the store does not answer.
    pub async fn named(&self, call: &Call, agent: &Agent) -> Result<Named, Error> {
        let scope = self.scope(agent);
        let (task, context) = (call.operation.task_id(), call.operation.context_id());
        if scope == TaskScope::None {
            return Ok(Named::default());
        }
        let references = references(&call.operation);
        let tasks: Vec<&str> = task.into_iter().chain(references.iter().map(String::as_str)).collect();
        if call.operation.rpc() == Rpc::ListTasks || (tasks.is_empty() && context.is_none()) {
            // A list of somebody else's context is empty, as that of a context that never was.
            return Ok(Named::default());
        }
        let now = self.store.now();
        let is_own = |row: &OwnedRow| !self.is_gone(row, now) && shares(scope, row, &call.caller);
        // What is in memory and somebody else's is asked for as if it were not: nobody learns that it is there, not even
        // from how long that takes.
        let found = self.known_if(is_own, &agent.id.0, &tasks, context.as_slice()).await?;
        let find = |is_context: i64, id: &str| found.iter().find(|row| row.is_context == is_context && row.id == id);
        let own = |id: &str| find(0, id).filter(|row| is_own(row)).cloned().ok_or_else(task_not_found);
        let rows = tasks.iter().map(|id| own(id)).collect::<Result<Vec<_>, _>>()?;
        let known = context.and_then(|id| find(1, id)).cloned();
        let is_foreign = known.as_ref().is_some_and(|row| !shares(scope, row, &call.caller));
        let may_be_new = self.client_contexts(agent) != ClientContexts::Refuse;
        if is_foreign || (context.is_some() && known.is_none() && !may_be_new) {
            return Err(self.context_refused(agent));
        }
        Ok(Named { task: task.and_then(|_| rows.into_iter().next()), context: known })
    }

    /// Rows from memory, and all that are not there by one query. That there is none is asked every time.
    async fn known(&self, agent: &str, tasks: &[&str], contexts: &[&str]) -> Result<Vec<Arc<OwnedRow>>, Error> {
        self.known_if(|_| true, agent, tasks, contexts).await
    }

    /// As [`Ownership::known`], from memory only those of which `may_be_known` says so.
    async fn known_if(
        &self,
        may_be_known: impl Fn(&OwnedRow) -> bool,
        agent: &str,
        tasks: &[&str],
        contexts: &[&str],
    ) -> Result<Vec<Arc<OwnedRow>>, Error> {
        let mut found = Vec::with_capacity(tasks.len() + contexts.len());
        let mut missing = [Vec::new(), Vec::new()];
        let mut pending = Vec::new();
        for (is_context, ids) in [(false, tasks), (true, contexts)] {
            for id in ids {
                match self.index.get(is_context, agent, id) {
                    Some(row) if may_be_known(&row) => found.push(row),
                    row => {
                        pending.extend(row);
                        missing[usize::from(is_context)].push(*id);
                    }
                }
            }
        }
        if missing.iter().all(Vec::is_empty) {
            return Ok(found);
        }
        // Boxed, as what is seldom waited for: calls hold their futures as long as their streams.
        let rows = Box::pin(self.store.owned(agent, &missing[0], &missing[1])).await?;
        found.extend(rows.into_iter().map(|row| self.remembered(row)));
        // What is not yet in the store is there all the same.
        pending.retain(|row| !found.iter().any(|known| known.is_context == row.is_context && known.id == row.id));
        found.append(&mut pending);
        Ok(found)
    }

    /// A row of the store, in memory from now on: but for a claim, which may yet be given back, by another gateway too.
    fn remembered(&self, row: OwnedRow) -> Arc<OwnedRow> {
        if row.claim.is_empty() { self.index.put(row) } else { Arc::new(row) }
    }

    /// Whether `caller` shares in what the maker of `row` made, and it is not remembered for its id's sake alone.
    fn may_read(&self, scope: TaskScope, row: &OwnedRow, caller: &Caller, now: i64) -> bool {
        shares(scope, row, caller) && (row.is_context != 0 || !self.is_gone(row, now))
    }

    /// Whether a task is remembered for its id's sake alone.
    fn is_gone(&self, row: &OwnedRow, now: i64) -> bool {
        let retention = i64::try_from(self.settings.retention.as_micros()).unwrap_or(i64::MAX);
        row.deleted_at.is_some() || row.ended_at.is_some_and(|at| at.saturating_add(retention) < now)
    }

    /// Returns when all that was learnt before is written.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn flush(&self) -> Result<(), Error> {
        self.wait(|done| Write::Flush { done }).await
    }

    /// The store did not answer somebody: nothing is sent until it was written to again.
    pub fn doubt(&self) {
        self.is_failing.store(true, Ordering::Relaxed);
    }

    /// That owners can be written down.
    fn must_write(&self) -> Result<(), Error> {
        if self.is_failing.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Overloaded, "the store cannot be written to; nothing was sent: try again")
                .retry_after_is(writer::RETRY_AFTER));
        }
        Ok(())
    }
}

/// The same words for what is somebody else's and what never was.
fn task_not_found() -> Error {
    Error::new(Kind::TaskNotFound, "there is no such task for this key")
}

/// What somebody else's ids in an agent's reply come to: nothing of it is passed on.
fn withheld() -> Error {
    let message = "the agent answered with a task or context that is not this caller's; its answer is withheld";
    Error::new(Kind::InvalidAgentResponse, message)
}

/// The tasks that a message refers to, beside the one that it continues.
fn references(operation: &Operation) -> &[String] {
    match operation {
        Operation::SendMessage(request) | Operation::SendStreamingMessage(request) => {
            request.message.as_ref().map_or(&[], |message| &message.reference_task_ids)
        }
        _ => &[],
    }
}

/// A state as rows have it.
fn spelled(state: Option<TaskState>) -> String {
    state.unwrap_or(TaskState::Unspecified).as_str_name().to_owned()
}
