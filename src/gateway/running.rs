//! The tasks that an emergency stop has their agent cancel: those whose streams are open here, and those that have not
//! ended as far as is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::Gateway;
use crate::access::Access;
use crate::call::{Call, CallId, Caller, Event, Peer, Reply, ReplyBody};
use crate::error::Error;
use crate::limits::Limits;
use crate::operation::Operation;
use crate::ownership::Named;
use crate::proto;
use crate::registry::{Agent, AgentId};
use crate::store::{OwnedBy, OwnedRow, TasksOf};

/// Tasks that one stop cancels; the last changed are the first.
const CANCELED_MAX: usize = 10_000;
/// Cancellations that are under way at once.
const CANCELED_AT_ONCE: usize = 8;

/// One task that somebody follows.
pub struct RunningTask {
    task_id: String,
    /// Who follows it, in whose name it is cancelled.
    caller: Caller,
    peer: Peer,
    /// What is known of it.
    row: Option<Arc<OwnedRow>>,
}

/// One open stream, as far as an emergency stop has to know it.
struct Followed {
    agent: AgentId,
    /// None until an event names it.
    task_id: Option<String>,
    caller: Caller,
    peer: Peer,
}

/// The open streams, by their calls.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<CallId, Followed>>>);

/// One open stream; dropped with it.
pub(super) struct Follows {
    running: Running,
    id: CallId,
    knows_task: bool,
}

impl Running {
    pub(super) fn follow(&self, call: &Call, agent: &AgentId) -> Follows {
        let followed = Followed { agent: agent.clone(), task_id: None, caller: call.caller.clone(), peer: call.peer };
        self.0.lock().expect("no code panics while holding this").insert(call.id, followed);
        Follows { running: self.clone(), id: call.id, knows_task: false }
    }
}

impl Follows {
    /// Takes note of the task that an event is about.
    pub(super) fn note(&mut self, event: &Event) {
        if let Some(task_id) = event.peek.task_id.as_ref().filter(|_| !self.knows_task) {
            self.knows_task = true;
            let mut streams = self.running.0.lock().expect("no code panics while holding this");
            if let Some(followed) = streams.get_mut(&self.id) {
                followed.task_id = Some(task_id.clone());
            }
        }
    }
}

impl Drop for Follows {
    fn drop(&mut self) {
        self.running.0.lock().expect("no code panics while holding this").remove(&self.id);
    }
}

impl Gateway {
    /// The tasks of an agent whose streams are open here.
    pub fn running_tasks(&self, agent: &AgentId) -> Vec<RunningTask> {
        let streams = self.running.0.lock().expect("no code panics while holding this");
        let of_agent = streams.values().filter(|followed| followed.agent == *agent);
        let task = |followed: &Followed| {
            let task_id = followed.task_id.clone()?;
            Some(RunningTask { task_id, caller: followed.caller.clone(), peer: followed.peer, row: None })
        };
        of_agent.filter_map(task).collect()
    }

    /// The tasks of an agent that have not ended as far as is known, to be cancelled in the name of whoever stops it.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn unended_tasks(&self, agent: &AgentId, caller: &Caller) -> Result<Vec<RunningTask>, Error> {
        self.ownership.flush().await?;
        let owners = [OwnedBy::Anybody];
        let open = TasksOf { agent_id: &agent.0, owners: &owners, is_open: true, ..TasksOf::default() };
        let rows = self.store.tasks(open, CANCELED_MAX).await?;
        let peer = Peer { address: ([0, 0, 0, 0], 0).into() };
        let task = |row: OwnedRow| RunningTask {
            task_id: row.id.clone(),
            caller: caller.clone(),
            peer,
            row: Some(Arc::new(row)),
        };
        Ok(rows.into_iter().map(task).collect())
    }

    /// Has an agent cancel tasks, each in the name of whoever followed it or stops it, and with a record of its own, whatever that
    /// caller may do and has used up. What cannot be cancelled in time is in the records, or was not tried.
    pub async fn cancel_tasks(&self, agent: &Arc<Agent>, mut tasks: Vec<RunningTask>) {
        // Of one that is there twice, the one of which is known where it lives.
        tasks.sort_by(|a, b| (&a.task_id, a.row.is_none()).cmp(&(&b.task_id, b.row.is_none())));
        tasks.dedup_by(|a, b| a.task_id == b.task_id);
        let cancel = |task: RunningTask| self.cancel(agent, task);
        let mut waiting = tasks.into_iter();
        let mut under_way: FuturesUnordered<_> = waiting.by_ref().take(CANCELED_AT_ONCE).map(cancel).collect();
        let all = async {
            while under_way.next().await.is_some() {
                if let Some(task) = waiting.next() {
                    under_way.push(cancel(task));
                }
            }
        };
        if timeout(self.settings.timeouts.drain, all).await.is_err() {
            tracing::warn!(agent = agent.name(), "not every task could be cancelled in time");
        }
    }

    async fn cancel(&self, agent: &Arc<Agent>, task: RunningTask) {
        let named = Named { task: task.row.clone(), context: None };
        let call = self.cancelling(agent, task);
        let Ok(record) = self.ledger.open(&call) else { return };
        let reserved = Limits::without(Access::stopping(&call, agent, named));
        let reply = self.routing.send(&reserved).await;
        if let Ok(Reply { body: ReplyBody::One(answer), .. }) = &reply {
            self.ownership.hear(&agent.id, &answer.peek).await;
        }
        // The record has what came of it.
        drop(record.follow(reply));
    }

    fn cancelling(&self, agent: &Agent, task: RunningTask) -> Call {
        let request = proto::CancelTaskRequest { id: task.task_id, ..Default::default() };
        let cancel = Operation::CancelTask(request);
        self.call_of_ours(task.caller, agent, cancel, task.peer, self.settings.timeouts.drain)
    }
}
