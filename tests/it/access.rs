//! Closed by default: who may call what, as a caller sees it.

use serde_json::json;

use crate::support::gateway::{KEY, TestGateway, call, message_v1};
use crate::support::{FakeAgent, FakeReply};

async fn two_agents() -> (FakeAgent, TestGateway) {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
    })
    .await;
    let config = format!(
        "keys:\n- {{name: alice, key: sk-alice, agents: [mine]}}\n- {{name: nobody, key: sk-nobody, agents: []}}\n- {{name: all, key: sk-all, agents: '*'}}\nagents:\n- {{name: mine, url: '{0}', protocol_version: '1.0', aliases: [other-name]}}\n- {{name: theirs, url: '{0}', protocol_version: '1.0'}}",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    (agent, gateway)
}

#[tokio::test]
async fn lets_a_key_call_its_agents_and_hides_the_others() {
    let (agent, mut gateway) = two_agents().await;
    let body = call("SendMessage", message_v1("m"));
    let status = async |gateway: &TestGateway, agent: &str, key: &str| {
        gateway.post_with(agent, &[("authorization", &format!("Bearer {key}"))], body.clone()).await.status.as_u16()
    };
    assert_eq!(status(&gateway, "mine", "sk-alice").await, 200);
    assert_eq!(status(&gateway, "other-name", "sk-alice").await, 200);
    assert_eq!(status(&gateway, "theirs", "sk-alice").await, 404);
    assert_eq!(status(&gateway, "mine", "sk-nobody").await, 404);
    assert_eq!(status(&gateway, "theirs", "sk-all").await, 200);
    assert_eq!(status(&gateway, "theirs", KEY).await, 200);
    let record = gateway.record().await;
    assert_eq!(
        (&*record.caller, record.agent.as_deref(), record.operation),
        ("alice", Some("mine"), Some("SendMessage"))
    );
    let card = |agent: &'static str| format!("/a2a/{agent}/.well-known/agent-card.json");
    let alice = [("x-api-key", "sk-alice")];
    assert_eq!(gateway.request(http::Method::GET, &card("mine"), &alice, "").await.status, 200);
    let hidden = gateway.request(http::Method::GET, &card("theirs"), &alice, "").await;
    let absent = gateway.request(http::Method::GET, &card("nothere"), &alice, "").await;
    assert_eq!((hidden.status, absent.status), (404.try_into().unwrap(), 404.try_into().unwrap()));
    assert_eq!(hidden.text().replace("theirs", "nothere"), absent.text(), "the same words");
    assert_eq!(agent.calls().len(), 4, "refused calls reach nobody");
    gateway.finish().await;
}

#[tokio::test]
async fn lists_only_what_the_key_may_call() {
    let (agent, gateway) = two_agents().await;
    let names = async |key: &str| {
        let answer = gateway.request(http::Method::GET, "/v1/agents", &[("x-litellm-api-key", key)], "").await;
        assert_eq!(answer.status, 200);
        let agents = answer.json();
        assert!(!answer.text().contains(agent.url.trim_start_matches("http://")), "no upstream address");
        agents
            .as_array()
            .expect("a bare array")
            .iter()
            .map(|a| a["agent_name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let entry = gateway.get("/v1/agents").await.json()[0].clone();
    for member in [
        "agent_id",
        "agent_name",
        "litellm_params",
        "agent_card_params",
        "object_permission",
        "spend",
        "tpm_limit",
        "rpm_limit",
        "session_tpm_limit",
        "session_rpm_limit",
        "static_headers",
        "extra_headers",
        "access_group_ids",
        "kill_switch",
        "keys",
        "search_score",
        "identity",
        "identity_managed",
        "enabled",
        "execution_mode",
        "jwt_auth_configured",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
    ] {
        assert!(entry.get(member).is_some(), "{member} in {entry}");
    }
    assert_eq!(entry["agent_card_params"]["url"], format!("{}/", agent.url), "to the administrator, who wrote it");
    let called =
        gateway.request(http::Method::GET, "/v1/agents", &[("x-api-key", "sk-all")], "").await.json()[0].clone();
    assert_eq!(called["agent_card_params"]["url"], format!("{}/a2a/mine", gateway.base));
    assert_eq!(names("sk-alice").await, ["mine"]);
    assert_eq!(names("sk-nobody").await, Vec::<String>::new());
    assert_eq!(names("sk-all").await, ["mine", "theirs"]);
    let anonymous = gateway.request(http::Method::GET, "/v1/agents", &[], "").await;
    assert_eq!(
        (anonymous.status.as_u16(), anonymous.json()["error"]["status"].clone()),
        (401, json!("UNAUTHENTICATED"))
    );
    gateway.finish().await;
}

#[tokio::test]
async fn calls_an_agent_by_the_id_that_the_list_gives() {
    let (_agent, gateway) = two_agents().await;
    let id = gateway.get("/v1/agents").await.json()[0]["agent_id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("agt_"), "{id}");
    assert!(gateway.rpc(&id, "SendMessage", message_v1("m")).await.get("result").is_some());
    gateway.finish().await;
}

#[tokio::test]
async fn answers_at_every_address_of_an_agent() {
    let (agent, gateway) = two_agents().await;
    let headers = [("x-api-key", "sk-alice"), ("content-type", "application/json")];
    for path in [
        "/a2a/mine",
        "/a2a/mine/",
        "/a2a/mine/message/send",
        "/v1/a2a/mine",
        "/v1/a2a/mine/",
        "/v1/a2a/mine/message/send",
    ] {
        let answer = gateway.request(http::Method::POST, path, &headers, call("SendMessage", message_v1("m"))).await;
        assert!(answer.json().get("result").is_some(), "{path}: {}", answer.text());
    }
    assert_eq!(agent.calls().len(), 6);
    for path in ["/a2a/%ff", "/a2a/mine/nothing", "/a2a/mine/../theirs"] {
        let answer = gateway.request(http::Method::POST, path, &headers, call("SendMessage", message_v1("m"))).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].clone()), (404, json!(404)), "{path}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn needs_no_key_for_health_and_tells_nothing() {
    let (_agent, gateway) = two_agents().await;
    for path in ["/health/live", "/health/ready", "/health/liveliness", "/health/readiness"] {
        let answer = gateway.request(http::Method::GET, path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.len() < 40);
    }
    gateway.finish().await;
}
