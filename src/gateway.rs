//! The middle: every call of every door goes through here, in the same few steps.
//!
//! [`Gateway::admit`] decides on headers, before the body is read; [`Gateway::handle`] opens the record, asks
//! access for the permit, and sends. The steps are plain calls, in the order in which they must happen.

use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::call::{AgentName, Arrival, Call, CallId, Caller, Form, Peer, Reply, ReplyBody, TraceContext, WorkflowHint};
use crate::clock::Clock;
use crate::config::{Dialect, Settings};
use crate::error::{Error, Kind, Origin, Sent};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::operation::{Binding, Operation, Rpc, Version};
use crate::ownership::Ownership;
use crate::proto::AgentCard;
use crate::registry::{Agent, Registry};
use crate::routing::{Routing, TheirCard};
use crate::store::Store;
use crate::tasks::{Relay, Tasks};
use crate::wire::body::Budget;
use crate::wire::content;

mod admin;
mod directory;
mod push;
mod reload;
mod running;
mod watch;

use directory::Changes;
pub use push::Notification;
use running::Running;
pub use running::RunningTask;
use watch::Held;

/// Everything that a call passes.
///
/// What decides, sends and records is private: a door has no way to it but through the functions here.
pub struct Gateway {
    access: Arc<Access>,
    registry: Arc<Registry>,
    limits: Arc<Limits>,
    ledger: Ledger,
    routing: Arc<Routing>,
    ownership: Arc<Ownership>,
    tasks: Tasks,
    relay: Relay,
    store: Arc<Store>,
    /// The revisions of the store that are taken over; held by whoever takes over.
    known: tokio::sync::Mutex<[i64; 4]>,
    changes: Changes,
    running: Running,
    own_addresses: Vec<(AgentName, SocketAddr)>,
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
    pub ownership: Ownership,
    pub relay: Relay,
    pub store: Arc<Store>,
    /// The addresses at which one agent alone is called, as they were opened.
    pub own_addresses: Vec<(AgentName, SocketAddr)>,
    pub settings: Arc<Settings>,
    pub budget: Budget,
    pub clock: Clock,
    /// Cancelled when calls under way must end.
    pub ending: CancellationToken,
}

impl Gateway {
    pub fn new(parts: Parts) -> Self {
        let Parts {
            access,
            registry,
            ledger,
            routing,
            ownership,
            relay,
            store,
            own_addresses,
            settings,
            budget,
            clock,
            ending,
        } = parts;
        let (ownership, limits) = (Arc::new(ownership), Arc::new(Limits::new(clock)));
        let shared = (Arc::clone(&ownership), Arc::clone(&routing), Arc::clone(&limits), Arc::clone(&store));
        Self {
            tasks: Tasks::new(shared.0, shared.1, shared.2, shared.3, &settings.tasks, clock),
            ownership,
            access: Arc::new(access),
            registry: Arc::new(registry),
            limits,
            ledger,
            routing,
            relay,
            store,
            known: tokio::sync::Mutex::default(),
            changes: Changes::new(),
            running: Running::default(),
            own_addresses,
            settings,
            budget,
            clock,
            ending,
        }
    }

    /// Calls that are under way.
    pub fn open_calls(&self) -> usize {
        self.ledger.open_count()
    }

    /// The agent of this name, whoever may call it.
    pub fn agent(&self, name: &AgentName) -> Option<Arc<Agent>> {
        self.registry.find(name)
    }

    /// The agent's card if it was read before; never waits.
    pub fn known_card(&self, agent: &Agent) -> Option<Arc<AgentCard>> {
        self.routing.known_card(agent)
    }

    /// Where the agent alone is called by gRPC, if it has such an address.
    pub fn own_address(&self, agent: &Agent) -> Option<SocketAddr> {
        self.own_addresses.iter().find(|(name, _)| agent.is_called(&name.0)).map(|(_, address)| *address)
    }

    /// What was noted of the agent's dialect when its card was read; never waits.
    pub fn profile(&self, agent: &Agent) -> Dialect {
        self.routing.profile(agent)
    }

    /// Lets a request in, by its headers alone: who calls, and whether the agent exists for them. From here on the
    /// agent is called by its own name, whatever the caller called it.
    ///
    /// # Errors
    /// Unauthenticated, AgentNotFound, RateLimited.
    pub async fn admit(&self, arrival: &mut Arrival) -> Result<Caller, Error> {
        let caller = self.access.identify(&arrival.headers, arrival.source).await?;
        if let Err(error) = self.limits.count_request(&caller, self.access.team_rates(&caller)) {
            return Err(self.refuse(arrival, &caller, error));
        }
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
        let mut found: Option<Arc<Agent>> = None;
        for selector in &arrival.selectors {
            let agent = self.access.visible(&self.registry, caller, selector)?;
            if found.as_ref().is_some_and(|other| other.id != agent.id) {
                let message =
                    "the address, the a2a-agent header and the host name different agents: leave all but one out";
                return Err(Error::new(Kind::InvalidParams, message));
            }
            found = Some(agent);
        }
        Ok(found.as_ref().map(own_name))
    }

    /// The agent of an admitted request: the one that its head names, else the one that its tenant names, alone or
    /// before a slash, else, for gRPC, the default one.
    ///
    /// # Errors
    /// InvalidParams when nothing names an agent, AgentNotFound.
    pub fn addressed(&self, arrival: &Arrival, caller: &Caller, tenant: &str) -> Result<AgentName, Error> {
        if let Some(agent) = &arrival.agent {
            return Ok(agent.clone());
        }
        if tenant.is_empty()
            && let Some(usual) = self.settings.grpc_default_agent.as_ref().filter(|_| arrival.binding == Binding::Grpc)
        {
            return self.access.visible(&self.registry, caller, usual).map(|agent| own_name(&agent));
        }
        if tenant.is_empty() {
            let hint = "must name the agent, as its card says; or send the header a2a-agent, or call /a2a/{agent}/...";
            return Err(Error::invalid("tenant", hint));
        }
        let visible = |name: &str| self.access.visible(&self.registry, caller, &AgentName(name.into()));
        // The names of some agents have slashes in them.
        visible(tenant)
            .or_else(|error| tenant.split_once('/').map_or(Err(error), |(name, _)| visible(name)))
            .map(|agent| own_name(&agent))
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
    pub async fn handle(&self, call: &Call) -> Result<Reply, Error> {
        let record = self.ledger.open(call)?;
        // Boxed: where a connection has a task of its own, it would hold room for this as long as it is open.
        let answer = Box::pin(self.answer(call));
        let reply = tokio::select! {
            reply = answer => reply,
            () = self.ending.cancelled() => Err(restarting().sent_is(Sent::Maybe)),
        };
        record.follow(reply.map(|(reply, held)| self.until_the_end(reply, held, call)))
    }

    async fn answer(&self, call: &Call) -> Result<(Reply, Held), Error> {
        let agent = self.access.visible(&self.registry, &call.caller, &call.agent)?;
        let is_namespaced = self.ownership.is_namespaced(&agent);
        let renamed = if is_namespaced { Box::pin(self.ownership.namespaced(call, &agent)).await? } else { None };
        let client_context = renamed.as_ref().and(call.operation.context_id());
        let relayed = self.relay.outgoing(renamed.as_deref().unwrap_or(call), &agent)?;
        let as_sent = relayed.as_deref().or(renamed.as_deref()).unwrap_or(call);
        let permitted = self.access.permit(&self.ownership, agent, as_sent).await?;
        let reserved = self.limits.reserve(permitted)?;
        let reply = {
            let exchange = pin!(self.tasks.answer(&reserved, client_context));
            self.in_time(call.deadline, exchange).await
        };
        let agent = reserved.permitted().agent();
        let reply = if is_namespaced {
            Box::pin(self.ownership.renamed(reply?, &call.caller, agent))
                .await
                .map_err(|error| error.sent_is(Sent::Sent))?
        } else {
            reply?
        };
        let reply = self.without_our_address(reply, call, agent)?;
        let place = reply.meta.endpoint.clone().zip(reply.meta.binding).zip(reply.meta.version);
        // Here, so that the record knows of an answer that could not be translated, and whose it was.
        let reply = content::reply_in(reply, call.form).map_err(|error| match place {
            Some(((endpoint, binding), version)) => error.at(&endpoint, binding, version),
            None => error,
        });
        let agent = agent.id.clone();
        Ok((reply?, Held { agent, slots: reserved.into_slots() }))
    }

    /// A reply about push configurations with the caller's own addresses in it.
    fn without_our_address(&self, reply: Reply, call: &Call, agent: &Agent) -> Result<Reply, Error> {
        match (call.operation.rpc(), reply.body) {
            (Rpc::CreatePushConfig | Rpc::GetPushConfig | Rpc::ListPushConfigs, ReplyBody::One(answer)) => {
                let answer =
                    self.relay.incoming(answer, &call.caller, agent).map_err(|error| error.sent_is(Sent::Sent))?;
                Ok(Reply { meta: reply.meta, body: ReplyBody::One(answer) })
            }
            (_, body) => Ok(Reply { meta: reply.meta, body }),
        }
    }

    /// What comes of an exchange before the caller's deadline. Pinned by its caller: it is large, and an argument of an
    /// async function is in memory twice.
    async fn in_time<T>(
        &self,
        deadline: Option<Instant>,
        exchange: Pin<&mut impl Future<Output = Result<T, Error>>>,
    ) -> Result<T, Error> {
        match deadline {
            None => exchange.await,
            // A future that is polled once sends what it has to send.
            Some(deadline) if deadline <= self.clock.instant() => Err(too_late().sent_is(Sent::NotSent)),
            // Dropping the exchange at the deadline hangs up on the agent.
            Some(deadline) => {
                timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(too_late().sent_is(Sent::Maybe)))
            }
        }
    }

    /// A call that nobody sent: we make it in a caller's name.
    fn call_of_ours(
        &self,
        caller: Caller,
        agent: &Agent,
        operation: Operation,
        peer: Peer,
        patience: Duration,
    ) -> Call {
        let received = self.clock.instant();
        Call {
            id: CallId(self.clock.uuid()),
            caller,
            agent: AgentName(Arc::clone(&agent.id.0)),
            operation,
            raw: None,
            rpc_id: None,
            version: Version::V1_0,
            form: Form::Json(Version::V1_0),
            binding: Binding::JsonRpc,
            received,
            deadline: Some(received + patience),
            peer,
            forwardable: http::HeaderMap::new(),
            extensions: Vec::new(),
            trace: TraceContext::default(),
            workflow: WorkflowHint::default(),
            resume_after: None,
            parent: None,
            settings: Arc::clone(&self.settings),
        }
    }

    /// The agent that a request for a card names, and its own card.
    ///
    /// # Errors
    /// As [`Gateway::admit`].
    pub async fn card(&self, arrival: &mut Arrival) -> Result<(Arc<Agent>, TheirCard), Error> {
        let caller = self.access.identify(&arrival.headers, arrival.source).await?;
        if let Some(flaw) = arrival.flaw.take() {
            return Err(flaw);
        }
        let name = self
            .selected(arrival, &caller)?
            .ok_or_else(|| Error::new(Kind::PathNotFound, "the path names no agent"))?;
        let agent = self.access.visible(&self.registry, &caller, &name)?;
        let card = self.routing.card(&agent).await;
        Ok((agent, card))
    }

    /// Who sent these headers, for what is not about one agent.
    ///
    /// # Errors
    /// Unauthenticated, RateLimited, Overloaded.
    pub async fn identify(&self, headers: &http::HeaderMap, source: IpAddr) -> Result<Caller, Error> {
        let caller = self.access.identify(headers, source).await?;
        self.limits.count_request(&caller, self.access.team_rates(&caller))?;
        Ok(caller)
    }

    /// The agents that exist for `caller`.
    pub fn visible_agents(&self, caller: &Caller) -> Vec<Arc<Agent>> {
        let mut agents = self.registry.agents();
        agents.retain(|agent| self.access.may_call(caller, agent));
        agents
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
