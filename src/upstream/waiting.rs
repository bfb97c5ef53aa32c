//! Calls that wait for the end of a task, and streams, by agents that do not wait and do not stream.
//!
//! A2A lets a caller wait (3.2.2) and lets it stream; some agents answer at once whatever was asked, and some do not
//! stream. Then the task is asked for until it ends or waits for its caller, a message is sent as a stream and folded
//! into one answer, or one answer is unfolded into events.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::time::{Instant, sleep};

use super::events::Events;
use super::exchange::{Answered, Asked, Exchange, Owned};
use super::{about_the_same_task, failure};
use crate::call::{Answer, Event, Peek, Response};
use crate::config::{Streaming, Waiting};
use crate::error::{Error, Kind};
use crate::operation::{Operation, Rpc};
use crate::proto::send_message_response::Payload as Sent;
use crate::proto::stream_response::Payload;
use crate::proto::{self, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent};
use crate::wire::content;

mod folded;

/// The first pause before a task is asked for again; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(PAUSE_MAX)
}

/// Whether the caller waits for the task to end.
fn waits(operation: &Operation) -> bool {
    match operation {
        Operation::SendMessage(request) => !request.configuration.as_ref().is_some_and(|c| c.return_immediately),
        _ => false,
    }
}

/// Whether a call that waits is answered by this.
fn is_enough(peek: &Peek) -> bool {
    peek.task_id.is_none() || peek.state.is_none_or(|state| state.is_terminal() || state.is_interrupted())
}

impl Exchange<'_> {
    /// Makes a unary call, and keeps what A2A promises its caller.
    pub(super) async fn ask_and_wait(&self) -> Result<Answered<Answer>, Error> {
        let until = self.upstream.clock.instant() + self.patience.total();
        let waits = waits(&self.call.operation);
        if waits && self.endpoint.dialect.waiting == Some(Waiting::Stream) {
            return failure::in_time(self.patience.total(), Box::pin(self.fold())).await;
        }
        let answered = failure::in_time(self.patience.total(), self.ask(&self.asked())).await?;
        if !waits || self.endpoint.dialect.waiting == Some(Waiting::Native) || is_enough(&answered.content.peek) {
            return Ok(answered);
        }
        let content = Box::pin(self.polled(answered.content, until)).await?;
        Ok(Answered { content, ..answered })
    }

    /// The task of an answer when it has ended or waits; as it was last when the agent's time is over, for it goes on
    /// and its caller can ask for it.
    async fn polled(&self, mut answer: Answer, until: Instant) -> Result<Answer, Error> {
        let id = answer.peek.task_id.clone().unwrap_or_default();
        let mut pause = PAUSE_MIN;
        while !is_enough(&answer.peek) && self.upstream.clock.instant() + pause < until {
            sleep(pause).await;
            pause = longer(pause);
            match self.task_now(&id).await {
                Ok(task) => answer = content::answer_with_task(task)?,
                // It was there a moment ago: the agent is asked again while there is time.
                Err(error) if error.kind() == Kind::UpstreamUnavailable => {}
                Err(error) => return Err(error),
            }
        }
        Ok(answer)
    }

    /// The task as it is now.
    async fn task_now(&self, id: &str) -> Result<Task, Error> {
        let history_length = self.call.operation.history_length();
        let get = Operation::GetTask(proto::GetTaskRequest { id: id.to_owned(), history_length, ..Default::default() });
        let asked = Asked { operation: &get, raw: None, tenant: &self.tenant };
        let answer = failure::in_time(self.patience.total(), self.ask(&asked)).await?.content;
        about_the_same_task(Some(id), &answer.peek)?;
        content::task_of(answer)
    }

    /// Whether the agent is known not to stream.
    pub(super) fn cannot_stream(&self) -> bool {
        self.endpoint.dialect.streaming == Some(Streaming::Unary)
    }

    /// A message that is sent as a stream, as the one answer that its events come to.
    async fn fold(&self) -> Result<Answered<Answer>, Error> {
        let Operation::SendMessage(request) = &self.call.operation else { unreachable!("only messages are folded") };
        let operation = Operation::SendStreamingMessage(request.clone());
        let asked = Asked { operation: &operation, raw: self.raw(), tenant: &self.tenant };
        let opened = self.open(&asked).await?;
        let events = Events::new(opened.content, self);
        let response = folded::folded(events, self.upstream.settings.limits.reply_bytes_max).await?;
        let content = content::answer_of(Rpc::SendMessage, Response::SendMessage(response))?;
        Ok(Answered { content, extensions: opened.extensions, attempts: opened.attempts })
    }
}

/// A call that streams, made as calls that answer once. Nothing is sent before it is first polled, and dropping what it
/// yields to loses nothing: what is under way stays in the stream.
pub(super) fn unfolded(owned: Owned) -> BoxStream<'static, Result<Event, Error>> {
    let unfolding = Unfolding { owned, task: None, ready: VecDeque::new(), pause: PAUSE_MIN, changed: None };
    futures_util::stream::unfold(Some(unfolding), |unfolding| async move {
        let mut unfolding = unfolding?;
        match unfolding.next().await {
            Ok(Some(event)) => Some((Ok(event), Some(unfolding))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Unfolding {
    owned: Owned,
    /// The task as it was last told.
    task: Option<Task>,
    ready: VecDeque<proto::StreamResponse>,
    pause: Duration,
    /// When something was last told.
    changed: Option<Instant>,
}

impl Unfolding {
    async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.changed = Some(self.owned.exchange().upstream.clock.instant());
                return Ok(Some(content::typed_event(event)));
            }
            let Some(task) = &self.task else {
                match self.changed {
                    // A message was the whole of it.
                    Some(_) => return Ok(None),
                    None => self.begin().await?,
                }
                continue;
            };
            let state = task.status.as_ref().map_or(TaskState::Unspecified, proto::TaskStatus::state);
            if state.is_terminal() || state.is_interrupted() {
                return Ok(None);
            }
            self.go_on().await?;
        }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let exchange = self.owned.exchange();
        let payload = match &exchange.call.operation {
            Operation::SendStreamingMessage(request) => {
                let operation = Operation::SendMessage(request.clone());
                let asked = Asked { operation: &operation, raw: exchange.raw(), tenant: &exchange.tenant };
                let answer = failure::in_time(exchange.patience.total(), exchange.ask(&asked)).await?.content;
                match content::typed_answer(answer)? {
                    Response::SendMessage(proto::SendMessageResponse { payload: Some(Sent::Message(message)) }) => {
                        Payload::Message(message)
                    }
                    Response::SendMessage(proto::SendMessageResponse { payload: Some(Sent::Task(task)) }) => {
                        Payload::Task(task)
                    }
                    _ => {
                        let message = "the agent's answer has neither a task nor a message";
                        return Err(Error::new(Kind::InvalidAgentResponse, message));
                    }
                }
            }
            operation => {
                let task = exchange.task_now(operation.task_id().unwrap_or_default()).await?;
                if task.status.as_ref().is_some_and(|status| status.state().is_terminal()) {
                    return Err(super::has_ended());
                }
                Payload::Task(task)
            }
        };
        if let Payload::Task(task) = &payload {
            self.task = Some(task.clone());
        }
        self.ready.push_back(proto::StreamResponse { payload: Some(payload) });
        Ok(())
    }

    /// Asks for the task after a pause, and tells what changed.
    async fn go_on(&mut self) -> Result<(), Error> {
        sleep(self.pause).await;
        self.pause = longer(self.pause);
        let exchange = self.owned.exchange();
        let before = self.task.take().unwrap_or_default();
        let now = exchange.task_now(&before.id).await;
        let clock = exchange.upstream.clock;
        let idle = exchange.patience.idle;
        let task = match now {
            Ok(task) => task,
            // It is asked for again while there is patience.
            Err(error) if error.kind() == Kind::UpstreamUnavailable && !self.is_stale(clock.instant(), idle) => {
                self.task = Some(before);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.ready.extend(changes(&before, &task));
        self.task = Some(task);
        if self.ready.is_empty() {
            if self.is_stale(clock.instant(), idle) {
                return Err(super::events::silent(idle));
            }
        } else {
            self.pause = PAUSE_MIN;
        }
        Ok(())
    }

    fn is_stale(&self, now: Instant, idle: Duration) -> bool {
        self.changed.is_some_and(|changed| now.saturating_duration_since(changed) > idle)
    }
}

/// The updates that lead from one state of a task to another.
fn changes(before: &Task, now: &Task) -> Vec<proto::StreamResponse> {
    let mut events = Vec::new();
    for artifact in now.artifacts.iter().filter(|artifact| !before.artifacts.contains(artifact)) {
        events.push(Payload::ArtifactUpdate(TaskArtifactUpdateEvent {
            task_id: now.id.clone(),
            context_id: now.context_id.clone(),
            artifact: Some(artifact.clone()),
            append: false,
            last_chunk: true,
            metadata: None,
        }));
    }
    if before.status != now.status {
        events.push(Payload::StatusUpdate(TaskStatusUpdateEvent {
            task_id: now.id.clone(),
            context_id: now.context_id.clone(),
            status: now.status.clone(),
            metadata: now.metadata.clone().filter(|_| before.metadata != now.metadata),
        }));
    }
    events.into_iter().map(|payload| proto::StreamResponse { payload: Some(payload) }).collect()
}
