//! Callers of 0.3. What they send is the case's request in 0.3, and what they read is brought back to 1.0 to be
//! compared: by our own converters, which other tests hold against the SDK's.

use bytes::Bytes;
use http::Method;
use prost::Message as _;
use serde_json::{Value, json};
use switchboard::operation::{Rpc, Version};
use switchboard::wire::grpc::Encoded;
use switchboard::wire::proto::v0_3 as proto;
use switchboard::wire::{json as wire_json, rest};
use tonic::Status;

use super::callers::{Code, Outcome, frame, frames, one_or_stream, web_body, web_messages};
use super::{FILES, LIMITS, event_in_v1, in_v1, operation};
use crate::support::gateway::{Answer, TestGateway, call as envelope, grpc_request_as};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    JsonRpc,
    HttpJson,
    Grpc,
    ConnectJson,
    ConnectProto,
    WebProto,
    WebText,
}

pub async fn call(caller: Old, gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value) -> Outcome {
    match caller {
        Old::JsonRpc => jsonrpc(gateway, agent, rpc, request).await,
        Old::HttpJson => http_json(gateway, agent, rpc, request).await,
        Old::Grpc => grpc(gateway, agent, rpc, request).await,
        Old::ConnectJson => connect(gateway, agent, rpc, request, "json").await,
        Old::ConnectProto => connect(gateway, agent, rpc, request, "proto").await,
        Old::WebProto => web(gateway, agent, rpc, request, "application/grpc-web+proto").await,
        Old::WebText => web(gateway, agent, rpc, request, "application/grpc-web-text+proto").await,
    }
}

fn in_proto(rpc: Rpc, request: &Value) -> Bytes {
    proto::write_request(&operation(rpc, request), FILES).expect("0.3 has the operation")
}

fn in_json(rpc: Rpc, request: &Value) -> Bytes {
    use switchboard::a2a::v0_3::protobuf::Asked;
    let asked = proto::request(&operation(rpc, request), FILES).expect("0.3 has the operation");
    let json = match asked {
        Asked::Send(asked) => serde_json::to_vec(&asked),
        Asked::Get(asked) => serde_json::to_vec(&asked),
        Asked::Cancel(asked) => serde_json::to_vec(&asked),
        Asked::Subscribe(asked) => serde_json::to_vec(&asked),
        Asked::SetPush(asked) => serde_json::to_vec(&asked),
        Asked::GetPush(asked) => serde_json::to_vec(&asked),
        Asked::ListPush(asked) => serde_json::to_vec(&asked),
        Asked::Card(asked) => serde_json::to_vec(&asked),
        Asked::DeletePush(asked) => serde_json::to_vec(&asked),
    };
    json.expect("JSON").into()
}

/// An answer or event in protobuf, in 1.0.
fn from_proto(rpc: Rpc, bytes: &[u8]) -> Value {
    let bytes = Bytes::copy_from_slice(bytes);
    if rpc.method().streams {
        return event_in_v1(proto::read_event(bytes, &LIMITS, FILES).expect("an event"));
    }
    if rpc == Rpc::DeletePushConfig {
        assert!(bytes.is_empty(), "the empty message");
        return Value::Null;
    }
    in_v1(proto::read_answer(rpc, bytes, &LIMITS, FILES).expect("an answer"))
}

/// An answer or event in the JSON of protobuf, in 1.0.
fn from_json(rpc: Rpc, json: &Value) -> Value {
    let bytes = Bytes::from(json.to_string());
    if rpc.method().streams {
        return event_in_v1(proto::read_event_json(&bytes, &LIMITS, FILES).expect("an event"));
    }
    if rpc == Rpc::DeletePushConfig {
        assert_eq!(*json, json!({}));
        return Value::Null;
    }
    in_v1(proto::read_answer_json(rpc, &bytes, &LIMITS, FILES).expect("an answer"))
}

async fn jsonrpc(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value) -> Outcome {
    let params = wire_json::write_request(&operation(rpc, request), Version::V0_3).expect("0.3 has the operation");
    let params: Value = serde_json::from_slice(&params).unwrap();
    let answer = gateway.post(agent, envelope(rpc.method().name_0_3, params)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bodies = if rpc.method().streams { answer.events() } else { vec![answer.json()] };
    if let Some(error) = bodies.iter().find(|body| body["error"].is_object()).map(|body| &body["error"]) {
        let code = Code::JsonRpc(error["code"].as_i64().unwrap());
        return failed(code, "", error["message"].as_str().unwrap());
    }
    let result = |body: &Value| Bytes::from(body["result"].to_string());
    if rpc.method().streams {
        let event = |body| event_in_v1(wire_json::read_event(Version::V0_3, result(body), &LIMITS).expect("an event"));
        return Outcome::Stream(bodies.iter().map(event).collect());
    }
    if rpc == Rpc::DeletePushConfig {
        return Outcome::One(bodies[0]["result"].clone());
    }
    Outcome::One(in_v1(wire_json::read_answer(rpc, Version::V0_3, result(&bodies[0]), &LIMITS).expect("an answer")))
}

fn failed(code: Code, name: &str, message: &str) -> Outcome {
    Outcome::Error { code, reason: name.to_owned(), message: message.to_owned(), metadata: Value::Null }
}

async fn http_json(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value) -> Outcome {
    let operation = operation(rpc, request);
    let target = rest::v0_3::target(&operation).expect("a path");
    let body = if target.has_body { proto::write_request_json(&operation, FILES).expect("JSON") } else { Bytes::new() };
    let bearer = format!("Bearer {}", gateway.key);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let path = format!("/a2a/{agent}{}", target.path_and_query);
    let answer = gateway.request(target.verb, &path, &headers, body).await;
    if answer.headers["content-type"] == "text/event-stream" {
        return Outcome::Stream(answer.events().iter().map(|event| from_json(rpc, event)).collect());
    }
    let body = answer.json();
    if answer.status != 200 {
        let code = Code::Http(answer.status.as_u16());
        return failed(code, body["type"].as_str().unwrap(), body["message"].as_str().unwrap());
    }
    Outcome::One(from_json(rpc, &body))
}

/// The name and the text of a message.
fn named(message: &str) -> (&str, &str) {
    message.split_once(": ").unwrap_or(("", message))
}

fn from_status(status: &Status) -> Outcome {
    let (name, text) = named(status.message());
    // gRPC-Web's library repeats code and text where the details would be.
    let details = tonic_types::pb::Status::decode(status.details()).expect("a status").details;
    assert!(details.is_empty(), "0.3 has no details: {status:?}");
    failed(Code::Grpc(status.code() as i32), name, text)
}

/// A gRPC request of 0.3 for this agent.
fn asking<T>(gateway: &TestGateway, agent: &str, bytes: Bytes) -> tonic::Request<Encoded<T>> {
    let mut request = grpc_request_as(&gateway.key, bytes);
    request.metadata_mut().insert("a2a-agent", agent.parse().expect("a value"));
    request.metadata_mut().insert("a2a-version", "0.3".parse().expect("a value"));
    request
}

async fn grpc(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value) -> Outcome {
    let mut client = gateway.old_grpc();
    let bytes = in_proto(rpc, request);
    macro_rules! one {
        ($method:ident) => {
            match client.$method(asking(gateway, agent, bytes)).await {
                Ok(answer) => Outcome::One(from_proto(rpc, &answer.into_inner().bytes)),
                Err(status) => from_status(&status),
            }
        };
    }
    macro_rules! many {
        ($method:ident) => {{
            let mut stream = match client.$method(asking(gateway, agent, bytes)).await {
                Ok(answer) => answer.into_inner(),
                Err(status) => return from_status(&status),
            };
            let mut events = Vec::new();
            loop {
                match stream.message().await {
                    Ok(Some(event)) => events.push(from_proto(rpc, &event.bytes)),
                    Ok(None) => return Outcome::Stream(events),
                    Err(status) => return from_status(&status),
                }
            }
        }};
    }
    match rpc {
        Rpc::SendMessage => one!(send_message),
        Rpc::SendStreamingMessage => many!(send_streaming_message),
        Rpc::GetTask => one!(get_task),
        Rpc::CancelTask => one!(cancel_task),
        Rpc::SubscribeToTask => many!(task_subscription),
        Rpc::CreatePushConfig => one!(create_task_push_notification_config),
        Rpc::GetPushConfig => one!(get_task_push_notification_config),
        Rpc::ListPushConfigs => one!(list_task_push_notification_config),
        Rpc::GetExtendedAgentCard => one!(get_agent_card),
        Rpc::DeletePushConfig => one!(delete_task_push_notification_config),
        Rpc::ListTasks => unreachable!("0.3 has no such call"),
    }
}

async fn post(gateway: &TestGateway, agent: &str, rpc: Rpc, content_type: &str, body: Bytes) -> Answer {
    let bearer = format!("Bearer {}", gateway.key);
    let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
    let path = format!("/a2a/{agent}/a2a.v1.A2AService/{}", rpc.method().rpc_0_3.expect("0.3 has it"));
    gateway.request(Method::POST, &path, &headers, body).await
}

fn connect_error(error: &Value) -> Outcome {
    let (name, text) = named(error["message"].as_str().unwrap());
    failed(Code::Connect(error["code"].as_str().unwrap().to_owned()), name, text)
}

async fn connect(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value, format: &str) -> Outcome {
    let message = if format == "json" { in_json(rpc, request) } else { in_proto(rpc, request) };
    let read = |bytes: &[u8]| match format {
        "json" => from_json(rpc, &serde_json::from_slice(bytes).expect("JSON")),
        _ => from_proto(rpc, bytes),
    };
    if !rpc.method().streams {
        let answer = post(gateway, agent, rpc, &format!("application/{format}"), message).await;
        if answer.status != 200 {
            return connect_error(&answer.json());
        }
        return Outcome::One(read(&answer.body));
    }
    let answer = post(gateway, agent, rpc, &format!("application/connect+{format}"), frame(0, &message)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut frames = frames(&answer.body);
    let (_, end) = frames.pop().expect("an end");
    let end: Value = serde_json::from_slice(&end).expect("JSON");
    if end["error"].is_object() {
        return connect_error(&end["error"]);
    }
    Outcome::Stream(frames.iter().map(|(_, message)| read(message)).collect())
}

async fn web(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value, content_type: &str) -> Outcome {
    let answer = post(gateway, agent, rpc, content_type, web_body(&in_proto(rpc, request), content_type)).await;
    match web_messages(&answer, content_type) {
        Ok(messages) => one_or_stream(rpc, messages.iter().map(|message| from_proto(rpc, message)).collect()),
        Err(status) => from_status(&status),
    }
}
