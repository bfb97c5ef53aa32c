//! What stands between a permitted call and its agent where tasks have owners: a context is claimed before a message is
//! sent, what a reply names is written down before it goes on, and lists are answered from what was written down. And
//! what stands between an agent's push notifications and whoever asked for them.

use std::sync::Arc;

use crate::call::Reply;
use crate::clock::Clock;
use crate::config::{TaskScope, TaskSettings};
use crate::error::Error;
use crate::limits::{Limits, Reserved};
use crate::operation::Operation;
use crate::ownership::Ownership;
use crate::routing::Routing;
use crate::store::Store;

mod list;
mod relay;

pub use relay::{Recipient, Relay, TOKEN, undelivered};

/// Sends calls, and answers those that the agent is not asked.
pub struct Tasks {
    ownership: Arc<Ownership>,
    routing: Arc<Routing>,
    limits: Arc<Limits>,
    store: Arc<Store>,
    settings: TaskSettings,
    clock: Clock,
}

impl Tasks {
    pub fn new(
        ownership: Arc<Ownership>,
        routing: Arc<Routing>,
        limits: Arc<Limits>,
        store: Arc<Store>,
        settings: &TaskSettings,
        clock: Clock,
    ) -> Self {
        Self { ownership, routing, limits, store, settings: settings.clone(), clock }
    }

    /// The reply to a call, which may be passed on. `client_context` is what the caller calls the context, if the agent
    /// is to know it by another name.
    ///
    /// # Errors
    /// As [`Routing::send`] and [`Ownership::learn`].
    pub async fn answer(&self, reserved: &Reserved<'_>, client_context: Option<&str>) -> Result<Reply, Error> {
        let permitted = reserved.permitted();
        let (call, agent) = (permitted.call(), permitted.agent());
        match &call.operation {
            Operation::ListTasks(request) if self.ownership.scope(agent) != TaskScope::None => {
                Box::pin(self.list(permitted, request)).await
            }
            _ => {
                let claim = self.ownership.claim(call, agent, permitted.named(), client_context);
                let claim = Box::pin(claim).await?;
                let reply = self.routing.send(reserved).await;
                self.ownership.learn(call, agent, permitted.named(), claim, reply).await
            }
        }
    }
}
