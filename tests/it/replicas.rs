//! Several gateways on one database, and what happens when one of the two goes away.

use std::process::Command;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use serde_json::json;

use crate::registry::{agent, echo, gateway};
use crate::support::fake::event;
use crate::support::gateway::{KEY, TestGateway, call, message_v1};
use crate::support::process::{Process, until};
use crate::support::{Database, FakeAgent, FakeReply, Postgres};

const TASK: &str = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;

/// What is promised within a second or two may take longer where other tests keep the machine busy.
const PATIENCE: Duration = Duration::from_secs(8);

/// An agent that answers with the same task whoever asks.
fn unowned(name: &str, url: &str) -> serde_json::Value {
    let mut agent = agent(name, url);
    agent["taskScope"] = json!("none");
    agent
}

/// An agent whose streams stay open.
async fn endless() -> FakeAgent {
    FakeAgent::start(|seen| {
        if seen.json()["method"] == "CancelTask" {
            return FakeReply::result(&seen, r#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_CANCELED"}}"#);
        }
        let (feed, reply) = FakeReply::fed();
        feed.try_send(event(1, TASK)).unwrap();
        std::mem::forget(feed);
        reply
    })
    .await
}

async fn open(gateway: &TestGateway, key: &str, agent: &str) -> hyper::body::Incoming {
    let bearer = format!("Bearer {key}");
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("accept", "text/event-stream")];
    let path = format!("/a2a/{agent}");
    let response =
        gateway.open(http::Method::POST, &path, &headers, call("SendStreamingMessage", message_v1("m"))).await;
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// What is left of a stream, which must end soon.
async fn rest(stream: hyper::body::Incoming) -> String {
    let begun = Instant::now();
    let rest = tokio::time::timeout(PATIENCE, stream.collect()).await.expect("it ends");
    println!("a stream ended after {:?}", begun.elapsed());
    String::from_utf8_lossy(&rest.unwrap().to_bytes()).into_owned()
}

#[tokio::test]
async fn what_one_gateway_changes_the_other_knows_within_a_second() {
    let fake = echo().await;
    let database = Database::postgres();
    let (one, two) = (gateway(&database).await, gateway(&database).await);
    one.admin("AgentService/CreateAgent", json!({ "agent": agent("shared", &fake.url) })).await;
    until(PATIENCE, async || two.call_as(KEY, "shared").await == 200).await;
    let key = one.new_key(json!({ "alias": "k", "grants": { "agents": ["shared"] } })).await;
    until(PATIENCE, async || two.call_as(&key, "shared").await == 200).await;
    two.admin("KeyService/BlockKey", json!({ "id": "k" })).await;
    assert_eq!(two.call_as(&key, "shared").await, 401, "here at once");
    until(PATIENCE, async || one.call_as(&key, "shared").await == 401).await;
    two.admin("AgentService/DisableAgent", json!({ "id": "shared" })).await;
    until(PATIENCE, async || one.call_as(KEY, "shared").await == 404).await;
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn streams_end_on_both_gateways_when_the_right_to_them_does() {
    let fake = endless().await;
    let database = Database::postgres();
    let (one, two) = (gateway(&database).await, gateway(&database).await);
    one.admin("AgentService/CreateAgent", json!({ "agent": unowned("a", &fake.url) })).await;
    one.admin("TeamService/CreateTeam", json!({ "team": { "id": "t", "grants": { "allAgents": true } } })).await;
    let make =
        async |alias: &str| one.new_key(json!({ "alias": alias, "teamId": "t", "grants": { "agents": ["a"] } })).await;
    let keys = [
        make("block").await,
        make("delete").await,
        make("grant").await,
        make("expiry").await,
        make("team").await,
        make("agent").await,
    ];
    until(PATIENCE, async || {
        two.admin_as(&keys[5], "AgentService/ListAgents", json!({})).await.json()["agents"].is_array()
    })
    .await;
    let soon = switchboard::clock::rfc3339(switchboard::clock::Clock.unix_micros() + 1_500_000);
    let endings = [
        ("KeyService/BlockKey", json!({ "id": "block" })),
        ("KeyService/DeleteKey", json!({ "id": "delete" })),
        ("KeyService/UpdateKey", json!({ "key": { "id": "grant" }, "updateMask": "grants" })),
        ("KeyService/UpdateKey", json!({ "key": { "id": "expiry", "expireTime": soon } })),
        ("TeamService/UpdateTeam", json!({ "team": { "id": "t", "blocked": true } })),
        ("AgentService/DisableAgent", json!({ "id": "a" })),
    ];
    let mut survivor = open(&two, KEY, "a").await;
    survivor.frame().await.unwrap().unwrap();
    for (at, (method, mut body)) in endings.into_iter().enumerate() {
        let key = if method.starts_with("AgentService") { KEY.to_owned() } else { keys[at].clone() };
        let (here, there) = (open(&one, &key, "a").await, open(&two, &key, "a").await);
        if let Some(alias) = body["id"].as_str().or(body["key"]["id"].as_str()).filter(|_| method.starts_with("Key")) {
            let id = one.admin("KeyService/GetKey", json!({ "id": alias })).await["key"]["id"].clone();
            let place = if body["key"].is_object() { &mut body["key"]["id"] } else { &mut body["id"] };
            *place = id;
        }
        if method.starts_with("AgentService") {
            let quiet = tokio::time::timeout(Duration::from_millis(50), survivor.frame()).await;
            assert!(quiet.is_err(), "nothing so far concerned it");
        }
        one.admin(method, body).await;
        for stream in [here, there] {
            let text = rest(stream).await;
            assert!(text.contains("PERMISSION_DENIED") && text.contains("any more"), "{method}: {text}");
        }
    }
    rest(survivor).await;
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn a_change_that_concerns_nobody_leaves_streams_open() {
    let fake = endless().await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    gateway.admin("AgentService/CreateAgent", json!({ "agent": unowned("a", &fake.url) })).await;
    let key = gateway.new_key(json!({ "alias": "k", "grants": { "agents": ["a"] } })).await;
    let mut stream = open(&gateway, &key, "a").await;
    stream.frame().await.unwrap().unwrap();
    gateway
        .admin("AgentService/UpdateAgent", json!({ "agent": { "id": "a", "name": "renamed", "description": "d" } }))
        .await;
    gateway.admin("KeyService/RotateKey", json!({ "id": "k" })).await;
    gateway.new_key(json!({ "alias": "other" })).await;
    assert!(tokio::time::timeout(Duration::from_millis(900), stream.frame()).await.is_err(), "nothing happens to it");
    drop(stream);
    until(PATIENCE, async || gateway.open_calls() == 0).await;
    gateway.finish().await;
}

#[tokio::test]
async fn an_emergency_stop_cancels_the_tasks_that_are_followed() {
    let fake = endless().await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    gateway.admin("AgentService/CreateAgent", json!({ "agent": unowned("a", &fake.url) })).await;
    let grants = json!({ "agents": ["a"], "operations": ["SendStreamingMessage"] });
    let key = gateway.new_key(json!({ "alias": "k", "grants": grants, "limits": { "callsMax": 1 } })).await;
    let mut stream = open(&gateway, &key, "a").await;
    stream.frame().await.unwrap().unwrap();
    gateway.admin("AgentService/DisableAgent", json!({ "id": "a", "stopRunning": true })).await;
    rest(stream).await;
    // Whatever its follower may do, and has used up.
    let canceled: Vec<_> = fake
        .calls()
        .iter()
        .filter(|seen| seen.json()["method"] == "CancelTask")
        .map(|seen| seen.json()["params"]["id"].clone())
        .collect();
    assert_eq!(canceled, ["t"]);
    gateway.finish().await;
}

#[tokio::test]
async fn while_the_database_is_away_known_keys_go_on_and_writes_are_refused() {
    let fake = echo().await;
    let mut server = Postgres::start();
    let database = Database::of(&server);
    let yaml = database.yaml.replace("store: {", "store: {timeout_ms: 1000, ");
    let gateway = TestGateway::start(&format!("{yaml}outbound: {{allow: [127.0.0.0/8]}}\n")).await;
    gateway.admin("AgentService/CreateAgent", json!({ "agent": unowned("a", &fake.url) })).await;
    let key = gateway.new_key(json!({ "alias": "k", "grants": { "agents": ["a"] } })).await;
    assert_eq!(gateway.call_as(&key, "a").await, 200);
    server.stop();
    assert_eq!(gateway.call_as(&key, "a").await, 200, "it is in memory");
    assert_eq!(gateway.call_as("sk-not-seen-yet", "a").await, 503, "it cannot be looked up");
    let refused = gateway.admin_as(KEY, "AgentService/DeleteAgent", json!({ "id": "a" })).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["code"].as_str()),
        (503, Some("unavailable")),
        "{}",
        refused.text()
    );
    assert!(
        refused.text().contains("nothing was changed") && refused.headers.contains_key("retry-after"),
        "{}",
        refused.text()
    );
    server.go_on();
    until(Duration::from_secs(10), async || {
        gateway.admin_as(KEY, "AgentService/DeleteAgent", json!({ "id": "a" })).await.status == 200
    })
    .await;
    assert_eq!(gateway.call_as(&key, "a").await, 404);
    gateway.finish().await;
    server.stop();
}

#[tokio::test]
async fn keys_are_not_believed_for_ever_while_the_database_is_away() {
    let fake = echo().await;
    let mut server = Postgres::start();
    let database = Database::of(&server);
    let yaml = database.yaml.replace("store: {", "store: {timeout_ms: 500, stale_max_ms: 1500, ");
    let gateway = TestGateway::start(&format!("{yaml}outbound: {{allow: [127.0.0.0/8]}}\n")).await;
    gateway.admin("AgentService/CreateAgent", json!({ "agent": unowned("a", &fake.url) })).await;
    let key = gateway.new_key(json!({ "alias": "k", "grants": { "agents": ["a"] } })).await;
    assert_eq!(gateway.call_as(&key, "a").await, 200);
    server.stop();
    until(Duration::from_secs(5), async || gateway.call_as(&key, "a").await == 503).await;
    assert_eq!(gateway.call_as(KEY, "a").await, 200, "the configuration's keys need no database");
    server.go_on();
    until(Duration::from_secs(10), async || gateway.call_as(&key, "a").await == 200).await;
    gateway.finish().await;
    server.stop();
}

#[tokio::test]
async fn a_second_process_on_one_sqlite_file_is_refused() {
    let database = Database::sqlite();
    let first = Process::serve(&database.yaml);
    first.is_ready().await;
    let second = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .env_clear()
        .args(["serve", "--config"])
        .arg(first.config.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(69));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another process has") && said.contains("PostgreSQL"), "{said}");
}

/// Killed at any moment, a database has whole changes only: each agent with its names and its line in the audit.
#[tokio::test]
async fn a_killed_process_leaves_nothing_half_written() {
    let rounds: u64 = std::env::var("KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    for database in Database::both() {
        for round in 0..rounds {
            let mut process = Process::serve(&database.yaml);
            process.is_ready().await;
            let base = process.base.clone();
            let writes = async move {
                let client = switchboard::client::Client::new(base.parse().unwrap(), KEY);
                for at in 0.. {
                    let name = format!("r{round}-{at}");
                    let mut wanted = agent(&name, "http://1.1.1.1");
                    wanted["aliases"] = json!([format!("{name}-alias")]);
                    let made = client.admin("AgentService/CreateAgent", &json!({ "agent": wanted })).await;
                    let Ok(made) = made else { return };
                    let team = json!({ "team": { "id": name, "name": name } });
                    let _ = client.admin("TeamService/CreateTeam", &team).await;
                    let key = json!({ "key": { "alias": name, "teamId": name } });
                    let _ = client.admin("KeyService/CreateKey", &key).await;
                    let _ = client.admin("TeamService/DeleteTeam", &json!({ "id": name })).await;
                    let update = json!({ "agent": { "id": made["agent"]["id"], "aliases": [format!("{name}-new")] }, "updateMask": "aliases" });
                    let _ = client.admin("AgentService/UpdateAgent", &update).await;
                }
            };
            let killed = async {
                tokio::time::sleep(Duration::from_millis(150 + 37 * round)).await;
                process.kill();
            };
            tokio::join!(writes, killed);
            for (what, sql) in [
                (
                    "agents without their names",
                    "SELECT id FROM agents WHERE deleted_at IS NULL AND (SELECT COUNT(*) FROM agent_names WHERE agent_id = agents.id) <> 2",
                ),
                (
                    "changes without audit",
                    "SELECT id FROM agents WHERE (SELECT COUNT(*) FROM audit WHERE resource_id = agents.id) <> revision",
                ),
                (
                    "keys without audit",
                    "SELECT id FROM keys WHERE (SELECT COUNT(*) FROM audit WHERE resource_id = keys.id) <> revision",
                ),
                (
                    "keys of deleted teams",
                    "SELECT id FROM keys WHERE deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM teams WHERE teams.id = keys.team_id AND teams.deleted_at IS NULL)",
                ),
                (
                    "changes beyond the counter",
                    "SELECT id FROM agents WHERE seq > (SELECT n FROM revision WHERE topic = 'agents')",
                ),
            ] {
                assert_eq!(database.query(sql), Vec::<String>::new(), "{what}");
            }
        }
        let written: u64 = database.query("SELECT COUNT(*) FROM agents")[0].parse().unwrap();
        assert!(written >= rounds, "{written} agents were written");
        Process::serve(&database.yaml).is_ready().await;
    }
}

#[tokio::test]
async fn an_old_database_is_refused_when_it_may_not_be_migrated() {
    for database in Database::both() {
        let yaml = database.yaml.replace("store: {", "store: {migrate: false, ");
        let settings =
            switchboard::config::parse(&format!("listen: 127.0.0.1:0\nmaster_key: {KEY}\n{yaml}"), &|_| None).unwrap();
        let refused = switchboard::server::Server::start(settings, None).await;
        let said = refused.err().expect("it refuses").to_string();
        assert!(said.contains("migrate"), "{said}");
        gateway(&database).await.finish().await;
        TestGateway::start(&yaml).await.finish().await;
    }
}

#[tokio::test]
async fn a_master_key_is_made_once_when_there_is_none() {
    let fake = echo().await;
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "listen: 127.0.0.1:0\nstore: {{data_dir: '{}/data'}}\nagents:\n- {{name: a, url: '{}'}}\n",
        directory.path().display(),
        fake.url
    );
    let mut keys = Vec::new();
    for _ in 0..2 {
        let settings = switchboard::config::parse(&text, &|_| None).unwrap();
        let server = switchboard::server::Server::start(settings, None).await.unwrap();
        let key = std::fs::read_to_string(directory.path().join("data/master.key")).unwrap().trim().to_owned();
        let client =
            switchboard::client::Client::new(format!("http://{}", server.address()).parse().unwrap(), key.clone());
        client.admin("AgentService/ListAgents", &json!({})).await.unwrap();
        keys.push(key);
        drop(client);
        server.stop().await;
    }
    assert!(keys[0] == keys[1] && keys[0].len() == 67, "{}", keys[0].len());
    let mode = |path: &str| {
        let metadata = std::fs::metadata(directory.path().join(path)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
    };
    for (path, expected) in
        [("data", 0o700), ("data/master.key", 0o600), ("data/encryption.key", 0o600), ("data/switchboard.db", 0o600)]
    {
        assert_eq!(mode(path), expected, "{path}");
    }
}

#[tokio::test]
async fn the_configuration_file_is_followed() {
    let fake = echo().await;
    let database = Database::sqlite();
    let process = Process::serve(&format!("{}agents:\n- {{name: a, url: '{}'}}\n", database.yaml, fake.url));
    process.is_ready().await;
    let client = switchboard::client::Client::new(process.base.parse().unwrap(), KEY);
    let names = async || {
        let listed = client.admin("AgentService/ListAgents", &json!({})).await.unwrap();
        listed["agents"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|a| a["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["a"]);
    let text = std::fs::read_to_string(process.config.path()).unwrap();
    let more =
        format!("{text}- {{name: b, url: '{}'}}\nkeys:\n- {{name: new, key: sk-of-the-file, agents: '*'}}\n", fake.url);
    std::fs::write(process.config.path(), &more).unwrap();
    until(Duration::from_secs(5), async || names().await == ["a", "b"]).await;
    let new = switchboard::client::Client::new(process.base.parse().unwrap(), "sk-of-the-file");
    new.admin("AgentService/ListAgents", &json!({})).await.expect("the new key is known");
    std::fs::write(process.config.path(), format!("{more}nonsense: 1\n")).unwrap();
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    assert_eq!(names().await, ["a", "b"], "a file with problems changes nothing");
    std::fs::write(process.config.path(), &text).unwrap();
    until(Duration::from_secs(5), async || names().await == ["a"]).await;
    assert!(new.admin("AgentService/ListAgents", &json!({})).await.is_err(), "the key is gone");
}

#[tokio::test]
async fn a_right_that_is_lost_before_the_agent_answers_ends_the_stream_too() {
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let feeds = std::sync::Mutex::new(Vec::new());
    let fake = FakeAgent::start(move |_| {
        let (feed, reply) = FakeReply::fed();
        asked.send(feed.clone()).unwrap();
        feeds.lock().unwrap().push(feed);
        reply
    })
    .await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    gateway.admin("AgentService/CreateAgent", json!({ "agent": unowned("a", &fake.url) })).await;
    let key = gateway.new_key(json!({ "alias": "k", "grants": { "agents": ["a"] } })).await;
    let (stream, ()) = tokio::join!(open(&gateway, &key, "a"), async {
        let feed = is_asked.recv().await.unwrap();
        gateway.admin("KeyService/BlockKey", json!({ "id": "k" })).await;
        feed.send(event(1, TASK)).await.unwrap();
    });
    let text = rest(stream).await;
    assert!(text.contains("PERMISSION_DENIED"), "{text}");
    gateway.finish().await;
}
