//! Stopping: no new calls, a grace for those under way, a last well-formed event for streams.

use std::time::Duration;

use http_body_util::BodyExt as _;

use crate::support::fake::event;
use crate::support::gateway::{TestGateway, call, message_v1};
use crate::support::{FakeAgent, FakeReply};

const TASK: &str = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;

#[tokio::test]
async fn ends_streams_with_an_event_that_says_to_subscribe_again() {
    let (feed, reply) = FakeReply::fed();
    let reply = std::sync::Mutex::new(Some(reply));
    let agent = FakeAgent::start(move |_| reply.lock().unwrap().take().expect("one call")).await;
    let config =
        format!("timeouts: {{drain_ms: 800}}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url);
    let mut gateway = TestGateway::start(&config).await;
    feed.send(event(1, TASK)).await.unwrap();
    let body = gateway.stream("a", "SendStreamingMessage", message_v1("m")).await.into_body();
    let reading = tokio::spawn(async move {
        String::from_utf8(body.collect().await.expect("a whole body").to_bytes().to_vec()).unwrap()
    });
    tokio::time::timeout(Duration::from_secs(5), gateway.stop_now()).await.expect("within the drain time");
    let text = reading.await.unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("event: error\ndata: ") && last.contains("the gateway is restarting"), "{text}");
    let record = gateway.record().await;
    assert_eq!((record.events, record.error), (1, Some("OVERLOADED")), "the book knows who ended it");
}

#[tokio::test]
async fn tells_a_unary_caller_that_its_message_may_have_been_sent() {
    let (feed, reply) = FakeReply::fed();
    let reply = std::sync::Mutex::new(Some(reply));
    let agent = FakeAgent::start(move |_| reply.lock().unwrap().take().expect("one call")).await;
    let config =
        format!("timeouts: {{drain_ms: 600}}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url);
    let mut gateway = TestGateway::start(&config).await;
    let asked = std::sync::Arc::new(gateway.caller());
    let asking = tokio::spawn(async move { asked("a", call("SendMessage", message_v1("m"))).await });
    while gateway.open_calls() == 0 {
        tokio::task::yield_now().await;
    }
    gateway.stop_now().await;
    let answer = asking.await.unwrap();
    assert!(answer.contains("the gateway is restarting"), "{answer}");
    assert_eq!(gateway.record().await.sent, Some("maybe"));
    drop(feed);
}

#[tokio::test]
async fn lets_a_call_under_way_finish() {
    let agent = FakeAgent::start(|seen| {
        std::thread::sleep(Duration::from_millis(300));
        FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
    });
    let agent = agent.await;
    let config = format!("agents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url);
    let mut gateway = TestGateway::start(&config).await;
    let answer = {
        let response = gateway.post("a", call("SendMessage", message_v1("m")));
        response.await
    };
    assert!(answer.json().get("result").is_some());
    gateway.stop_now().await;
    assert_eq!(
        gateway.record().await.outcome,
        switchboard::ledger::Outcome::Answered,
        "the record was written before the end"
    );
}
