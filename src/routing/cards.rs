//! The agents' cards: read when first needed, kept, and read again in the background.
//!
//! A hundred thousand agents must not be a hundred thousand fetches at start, and a slow card server must not slow
//! calls. So a card is read at its first use, once however many wait for it, a few at a time; afterwards an old card
//! serves until a new one is there. What cannot be read is made up from the entry, and tried again.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use foldhash::HashMap;
use futures_util::FutureExt as _;
use http::header::ACCEPT;
use http::{HeaderValue, Request};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

mod profile;

use super::endpoints::{as_the_entry_says, endpoints};
use crate::a2a::card;
use crate::clock::Clock;
use crate::config::{Dialect, Settings};
use crate::error::{Error, Kind, Sent};
use crate::operation::{Binding, Version};
use crate::outbound::{Destination, Outbound, OutboundError};
use crate::proto::AgentCard;
use crate::registry::{Agent, AgentId};
use crate::upstream::{Endpoint, Upstream};
use crate::wire::body::{self, Budget, Pace, Pieces};

/// Both paths under which agents publish their cards, the current one first.
const WELL_KNOWN: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];
/// Redirects of a card, all within its origin.
const REDIRECTS_MAX: usize = 2;
/// An agent that does not answer at all is asked again soon: it is probably starting.
const RETRY_UNREACHABLE: Duration = Duration::from_secs(1);

/// What is known of an agent from its card.
pub(super) struct Known {
    pub(super) card: Arc<AgentCard>,
    pub(super) endpoints: Vec<Endpoint>,
    /// What was noted of the agent's dialect.
    pub(super) profile: Dialect,
    good_until: Instant,
    /// Since when the card reads as it does.
    pub(super) changed_unix_micros: i64,
    /// There was no card to read; what is known comes from the entry.
    made_up: bool,
    /// Why the last attempt to read it failed.
    failure: Option<String>,
}

/// What is known of one value of an agent: an agent that changed has another one, and nothing of the old is used for it.
struct Slot {
    agent: Weak<Agent>,
    known: ArcSwapOption<Known>,
    /// Held by whoever reads the card.
    reading: Mutex<()>,
}

pub(super) struct Cards {
    slots: RwLock<HashMap<AgentId, Arc<Slot>>>,
    outbound: Arc<Outbound>,
    budget: Budget,
    clock: Clock,
    settings: Arc<Settings>,
    reads: Semaphore,
    stale: mpsc::Sender<Arc<Agent>>,
    stale_receiver: Mutex<mpsc::Receiver<Arc<Agent>>>,
}

impl Slot {
    fn of(agent: &Arc<Agent>) -> Arc<Self> {
        let (known, reading) = (ArcSwapOption::empty(), Mutex::default());
        Arc::new(Self { agent: Arc::downgrade(agent), known, reading })
    }
}

/// Why a card was not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot be reached")]
    Unreachable(#[source] OutboundError),
    #[error("{0}")]
    Unusable(String),
}

impl Cards {
    pub(super) fn new(outbound: Arc<Outbound>, upstream: &Upstream) -> Self {
        let (stale, stale_receiver) = mpsc::channel(1_024);
        Self {
            slots: RwLock::default(),
            outbound,
            budget: upstream.budget.clone(),
            clock: upstream.clock,
            settings: Arc::clone(&upstream.settings),
            reads: Semaphore::new(upstream.settings.cards.fetches_max),
            stale,
            stale_receiver: Mutex::new(stale_receiver),
        }
    }

    /// What is known of `agent`. Waits only for the first card.
    pub(super) async fn get(&self, agent: &Arc<Agent>) -> Arc<Known> {
        let slot = self.slot(agent);
        if let Some(known) = slot.known.load_full() {
            if known.good_until > self.clock.instant() {
                return known;
            }
            // An old card serves until a new one is there; a guess does not, for it may name the wrong version.
            // With a pinned version the guess is as good as the configuration.
            if !known.made_up || agent.settings.protocol_version.is_some() {
                // A full queue means that many are waiting already; the next use asks again.
                let _ = self.stale.try_send(Arc::clone(agent));
                return known;
            }
        }
        // If the caller leaves here, another one reads the card.
        let _reading = slot.reading.lock().await;
        if let Some(known) = slot.known.load_full().filter(|known| known.good_until > self.clock.instant()) {
            return known;
        }
        // In a box, for it is large and rare: the future of every call would be as large.
        Box::pin(self.read(agent, &slot)).await
    }

    /// What is known already.
    pub(super) fn known(&self, agent: &Agent) -> Option<Arc<Known>> {
        let slots = self.slots.read().expect("no code panics while holding this");
        slots.get(&agent.id).filter(|slot| std::ptr::eq(slot.agent.as_ptr(), agent))?.known.load_full()
    }

    /// Reads aged cards until `stop`, a few at a time.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let mut stale = self.stale_receiver.lock().await;
        let mut reads = futures_util::stream::FuturesUnordered::new();
        loop {
            let may_read = reads.len() < self.settings.cards.fetches_max;
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = futures_util::StreamExt::next(&mut reads), if !reads.is_empty() => {}
                // A card that makes us panic must not end the refreshing of all others.
                Some(agent) = stale.recv(), if may_read => {
                    reads.push(AssertUnwindSafe(self.refresh(agent)).catch_unwind().map(|_| ()));
                }
            }
        }
    }

    async fn refresh(&self, agent: Arc<Agent>) {
        let slot = self.slot(&agent);
        let Ok(_reading) = slot.reading.try_lock() else { return };
        let is_stale = slot.known.load().as_ref().is_none_or(|known| known.good_until <= self.clock.instant());
        if is_stale {
            self.read(&agent, &slot).await;
        }
    }

    /// Forgets an agent that changed or is gone. Whoever reads its card just now keeps what they read to themselves.
    pub(super) fn forget(&self, agent: &AgentId) {
        let mut slots = self.slots.write().expect("no code panics while holding this");
        slots.remove(agent);
        // A late call may have put one back for an agent that was gone already.
        slots.retain(|_, slot| slot.agent.strong_count() > 0);
    }

    /// Reads a card now, whatever is known.
    ///
    /// # Errors
    /// UpstreamUnavailable with the reason, when it cannot be read; what was known stays.
    pub(super) async fn read_now(&self, agent: &Arc<Agent>) -> Result<Arc<AgentCard>, Error> {
        let slot = self.slot(agent);
        let _reading = slot.reading.lock().await;
        if places(agent).is_empty() {
            let message = "the agent is called by gRPC and has no card_url, so there is nowhere to look for its card";
            return Err(Error::new(Kind::UpstreamUnavailable, message));
        }
        let known = Box::pin(self.read(agent, &slot)).await;
        match &known.failure {
            None => Ok(Arc::clone(&known.card)),
            Some(reason) => {
                let message = format!("the agent's card {reason}");
                Err(Error::new(Kind::UpstreamUnavailable, message).sent_is(Sent::NotSent))
            }
        }
    }

    /// The card of an agent of which nothing is to be kept, and where it was.
    ///
    /// # Errors
    /// Why there is none that can be read.
    pub(super) async fn discover(&self, agent: &Agent) -> Result<(String, AgentCard), String> {
        match self.find(agent).await {
            Ok((url, card)) => Ok((url.to_string(), card)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn slot(&self, agent: &Arc<Agent>) -> Arc<Slot> {
        let is_its_own = |slot: &Arc<Slot>| std::ptr::eq(slot.agent.as_ptr(), Arc::as_ptr(agent));
        let slots = self.slots.read().expect("no code panics while holding this");
        if let Some(slot) = slots.get(&agent.id).filter(|slot| is_its_own(slot)) {
            return Arc::clone(slot);
        }
        drop(slots);
        let mut slots = self.slots.write().expect("no code panics while holding this");
        match slots.get(&agent.id) {
            Some(slot) if is_its_own(slot) => Arc::clone(slot),
            // Two values of one agent are in use for a moment, and nobody here knows which is the newer one: the one that
            // is there stays until it is gone.
            Some(slot) if slot.agent.strong_count() > 0 => Slot::of(agent),
            _ => {
                let slot = Slot::of(agent);
                slots.insert(agent.id.clone(), Arc::clone(&slot));
                slot
            }
        }
    }

    async fn read(&self, agent: &Arc<Agent>, slot: &Slot) -> Arc<Known> {
        let settings = &self.settings.cards;
        let read = self.find(agent).await;
        let now = self.clock.instant();
        let (wall_clock, before) = (self.clock.unix_micros(), slot.known.load_full());
        let changed = |card: &AgentCard| match &before {
            Some(before) if *before.card == *card => before.changed_unix_micros,
            _ => wall_clock,
        };
        let known = match read {
            Ok((_, card)) => {
                let profile = self.profile(agent, &card).await;
                Known {
                    endpoints: endpoints(agent, Some(&card), profile, &self.outbound),
                    profile,
                    changed_unix_micros: changed(&card),
                    card: Arc::new(card),
                    good_until: now + settings.lifetime,
                    made_up: false,
                    failure: None,
                }
            }
            Err(error) => {
                let retry = match &error {
                    ReadError::Unreachable(_) => RETRY_UNREACHABLE.min(settings.retry),
                    ReadError::Unusable(_) => settings.retry,
                };
                if let Some(old) = before.as_ref().filter(|known| !known.made_up) {
                    Known {
                        card: Arc::clone(&old.card),
                        endpoints: old.endpoints.clone(),
                        profile: old.profile,
                        good_until: now + retry,
                        changed_unix_micros: old.changed_unix_micros,
                        made_up: false,
                        failure: Some(error.to_string()),
                    }
                } else {
                    let made_up = without_card(agent, &self.outbound, &error, now + retry);
                    Known { changed_unix_micros: changed(&made_up.card), ..made_up }
                }
            }
        };
        let known = Arc::new(known);
        slot.known.store(Some(Arc::clone(&known)));
        known
    }

    /// The first readable card among the places where it may be.
    async fn find(&self, agent: &Agent) -> Result<(Url, AgentCard), ReadError> {
        let mut failure = ReadError::Unusable("there is no place to look for it".to_owned());
        for url in places(agent) {
            // A turn for each read: hosts that answer nothing must not keep the others from theirs for long.
            let turn = self.reads.acquire().await.expect("the semaphore is never closed");
            let read = timeout(self.settings.cards.timeout, self.fetch(agent, &url)).await;
            drop(turn);
            match read {
                Ok(Ok(card)) => return Ok((url, card)),
                // The host is away: its other paths are too.
                Ok(Err(error @ ReadError::Unreachable(_))) => return Err(error),
                Ok(Err(error)) => failure = error,
                Err(_) => return Err(ReadError::Unusable("does not arrive in time".to_owned())),
            }
        }
        Err(failure)
    }

    async fn fetch(&self, agent: &Agent, url: &Url) -> Result<AgentCard, ReadError> {
        let unusable = |why: String| ReadError::Unusable(why);
        let to = Destination::registered(url).map_err(ReadError::Unreachable)?;
        let mut to = as_the_entry_says(agent, to);
        for _ in 0..=REDIRECTS_MAX {
            let mut request = Request::new(Pieces::empty());
            if registered_origin(agent, &to) {
                *request.headers_mut() = agent.settings.headers.clone();
            }
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
            request.headers_mut().insert("a2a-version", HeaderValue::from_static(Version::V1_0.as_str()));
            let response = self.outbound.send(&to, request).await.map_err(ReadError::Unreachable)?;
            if response.status().is_redirection() {
                let next = to.redirected(response.headers());
                to = next.ok_or_else(|| unusable("redirects to another origin".to_owned()))?;
                continue;
            }
            if !response.status().is_success() {
                return Err(unusable(format!("is answered with HTTP {}", response.status().as_u16())));
            }
            if body::is_encoded(response.headers()) {
                return Err(unusable("is compressed, which was not asked for".to_owned()));
            }
            let pace = Pace {
                bytes_max: self.settings.cards.bytes_max,
                pause_max: self.settings.cards.timeout,
                bytes_per_second_min: 0,
            };
            let whole = body::read(response.into_body(), pace, &self.budget, self.clock.instant()).await;
            let whole = whole.map_err(|error| unusable(error.to_string()))?;
            return card::read(&whole).map_err(|error| unusable(format!("is malformed at {error}")));
        }
        Err(unusable("redirects too often".to_owned()))
    }
}

/// Credentials go to the registered origin only.
fn registered_origin(agent: &Agent, to: &Destination) -> bool {
    to.at(&agent.settings.url).is_some()
}

/// Where the card may be: where the entry says, else under the agent's address, else at its origin, where most are.
fn places(agent: &Agent) -> Vec<Url> {
    if let Some(url) = &agent.settings.card_url {
        return vec![url.clone()];
    }
    if agent.settings.url_binding == Some(Binding::Grpc) {
        // gRPC alone is served there, which has no card without a key of its own.
        return Vec::new();
    }
    let url = &agent.settings.url;
    let base = url.path().trim_end_matches('/');
    let bases = if base.is_empty() { vec![""] } else { vec![base, ""] };
    let paths = bases.iter().flat_map(|base| WELL_KNOWN.map(|path| format!("{base}{path}")));
    paths
        .map(|path| {
            let mut place = url.clone();
            place.set_path(&path);
            place.set_query(None);
            place.set_fragment(None);
            place
        })
        .collect()
}

fn without_card(agent: &Agent, outbound: &Outbound, error: &ReadError, good_until: Instant) -> Known {
    let endpoints = endpoints(agent, None, Dialect::default(), outbound);
    let (version, binding) = (endpoints[0].version, endpoints[0].binding.as_str());
    if places(agent).is_empty() {
        let card = card::synthesised(agent.name(), &agent.settings.description);
        return Known {
            card: Arc::new(card),
            endpoints,
            profile: Dialect::default(),
            good_until,
            changed_unix_micros: 0,
            made_up: true,
            failure: None,
        };
    }
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::warn!(agent = agent.name(), reason = %error, source, %version, binding,
        "the agent's card cannot be read; it is called as shown. Set card_url, or bindings and protocol_version");
    let card = card::synthesised(agent.name(), &agent.settings.description);
    let failure = Some(error.to_string());
    let profile = Dialect::default();
    Known { card: Arc::new(card), endpoints, profile, good_until, changed_unix_micros: 0, made_up: true, failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_under_the_url_then_at_its_origin() {
        let found = |entry: &str| {
            let settings = crate::config::parse(&format!("master_key: sk-1\nagents:\n- {entry}"), &|_| None).unwrap();
            places(&crate::registry::Registry::new(&settings.agents).agents()[0])
                .iter()
                .map(Url::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found("{name: a, url: 'http://h:1/x/rpc/?k=v'}"),
            [
                "http://h:1/x/rpc/.well-known/agent-card.json",
                "http://h:1/x/rpc/.well-known/agent.json",
                "http://h:1/.well-known/agent-card.json",
                "http://h:1/.well-known/agent.json",
            ]
        );
        assert_eq!(found("{name: a, url: 'http://h:1'}").len(), 2);
        assert_eq!(found("{name: a, url: 'http://h:1', card_url: 'http://c/card'}"), ["http://c/card"]);
    }
}
