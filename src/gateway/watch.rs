//! What ends a stream from our side: the process stops, the caller's deadline passes, or the caller may not go on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::running::Follows;
use super::{Gateway, restarting, too_late};
use crate::access::Access;
use crate::call::{AgentName, Call, Caller, EventStream, Reply, ReplyBody};
use crate::error::{Error, Kind, Sent};
use crate::limits::Slots;
use crate::operation::Rpc;
use crate::registry::{AgentId, Registry};

/// Whether a stream's caller may go on is asked at most so often, however often things change.
const ASKED_AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// While the store is away.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What a call holds as long as its reply goes on.
pub(super) struct Held {
    pub(super) agent: AgentId,
    pub(super) slots: Slots,
}

/// A stream with what ends it from our side.
struct Open<E> {
    events: EventStream,
    ended: E,
    follows: Follows,
    _slots: Slots,
    is_over: bool,
}

/// Whose stream it is, and on which agent.
struct Right {
    access: Arc<Access>,
    registry: Arc<Registry>,
    caller: Caller,
    agent: AgentName,
    rpc: Rpc,
    changes: watch::Receiver<u64>,
}

impl Right {
    /// Returns when the caller may not call the agent any more.
    async fn ends(mut self) -> Error {
        let mut is_unsure = false;
        loop {
            match self.caller.expires_at.map(|at| self.access.until(at)) {
                _ if is_unsure => tokio::time::sleep(ASKED_AGAIN_AFTER).await,
                None => drop(self.changes.changed().await),
                Some(expiry) if timeout(expiry, self.changes.changed()).await.is_err() => return revoked(),
                Some(_) => {}
            }
            tokio::time::sleep(ASKED_AT_MOST_EVERY).await;
            self.changes.mark_unchanged();
            if self.caller.expires_at.is_some_and(|at| self.access.until(at).is_zero()) {
                return revoked();
            }
            let refreshed = self.access.whose(&self.caller.key).await;
            // While the store is away, what was known holds; but a change was told, so it is asked again.
            is_unsure = refreshed.is_err();
            match refreshed {
                // What it follows may be another team's now.
                Ok(Some(caller)) if caller.team != self.caller.team => return revoked(),
                Ok(Some(caller)) => self.caller = caller,
                Ok(None) => return revoked(),
                Err(_) => {}
            }
            let may_go_on = self.access.may_make(&self.caller, self.rpc);
            if !may_go_on || self.access.visible(&self.registry, &self.caller, &self.agent).is_err() {
                return revoked();
            }
        }
    }
}

fn revoked() -> Error {
    Error::new(Kind::PermissionDenied, "this key may not call the agent any more; what the agent does goes on")
}

impl Gateway {
    /// A stream that ends when the process does, at the caller's deadline, and when the caller loses the right to it:
    /// with an error that says so. What the agent does goes on. Its slots are given back with it.
    pub(super) fn until_the_end(&self, reply: Reply, held: Held, call: &Call) -> Reply {
        let Reply { meta, body: ReplyBody::Stream(events) } = reply else { return reply };
        let ending = self.ending.clone().cancelled_owned();
        let mut changes = self.changes.listen();
        // What changed while the agent was asked was not listened to.
        changes.mark_changed();
        let right = Right {
            access: Arc::clone(&self.access),
            registry: Arc::clone(&self.registry),
            caller: call.caller.clone(),
            // By its id: another name is no other agent.
            agent: AgentName(Arc::clone(&held.agent.0)),
            rpc: call.operation.rpc(),
            changes,
        };
        let deadline = call.deadline;
        let ended = Box::pin(async move {
            let at_deadline = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ending => restarting(),
                () = at_deadline => too_late(),
                error = right.ends() => error,
            }
        });
        let follows = self.running.follow(call, &held.agent);
        let open = Open { events, ended, follows, _slots: held.slots, is_over: false };
        let events = stream::unfold(open, |mut open| async move {
            if open.is_over {
                return None;
            }
            let event = tokio::select! {
                biased;
                // First, for an agent may always have another event.
                error = &mut open.ended => {
                    open.is_over = true;
                    Err(error.sent_is(Sent::Sent))
                }
                event = open.events.next() => event?,
            };
            if let Ok(event) = &event {
                open.follows.note(event);
            }
            Some((event, open))
        });
        Reply { meta, body: ReplyBody::Stream(events.boxed()) }
    }
}
