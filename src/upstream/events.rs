//! The events of an agent's stream, pulled one by one.
//!
//! Nothing is read ahead: the caller's reading pulls the agent's sending, and dropping the stream hangs up. A
//! stream is bound to the first task that it names, and must come to an end that A2A knows: a message, or a task
//! that ended or waits. One that breaks off or runs dry is an error that the caller gets to see.

use std::time::Duration;

use futures_core::Stream;

use super::about_the_same_task;
use super::exchange::Exchange;
use crate::call::{Call, Event, PayloadKind, Peek};
use crate::error::{Error, Kind, Origin, Sent};
use crate::proto::TaskState;
use crate::wire::content;

mod retold;
mod source;

use retold::Retold;
use source::Broken;
pub(super) use source::{Decode, Source};

pub(super) struct Events {
    source: Source,
    idle: Duration,
    first: Option<Event>,
    /// What was put first, until the agent has said something.
    put: Option<Event>,
    watch: Watch,
    retold: Retold,
    done: bool,
}

/// What came before in one stream.
pub(super) struct Watch {
    task_id: Option<String>,
    end: End,
    last: Option<PayloadKind>,
}

/// Whether the stream may end after what came so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The task goes on.
    NotYet,
    /// The task waits for its caller; it may go on in this stream.
    Possible,
    /// A message, or a task that ended: nothing more is to come but a snapshot.
    Reached,
}

/// How long an agent may take to close a stream whose task has ended.
const CLOSING: Duration = Duration::from_secs(1);

impl Events {
    pub(super) fn new(source: Source, exchange: &Exchange<'_>) -> Self {
        let limit = exchange.upstream.settings.limits.event_bytes_max;
        Self {
            source,
            idle: exchange.patience.idle,
            first: None,
            put: None,
            watch: Watch::new(exchange.call),
            retold: Retold::new(exchange.endpoint.dialect.stream_text, limit),
            done: false,
        }
    }

    /// An event to yield before the agent's own. If the agent begins by saying the same, that is left out.
    pub(super) fn put_first(&mut self, event: Event) {
        self.put = Some(event.clone());
        self.first = Some(event);
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Event, Error>> {
        futures_util::stream::unfold(self, |mut events| async move {
            let item = events.next().await?;
            Some((item, events))
        })
    }

    /// The next event; an error is the last item. May be dropped and called again: nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Result<Event, Error>> {
        if self.done {
            return None;
        }
        let item = match self.first.take() {
            Some(event) => Some(Ok(event)),
            None => match self.pull().await.transpose() {
                Some(Ok(event)) if self.put.take().is_some_and(|put| says_the_same(put, &event)) => {
                    self.pull().await.transpose()
                }
                item => item,
            },
        };
        let item = match item {
            Some(Ok(event)) => Some(self.watch.check(&event.peek).and_then(|()| self.retold.once(event))),
            Some(Err(error)) => Some(Err(error)),
            None => self.watch.at_end().err().map(Err),
        };
        self.done = !matches!(item, Some(Ok(_)));
        item
    }

    async fn pull(&mut self) -> Result<Option<Event>, Error> {
        let idle = if self.watch.end == End::Reached { CLOSING } else { self.idle };
        match self.source.next(idle).await {
            Ok(event) => Ok(event),
            // The task has ended or waits, whether or not the agent closes its stream in good order.
            Err(Broken::Silent | Broken::Off(_)) if self.watch.end != End::NotYet => Ok(None),
            Err(Broken::Silent) => Err(silent(idle)),
            Err(Broken::Off(error) | Broken::Content(error)) => Err(error),
        }
    }
}

/// Whether the agent's event is what was put before it. It is asked once a stream.
fn says_the_same(put: Event, event: &Event) -> bool {
    if event.peek.kind != Some(PayloadKind::Task) {
        return false;
    }
    let typed = content::typed_stream_event;
    typed(put).ok().zip(typed(event.clone()).ok()).is_some_and(|(put, said)| put == said)
}

impl Watch {
    pub(super) fn new(call: &Call) -> Self {
        Self { task_id: call.operation.task_id().map(str::to_owned), end: End::NotYet, last: None }
    }

    /// Whether a stream may end here.
    pub(super) fn at_end(&self) -> Result<(), Error> {
        if self.end != End::NotYet {
            return Ok(());
        }
        let message = "the agent's stream ended before the task did: subscribe to the task, or get it";
        Err(Error::new(Kind::InvalidAgentResponse, message))
    }

    pub(super) fn check(&mut self, peek: &Peek) -> Result<(), Error> {
        about_the_same_task(self.task_id.as_deref(), peek)?;
        if self.task_id.is_none() {
            self.task_id.clone_from(&peek.task_id);
        }
        let mixes = match self.last {
            None => false,
            // A2A 3.1.2: a message is the whole stream, and a task's stream has no message of its own.
            Some(PayloadKind::Message) => true,
            Some(_) => peek.kind == Some(PayloadKind::Message),
        };
        if mixes {
            return Err(Error::new(
                Kind::InvalidAgentResponse,
                "the agent mixed a message with other events in one stream",
            ));
        }
        // A2A 3.1.2: the task's last snapshot may be repeated before the stream is closed, and nothing else.
        let is_snapshot = peek.kind == Some(PayloadKind::Task) && peek.state.is_some_and(TaskState::is_terminal);
        if self.end == End::Reached && !is_snapshot {
            return Err(Error::new(Kind::InvalidAgentResponse, "the agent sent an event after the end of its stream"));
        }
        self.last = peek.kind;
        self.end = match peek.state {
            _ if peek.is_final || peek.kind == Some(PayloadKind::Message) => End::Reached,
            Some(state) if state.is_terminal() => End::Reached,
            Some(state) if state.is_interrupted() => End::Possible,
            Some(_) => End::NotYet,
            None => self.end,
        };
        Ok(())
    }
}

pub(super) fn silent(limit: Duration) -> Error {
    let message =
        format!("the agent's stream was silent for {} s: subscribe to the task, or get it", limit.as_secs_f32());
    Error::new(Kind::DeadlineExceeded, message).origin_is(Origin::Agent).sent_is(Sent::Sent)
}
