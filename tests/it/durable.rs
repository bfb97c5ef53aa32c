//! Owners across gateways, restarts and crashes: the owner is served, and nobody else ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::ownership::{Keys, gateway};
use crate::support::fake::event;
use crate::support::gateway::{KEY, TestGateway, call, message_v1};
use crate::support::process::{Process, until};
use crate::support::shelf::{asking, task};
use crate::support::{Database, FakeAgent, FakeReply, Postgres, Shelf};

fn entry(url: &str) -> String {
    format!(
        "agents: [{{name: a, url: '{url}', protocol_version: '1.0', bindings: [jsonrpc], dialect: {{waiting: native}}}}]\n"
    )
}

/// The code of the error that a call by this key is answered with; 0 for none.
async fn code(gateway: &TestGateway, key: &str, method: &str, params: Value) -> i64 {
    let bearer = format!("Bearer {key}");
    let reply = gateway.post_with("a", &[("authorization", &bearer)], call(method, params)).await.json();
    reply["error"]["code"].as_i64().unwrap_or(0)
}

#[tokio::test]
async fn the_other_gateway_serves_the_owner_at_once_and_nobody_else() {
    let shelf = Shelf::start().await;
    let database = Database::postgres();
    let (one, two) = (gateway(&database, &entry(shelf.url())).await, gateway(&database, &entry(shelf.url())).await);
    let keys = Keys::make(&one).await;
    until(Duration::from_secs(8), async || code(&two, &keys.blue[1], "ListTasks", json!({})).await == 0).await;
    for round in 0..40 {
        let (id, context) = (format!("t{round}"), format!("c{round}"));
        let say = json!({ "task": task(&id, &context, "WORKING") });
        let (here, there) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        assert_eq!(code(here, &keys.red[0], "SendMessage", asking(&say)).await, 0);
        // At once, and by strangers first.
        let get = json!({ "id": id });
        assert_eq!(code(there, &keys.blue[0], "GetTask", get.clone()).await, -32001);
        assert_eq!(code(there, &keys.red[1], "GetTask", get.clone()).await, 0);
        let mut joined = asking(&say);
        joined["message"]["contextId"] = json!(context);
        assert_eq!(code(there, &keys.alone, "SendMessage", joined.clone()).await, -32602);
        assert_eq!(code(there, &keys.red[0], "SendMessage", joined).await, 0);
        // An agent that gives it to another caller, at the other gateway.
        assert_eq!(code(there, &keys.blue[0], "SendMessage", asking(&say)).await, -32006);
        let list = json!({ "contextId": context });
        let bearer = format!("Bearer {}", keys.red[1]);
        let list = there.post_with("a", &[("authorization", &bearer)], call("ListTasks", list)).await.json();
        assert_eq!(list["result"]["tasks"][0]["id"], id, "{list}");
    }
    one.finish().await;
    two.finish().await;
}

/// Two owners who claim one context through two gateways at once: one of them has it.
#[tokio::test]
async fn a_context_that_two_gateways_claim_at_once_has_one_owner() {
    let shelf = Shelf::start().await;
    let database = Database::postgres();
    let (one, two) = (gateway(&database, &entry(shelf.url())).await, gateway(&database, &entry(shelf.url())).await);
    let keys = Keys::make(&one).await;
    until(Duration::from_secs(8), async || code(&two, &keys.blue[0], "ListTasks", json!({})).await == 0).await;
    for round in 0..20 {
        let context = format!("c{round}");
        let mut joined = asking(
            &json!({ "message": { "messageId": "r", "role": "ROLE_AGENT", "contextId": context, "parts": [{ "text": "x" }] } }),
        );
        joined["message"]["contextId"] = json!(context);
        let (red, blue) = tokio::join!(
            code(&one, &keys.red[0], "SendMessage", joined.clone()),
            code(&two, &keys.blue[0], "SendMessage", joined.clone())
        );
        let mut codes = [red, blue];
        codes.sort_unstable();
        assert_eq!(codes, [-32602, 0], "round {round}");
        let rows = database.query(&format!("SELECT team_id, claim FROM contexts WHERE context_id = '{context}'"));
        assert_eq!(rows.len(), 1, "{rows:?}");
    }
    one.finish().await;
    two.finish().await;
}

/// An agent whose tasks have numbers, and who counts what it answered.
async fn numbered() -> (FakeAgent, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let made = Arc::clone(&count);
    let agent = FakeAgent::start(move |seen| {
        let request = seen.json();
        match request["method"].as_str().unwrap() {
            "SendMessage" => {
                let id = made.fetch_add(1, Ordering::SeqCst);
                FakeReply::result(
                    &seen,
                    &json!({ "task": task(&format!("n{id}"), &format!("c{id}"), "WORKING") }).to_string(),
                )
            }
            "SendStreamingMessage" => {
                let id = made.fetch_add(1, Ordering::SeqCst);
                let (feed, reply) = FakeReply::fed();
                let said = json!({ "task": task(&format!("n{id}"), &format!("c{id}"), "WORKING") });
                feed.try_send(event(request["id"].as_i64().unwrap(), &said.to_string())).unwrap();
                std::mem::forget(feed);
                reply
            }
            _ => FakeReply::result(&seen, &task(request["params"]["id"].as_str().unwrap(), "c", "WORKING").to_string()),
        }
    })
    .await;
    (agent, count)
}

/// Killed at any moment between an agent's reply and its caller's, a gateway gives no task to a stranger. On PostgreSQL it
/// gives every one that its caller has read of to its caller; on SQLite those that were written, as all are before a list.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_gives_nobody_anothers_task() {
    let rounds: u64 = std::env::var("KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    for database in Database::both() {
        let is_postgres = database.yaml.contains("postgres://");
        let (agent, made) = numbered().await;
        let yaml = format!("{}{}", database.yaml, entry(&agent.url));
        let first = gateway(&database, &entry(&agent.url)).await;
        let keys = Keys::make(&first).await;
        first.finish().await;
        let (mut read, mut found) = (0, 0);
        for round in 0..rounds {
            let mut process = Process::serve(&yaml);
            process.is_ready().await;
            let begun = made.load(Ordering::SeqCst);
            assert!(known_to_caller(process.base.clone(), keys.red[0].clone(), 5).await.len() == 5);
            rpc(&process.base, &keys.red[0], "ListTasks", json!({})).await.unwrap();
            let written: Vec<_> = (begun..made.load(Ordering::SeqCst)).map(|id| format!("n{id}")).collect();
            let callers = (0..4).map(|_| known_to_caller(process.base.clone(), keys.red[0].clone(), usize::MAX));
            let callers: Vec<_> = callers.map(tokio::spawn).collect();
            tokio::time::sleep(Duration::from_millis(60 + 23 * round)).await;
            process.kill();
            let mut known = Vec::new();
            for caller in callers {
                known.extend(caller.await.unwrap());
            }
            let gateway = gateway(&database, &entry(&agent.url)).await;
            for id in (begun..made.load(Ordering::SeqCst)).map(|id| format!("n{id}")) {
                for stranger in [&keys.blue[0], &keys.alone, KEY] {
                    assert_eq!(code(&gateway, stranger, "GetTask", json!({ "id": id })).await, -32001, "{id}");
                }
                let owners = code(&gateway, &keys.red[1], "GetTask", json!({ "id": id })).await;
                let is_known = known.contains(&id);
                let must_be = written.contains(&id) || (is_postgres && is_known);
                assert!(owners == 0 || (owners == -32001 && !must_be), "{id}: {owners}");
                read += usize::from(is_known);
                found += usize::from(is_known && owners == 0);
            }
            gateway.finish().await;
        }
        println!("postgres: {is_postgres}; of {read} tasks that their callers had read of, {found} were still theirs");
        assert!(read > 0, "somebody was told something");
    }
}

/// A response to one call of a process, if it answers.
async fn rpc(base: &str, key: &str, method: &str, params: Value) -> Option<http::Response<hyper::body::Incoming>> {
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let request = http::Request::post(format!("{base}/a2a/a"))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(bytes::Bytes::from(call(method, params))))
        .unwrap();
    http.request(request).await.ok()
}

/// Calls so often, or until the gateway is gone, and says which tasks it was told of.
async fn known_to_caller(base: String, key: String, rounds: usize) -> Vec<String> {
    let mut known = Vec::new();
    for round in 0..rounds {
        let method = if round % 3 == 0 { "SendStreamingMessage" } else { "SendMessage" };
        let Some(mut response) = rpc(&base, &key, method, message_v1("m")).await else { return known };
        let mut text = String::new();
        while let Some(Ok(frame)) = http_body_util::BodyExt::frame(response.body_mut()).await {
            text.push_str(&String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data)));
            if let Some(id) = text.split(r#""id":"n"#).nth(1).and_then(|rest| rest.split('"').next()) {
                known.push(format!("n{id}"));
                break;
            }
        }
    }
    known
}

#[tokio::test]
async fn nothing_is_sent_whose_owner_could_not_be_written_down() {
    let shelf = Shelf::start().await;
    let mut server = Postgres::start();
    let database = Database::of(&server);
    let yaml = database.yaml.replace("store: {", "store: {timeout_ms: 500, ");
    let other = "keys: [{name: other, key: sk-other-key, agents: '*'}]\n";
    let gateway = TestGateway::start(&format!("{yaml}{other}{}", entry(shelf.url()))).await;
    let say = json!({ "task": task("t", "c", "WORKING") });
    assert_eq!(code(&gateway, KEY, "SendMessage", asking(&say)).await, 0);
    server.stop();
    until(Duration::from_secs(8), async || {
        let before = shelf.heard("SendMessage");
        let bearer = format!("Bearer {KEY}");
        let other = json!({ "task": task("t2", "c2", "WORKING") });
        let reply = gateway.post_with("a", &[("authorization", &bearer)], call("SendMessage", asking(&other))).await;
        assert!(reply.text().contains("OVERLOADED") && !reply.text().contains("t2"), "{}", reply.text());
        reply.text().contains("nothing was sent") && shelf.heard("SendMessage") == before
    })
    .await;
    assert_eq!(code(&gateway, KEY, "GetTask", json!({ "id": "t" })).await, 0, "what is in memory goes on");
    // Somebody else's, which is in memory, and one that never was are asked for alike, and cannot be.
    for id in ["t", "never"] {
        let answer =
            gateway.post_with("a", &[("authorization", "Bearer sk-other-key")], call("GetTask", json!({ "id": id })));
        assert!(answer.await.text().contains("OVERLOADED"), "{id}");
    }
    server.go_on();
    until(Duration::from_secs(10), async || code(&gateway, KEY, "SendMessage", asking(&say)).await == 0).await;
    gateway.finish().await;
    server.stop();
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_its_id_is_never_free() {
    for database in Database::both() {
        let shelf = Shelf::start().await;
        let config = entry(shelf.url());
        let gateway = gateway(&database, &config).await;
        let keys = Keys::make(&gateway).await;
        for task in [task("old", "c", "COMPLETED"), task("new", "c", "COMPLETED"), task("open", "c", "WORKING")] {
            assert_eq!(code(&gateway, &keys.red[0], "SendMessage", asking(&json!({ "task": task }))).await, 0);
        }
        let listed = async |gateway: &TestGateway| {
            let bearer = format!("Bearer {}", keys.red[0]);
            let list = gateway.post_with("a", &[("authorization", &bearer)], call("ListTasks", json!({}))).await.json();
            list["result"]["totalSize"].as_i64().unwrap()
        };
        // The job looks at the start, and then every minute.
        gateway.finish().await;
        database.execute("UPDATE tasks SET ended_at = ended_at - 91 * 86400000000 WHERE task_id = 'old'");
        let gateway = self::gateway(&database, &config).await;
        until(Duration::from_secs(8), async || listed(&gateway).await == 2).await;
        assert_eq!(database.query("SELECT task_id FROM tasks WHERE deleted_at IS NOT NULL"), ["old"]);
        assert_eq!(code(&gateway, &keys.red[0], "GetTask", json!({ "id": "old" })).await, -32001);
        for (key, id) in [(&keys.red[0], "old"), (&keys.blue[0], "old"), (&keys.blue[0], "new")] {
            let say = json!({ "task": task(id, &format!("c-{id}"), "WORKING") });
            assert_eq!(code(&gateway, key, "SendMessage", asking(&say)).await, -32006, "{id}");
        }
        gateway.finish().await;
    }
}
