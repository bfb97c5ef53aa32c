//! Agents that come and go while the gateway runs, on both databases.

use http::Method;
use serde_json::{Value, json};

use crate::support::gateway::{KEY, TestGateway, call, message_v1};
use crate::support::{Database, FakeAgent, FakeReply};

const TASK: &str = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#;

pub async fn echo() -> FakeAgent {
    FakeAgent::start(|seen| FakeReply::result(&seen, TASK)).await
}

pub async fn gateway(database: &Database) -> TestGateway {
    TestGateway::start(&format!("{}outbound: {{allow: [127.0.0.0/8]}}\nstrict_version: false\n", database.yaml)).await
}

/// An agent that speaks 1.0 at `url`.
pub fn agent(name: &str, url: &str) -> Value {
    json!({ "name": name, "endpoints": [{ "url": url, "protocolVersion": "1.0", "bindings": ["jsonrpc"] }] })
}

#[tokio::test]
async fn registers_changes_and_removes_agents_for_the_next_call_and_across_restarts() {
    let fake = echo().await;
    for database in Database::both() {
        let gateway = gateway(&database).await;
        assert_eq!(gateway.call_as(KEY, "mine").await, 404);
        let made = gateway.admin("AgentService/CreateAgent", json!({ "agent": agent("mine", &fake.url) })).await;
        let id = made["agent"]["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("agt_"), "{id}");
        assert_eq!(gateway.call_as(KEY, "mine").await, 200);
        assert_eq!(gateway.call_as(KEY, &id).await, 200, "by its id");

        let patch =
            json!({ "agent": { "id": id, "name": "renamed", "aliases": ["old"] }, "updateMask": "name,aliases" });
        let changed = gateway.admin("AgentService/UpdateAgent", patch).await;
        assert_eq!(changed["agent"]["provenance"]["revision"], "2");
        assert_eq!(changed["agent"]["endpoints"], made["agent"]["endpoints"], "the mask names the rest not");
        assert_eq!((gateway.call_as(KEY, "mine").await, gateway.call_as(KEY, "renamed").await), (404, 200));
        assert_eq!(gateway.call_as(KEY, "old").await, 200);
        gateway.finish().await;

        let gateway = self::gateway(&database).await;
        assert_eq!(gateway.call_as(KEY, "renamed").await, 200, "it outlives the process");
        gateway.admin("AgentService/DisableAgent", json!({ "id": id })).await;
        assert_eq!(gateway.call_as(KEY, "renamed").await, 404);
        gateway.admin("AgentService/EnableAgent", json!({ "id": id })).await;
        assert_eq!(gateway.call_as(KEY, "renamed").await, 200);
        gateway.admin("AgentService/DeleteAgent", json!({ "id": id })).await;
        assert_eq!((gateway.call_as(KEY, "renamed").await, gateway.call_as(KEY, &id).await), (404, 404));
        assert_eq!(gateway.admin("AgentService/ListAgents", json!({})).await, json!({}));
        gateway.finish().await;
    }
}

#[tokio::test]
async fn gives_a_reused_name_none_of_the_old_grants() {
    for database in Database::both() {
        let fake = echo().await;
        let gateway = gateway(&database).await;
        let make = json!({ "agent": agent("mine", &fake.url) });
        let first = gateway.admin("AgentService/CreateAgent", make.clone()).await;
        let key = gateway.new_key(json!({ "alias": "a", "grants": { "agents": ["mine"] } })).await;
        assert_eq!(gateway.call_as(&key, "mine").await, 200);
        gateway.admin("AgentService/DeleteAgent", json!({ "id": first["agent"]["id"] })).await;
        let second = gateway.admin("AgentService/CreateAgent", make).await;
        assert_ne!(first["agent"]["id"], second["agent"]["id"]);
        assert_eq!((gateway.call_as(&key, "mine").await, gateway.call_as(KEY, "mine").await), (404, 200));
        gateway.finish().await;
    }
}

#[tokio::test]
async fn keeps_credentials_sealed_sends_them_and_never_shows_them() {
    let fake = echo().await;
    for database in Database::both() {
        let gateway = gateway(&database).await;
        let mut wanted = agent("mine", &fake.url);
        wanted["endpoints"][0]["headers"] = json!({ "x-api-key": "very-secret-1", "x-plain": "plain-2" });
        let made = gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
        let id = made["agent"]["id"].clone();
        assert_eq!(gateway.call_as(KEY, "mine").await, 200);
        assert_eq!(fake.last().headers["x-api-key"], "very-secret-1");
        let listed = gateway.admin("AgentService/ListAgents", json!({})).await.to_string();
        assert!(!listed.contains("very-secret") && listed.contains("[redacted]"), "{listed}");
        let rows = database.query("SELECT doc, sealed FROM agents").concat()
            + &database.query("SELECT detail FROM audit").concat();
        assert!(!rows.contains("very-secret") && !rows.contains("plain-2"), "{rows}");

        // Written back as it was shown, a value stays; at another address it would have been handed to a stranger.
        let mut patch = made["agent"].clone();
        patch["description"] = "new".into();
        let patched = json!({ "agent": patch, "updateMask": "endpoints,description" });
        gateway.admin("AgentService/UpdateAgent", patched).await;
        assert_eq!(gateway.call_as(KEY, "mine").await, 200);
        assert_eq!(fake.last().headers["x-api-key"], "very-secret-1");
        let mut elsewhere = patch.clone();
        elsewhere["provenance"] = json!({});
        elsewhere["endpoints"][0]["url"] = format!("{}/other", fake.url).into();
        let body = json!({ "agent": elsewhere, "updateMask": "endpoints" });
        let refused = gateway.admin_as(KEY, "AgentService/UpdateAgent", body).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains("not kept for this address"), "{}", refused.text());
        assert_eq!(
            gateway.admin("AgentService/GetAgent", json!({ "id": id })).await["agent"]["provenance"]["revision"],
            "2"
        );
        gateway.finish().await;
    }
}

#[tokio::test]
async fn opens_what_a_former_encryption_key_sealed_and_refuses_a_wrong_one() {
    let fake = echo().await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    let mut wanted = agent("mine", &fake.url);
    wanted["endpoints"][0]["headers"] = json!({ "x-api-key": "sealed" });
    gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
    gateway.finish().await;
    let before = database.query("SELECT sealed FROM agents");

    let old = database.yaml.lines().nth(1).unwrap().split_once('\'').unwrap().1.trim_end_matches('\'').to_owned();
    let new = "ff".repeat(32);
    let store = database.yaml.lines().next().unwrap();
    let config = |keys: &str| format!("{store}\n{keys}\noutbound: {{allow: [127.0.0.0/8]}}\n");
    let settings = |text: &str| {
        switchboard::config::parse(&format!("listen: 127.0.0.1:0\nmaster_key: {KEY}\n{text}"), &|_| None).unwrap()
    };
    let wrong = switchboard::server::Server::start(settings(&config(&format!("encryption_key: '{new}'"))), None).await;
    let said = wrong.err().expect("it refuses").to_string();
    assert!(said.contains("another encryption key"), "{said}");

    let rotated = format!("encryption_key: '{new}'\nencryption_keys_former: ['{old}']");
    let gateway = TestGateway::start(&config(&rotated)).await;
    assert_eq!(gateway.call_as(KEY, "mine").await, 200);
    assert_eq!(fake.last().headers["x-api-key"], "sealed");
    gateway.finish().await;
    assert_ne!(database.query("SELECT sealed FROM agents"), before, "sealed anew");
    let gateway = TestGateway::start(&config(&format!("encryption_key: '{new}'"))).await;
    assert_eq!(gateway.call_as(KEY, "mine").await, 200, "the former key is not needed any more");
    assert_eq!(fake.last().headers["x-api-key"], "sealed");
    gateway.finish().await;
}

#[tokio::test]
async fn the_configuration_cannot_be_shadowed_or_edited() {
    for database in Database::both() {
        let fake = echo().await;
        let config = format!(
            "{}outbound: {{allow: [127.0.0.0/8]}}\nagents:\n- {{name: fixed, aliases: [f], url: '{}'}}\n",
            database.yaml, fake.url
        );
        let gateway = TestGateway::start(&config).await;
        for clash in [agent("fixed", &fake.url), agent("f", &fake.url)] {
            let refused = gateway.admin_as(KEY, "AgentService/CreateAgent", json!({ "agent": clash })).await;
            assert_eq!((refused.status.as_u16(), refused.json()["code"].as_str()), (409, Some("already_exists")));
        }
        for (method, body) in [
            ("AgentService/UpdateAgent", json!({ "agent": { "id": "fixed", "description": "x" } })),
            ("AgentService/DeleteAgent", json!({ "id": "fixed" })),
            ("AgentService/DisableAgent", json!({ "id": "fixed" })),
        ] {
            let refused = gateway.admin_as(KEY, method, body).await;
            assert_eq!(refused.status, 403, "{method} {}", refused.text());
            assert!(refused.text().contains("in the configuration file"), "{}", refused.text());
        }
        let listed = gateway.admin("AgentService/ListAgents", json!({})).await;
        assert_eq!(listed["agents"][0]["source"], "AGENT_SOURCE_CONFIG");
        gateway.finish().await;

        // One that was in the store before the configuration took its name is reached by its id alone.
        let gateway = self::gateway(&database).await;
        let made = gateway.admin("AgentService/CreateAgent", json!({ "agent": agent("fixed", &fake.url) })).await;
        gateway.finish().await;
        let gateway = TestGateway::start(&config).await;
        let listed = gateway.admin("AgentService/GetAgent", json!({ "id": "fixed" })).await;
        assert_eq!(listed["agent"]["source"], "AGENT_SOURCE_CONFIG");
        let by_id = gateway.admin("AgentService/GetAgent", json!({ "id": made["agent"]["id"] })).await;
        assert_eq!(by_id["agent"]["source"], "AGENT_SOURCE_STORE");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn lists_by_name_in_pages_whose_tokens_are_good_for_nothing_else() {
    for database in Database::both() {
        let gateway = gateway(&database).await;
        for at in 0..5 {
            let mut wanted = agent(&format!("a{at}"), "http://127.0.0.1:1");
            wanted["tags"] = json!([if at % 2 == 0 { "even" } else { "odd" }]);
            wanted["capabilities"] = json!(["echo"]);
            gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
        }
        let (mut names, mut token, mut tokens) = (Vec::new(), String::new(), Vec::new());
        loop {
            let page = gateway.admin("AgentService/ListAgents", json!({ "pageSize": 2, "pageToken": token })).await;
            names.extend(page["agents"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap().to_owned()));
            token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break;
            }
            tokens.push(token.clone());
        }
        assert_eq!(names, ["a0", "a1", "a2", "a3", "a4"]);
        let even = gateway
            .admin("AgentService/ListAgents", json!({ "tag": "even", "capability": "echo", "query": "A" }))
            .await;
        assert_eq!(even["agents"].as_array().unwrap().len(), 3);

        let other = gateway.new_key(json!({ "alias": "auditor", "role": "ROLE_AUDITOR" })).await;
        let with_filter = json!({ "pageSize": 2, "pageToken": tokens[0], "tag": "even" });
        for (key, method, body) in [
            (KEY, "AgentService/ListAgents", with_filter),
            (KEY, "AgentService/ListAgents", json!({ "pageToken": "nonsense" })),
            (KEY, "KeyService/ListKeys", json!({ "pageToken": tokens[0] })),
            (&*other, "AgentService/ListAgents", json!({ "pageSize": 2, "pageToken": tokens[0] })),
            (KEY, "AgentService/ListAgents", json!({ "pageSize": 1001 })),
        ] {
            let refused = gateway.admin_as(key, method, body).await;
            assert_eq!(
                (refused.status.as_u16(), refused.json()["code"].as_str()),
                (400, Some("invalid_argument")),
                "{method}"
            );
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn refuses_what_was_changed_since() {
    for database in Database::both() {
        let gateway = gateway(&database).await;
        let made =
            gateway.admin("AgentService/CreateAgent", json!({ "agent": agent("a", "http://127.0.0.1:1") })).await;
        let id = made["agent"]["id"].clone();
        let update = |revision: u32, text: &str| json!({ "agent": { "id": id, "description": text, "provenance": { "revision": revision } } });
        gateway.admin("AgentService/UpdateAgent", update(1, "first")).await;
        for (method, body) in [
            ("AgentService/UpdateAgent", update(1, "late")),
            ("AgentService/DeleteAgent", json!({ "id": id, "revision": "1" })),
        ] {
            let refused = gateway.admin_as(KEY, method, body).await;
            assert_eq!(
                (refused.status.as_u16(), refused.json()["code"].as_str()),
                (409, Some("aborted")),
                "{}",
                refused.text()
            );
        }
        let now = gateway.admin("AgentService/GetAgent", json!({ "id": id })).await;
        assert_eq!(
            (&now["agent"]["description"], &now["agent"]["provenance"]["revision"]),
            (&json!("first"), &json!("2"))
        );
        gateway.finish().await;
    }
}

#[tokio::test]
async fn says_field_by_field_what_is_wrong() {
    for database in Database::both() {
        let gateway = gateway(&database).await;
        let with = |more: Value| {
            let mut wanted = agent("a", "http://127.0.0.1:1");
            for (name, value) in more.as_object().unwrap() {
                wanted[name.as_str()] = value.clone();
            }
            wanted
        };
        let endpoint = |more: Value| {
            let mut endpoint = json!({ "url": "http://127.0.0.1:1" });
            for (name, value) in more.as_object().unwrap() {
                endpoint[name.as_str()] = value.clone();
            }
            with(json!({ "endpoints": [endpoint] }))
        };
        let cases = [
            (with(json!({ "name": "" })), "agent.name"),
            (with(json!({ "name": "a b" })), "agent.name"),
            (with(json!({ "name": "a'; DROP TABLE agents; --" })), "agent.name"),
            (with(json!({ "name": "agents" })), "agent.name"),
            (with(json!({ "name": "agt_1" })), "agent.name"),
            (with(json!({ "aliases": ["a/b"] })), "agent.aliases[0]"),
            (with(json!({ "endpoints": [] })), "agent.endpoints"),
            (with(json!({ "nonsense": 1 })), "agent.nonsense"),
            (with(json!({ "tags": [7] })), "agent.tags[0]"),
            (with(json!({ "teamId": "nobody" })), "agent.team_id"),
            (with(json!({ "accessGroups": ["nobody"] })), "agent.access_groups[0]"),
            (with(json!({ "forwardHeaders": ["authorization"] })), "agent.forward_headers[0]"),
            (with(json!({ "limits": { "budgetMicros": "5" } })), "agent.limits.budget_micros"),
            (with(json!({ "serveVersion": "2.0" })), "agent.serve_version"),
            (endpoint(json!({ "url": "ftp://x" })), "agent.endpoints[0].url"),
            (endpoint(json!({ "url": "http://user:pass@x" })), "agent.endpoints[0].url"),
            (endpoint(json!({ "url": "http://10.1.2.3" })), "agent.endpoints[0].url"),
            (endpoint(json!({ "url": "http://169.254.169.254/latest" })), "agent.endpoints[0].url"),
            (endpoint(json!({ "bindings": ["soap"] })), "agent.endpoints[0].bindings"),
            (endpoint(json!({ "headers": { "x": "a\r\nb: c" } })), "agent.endpoints[0].headers[\"x\"]"),
            (endpoint(json!({ "headers": { "x": "env:HOME" } })), "agent.endpoints[0].headers[\"x\"]"),
            (endpoint(json!({ "headers": { "x": "file:/etc/passwd" } })), "agent.endpoints[0].headers[\"x\"]"),
            (endpoint(json!({ "headers": { "host": "x" } })), "agent.endpoints[0].headers[\"host\"]"),
        ];
        for (wanted, field) in cases {
            let refused = gateway.admin_as(KEY, "AgentService/CreateAgent", json!({ "agent": wanted })).await;
            assert_eq!(refused.status, 400, "{field}: {}", refused.text());
            assert!(refused.json()["message"].as_str().unwrap().contains(field), "{field}: {}", refused.text());
            assert!(!refused.text().contains("/etc/passwd"), "values are not repeated");
        }
        let not_json = gateway
            .request(
                Method::POST,
                "/switchboard.v1.AgentService/CreateAgent",
                &[("authorization", &format!("Bearer {KEY}")), ("content-type", "application/json")],
                "{",
            )
            .await;
        assert_eq!(not_json.status, 400, "{}", not_json.text());
        let absent = gateway.admin_as(KEY, "AgentService/Nonsense", json!({})).await;
        assert_eq!((absent.status.as_u16(), absent.json()["code"].as_str()), (501, Some("unimplemented")));
        assert_eq!(gateway.admin("AgentService/ListAgents", json!({})).await, json!({}));
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_when_it_is_connected_to() {
    let fake = echo().await;
    let database = Database::sqlite();
    // Nothing private is allowed, and localhost is a name.
    let gateway = TestGateway::start(&database.yaml).await;
    let url = fake.url.replace("127.0.0.1", "localhost");
    gateway.admin("AgentService/CreateAgent", json!({ "agent": agent("mine", &url) })).await;
    let answer = gateway.post("mine", call("SendMessage", message_v1("m"))).await.json();
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    assert!(fake.calls().is_empty(), "nothing arrives");
    gateway.finish().await;
}

#[tokio::test]
async fn reads_cards_again_and_discovers_them() {
    let card = r#"{"name":"Found","description":"d","version":"1","supportedInterfaces":[{"url":"http://x","protocolBinding":"JSONRPC","protocolVersion":"1.0"}],"capabilities":{},"defaultInputModes":[],"defaultOutputModes":[],"skills":[]}"#;
    let fake = FakeAgent::raw(move |seen| {
        if seen.path.ends_with("agent-card.json") { FakeReply::json(card) } else { FakeReply::result(&seen, TASK) }
    })
    .await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    let found = gateway.admin("AgentService/DiscoverAgentCard", json!({ "url": fake.url })).await;
    assert_eq!(found["card"]["name"], "Found");
    assert_eq!(found["url"], format!("{}/.well-known/agent-card.json", fake.url));
    gateway
        .admin("AgentService/CreateAgent", json!({ "agent": { "name": "a", "endpoints": [{ "url": fake.url }] } }))
        .await;
    let read = gateway.admin("AgentService/RefreshAgentCard", json!({ "id": "a" })).await;
    assert_eq!(read["card"]["name"], "Found");
    let shown = gateway.admin("AgentService/GetAgent", json!({ "id": "a" })).await;
    assert_eq!(shown["card"]["name"], "Found");
    for (url, status) in [("http://10.0.0.1", 400), ("nonsense", 400), ("http://127.0.0.1:1", 503)] {
        let refused = gateway.admin_as(KEY, "AgentService/DiscoverAgentCard", json!({ "url": url })).await;
        assert_eq!(refused.status, status, "{url} {}", refused.text());
    }
    gateway.finish().await;
}
