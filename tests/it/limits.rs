//! Requests per minute, calls and streams at once, of keys, teams and agents.

use std::sync::Mutex;
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::registry::{agent, echo, gateway};
use crate::support::fake::event;
use crate::support::gateway::{KEY, TestGateway, call, grpc_request, message_v1};
use crate::support::{Database, FakeAgent, FakeReply};

const TASK: &str = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;

#[tokio::test]
async fn refuses_above_the_requests_per_minute_of_key_team_and_agent_and_says_when_to_come_back() {
    for database in Database::both() {
        let fake = echo().await;
        let gateway = gateway(&database).await;
        let limited = |max: u32| json!({ "requestsPerMinuteMax": max });
        for (name, max) in [("free", 0), ("slow", 2)] {
            let mut wanted = agent(name, &fake.url);
            wanted["limits"] = limited(max);
            gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
        }
        let team = json!({ "team": { "id": "t", "name": "t", "grants": { "allAgents": true }, "limits": limited(3) } });
        gateway.admin("TeamService/CreateTeam", team).await;
        let key = async |alias: &str, team: &str, max: u32| {
            let all = json!({ "allAgents": true });
            gateway.new_key(json!({ "alias": alias, "teamId": team, "grants": all, "limits": limited(max) })).await
        };
        for (key, agent, limit) in [
            (key("one", "", 2).await, "free", "key.requests_per_minute_max"),
            (key("two", "", 0).await, "slow", "agent.requests_per_minute_max"),
        ] {
            assert_eq!((gateway.call_as(&key, agent).await, gateway.call_as(&key, agent).await), (200, 200));
            let bearer = format!("Bearer {key}");
            let refused =
                gateway.post_with(agent, &[("authorization", &bearer)], call("SendMessage", message_v1("m"))).await;
            assert_eq!(refused.status, 429, "{}", refused.text());
            let detail = &refused.json()["error"]["data"][0];
            assert_eq!((&detail["reason"], &detail["metadata"]["limit"]), (&json!("RATE_LIMITED"), &json!(limit)));
            let number = |name: &str| refused.headers[name].to_str().unwrap().parse::<u32>().unwrap();
            assert_eq!((number("ratelimit-limit"), number("ratelimit-remaining")), (2, 0));
            assert!((1..=60).contains(&number("retry-after")) && number("ratelimit-reset") == number("retry-after"));
            let rest = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let refused = gateway
                .request(http::Method::POST, &format!("/a2a/{agent}/message:send"), &rest, message_v1("m").to_string())
                .await;
            assert_eq!(
                (refused.status.as_u16(), &refused.json()["error"]["status"]),
                (429, &json!("RESOURCE_EXHAUSTED"))
            );
            let mut request = grpc_request::<switchboard::proto::SendMessageRequest>(bytes::Bytes::new());
            request.metadata_mut().insert("authorization", bearer.parse().unwrap());
            request.metadata_mut().insert("a2a-agent", agent.parse().unwrap());
            let status = gateway.grpc().send_message(request).await.unwrap_err();
            if limit.starts_with("key") {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted);
                let details = switchboard::wire::status::details_of(&status);
                assert!(details.iter().any(|(name, _)| name.ends_with("RetryInfo")), "{details:?}");
            }
        }
        let (x, y) = (key("x", "t", 0).await, key("y", "t", 0).await);
        assert_eq!((gateway.call_as(&x, "free").await, gateway.call_as(&y, "free").await), (200, 200));
        assert_eq!((gateway.call_as(&x, "free").await, gateway.call_as(&y, "free").await), (200, 429), "together");
        assert_eq!(gateway.call_as(KEY, "free").await, 200);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn refuses_above_the_calls_and_streams_at_once_and_gives_slots_back() {
    for database in Database::both() {
        let feeds = std::sync::Arc::new(Mutex::new(Vec::new()));
        let kept = std::sync::Arc::clone(&feeds);
        let fake = FakeAgent::start(move |seen| {
            if seen.json()["method"] == "SendStreamingMessage" {
                let (feed, reply) = FakeReply::fed();
                feed.try_send(event(1, TASK)).unwrap();
                kept.lock().unwrap().push(feed);
                return reply;
            }
            FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
        })
        .await;
        let gateway = gateway(&database).await;
        let mut wanted = agent("a", &fake.url);
        wanted["taskScope"] = json!("none");
        wanted["limits"] = json!({ "callsMax": 3 });
        gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
        let limits = json!({ "streamsMax": 1, "callsMax": 2 });
        let key = gateway.new_key(json!({ "alias": "k", "grants": { "allAgents": true }, "limits": limits })).await;

        let first = open(&gateway, &key).await;
        let second = open(&gateway, &key).await;
        assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 429), "one stream");
        let text = String::from_utf8(second.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert!(text.contains("key.streams_max"), "{text}");
        assert_eq!(gateway.call_as(&key, "a").await, 200, "a call beside the stream");
        let (other, more, last) = (open(&gateway, KEY).await, open(&gateway, KEY).await, open(&gateway, KEY).await);
        assert_eq!(
            (other.status().as_u16(), more.status().as_u16(), last.status().as_u16()),
            (200, 200, 429),
            "three of the agent"
        );
        drop((first, other, more));
        for _ in 0..100 {
            if gateway.open_calls() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let again = open(&gateway, &key).await;
        assert_eq!(again.status(), 200, "the slots came back when the caller left");
        drop(again);
        feeds.lock().unwrap().clear();
        for _ in 0..100 {
            if gateway.open_calls() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gateway.finish().await;
    }
}

async fn open(gateway: &TestGateway, key: &str) -> http::Response<hyper::body::Incoming> {
    let bearer = format!("Bearer {key}");
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("accept", "text/event-stream")];
    gateway.open(http::Method::POST, "/a2a/a", &headers, call("SendStreamingMessage", message_v1("m"))).await
}

#[tokio::test]
async fn an_agents_own_timeouts_hold() {
    let database = Database::sqlite();
    let fake = FakeAgent::start(|seen| {
        if seen.json()["method"] == "SendStreamingMessage" {
            let (feed, reply) = FakeReply::fed();
            feed.try_send(event(1, TASK)).unwrap();
            std::mem::forget(feed);
            return reply;
        }
        let (feed, reply) = FakeReply::fed();
        std::mem::forget(feed);
        reply
    })
    .await;
    let gateway = gateway(&database).await;
    let timed = async |name: &str, timeouts: Value| {
        let mut wanted = agent(name, &fake.url);
        wanted["timeouts"] = timeouts;
        gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
    };
    timed("total", json!({ "totalMs": 200 })).await;
    timed("idle", json!({ "idleMs": 200 })).await;
    let answer = gateway.rpc("total", "SendMessage", message_v1("m")).await;
    assert_eq!(answer["error"]["data"][0]["reason"], "DEADLINE_EXCEEDED", "{answer}");
    let stream = gateway.stream("idle", "SendStreamingMessage", message_v1("m")).await.into_body();
    let text =
        tokio::time::timeout(Duration::from_secs(5), stream.collect()).await.expect("it ends").unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("TASK_STATE_WORKING") && text.contains("DEADLINE_EXCEEDED"), "{text}");
    // Nobody takes connections from its queue, which is full.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue is full at some time");
    }
    let mut wanted = agent("connect", &format!("http://{address}"));
    wanted["timeouts"] = json!({ "connectMs": 200 });
    gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
    let begun = std::time::Instant::now();
    let answer = gateway.rpc("connect", "SendMessage", message_v1("m")).await;
    assert_eq!(answer["error"]["data"][0]["reason"], "UPSTREAM_UNAVAILABLE", "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(5), "not after the ten seconds of all agents");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut wanted = agent("first", &format!("http://{}", silent.local_addr().unwrap()));
    wanted["timeouts"] = json!({ "firstByteMs": 200 });
    gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
    let answer = gateway.rpc("first", "SendMessage", message_v1("m")).await;
    assert_eq!(answer["error"]["data"][0]["reason"], "DEADLINE_EXCEEDED", "{answer}");
    gateway.finish().await;
}
