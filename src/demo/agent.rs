//! A small agent that speaks one version of A2A by JSON-RPC: it repeats what it hears.
//!
//! A text that begins with `wait` makes a task that takes two seconds, so that it can be subscribed to and
//! canceled. Tasks live in memory; what a task is follows from the time, so nothing runs in the background.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::a2a::card;
use crate::bindings::json_response;
use crate::call::{Answer, Content, Form, Peek, Response as Typed};
use crate::clock::Clock;
use crate::config::JsonLimits;
use crate::error::{Error, Kind};
use crate::operation::{Method, Operation, Version};
use crate::proto::stream_response::Payload;
use crate::proto::{self, TaskState};
use crate::wire::content::{self, EventWriter, typed_event};
use crate::wire::{json, jsonrpc, sse};

/// How long a task takes that is asked to wait.
const WAIT: Duration = Duration::from_secs(2);
/// Tasks that are remembered; the oldest is forgotten first.
const TASKS_MAX: usize = 1_000;
const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 100_000, parts_max: 1_000, digits_max: 100 };

struct Agent {
    name: &'static str,
    version: Version,
    address: SocketAddr,
    tasks: Mutex<BTreeMap<String, Work>>,
}

/// A task and when it will be done.
#[derive(Clone)]
struct Work {
    task: proto::Task,
    text: String,
    done_at: Instant,
    canceled: bool,
}

/// Starts the agent on a port that the system chooses.
pub(super) async fn start(
    name: &'static str,
    version: Version,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let agent = Arc::new(Agent { name, version, address, tasks: Mutex::default() });
    let app =
        Router::new().route("/", post(answer)).route("/.well-known/agent-card.json", get(show_card)).with_state(agent);
    tasks.spawn(async move {
        // Ends with the demo; an agent that cannot serve shows in the calls to it.
        drop(axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await);
    });
    Ok(address)
}

async fn show_card(State(agent): State<Arc<Agent>>) -> Response {
    let mut ours = card::synthesised(agent.name, "repeats what it hears");
    ours.supported_interfaces = vec![proto::AgentInterface {
        url: format!("http://{}/", agent.address),
        protocol_binding: "JSONRPC".to_owned(),
        protocol_version: agent.version.to_string(),
        tenant: String::new(),
    }];
    let skill = proto::AgentSkill {
        id: "echo".into(),
        name: "Echo".into(),
        description: "Repeats a text.".into(),
        ..Default::default()
    };
    ours.skills = vec![skill];
    let body = match agent.version {
        Version::V1_0 => card::write_v1(&ours),
        Version::V0_3 => card::write_hybrid(&ours).unwrap_or_default(),
    };
    json_response(StatusCode::OK, body)
}

async fn answer(State(agent): State<Arc<Agent>>, body: Bytes) -> Response {
    let request = match jsonrpc::read_request(&body) {
        Ok(request) => request,
        Err(bad) => return refuse(&bad.id, &bad.error, agent.version),
    };
    let operation = Method::by_jsonrpc_name(&request.method)
        .filter(|(method, version)| *version == agent.version && method.exists_in(agent.version))
        .ok_or_else(|| Error::new(Kind::MethodNotFound, "no such method"))
        .and_then(|(method, version)| json::read_request(method.rpc, version, request.params.clone(), &LIMITS));
    match operation {
        Err(error) => refuse(&request.id, &error, agent.version),
        Ok((operation, _)) if operation.method().streams => stream(&agent, &request.id, &operation),
        Ok((operation, _)) => match unary(&agent, &operation).await {
            Err(error) => refuse(&request.id, &error, agent.version),
            Ok(response) => {
                let rpc = operation.rpc();
                let answer = Answer { rpc, content: Content::Typed(Box::new(response)), peek: Peek::default() };
                let result =
                    content::write_answer(answer, Form::Json(agent.version)).expect("our own answers can be written");
                let (start, end) = jsonrpc::write_result(&request.id);
                json_response(StatusCode::OK, [start, result, end].concat())
            }
        },
    }
}

fn refuse(id: &[u8], error: &Error, version: Version) -> Response {
    json_response(StatusCode::OK, jsonrpc::write_error(id, error, version))
}

async fn unary(agent: &Agent, operation: &Operation) -> Result<Typed, Error> {
    match operation {
        Operation::SendMessage(request) => {
            let work = agent.begin(request);
            let waits = !request.configuration.as_ref().is_some_and(|c| c.return_immediately);
            if waits {
                sleep_until(work.done_at).await;
            }
            let task = agent.find(&work.task.id)?.now();
            let payload = Some(proto::send_message_response::Payload::Task(task));
            Ok(Typed::SendMessage(proto::SendMessageResponse { payload }))
        }
        Operation::GetTask(request) => Ok(Typed::Task(agent.find(&request.id)?.now())),
        Operation::CancelTask(request) => agent.cancel(&request.id).map(Typed::Task),
        Operation::ListTasks(_) => {
            let tasks: Vec<_> = agent.tasks.lock().expect("not poisoned").values().map(Work::now).collect();
            let total_size = i32::try_from(tasks.len()).unwrap_or(i32::MAX);
            Ok(Typed::ListTasks(proto::ListTasksResponse { tasks, page_size: 50, total_size, ..Default::default() }))
        }
        Operation::GetExtendedAgentCard(_) => Err(Error::new(Kind::UnsupportedOperation, "there is no extended card")),
        _ => Err(Error::new(Kind::PushNotificationNotSupported, "push notifications are not supported")),
    }
}

/// The events of a task from now to its end.
fn stream(agent: &Arc<Agent>, id: &Bytes, operation: &Operation) -> Response {
    let version = agent.version;
    let work = match operation {
        Operation::SubscribeToTask(request) => agent.find(&request.id).and_then(|work| match work.state() {
            state if state.is_terminal() => Err(Error::new(Kind::UnsupportedOperation, "the task has ended")),
            _ => Ok(work),
        }),
        Operation::SendStreamingMessage(request) => Ok(agent.begin(request)),
        _ => Err(Error::new(Kind::Internal, "not a stream")),
    };
    let work = match work {
        Ok(work) => work,
        Err(error) => return refuse(id, &error, version),
    };
    let mut begun = work.task.clone();
    begun.status = Some(status(TaskState::Working));
    let task_id = work.task.id.clone();
    let agent = Arc::clone(agent);
    let rest = futures_util::stream::once(async move {
        sleep_until(work.done_at).await;
        let task = agent.find(&task_id).map_or(work.task, |work| work.now());
        let (task_id, context_id) = (task.id, task.context_id);
        let artifact = task.artifacts.into_iter().next().map(|artifact| {
            Payload::ArtifactUpdate(proto::TaskArtifactUpdateEvent {
                task_id: task_id.clone(),
                context_id: context_id.clone(),
                artifact: Some(artifact),
                last_chunk: true,
                ..Default::default()
            })
        });
        let end = Payload::StatusUpdate(proto::TaskStatusUpdateEvent {
            task_id,
            context_id,
            status: task.status,
            metadata: None,
        });
        futures_util::stream::iter(artifact.into_iter().chain([end]))
    });
    let payloads = futures_util::stream::iter([Payload::Task(begun)]).chain(rest.flatten());
    let mut writer = EventWriter::new(Form::Json(version));
    let (start, end) = jsonrpc::write_result(id);
    let events = payloads.map(move |payload| {
        let event = typed_event(proto::StreamResponse { payload: Some(payload) });
        let results = writer.write(event).expect("our own events can be written");
        let events = results.iter().map(|result| sse::write_event(None, &[&start, result, &end]));
        Ok::<_, io::Error>(Bytes::from(events.collect::<Vec<_>>().concat()))
    });
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn status(state: TaskState) -> proto::TaskStatus {
    let micros = Clock.unix_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000)).unwrap_or(0) * 1_000;
    let timestamp = Some(proto::Timestamp { seconds: micros.div_euclid(1_000_000), nanos });
    proto::TaskStatus { state: state.into(), message: None, timestamp }
}

impl Agent {
    fn begin(&self, request: &proto::SendMessageRequest) -> Work {
        let message = request.message.clone().unwrap_or_default();
        let texts = message.parts.iter().filter_map(|part| match &part.content {
            Some(proto::part::Content::Text(text)) => Some(text.as_str()),
            _ => None,
        });
        let text = texts.collect::<Vec<_>>().join(" ");
        let wait = if text.starts_with("wait") { WAIT } else { Duration::ZERO };
        let some = |id: &str| if id.is_empty() { Clock.uuid().to_string() } else { id.to_owned() };
        let task = proto::Task {
            id: Clock.uuid().to_string(),
            context_id: some(&message.context_id),
            history: vec![message],
            ..Default::default()
        };
        let work = Work { task, text, done_at: Clock.instant() + wait, canceled: false };
        let mut tasks = self.tasks.lock().expect("not poisoned");
        if tasks.len() >= TASKS_MAX {
            tasks.pop_first();
        }
        tasks.insert(work.task.id.clone(), work.clone());
        work
    }

    fn find(&self, id: &str) -> Result<Work, Error> {
        let tasks = self.tasks.lock().expect("not poisoned");
        tasks.get(id).cloned().ok_or_else(|| Error::new(Kind::TaskNotFound, "there is no such task"))
    }

    fn cancel(&self, id: &str) -> Result<proto::Task, Error> {
        let mut tasks = self.tasks.lock().expect("not poisoned");
        let work = tasks.get_mut(id).ok_or_else(|| Error::new(Kind::TaskNotFound, "there is no such task"))?;
        if work.state().is_terminal() {
            return Err(Error::new(Kind::TaskNotCancelable, "the task has ended"));
        }
        work.canceled = true;
        Ok(work.now())
    }
}

impl Work {
    fn state(&self) -> TaskState {
        match () {
            () if self.canceled => TaskState::Canceled,
            () if self.done_at <= Clock.instant() => TaskState::Completed,
            () => TaskState::Working,
        }
    }

    /// The task as it is now.
    fn now(&self) -> proto::Task {
        let state = self.state();
        let mut task = self.task.clone();
        task.status = Some(status(state));
        if state == TaskState::Completed {
            let text = format!("You said: {}", self.text);
            let part = proto::Part { content: Some(proto::part::Content::Text(text)), ..Default::default() };
            task.artifacts =
                vec![proto::Artifact { artifact_id: "echo".into(), parts: vec![part], ..Default::default() }];
        }
        task
    }
}
