//! The middle: every call of every door goes through here, in the same few steps.
//!
//! [`Gateway::admit`] decides on headers, before the body is read; [`Gateway::handle`] opens the record, finds the
//! agent, asks access, and sends. The steps are plain calls, in the order in which they must happen.

use std::sync::Arc;

use crate::access::Access;
use crate::call::{Arrival, Call, Caller, Reply};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Kind};
use crate::ledger::Ledger;
use crate::proto::AgentCard;
use crate::registry::{Agent, Registry};
use crate::routing::Routing;
use crate::wire::body::Budget;

/// Everything that a call passes.
pub struct Gateway {
    pub access: Access,
    pub registry: Registry,
    pub ledger: Ledger,
    pub routing: Arc<Routing>,
    pub settings: Arc<Settings>,
    /// For the bodies of requests and replies alike.
    pub budget: Budget,
    pub clock: Clock,
}

impl Gateway {
    /// Lets a request in, by its headers alone: who calls, and whether the agent exists for them.
    ///
    /// # Errors
    /// Unauthenticated, AgentNotFound; VersionNotSupported for a version that nobody speaks.
    pub fn admit(&self, arrival: &Arrival) -> Result<Caller, Error> {
        let caller = self.access.identify(&arrival.headers)?;
        self.access.visible(&self.registry, &caller, &arrival.agent)?;
        Ok(caller)
    }

    /// Makes a call and keeps its record, from here to the last byte of its reply.
    ///
    /// # Errors
    /// Why the call failed. The record has it too.
    pub async fn handle(&self, call: Call) -> Result<Reply, Error> {
        let record = self.ledger.open(&call)?;
        let reply = self.answer(&call).await;
        record.follow(reply)
    }

    async fn answer(&self, call: &Call) -> Result<Reply, Error> {
        let agent = self.access.visible(&self.registry, &call.caller, &call.agent)?;
        let permitted = self.access.permit(&self.registry, call, agent)?;
        match call.deadline {
            None => self.routing.send(&permitted).await,
            // Dropping the exchange at the deadline hangs up on the agent.
            Some(deadline) => {
                tokio::time::timeout_at(deadline, self.routing.send(&permitted)).await.unwrap_or_else(|_| {
                    let message = "the caller's deadline passed; the agent may have the request";
                    Err(Error::new(Kind::DeadlineExceeded, message).sent_is(crate::error::Sent::Maybe))
                })
            }
        }
    }

    /// The agent that a request for a card names, and its own card.
    ///
    /// # Errors
    /// As [`Gateway::admit`].
    pub async fn card(&self, arrival: &Arrival) -> Result<(&Arc<Agent>, Arc<AgentCard>), Error> {
        let caller = self.access.identify(&arrival.headers)?;
        let agent = self.access.visible(&self.registry, &caller, &arrival.agent)?;
        Ok((agent, self.routing.card(agent).await))
    }

    /// The agents that exist for whoever sent these headers.
    ///
    /// # Errors
    /// Unauthenticated.
    pub fn visible_agents(&self, headers: &http::HeaderMap) -> Result<Vec<&Arc<Agent>>, Error> {
        let caller = self.access.identify(headers)?;
        let agents = self.registry.agents().iter();
        Ok(agents.filter(|agent| self.access.may_call(&caller, agent)).collect())
    }
}
