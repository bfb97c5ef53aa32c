//! The official SDKs as callers and as agents, in every combination of bindings that there is.
//!
//! The clients run all their operations and print a document of steps. What a step must give is the same whichever
//! agent stands behind the gateway and by whichever binding it is called; the few differences are listed, with their
//! reasons, in [`expected_failures`].

use serde_json::{Value, json};

use crate::support::gateway::{KEY, TestGateway};
use crate::support::peers::{self, Sdk};
use crate::support::tools;

/// A client that runs all its operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// a2a-sdk 1.3, by this binding.
    Python(&'static str),
    /// a2a-sdk 0.3.26, by JSON-RPC.
    OldPython,
    /// @a2a-js/sdk 1.3, by this binding.
    Js(&'static str),
    /// connect-es: protocol, HTTP version, format.
    Connect(&'static str, &'static str, &'static str),
}

use Caller::{Connect, Js, OldPython, Python};

const CALLERS: [Caller; 17] = [
    Python("JSONRPC"),
    Python("HTTP+JSON"),
    Python("GRPC"),
    OldPython,
    Js("JSONRPC"),
    Js("HTTP+JSON"),
    Js("GRPC"),
    Connect("grpc", "2", "proto"),
    Connect("grpc", "2", "json"),
    Connect("connect", "1.1", "json"),
    Connect("connect", "1.1", "proto"),
    Connect("connect", "2", "json"),
    Connect("connect", "2", "proto"),
    Connect("grpcweb", "1.1", "proto"),
    Connect("grpcweb", "1.1", "json"),
    Connect("grpcweb", "2", "proto"),
    Connect("grpcweb", "2", "json"),
];

/// The agents: one of 1.3 called by each of its bindings, and one of 0.3.26.
const AGENTS: [&str; 4] = ["new-jsonrpc", "new-rest", "new-grpc", "old"];

/// An agent of each generation, each speaking only its own version.
fn agents() -> [(&'static str, std::sync::Arc<peers::Agent>); 2] {
    let new = peers::agent(Sdk::V1, &["--no-compat", "--push", "--ext-card"]);
    let old = peers::agent(Sdk::V03, &["--push", "--ext-card"]);
    [("new", new), ("old", old)]
}

/// A gateway before all of them. gRPC is served on another port than the rest, so its card must be trusted.
async fn gateway() -> TestGateway {
    let [(_, new), (_, old)] = agents();
    let entry = |name: &str, more: &str| format!("- {{name: {name}, url: '{}', {more}}}\n", new.url);
    let entries = [
        entry("new-jsonrpc", "bindings: [jsonrpc]"),
        entry("new-rest", "bindings: [http_json]"),
        entry("new-grpc", "bindings: [grpc], trust_card_url: true"),
        format!("- {{name: old, url: '{}'}}\n", old.url),
    ];
    let config = "push: {url: 'https://gateway.example'}\noutbound: {allow: [127.0.0.0/8]}";
    TestGateway::start(&format!("{config}\nagents:\n{}", entries.concat())).await
}

/// The document of steps of one caller.
async fn steps(caller: Caller, gateway: &TestGateway, agent: &str) -> Value {
    let base = format!("{}/a2a/{agent}", gateway.base);
    match caller {
        Python(binding) => {
            let arguments = ["--base", &base, "--key", KEY, "--binding", binding].map(str::to_owned).to_vec();
            peers::run(Sdk::V1, "client_v1.py", arguments, Vec::new()).await
        }
        OldPython => {
            let arguments = ["--base", &base, "--key", KEY].map(str::to_owned).to_vec();
            peers::run(Sdk::V03, "client_v03.py", arguments, Vec::new()).await
        }
        Js(binding) => tools::node("client_sdk.mjs", &["--base", &base, "--key", KEY, "--binding", binding]).await,
        Connect(protocol, http, format) => {
            let (base, agent) = if protocol == "grpc" { (&gateway.base, agent) } else { (&base, "") };
            let schema = tools::schema_file();
            let how = ["--protocol", protocol, "--http", http, "--format", format];
            let whom = ["--base", base, "--key", KEY, "--agent", agent, "--schema", schema.to_str().unwrap()];
            tools::node("client_connect.mjs", &[&how[..], &whom[..]].concat()).await
        }
    }
}

/// Steps that must fail, with the code of JSON-RPC that the caller must see. The same without a gateway.
fn expected_failures(caller: Caller, agent: &str) -> Vec<(&'static str, i64)> {
    let mut failures = vec![
        ("raise", -32603),
        ("stream_raise", -32603),
        ("error_content_type", -32005),
        ("error_unsupported", -32004),
        ("get_missing", -32001),
        ("cancel_finished", -32002),
    ];
    match (caller, agent) {
        (OldPython, _) => {}
        _ => failures.push(("subscribe_finished", -32004)),
    }
    failures
}

/// The reason in `google.rpc.ErrorInfo` that goes with a code.
fn reason(code: i64) -> &'static str {
    let kind = switchboard::error::Kind::from_jsonrpc(code);
    kind.row().reason
}

async fn every_operation_works(callers: impl IntoIterator<Item = Caller>, agents: &[&str]) {
    let gateway = gateway().await;
    for caller in callers {
        for agent in agents {
            let steps = steps(caller, &gateway, agent).await;
            check(&steps, caller, agent);
            look_at_values(&steps, caller, agent);
        }
    }
    gateway.finish().await;
}

#[tokio::test]
async fn every_operation_of_the_python_sdks_works_with_every_agent() {
    if !peers::python_is_off() {
        every_operation_works(CALLERS.into_iter().filter(|c| matches!(c, Python(_) | OldPython)), &AGENTS).await;
    }
}

#[tokio::test]
async fn every_operation_of_the_javascript_sdk_works_with_every_agent() {
    if !peers::python_is_off() && !peers::is_off("node") {
        every_operation_works(CALLERS.into_iter().filter(|c| matches!(c, Js(_))), &AGENTS).await;
    }
}

#[tokio::test]
async fn every_operation_of_connect_es_works_in_every_protocol_and_format() {
    if !peers::python_is_off() && !peers::is_off("node") {
        every_operation_works(CALLERS.into_iter().filter(|c| matches!(c, Connect(..))), &["new-grpc"]).await;
        let one_of_each =
            [Connect("grpc", "2", "proto"), Connect("connect", "1.1", "json"), Connect("grpcweb", "2", "proto")];
        every_operation_works(one_of_each, &["new-jsonrpc", "new-rest", "old"]).await;
    }
}

fn check(steps: &Value, caller: Caller, agent: &str) {
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
                // An executor that raises is UNKNOWN by gRPC, without a reason.
                if let Some(found) = outcome["reason"].as_str().filter(|_| *code != -32603) {
                    assert_eq!(found, reason(*code), "{caller:?} to {agent}, {step}: {outcome}");
                } else {
                    assert!(
                        !matches!(caller, Connect(..)) || *code == -32603,
                        "{caller:?}, {step}: no reason: {outcome}"
                    );
                }
            }
        }
    }
}

/// The content of the most telling steps.
fn look_at_values(steps: &Value, caller: Caller, agent: &str) {
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
    let extended = shown("extended_card");
    assert!(extended.contains("extended") && !extended.contains("/a2a/jsonrpc"), "{extended}");
    let config = shown("push_get");
    assert!(config.contains("https://push.example.com/hook"), "{caller:?} to {agent}: its own address: {config}");
    // connect-es has no card of its own.
    if !matches!(caller, Connect(..)) {
        let card = shown("card");
        assert!(card.contains("/a2a/") && !card.contains("/a2a/jsonrpc"), "the card names the gateway: {card}");
    }
}

#[tokio::test]
async fn the_programs_of_litellms_documentation_work_unchanged() {
    if peers::python_is_off() {
        return;
    }
    let agents = agents();
    let programs = [(Sdk::V1, "litellm_v1.py"), (Sdk::V03, "litellm_v03.py")];
    for (agent, peer) in &agents {
        let url = &peer.url;
        // LiteLLM's own entry, and pinned to the other version than the agent's.
        let other = if *agent == "new" { "0.3" } else { "1.0" };
        let pins = [String::new(), format!(", protocolVersion: '{other}'")];
        for pin in pins {
            let entry = format!(
                "agents:\n- agent_name: {agent}\n  agent_card_params: {{url: '{url}'{pin}}}\n  litellm_params: {{is_public: false}}"
            );
            let gateway = TestGateway::start(&entry).await;
            for (caller, program) in programs {
                // A card that offers one version is readable for that generation only; 1.x clients read both.
                if caller == Sdk::V03 && pin.contains("1.0") {
                    continue;
                }
                let environment = vec![("SWITCHBOARD_URL", gateway.base.clone()), ("SWITCHBOARD_KEY", KEY.to_owned())];
                let seen = peers::run(caller, program, Vec::new(), environment).await;
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
