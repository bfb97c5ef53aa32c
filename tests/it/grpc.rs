//! The gRPC door and gRPC agents: who is meant, how long it may take, what goes on untouched, and what cannot be taken.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt as _;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use switchboard::ledger::Outcome;
use switchboard::operation::Rpc;
use switchboard::proto;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::parity::callers::frame;
use crate::support::gateway::{KEY, TestGateway, grpc_request};
use crate::support::grpc::{FakeGrpcAgent, Heard, Raw, Said};
use crate::support::{FakeAgent, FakeReply};

fn message(text: &str) -> proto::SendMessageRequest {
    let part = proto::Part { content: Some(proto::part::Content::Text(text.into())), ..Default::default() };
    let message = proto::Message { message_id: "m".into(), role: 1, parts: vec![part], ..Default::default() };
    proto::SendMessageRequest { message: Some(message), ..Default::default() }
}

fn task(state: proto::TaskState) -> proto::Task {
    let status = proto::TaskStatus { state: state.into(), ..Default::default() };
    proto::Task { id: "t".into(), context_id: "c".into(), status: Some(status), ..Default::default() }
}

fn answer() -> Said {
    let payload = proto::send_message_response::Payload::Task(task(proto::TaskState::Completed));
    Said::message(&proto::SendMessageResponse { payload: Some(payload) })
}

fn event(state: proto::TaskState) -> proto::StreamResponse {
    proto::StreamResponse { payload: Some(proto::stream_response::Payload::Task(task(state))) }
}

/// A stream whose task works for ever.
fn working() -> Said {
    let first = futures_util::stream::iter([Ok(Bytes::from(event(proto::TaskState::Working).encode_to_vec()))]);
    Said::Stream(first.chain(futures_util::stream::pending()).boxed())
}

/// An answer that JSON cannot spell.
fn not_a_number() -> Said {
    let value = proto::Value { kind: Some(proto::value::Kind::NumberValue(f64::NAN)) };
    let metadata = proto::Struct { fields: [("x".to_owned(), value)].into() };
    let task = proto::Task { metadata: Some(metadata), ..task(proto::TaskState::Completed) };
    let payload = proto::send_message_response::Payload::Task(task);
    Said::message(&proto::SendMessageResponse { payload: Some(payload) })
}

async fn echo() -> FakeGrpcAgent {
    FakeGrpcAgent::start(|_| answer()).await
}

async fn gateway(agent: &FakeGrpcAgent, more: &str) -> TestGateway {
    let url = agent.address();
    TestGateway::start(&format!("{more}\nagents:\n- {{name: a, url: '{url}'}}\n- {{name: b, url: '{url}'}}")).await
}

async fn raw(gateway: &TestGateway, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Raw {
    let bearer = format!("Bearer {KEY}");
    let usual = [("authorization", bearer.as_str()), ("content-type", "application/grpc"), ("te", "trailers")];
    let mut all: Vec<_> =
        usual.into_iter().filter(|(name, _)| !headers.iter().any(|(other, _)| other == name)).collect();
    // An empty value takes a usual header away.
    all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
    timeout(Duration::from_secs(20), Raw::at(gateway, "/lf.a2a.v1.A2AService/SendMessage", &all, body.into()))
        .await
        .expect("an answer in time")
}

fn framed(request: &proto::SendMessageRequest) -> Bytes {
    frame(0, &request.encode_to_vec())
}

fn to(agent: &str) -> proto::SendMessageRequest {
    proto::SendMessageRequest { tenant: agent.into(), ..message("hi") }
}

#[tokio::test]
async fn takes_the_agent_from_tenant_or_metadata_or_host_and_they_must_agree() {
    let agent = echo().await;
    let gateway = gateway(&agent, "agent_domain: agents.test").await;
    let sent = async |tenant: &str, headers: &[(&str, &str)]| {
        raw(&gateway, headers, framed(&proto::SendMessageRequest { tenant: tenant.into(), ..message("hi") }))
            .await
            .grpc()
    };
    for (tenant, headers) in
        [("a", &[][..]), ("a/inner", &[]), ("", &[("a2a-agent", "a")]), ("a", &[("a2a-agent", "a")])]
    {
        assert_eq!(sent(tenant, headers).await.0, 0, "{tenant} {headers:?}");
        let tenant_there = proto::SendMessageRequest::decode(agent.last().message).unwrap().tenant;
        assert_eq!(tenant_there, tenant.strip_prefix("a/").unwrap_or_default(), "the agent's own tenant");
    }
    let before = agent.calls().len();
    for (tenant, headers, code, hint) in [
        ("", &[][..], 3, "must name the agent"),
        ("nobody", &[], 5, "there is no agent"),
        ("b", &[("a2a-agent", "a")], 3, "another agent"),
        ("a", &[("a2a-agent", "nobody")], 5, "there is no agent"),
        ("a", &[("authorization", "")], 16, "no key"),
    ] {
        let (found, message) = sent(tenant, headers).await;
        assert_eq!(found, code, "{tenant} {headers:?}: {message}");
        assert!(message.replace("%20", " ").contains(hint), "{message}");
    }
    assert_eq!(agent.calls().len(), before, "none of them reached an agent");
    let by_host = async |host: &str, tenant: &str| {
        let body = framed(&to(tenant));
        let bearer = format!("Bearer {KEY}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/grpc-web"), ("host", host)];
        gateway.request(http::Method::POST, "/lf.a2a.v1.A2AService/SendMessage", &headers, body).await.text()
    };
    assert!(by_host("a.agents.test", "").await.contains("grpc-status: 0"));
    assert!(by_host("a.agents.test:443", "a").await.contains("grpc-status: 0"));
    assert!(by_host("a.agents.test", "b").await.contains("grpc-status: 3"));
    gateway.finish().await;
}

#[tokio::test]
async fn forwards_the_bytes_of_messages_and_passes_metadata_on() {
    let unknown = Bytes::from_static(&[0x9a, 0x06, 0x03, b'n', b'e', b'w']);
    let said = unknown.clone();
    let agent = FakeGrpcAgent::start(move |heard: Heard| {
        let Said::One(bytes) = answer() else { unreachable!() };
        if heard.rpc == Rpc::SendMessage {
            return Said::One([bytes, said.clone()].concat().into());
        }
        let events = [proto::TaskState::Working, proto::TaskState::Completed];
        let tail = said.clone();
        let bytes = move |state| Ok(Bytes::from([event(state).encode_to_vec(), tail.to_vec()].concat()));
        Said::Stream(futures_util::stream::iter(events.map(bytes)).boxed())
    })
    .await;
    let gateway = gateway(&agent, "").await;
    let sent = Bytes::from([message("hi").encode_to_vec(), unknown.to_vec()].concat());
    let mut request = grpc_request(sent.clone());
    for (name, value) in [
        ("a2a-agent", "a"),
        ("a2a-extensions", "https://e/x,https://e/y"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("grpc-timeout", "20S"),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let answer = gateway.grpc().send_message(request).await.unwrap();
    assert!(answer.get_ref().bytes.ends_with(&unknown), "what the gateway does not know reaches the caller");
    let heard = agent.last();
    assert_eq!(heard.message, sent, "and the agent, byte for byte");
    let metadata = |name: &str| heard.metadata.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(metadata("a2a-version").as_deref(), Some("1.0"));
    assert_eq!(metadata("a2a-extensions").as_deref(), Some("https://e/x,https://e/y"));
    assert!(metadata("traceparent").unwrap().contains("0af7651916cd43dd8448eb211c80319c"));
    assert!(
        metadata("authorization").is_none() && metadata("a2a-agent").is_none(),
        "credentials and selectors stay here"
    );
    let left = metadata("grpc-timeout").expect("the caller's deadline goes on");
    assert!(left.ends_with(['m', 'u', 'n', 'S']) && left != "20S", "what is left of it: {left}");
    let mut request = grpc_request(sent);
    request.metadata_mut().insert("a2a-agent", "a".parse().unwrap());
    let mut stream = gateway.grpc().send_streaming_message(request).await.unwrap().into_inner();
    let mut events = 0;
    while let Some(event) = stream.message().await.unwrap() {
        assert!(event.bytes.ends_with(&unknown));
        events += 1;
    }
    assert_eq!(events, 2);
    gateway.finish().await;
}

#[tokio::test]
async fn ends_a_call_and_a_stream_at_the_callers_deadline() {
    let agent =
        FakeGrpcAgent::start(|heard| if heard.rpc == Rpc::SendMessage { Said::Silence } else { working() }).await;
    let mut gateway = gateway(&agent, "").await;
    let timed = |agent: &str| {
        let mut request = grpc_request(Bytes::from(to(agent).encode_to_vec()));
        request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
        request
    };
    let started = Instant::now();
    let status = gateway.grpc().send_message(timed("a")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let mut stream = gateway.grpc().send_streaming_message(timed("a")).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(stream.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(started.elapsed() < Duration::from_secs(10));
    for _ in 0..2 {
        assert_eq!(gateway.record().await.error, Some("DEADLINE_EXCEEDED"));
    }
    let (code, message) = raw(&gateway, &[("grpc-timeout", "soon")], framed(&to("a"))).await.grpc();
    assert_eq!(code, 3, "{message}");
    gateway.finish().await;
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn takes_gzip_and_answers_in_it_but_not_bombs_nor_other_encodings() {
    let agent = echo().await;
    let limits = "limits: {body_bytes_max: 100000, reply_bytes_max: 100000}";
    let gateway = gateway(&agent, limits).await;
    let gzip = [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")];
    let answer = raw(&gateway, &gzip, frame(1, &gzipped(&to("a").encode_to_vec()))).await;
    assert_eq!(answer.grpc().0, 0, "{:?}", answer.grpc());
    assert_eq!((&answer.headers["grpc-encoding"], answer.body[0]), (&"gzip".parse().unwrap(), 1));
    let plain = raw(&gateway, &gzip[1..], framed(&to("a"))).await;
    assert_eq!(plain.body[0], 0, "who does not compress gets no compression");
    let bomb =
        gzipped(&proto::SendMessageRequest { tenant: "a".into(), ..message(&"x".repeat(5_000_000)) }.encode_to_vec());
    assert!(bomb.len() < 50_000);
    assert_eq!(raw(&gateway, &gzip, frame(1, &bomb)).await.grpc().0, 8, "RESOURCE_EXHAUSTED");
    assert_eq!(raw(&gateway, &[("grpc-encoding", "br")], frame(1, b"x")).await.grpc().0, 12, "UNIMPLEMENTED");
    assert_eq!(raw(&gateway, &[], frame(1, b"x")).await.grpc().0, 3, "compressed, and nobody says how");
    assert_eq!(raw(&gateway, &gzip, frame(1, b"no gzip")).await.grpc().0, 3);
    let large = framed(&proto::SendMessageRequest { tenant: "a".into(), ..message(&"x".repeat(200_000)) });
    assert_eq!(raw(&gateway, &[], large).await.grpc().0, 8, "RESOURCE_EXHAUSTED");
    assert_eq!(agent.calls().len(), 2);
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_what_is_not_framed_as_grpc_defines_it() {
    let agent = echo().await;
    let mut gateway = gateway(&agent, "").await;
    let one = framed(&to("a"));
    for (what, body, code) in [
        ("no message", Bytes::new(), 3),
        ("half a header", one.slice(..3), 3),
        ("half a message", one.slice(..one.len() - 2), 3),
        ("two messages", [one.clone(), one.clone()].concat().into(), 3),
        ("no protobuf", frame(0, b"\xff\xff\xff"), 3),
        ("another message", frame(0, b"\x0a\x01\xff"), 3),
        ("an unknown flag", frame(7, &to("a").encode_to_vec()), 3),
    ] {
        let answer = raw(&gateway, &[], body).await;
        assert_eq!(answer.status, 200, "{what}");
        let (found, message) = answer.grpc();
        assert_eq!(found, code, "{what}: {message}");
        let record = gateway.record().await;
        assert!(record.error.is_some(), "{what} is recorded");
    }
    for (content_type, status) in [("text/plain", 415), ("application/grpc+thrift", 415), ("image/jpeg", 415)] {
        let answer = raw(&gateway, &[("content-type", content_type)], one.clone()).await;
        assert_eq!(answer.status, status, "{content_type}");
    }
    // Some proxies take te away; all that it says is that trailers can be read.
    assert_eq!(raw(&gateway, &[("te", "")], one.clone()).await.grpc().0, 0);
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/grpc")];
    let (code, message) = Raw::at(&gateway, "/lf.a2a.v1.A2AService/Nothing", &headers, one.clone()).await.grpc();
    assert!(code == 12 && message.contains("method"), "UNIMPLEMENTED: {message}");
    let huge = "x".repeat(20_000);
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let request = Request::post(format!("{}/lf.a2a.v1.A2AService/SendMessage", gateway.base)).header("x-long", huge);
    let refused = http2.request(request.body(Full::new(one)).unwrap()).await;
    assert!(refused.is_err() || refused.unwrap().status() == 431, "headers have a limit");
    assert!(agent.calls().len() <= 1);
    gateway.finish().await;
}

#[tokio::test]
async fn tells_what_an_agent_did_wrong_and_whether_it_has_the_request() {
    let agent = FakeGrpcAgent::start(|heard| {
        let request = proto::SendMessageRequest::decode(heard.message).unwrap();
        let Some(proto::part::Content::Text(text)) = request.message.unwrap().parts.remove(0).content else { panic!() };
        match text.as_str() {
            "nonsense" => Said::One(Bytes::from_static(b"\xff\xff")),
            "empty" => Said::One(Bytes::new()),
            "large" => Said::One(vec![0; 300_000].into()),
            "unauthenticated" => Said::Error(Status::unauthenticated("who are you")),
            "data loss" => Said::Error(Status::data_loss("gone")),
            "cancelled" => Said::Error(Status::cancelled("not today")),
            "not a number" => not_a_number(),
            "unavailable" => Said::Error(Status::unavailable("busy")),
            other => panic!("{other}"),
        }
    })
    .await;
    let mut gateway = gateway(&agent, "limits: {reply_bytes_max: 100000}").await;
    let sent = async |text: &str| {
        let request = proto::SendMessageRequest { tenant: "a".into(), ..message(text) };
        gateway.grpc().send_message(grpc_request(request.encode_to_vec().into())).await.unwrap_err()
    };
    assert_eq!(sent("nonsense").await.code(), Code::Internal);
    assert_eq!(sent("empty").await.code(), Code::Internal);
    let large = sent("large").await;
    assert!(large.code() == Code::Internal && large.message().contains("larger"), "{large:?}");
    let refused = sent("unauthenticated").await;
    assert!(refused.code() == Code::Unavailable && refused.message().contains("refused the gateway"), "{refused:?}");
    let own = sent("data loss").await;
    assert_eq!((own.code(), own.message()), (Code::DataLoss, "gone"), "a code that A2A does not know goes on as it is");
    assert_eq!(sent("unavailable").await.code(), Code::Unavailable);
    assert_eq!(sent("cancelled").await.code(), Code::Cancelled);
    let params =
        serde_json::json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "not a number"}]}});
    let json = gateway.rpc("a", "SendMessage", params).await;
    assert_eq!(json["error"]["data"][0]["reason"], "INVALID_AGENT_RESPONSE", "{json}");
    for place in ["nonsense", "empty", "large", "unauthenticated", "data loss", "unavailable", "cancelled", "NaN"] {
        let record = gateway.record().await;
        let whose = (record.outcome, record.fault, record.agent_binding);
        assert_eq!(whose, (Outcome::Failed, Some("agent"), Some("grpc")), "{place}");
    }
    drop(agent);
    gateway.finish().await;
}

#[tokio::test]
async fn says_that_nothing_was_sent_to_an_agent_that_cannot_be_reached() {
    let mut gateway = TestGateway::start("agents:\n- {name: a, url: 'grpc://127.0.0.1:9'}").await;
    let request = grpc_request(Bytes::from(to("a").encode_to_vec()));
    let status = gateway.grpc().send_message(request).await.unwrap_err();
    assert!(status.code() == Code::Unavailable && status.message().contains("nothing was sent"), "{status:?}");
    let record = gateway.record().await;
    assert_eq!((record.sent, record.binding), (Some("not_sent"), "grpc"));
    gateway.finish().await;
}

#[tokio::test]
async fn shares_connections_and_opens_another_when_one_is_full() {
    let agent = FakeGrpcAgent::start(|heard| if heard.rpc == Rpc::SendMessage { answer() } else { working() }).await;
    let gateway = gateway(&agent, "limits: {streams_per_connection_max: 1000}").await;
    let (mut client, mut streams) = (gateway.grpc(), Vec::new());
    // More than the 200 that the agent's server takes on one connection.
    for _ in 0..260 {
        let request = grpc_request(Bytes::from(to("a").encode_to_vec()));
        let stream = timeout(Duration::from_secs(10), client.send_streaming_message(request)).await;
        streams.push(stream.expect("no stream waits for another").unwrap().into_inner());
    }
    let request = grpc_request(Bytes::from(to("a").encode_to_vec()));
    let unary = timeout(Duration::from_secs(10), gateway.grpc().send_message(request)).await;
    assert!(unary.expect("nor does a call").is_ok());
    assert_eq!(gateway.open_calls(), 260);
    drop(streams);
    let ended = timeout(Duration::from_secs(10), async {
        while gateway.open_calls() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    ended.await.expect("callers who left have no calls");
    gateway.finish().await;
}

#[tokio::test]
async fn reaches_json_agents_from_grpc_and_keeps_what_they_say() {
    let agent = FakeAgent::start(|seen| {
        assert_eq!(seen.json()["params"].get("tenant"), None, "the name of the agent is ours");
        FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
    })
    .await;
    let gateway =
        TestGateway::start(&format!("agents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url)).await;
    let request = grpc_request(Bytes::from(to("a").encode_to_vec()));
    let answer = gateway.grpc().send_message(request).await.unwrap().into_inner();
    let answer = proto::SendMessageResponse::decode(answer.bytes).unwrap();
    let Some(proto::send_message_response::Payload::Task(found)) = answer.payload else { panic!("{answer:?}") };
    assert_eq!(found, task(proto::TaskState::Completed));
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_strangers_without_reading_what_they_announce() {
    let agent = echo().await;
    let gateway = gateway(&agent, "").await;
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut calls = Vec::new();
    for _ in 0..100 {
        // A body of 16 MiB of which nothing comes.
        let body = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<hyper::body::Frame<Bytes>, std::io::Error>,
        >());
        let request = Request::post(format!("{}/lf.a2a.v1.A2AService/SendMessage", gateway.base))
            .header("content-type", "application/grpc")
            .header("content-length", 16 << 20);
        calls.push(http2.request(request.body(body).unwrap()));
    }
    for call in calls {
        let answer = timeout(Duration::from_secs(10), call).await.expect("it does not wait for the body").unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"16".parse().unwrap()));
    }
    assert!(agent.calls().is_empty());
    gateway.finish().await;
}
