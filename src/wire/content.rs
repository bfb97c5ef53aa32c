//! Answers and events in any form: forwarded as they are where caller and agent agree, translated where not.

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::proto::v0_3;
use super::{json, proto as protobuf};
use crate::a2a::required;
use crate::a2a::v0_3::StreamWriter;
use crate::call::{Answer, Content, Event, EventStream, Form, PayloadKind, Peek, Raw, Reply, ReplyBody, Response};
use crate::error::{Error, Kind};
use crate::operation::{Operation, Rpc, Version};
use crate::proto::send_message_response::Payload as Sent;
use crate::proto::stream_response::Payload;
use crate::proto::{self, TaskState, wkt};

/// Writes an operation as a request in `form`.
///
/// # Errors
/// UnsupportedOperation where the version lacks the operation, InvalidParams for what it cannot say.
pub fn write_request(operation: &Operation, form: Form) -> Result<Bytes, Error> {
    match form {
        Form::Json(version) => json::write_request(operation, version),
        Form::Proto => Ok(protobuf::write_request(operation)),
        Form::ProtoV0_3(files) => v0_3::write_request(operation, files),
        Form::ProtoJsonV0_3(files) => v0_3::write_request_json(operation, files),
    }
}

/// The typed form of an answer.
///
/// # Errors
/// InvalidAgentResponse when the agent's bytes are not such an answer.
pub fn typed_answer(answer: Answer) -> Result<Response, Error> {
    match answer.content {
        Content::Typed(response) => Ok(*response),
        Content::Raw(Raw { form: Form::Json(version), bytes }) => {
            json::response(answer.rpc, version, &bytes, answer.peek.kind)
        }
        Content::Raw(Raw { form: Form::Proto, bytes }) => protobuf::response(answer.rpc, bytes),
        Content::Raw(Raw { form: Form::ProtoV0_3(files), bytes }) => v0_3::response(answer.rpc, bytes, files),
        Content::Raw(Raw { form: Form::ProtoJsonV0_3(_), .. }) => Err(never_kept()),
    }
}

/// The task that an answer to a GetTask is.
///
/// # Errors
/// InvalidAgentResponse when it is none.
pub fn task_of(answer: Answer) -> Result<proto::Task, Error> {
    match typed_answer(answer)? {
        Response::Task(task) => Ok(task),
        _ => Err(Error::new(Kind::InvalidAgentResponse, "the agent did not answer with the task")),
    }
}

/// The task that a reply to a GetTask is.
///
/// # Errors
/// InvalidAgentResponse when it is none.
pub fn task_in(reply: Reply) -> Result<proto::Task, Error> {
    match reply.body {
        ReplyBody::One(answer) => task_of(answer),
        ReplyBody::Stream(_) => Err(Error::new(Kind::InvalidAgentResponse, "the agent answered with a stream")),
    }
}

/// Writes an answer in `form`: the agent's own bytes when they are in it.
///
/// # Errors
/// InvalidAgentResponse for an answer that cannot be translated.
pub fn write_answer(answer: Answer, form: Form) -> Result<Bytes, Error> {
    match answer.content {
        Content::Raw(raw) if raw.form.reads(form) => Ok(raw.bytes),
        _ => {
            let response = typed_answer(answer)?;
            match form {
                Form::Json(version) => json::write_response(&response, version),
                Form::Proto => Ok(protobuf::write_response(&response)),
                Form::ProtoV0_3(files) => v0_3::write_response(&response, files),
                Form::ProtoJsonV0_3(files) => v0_3::write_response_json(&response, files),
            }
        }
    }
}

/// A reply in `form`, whatever form the agent spoke. A card stays typed, for it is rewritten before it is written.
///
/// # Errors
/// InvalidAgentResponse for what cannot be translated; in a stream, it is the last item.
pub fn reply_in(reply: Reply, form: Form) -> Result<Reply, Error> {
    let Reply { meta, body } = reply;
    let body = match body {
        ReplyBody::One(answer) if answer.rpc == Rpc::GetExtendedAgentCard => ReplyBody::One(answer),
        ReplyBody::One(answer) => {
            let (rpc, peek) = (answer.rpc, answer.peek.clone());
            let content = Content::Raw(Raw { form, bytes: write_answer(answer, form)? });
            ReplyBody::One(Answer { rpc, content, peek })
        }
        ReplyBody::Stream(events) => ReplyBody::Stream(events_in(events, form)),
    };
    Ok(Reply { meta, body })
}

fn events_in(events: EventStream, form: Form) -> EventStream {
    let mut writer = EventWriter::new(form);
    let written = events.flat_map(move |event| {
        let peek = event.as_ref().map(|event| event.peek.clone()).unwrap_or_default();
        let items: Vec<_> = match event.and_then(|event| writer.write(event)) {
            Err(error) => vec![Err(error)],
            Ok(messages) => {
                let event = |bytes| Event { content: Content::Raw(Raw { form, bytes }), peek: peek.clone() };
                messages.into_iter().map(|bytes| Ok(event(bytes))).collect()
            }
        };
        futures_util::stream::iter(items)
    });
    // What cannot be translated is the end, whatever the agent says afterwards.
    let until_error = written.scan(false, |failed, item| {
        let ended = *failed;
        *failed |= item.is_err();
        std::future::ready(if ended { None } else { Some(item) })
    });
    until_error.boxed()
}

/// Whether an answer is decoded whatever the scan saw: a card is always rewritten, and the answer to a delete carries
/// nothing.
pub(super) const fn must_decode(rpc: Rpc) -> bool {
    matches!(rpc, Rpc::GetExtendedAgentCard | Rpc::DeletePushConfig)
}

/// An agent's event, which must have something in it.
pub(super) fn with_payload(event: proto::StreamResponse) -> Result<proto::StreamResponse, Error> {
    let empty = || Error::new(Kind::InvalidAgentResponse, "the agent sent an event without a payload");
    if event.payload.is_none() { Err(empty()) } else { Ok(event) }
}

/// An answer whose parts all have something in them: a reader of 1.0 finds nothing in a part that is written as in
/// 0.3, and what it held would be lost in silence.
///
/// # Errors
/// InvalidAgentResponse.
pub(super) fn with_whole_parts(response: Response) -> Result<Response, Error> {
    let is_whole = match &response {
        Response::Task(task)
        | Response::SendMessage(proto::SendMessageResponse { payload: Some(Sent::Task(task)) }) => is_whole_task(task),
        Response::SendMessage(proto::SendMessageResponse { payload: Some(Sent::Message(message)) }) => {
            are_whole(&message.parts)
        }
        _ => true,
    };
    if is_whole { Ok(response) } else { Err(part_without_content()) }
}

/// The same of an event.
///
/// # Errors
/// InvalidAgentResponse.
pub(super) fn event_with_whole_parts(event: proto::StreamResponse) -> Result<proto::StreamResponse, Error> {
    let is_whole = match &event.payload {
        Some(Payload::Task(task)) => is_whole_task(task),
        Some(Payload::Message(message)) => are_whole(&message.parts),
        Some(Payload::StatusUpdate(update)) => is_whole_status(update.status.as_ref()),
        Some(Payload::ArtifactUpdate(update)) => update.artifact.as_ref().is_none_or(|a| are_whole(&a.parts)),
        None => true,
    };
    if is_whole { Ok(event) } else { Err(part_without_content()) }
}

fn part_without_content() -> Error {
    Error::new(Kind::InvalidAgentResponse, "the agent answered with a part that is none of text, raw, url and data")
}

fn is_whole_task(task: &proto::Task) -> bool {
    let history = task.history.iter().all(|message| are_whole(&message.parts));
    history && task.artifacts.iter().all(|a| are_whole(&a.parts)) && is_whole_status(task.status.as_ref())
}

fn is_whole_status(status: Option<&proto::TaskStatus>) -> bool {
    status.and_then(|status| status.message.as_ref()).is_none_or(|message| are_whole(&message.parts))
}

fn are_whole(parts: &[proto::Part]) -> bool {
    parts.iter().all(|part| part.content.is_some())
}

/// The answer to a send that is this task.
///
/// # Errors
/// InvalidAgentResponse for one that has no id, or one that cannot be kept.
pub fn answer_with_task(task: proto::Task) -> Result<Answer, Error> {
    let response = proto::SendMessageResponse { payload: Some(Sent::Task(task)) };
    answer_of(Rpc::SendMessage, Response::SendMessage(response))
}

/// An answer that had to be decoded.
///
/// # Errors
/// InvalidAgentResponse for a task that has no id, and for ids that cannot be kept.
pub fn answer_of(rpc: Rpc, response: Response) -> Result<Answer, Error> {
    let peek = bounded(peek_at_response(&response))?;
    if peek.kind == Some(PayloadKind::Task) && peek.task_id.is_none() {
        return Err(Error::new(Kind::InvalidAgentResponse, "the agent answered with a task that has no id"));
    }
    Ok(Answer { rpc, content: Content::Typed(Box::new(response)), peek })
}

/// An event that had to be decoded.
pub(super) fn event_of(event: proto::StreamResponse) -> Result<Event, Error> {
    let event = typed_event(event);
    Ok(Event { peek: bounded(event.peek)?, content: event.content })
}

/// An event that we made ourselves.
pub fn typed_event(event: proto::StreamResponse) -> Event {
    let peek = event.payload.as_ref().map(peek_at_payload).unwrap_or_default();
    Event { content: Content::Typed(Box::new(event)), peek }
}

/// Ids stand in records, indexes and paths, so what an agent may call an id is what a caller may call one.
pub(super) fn bounded(peek: Peek) -> Result<Peek, Error> {
    let is_id = |id: &Option<String>| id.as_ref().is_none_or(|id| required::is_id(id));
    if is_id(&peek.task_id) && peek.context_id.as_ref().is_none_or(|id| required::is_short(id)) {
        return Ok(peek);
    }
    let message = "the agent answered with an id that has more than 256 bytes, control characters, or dots for a path";
    Err(Error::new(Kind::InvalidAgentResponse, message))
}

/// Leaves a task the latest messages of its history, at most so many (A2A 3.2.4).
pub fn keep_latest(task: &mut proto::Task, length: i32) {
    let surplus = task.history.len().saturating_sub(usize::try_from(length).unwrap_or(0));
    task.history.drain(..surplus);
}

/// The typed form of an event.
///
/// # Errors
/// InvalidAgentResponse when the agent's bytes are no event.
pub fn typed_stream_event(event: Event) -> Result<proto::StreamResponse, Error> {
    match event.content {
        Content::Raw(Raw { form: Form::Json(version), bytes }) => json::event(version, &bytes, event.peek.kind),
        Content::Raw(Raw { form: Form::Proto, bytes }) => protobuf::event(bytes),
        Content::Raw(Raw { form: Form::ProtoV0_3(files), bytes }) => v0_3::event(bytes, files),
        Content::Raw(Raw { form: Form::ProtoJsonV0_3(_), .. }) => Err(never_kept()),
        Content::Typed(typed) => Ok(*typed),
    }
}

/// Answers and events in this form are read when they come, for their bytes alone do not prove enough.
fn never_kept() -> Error {
    Error::new(Kind::Internal, "an answer was kept in a form that is never kept")
}

/// Writes the events of one stream in one form.
#[derive(Debug)]
pub struct EventWriter {
    form: Form,
    /// 0.3 needs to know what came before.
    old: StreamWriter,
}

impl EventWriter {
    pub fn new(form: Form) -> Self {
        Self { form, old: StreamWriter::default() }
    }

    /// The agent's own bytes when they are in the caller's form, else their translation, which in 0.3 may be several
    /// events.
    ///
    /// # Errors
    /// InvalidAgentResponse for an event that cannot be translated.
    pub fn write(&mut self, next: Event) -> Result<Vec<Bytes>, Error> {
        if let Content::Raw(raw) = &next.content
            && raw.form.reads(self.form)
        {
            return Ok(vec![raw.bytes.clone()]);
        }
        let typed = typed_stream_event(next)?;
        match self.form {
            Form::Json(Version::V1_0) => Ok(vec![json::write_event(&typed)?]),
            Form::Json(Version::V0_3) => json::write_event_v0_3(&typed, &mut self.old),
            Form::Proto => Ok(vec![protobuf::write_event(&typed)]),
            form => v0_3::write_event(&typed, &mut self.old, form),
        }
    }
}

fn peek_at_response(response: &Response) -> Peek {
    match response {
        Response::SendMessage(proto::SendMessageResponse { payload: Some(Sent::Task(task)) })
        | Response::Task(task) => peek_at_task(task),
        Response::SendMessage(proto::SendMessageResponse { payload: Some(Sent::Message(message)) }) => {
            peek_at_message(message)
        }
        Response::PushConfig(config) => Peek { task_id: some(&config.task_id), ..Peek::default() },
        _ => Peek::default(),
    }
}

fn peek_at_payload(payload: &Payload) -> Peek {
    match payload {
        Payload::Task(task) => peek_at_task(task),
        Payload::Message(message) => peek_at_message(message),
        Payload::StatusUpdate(update) => Peek {
            kind: Some(PayloadKind::StatusUpdate),
            task_id: some(&update.task_id),
            context_id: some(&update.context_id),
            state: update.status.as_ref().map(proto::TaskStatus::state),
            state_at: update.status.as_ref().and_then(since),
            is_final: false,
        },
        Payload::ArtifactUpdate(update) => Peek {
            kind: Some(PayloadKind::ArtifactUpdate),
            task_id: some(&update.task_id),
            context_id: some(&update.context_id),
            ..Peek::default()
        },
    }
}

fn peek_at_task(task: &proto::Task) -> Peek {
    Peek {
        kind: Some(PayloadKind::Task),
        task_id: some(&task.id),
        context_id: some(&task.context_id),
        state: Some(task.status.as_ref().map_or(TaskState::Unspecified, proto::TaskStatus::state)),
        state_at: task.status.as_ref().and_then(since),
        is_final: false,
    }
}

fn peek_at_message(message: &proto::Message) -> Peek {
    Peek {
        kind: Some(PayloadKind::Message),
        task_id: some(&message.task_id),
        context_id: some(&message.context_id),
        ..Peek::default()
    }
}

fn since(status: &proto::TaskStatus) -> Option<i64> {
    status.timestamp.as_ref().map(|time| wkt::micros(time.seconds, time.nanos))
}

fn some(id: &str) -> Option<String> {
    Some(id.to_owned()).filter(|id| !id.is_empty())
}
