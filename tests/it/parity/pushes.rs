//! Push notifications in the matrix: callers of each door ask each agent for them, and what the agent posts reaches their
//! webhooks in the version in which they asked.

use http::Method;
use serde_json::{Value, json};
use switchboard::operation::{Rpc, Version};
use switchboard::wire::{content, json as wire_json};

use super::callers::{CALLERS, Caller, Outcome, call as call_by};
use super::cases::{self, Case, Expected};
use super::{AGENTS, By, FakeAgent, FakeGrpcAgent, FakeReply, Form, LIMITS, Shared, Tally, same, text, written};
use crate::support::gateway::TestGateway;

/// What the agent says of a task when it is asked for it whole.
fn whole() -> Value {
    json!({ "id": "t-1", "contextId": "c-1", "status": { "state": "TASK_STATE_WORKING" }, "metadata": { "whole": true } })
}

pub async fn play(stage: &Shared, (json_agent, grpc_agent): (&FakeAgent, &FakeGrpcAgent), tally: &mut Tally) {
    let webhook = FakeAgent::raw(|_| FakeReply::json("{}")).await;
    let config = "push: {url: 'https://gateway.example/base/', allow: [127.0.0.1/32]}\n";
    let gateway = super::gateway(json_agent, grpc_agent, config).await;
    for by in AGENTS {
        for caller in CALLERS {
            let cell = format!("{caller:?} to {}", by.name);
            let asked = match registered(stage, &gateway, caller, by, &webhook.url).await {
                Ok(asked) => asked,
                Err(difference) => {
                    tally.count(&format!("a push configuration, {cell}"), Err(difference), None);
                    continue;
                }
            };
            tally.count(&format!("a push configuration, {cell}"), Ok(()), None);
            let answer = Case {
                name: "the task whole",
                rpc: Rpc::GetTask,
                request: Value::Null,
                expected: Expected::One(whole()),
            };
            stage.lock().unwrap().play(answer);
            for payload in payloads(by.version) {
                let difference = relayed(&gateway, &asked, &webhook, (caller, by), &payload).await;
                tally.count(&format!("a push of {payload}, {cell}"), difference, None);
            }
        }
    }
    gateway.finish().await;
}

/// Everything that the table's agents say and a notification can: agents of 0.3 notify of tasks alone.
fn payloads(version: Version) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for case in cases::all() {
        let said = match (case.rpc, case.expected) {
            (Rpc::SendMessage, Expected::One(answer)) => vec![answer],
            (Rpc::SendStreamingMessage, Expected::Stream(events)) => events,
            _ => continue,
        };
        let new = said.into_iter().filter(|payload| version == Version::V1_0 || payload["task"].is_object());
        for mut payload in new {
            if payload["message"].is_object() {
                // Of no task, it would be no answer to who asked about one.
                payload["message"]["taskId"] = json!("t-1");
            }
            if !all.contains(&payload) {
                all.push(payload);
            }
        }
    }
    assert!(all.len() > 10, "the table has payloads");
    all
}

/// What the agent is asked when the caller asks for notifications, who must read its own address in what comes back.
async fn registered(
    stage: &Shared,
    gateway: &TestGateway,
    caller: Caller,
    by: By,
    webhook: &str,
) -> Result<Value, String> {
    let config = json!({
        "id": "p-1", "taskId": "t-1", "url": format!("{webhook}/hook"), "token": "tk",
        "authentication": { "scheme": "Bearer", "credentials": "z" },
    });
    let play = |rpc, request: &Value, answer: &Value| {
        let case =
            Case { name: "a configuration", rpc, request: request.clone(), expected: Expected::One(answer.clone()) };
        stage.lock().unwrap().play(case);
    };
    play(Rpc::CreatePushConfig, &config, &config);
    call_by(caller, gateway, by.name, Rpc::CreatePushConfig, &config).await;
    let asked = stage.lock().unwrap().asked.pop().ok_or("the agent was not asked")?.1;
    let is_ours = asked["url"].as_str().is_some_and(|url| url.starts_with("https://gateway.example/base/push/"));
    if !is_ours || asked["token"] == "tk" || asked["authentication"].is_object() {
        return Err(format!("the agent read {asked}"));
    }
    let named = json!({ "taskId": "t-1", "id": "p-1" });
    play(Rpc::GetPushConfig, &named, &asked);
    match call_by(caller, gateway, by.name, Rpc::GetPushConfig, &named).await {
        Outcome::One(found) => same("the caller read", &found, &config).map(|()| asked),
        other => Err(format!("{other:?} instead of {config}")),
    }
}

/// Posts a payload as the agent would, and looks at what the webhook got.
async fn relayed(
    gateway: &TestGateway,
    asked: &Value,
    webhook: &FakeAgent,
    (caller, by): (Caller, By),
    payload: &Value,
) -> Result<(), String> {
    let posted = match by.version {
        Version::V1_0 => payload.to_string(),
        Version::V0_3 => text(&written(Rpc::GetTask, &payload["task"], Form::Json(Version::V0_3))),
    };
    let path = asked["url"].as_str().unwrap_or_default().trim_start_matches("https://gateway.example/base").to_owned();
    let headers = [
        ("x-a2a-notification-token", asked["token"].as_str().unwrap_or_default()),
        ("content-type", "application/json"),
    ];
    let seen_before = webhook.calls().len();
    let answer = gateway.request(Method::POST, &path, &headers, posted.clone()).await;
    if answer.status != 200 || webhook.calls().len() != seen_before + 1 {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    let seen = webhook.last();
    let header = |name| seen.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = if caller.version() == Version::V1_0 { "application/a2a+json" } else { "application/json" };
    if (header("x-a2a-notification-token"), header("authorization"), header("content-type"))
        != ("tk", "Bearer z", media_type)
    {
        return Err(format!("the webhook saw {:?}", seen.headers));
    }
    if caller.version() == by.version {
        return if seen.body == posted { Ok(()) } else { Err(format!("{:?} instead of {posted}", seen.body)) };
    }
    let event =
        wire_json::read_event(caller.version(), seen.body.clone(), &LIMITS).map_err(|error| error.to_string())?;
    let found = serde_json::to_value(content::typed_stream_event(event).map_err(|error| error.to_string())?);
    let found = found.expect("an event is JSON");
    let said = if caller.version() == Version::V0_3 && payload["task"].is_null() {
        json!({ "task": whole() })
    } else {
        payload.clone()
    };
    if caller.version() == Version::V0_3 && seen.json()["kind"].is_null() {
        return Err(format!("without a kind: {:?}", seen.body));
    }
    same("the webhook read", &found, &said)
}
