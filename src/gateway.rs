//! The middle: every call of every door goes through here, in the same few steps.
//!
//! [`Gateway::admit`] decides on headers, before the body is read; [`Gateway::handle`] opens the record, asks
//! access for the permit, and sends. The steps are plain calls, in the order in which they must happen.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::call::{AgentName, Arrival, Call, Caller, Reply, ReplyBody};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Kind, Sent};
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
    /// Cancelled when calls under way must end.
    pub ending: CancellationToken,
}

impl Gateway {
    /// Lets a request in, by its headers alone: who calls, and whether the agent exists for them. From here on the
    /// agent is called by its own name, whatever the caller called it.
    ///
    /// # Errors
    /// Unauthenticated, AgentNotFound.
    pub fn admit(&self, arrival: &mut Arrival) -> Result<Caller, Error> {
        let caller = self.access.identify(&arrival.headers)?;
        match self.access.visible(&self.registry, &caller, &arrival.agent) {
            Ok(agent) => arrival.agent = AgentName(Arc::clone(&agent.settings.name)),
            Err(error) => return Err(self.refuse(arrival, &caller, error)),
        }
        Ok(caller)
    }

    /// Records a refusal of somebody who is known, and hands it back.
    pub fn refuse(&self, arrival: &Arrival, caller: &Caller, error: Error) -> Error {
        self.ledger.refuse(arrival, caller, &error);
        error
    }

    /// Makes a call and keeps its record, from here to the last byte of its reply.
    ///
    /// # Errors
    /// Why the call failed. The record has it too.
    pub async fn handle(&self, call: Call) -> Result<Reply, Error> {
        let record = self.ledger.open(&call)?;
        let reply = tokio::select! {
            reply = self.answer(&call) => reply,
            () = self.ending.cancelled() => Err(restarting().sent_is(Sent::Maybe)),
        };
        record.follow(reply.map(|reply| self.until_the_end(reply)))
    }

    async fn answer(&self, call: &Call) -> Result<Reply, Error> {
        let permitted = self.access.permit(&self.registry, call)?;
        match call.deadline {
            None => self.routing.send(&permitted).await,
            // Dropping the exchange at the deadline hangs up on the agent.
            Some(deadline) => {
                tokio::time::timeout_at(deadline, self.routing.send(&permitted)).await.unwrap_or_else(|_| {
                    let message = "the caller's deadline passed; the agent may have the request";
                    Err(Error::new(Kind::DeadlineExceeded, message).sent_is(Sent::Maybe))
                })
            }
        }
    }

    /// When the process ends, a stream ends with an error that says so; what the agent does goes on.
    fn until_the_end(&self, reply: Reply) -> Reply {
        let Reply { meta, body: ReplyBody::Stream(events) } = reply else { return reply };
        let ended = Box::pin(self.ending.clone().cancelled_owned());
        let events = stream::unfold((events, ended, false), |(mut events, mut ended, is_over)| async move {
            if is_over {
                return None;
            }
            tokio::select! {
                biased;
                event = events.next() => event.map(|event| (event, (events, ended, false))),
                () = &mut ended => Some((Err(restarting().sent_is(Sent::Sent)), (events, ended, true))),
            }
        });
        Reply { meta, body: ReplyBody::Stream(events.boxed()) }
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

fn restarting() -> Error {
    let message = "the gateway is restarting; what the agent does goes on: get the task, or subscribe to it again";
    Error::new(Kind::Overloaded, message).retry_after_is(Duration::from_secs(1))
}
