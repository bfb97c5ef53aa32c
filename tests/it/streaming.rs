//! Streams: event by event, with an end that both sides understand.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use crate::support::fake::event;
use crate::support::gateway::{TestGateway, message_v1, message_v03};
use crate::support::{FakeAgent, FakeReply};

const TASK: &str = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;
const ARTIFACT: &str =
    r#"{"artifactUpdate":{"taskId":"t","contextId":"c","artifact":{"artifactId":"a","parts":[{"text":"x"}]}}}"#;
const DONE: &str = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#;

type Feed = Sender<io::Result<Bytes>>;

/// A 1.0 agent whose one stream the test feeds.
async fn fed_agent() -> (Feed, FakeAgent) {
    let (feed, reply) = FakeReply::fed();
    let reply = Mutex::new(Some(reply));
    let agent = FakeAgent::start(move |_| reply.lock().unwrap().take().expect("one call")).await;
    (feed, agent)
}

async fn gateway(agent: &FakeAgent, more: &str) -> TestGateway {
    TestGateway::start(&format!("{more}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url)).await
}

/// The next piece of a body as text; empty at its end.
async fn piece(body: &mut Incoming) -> String {
    let frame = timeout(Duration::from_secs(5), body.frame()).await.expect("a piece in time");
    frame.map_or_else(String::new, |frame| String::from_utf8_lossy(&frame.unwrap().into_data().unwrap()).into_owned())
}

fn data(piece: &str) -> Value {
    let line =
        piece.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_else(|| panic!("no data in {piece:?}"));
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn sends_each_event_when_the_agent_sends_it() {
    let (feed, agent) = fed_agent().await;
    let mut gateway = gateway(&agent, "").await;
    feed.send(event(1, TASK)).await.unwrap();
    let response = gateway.stream("a", "SendStreamingMessage", message_v1("m")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body();
    for sent in [TASK, ARTIFACT, DONE] {
        if sent != TASK {
            feed.send(event(1, sent)).await.unwrap();
        }
        assert_eq!(data(&piece(&mut body).await)["result"], serde_json::from_str::<Value>(sent).unwrap());
    }
    drop(feed);
    assert_eq!(piece(&mut body).await, "", "the stream ends with the agent's");
    let record = gateway.record().await;
    assert_eq!((record.events, record.state, record.task_id.as_deref()), (3, Some("TASK_STATE_COMPLETED"), Some("t")));
    assert_eq!(record.outcome, switchboard::ledger::Outcome::Answered);
    gateway.finish().await;
}

#[tokio::test]
async fn hangs_up_on_the_agent_when_the_caller_hangs_up() {
    let (feed, agent) = fed_agent().await;
    let mut gateway = gateway(&agent, "").await;
    feed.send(event(1, TASK)).await.unwrap();
    let mut body = gateway.stream("a", "SendStreamingMessage", message_v1("m")).await.into_body();
    piece(&mut body).await;
    assert_eq!(gateway.open_calls(), 1);
    drop(body);
    timeout(Duration::from_secs(1), feed.closed()).await.expect("the agent's connection is closed within a second");
    let record = gateway.record().await;
    assert_eq!(record.outcome, switchboard::ledger::Outcome::Canceled);
    gateway.finish().await;
}

#[tokio::test]
async fn ends_with_a_well_formed_error_when_the_agent_dies() {
    for version in ["1.0", "0.3"] {
        let (feed, agent) = fed_agent().await;
        let mut gateway = gateway(&agent, "").await;
        feed.send(event(1, TASK)).await.unwrap();
        let (method, params) = match version {
            "1.0" => ("SendStreamingMessage", message_v1("m")),
            _ => ("message/stream", message_v03("m")),
        };
        let mut body = gateway.stream("a", method, params).await.into_body();
        piece(&mut body).await;
        feed.send(Err(io::Error::other("killed"))).await.unwrap();
        let last = piece(&mut body).await;
        assert_eq!(last.starts_with("event: error\n"), version == "1.0", "{last}");
        assert_eq!(data(&last)["error"]["code"], -32603, "{last}");
        assert_eq!(data(&last)["id"], 1);
        assert_eq!(piece(&mut body).await, "", "and nothing after it");
        let record = gateway.record().await;
        assert_eq!((record.error, record.fault), (Some("UPSTREAM_UNAVAILABLE"), Some("agent")));
        gateway.finish().await;
    }
}

#[tokio::test]
async fn tells_of_a_stream_that_runs_dry_before_its_task_ends() {
    let agent = FakeAgent::start(|seen| FakeReply::events(&seen, &[TASK, ARTIFACT])).await;
    let gateway = gateway(&agent, "").await;
    let answer = gateway.post("a", crate::support::gateway::call("SendStreamingMessage", message_v1("m"))).await;
    let last = answer.events().pop().unwrap();
    assert_eq!(last["error"]["code"], -32006, "{last}");
    gateway.finish().await;
}

#[tokio::test]
async fn keeps_quiet_streams_open_with_comments() {
    let (feed, agent) = fed_agent().await;
    let gateway = gateway(&agent, "timeouts: {keep_alive_ms: 50}").await;
    // The agent is slow to its first event: the caller gets a response and comments meanwhile.
    let mut body = gateway.stream("a", "SendStreamingMessage", message_v1("m")).await.into_body();
    assert_eq!(piece(&mut body).await, ": keep-alive\n\n");
    feed.send(event(1, DONE)).await.unwrap();
    drop(feed);
    let mut rest = String::new();
    while let Some(frame) = timeout(Duration::from_secs(5), body.frame()).await.unwrap() {
        rest += &String::from_utf8_lossy(&frame.unwrap().into_data().unwrap());
    }
    assert_eq!(
        data(rest.trim_start_matches(": keep-alive\n\n"))["result"],
        serde_json::from_str::<Value>(DONE).unwrap()
    );
    gateway.finish().await;
}

#[tokio::test]
async fn ends_in_good_order_when_the_agent_falls_silent_while_its_task_waits() {
    let (feed, agent) = fed_agent().await;
    let gateway = gateway(&agent, "timeouts: {stream_idle_ms: 200}").await;
    let waits = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_AUTH_REQUIRED"}}}"#;
    feed.send(event(1, waits)).await.unwrap();
    let answer = gateway.post("a", crate::support::gateway::call("SendStreamingMessage", message_v1("m"))).await;
    assert_eq!(answer.events().len(), 1, "{}", answer.text());
    gateway.finish().await;
}

#[tokio::test]
async fn answers_an_error_before_the_first_event_as_each_version_wants_it() {
    let agent = FakeAgent::start(|seen| {
        let id = seen.json()["id"].clone();
        // As 0.3 agents do it: an error as the only event.
        let event =
            format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32001,\"message\":\"gone\"}}}}\n\n");
        FakeReply::Whole(200, "text/event-stream", event)
    })
    .await;
    let gateway = gateway(&agent, "").await;
    let new = gateway.post("a", crate::support::gateway::call("SubscribeToTask", json!({ "id": "t" }))).await;
    assert_eq!((new.status.as_u16(), &new.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    assert_eq!(new.json()["error"]["code"], -32001);
    let old = gateway.post("a", crate::support::gateway::call("tasks/resubscribe", json!({ "id": "t" }))).await;
    assert_eq!((old.status.as_u16(), &old.headers["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    assert_eq!(old.events()[0]["error"]["code"], -32001);
    gateway.finish().await;
}

#[tokio::test]
async fn gives_a_0_3_caller_one_task_and_a_final_event() {
    let snapshot = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"},"artifacts":[{"artifactId":"a","parts":[{"text":"x"}]}]}}"#;
    let agent = FakeAgent::start(move |seen| FakeReply::events(&seen, &[TASK, snapshot])).await;
    let gateway = gateway(&agent, "").await;
    let answer = gateway.post("a", crate::support::gateway::call("message/stream", message_v03("m"))).await;
    let kinds: Vec<_> =
        answer.events().iter().map(|event| event["result"]["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["task", "artifact-update", "status-update"]);
    assert_eq!(answer.events()[2]["result"]["final"], true);
    let waiting = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_INPUT_REQUIRED"}}}"#;
    let agent = FakeAgent::start(move |seen| FakeReply::events(&seen, &[TASK, waiting])).await;
    let gateway_2 = self::gateway(&agent, "").await;
    let answer = gateway_2.post("a", crate::support::gateway::call("message/stream", message_v03("m"))).await;
    assert_eq!(answer.events()[1]["result"]["final"], true, "a 0.3 client waits for it");
    gateway.finish().await;
    gateway_2.finish().await;
}

#[tokio::test]
async fn streams_by_the_alias_and_by_accept() {
    let agent = FakeAgent::start(|seen| FakeReply::events(&seen, &[DONE])).await;
    let gateway = gateway(&agent, "").await;
    let body = crate::support::gateway::call("message/send", message_v03("m"));
    for (path, accept) in [("a/message/stream", "application/json"), ("a", "text/event-stream")] {
        let answer = gateway.post_with(path, &[("accept", accept)], body.clone()).await;
        assert_eq!(answer.headers["content-type"], "text/event-stream", "{path}");
        assert_eq!(answer.events()[0]["result"]["kind"], "status-update");
        assert_eq!(agent.last().json()["method"], "SendStreamingMessage");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn begins_a_1_0_subscription_with_the_task() {
    let agent = FakeAgent::start(|seen| match seen.json()["method"].as_str().unwrap() {
        "tasks/get" => {
            FakeReply::result(&seen, r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"working"}}"#)
        }
        _ => FakeReply::events(
            &seen,
            &[r#"{"kind":"status-update","taskId":"t","contextId":"c","status":{"state":"completed"},"final":true}"#],
        ),
    })
    .await;
    let config =
        format!("tasks: {{scope: none}}\nagents:\n- {{name: a, url: '{}', protocol_version: '0.3'}}", agent.url);
    let gateway = TestGateway::start(&config).await;
    let answer = gateway.post("a", crate::support::gateway::call("SubscribeToTask", json!({ "id": "t" }))).await;
    let events = answer.events();
    assert_eq!(events[0]["result"]["task"]["status"]["state"], "TASK_STATE_WORKING", "{events:?}");
    assert_eq!(events[1]["result"]["statusUpdate"]["status"]["state"], "TASK_STATE_COMPLETED");
    gateway.finish().await;
}
