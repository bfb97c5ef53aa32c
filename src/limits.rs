//! How much a key, a team and an agent may use: requests per minute, calls at once, streams at once.
//!
//! A request is counted when its caller is known, before its body is read; a call reserves its slots before it is sent,
//! and holds them until its answer is there, a stream until its last event or until its caller has gone. All slots are
//! taken or none is. Counts are this process's own: with several gateways each has its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use tokio::time::Instant;

use crate::access::Permitted;
use crate::call::{Caller, KeyId, TeamId};
use crate::clock::Clock;
use crate::config::Rates;
use crate::error::{Error, Kind};
use crate::registry::{Agent, AgentId};

mod window;

use window::Window;

/// When a slot may be free again: calls are of any length, so this is a guess.
const RETRY_SLOT: Duration = Duration::from_secs(1);
/// Up to here, meters that nobody uses are left where they are.
const METERS_MIN: usize = 16_384;

/// Whose use is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Key(KeyId),
    Team(TeamId),
    Agent(AgentId),
}

impl Subject {
    const fn noun(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Team(_) => "team",
            Self::Agent(_) => "agent",
        }
    }
}

/// What one subject uses now.
#[derive(Debug, Default)]
struct Meter {
    requests: Mutex<Window>,
    calls: AtomicU32,
    streams: AtomicU32,
    notifications: AtomicU32,
}

/// What a slot is for.
#[derive(Clone, Copy, Debug)]
enum Use {
    Call,
    Stream,
    Notification,
}

impl Use {
    const fn noun(self) -> &'static str {
        match self {
            Self::Call => "calls",
            Self::Stream => "streams",
            Self::Notification => "notifications",
        }
    }
}

/// The meters of all who have a limit.
#[derive(Debug)]
pub struct Limits {
    meters: Mutex<Meters>,
    clock: Clock,
}

#[derive(Debug)]
struct Meters {
    by_subject: HashMap<Subject, Arc<Meter>>,
    /// How many there are when those that nobody uses are thrown away next; twice what was left the last time, so that
    /// it costs each new one little.
    swept_at: usize,
}

/// A permitted call that has its slots. Routing and upstreams take nothing else.
#[derive(Debug)]
pub struct Reserved<'a> {
    permitted: Permitted<'a>,
    slots: Slots,
}

impl<'a> Reserved<'a> {
    pub fn permitted(&self) -> &Permitted<'a> {
        &self.permitted
    }

    /// The slots alone, for as long as the reply goes on.
    pub fn into_slots(self) -> Slots {
        self.slots
    }
}

/// Slots of one call. Dropping them gives them back.
#[derive(Debug, Default)]
pub struct Slots {
    _held: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    meter: Arc<Meter>,
    of: Use,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.meter.count(self.of).fetch_sub(1, Ordering::AcqRel);
    }
}

impl Meter {
    fn count(&self, of: Use) -> &AtomicU32 {
        match of {
            Use::Call => &self.calls,
            Use::Stream => &self.streams,
            Use::Notification => &self.notifications,
        }
    }

    /// A slot, unless `max` are taken; 0 is no limit.
    fn slot(self: &Arc<Self>, of: Use, max: u32) -> Option<Slot> {
        let taken = self.count(of).fetch_add(1, Ordering::AcqRel);
        // Made first, so that it gives back what it took.
        let slot = Slot { meter: Arc::clone(self), of };
        (max == 0 || taken < max).then_some(slot)
    }
}

impl Limits {
    pub fn new(clock: Clock) -> Self {
        let meters = Meters { by_subject: HashMap::new(), swept_at: METERS_MIN };
        Self { meters: Mutex::new(meters), clock }
    }

    /// Counts a request of `caller`, whose team may use `team`.
    ///
    /// # Errors
    /// RateLimited with the limit that was hit and when to come back; then nothing was counted.
    pub fn count_request(&self, caller: &Caller, team: Option<Rates>) -> Result<(), Error> {
        let now = self.clock.instant();
        let of_key = caller.rates.requests_per_minute_max;
        let of_team = team.map_or(0, |team| team.requests_per_minute_max);
        if of_key > 0 {
            self.count(Subject::Key(caller.key.clone()), of_key, now)?;
        }
        if let Some(team) = caller.team.as_ref().filter(|_| of_team > 0) {
            let counted = self.count(Subject::Team(team.clone()), of_team, now);
            if counted.is_err() && of_key > 0 {
                let key = self.meter(Subject::Key(caller.key.clone()));
                key.requests.lock().expect("no code panics while holding this").take_back();
            }
            return counted;
        }
        Ok(())
    }

    fn count(&self, subject: Subject, max: u32, now: Instant) -> Result<(), Error> {
        let noun = subject.noun();
        let meter = self.meter(subject);
        let mut window = meter.requests.lock().expect("no code panics while holding this");
        window.count(now, max).map_err(|after| {
            let message = format!("the {noun} may make {max} requests per minute, and has");
            refused(message, format!("{noun}.requests_per_minute_max"), max, after)
        })
    }

    /// Counts the request against its agent, and takes the slots of a permitted call.
    ///
    /// # Errors
    /// RateLimited with the limit that was hit and when to come back; then no slot is taken.
    pub fn reserve<'a>(&self, permitted: Permitted<'a>) -> Result<Reserved<'a>, Error> {
        let is_stream = permitted.call().operation.rpc().method().streams;
        let slots = self.slots(&permitted, if is_stream { &[Use::Call, Use::Stream] } else { &[Use::Call] })?;
        let of_agent = permitted.agent().settings.rates.requests_per_minute_max;
        if of_agent > 0 {
            self.count(Subject::Agent(permitted.agent().id.clone()), of_agent, self.clock.instant())?;
        }
        Ok(Reserved { permitted, slots })
    }

    fn slots(&self, permitted: &Permitted<'_>, uses: &[Use]) -> Result<Slots, Error> {
        let caller = &permitted.call().caller;
        let agent: &Agent = permitted.agent();
        let of_agent = agent.settings.rates;
        let team = caller.team.as_ref().zip(permitted.team_rates());
        let subjects = [
            (caller.rates != Rates::default()).then(|| (Subject::Key(caller.key.clone()), caller.rates)),
            team.map(|(id, rates)| (Subject::Team(id.clone()), rates)).filter(|(_, rates)| *rates != Rates::default()),
            (of_agent != Rates::default()).then(|| (Subject::Agent(agent.id.clone()), of_agent)),
        ];
        let mut slots = Vec::new();
        for (subject, rates) in subjects.into_iter().flatten() {
            let noun = subject.noun();
            let meter = self.meter(subject);
            for of in uses.iter().copied() {
                let (max, key) = match of {
                    Use::Stream => (rates.streams_max, "streams_max"),
                    Use::Call | Use::Notification => (rates.calls_max, "calls_max"),
                };
                let slot = meter.slot(of, max).ok_or_else(|| {
                    let message = format!("the {noun} may have {max} {} under way at once, and has", of.noun());
                    refused(message, format!("{noun}.{key}"), max, RETRY_SLOT)
                })?;
                slots.push(slot);
            }
        }
        Ok(Slots { _held: slots })
    }

    /// Takes the slots of a notification: key, team and agent may have as many at once as calls, beside these, for a
    /// call that is under way is what brings most of them. It is nobody's request, so none is counted.
    ///
    /// # Errors
    /// RateLimited as [`Limits::reserve`].
    pub fn reserve_notification<'a>(&self, permitted: Permitted<'a>) -> Result<Reserved<'a>, Error> {
        let slots = self.slots(&permitted, &[Use::Notification])?;
        Ok(Reserved { permitted, slots })
    }

    /// Counts a part of a permitted call as a request of key, team and agent. It has the slots of the whole.
    ///
    /// # Errors
    /// RateLimited with the limit that was hit.
    pub fn part<'a>(&self, permitted: Permitted<'a>) -> Result<Reserved<'a>, Error> {
        let max = permitted.agent().settings.rates.requests_per_minute_max;
        if max > 0 {
            self.count(Subject::Agent(permitted.agent().id.clone()), max, self.clock.instant())?;
        }
        self.count_request(&permitted.call().caller, permitted.team_rates())?;
        Ok(Reserved { slots: Slots::default(), permitted })
    }

    /// How many parts of a permitted call may be under way at once: as many as key, team and agent may have calls.
    pub fn parts_at_once(permitted: &Permitted<'_>, usual: usize) -> usize {
        let rates =
            [Some(permitted.call().caller.rates), permitted.team_rates(), Some(permitted.agent().settings.rates)];
        let calls = rates.into_iter().flatten().map(|rates| rates.calls_max as usize).filter(|max| *max > 0);
        calls.min().unwrap_or(usual).min(usual)
    }

    /// What is not held to anybody's limits: an emergency stop.
    pub fn without(permitted: Permitted<'_>) -> Reserved<'_> {
        Reserved { permitted, slots: Slots::default() }
    }

    fn meter(&self, subject: Subject) -> Arc<Meter> {
        let mut meters = self.meters.lock().expect("no code panics while holding this");
        if meters.by_subject.len() >= meters.swept_at {
            let now = self.clock.instant();
            meters.by_subject.retain(|_, meter| {
                let requests = meter.requests.lock().expect("no code panics while holding this");
                Arc::strong_count(meter) > 1 || !requests.is_empty(now)
            });
            meters.swept_at = METERS_MIN.max(2 * meters.by_subject.len());
        }
        Arc::clone(meters.by_subject.entry(subject).or_default())
    }
}

/// What was hit goes along for programs; HTTP's doors make headers of it.
fn refused(message: String, limit: String, max: u32, after: Duration) -> Error {
    Error::new(Kind::RateLimited, message).retry_after_is(after).info("limit", limit).info("limitMax", max.to_string())
}
