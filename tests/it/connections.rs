//! One port for HTTP/1.1 and h2c, and what a connection may cost.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::gateway::{KEY, TestGateway, call, message_v1};
use crate::support::{FakeAgent, FakeReply};

const DONE: &str = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#;

async fn agent() -> FakeAgent {
    FakeAgent::start(|seen| match seen.json()["method"].as_str() {
        Some("SendStreamingMessage") => FakeReply::events(&seen, &[DONE]),
        _ => {
            FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
        }
    })
    .await
}

async fn gateway(agent: &FakeAgent, more: &str) -> TestGateway {
    TestGateway::start(&format!("{more}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url)).await
}

#[tokio::test]
async fn serves_h2c_by_prior_knowledge_on_the_same_port() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    for (method, content_type) in [("SendMessage", "application/json"), ("SendStreamingMessage", "text/event-stream")] {
        let request = Request::post(format!("{}/a2a/a", gateway.base))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(call(method, message_v1("m")))))
            .unwrap();
        let response = http2.request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
        assert_eq!(response.headers()["content-type"], content_type);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("TASK_STATE_COMPLETED"));
    }
    drop(http2);
    gateway.finish().await;
}

/// Sends `bytes` and waits for the gateway to hang up; what it said, and how long it took.
async fn until_hung_up(gateway: &TestGateway, bytes: &[u8]) -> (String, Duration) {
    let mut stream = TcpStream::connect(gateway.base.trim_start_matches("http://")).await.unwrap();
    let started = Instant::now();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await.expect("it hangs up").unwrap();
    (String::from_utf8_lossy(&said).into_owned(), started.elapsed())
}

#[tokio::test]
async fn hangs_up_on_heads_that_are_not_completed_and_on_connections_that_say_nothing() {
    let agent = agent().await;
    let gateway = gateway(&agent, "timeouts: {header_ms: 400, idle_ms: 60000}").await;
    for begun in [&b""[..], b"POST /a2a/a HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let (said, took) = until_hung_up(&gateway, begun).await;
        assert!(took >= Duration::from_millis(300), "{took:?}");
        assert_eq!(said, "");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn closes_idle_connections_after_the_idle_time_and_not_before() {
    let agent = agent().await;
    let gateway = gateway(&agent, "timeouts: {header_ms: 100, idle_ms: 800}").await;
    let (said, took) = until_hung_up(&gateway, b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(took >= Duration::from_millis(700), "the time for headers is not the idle time: {took:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_a_body_that_stalls_or_trickles() {
    let agent = agent().await;
    let gateway = gateway(&agent, "timeouts: {body_pause_ms: 300}").await;
    let head =
        format!("POST /a2a/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 1000\r\n\r\n{{");
    let (said, _) = until_hung_up(&gateway, head.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("arrived too slowly"), "{said}");
    assert!(agent.calls().is_empty());
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_a_body_when_the_memory_for_bodies_is_used_up() {
    let agent = agent().await;
    let limits = "limits: {in_flight_bytes_max: 1048576, body_bytes_max: 1048576, reply_bytes_max: 1048576, event_bytes_max: 1048576}";
    let patient = "timeouts: {body_pause_ms: 60000, body_bytes_per_second_min: 0}";
    let gateway = gateway(&agent, &format!("{limits}\n{patient}")).await;
    let half = "x".repeat(700_000);
    let head = format!(
        "POST /a2a/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 1000000\r\n\r\n{half}"
    );
    let mut params = message_v1("m");
    params["message"]["parts"] = serde_json::json!([{ "text": "y".repeat(600_000) }]);
    let send = async || gateway.post("a", call("SendMessage", params.clone())).await;
    // Whichever body comes first has the memory; sooner or later that is the one that is never completed.
    let mut refused = None;
    for _ in 0..50 {
        let mut holding = TcpStream::connect(gateway.base.trim_start_matches("http://")).await.unwrap();
        holding.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        refused = Some(send().await).filter(|answer| answer.status == 503);
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(refused.expect("a refusal").headers["retry-after"], "1");
    // The callers who held it have left.
    let mut served = send().await;
    for _ in 0..100 {
        if served.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        served = send().await;
    }
    assert_eq!(served.status, 200, "the share of a caller who left is free again");
    gateway.finish().await;
}

#[tokio::test]
async fn gives_the_memory_of_a_request_back_while_its_stream_goes_on() {
    let feeds = std::sync::Mutex::new(Vec::new());
    let agent = FakeAgent::start(move |seen| match seen.json()["method"].as_str() {
        Some("SendStreamingMessage") => {
            let (feed, reply) = FakeReply::fed();
            feeds.lock().unwrap().push(feed);
            reply
        }
        _ => {
            FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
        }
    })
    .await;
    let limits = "limits: {in_flight_bytes_max: 1048576, body_bytes_max: 1048576, reply_bytes_max: 1048576, event_bytes_max: 1048576}";
    let gateway = gateway(&agent, &format!("{limits}\ntimeouts: {{keep_alive_ms: 20}}")).await;
    let mut params = message_v1("m");
    params["message"]["parts"] = serde_json::json!([{ "text": "y".repeat(400_000) }]);
    let mut streams = Vec::new();
    for _ in 0..6 {
        let response = gateway.stream("a", "SendStreamingMessage", params.clone()).await;
        assert_eq!(response.status(), 200, "the streams before hold no memory");
        streams.push(response);
    }
    assert_eq!(gateway.open_calls(), 6);
    drop(streams);
    let hung_up = timeout(Duration::from_secs(5), async {
        while gateway.open_calls() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    hung_up.await.expect("callers who left have no calls");
    gateway.finish().await;
}

#[tokio::test]
async fn hangs_up_on_a_caller_who_stops_reading_one_of_its_http2_streams() {
    let (feed, reply) = FakeReply::fed();
    let reply = std::sync::Mutex::new(Some(reply));
    let agent = FakeAgent::start(move |_| reply.lock().unwrap().take().expect("one call")).await;
    let gateway = gateway(&agent, "timeouts: {write_stall_ms: 400}").await;
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let request = Request::post(format!("{}/a2a/a", gateway.base))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(call("SendStreamingMessage", message_v1("m")))))
        .unwrap();
    let update = format!(
        r#"{{"artifactUpdate":{{"taskId":"t","contextId":"c","artifact":{{"artifactId":"a","parts":[{{"text":"{}"}}]}}}}}}"#,
        "z".repeat(60_000)
    );
    let feeding = tokio::spawn(async move {
        // Far more than any window; it ends when the gateway hangs up on the agent.
        while feed.send(crate::support::fake::event(1, &update)).await.is_ok() {}
    });
    let response = http2.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    timeout(Duration::from_secs(15), feeding).await.expect("it hangs up on the agent").unwrap();
    drop(response);
    drop(http2);
    gateway.finish().await;
}

#[tokio::test]
async fn hangs_up_on_a_caller_who_resets_streams_faster_than_they_are_served() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    let stream = TcpStream::connect(gateway.base.trim_start_matches("http://")).await.unwrap();
    let (mut sender, driver) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(driver);
    for _ in 0..500 {
        let request = Request::post(format!("{}/lf.a2a.v1.A2AService/SendMessage", gateway.base))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        // The server allows 128 streams at once; a reset one is none any more.
        let Ok((_, mut body)) = sender.send_request(request, false) else { break };
        body.send_reset(h2::Reason::CANCEL);
    }
    drop(sender);
    let ended = timeout(Duration::from_secs(10), connection).await.expect("the connection ends");
    // Whether it was hung up on or not, nothing of it is left, and others are served.
    drop(ended);
    let served = gateway.post("a", call("SendMessage", message_v1("m"))).await;
    assert_eq!(served.status, 200);
    let left = timeout(Duration::from_secs(10), async {
        while gateway.open_calls() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    left.await.expect("reset streams have no calls");
    assert!(agent.calls().len() <= 1, "a request whose body never came reached nobody");
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_requests_whose_end_two_readers_could_see_at_two_places() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    let body = call("SendMessage", message_v1("m"));
    let smuggled = "GET /v1/agents HTTP/1.1\r\nhost: x\r\n\r\n";
    let length = body.len();
    for (what, headers) in [
        ("two lengths", format!("content-length: {length}\r\ncontent-length: {}\r\n", length + 1)),
        ("lengths in one line", format!("content-length: {length}, {}\r\n", length + 1)),
        ("a length that is none", "content-length: +5\r\n".to_owned()),
        ("length and chunks", format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n")),
        ("chunks that are none", "transfer-encoding: chunked, identity\r\n".to_owned()),
        ("a space before the colon", format!("content-length : {length}\r\n")),
        ("a folded header", format!("x-folded: a\r\n b\r\ncontent-length: {length}\r\n")),
        ("a bare CR", format!("x-bare: a\rb\r\ncontent-length: {length}\r\n")),
    ] {
        let request = format!(
            "POST /a2a/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n{headers}\r\n{body}{smuggled}"
        );
        let (said, _) = until_hung_up(&gateway, request.as_bytes()).await;
        let answers = said.matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{what}: {said}");
        // With both, chunks count (RFC 9112, 6.3), and what follows is none.
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{what}: {said}");
    }
    assert!(agent.calls().is_empty());
    gateway.finish().await;
}
