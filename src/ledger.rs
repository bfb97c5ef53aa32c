//! The book: one record for each call, opened before the call is made and closed when its last byte has left.
//!
//! [`Ledger::open`] takes a slot of the writer's queue, so that closing, also from a `Drop`, cannot fail. Today the
//! writer prints a line of JSON; the store will fill the same interface.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::Instant;

use crate::call::{AgentName, Arrival, Call, CallId, Caller, Event, EventStream, Peek, Reply, ReplyBody, ReplyMeta};
use crate::clock::{self, Clock};
use crate::error::{Error, Kind, Origin, Sent};
use crate::operation::{Binding, Version};
use crate::proto::TaskState;

mod writer;

pub use writer::{Sink, Writer};

/// The longest account of a failure.
const DETAIL_CHARS_MAX: usize = 1_000;
/// What the record of a push notification has in place of an operation.
const PUSH_NOTIFICATION: &str = "PushNotification";

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The caller has its answer, or its whole stream.
    Answered,
    /// The caller was told why not.
    Failed,
    /// The caller left first.
    Canceled,
    /// We broke.
    Panicked,
}

/// One call as the book has it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub time: String,
    pub call_id: String,
    pub key_id: Arc<str>,
    pub caller: Arc<str>,
    /// None when the request named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Arc<str>>,
    /// None when the request did not get so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'static str>,
    pub binding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_binding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    pub outcome: Outcome,
    /// The reason in the error table, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// Who has to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// Whether the agent has the request, when it failed: not_sent, maybe or sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<&'static str>,
    /// What happened, with its causes: for the operator, who may read addresses that callers may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub attempts: u32,
    pub events: u64,
    /// From arrival to the agent's first answer or event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_answer_us: Option<u64>,
    pub total_us: u64,
}

/// What is known of a push notification before it is read.
pub struct Notified<'a> {
    pub id: CallId,
    pub caller: &'a Caller,
    pub agent: &'a AgentName,
    /// The version in which it goes on.
    pub version: Version,
    /// Scheme, host and port of where it goes.
    pub webhook: &'a str,
    pub received: Instant,
}

/// The book's front desk.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Box<Entry>>,
    open: Arc<AtomicUsize>,
    clock: Clock,
}

/// An open record. Dropping it closes it: the caller left.
pub struct Record {
    /// Taken when the record is closed.
    open_entry: Option<(OwnedPermit<Box<Entry>>, Box<Entry>)>,
    received: Instant,
    clock: Clock,
    open: Arc<AtomicUsize>,
}

impl Ledger {
    /// A ledger whose queue holds `calls_max` records, and its writer, which must be run.
    pub fn new(calls_max: usize, sink: Sink, clock: Clock) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(calls_max);
        (Self { queue: sender, open: Arc::default(), clock }, Writer::new(receiver, sink))
    }

    /// How many records are open: the calls under way.
    pub fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Opens the record of `call`.
    ///
    /// # Errors
    /// Overloaded when as many calls are under way, or records unwritten, as the queue has slots; nothing was sent.
    pub fn open(&self, call: &Call) -> Result<Record, Error> {
        let entry = Entry {
            task_id: call.operation.task_id().map(str::to_owned),
            context_id: call.operation.context_id().map(str::to_owned),
            ..self.entry(call.id, &call.caller, Some(&call.agent), call.binding)
        };
        self.record(
            Entry {
                operation: Some(call.operation.method().name),
                caller_version: Some(call.version.as_str()),
                ..entry
            },
            call.received,
        )
    }

    /// Records a request of a known caller that never became a call. When the queue is full it goes unrecorded: it
    /// cost nothing and reached nobody.
    pub fn refuse(&self, arrival: &Arrival, caller: &Caller, error: &Error) {
        let entry =
            self.entry(arrival.id, caller, arrival.agent.as_ref().or(arrival.selectors.first()), arrival.binding);
        if let Ok(mut record) = self.record(entry, arrival.received) {
            record.fail(error);
        }
    }

    /// Opens the record of a push notification, which an agent sent because `caller` asked for it.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn notified(&self, notified: &Notified<'_>) -> Result<Record, Error> {
        let entry = self.entry(notified.id, notified.caller, Some(notified.agent), Binding::HttpJson);
        let entry = Entry {
            operation: Some(PUSH_NOTIFICATION),
            caller_version: Some(notified.version.as_str()),
            endpoint: Some(notified.webhook.into()),
            ..entry
        };
        self.record(entry, notified.received)
    }

    fn record(&self, entry: Entry, received: Instant) -> Result<Record, Error> {
        let slot = self.queue.clone().try_reserve_owned().map_err(|_| {
            Error::new(Kind::Overloaded, "too many calls are under way: try again")
                .retry_after_is(Duration::from_secs(1))
        })?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Record {
            open_entry: Some((slot, Box::new(entry))),
            received,
            clock: self.clock,
            open: Arc::clone(&self.open),
        })
    }

    fn entry(&self, id: CallId, caller: &Caller, agent: Option<&AgentName>, binding: Binding) -> Entry {
        Entry {
            time: clock::rfc3339(self.clock.unix_micros()),
            call_id: id.to_string(),
            key_id: Arc::clone(&caller.key.0),
            caller: Arc::clone(&caller.name),
            agent: agent.map(|agent| Arc::clone(&agent.0)),
            operation: None,
            binding: binding.as_str(),
            caller_version: None,
            endpoint: None,
            agent_binding: None,
            agent_version: None,
            task_id: None,
            context_id: None,
            state: None,
            outcome: Outcome::Canceled,
            error: None,
            fault: None,
            sent: None,
            detail: None,
            attempts: 0,
            events: 0,
            first_answer_us: None,
            total_us: 0,
        }
    }
}

impl Record {
    /// Keeps the record open for as long as the reply lasts: a unary one is closed now, a stream at its end.
    ///
    /// # Errors
    /// The call's own.
    pub fn follow(mut self, reply: Result<Reply, Error>) -> Result<Reply, Error> {
        match reply {
            Err(error) => {
                self.fail(&error);
                Err(error)
            }
            Ok(Reply { meta, body: ReplyBody::One(answer) }) => {
                self.meet(&meta);
                self.note(&answer.peek);
                self.entry().outcome = Outcome::Answered;
                drop(self);
                Ok(Reply { meta, body: ReplyBody::One(answer) })
            }
            Ok(Reply { meta, body: ReplyBody::Stream(events) }) => {
                self.meet(&meta);
                let followed = Followed { events, record: self };
                Ok(Reply { meta, body: ReplyBody::Stream(Box::pin(followed)) })
            }
        }
    }

    /// Closes the record of a push notification: what it told, how often it was sent on, and what came of that.
    ///
    /// # Errors
    /// The notification's own.
    pub fn close(mut self, told: Option<&Peek>, attempts: u32, handed_on: Result<(), Error>) -> Result<(), Error> {
        if let Some(peek) = told {
            self.note(peek);
        }
        self.entry().attempts = attempts;
        match &handed_on {
            Ok(()) => self.entry().outcome = Outcome::Answered,
            Err(error) => self.fail(error),
        }
        handed_on
    }

    fn entry(&mut self) -> &mut Entry {
        &mut self.open_entry.as_mut().expect("a record is closed only when it is dropped").1
    }

    fn meet(&mut self, meta: &ReplyMeta) {
        let first_answer_us = Some(self.elapsed_us());
        let entry = self.entry();
        entry.endpoint.clone_from(&meta.endpoint);
        entry.agent_binding = meta.binding.map(Binding::as_str);
        entry.agent_version = meta.version.map(Version::as_str);
        entry.attempts = meta.attempts;
        entry.first_answer_us = first_answer_us;
    }

    fn note(&mut self, peek: &Peek) {
        let entry = self.entry();
        if let Some(task_id) = &peek.task_id {
            entry.task_id.get_or_insert_with(|| task_id.clone());
        }
        if let Some(context_id) = &peek.context_id {
            entry.context_id.get_or_insert_with(|| context_id.clone());
        }
        entry.state = peek.state.map(|state| TaskState::as_str_name(&state)).or(entry.state);
    }

    fn fail(&mut self, error: &Error) {
        let entry = self.entry();
        // An agent that cancels has failed; a caller that leaves has canceled.
        let is_callers = error.kind() == Kind::Canceled && error.origin() != Origin::Agent;
        entry.outcome = if is_callers { Outcome::Canceled } else { Outcome::Failed };
        entry.error = Some(error.kind().row().reason);
        entry.sent = Some(error.sent().as_str());
        entry.fault = Some(match error.origin() {
            Origin::Caller => "caller",
            Origin::Gateway => "gateway",
            Origin::Agent => "agent",
        });
        if let Some(at) = error.failed_at() {
            entry.endpoint = Some(Arc::clone(&at.endpoint));
            entry.agent_binding = Some(at.binding.as_str());
            entry.agent_version = Some(at.version.as_str());
            entry.attempts = entry.attempts.max(u32::from(error.sent() != Sent::NotSent));
        }
        let detail = format!("{error:?}");
        entry.detail =
            Some(detail.chars().map(|c| if c.is_control() { ' ' } else { c }).take(DETAIL_CHARS_MAX).collect());
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from((self.clock.instant() - self.received).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let total_us = self.elapsed_us();
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some((slot, mut entry)) = self.open_entry.take() {
            entry.total_us = total_us;
            if std::thread::panicking() {
                entry.outcome = Outcome::Panicked;
            }
            slot.send(entry);
        }
    }
}

/// A stream with its record: closed as answered at its end, as failed at an error, as canceled when dropped.
struct Followed {
    events: EventStream,
    record: Record,
}

impl Stream for Followed {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(self.events.as_mut().poll_next(cx));
        match &item {
            Some(Ok(event)) => {
                self.record.entry().events += 1;
                self.record.note(&event.peek);
            }
            Some(Err(error)) => self.record.fail(error),
            None if self.record.entry().error.is_none() => self.record.entry().outcome = Outcome::Answered,
            None => {}
        }
        Poll::Ready(item)
    }
}
