//! What one call's reply says of tasks and contexts, written down before the caller reads it.
//!
//! Only the reply to a send makes an owner; every other one tells a state at most. A reply that names what is somebody
//! else's is withheld and changes nothing: an agent whose counter began anew, or who lies, gives nobody another's task.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::contexts::{Claim, at_home, is_send};
use super::writer::Write;
use super::{ATTEMPTS_MAX, Named, Ownership, spelled, withheld};
use crate::call::{Call, Caller, Event, Peek, Reply, ReplyBody, ReplyMeta};
use crate::config::TaskScope;
use crate::error::{Error, Kind, Sent};
use crate::operation::Version;
use crate::proto::TaskState;
use crate::registry::{Agent, AgentId};
use crate::store::{NewOwned, OwnedRow, StateChange};

/// What came of making rows.
pub(super) enum Made {
    /// They are there.
    All(Vec<Arc<OwnedRow>>),
    /// Somebody was faster, and not all of them were made. These are in the way, as far as is known; then it is to be
    /// looked again.
    Not(Vec<Arc<OwnedRow>>),
}

/// One call, and what its reply has told so far.
struct Learner {
    ownership: Arc<Ownership>,
    scope: TaskScope,
    is_send: bool,
    agent: AgentId,
    caller: Caller,
    version: Version,
    /// The context that a send names.
    context_id: Option<String>,
    meta: ReplyMeta,
    task: Option<Arc<OwnedRow>>,
    context: Option<Arc<OwnedRow>>,
    /// The last state that was told.
    state: Option<TaskState>,
}

impl Ownership {
    /// A reply whose tasks and contexts are written down: a unary one now, a stream's as its events come.
    ///
    /// # Errors
    /// The reply's own; InvalidAgentResponse for one that names what is somebody else's; Overloaded when a row that must
    /// be written cannot be. Nothing of the reply may be passed on then.
    pub async fn learn(
        self: &Arc<Self>,
        call: &Call,
        agent: &Agent,
        named: &Named,
        claim: Option<Claim>,
        reply: Result<Reply, Error>,
    ) -> Result<Reply, Error> {
        if let Some(claim) = claim {
            self.settle(claim, reply.as_ref().map(|reply| &reply.meta)).await;
        }
        let Reply { meta, body } = reply?;
        match body {
            ReplyBody::One(answer) if answer.peek.task_id.is_none() && answer.peek.context_id.is_none() => {
                Ok(Reply { meta, body: ReplyBody::One(answer) })
            }
            ReplyBody::One(answer) => {
                let mut learner = self.learner(call, agent, named, &meta);
                learner.meet(&answer.peek).await.map_err(|error| learner.after_sending(error))?;
                Ok(Reply { meta, body: ReplyBody::One(answer) })
            }
            ReplyBody::Stream(events) => {
                let learner = self.learner(call, agent, named, &meta);
                let learnt = stream::unfold(Some((events, learner)), |open| async move {
                    let (mut events, mut learner) = open?;
                    let event = events.next().await?;
                    match learner.see(event).await {
                        Ok(event) => Some((Ok(event), Some((events, learner)))),
                        // It is the last that is passed on.
                        Err(error) => Some((Err(error), None)),
                    }
                });
                Ok(Reply { meta, body: ReplyBody::Stream(learnt.boxed()) })
            }
        }
    }

    fn learner(self: &Arc<Self>, call: &Call, agent: &Agent, named: &Named, meta: &ReplyMeta) -> Learner {
        Learner {
            ownership: Arc::clone(self),
            scope: self.scope(agent),
            is_send: is_send(call.operation.rpc()),
            agent: agent.id.clone(),
            caller: call.caller.clone(),
            version: call.version,
            context_id: call.operation.context_id().map(str::to_owned),
            meta: ReplyMeta { extensions: Vec::new(), ..meta.clone() },
            task: named.task.clone(),
            context: named.context.clone(),
            state: None,
        }
    }
}

impl Learner {
    async fn see(&mut self, event: Result<Event, Error>) -> Result<Event, Error> {
        let event = event?;
        self.meet(&event.peek).await.map_err(|error| self.after_sending(error))?;
        Ok(event)
    }

    /// The agent has answered, so the call must not look like one that may be made again.
    fn after_sending(&self, error: Error) -> Error {
        if !self.is_send || error.kind() == Kind::InvalidAgentResponse {
            return error.sent_is(Sent::Sent);
        }
        let message = "the agent has answered, and whose its task is could not be written down: do not send it again";
        Error::new(error.kind(), message).sent_is(Sent::Sent).because(error)
    }

    async fn meet(&mut self, peek: &Peek) -> Result<(), Error> {
        let is_new = |known: &Option<Arc<OwnedRow>>, id: Option<&str>| {
            id.filter(|id| known.as_ref().is_none_or(|row| row.id != *id)).map(str::to_owned)
        };
        let context = is_new(&self.context, peek.context_id.as_deref());
        // A task's own context was looked at when the task was made.
        let context = context.filter(|id| self.task.as_ref().is_none_or(|row| row.context_id != *id));
        let task = is_new(&self.task, peek.task_id.as_deref());
        // Where nobody checks owners, nobody waits for them.
        let is_checked = self.scope != TaskScope::None;
        if (task.is_some() || context.is_some()) && (is_checked || self.ownership.must_write().is_ok()) {
            let found = Box::pin(self.find(peek, task.as_deref(), context.as_deref())).await;
            found.or_else(|error| if is_checked { Err(error) } else { Ok(()) })?;
        }
        self.note(peek);
        Ok(())
    }

    /// Finds the rows of a task and a context that were not named before, and makes those that a send may make. Nothing
    /// is made before all that is there was found to be the caller's.
    async fn find(&mut self, peek: &Peek, task: Option<&str>, context: Option<&str>) -> Result<(), Error> {
        let mut taken: Vec<Arc<OwnedRow>> = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            let written = self.ownership.index.written();
            let mut found = self.ownership.there(&self.agent.0, task, context, self.is_send).await?;
            taken.retain(|row| !found.iter().any(|known| known.is_context == row.is_context));
            found.append(&mut taken);
            self.judge(&found)?;
            let claimed = found.iter().find(|row| !row.claim.is_empty());
            if let Some(row) = claimed
                && !self.ownership.use_too(row).await?
            {
                continue;
            }
            let is_there = |is_context: i64| found.iter().any(|row| row.is_context == is_context);
            let new_context = context.filter(|_| self.is_send && !is_there(1));
            let new_task = task.filter(|_| self.is_send && !is_there(0));
            let new = Arc::new(NewOwned {
                context: new_context.map(|id| OwnedRow { is_context: 1, ..self.new_row(id) }),
                task: new_task.map(|id| self.new_task(id, peek)),
            });
            let made = if new.rows().next().is_none() {
                Made::All(Vec::new())
            } else {
                self.ownership.make(new, written).await?
            };
            match made {
                Made::All(made) => {
                    for row in found.into_iter().chain(made) {
                        let place = if row.is_context == 1 { &mut self.context } else { &mut self.task };
                        *place = Some(row);
                    }
                    return Ok(());
                }
                Made::Not(theirs) => taken = theirs,
            }
        }
        Err(Error::new(Kind::Overloaded, "too many calls make the same task at once"))
    }

    /// That rows which a reply names are the caller's.
    fn judge(&self, found: &[Arc<OwnedRow>]) -> Result<(), Error> {
        let now = self.ownership.store.now();
        let is_own = |row: &OwnedRow| self.ownership.may_read(self.scope, row, &self.caller, now);
        if self.scope == TaskScope::None || found.iter().all(|row| is_own(row)) {
            return Ok(());
        }
        tracing::warn!(agent = %self.agent, "an agent answered with what is somebody else's");
        Err(withheld())
    }

    fn new_task(&self, id: &str, peek: &Peek) -> OwnedRow {
        let (state_at, ended_at) = self.ownership.times(peek);
        let context_id = peek.context_id.as_deref().or(self.context_id.as_deref());
        OwnedRow {
            context_id: context_id.unwrap_or_default().to_owned(),
            state: spelled(peek.state),
            state_at,
            ended_at,
            ..self.new_row(id)
        }
    }

    fn new_row(&self, id: &str) -> OwnedRow {
        at_home(&self.meta, self.ownership.row(&self.caller, self.version, &self.agent, id))
    }

    /// Notes a state that differs from the one before.
    fn note(&mut self, peek: &Peek) {
        let (Some(state), Some(row)) = (peek.state, &self.task) else { return };
        if self.state == Some(state) || row.ended_at.is_some() || row.state == state.as_str_name() {
            self.state = Some(state);
            return;
        }
        self.state = Some(state);
        self.task = Some(self.ownership.note(row, peek));
    }
}

impl Ownership {
    /// The rows of what a reply names. If they are to be made, the database that is shared says what is there when they
    /// are; asking it before would be once more.
    pub(super) async fn there(
        &self,
        agent: &str,
        task: Option<&str>,
        context: Option<&str>,
        are_made: bool,
    ) -> Result<Vec<Arc<OwnedRow>>, Error> {
        if self.is_shared && are_made {
            let task = task.and_then(|id| self.index.get(false, agent, id));
            return Ok(task.into_iter().chain(context.and_then(|id| self.index.get(true, agent, id))).collect());
        }
        self.known(agent, task.as_slice(), context.as_slice()).await
    }

    /// Makes rows that were not there when `written` batches were.
    pub(super) async fn make(&self, new: Arc<NewOwned>, written: u64) -> Result<Made, Error> {
        if self.is_shared {
            let rows = Arc::clone(&new);
            let taken = self.wait(|done| Write::Rows { new, done: Some(done) }).await?;
            if taken.is_empty() {
                return Ok(Made::All(rows.rows().cloned().map(|row| self.remembered(row)).collect()));
            }
            return Ok(Made::Not(taken.into_iter().map(|row| self.remembered(row)).collect()));
        }
        // First a place, so that what is taken is written, though the caller leave.
        let place = self.queue.reserve().await;
        let place = place.map_err(|_| Error::new(Kind::Overloaded, "the gateway is restarting"))?;
        let rows: Vec<_> = new.rows().cloned().map(Arc::new).collect();
        if !self.index.take(&rows, written) {
            return Ok(Made::Not(Vec::new()));
        }
        place.send(Write::Rows { new, done: None });
        Ok(Made::All(rows))
    }

    /// What is known of a task of which an agent tells `caller` unasked, if it may: the caller's own, or one that nobody
    /// has, for the reply that makes an owner may still be under way.
    ///
    /// # Errors
    /// InvalidAgentResponse for what is somebody else's; Overloaded when the store does not answer.
    pub async fn may_be_told(
        &self,
        caller: &Caller,
        agent: &Agent,
        peek: &Peek,
    ) -> Result<Option<Arc<OwnedRow>>, Error> {
        let scope = self.scope(agent);
        let (task, context) = (peek.task_id.as_deref(), peek.context_id.as_deref());
        let rows = self.known(&agent.id.0, task.as_slice(), context.as_slice()).await?;
        let now = self.store.now();
        if !rows.iter().all(|row| self.may_read(scope, row, caller, now)) {
            return Err(withheld());
        }
        Ok(rows.into_iter().find(|row| row.is_context == 0))
    }

    /// Notes what was heard of a task, whoever asked.
    pub async fn hear(&self, agent: &AgentId, peek: &Peek) {
        let Ok(rows) = self.there(&agent.0, peek.task_id.as_deref(), None, false).await else { return };
        if let Some(row) = rows.first().filter(|row| row.ended_at.is_none() && peek.state.is_some()) {
            self.note(row, peek);
        }
    }

    /// Since when the state is, where the agent's word counts, but for the future; and when the task was seen to have ended,
    /// where it does not: a clock that is wrong must not make us forget it.
    fn times(&self, peek: &Peek) -> (i64, Option<i64>) {
        let now = self.store.now();
        let at = peek.state_at.filter(|at| (0..=now).contains(at)).unwrap_or(now);
        (at, peek.state.is_some_and(TaskState::is_terminal).then_some(now))
    }

    /// Notes a state, now in memory and soon in the store. It is a hint: when too many come at once, some are not.
    fn note(&self, row: &OwnedRow, peek: &Peek) -> Arc<OwnedRow> {
        if let Some(known) = self.index.get(false, &row.agent_id, &row.id).filter(|known| known.ended_at.is_some()) {
            return known;
        }
        let (at, ended_at) = self.times(peek);
        // An agent's clock may be behind ours, and what comes later is later.
        let state_at = at.max(row.state_at);
        let row = OwnedRow { state: spelled(peek.state), state_at, ended_at, ..row.clone() };
        let change = StateChange {
            agent_id: row.agent_id.clone(),
            task_id: row.id.clone(),
            state: row.state.clone(),
            state_at: row.state_at,
            ended_at: row.ended_at,
        };
        drop(self.queue.try_send(Write::State(change)));
        self.index.put(row)
    }
}
