//! From an agent to one of its endpoints: what its card says, as far as the operator trusts it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::access::Permitted;
use crate::call::Reply;
use crate::config::Dialect;
use crate::error::{Error, Kind, Sent};
use crate::limits::Reserved;
use crate::operation::{Binding, Version};
use crate::proto::AgentCard;
use crate::registry::{Agent, AgentId};
use crate::upstream::{Endpoint, Upstream};

mod cards;
mod endpoints;

use cards::Cards;

/// An agent's card, as the agent wrote it.
pub struct TheirCard {
    pub card: Arc<AgentCard>,
    /// Since when it reads as it does, as far as we have seen.
    pub changed_unix_micros: i64,
}

/// Sends permitted calls to endpoints.
pub struct Routing {
    upstream: Upstream,
    cards: Cards,
}

impl Routing {
    pub fn new(upstream: Upstream) -> Self {
        let cards = Cards::new(Arc::clone(&upstream.outbound), &upstream);
        Self { upstream, cards }
    }

    /// Makes the call at the endpoint that fits it best. It is sent at most once.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn send(&self, reserved: &Reserved<'_>) -> Result<Reply, Error> {
        let permitted = reserved.permitted();
        let known = self.cards.get(permitted.agent()).await;
        let chosen = choose(&known.endpoints, permitted);
        let failed = match self.upstream.send(reserved, chosen).await {
            Err(error) if was_not_reached(&error) => error,
            sent => return sent,
        };
        // Nothing was sent, so another interface of the same agent may be tried, in the order in which they fit.
        let mut others: Vec<&Endpoint> = known.endpoints.iter().filter(|other| !std::ptr::eq(*other, chosen)).collect();
        others.sort_by_key(|other| std::cmp::Reverse(fitness(other, permitted)));
        for other in others.into_iter().filter(|other| other.destination.uri() != chosen.destination.uri()) {
            match self.upstream.send(reserved, other).await {
                Err(error) if was_not_reached(&error) => {}
                sent => return sent,
            }
        }
        Err(failed)
    }

    /// That the tenant of a call is one that the agent has, for calls that are not sent.
    ///
    /// # Errors
    /// As [`Endpoint::tenant_for`].
    pub async fn check_tenant(&self, permitted: &Permitted<'_>) -> Result<(), Error> {
        let known = self.cards.get(permitted.agent()).await;
        choose(&known.endpoints, permitted).tenant_for(permitted).map(drop)
    }

    /// The agent's own card, or one made up from its entry when it cannot be read.
    pub async fn card(&self, agent: &Arc<Agent>) -> TheirCard {
        let known = self.cards.get(agent).await;
        TheirCard { card: Arc::clone(&known.card), changed_unix_micros: known.changed_unix_micros }
    }

    /// The agent's card if it was read before; never waits.
    pub fn known_card(&self, agent: &Agent) -> Option<Arc<AgentCard>> {
        self.cards.known(agent).map(|known| Arc::clone(&known.card))
    }

    /// What was noted of the agent's dialect when its card was read; never waits.
    pub fn profile(&self, agent: &Agent) -> Dialect {
        self.cards.known(agent).map(|known| known.profile).unwrap_or_default()
    }

    /// Why nobody may name this address over the API, if nobody may.
    pub fn refuses_address(&self, url: &Url) -> Option<String> {
        self.upstream.outbound.claimed(url).err().map(|error| error.to_string())
    }

    /// The card of an agent that is not registered, and where it was.
    ///
    /// # Errors
    /// Why there is none that can be read.
    pub async fn discover(&self, agent: &Agent) -> Result<(String, AgentCard), String> {
        self.cards.discover(agent).await
    }

    /// Forgets what was read of an agent that changed or is gone.
    pub fn forget(&self, agent: &AgentId) {
        self.cards.forget(agent);
    }

    /// Reads the agent's card now, whatever is known.
    ///
    /// # Errors
    /// UpstreamUnavailable when there is none that can be read.
    pub async fn refresh_card(&self, agent: &Arc<Agent>) -> Result<Arc<AgentCard>, Error> {
        self.cards.read_now(agent).await
    }

    /// Reads cards again as they age, and closes idle connections, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(self.cards.run(stop.clone()), self.upstream.outbound.run(stop));
    }
}

/// Whether a call failed because its endpoint could not be connected to.
fn was_not_reached(error: &Error) -> bool {
    error.kind() == Kind::UpstreamUnavailable && error.sent() == Sent::NotSent
}

/// The endpoint that fits a call best, and of several that do the first one.
fn choose<'a>(endpoints: &'a [Endpoint], permitted: &Permitted<'_>) -> &'a Endpoint {
    endpoints.iter().rev().max_by_key(|endpoint| fitness(endpoint, permitted)).expect("every agent has an endpoint")
}

/// How well an endpoint fits a call: the one where its task or context lives; else in the caller's own version where the
/// agent offers it, and among those, unless the operator has a preference, in the caller's own binding, or else spelling.
/// Then nothing needs to be translated.
fn fitness(endpoint: &Endpoint, permitted: &Permitted<'_>) -> (bool, bool, bool, bool) {
    let (call, home) = (permitted.call(), permitted.named().home());
    let is_ordered = !permitted.agent().settings.bindings.is_empty();
    let is_home = home.is_some_and(|home| endpoint.is_home(home));
    let same_version = endpoint.version == call.version;
    let fits = |fits: bool| !is_ordered && fits;
    let same_form = endpoint.form().reads(call.form);
    // Where it must be translated to 0.3, JSON-RPC has room for most.
    let binding = if endpoint.version == Version::V0_3 && !same_form { Binding::JsonRpc } else { call.binding };
    (is_home, same_version, fits(same_form), fits(endpoint.binding == binding))
}
