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
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::{Call, Event, EventStream, Peek, Reply, ReplyBody, ReplyMeta};
use crate::clock::{self, Clock};
use crate::error::{Error, Kind, Origin};
use crate::proto::TaskState;

/// How many records are written at once.
const BATCH_MAX: usize = 256;

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
    pub agent: Arc<str>,
    pub operation: &'static str,
    pub binding: &'static str,
    pub caller_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Arc<str>>,
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

/// Where entries go.
pub enum Sink {
    Stdout,
    Stderr,
    /// For a reader in this process, such as the demo.
    Channel(mpsc::UnboundedSender<Entry>),
}

/// The book's front desk.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Entry>,
    open: Arc<AtomicUsize>,
    clock: Clock,
}

/// The writer at the other end of the queue.
pub struct Writer {
    queue: mpsc::Receiver<Entry>,
    sink: Sink,
}

/// An open record. Dropping it closes it: the caller left.
pub struct Record {
    slot: Option<OwnedPermit<Entry>>,
    entry: Box<Entry>,
    received: Instant,
    clock: Clock,
    open: Arc<AtomicUsize>,
}

impl Ledger {
    /// A ledger whose queue holds `calls_max` records, and its writer, which must be run.
    pub fn new(calls_max: usize, sink: Sink, clock: Clock) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(calls_max);
        (Self { queue: sender, open: Arc::default(), clock }, Writer { queue: receiver, sink })
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
        let slot = self.queue.clone().try_reserve_owned().map_err(|_| {
            Error::new(Kind::Overloaded, "too many calls are under way: try again")
                .retry_after_is(Duration::from_secs(1))
        })?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Record {
            slot: Some(slot),
            entry: Box::new(Entry {
                time: clock::rfc3339(self.clock.unix_micros()),
                call_id: call.id.to_string(),
                key_id: Arc::clone(&call.caller.key.0),
                caller: Arc::clone(&call.caller.name),
                agent: Arc::clone(&call.agent.0),
                operation: call.operation.method().name,
                binding: call.binding.as_str(),
                caller_version: call.version.as_str(),
                endpoint: None,
                agent_version: None,
                task_id: call.operation.task_id().map(str::to_owned),
                context_id: call.operation.context_id().map(str::to_owned),
                state: None,
                outcome: Outcome::Canceled,
                error: None,
                fault: None,
                detail: None,
                attempts: 0,
                events: 0,
                first_answer_us: None,
                total_us: 0,
            }),
            received: call.received,
            clock: self.clock,
            open: Arc::clone(&self.open),
        })
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
                self.entry.outcome = Outcome::Answered;
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

    fn meet(&mut self, meta: &ReplyMeta) {
        self.entry.endpoint.clone_from(&meta.endpoint);
        self.entry.agent_version = meta.version.map(|version| version.as_str());
        self.entry.attempts = meta.attempts;
        self.entry.first_answer_us = Some(self.elapsed_us());
    }

    fn note(&mut self, peek: &Peek) {
        if let Some(task_id) = &peek.task_id {
            self.entry.task_id.get_or_insert_with(|| task_id.clone());
        }
        if let Some(context_id) = &peek.context_id {
            self.entry.context_id.get_or_insert_with(|| context_id.clone());
        }
        self.entry.state = peek.state.map(|state| TaskState::as_str_name(&state)).or(self.entry.state);
    }

    fn fail(&mut self, error: &Error) {
        self.entry.outcome = if error.kind() == Kind::Canceled { Outcome::Canceled } else { Outcome::Failed };
        self.entry.error = Some(error.kind().row().reason);
        self.entry.fault = Some(match error.origin() {
            Origin::Caller => "caller",
            Origin::Gateway => "gateway",
            Origin::Agent => "agent",
        });
        self.entry.detail =
            Some(format!("{error:?}").chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect());
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from((self.clock.instant() - self.received).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.entry.outcome = Outcome::Panicked;
        }
        self.entry.total_us = self.elapsed_us();
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(slot) = self.slot.take() {
            slot.send((*self.entry).clone());
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
                self.record.entry.events += 1;
                self.record.note(&event.peek);
            }
            Some(Err(error)) => self.record.fail(error),
            None if self.record.entry.error.is_none() => self.record.entry.outcome = Outcome::Answered,
            None => {}
        }
        Poll::Ready(item)
    }
}

impl Writer {
    /// Writes entries until `stop`, and then all that are still in the queue.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let received = tokio::select! {
                received = self.queue.recv_many(&mut batch, BATCH_MAX) => received,
                () = stop.cancelled() => {
                    self.queue.close();
                    self.queue.recv_many(&mut batch, usize::MAX).await
                }
            };
            if received == 0 {
                return;
            }
            self.write(&mut batch).await;
        }
    }

    async fn write(&self, batch: &mut Vec<Entry>) {
        if let Sink::Channel(reader) = &self.sink {
            // A reader that left has no use for the rest.
            batch.drain(..).for_each(|entry| drop(reader.send(entry)));
            return;
        }
        let mut lines = Vec::with_capacity(batch.len() * 512);
        for entry in batch.drain(..) {
            serde_json::to_writer(&mut lines, &entry).expect("an entry serializes");
            lines.push(b'\n');
        }
        let written = match self.sink {
            Sink::Stderr => flushed(tokio::io::stderr(), &lines).await,
            _ => flushed(tokio::io::stdout(), &lines).await,
        };
        if let Err(error) = written {
            tracing::error!(%error, "records of calls could not be written: check where stdout goes");
        }
    }
}

async fn flushed(mut output: impl tokio::io::AsyncWrite + Unpin, lines: &[u8]) -> std::io::Result<()> {
    output.write_all(lines).await?;
    output.flush().await
}
