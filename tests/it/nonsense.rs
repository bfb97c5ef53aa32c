//! Nonsense from agents in every binding and version: a fitting error in bounded memory, and a record that says what
//! was seen. What JSON-RPC 1.0 agents do wrong beside that is in `upstream_failures.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::fake::{FakeAgent, FakeReply};
use crate::support::gateway::{TestGateway, call, message_v1};
use crate::support::grpc::{FakeGrpcAgent, Said};

async fn gateway(url: &str, version: &str, binding: &str) -> TestGateway {
    TestGateway::start(&format!(
        "limits: {{reply_bytes_max: 65_536, event_bytes_max: 65_536}}\ntimeouts: {{unary_ms: 2_000, stream_idle_ms: 1_000}}\nagents:\n- {{name: a, url: '{url}', protocol_version: '{version}', bindings: [{binding}], dialect: {{strict_requests: false}}}}\n"
    ))
    .await
}

/// A status, headers and a body of an agent, and the code of JSON-RPC that tells the caller about it.
type Nonsense = (u16, Vec<(&'static str, String)>, String, i64);

/// The code of the error that a caller of JSON-RPC 1.0 reads. The record says the same.
async fn refusal(gateway: &mut TestGateway, method: &str, what: &str) -> i64 {
    let answer = gateway.post("a", call(method, message_v1("m"))).await;
    let bodies = match answer.headers["content-type"].to_str().unwrap() {
        "text/event-stream" => answer.events(),
        _ => vec![answer.json()],
    };
    let error = bodies.iter().map(|body| &body["error"]).find(|error| error.is_object());
    let code = error.unwrap_or_else(|| panic!("{what}: {bodies:?}"))["code"].as_i64().unwrap();
    let record = gateway.record().await;
    assert_eq!(record.fault, Some("agent"), "{what}: {record:?}");
    assert!(record.error.is_some(), "{what}: {record:?}");
    code
}

#[tokio::test]
async fn over_http_in_both_versions() {
    let long = "x".repeat(200_000);
    let endless = format!("data: {long}");
    let whole: Vec<Nonsense> = vec![
        (200, vec![("content-type", "text/html".into())], "<html>hello</html>".into(), -32006),
        (200, vec![("content-type", "application/json".into())], String::new(), -32006),
        (200, vec![("content-type", "application/json".into())], "[]".into(), -32006),
        (200, vec![("content-type", "application/json".into())], r#"{"task":{"id":"#.into(), -32006),
        (
            200,
            vec![("content-type", "application/json".into())],
            r#"{"task":{"id":"a","status":{}},"message":{"messageId":"b"}}"#.into(),
            -32006,
        ),
        (200, vec![("content-type", "application/json".into())], format!(r#"{{"task":{{"id":"{long}"}}}}"#), -32006),
        (
            200,
            vec![("content-type", "application/json".into()), ("content-encoding", "gzip".into())],
            "{}".into(),
            -32006,
        ),
        (302, vec![("location", "http://192.0.2.1/".into())], String::new(), -32006),
        (500, vec![("content-type", "text/plain".into())], "Internal Server Error".into(), -32006),
        (403, vec![("content-type", "text/plain".into())], "no".into(), -32603),
    ];
    for (version, binding) in [("1.0", "http_json"), ("0.3", "http_json"), ("0.3", "jsonrpc")] {
        for (status, headers, body, code) in whole.clone() {
            let what = format!("{version} {binding} {status} {headers:?} {}", &body[..body.len().min(60)]);
            let agent = FakeAgent::start(move |_| FakeReply::With(status, headers.clone(), body.clone())).await;
            let mut gateway = gateway(&agent.url, version, binding).await;
            assert_eq!(refusal(&mut gateway, "SendMessage", &what).await, code, "{what}");
            gateway.finish().await;
        }
        let task = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;
        let streams = [
            endless.clone(),
            "data: {\n\n".to_owned(),
            format!("data: {task}\n\ndata: {{\"neither\":1}}\n\n"),
            // It breaks off before the task ends.
            format!("data: {task}\n\n"),
            String::new(),
        ];
        for body in streams.into_iter().filter(|_| binding == "http_json") {
            let what = format!("{version} {binding} {}", &body[..body.len().min(80)]);
            let agent = FakeAgent::start(move |_| FakeReply::Whole(200, "text/event-stream", body.clone())).await;
            let mut gateway = gateway(&agent.url, version, binding).await;
            let code = refusal(&mut gateway, "SendStreamingMessage", &what).await;
            assert_eq!(code, -32006, "{what}");
            gateway.finish().await;
        }
    }
}

#[tokio::test]
async fn by_grpc_in_both_versions() {
    let task = |state: i32| switchboard::proto::Task {
        id: "t".into(),
        context_id: "c".into(),
        status: Some(switchboard::proto::TaskStatus { state, ..Default::default() }),
        ..Default::default()
    };
    // The numbers of a task are those of 0.3.
    let event = |state| {
        let payload = switchboard::proto::stream_response::Payload::Task(task(state));
        Bytes::from(prost::Message::encode_to_vec(&switchboard::proto::StreamResponse { payload: Some(payload) }))
    };
    for version in ["1.0", "0.3"] {
        let long = vec![0x0a; 70_000];
        for bytes in [&b"\xff\xff\xff"[..], b"", b"\x0a\x7f", b"\x0a\x02\x0a\x00", &long] {
            let bytes = Bytes::copy_from_slice(bytes);
            let agent = FakeGrpcAgent::start(move |_| Said::One(bytes.clone())).await;
            let mut gateway = gateway(&agent.address(), version, "grpc").await;
            let code = refusal(&mut gateway, "SendMessage", version).await;
            assert_eq!(code, -32006, "{version}");
            gateway.finish().await;
        }
        let streams = [vec![], vec![event(2)], vec![event(2), Bytes::from_static(b"\xff")], vec![event(3), event(2)]];
        for events in streams {
            let what = format!("{version} {events:?}");
            let agent = FakeGrpcAgent::start(move |_| {
                Said::Stream(Box::pin(futures_util::stream::iter(events.clone().into_iter().map(Ok))))
            })
            .await;
            let mut gateway = gateway(&agent.address(), version, "grpc").await;
            let code = refusal(&mut gateway, "SendStreamingMessage", &what).await;
            assert_eq!(code, -32006, "{what}");
            gateway.finish().await;
        }
    }
}

/// CR and LF between the tokens of JSON, and a body in many `data:` lines, are JSON all the same.
#[tokio::test]
async fn reads_json_over_many_lines_as_the_python_sdk_writes_it() {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap().replace('\n', "\r\ndata: ");
    let message = json!({ "message": { "messageId": "m", "role": "ROLE_AGENT", "content": [{ "text": "a\r\nb" }] } });
    let body = format!("data: {}\r\n\r\n", pretty(&message));
    let agent = FakeAgent::start(move |_| FakeReply::Whole(200, "text/event-stream", body.clone())).await;
    let gateway = gateway(&agent.url, "0.3", "http_json").await;
    let events = gateway.post("a", call("SendStreamingMessage", message_v1("m"))).await.events();
    assert_eq!(events[0]["result"]["message"]["parts"][0]["text"], "a\r\nb", "{events:?}");
    gateway.finish().await;
}

/// An agent that answers with `head` and then with two gigabytes, and how many bytes of them were taken.
async fn endless_agent(head: &'static str) -> (String, Arc<AtomicU64>) {
    static PIECE: [u8; 65_536] = [b'x'; 65_536];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let length = stream.read(&mut request).await.unwrap_or(0);
                if !request[..length].starts_with(b"POST") {
                    // It has no card.
                    return;
                }
                let mut written = stream.write_all(head.as_bytes()).await;
                while written.is_ok() && counted.fetch_add(65_536, Ordering::Relaxed) < 2 << 30 {
                    written = stream.write_all(&PIECE).await;
                }
            });
        }
    });
    (url, taken)
}

/// With the limits that hold when nobody sets others.
#[tokio::test]
async fn two_gigabytes_are_cut_at_the_limit() {
    let replies = [
        ("SendMessage", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"x\":\"", 64 << 20),
        (
            "SendMessage",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2147483648\r\n\r\n{\"x\":\"",
            0,
        ),
        ("SendStreamingMessage", "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"x\":\"", 16 << 20),
    ];
    for (binding, (method, head, limit)) in ["jsonrpc", "http_json"].into_iter().flat_map(|b| replies.map(|r| (b, r))) {
        let (url, taken) = endless_agent(head).await;
        let agents = format!("agents:\n- {{name: a, url: '{url}', protocol_version: '1.0', bindings: [{binding}]}}\n");
        let mut gateway = TestGateway::start(&agents).await;
        assert_eq!(refusal(&mut gateway, method, head).await, -32006, "{binding} {head}");
        // What lies in the buffers of the system was written too.
        let taken = taken.load(Ordering::Relaxed);
        assert!((limit..limit + (16 << 20)).contains(&taken), "{binding} {head}: {taken} bytes");
        gateway.finish().await;
    }
}
