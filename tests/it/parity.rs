//! One table of calls, through every door and to every binding: the same answer, or the same row of the error table.
//!
//! An agent that speaks all three bindings answers each call as the table says, whichever way it is asked, and keeps
//! what it was asked. A caller of each door must then read what the agent said, and the agent must have read what the
//! caller sent. What protobuf cannot hold, integers beyond 2^53 in free-form data, is compared exactly where both
//! sides speak JSON and as a double elsewhere.

use std::sync::{Arc, Mutex};

use prost::Message as _;
use serde_json::{Value, json};
use switchboard::error::Kind;
use switchboard::operation::{Operation, Rpc, Version};
use switchboard::wire::{content, json as wire_json, proto as wire_proto, status};
use switchboard::{call, config::JsonLimits, error::Error};

use crate::support::fake::{FakeAgent, FakeReply, Seen};
use crate::support::gateway::TestGateway;
use crate::support::grpc::{FakeGrpcAgent, Heard, Said};

pub mod callers;
mod cases;

use callers::{CALLERS, Outcome, call as call_by};
use cases::{Case, Expected};

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 100_000, parts_max: 100, digits_max: 100 };
/// How the agent is called.
const AGENTS: [&str; 3] = ["by-jsonrpc", "by-rest", "by-grpc"];

/// The case that is being played, and the requests that reached the agent for it, as ProtoJSON.
#[derive(Default)]
struct Stage {
    case: Option<Case>,
    asked: Vec<(Rpc, Value)>,
}

type Shared = Arc<Mutex<Stage>>;

fn expected(stage: &Shared, rpc: Rpc, request: Value) -> Expected {
    let mut stage = stage.lock().unwrap();
    stage.asked.push((rpc, request));
    stage.case.clone().expect("a case is being played").expected
}

/// The agent by JSON-RPC and HTTP+JSON: told apart by the path.
async fn json_agent(stage: Shared) -> FakeAgent {
    FakeAgent::raw(move |seen| match seen.path.as_str() {
        "/rpc" => by_jsonrpc(&stage, &seen),
        path if path.starts_with("/rest/") => by_rest(&stage, &seen),
        _ => FakeReply::Whole(404, "text/plain", "no".into()),
    })
    .await
}

fn by_jsonrpc(stage: &Shared, seen: &Seen) -> FakeReply {
    let envelope = seen.json();
    let (method, _) = switchboard::operation::Method::by_jsonrpc_name(envelope["method"].as_str().unwrap()).unwrap();
    match expected(stage, method.rpc, envelope["params"].clone()) {
        Expected::One(answer) => FakeReply::result(seen, &answer.to_string()),
        Expected::Stream(events) => {
            let events: Vec<String> = events.iter().map(Value::to_string).collect();
            FakeReply::events(seen, &events.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Expected::Error(kind) => {
            let error = json!({ "code": kind.row().jsonrpc, "message": "as told", "data": [info(kind)] });
            FakeReply::error(seen, &error.to_string())
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
    let route = switchboard::wire::rest::find(&seen.method, path.trim_start_matches("/rest")).expect("a route of A2A");
    let rpc = route.method.rpc;
    let (operation, _) =
        switchboard::wire::rest::read_request(&route, Some(query), &seen.body, &LIMITS).expect("a request");
    match expected(stage, rpc, Value::Object(wire_json::members(&operation).expect("JSON"))) {
        Expected::One(answer) => FakeReply::json(if answer.is_null() { "{}".to_owned() } else { answer.to_string() }),
        Expected::Stream(events) => {
            let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            FakeReply::Whole(200, "text/event-stream", body)
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
    let (operation, _) = wire_proto::read_request(heard.rpc, heard.message.clone(), &LIMITS).expect("a request");
    match expected(stage, heard.rpc, Value::Object(wire_json::members(&operation).expect("JSON"))) {
        Expected::One(answer) => Said::One(in_proto(heard.rpc, &answer)),
        Expected::Stream(events) => {
            let events = events.iter().map(|event| serde_json::from_value(event.clone()).expect("an event"));
            Said::events(events.collect())
        }
        Expected::Error(kind) => Said::Error(status::of(&Error::new(kind, "as told").info("told", "yes"))),
    }
}

/// An answer in ProtoJSON as protobuf.
fn in_proto(rpc: Rpc, answer: &Value) -> bytes::Bytes {
    let answer = wire_json::read_answer(rpc, Version::V1_0, answer.to_string().into(), &LIMITS).expect("an answer");
    content::write_answer(answer, call::Form::Proto).expect("an answer in protobuf")
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

#[tokio::test]
async fn every_door_and_every_binding_say_the_same() {
    let stage = Shared::default();
    let json_agent = json_agent(Arc::clone(&stage)).await;
    let of_grpc = Arc::clone(&stage);
    let grpc_agent = FakeGrpcAgent::start(move |heard| by_grpc(&of_grpc, &heard)).await;
    // The calls are about tasks that nobody made.
    let config = format!(
        "tasks: {{scope: none}}\nagents:\n\
         - {{name: by-jsonrpc, url: '{0}/rpc', protocol_version: '1.0', bindings: [jsonrpc]}}\n\
         - {{name: by-rest, url: '{0}/rest', protocol_version: '1.0', bindings: [http_json]}}\n\
         - {{name: by-grpc, url: '{1}'}}\n",
        json_agent.url,
        grpc_agent.address()
    );
    let gateway = TestGateway::start(&config).await;
    let mut compared = 0;
    for case in cases::all() {
        for agent in AGENTS {
            for caller in CALLERS {
                let name = format!("{}, {caller:?} to {agent}", case.name);
                {
                    let mut stage = stage.lock().unwrap();
                    stage.case = Some(case.clone());
                    stage.asked.clear();
                }
                let outcome = call_by(caller, &gateway, agent, case.rpc, &case.request).await;
                compare(&name, &case, &outcome, caller.is_json() && agent != "by-grpc");
                let asked = stage.lock().unwrap().asked.clone();
                assert_eq!(asked.len(), 1, "{name}: the agent was asked once");
                assert_eq!(asked[0].0, case.rpc, "{name}");
                let sent = Value::Object(wire_json::members(&operation(case.rpc, &case.request)).expect("JSON"));
                assert_eq!(settled(&asked[0].1), settled(&sent), "{name}: what the agent read");
                compared += 1;
            }
        }
    }
    println!("{compared} calls compared");
    assert!(compared > 500, "{compared}");
    gateway.finish().await;
}

fn compare(name: &str, case: &Case, outcome: &Outcome, exactly: bool) {
    let same = |found: &Value, said: &Value| {
        if exactly {
            assert_eq!(found, said, "{name}");
        }
        assert_eq!(settled(found), settled(said), "{name}");
    };
    match (&case.expected, outcome) {
        (Expected::One(said), Outcome::One(found)) if case.rpc == Rpc::GetExtendedAgentCard => {
            assert_eq!(found["name"], said["name"], "{name}");
            assert!(found["supportedInterfaces"].to_string().contains("/a2a/by-"), "{name}: {found}");
        }
        (Expected::One(said), Outcome::One(found)) => same(found, said),
        (Expected::Stream(said), Outcome::Stream(found)) => {
            assert_eq!(found.len(), said.len(), "{name}: {found:?}");
            found.iter().zip(said).for_each(|(found, said)| same(found, said));
        }
        (Expected::Error(kind), Outcome::Error { code, reason, message, metadata }) => {
            assert_eq!((reason.as_str(), message.as_str()), (kind.row().reason, "as told"), "{name}");
            assert_eq!(metadata["told"], "yes", "{name}: {metadata}");
            code.must_be_of(*kind, name);
        }
        (expected, outcome) => panic!("{name}: expected {expected:?}, got {outcome:?}"),
    }
}

/// Bytes of an answer as ProtoJSON.
fn from_proto(rpc: Rpc, bytes: &[u8]) -> Value {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    if matches!(rpc, Rpc::SendStreamingMessage | Rpc::SubscribeToTask) {
        let event = switchboard::proto::StreamResponse::decode(bytes).expect("an event");
        return serde_json::to_value(event).expect("an event in JSON");
    }
    if rpc == Rpc::DeletePushConfig {
        assert!(bytes.is_empty(), "the empty message");
        return Value::Null;
    }
    let answer = wire_proto::read_answer(rpc, bytes, &LIMITS).expect("an answer");
    let json = content::write_answer(answer, call::Form::Json(Version::V1_0)).expect("an answer in JSON");
    serde_json::from_slice(&json).expect("JSON")
}
