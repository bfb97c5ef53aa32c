//! Agents that misbehave: the caller gets a fitting error, the record says what was seen, and nothing leaks.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{TestGateway, call, message_v1};
use crate::support::{FakeAgent, FakeReply, Seen};

async fn gateway(agent: &FakeAgent) -> TestGateway {
    let config = format!(
        "tasks: {{scope: none}}\ntimeouts: {{unary_ms: 400, stream_idle_ms: 400}}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}",
        agent.url
    );
    TestGateway::start(&config).await
}

fn with_id(seen: &Seen, text: &str) -> String {
    text.replace("ID", &seen.json()["id"].to_string())
}

#[tokio::test]
async fn calls_nonsense_by_its_name() {
    let nonsense: &[(u16, &str, &str, i64)] = &[
        (200, "application/json", "<html>", -32006),
        (200, "application/json", "", -32006),
        (200, "application/json", r#"{"jsonrpc":"2.0","id":99,"result":{"task":{"id":"t"}}}"#, -32006),
        (200, "application/json", r#"{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":"x"}}"#, -32006),
        (200, "application/json", r#"{"jsonrpc":"2.0","id":ID,"result":{"neither":1}}"#, -32006),
        (200, "application/json", r#"{"jsonrpc":"2.0","id":ID,"result":[]}"#, -32006),
        (
            200,
            "application/json",
            r#"{"jsonrpc":"2.0","id":ID,"result":{"task":{"id":"a"},"message":{"messageId":"b"}}}"#,
            -32006,
        ),
        (500, "text/plain", "Internal Server Error", -32006),
        (404, "text/plain", "Not Found", -32603),
        (401, "text/plain", "who are you", -32603),
        (503, "text/plain", "busy", -32603),
        (302, "text/plain", "elsewhere", -32006),
        (500, "application/json", r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32001,"message":"gone"}}"#, -32001),
    ];
    for &(status, content_type, body, code) in nonsense {
        let agent = FakeAgent::start(move |seen| FakeReply::Whole(status, content_type, with_id(&seen, body))).await;
        let mut gateway = gateway(&agent).await;
        let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
        assert_eq!(reply["error"]["code"], code, "{status} {body}: {reply}");
        let host = agent.url.trim_start_matches("http://");
        assert!(!reply.to_string().contains(host), "no upstream address in {reply}");
        let record = gateway.record().await;
        let fault = if code == -32001 { "caller" } else { "agent" };
        assert_eq!(record.fault, Some(fault), "{body}: {record:?}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn withholds_an_answer_about_another_task() {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"id":"somebody-elses","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}"#)
    })
    .await;
    let gateway = gateway(&agent).await;
    for method in ["GetTask", "CancelTask"] {
        let reply = gateway.rpc("a", method, json!({ "id": "mine" })).await;
        assert_eq!(reply["error"]["code"], -32006);
        assert!(!reply.to_string().contains("somebody-elses"));
    }
    gateway.finish().await;
}

#[tokio::test]
async fn ends_a_stream_that_changes_its_task_or_mixes_in_a_message() {
    let task = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;
    for second in [
        r#"{"statusUpdate":{"taskId":"other","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#,
        r#"{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":"x"}]}}"#,
    ] {
        let agent = FakeAgent::start(move |seen| FakeReply::events(&seen, &[task, second])).await;
        let gateway = gateway(&agent).await;
        let events = gateway.post("a", call("SendStreamingMessage", message_v1("m"))).await.events();
        assert_eq!(events.len(), 2);
        assert_eq!(events[1]["error"]["code"], -32006, "{events:?}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn withholds_another_task_from_a_0_3_caller_too() {
    for answer in [
        r#"{"id":"THEIRS","contextId":"c","status":{"state":"completed"}}"#,
        r#"{"kind":"status-update","taskId":"mine","id":"THEIRS","status":{"state":"completed"}}"#,
        r#"{"kind":"task","id":"THEIRS","taskId":"mine","contextId":"c","status":{"state":"completed"}}"#,
        "{}",
    ] {
        let agent = FakeAgent::start(move |seen| FakeReply::result(&seen, answer)).await;
        let gateway = TestGateway::start(&format!(
            "tasks: {{scope: none}}\nagents:\n- {{name: a, url: '{}', protocol_version: '0.3'}}",
            agent.url
        ))
        .await;
        let reply = gateway.rpc("a", "tasks/get", json!({ "id": "mine" })).await;
        assert_eq!(reply["error"]["code"], -32006, "{answer}: {reply}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn ends_a_stream_in_good_order_once_its_task_has_ended() {
    let done = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#;
    for dies in [true, false] {
        let (feed, reply) = FakeReply::fed();
        let reply = std::sync::Mutex::new(Some(reply));
        let agent = FakeAgent::start(move |_| reply.lock().unwrap().take().expect("one call")).await;
        let gateway = gateway(&agent).await;
        feed.send(crate::support::fake::event(1, done)).await.unwrap();
        if dies {
            // After the event has left: a server drops what it has not written when it breaks.
            let feed = feed.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                feed.send(Err(std::io::Error::other("killed"))).await.unwrap();
            });
        }
        // The other agent leaves its stream open for ever.
        let events = gateway.post("a", call("SendStreamingMessage", message_v1("m"))).await.events();
        assert_eq!(events.len(), 1, "{events:?}");
        gateway.finish().await;
    }
    let late = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;
    let agent = FakeAgent::start(move |seen| FakeReply::events(&seen, &[done, late])).await;
    let gateway = gateway(&agent).await;
    let events = gateway.post("a", call("SendStreamingMessage", message_v1("m"))).await.events();
    assert_eq!(events[1]["error"]["code"], -32006, "nothing comes after the end: {events:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn survives_addresses_that_are_none() {
    let long = "x".repeat(70_000);
    for bad in ["http://a{b/", &format!("http://h/{long}")] {
        let card = format!(
            r#"{{"name":"n","supportedInterfaces":[{{"url":"{bad}","protocolBinding":"JSONRPC","protocolVersion":"1.0"}}]}}"#
        );
        let location = bad.to_owned();
        let agent = FakeAgent::raw(move |seen: Seen| match seen.method.as_str() {
            "GET" => FakeReply::json(card.clone()),
            _ if location.len() < 100 => FakeReply::With(307, vec![("location", location.clone())], String::new()),
            _ => FakeReply::result(&seen, r#"{"task":{"id":"t","status":{"state":"TASK_STATE_COMPLETED"}}}"#),
        })
        .await;
        let gateway = TestGateway::with(&[("a", &agent.url)]).await;
        let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
        assert!(reply.get("result").is_some() || reply["error"]["code"] == -32006, "{reply}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn forgets_a_made_up_card_when_the_agent_comes_up() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let config = format!("cards: {{retry_ms: 1}}\nagents:\n- {{name: a, url: 'http://{address}'}}");
    let gateway = TestGateway::start(&config).await;
    assert_eq!(gateway.rpc("a", "SendMessage", message_v1("m")).await["error"]["code"], -32603, "it is down");
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let agent = FakeAgent::on(listener, move |seen: Seen| match seen.method.as_str() {
        "GET" => FakeReply::json(format!(
            r#"{{"name":"n","supportedInterfaces":[{{"url":"http://{address}/","protocolBinding":"JSONRPC","protocolVersion":"1.0"}}]}}"#
        )),
        _ => {
            FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
        }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert!(reply.get("result").is_some(), "{reply}");
    assert_eq!(agent.last().json()["method"], "SendMessage", "as its card says");
    gateway.finish().await;
}

#[tokio::test]
async fn records_where_a_call_failed_and_who_was_refused() {
    let agent = FakeAgent::start(|seen| FakeReply::error(&seen, r#"{"code":-32001,"message":"gone"}"#)).await;
    let mut gateway = gateway(&agent).await;
    gateway.rpc("a", "GetTask", json!({ "id": "t" })).await;
    let record = gateway.record().await;
    assert_eq!((record.attempts, record.sent, record.agent_version), (1, Some("sent"), Some("1.0")));
    assert!(record.endpoint.is_some());
    gateway.rpc("a", "GetTask", json!({ "id": "x".repeat(300) })).await;
    let record = gateway.record().await;
    assert_eq!((record.operation, record.error, record.sent), (None, Some("INVALID_PARAMS"), Some("not_sent")));
    gateway.post("ghost", "{}").await;
    assert_eq!(gateway.record().await.error, Some("AGENT_NOT_FOUND"));
    gateway.finish().await;
}

#[tokio::test]
async fn says_whether_anything_was_sent() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let gateway =
        TestGateway::start(&format!("agents:\n- {{name: a, url: 'http://{address}', protocol_version: '1.0'}}")).await;
    let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert_eq!(reply["error"]["data"][0]["reason"], "UPSTREAM_UNAVAILABLE");
    assert!(reply["error"]["message"].as_str().unwrap().contains("nothing was sent"), "{reply}");
    assert!(!reply.to_string().contains(&address.port().to_string()), "{reply}");
    gateway.finish().await;
}

#[tokio::test]
async fn gives_up_on_an_agent_that_is_silent() {
    let (feed, reply) = FakeReply::fed();
    let reply = std::sync::Mutex::new(Some(reply));
    let agent = FakeAgent::start(move |_| reply.lock().unwrap().take().unwrap_or_else(|| FakeReply::json("{}"))).await;
    let gateway = gateway(&agent).await;
    let reply = gateway.post("a", call("SendStreamingMessage", message_v1("m"))).await;
    assert_eq!(reply.json()["error"]["data"][0]["reason"], "DEADLINE_EXCEEDED", "{}", reply.text());
    tokio::time::timeout(Duration::from_secs(1), feed.closed()).await.expect("and hangs up");
    gateway.finish().await;
}

#[tokio::test]
async fn bounds_what_an_agent_may_send() {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, &format!(r#"{{"task":{{"id":"t","x":"{}"}}}}"#, "x".repeat(5_000)))
    })
    .await;
    let config = format!(
        "limits: {{reply_bytes_max: 4096, event_bytes_max: 4096}}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert!(reply["error"]["message"].as_str().unwrap().contains("larger than allowed"), "{reply}");
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(
            &seen,
            &format!(
                r#"{{"task":{{"id":"t","status":{{"state":"TASK_STATE_COMPLETED"}},"x":{}1{}}}}}"#,
                "[".repeat(60),
                "]".repeat(60)
            ),
        )
    })
    .await;
    let gateway_2 = self::gateway(&agent).await;
    let reply = gateway_2.rpc("a", "SendMessage", message_v1("m")).await;
    assert!(reply["error"]["message"].as_str().unwrap().contains("nested deeper"), "{reply}");
    gateway.finish().await;
    gateway_2.finish().await;
}

#[tokio::test]
async fn follows_one_redirect_within_the_origin_and_none_beyond() {
    let agent = FakeAgent::start(|seen| match seen.path.as_str() {
        "/rpc" => FakeReply::With(307, vec![("location", "/rpc/".into())], String::new()),
        "/away" => FakeReply::With(307, vec![("location", "http://203.0.113.9/".into())], String::new()),
        _ => FakeReply::result(&seen, r#"{"task":{"id":"t","status":{"state":"TASK_STATE_COMPLETED"}}}"#),
    })
    .await;
    let config = format!(
        "agents:\n- {{name: a, url: '{0}/rpc', protocol_version: '1.0'}}\n- {{name: b, url: '{0}/away', protocol_version: '1.0'}}",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    assert!(gateway.rpc("a", "SendMessage", message_v1("m")).await.get("result").is_some());
    assert_eq!(gateway.rpc("b", "SendMessage", message_v1("m")).await["error"]["code"], -32006);
    gateway.finish().await;
}

#[tokio::test]
async fn takes_a_plain_json_answer_to_a_streaming_call() {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":"x"}]}}"#)
    })
    .await;
    let gateway = gateway(&agent).await;
    let events = gateway.post("a", call("SendStreamingMessage", message_v1("m"))).await.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["result"]["message"]["messageId"], "m");
    gateway.finish().await;
}

#[tokio::test]
async fn sends_each_call_once() {
    let agent = FakeAgent::start(|_| FakeReply::Whole(503, "text/plain", "busy".into())).await;
    let gateway = gateway(&agent).await;
    gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert_eq!(agent.calls().len(), 1);
    gateway.finish().await;
}

/// Answers one request on each connection, as if it would take more, and closes it a moment later.
async fn fickle_agent() -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut delay_us = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            delay_us = (delay_us + 137) % 900;
            tokio::spawn(async move {
                let mut request = vec![0; 4_096];
                let Ok(length) = stream.read(&mut request).await else { return };
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let Some((_, body)) = text.split_once("\r\n\r\n") else { return };
                let id = crate::support::json(body.as_bytes())["id"].clone();
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"task":{{"id":"t","contextId":"c","status":{{"state":"TASK_STATE_COMPLETED"}}}}}}}}"#
                );
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                drop(stream.write_all((head + &body).as_bytes()).await);
                tokio::time::sleep(Duration::from_micros(delay_us)).await;
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_waits_on_a_connection_that_its_agent_has_closed() {
    let url = fickle_agent().await;
    let config = format!("timeouts: {{unary_ms: 3000}}\nagents:\n- {{name: a, url: '{url}', protocol_version: '1.0'}}");
    let gateway = TestGateway::start(&config).await;
    let mut answered = 0;
    for _ in 0..60 {
        let calls = (0..24).map(|_| gateway.rpc("a", "SendMessage", message_v1("m")));
        for reply in futures_util::future::join_all(calls).await {
            let reason = &reply["error"]["data"][0]["reason"];
            assert!(reply.get("result").is_some() || reason == "UPSTREAM_UNAVAILABLE", "{reply}");
            answered += usize::from(reply.get("result").is_some());
        }
    }
    assert!(answered > 1_200, "{answered} of 1440 were answered");
    gateway.finish().await;
}
