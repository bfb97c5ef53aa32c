//! The middle: every call of every door goes through here, in the same few steps.
//!
//! [`Gateway::admit`] decides on headers, before the body is read; [`Gateway::handle`] opens the record, asks
//! access for the permit, and sends. The steps are plain calls, in the order in which they must happen.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::call::{AgentName, Arrival, Call, Caller, Reply, ReplyBody};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Kind, Origin, Sent};
use crate::ledger::Ledger;
use crate::proto::AgentCard;
use crate::registry::{Agent, Registry};
use crate::routing::{Routing, TheirCard};
use crate::wire::body::Budget;
use crate::wire::content;

/// Everything that a call passes.
///
/// What decides, sends and records is private: a door has no way to it but through the functions here.
pub struct Gateway {
    access: Access,
    registry: Registry,
    ledger: Ledger,
    routing: Arc<Routing>,
    pub settings: Arc<Settings>,
    /// For the bodies of requests and replies alike.
    pub budget: Budget,
    pub clock: Clock,
    ending: CancellationToken,
}

/// What a gateway is made of.
pub struct Parts {
    pub access: Access,
    pub registry: Registry,
    pub ledger: Ledger,
    pub routing: Arc<Routing>,
    pub settings: Arc<Settings>,
    pub budget: Budget,
    pub clock: Clock,
    /// Cancelled when calls under way must end.
    pub ending: CancellationToken,
}

impl Gateway {
    pub fn new(parts: Parts) -> Self {
        let Parts { access, registry, ledger, routing, settings, budget, clock, ending } = parts;
        Self { access, registry, ledger, routing, settings, budget, clock, ending }
    }

    /// Calls that are under way.
    pub fn open_calls(&self) -> usize {
        self.ledger.open_count()
    }

    /// The agent of this name, whoever may call it.
    pub fn agent(&self, name: &AgentName) -> Option<&Arc<Agent>> {
        self.registry.find(name)
    }

    /// The agent's card if it was read before; never waits.
    pub fn known_card(&self, agent: &Agent) -> Option<Arc<AgentCard>> {
        self.routing.known_card(agent)
    }

    /// Lets a request in, by its headers alone: who calls, and whether the agent exists for them. From here on the
    /// agent is called by its own name, whatever the caller called it.
    ///
    /// # Errors
    /// Unauthenticated, AgentNotFound.
    pub fn admit(&self, arrival: &mut Arrival) -> Result<Caller, Error> {
        let caller = self.access.identify(&arrival.headers)?;
        let agent = match arrival.flaw.take() {
            None => self.selected(arrival, &caller),
            Some(flaw) => Err(flaw),
        };
        match agent {
            Ok(agent) => arrival.agent = agent,
            Err(error) => return Err(self.refuse(arrival, &caller, error)),
        }
        Ok(caller)
    }

    /// The one agent that all selectors mean, by its own name. A list of precedence would let a caller show one
    /// agent to a proxy before us and another to us.
    fn selected(&self, arrival: &Arrival, caller: &Caller) -> Result<Option<AgentName>, Error> {
        let mut found: Option<&Arc<Agent>> = None;
        for selector in &arrival.selectors {
            let agent = self.access.visible(&self.registry, caller, selector)?;
            if found.is_some_and(|other| other.id != agent.id) {
                let message =
                    "the address, the a2a-agent header and the host name different agents: leave all but one out";
                return Err(Error::new(Kind::InvalidParams, message));
            }
            found = Some(agent);
        }
        Ok(found.map(own_name))
    }

    /// The agent of an admitted request: the one that its head names, else the one that its tenant names, alone or
    /// before a slash.
    ///
    /// # Errors
    /// InvalidParams when nothing names an agent, AgentNotFound.
    pub fn addressed(&self, arrival: &Arrival, caller: &Caller, tenant: &str) -> Result<AgentName, Error> {
        if let Some(agent) = &arrival.agent {
            return Ok(agent.clone());
        }
        if tenant.is_empty() {
            let hint = "must name the agent, as its card says; or send the header a2a-agent, or call /a2a/{agent}/...";
            return Err(Error::invalid("tenant", hint));
        }
        let visible = |name: &str| self.access.visible(&self.registry, caller, &AgentName(name.into()));
        // The names of some agents have slashes in them.
        visible(tenant)
            .or_else(|error| tenant.split_once('/').map_or(Err(error), |(name, _)| visible(name)))
            .map(own_name)
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
        record.follow(reply.map(|reply| self.until_the_end(reply, call.deadline)))
    }

    async fn answer(&self, call: &Call) -> Result<Reply, Error> {
        let permitted = self.access.permit(&self.registry, call)?;
        let reply = match call.deadline {
            None => self.routing.send(&permitted).await,
            // A future that is polled once sends what it has to send.
            Some(deadline) if deadline <= self.clock.instant() => Err(too_late().sent_is(Sent::NotSent)),
            // Dropping the exchange at the deadline hangs up on the agent.
            Some(deadline) => timeout_at(deadline, self.routing.send(&permitted))
                .await
                .unwrap_or_else(|_| Err(too_late().sent_is(Sent::Maybe))),
        };
        let reply = reply?;
        let place = reply.meta.endpoint.clone().zip(reply.meta.binding).zip(reply.meta.version);
        // Here, so that the record knows of an answer that could not be translated, and whose it was.
        content::reply_in(reply, call.form).map_err(|error| match place {
            Some(((endpoint, binding), version)) => error.at(&endpoint, binding, version),
            None => error,
        })
    }

    /// When the process ends, or the caller's deadline passes, a stream ends with an error that says so; what the agent
    /// does goes on.
    fn until_the_end(&self, reply: Reply, deadline: Option<Instant>) -> Reply {
        let Reply { meta, body: ReplyBody::Stream(events) } = reply else { return reply };
        let ending = self.ending.clone().cancelled_owned();
        let ended = Box::pin(async move {
            match deadline {
                None => ending.await,
                Some(deadline) => {
                    return timeout_at(deadline, ending).await.map_or_else(|_| too_late(), |()| restarting());
                }
            }
            restarting()
        });
        let events = stream::unfold((events, ended, false), |(mut events, mut ended, is_over)| async move {
            if is_over {
                return None;
            }
            tokio::select! {
                biased;
                // First, for an agent may always have another event.
                error = &mut ended => Some((Err(error.sent_is(Sent::Sent)), (events, ended, true))),
                event = events.next() => event.map(|event| (event, (events, ended, false))),
            }
        });
        Reply { meta, body: ReplyBody::Stream(events.boxed()) }
    }

    /// The agent that a request for a card names, and its own card.
    ///
    /// # Errors
    /// As [`Gateway::admit`].
    pub async fn card(&self, arrival: &mut Arrival) -> Result<(&Arc<Agent>, TheirCard), Error> {
        let caller = self.access.identify(&arrival.headers)?;
        if let Some(flaw) = arrival.flaw.take() {
            return Err(flaw);
        }
        let name = self
            .selected(arrival, &caller)?
            .ok_or_else(|| Error::new(Kind::PathNotFound, "the path names no agent"))?;
        let agent = self.access.visible(&self.registry, &caller, &name)?;
        Ok((agent, self.routing.card(agent).await))
    }

    /// Who sent these headers, for what is not about one agent.
    ///
    /// # Errors
    /// Unauthenticated.
    pub fn identify(&self, headers: &http::HeaderMap) -> Result<Caller, Error> {
        self.access.identify(headers)
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

fn too_late() -> Error {
    let message = "the caller's deadline passed";
    Error::new(Kind::DeadlineExceeded, message).origin_is(Origin::Caller)
}

fn own_name(agent: &Arc<Agent>) -> AgentName {
    AgentName(Arc::clone(&agent.settings.name))
}

fn restarting() -> Error {
    let message = "the gateway is restarting; what the agent does goes on: get the task, or subscribe to it again";
    Error::new(Kind::Overloaded, message).retry_after_is(Duration::from_secs(1))
}
