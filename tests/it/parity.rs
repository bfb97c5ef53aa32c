//! One table of calls, through every door and to every binding in both versions: the same answer, or the same row of the
//! error table.
//!
//! An agent that speaks all bindings in both versions answers each call as the table says, whichever way it is asked,
//! and keeps what it was asked. A caller of each door, in either version, must then read what the agent said, and the
//! agent must have read what the caller sent. What protobuf cannot hold, integers beyond 2^53 in free-form data, is
//! compared exactly where both sides speak JSON of one version and as a double elsewhere. Where the versions cannot say
//! the same, the difference is listed in [`differences`] with its reason, which `docs/fidelity.md` has too; one that is
//! listed and does not show is as wrong as one that shows and is not listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use serde_json::{Value, json};
use switchboard::call::{FileBytes, Form};
use switchboard::error::Kind;
use switchboard::operation::{Operation, Rpc, Version};
use switchboard::wire::proto::v0_3 as old_proto;
use switchboard::wire::{content, json as wire_json, proto as wire_proto, rest, status};
use switchboard::{call, config::JsonLimits, error::Error};

use crate::support::fake::{FakeAgent, FakeReply, Seen};
use crate::support::gateway::TestGateway;
use crate::support::grpc::{FakeGrpcAgent, Heard, Said};

pub mod callers;
mod cases;
mod differences;
mod old;
mod pushes;

use callers::{CALLERS, Outcome, call as call_by};
use cases::{Case, Expected};

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 100_000, parts_max: 100, digits_max: 100 };
const FILES: FileBytes = FileBytes::Auto;

/// How the agent is called: its name, the version and the binding of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    pub name: &'static str,
    pub version: Version,
    binding: &'static str,
}

const AGENTS: [By; 6] = [
    By { name: "by-jsonrpc", version: Version::V1_0, binding: "jsonrpc" },
    By { name: "by-rest", version: Version::V1_0, binding: "http_json" },
    By { name: "by-grpc", version: Version::V1_0, binding: "grpc" },
    By { name: "by-old-jsonrpc", version: Version::V0_3, binding: "jsonrpc" },
    By { name: "by-old-rest", version: Version::V0_3, binding: "http_json" },
    By { name: "by-old-grpc", version: Version::V0_3, binding: "grpc" },
];

/// The case that is being played, and the requests that reached the agent for it, as ProtoJSON of 1.0.
#[derive(Default)]
struct Stage {
    case: Option<Case>,
    asked: Vec<(Rpc, Value)>,
}

impl Stage {
    fn play(&mut self, case: Case) {
        self.case = Some(case);
        self.asked.clear();
    }
}

/// What came of the cases so far.
#[derive(Default)]
struct Tally {
    equal: usize,
    listed: BTreeMap<&'static str, usize>,
    wrong: BTreeSet<String>,
}

impl Tally {
    fn count(&mut self, name: &str, difference: Result<(), String>, reason: Option<&'static str>) {
        match (difference, reason) {
            (Ok(()), None) => self.equal += 1,
            (Err(_), Some(reason)) => *self.listed.entry(reason).or_default() += 1,
            (Ok(()), Some(reason)) => drop(self.wrong.insert(format!("{name}: is equal, and listed: {reason}"))),
            (Err(difference), None) => drop(self.wrong.insert(format!("{name}: {difference}"))),
        }
    }
}

type Shared = Arc<Mutex<Stage>>;

fn expected(stage: &Shared, rpc: Rpc, operation: &Operation) -> Expected {
    let mut stage = stage.lock().unwrap();
    let case = stage.case.clone().expect("a case is being played");
    if (rpc, case.rpc) == (Rpc::GetTask, Rpc::SubscribeToTask)
        && let Expected::Stream(events) = &case.expected
    {
        // Before it subscribes to a task of 0.3, the gateway asks how it is, for 1.0 begins with that.
        let mut task = events[0]["task"].clone();
        task["id"] = json!(operation.task_id());
        return Expected::One(task);
    }
    stage.asked.push((rpc, Value::Object(wire_json::members(operation).expect("JSON"))));
    case.expected
}

/// An answer of the table as the agent writes it.
fn written(rpc: Rpc, answer: &Value, form: Form) -> Bytes {
    let answer = wire_json::read_answer(rpc, Version::V1_0, answer.to_string().into(), &LIMITS).expect("an answer");
    content::write_answer(answer, form).expect("an answer can be written")
}

/// The events of a stream as the agent writes them.
fn written_events(events: &[Value], form: Form) -> Vec<Bytes> {
    let mut writer = content::EventWriter::new(form);
    let event = |event: &Value| serde_json::from_value(event.clone()).expect("an event");
    events
        .iter()
        .flat_map(|value| writer.write(content::typed_event(event(value))).expect("it can be written"))
        .collect()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("JSON")
}

/// The agent by JSON-RPC and HTTP+JSON: told apart by the path.
async fn json_agent(stage: Shared) -> FakeAgent {
    FakeAgent::raw(move |seen| match seen.path.as_str() {
        "/rpc" => by_jsonrpc(&stage, &seen),
        path if path.starts_with("/rest/") && !path.contains(".well-known") => by_rest(&stage, &seen),
        _ => FakeReply::Whole(404, "text/plain", "no".into()),
    })
    .await
}

fn by_jsonrpc(stage: &Shared, seen: &Seen) -> FakeReply {
    let envelope = seen.json();
    let (method, version) =
        switchboard::operation::Method::by_jsonrpc_name(envelope["method"].as_str().unwrap()).unwrap();
    let params = Bytes::from(envelope["params"].to_string());
    let (operation, _) = wire_json::read_request(method.rpc, version, Some(params), &LIMITS).expect("a request");
    let form = Form::Json(version);
    match expected(stage, method.rpc, &operation) {
        // As it stands, so that integers of any size do.
        Expected::One(answer) if version == Version::V1_0 => FakeReply::result(seen, &answer.to_string()),
        Expected::One(answer) => FakeReply::result(seen, &text(&written(method.rpc, &answer, form))),
        Expected::Stream(events) => {
            let events: Vec<String> = written_events(&events, form).iter().map(text).collect();
            FakeReply::events(seen, &events.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Expected::Error(kind) if version == Version::V1_0 => {
            let error = json!({ "code": kind.row().jsonrpc, "message": "as told", "data": [info(kind)] });
            FakeReply::error(seen, &error.to_string())
        }
        Expected::Error(kind) => {
            FakeReply::error(seen, &json!({ "code": kind.row().legacy.jsonrpc, "message": "as told" }).to_string())
        }
    }
}

fn info(kind: Kind) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": kind.row().reason, "domain": "a2a-protocol.org", "metadata": { "told": "yes" },
    })
}

fn by_rest(stage: &Shared, seen: &Seen) -> FakeReply {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let route = rest::find(&seen.method, path.trim_start_matches("/rest")).expect("a route of A2A");
    let rpc = route.method.rpc;
    let is_old = route.version == Version::V0_3;
    let operation = if is_old {
        rest::v0_3::read_request(&route, Some(query), &seen.body, &LIMITS).expect("a request")
    } else {
        rest::read_request(&route, Some(query), &seen.body, &LIMITS).expect("a request").0
    };
    let form = if is_old { Form::ProtoJsonV0_3(FILES) } else { Form::Json(Version::V1_0) };
    match expected(stage, rpc, &operation) {
        Expected::One(answer) if answer.is_null() => FakeReply::json("{}"),
        Expected::One(answer) if is_old => FakeReply::json(text(&written(rpc, &answer, form))),
        Expected::One(answer) => FakeReply::json(answer.to_string()),
        Expected::Stream(events) => {
            let events = written_events(&events, form);
            let body: String = events.iter().map(|event| format!("data: {}\n\n", text(event))).collect();
            FakeReply::Whole(200, "text/event-stream", body)
        }
        Expected::Error(kind) if is_old => {
            let (status, body) = status::v0_3::write_json(&Error::new(kind, "as told"));
            FakeReply::Whole(status, "application/json", text(&body))
        }
        Expected::Error(kind) => {
            let row = kind.row();
            let error = json!({ "error": {
                "code": row.http, "status": row.grpc.name(), "message": "as told", "details": [info(kind)],
            }});
            FakeReply::Whole(row.http, "application/json", error.to_string())
        }
    }
}

fn by_grpc(stage: &Shared, heard: &Heard) -> Said {
    let (message, is_old) = (heard.message.clone(), heard.version == Version::V0_3);
    let read = if is_old {
        old_proto::read_request(heard.rpc, message, &LIMITS)
    } else {
        wire_proto::read_request(heard.rpc, message, &LIMITS)
    };
    let (operation, _) = read.expect("a request");
    let form = if is_old { Form::ProtoV0_3(FILES) } else { Form::Proto };
    match expected(stage, heard.rpc, &operation) {
        Expected::One(answer) => Said::One(written(heard.rpc, &answer, form)),
        Expected::Stream(events) => {
            Said::Stream(futures_util::stream::iter(written_events(&events, form).into_iter().map(Ok)).boxed())
        }
        Expected::Error(kind) if is_old => Said::Error(status::v0_3::of(&Error::new(kind, "as told"))),
        Expected::Error(kind) => Said::Error(status::of(&Error::new(kind, "as told").info("told", "yes"))),
    }
}

/// An operation in ProtoJSON.
fn operation(rpc: Rpc, request: &Value) -> Operation {
    wire_json::read_request(rpc, Version::V1_0, Some(request.to_string().into()), &LIMITS).expect("a request").0
}

/// Numbers as protobuf has them, members that are at their default left out: what two forms can agree on.
fn settled(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(settled).collect(),
        Value::Object(members) => {
            let is_default = |value: &Value| match value {
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Bool(flag) => !flag,
                _ => false,
            };
            let members = members.iter().map(|(name, value)| (name.clone(), settled(value)));
            Value::Object(members.filter(|(_, value)| !is_default(value)).collect())
        }
        other => other.clone(),
    }
}

/// A gateway before the agent, by all ways to call it.
async fn gateway(json: &FakeAgent, grpc: &FakeGrpcAgent, config: &str) -> TestGateway {
    let entry = |by: &By| {
        let url = match by.binding {
            "jsonrpc" => format!("{}/rpc", json.url),
            "http_json" => format!("{}/rest", json.url),
            _ => grpc.address(),
        };
        // The probe would be a call that no case asks for.
        format!(
            "- {{name: {}, url: '{url}', protocol_version: '{}', bindings: [{}], dialect: {{strict_requests: false}}}}\n",
            by.name, by.version, by.binding
        )
    };
    let entries: String = AGENTS.iter().map(entry).collect();
    // The calls are about tasks that nobody made.
    TestGateway::start(&format!("tasks: {{scope: none}}\n{config}agents:\n{entries}")).await
}

#[tokio::test]
async fn every_door_and_every_binding_say_the_same() {
    let stage = Shared::default();
    let json_agent = json_agent(Arc::clone(&stage)).await;
    let of_grpc = Arc::clone(&stage);
    let grpc_agent = FakeGrpcAgent::start(move |heard| by_grpc(&of_grpc, &heard)).await;
    let gateway = gateway(&json_agent, &grpc_agent, "").await;
    let mut tally = Tally::default();
    for case in cases::all() {
        for by in AGENTS {
            for caller in CALLERS {
                if caller.version() == Version::V0_3 && case.rpc == Rpc::ListTasks {
                    // There is no such call to make.
                    continue;
                }
                stage.lock().unwrap().play(case.clone());
                let outcome = call_by(caller, &gateway, by.name, case.rpc, &case.request).await;
                let asked = stage.lock().unwrap().asked.clone();
                let exactly = caller.is_json()
                    && by.binding != "grpc"
                    && caller.version() == by.version
                    && by.version == Version::V1_0;
                let difference = compare(&case, &outcome, exactly, (caller, by)).and_then(|()| heard(&case, &asked));
                let name = format!("{}, {caller:?} to {}", case.name, by.name);
                tally.count(&name, difference, differences::reason(&case, caller, by));
            }
        }
    }
    gateway.finish().await;
    pushes::play(&stage, (&json_agent, &grpc_agent), &mut tally).await;
    let Tally { equal, listed, wrong } = tally;
    let differing: usize = listed.values().sum();
    println!("parity: {equal} of {} equal, {differing} listed", equal + differing + wrong.len());
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.into_iter().take(2000).collect::<Vec<_>>().join("\n")
    );
    assert!(equal > 2_500, "{equal}");
    differences::are_told(equal, &listed);
}

/// What the agent read is what the caller sent.
fn heard(case: &Case, asked: &[(Rpc, Value)]) -> Result<(), String> {
    if asked.len() != 1 || asked[0].0 != case.rpc {
        return Err(format!("the agent was asked {:?}", asked.iter().map(|(rpc, _)| rpc).collect::<Vec<_>>()));
    }
    let sent = Value::Object(wire_json::members(&operation(case.rpc, &case.request)).expect("JSON"));
    same("the agent read", &asked[0].1, &sent)
}

fn same(what: &str, found: &Value, said: &Value) -> Result<(), String> {
    if settled(found) == settled(said) { Ok(()) } else { Err(format!("{what} {found} instead of {said}")) }
}

/// The kind that an error of a 0.3 agent is, which does not know all.
fn told_by(kind: Kind, version: Version) -> Kind {
    match version {
        Version::V1_0 => kind,
        Version::V0_3 => Kind::from_jsonrpc(i64::from(kind.row().legacy.jsonrpc)),
    }
}

fn compare(case: &Case, outcome: &Outcome, exactly: bool, (caller, by): (callers::Caller, By)) -> Result<(), String> {
    let one = |found: &Value, said: &Value| {
        if exactly && found != said {
            return Err(format!("the caller read {found} instead of exactly {said}"));
        }
        same("the caller read", found, said)
    };
    match (&case.expected, outcome) {
        (Expected::One(said), Outcome::One(found)) if case.rpc == Rpc::GetExtendedAgentCard => {
            let ours = found.to_string().contains(&format!("/a2a/{}", by.name));
            if found["name"] == said["name"] && ours { Ok(()) } else { Err(format!("the card {found}")) }
        }
        (Expected::One(said), Outcome::One(found)) => one(found, said),
        (Expected::Stream(said), Outcome::Stream(found)) if found.len() == said.len() => {
            found.iter().zip(said).try_for_each(|(found, said)| one(found, said))
        }
        (Expected::Error(kind), Outcome::Error { code, reason, message, metadata }) => {
            let kind = told_by(*kind, by.version);
            code.check(kind, caller.version())?;
            let name = if caller.version() == Version::V1_0 { kind.row().reason } else { kind.row().legacy.name };
            let told = caller.version() == Version::V0_3 || by.version == Version::V0_3 || metadata["told"] == "yes";
            let named = reason.is_empty() || reason == name;
            if message == "as told" && named && told { Ok(()) } else { Err(format!("{reason}: {message} {metadata}")) }
        }
        (expected, outcome) => Err(format!("{outcome:?} instead of {expected:?}")),
    }
}

/// Bytes of an answer as ProtoJSON.
fn from_proto(rpc: Rpc, bytes: &[u8]) -> Value {
    let bytes = Bytes::copy_from_slice(bytes);
    if matches!(rpc, Rpc::SendStreamingMessage | Rpc::SubscribeToTask) {
        let event = switchboard::proto::StreamResponse::decode(bytes).expect("an event");
        return serde_json::to_value(event).expect("an event in JSON");
    }
    if rpc == Rpc::DeletePushConfig {
        assert!(bytes.is_empty(), "the empty message");
        return Value::Null;
    }
    in_v1(wire_proto::read_answer(rpc, bytes, &LIMITS).expect("an answer"))
}

/// An answer as ProtoJSON of 1.0.
fn in_v1(answer: call::Answer) -> Value {
    let json = content::write_answer(answer, Form::Json(Version::V1_0)).expect("an answer in JSON");
    serde_json::from_slice(&json).expect("JSON")
}

/// An event as ProtoJSON of 1.0.
fn event_in_v1(event: call::Event) -> Value {
    serde_json::to_value(content::typed_stream_event(event).expect("an event")).expect("JSON")
}
