//! What the gateway knows of agents, keys, teams and groups, kept true: changes that are made here are taken over before
//! they are answered, and changes that other gateways make within one poll.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::call::AgentName;
use crate::error::Error;
use crate::store::Resource;

/// Goes up whenever anything changed that may end an open stream.
#[derive(Debug)]
pub(super) struct Changes(watch::Sender<u64>);

impl Changes {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(super) fn tell(&self) {
        self.0.send_modify(|n| *n += 1);
    }

    pub(super) fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

impl Gateway {
    /// Reads everything that the store has, before the first call.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn load(&self) -> Result<(), Error> {
        self.registry.load(&self.store).await?;
        self.access.load().await
    }

    /// Takes over what changed in the store since the last time.
    ///
    /// # Errors
    /// Overloaded when the store does not answer; what was taken over so far holds.
    pub async fn catch_up(&self) -> Result<(), Error> {
        // One at a time, and whoever waited finds the work done.
        let mut known = self.known.lock().await;
        let revisions = self.store.revisions().await?;
        self.store.hear_the_time().await?;
        if *known == revisions {
            self.access.heard();
            return Ok(());
        }
        let agents = self.registry.follow(&self.store).await?;
        for resource in [Resource::AccessGroups, Resource::Teams, Resource::Keys] {
            self.access.follow(resource).await?;
        }
        self.access.heard();
        *known = revisions;
        drop(known);
        for id in agents.iter().filter(|id| self.registry.find(&AgentName(Arc::clone(&id.0))).is_none()) {
            self.routing.forget(id);
        }
        self.changes.tell();
        Ok(())
    }

    /// Looks for changes until `stop`: regularly, and at once when somebody rings.
    pub async fn follow(self: Arc<Self>, poll: Duration, stop: CancellationToken) {
        let mut is_away = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(poll) => {}
                () = self.store.changed.notified() => {}
            }
            let caught_up = self.catch_up().await;
            match &caught_up {
                Ok(()) if is_away => tracing::info!("the store answers again"),
                Err(error) if !is_away => {
                    tracing::error!(
                        ?error,
                        "the store does not answer: known keys are honoured for store.stale_max_ms"
                    );
                }
                _ => {}
            }
            is_away = caught_up.is_err();
            if is_away {
                self.ownership.doubt();
            }
        }
    }
}
