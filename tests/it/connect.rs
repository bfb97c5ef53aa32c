//! The doors of Connect and gRPC-Web: framing, compression, deadlines, refusals, and pages of other origins.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use serde_json::{Value, json};
use switchboard::operation::Rpc;

use crate::parity::callers::{frame, frames, post};
use crate::support::gateway::{Answer, KEY, TestGateway, message_v1};
use crate::support::{FakeAgent, FakeReply};

async fn agent() -> FakeAgent {
    FakeAgent::start(|seen| match seen.json()["method"].as_str() {
        Some("SendMessage") => {
            let params = seen.json()["params"].clone();
            let text = params["message"]["parts"][0]["text"].as_str().unwrap_or_default().to_owned();
            FakeReply::result(
                &seen,
                &json!({ "message": { "messageId": "r", "role": "ROLE_AGENT", "parts": [{ "text": text }] } })
                    .to_string(),
            )
        }
        _ => FakeReply::events(
            &seen,
            &[r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#],
        ),
    })
    .await
}

async fn gateway(agent: &FakeAgent, more: &str) -> TestGateway {
    TestGateway::start(&format!("{more}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url)).await
}

/// A unary call in Connect's JSON with these headers.
async fn unary(gateway: &TestGateway, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let mut all = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
    all.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
    all.extend_from_slice(headers);
    gateway.request(Method::POST, "/a2a/a/lf.a2a.v1.A2AService/SendMessage", &all, body).await
}

fn send() -> String {
    message_v1("m").to_string()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn answers_at_the_agents_address_and_at_the_root() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    assert_eq!(unary(&gateway, &[], send()).await.status, 200);
    let mut with_tenant = message_v1("m");
    with_tenant["tenant"] = json!("a");
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let path = "/lf.a2a.v1.A2AService/SendMessage";
    let at_root = gateway.request(Method::POST, path, &headers, with_tenant.to_string()).await;
    assert_eq!(at_root.status, 200, "{}", at_root.text());
    let nobody = gateway.request(Method::POST, path, &headers, send()).await;
    let error = nobody.json();
    assert_eq!((nobody.status.as_u16(), &error["code"]), (400, &json!("invalid_argument")));
    assert!(error["message"].as_str().unwrap().contains("tenant"), "{error}");
    let other = unary(&gateway, &[("a2a-agent", "b")], send()).await;
    assert_eq!((other.status.as_u16(), &other.json()["code"]), (404, &json!("not_found")));
    let unknown = gateway.request(Method::POST, "/a2a/a/lf.a2a.v1.A2AService/Nothing", &headers, "{}").await;
    for broken in ["{\"", "{", "[]", "{\"message\":{\""] {
        let refused = unary(&gateway, &[], broken).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (400, &json!("invalid_argument")), "{broken}");
    }
    let error = unknown.json();
    assert_eq!((unknown.status.as_u16(), &error["code"]), (501, &json!("unimplemented")), "{error}");
    assert_eq!(error["details"][0]["type"], "google.rpc.ErrorInfo", "{error}");
    gateway.finish().await;
}

#[tokio::test]
async fn takes_gzip_and_neither_bombs_nor_other_encodings() {
    let agent = agent().await;
    let gateway = gateway(&agent, "limits: {body_bytes_max: 100000}").await;
    let packed =
        unary(&gateway, &[("content-encoding", "gzip"), ("accept-encoding", "identity")], gzipped(send().as_bytes()))
            .await;
    assert_eq!(packed.status, 200, "{}", packed.text());
    let mut long = message_v1("m");
    long["message"]["parts"][0]["text"] = json!("x".repeat(5_000));
    let answer = unary(&gateway, &[("accept-encoding", "gzip")], long.to_string()).await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    assert!(answer.body.len() < 1_000, "compressed for those who ask");
    long["message"]["parts"][0]["text"] = json!("x".repeat(5_000_000));
    let bomb = gzipped(long.to_string().as_bytes());
    assert!(bomb.len() < 100_000);
    let refused = unary(&gateway, &[("content-encoding", "gzip")], bomb.clone()).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (429, &json!("resource_exhausted")));
    let framed = post(&gateway, "a", Rpc::SendStreamingMessage, "application/connect+json", frame(1, &bomb)).await;
    assert!(!framed.text().contains("TASK_STATE"), "compressed without an encoding: {}", framed.text());
    let unknown = unary(&gateway, &[("content-encoding", "br")], send()).await;
    assert_eq!(
        (unknown.status.as_u16(), &unknown.json()["code"]),
        (501, &json!("unimplemented")),
        "{}",
        unknown.text()
    );
    let garbage = unary(&gateway, &[("content-encoding", "gzip")], "no gzip").await;
    assert!(garbage.status.is_client_error() || garbage.status == 500, "{}", garbage.text());
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_what_is_not_framed_as_connect_defines_it() {
    let agent = agent().await;
    let mut gateway = gateway(&agent, "").await;
    let json = "application/connect+json";
    let one = frame(0, send().as_bytes());
    let end = |answer: &Answer| -> Value {
        let (flags, end) = frames(&answer.body).pop().expect("an end");
        assert_eq!(flags, 2, "{}", answer.text());
        serde_json::from_slice(&end).unwrap()
    };
    for (what, body) in [
        ("no message", Bytes::new()),
        ("half a header", one.slice(..3)),
        ("half a message", one.slice(..one.len() - 2)),
        ("two messages", [one.clone(), one.clone()].concat().into()),
        ("no JSON", frame(0, b"{")),
        ("no object", frame(0, b"[]")),
        ("an end instead of a message", frame(2, b"{}")),
    ] {
        let answer = post(&gateway, "a", Rpc::SendStreamingMessage, json, body).await;
        assert_eq!(answer.status, 200, "{what}: a stream's error is in its end");
        let end = end(&answer);
        assert!(end["error"]["code"].is_string(), "{what}: {end}");
        assert!(gateway.record().await.error.is_some(), "{what} is recorded");
    }
    for content_type in ["text/plain", "application/connect+xml", "application/grpc-web+thrift", "image/jpeg"] {
        let answer = post(&gateway, "a", Rpc::SendMessage, content_type, one.clone()).await;
        assert_eq!(answer.status, 415, "{content_type}");
    }
    let as_stream = post(&gateway, "a", Rpc::SendMessage, json, one.clone()).await;
    assert_eq!(as_stream.status, 415, "a unary method called as a stream");
    let as_unary = post(&gateway, "a", Rpc::SendStreamingMessage, "application/json", Bytes::from(send())).await;
    assert_eq!(as_unary.status, 415, "a stream called as a unary method");
    let over_http1 = post(&gateway, "a", Rpc::SendMessage, "application/grpc", one).await;
    assert!(over_http1.headers["grpc-message"].to_str().unwrap().contains("HTTP/2"), "{:?}", over_http1.headers);
    let not_base64 =
        post(&gateway, "a", Rpc::SendMessage, "application/grpc-web-text", Bytes::from_static(b"?!")).await;
    assert_eq!(not_base64.status, 200);
    assert!(agent.calls().is_empty());
    gateway.finish().await;
}

#[tokio::test]
async fn keeps_to_the_deadline_in_milliseconds() {
    let (_feed, reply) = FakeReply::fed();
    let reply = std::sync::Mutex::new(Some(reply));
    let silent = FakeAgent::start(move |_| reply.lock().unwrap().take().expect("one call")).await;
    let mut gateway = gateway(&silent, "").await;
    let started = std::time::Instant::now();
    let late = unary(&gateway, &[("connect-timeout-ms", "300")], send()).await;
    assert_eq!((late.status.as_u16(), &late.json()["code"]), (504, &json!("deadline_exceeded")));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(gateway.record().await.error, Some("DEADLINE_EXCEEDED"));
    for wrong in ["soon", "-1", "12345678901"] {
        let refused = unary(&gateway, &[("connect-timeout-ms", wrong)], send()).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (400, &json!("invalid_argument")), "{wrong}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_strangers_in_the_form_of_each_protocol() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    let path = "/a2a/a/lf.a2a.v1.A2AService/SendMessage";
    let stranger = async |path: &str, content_type: &str| {
        gateway.request(Method::POST, path, &[("content-type", content_type)], Bytes::from_static(b"anything")).await
    };
    let connect = stranger(path, "application/json").await;
    assert_eq!((connect.status.as_u16(), &connect.json()["code"]), (401, &json!("unauthenticated")));
    assert!(connect.headers.contains_key("www-authenticate"));
    let stream = stranger("/a2a/a/lf.a2a.v1.A2AService/SendStreamingMessage", "application/connect+proto").await;
    let (_, end) = frames(&stream.body).pop().expect("an end");
    assert_eq!(serde_json::from_slice::<Value>(&end).unwrap()["error"]["code"], "unauthenticated");
    let web = stranger(path, "application/grpc-web+proto").await;
    assert!(web.status == 200 && web.text().contains("grpc-status: 16"), "{}", web.text());
    let rest = stranger("/a2a/a/message:send", "application/json").await;
    assert_eq!((rest.status.as_u16(), &rest.json()["error"]["status"]), (401, &json!("UNAUTHENTICATED")));
    gateway.finish().await;
}

#[tokio::test]
async fn lets_pages_of_other_origins_call_only_where_the_operator_says_so() {
    let agent = agent().await;
    let path = "/a2a/a/lf.a2a.v1.A2AService/SendMessage";
    let question = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,connect-protocol-version"),
    ];
    let closed = gateway(&agent, "").await;
    let answer = closed.request(Method::OPTIONS, path, &question, "").await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"), "{:?}", answer.headers);
    closed.finish().await;
    let open = gateway(&agent, "cors: {origins: ['https://app.example.com']}").await;
    let answer = open.request(Method::OPTIONS, path, &question, "").await;
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.com");
    assert!(answer.headers["access-control-allow-headers"].to_str().unwrap().contains("connect-protocol-version"));
    assert_eq!(answer.headers["access-control-max-age"], "600");
    let called = unary(&open, &[("origin", "https://app.example.com")], send()).await;
    assert_eq!(called.headers["access-control-allow-origin"], "https://app.example.com");
    assert!(called.headers["access-control-expose-headers"].to_str().unwrap().contains("grpc-status"));
    let stranger = unary(&open, &[("origin", "https://evil.example.com")], send()).await;
    assert!(!stranger.headers.contains_key("access-control-allow-origin"));
    open.finish().await;
}
