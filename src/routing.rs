//! From an agent to one of its endpoints: what its card says, as far as the operator trusts it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::access::Permitted;
use crate::call::Reply;
use crate::error::Error;
use crate::operation::Version;
use crate::proto::AgentCard;
use crate::registry::{Agent, Registry};
use crate::upstream::{Endpoint, Upstream};

mod cards;
mod endpoints;

use cards::Cards;

/// Sends permitted calls to endpoints.
pub struct Routing {
    upstream: Upstream,
    cards: Cards,
}

impl Routing {
    pub fn new(upstream: Upstream, registry: &Registry) -> Self {
        let cards = Cards::new(Arc::clone(&upstream.outbound), &upstream, registry);
        Self { upstream, cards }
    }

    /// Makes the call at the endpoint that fits it best. It is sent at most once.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn send(&self, permitted: &Permitted<'_>) -> Result<Reply, Error> {
        let known = self.cards.get(permitted.agent()).await;
        let endpoint = choose(&known.endpoints, permitted.call().version);
        self.upstream.send(permitted, endpoint).await
    }

    /// The agent's own card, or one made up from its entry when it cannot be read.
    pub async fn card(&self, agent: &Arc<Agent>) -> Arc<AgentCard> {
        Arc::clone(&self.cards.get(agent).await.card)
    }

    /// The agent's card if it was read before; never waits.
    pub fn known_card(&self, agent: &Agent) -> Option<Arc<AgentCard>> {
        self.cards.known(agent).map(|known| Arc::clone(&known.card))
    }

    /// Reads cards again as they age, and closes idle connections, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(self.cards.run(stop.clone()), self.upstream.outbound.run(stop));
    }
}

/// The caller's own version where the agent offers it: then nothing needs to be translated.
fn choose(endpoints: &[Endpoint], version: Version) -> &Endpoint {
    let same = endpoints.iter().find(|endpoint| endpoint.version == version);
    same.or_else(|| endpoints.first()).expect("every agent has an endpoint")
}
