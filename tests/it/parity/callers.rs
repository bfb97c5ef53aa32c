//! A caller of each door, which reads what the door says and nothing of ours.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Method};
use prost::Message as _;
use serde_json::{Value, json};
use switchboard::error::Kind;
use switchboard::operation::{Operation, Rpc, Version};
use switchboard::wire::{proto as wire_proto, rest};
use tonic::Status;
use tonic_types::pb;

use super::old::Old;
use super::{from_proto, operation};
use crate::support::gateway::{Answer, TestGateway, call as envelope, grpc_request_as};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    JsonRpc,
    HttpJson,
    /// The generated client.
    Grpc,
    ConnectJson,
    ConnectProto,
    WebProto,
    WebText,
    /// These speak 0.3.
    Old(Old),
}

pub const CALLERS: [Caller; 14] = [
    Caller::JsonRpc,
    Caller::HttpJson,
    Caller::Grpc,
    Caller::ConnectJson,
    Caller::ConnectProto,
    Caller::WebProto,
    Caller::WebText,
    Caller::Old(Old::JsonRpc),
    Caller::Old(Old::HttpJson),
    Caller::Old(Old::Grpc),
    Caller::Old(Old::ConnectJson),
    Caller::Old(Old::ConnectProto),
    Caller::Old(Old::WebProto),
    Caller::Old(Old::WebText),
];

impl Caller {
    pub fn version(self) -> Version {
        if matches!(self, Self::Old(_)) { Version::V0_3 } else { Version::V1_0 }
    }

    /// 0.3 has no list of tasks.
    pub fn lists_tasks(self) -> bool {
        self.version() == Version::V1_0
    }

    pub fn is_json(self) -> bool {
        matches!(self, Self::JsonRpc | Self::HttpJson | Self::ConnectJson)
    }
}

#[derive(Debug)]
pub enum Outcome {
    One(Value),
    Stream(Vec<Value>),
    Error { code: Code, reason: String, message: String, metadata: Value },
}

/// An error's code, as the binding has it.
#[derive(Debug)]
pub enum Code {
    JsonRpc(i64),
    Http(u16),
    Grpc(i32),
    /// Connect's name, and the HTTP status when it was not inside a stream.
    Connect(String),
}

impl Code {
    pub fn check(&self, kind: Kind, version: Version) -> Result<(), String> {
        let row = kind.row();
        let (jsonrpc, http, grpc) = match version {
            Version::V1_0 => (row.jsonrpc, row.http, row.grpc),
            Version::V0_3 => (row.legacy.jsonrpc, row.legacy.http, row.legacy.grpc),
        };
        let is_right = match self {
            Self::JsonRpc(code) => *code == i64::from(jsonrpc),
            Self::Http(status) => *status == http,
            Self::Grpc(code) => *code == grpc as i32,
            Self::Connect(code) => code.to_uppercase() == grpc.name(),
        };
        if is_right { Ok(()) } else { Err(format!("{self:?} is not the code of {kind:?}")) }
    }
}

pub async fn call(caller: Caller, gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value) -> Outcome {
    match caller {
        Caller::JsonRpc => jsonrpc(gateway, agent, rpc, request).await,
        Caller::HttpJson => http_json(gateway, agent, rpc, request).await,
        Caller::Grpc => grpc(gateway, agent, rpc, request).await,
        Caller::ConnectJson => connect(gateway, agent, rpc, "json", request).await,
        Caller::ConnectProto => connect(gateway, agent, rpc, "proto", request).await,
        Caller::WebProto => web(gateway, agent, rpc, request, "application/grpc-web+proto").await,
        Caller::WebText => web(gateway, agent, rpc, request, "application/grpc-web-text").await,
        Caller::Old(caller) => super::old::call(caller, gateway, agent, rpc, request).await,
    }
}

fn details(error: &Value) -> (String, String, Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let details = if error["data"].is_array() { &error["data"] } else { &error["details"] };
    (text(&details[0]["reason"]), text(&error["message"]), details[0]["metadata"].clone())
}

async fn jsonrpc(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value) -> Outcome {
    let answer = gateway.post(agent, envelope(rpc.method().name, request.clone())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    if answer.headers["content-type"] == "text/event-stream" {
        return Outcome::Stream(answer.events().into_iter().map(|mut event| event["result"].take()).collect());
    }
    let mut body = answer.json();
    if body["error"].is_object() {
        let (reason, message, metadata) = details(&body["error"]);
        let code = Code::JsonRpc(body["error"]["code"].as_i64().unwrap());
        return Outcome::Error { code, reason, message, metadata };
    }
    Outcome::One(body["result"].take())
}

async fn http_json(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value) -> Outcome {
    let operation = operation(rpc, request);
    let target = rest::target(&operation, "").expect("a path");
    // The caller's own text, where the operation is a body: numbers in it are what they are.
    let body = if target.has_body { request.to_string() } else { String::new() };
    let bearer = format!("Bearer {}", gateway.key);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let path = format!("/a2a/{agent}{}", target.path_and_query);
    let answer = gateway.request(target.verb, &path, &headers, body).await;
    if answer.headers["content-type"] == "text/event-stream" {
        return Outcome::Stream(answer.events());
    }
    let body = answer.json();
    if answer.status != 200 {
        let (reason, message, metadata) = details(&body["error"]);
        return Outcome::Error { code: Code::Http(answer.status.as_u16()), reason, message, metadata };
    }
    Outcome::One(if rpc == Rpc::DeletePushConfig && body == json!({}) { Value::Null } else { body })
}

fn with_tenant(operation: Operation, agent: &str) -> Bytes {
    wire_proto::write_request(&operation.with_tenant(agent.to_owned()))
}

/// The error in a status with details.
fn from_status(code: Code, message: &str, details: &[prost_types::Any]) -> Outcome {
    let info = details.iter().find(|detail| detail.type_url.ends_with("google.rpc.ErrorInfo"));
    let info = pb::ErrorInfo::decode(&info.expect("ErrorInfo").value[..]).expect("ErrorInfo");
    Outcome::Error { code, reason: info.reason, message: message.to_owned(), metadata: json!(info.metadata) }
}

fn from_grpc(status: &Status) -> Outcome {
    let whole = pb::Status::decode(status.details()).expect("a status");
    assert_eq!((whole.code, whole.message.as_str()), (status.code() as i32, status.message()), "the same twice");
    from_status(Code::Grpc(whole.code), &whole.message, &whole.details)
}

async fn grpc(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value) -> Outcome {
    let mut client = gateway.grpc();
    let bytes = with_tenant(operation(rpc, request), agent);
    macro_rules! one {
        ($method:ident) => {
            match client.$method(grpc_request_as(&gateway.key, bytes)).await {
                Ok(answer) => Outcome::One(from_proto(rpc, &answer.into_inner().bytes)),
                Err(status) => from_grpc(&status),
            }
        };
    }
    macro_rules! many {
        ($method:ident) => {{
            let mut stream = match client.$method(grpc_request_as(&gateway.key, bytes)).await {
                Ok(answer) => answer.into_inner(),
                Err(status) => return from_grpc(&status),
            };
            let mut events = Vec::new();
            loop {
                match stream.message().await {
                    Ok(Some(event)) => events.push(from_proto(rpc, &event.bytes)),
                    Ok(None) => return Outcome::Stream(events),
                    Err(status) => return from_grpc(&status),
                }
            }
        }};
    }
    match rpc {
        Rpc::SendMessage => one!(send_message),
        Rpc::SendStreamingMessage => many!(send_streaming_message),
        Rpc::GetTask => one!(get_task),
        Rpc::ListTasks => one!(list_tasks),
        Rpc::CancelTask => one!(cancel_task),
        Rpc::SubscribeToTask => many!(subscribe_to_task),
        Rpc::CreatePushConfig => one!(create_task_push_notification_config),
        Rpc::GetPushConfig => one!(get_task_push_notification_config),
        Rpc::ListPushConfigs => one!(list_task_push_notification_configs),
        Rpc::GetExtendedAgentCard => one!(get_extended_agent_card),
        Rpc::DeletePushConfig => one!(delete_task_push_notification_config),
    }
}

/// A message with its flags and length.
pub fn frame(flags: u8, message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 5);
    out.put_u8(flags);
    out.put_u32(u32::try_from(message.len()).unwrap());
    out.put_slice(message);
    out.freeze()
}

/// The messages in a body, with their flags.
pub fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        frames.push((body[0], body[5..5 + length].to_vec()));
        body = &body[5 + length..];
    }
    frames
}

/// A POST to a method of the service under the agent's address, over HTTP/1.1.
pub async fn post(gateway: &TestGateway, agent: &str, rpc: Rpc, content_type: &str, body: Bytes) -> Answer {
    let bearer = format!("Bearer {}", gateway.key);
    let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
    let path = format!("/a2a/{agent}/lf.a2a.v1.A2AService/{}", rpc.method().name);
    gateway.request(Method::POST, &path, &headers, body).await
}

fn connect_error(error: &Value) -> Outcome {
    let detail = |detail: &Value| prost_types::Any {
        type_url: detail["type"].as_str().unwrap().to_owned(),
        value: STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap(),
    };
    let details: Vec<_> = error["details"].as_array().expect("details").iter().map(detail).collect();
    let code = Code::Connect(error["code"].as_str().unwrap().to_owned());
    from_status(code, error["message"].as_str().unwrap(), &details)
}

async fn connect(gateway: &TestGateway, agent: &str, rpc: Rpc, format: &str, request: &Value) -> Outcome {
    let message = if format == "json" {
        Bytes::from(request.to_string())
    } else {
        wire_proto::write_request(&operation(rpc, request))
    };
    let read = |bytes: &[u8]| match (format, rpc) {
        ("json", Rpc::DeletePushConfig) => {
            assert_eq!(bytes, b"{}");
            Value::Null
        }
        ("json", _) => serde_json::from_slice(bytes).expect("JSON"),
        _ => from_proto(rpc, bytes),
    };
    if !rpc.method().streams {
        let answer = post(gateway, agent, rpc, &format!("application/{format}"), message).await;
        if answer.status != 200 {
            assert_eq!(answer.headers["content-type"], "application/json");
            return connect_error(&answer.json());
        }
        return Outcome::One(read(&answer.body));
    }
    let answer = post(gateway, agent, rpc, &format!("application/connect+{format}"), frame(0, &message)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut frames = frames(&answer.body);
    let (flags, end) = frames.pop().expect("an end");
    assert_eq!(flags, 2, "the end of the stream");
    let end: Value = serde_json::from_slice(&end).expect("JSON");
    if end["error"].is_object() {
        return connect_error(&end["error"]);
    }
    Outcome::Stream(frames.iter().map(|(_, message)| read(message)).collect())
}

async fn web(gateway: &TestGateway, agent: &str, rpc: Rpc, request: &Value, content_type: &str) -> Outcome {
    let message = wire_proto::write_request(&operation(rpc, request));
    let answer = post(gateway, agent, rpc, content_type, web_body(&message, content_type)).await;
    match web_messages(&answer, content_type) {
        Ok(messages) => one_or_stream(rpc, messages.iter().map(|message| from_proto(rpc, message)).collect()),
        Err(status) => from_grpc(&status),
    }
}

/// A message as gRPC-Web sends it.
pub fn web_body(message: &[u8], content_type: &str) -> Bytes {
    let framed = frame(0, message);
    if content_type.contains("text") { Bytes::from(STANDARD.encode(&framed)) } else { framed }
}

/// The messages of a gRPC-Web response, or the status in its trailers.
pub fn web_messages(answer: &Answer, content_type: &str) -> Result<Vec<Vec<u8>>, Status> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with(content_type), "{:?}", answer.headers);
    let body = if content_type.contains("text") { unpadded(&answer.body) } else { answer.body.to_vec() };
    let mut frames = frames(&body);
    let (flags, trailers) = frames.pop().expect("trailers");
    assert_eq!(flags, 0x80, "trailers");
    let mut headers = HeaderMap::new();
    for line in String::from_utf8(trailers).unwrap().lines() {
        let (name, value) = line.split_once(':').expect("a trailer");
        headers.insert(http::HeaderName::try_from(name.trim()).unwrap(), value.trim().parse().unwrap());
    }
    let status = Status::from_header_map(&headers).expect("a status");
    if status.code() == tonic::Code::Ok {
        Ok(frames.into_iter().map(|(_, message)| message).collect())
    } else {
        Err(status)
    }
}

pub fn one_or_stream(rpc: Rpc, messages: Vec<Value>) -> Outcome {
    if rpc.method().streams { Outcome::Stream(messages) } else { Outcome::One(messages.into_iter().next().unwrap()) }
}

/// Base64 whose pieces are padded by themselves.
fn unpadded(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|group| STANDARD.decode(group).expect("a group of base64")).collect()
}
