//! The official SDKs as callers and as agents, in every combination that JSON-RPC has.
//!
//! The clients run all their operations and print a document of steps. What a step must give is the same whichever
//! agent stands behind the gateway; the few differences are listed, with their reasons, in [`expected_failures`].

use serde_json::{Value, json};

use crate::support::gateway::{KEY, TestGateway};
use crate::support::peers::{self, Sdk};

const CALLERS: [(Sdk, &str); 2] = [(Sdk::V1, "client_v1.py"), (Sdk::V03, "client_v03.py")];

/// An agent of each generation, each speaking only its own version.
fn agents() -> [(&'static str, String); 2] {
    let new = peers::agent(Sdk::V1, &["--no-compat", "--push", "--ext-card"]);
    let old = peers::agent(Sdk::V03, &["--push", "--ext-card"]);
    [("new", new.url.clone()), ("old", old.url.clone())]
}

/// Steps that must fail, with the code that the caller must see. The same without a gateway.
fn expected_failures(caller: Sdk, agent: &str) -> Vec<(&'static str, i64)> {
    let mut failures = vec![
        ("raise", -32603),
        ("stream_raise", -32603),
        ("error_content_type", -32005),
        ("error_unsupported", -32004),
        ("get_missing", -32001),
        ("cancel_finished", -32002),
    ];
    match (caller, agent) {
        (Sdk::V1, "new") => failures.push(("subscribe_finished", -32004)),
        // 0.3 agents have no ListTasks; that a finished task has nothing to subscribe to is said as 1.0 says it.
        (Sdk::V1, _) => failures.extend([("subscribe_finished", -32004), ("list", -32004)]),
        _ => {}
    }
    failures
}

#[tokio::test]
async fn every_operation_of_every_sdk_works_with_every_agent() {
    if peers::python_is_off() {
        return;
    }
    let agents = agents();
    let entries: Vec<_> = agents.iter().map(|(name, url)| (*name, url.as_str())).collect();
    let gateway = TestGateway::with(&entries).await;
    for (caller, script) in CALLERS {
        for (agent, _) in &agents {
            let arguments =
                ["--base", &format!("{}/a2a/{agent}", gateway.base), "--key", KEY].map(str::to_owned).to_vec();
            let steps = peers::run(caller, script, arguments, Vec::new()).await;
            check(&steps, caller, agent);
            look_at_values(&steps, caller, agent);
        }
    }
    gateway.finish().await;
}

fn check(steps: &Value, caller: Sdk, agent: &str) {
    let expected = expected_failures(caller, agent);
    let steps = steps.as_object().expect("a document of steps");
    assert!(steps.len() >= 25, "{} steps", steps.len());
    for (step, outcome) in steps {
        let failure = expected.iter().find(|(name, _)| name == step);
        match failure {
            None => assert_eq!(outcome["ok"], true, "{caller:?} to {agent}, {step}: {outcome}"),
            Some((_, code)) => {
                assert_eq!(outcome["ok"], false, "{caller:?} to {agent}, {step} should fail: {outcome}");
                if let Some(found) = outcome["code"].as_i64() {
                    assert_eq!(found, *code, "{caller:?} to {agent}, {step}: {outcome}");
                }
            }
        }
    }
}

/// The content of the most telling steps.
fn look_at_values(steps: &Value, caller: Sdk, agent: &str) {
    let value = |step: &str| steps[step]["value"].clone();
    let shown = |step: &str| value(step).to_string();
    assert!(!steps.to_string().contains("traceback"));
    // The text went there and came back; the SDK's 0.3 agent says it in an artifact or a message alike.
    assert!(shown("send").contains("echo"), "{caller:?} to {agent}: {}", shown("send"));
    let stream = value("stream");
    let last =
        stream.as_array().and_then(|events| events.last()).unwrap_or_else(|| panic!("no events: {stream}")).to_string();
    assert!(last.to_lowercase().contains("completed"), "{caller:?} to {agent}: {last}");
    let chunks = value("stream_chunks").as_array().map_or(0, Vec::len);
    assert!(chunks >= 4, "{caller:?} to {agent}: {chunks} events");
    assert!(shown("cancel").to_lowercase().contains("canceled"), "{}", shown("cancel"));
    assert!(shown("artifact_data").contains("null"), "nulls inside data survive: {}", shown("artifact_data"));
    assert!(shown("artifact_file").contains("mediaType") || shown("artifact_file").contains("mimeType"));
    let card = shown("card");
    assert!(card.contains("/a2a/") && !card.contains("/a2a/jsonrpc"), "the card names the gateway: {card}");
    let extended = shown("extended_card");
    assert!(extended.contains("extended") && !extended.contains("/a2a/jsonrpc"), "{extended}");
}

#[tokio::test]
async fn the_programs_of_litellms_documentation_work_unchanged() {
    if peers::python_is_off() {
        return;
    }
    let agents = agents();
    let program = |caller: Sdk| if caller == Sdk::V1 { "litellm_v1.py" } else { "litellm_v03.py" };
    for (agent, url) in &agents {
        // LiteLLM's own entry, and pinned to the other version than the agent's.
        let other = if *agent == "new" { "0.3" } else { "1.0" };
        let pins = [String::new(), format!(", protocolVersion: '{other}'")];
        for pin in pins {
            let entry = format!(
                "agents:\n- agent_name: {agent}\n  agent_card_params: {{url: '{url}'{pin}}}\n  litellm_params: {{is_public: false}}"
            );
            let gateway = TestGateway::start(&entry).await;
            for (caller, _) in CALLERS {
                // A card that offers one version is readable for that generation only; 1.x clients read both.
                if caller == Sdk::V03 && pin.contains("1.0") {
                    continue;
                }
                let environment = vec![("SWITCHBOARD_URL", gateway.base.clone()), ("SWITCHBOARD_KEY", KEY.to_owned())];
                let seen = peers::run(caller, program(caller), Vec::new(), environment).await;
                assert_eq!(seen["agents"].as_array().map(Vec::len), Some(1), "{seen}");
                for part in ["send", "stream"] {
                    let text = seen[part].to_string();
                    assert!(text.to_lowercase().contains("completed"), "{caller:?} to {agent}{pin}, {part}: {text}");
                }
            }
            let params = json!({ "message": { "role": "user", "parts": [{ "kind": "text", "text": "hi" }], "messageId": "m-1" } });
            let body = crate::support::gateway::call("message/send", params);
            let answer = gateway.post(&format!("{agent}/message/send"), body).await;
            assert_eq!(answer.json()["result"]["kind"], "task", "a raw message/send: {}", answer.text());
            gateway.finish().await;
        }
    }
}
