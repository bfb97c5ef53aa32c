//! From an agent to one of its endpoints: what its card says, as far as the operator trusts it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::access::Permitted;
use crate::call::Reply;
use crate::error::Error;
use crate::limits::Reserved;
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
        self.upstream.send(reserved, choose(&known.endpoints, permitted)).await
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

/// The endpoint that fits a call: the one where its task or context lives; else in the caller's own version where the agent offers it, and among those, unless the
/// operator has a preference, in the caller's own binding, or else spelling. Then nothing needs to be translated.
fn choose<'a>(endpoints: &'a [Endpoint], permitted: &Permitted<'_>) -> &'a Endpoint {
    let (call, home) = (permitted.call(), permitted.named().home());
    let is_ordered = !permitted.agent().settings.bindings.is_empty();
    let fitness = |endpoint: &Endpoint| {
        let is_home = home.is_some_and(|home| endpoint.is_home(home));
        let same_version = endpoint.version == call.version;
        let fits = |fits: bool| !is_ordered && fits;
        (is_home, same_version, fits(endpoint.form() == call.form), fits(endpoint.binding == call.binding))
    };
    // The first one of the best.
    endpoints.iter().rev().max_by_key(|endpoint| fitness(endpoint)).expect("every agent has an endpoint")
}
