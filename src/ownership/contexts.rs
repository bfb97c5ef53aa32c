//! Contexts that callers make up: claimed before anything is sent, so that two owners never meet in one conversation.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::learner::Made;
use super::writer::Write;
use super::{ATTEMPTS_MAX, Named, Ownership, shares};
use crate::call::{Call, Caller, ReplyMeta};
use crate::config::{ClientContexts, TaskScope};
use crate::error::{Error, Kind, Sent};
use crate::operation::{Binding, Operation, Rpc, Version};
use crate::registry::{Agent, AgentId};
use crate::store::{NewOwned, OwnedRow};

/// A context that a call has claimed, and may still give back.
#[derive(Clone, Debug)]
pub struct Claim(Arc<OwnedRow>);

impl Ownership {
    /// Makes a send's context its caller's, if it is nobody's. A call that sends nothing gives it back.
    ///
    /// # Errors
    /// InvalidParams for a context that became somebody else's meanwhile, and for one that nobody has where contexts are
    /// not to be made up; Overloaded when owners cannot be written down. Nothing was sent then.
    pub async fn claim(
        &self,
        call: &Call,
        agent: &Agent,
        named: &Named,
        client_id: Option<&str>,
    ) -> Result<Option<Claim>, Error> {
        let scope = self.scope(agent);
        if scope == TaskScope::None || !is_send(call.operation.rpc()) {
            return Ok(None);
        }
        self.must_write()?;
        let Some(id) = call.operation.context_id() else { return Ok(None) };
        let mut known = named.context.clone();
        for _ in 0..ATTEMPTS_MAX {
            let written = self.index.written();
            if known.is_none() {
                known = self.there(&agent.id.0, None, Some(id), true).await?.pop();
            }
            if let Some(row) = known.take() {
                if !shares(scope, &row, &call.caller) {
                    return Err(self.context_refused(agent));
                }
                if self.use_too(&row).await? {
                    return Ok(None);
                }
                continue;
            }
            let row = OwnedRow {
                is_context: 1,
                client_id: client_id.unwrap_or_default().to_owned(),
                claim: call.id.to_string(),
                ..self.row(&call.caller, call.version, &agent.id, id)
            };
            let new = Arc::new(NewOwned { context: Some(row), task: None });
            match self.make(new, written).await? {
                Made::All(rows) => {
                    // Before anything is sent, also where rows follow: a crash must not leave a conversation to anybody.
                    self.flush().await?;
                    return Ok(rows.into_iter().next().map(Claim));
                }
                Made::Not(mut theirs) => known = theirs.pop(),
            }
        }
        Err(Error::new(Kind::Overloaded, "too many calls claim the same context at once"))
    }

    /// Uses a context that is there: a claim of another call of the same owner must not be given back under it. False when
    /// it just was.
    pub(super) async fn use_too(&self, row: &Arc<OwnedRow>) -> Result<bool, Error> {
        if row.claim.is_empty() {
            return Ok(true);
        }
        let is_there = self.wait(|done| Write::Settle { row: Arc::clone(row), done: Some(done) }).await?;
        if is_there {
            self.index.put(OwnedRow { claim: String::new(), ..(**row).clone() });
        } else {
            self.index.forget(true, &row.agent_id, &row.id);
        }
        Ok(is_there)
    }

    /// Gives back a claim of a call that has sent nothing; else it is good, and lives where it was answered.
    pub(super) async fn settle(&self, claim: Claim, reply: Result<&ReplyMeta, &Error>) {
        let Claim(row) = claim;
        if reply.is_err_and(|error| error.sent() == Sent::NotSent) {
            self.index.forget(true, &row.agent_id, &row.id);
            // If that fails it stays the caller's, who may use it the next time.
            drop(self.wait(|done| Write::Release { row, done }).await);
        } else {
            let home = reply.map(|meta| at_home(meta, (*row).clone()));
            let row = home.unwrap_or_else(|_| (*row).clone());
            let row = self.index.put(OwnedRow { claim: String::new(), ..row });
            drop(self.queue.send(Write::Settle { row, done: None }).await);
        }
    }

    /// The words for a context that is somebody else's, and for one that must not be made up: where it may not be, they
    /// are the same.
    pub(super) fn context_refused(&self, agent: &Agent) -> Error {
        let problem = match self.client_contexts(agent) {
            ClientContexts::Refuse => "is none that this agent made for you: leave it out, and the agent makes one",
            _ => "is taken: choose another, such as a random UUID, or leave it out",
        };
        Error::invalid("message.contextId", problem)
    }

    /// A row of what `caller` makes.
    pub(super) fn row(&self, caller: &Caller, version: Version, agent: &AgentId, id: &str) -> OwnedRow {
        OwnedRow {
            agent_id: agent.to_string(),
            id: id.to_owned(),
            key_id: caller.key.0.to_string(),
            team_id: caller.team.as_ref().map(|team| team.0.to_string()).unwrap_or_default(),
            user_id: caller.user.as_deref().unwrap_or_default().to_owned(),
            caller_version: version.as_str().to_owned(),
            created_at: self.store.now(),
            ..OwnedRow::default()
        }
    }

    /// Writes, and waits until it is committed.
    pub(super) async fn wait<T>(
        &self,
        write: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Write,
    ) -> Result<T, Error> {
        let gone = || Error::new(Kind::Overloaded, "the gateway is restarting");
        let (done, written) = oneshot::channel();
        self.queue.send(write(done)).await.map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }
}

/// A row of what lives where a reply came from.
pub(super) fn at_home(meta: &ReplyMeta, row: OwnedRow) -> OwnedRow {
    OwnedRow {
        endpoint_id: meta.endpoint.as_deref().unwrap_or_default().to_owned(),
        agent_binding: meta.binding.map_or("", Binding::as_str).to_owned(),
        agent_version: meta.version.map_or("", Version::as_str).to_owned(),
        ..row
    }
}

/// Whether an operation makes tasks and contexts.
pub(super) fn is_send(rpc: Rpc) -> bool {
    matches!(rpc, Rpc::SendMessage | Rpc::SendStreamingMessage)
}

/// The same operation in another context.
pub(super) fn in_context(operation: &Operation, context_id: String) -> Operation {
    let mut operation = operation.clone();
    match &mut operation {
        Operation::SendMessage(request) | Operation::SendStreamingMessage(request) => {
            if let Some(message) = &mut request.message {
                message.context_id = context_id;
            }
        }
        Operation::ListTasks(request) => request.context_id = context_id,
        _ => {}
    }
    operation
}
