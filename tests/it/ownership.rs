//! Tasks and contexts belong to whoever made them, in every door, in both versions, on both databases.

use http::Method;
use serde_json::{Value, json};
use switchboard::error::Kind;
use switchboard::operation::{Rpc, Version};

use crate::parity::callers::{CALLERS, Caller, Outcome, call as call_by};
use crate::support::Database;
use crate::support::gateway::{KEY, TestGateway, call};
use crate::support::peers::{self, Sdk};

/// A team's two keys, another team's, one without a team and an agent's own.
pub struct Keys {
    pub red: [String; 2],
    pub blue: [String; 2],
    pub alone: String,
    pub agents: String,
}

impl Keys {
    pub async fn make(gateway: &TestGateway) -> Self {
        for team in ["red", "blue"] {
            let team = json!({ "team": { "id": team, "name": team, "grants": { "allAgents": true } } });
            gateway.admin("TeamService/CreateTeam", team).await;
        }
        let key = async |alias: &str, team: &str| {
            let key = json!({ "alias": alias, "teamId": team, "grants": { "allAgents": true } });
            gateway.new_key(key).await
        };
        let agent = gateway.admin("AgentService/ListAgents", json!({})).await["agents"][0]["id"].clone();
        let agents = json!({ "alias": "agents", "agentId": agent, "grants": { "allAgents": true } });
        Self {
            red: [key("red-1", "red").await, key("red-2", "red").await],
            blue: [key("blue-1", "blue").await, key("blue-2", "blue").await],
            alone: key("alone", "").await,
            agents: gateway.new_key(agents).await,
        }
    }

    fn strangers(&self) -> [&str; 5] {
        [&self.blue[0], &self.blue[1], &self.alone, &self.agents, KEY]
    }
}

pub async fn gateway(database: &Database, more: &str) -> TestGateway {
    TestGateway::start(&format!("{}outbound: {{allow: [127.0.0.0/8]}}\n{more}", database.yaml)).await
}

fn part(text: &str) -> Value {
    json!([{ "text": text }])
}

fn message(id: &str) -> Value {
    json!({ "message": { "messageId": id, "role": "ROLE_USER", "parts": part("hi") } })
}

/// Every operation that names a task.
fn on_task(id: &str) -> Vec<(Rpc, Value)> {
    let mut continued = message("more-1");
    continued["message"]["taskId"] = json!(id);
    let mut referring = message("send-1");
    referring["message"]["referenceTaskIds"] = json!([id]);
    let push = json!({ "taskId": id, "id": "c", "url": "https://example.com/hook" });
    vec![
        (Rpc::GetTask, json!({ "id": id })),
        (Rpc::CancelTask, json!({ "id": id })),
        (Rpc::SubscribeToTask, json!({ "id": id })),
        (Rpc::CreatePushConfig, push),
        (Rpc::GetPushConfig, json!({ "taskId": id, "id": "c" })),
        (Rpc::ListPushConfigs, json!({ "taskId": id })),
        (Rpc::DeletePushConfig, json!({ "taskId": id, "id": "c" })),
        (Rpc::SendMessage, continued.clone()),
        (Rpc::SendStreamingMessage, continued),
        (Rpc::SendMessage, referring.clone()),
        (Rpc::SendStreamingMessage, referring),
    ]
}

/// That the caller was told of this kind of error, as its version and binding have it.
fn check_refused(outcome: &Outcome, kind: Kind, caller: Caller) {
    let Outcome::Error { code, reason, .. } = outcome else { panic!("{caller:?}: {outcome:?}") };
    assert_eq!(code.check(kind, caller.version()), Ok(()), "{caller:?}: {outcome:?}");
    if caller.version() == Version::V1_0 {
        assert_eq!(reason, kind.row().reason, "{caller:?}: {outcome:?}");
    }
}

fn one(outcome: Outcome) -> Value {
    match outcome {
        Outcome::One(value) => value,
        other => panic!("{other:?}"),
    }
}

/// The ids of a list of tasks.
fn ids(list: &Value) -> Vec<&str> {
    list["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect()
}

/// A waiting task of the gateway's current key.
async fn waiting(gateway: &TestGateway, agent: &str) -> Value {
    gateway.rpc(agent, "SendMessage", message("input-1")).await["result"]["task"].clone()
}

async fn owner_and_teammate_may_and_nobody_else(agents: &[&str], config: &str) {
    for database in Database::both() {
        let mut gateway = gateway(&database, config).await;
        let keys = Keys::make(&gateway).await;
        for (agent, caller) in agents.iter().flat_map(|agent| CALLERS.map(|caller| (*agent, caller))) {
            gateway.key.clone_from(&keys.red[0]);
            let task = waiting(&gateway, agent).await;
            let id = task["id"].as_str().unwrap();
            for mate in &keys.red {
                gateway.key.clone_from(mate);
                let got = one(call_by(caller, &gateway, agent, Rpc::GetTask, &json!({ "id": id })).await);
                assert_eq!(got["id"], id, "{agent} {caller:?}");
                if !caller.lists_tasks() {
                    continue;
                }
                let request = json!({ "contextId": task["contextId"] });
                let list = one(call_by(caller, &gateway, agent, Rpc::ListTasks, &request).await);
                assert_eq!((ids(&list), &list["totalSize"]), (vec![id], &json!(1)), "{agent} {caller:?}");
            }
            nothing_of_it_for_strangers(&mut gateway, &keys, (agent, caller), &task).await;
            gateway.key.clone_from(&keys.red[1]);
            let mut more = message("more-2");
            more["message"]["taskId"] = json!(id);
            more["message"]["contextId"] = task["contextId"].clone();
            let done = one(call_by(caller, &gateway, agent, Rpc::SendMessage, &more).await);
            assert_eq!(done["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{agent} {caller:?}: {done}");
        }
        gateway.finish().await;
    }
}

async fn nothing_of_it_for_strangers(
    gateway: &mut TestGateway,
    keys: &Keys,
    (agent, caller): (&str, Caller),
    task: &Value,
) {
    let id = task["id"].as_str().unwrap();
    let never = "00000000-0000-4000-8000-000000000000";
    for stranger in keys.strangers() {
        stranger.clone_into(&mut gateway.key);
        for ((rpc, foreign), (_, absent)) in on_task(id).iter().zip(on_task(never)) {
            let foreign = call_by(caller, gateway, agent, *rpc, foreign).await;
            let absent = call_by(caller, gateway, agent, *rpc, &absent).await;
            check_refused(&foreign, Kind::TaskNotFound, caller);
            assert_eq!(format!("{foreign:?}"), format!("{absent:?}"), "{agent} {caller:?} {rpc:?}");
        }
        if caller.lists_tasks() {
            let list = one(call_by(caller, gateway, agent, Rpc::ListTasks, &json!({})).await);
            assert!(!ids(&list).contains(&id), "{agent} {caller:?}: {list}");
            let theirs = json!({ "contextId": task["contextId"] });
            let never = json!({ "contextId": never });
            let theirs = one(call_by(caller, gateway, agent, Rpc::ListTasks, &theirs).await);
            assert_eq!(theirs, one(call_by(caller, gateway, agent, Rpc::ListTasks, &never).await));
        }
        let mut joined = message("send-2");
        joined["message"]["contextId"] = task["contextId"].clone();
        let refused = call_by(caller, gateway, agent, Rpc::SendMessage, &joined).await;
        check_refused(&refused, Kind::InvalidParams, caller);
        let Outcome::Error { message, .. } = refused else { unreachable!() };
        assert!(message.contains("message.contextId: is taken"), "{message}");
    }
}

/// Both bindings of JSON of both versions answer byte for byte as if there had never been such a task.
async fn bytes_are_equal_too(config: &str, agents: &[&str]) {
    for database in Database::both() {
        let mut gateway = gateway(&database, config).await;
        let keys = Keys::make(&gateway).await;
        for agent in agents {
            gateway.key.clone_from(&keys.red[0]);
            let task = waiting(&gateway, agent).await;
            let id = task["id"].as_str().unwrap();
            gateway.key.clone_from(&keys.blue[0]);
            let never = "00000000-0000-4000-8000-000000000000";
            let old = |id: &str| {
                let parts = json!([{ "kind": "text", "text": "hi" }]);
                let message =
                    json!({ "kind": "message", "messageId": "m", "role": "user", "parts": parts, "taskId": id });
                [
                    ("tasks/get", json!({ "id": id })),
                    ("tasks/cancel", json!({ "id": id })),
                    ("tasks/resubscribe", json!({ "id": id })),
                    ("tasks/pushNotificationConfig/list", json!({ "id": id })),
                    ("message/send", json!({ "message": message })),
                    ("message/stream", json!({ "message": message })),
                ]
            };
            for ((method, foreign), (_, absent)) in old(id).into_iter().zip(old(never)) {
                let foreign = gateway.post(agent, call(method, foreign)).await;
                let absent = gateway.post(agent, call(method, absent)).await;
                assert_eq!(foreign.body, absent.body, "{method}");
                assert!(foreign.text().contains("-32001"), "{method}: {}", foreign.text());
            }
            let bearer = format!("Bearer {}", gateway.key);
            let headers = [("authorization", bearer.as_str())];
            let path = |id: &str| format!("/a2a/{agent}/tasks/{id}");
            let foreign = gateway.request(Method::GET, &path(id), &headers, "").await;
            let absent = gateway.request(Method::GET, &path(never), &headers, "").await;
            assert_eq!((foreign.status.as_u16(), &foreign.body), (404, &absent.body));
            let without_date = |mut headers: http::HeaderMap| {
                headers.remove("date");
                format!("{headers:?}")
            };
            assert_eq!(without_date(foreign.headers), without_date(absent.headers));
        }
        gateway.finish().await;
    }
}

fn config_of(sdk: Sdk, name: &str) -> String {
    let agent = peers::agent(sdk, if sdk == Sdk::V1 { &["--no-compat", "--push"] } else { &["--push"] });
    format!("agents: [{{name: {name}, url: '{}'}}]\n", agent.url)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_1_0_is_asked_by_owner_and_team_alone() {
    if peers::python_is_off() {
        return;
    }
    let config = config_of(Sdk::V1, "new");
    owner_and_teammate_may_and_nobody_else(&["new"], &config).await;
    bytes_are_equal_too(&config, &["new"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_0_3_is_asked_by_owner_and_team_alone() {
    if peers::python_is_off() {
        return;
    }
    let config = config_of(Sdk::V03, "old");
    owner_and_teammate_may_and_nobody_else(&["old"], &config).await;
    bytes_are_equal_too(&config, &["old"]).await;
}
