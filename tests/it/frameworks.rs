//! Agents of frameworks as they are, and the pairs of SDKs that fail when they meet directly: each works through the
//! gateway, and each test shows first that, or how, it does not without.

use std::sync::Arc;

use serde_json::Value;

use crate::support::gateway::{KEY, TestGateway};
use crate::support::peers::{self, Agent, Sdk};
use crate::support::tools;

const TEXT: &str = "stream one two";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// a2a-sdk 1.3.
    Python,
    /// @a2a-js/sdk 1.3.
    Js,
    /// The same, with what it needs for agents of 0.3.
    LegacyJs,
}

use Caller::{Js, LegacyJs, Python};

/// What comes of one message, by JSON-RPC: events or the one answer, or the failure.
async fn talk(caller: Caller, base: &str, streams: bool) -> Value {
    let mut arguments = vec!["--base", base, "--key", KEY, "--text", TEXT];
    arguments.extend(streams.then_some("--stream"));
    arguments.extend((caller == LegacyJs).then_some("--legacy"));
    match caller {
        Python => {
            let arguments = arguments.into_iter().map(str::to_owned).collect();
            peers::run(Sdk::V1, "client_send.py", arguments, Vec::new()).await
        }
        Js | LegacyJs => tools::node("client_send.mjs", &arguments).await,
    }
}

/// The gateway before one agent.
async fn before(agent: &Arc<Agent>) -> TestGateway {
    TestGateway::start(&format!("agents:\n- {{name: a, url: '{}', card_url: '{}'}}\n", agent.url, agent.card)).await
}

/// The texts of status messages put together, and those of artifacts, as a reader would put them together.
fn texts(events: &Value) -> (String, String) {
    let text = |parts: &Value| -> String {
        parts.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect()
    };
    let (mut said, mut made) = (String::new(), String::new());
    for event in events.as_array().into_iter().flatten() {
        said += &text(&event["statusUpdate"]["status"]["message"]["parts"]);
        let update = &event["artifactUpdate"];
        if update["artifact"].is_object() {
            // One who does not look whether it replaces or is appended.
            made += &text(&update["artifact"]["parts"]);
        }
        for artifact in event["task"]["artifacts"].as_array().into_iter().flatten() {
            made += &text(&artifact["parts"]);
        }
    }
    (said, made)
}

/// That a message and a stream come to their end with the whole text, once.
async fn works(gateway: &TestGateway, caller: Caller) {
    let base = format!("{}/a2a/a", gateway.base);
    let sent = talk(caller, &base, false).await;
    assert_eq!(sent["ok"], true, "{caller:?}: {sent}");
    let task = &sent["value"][0]["task"];
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{caller:?}: {sent}");
    assert_eq!(texts(&sent["value"]).1.trim(), format!("echo: {TEXT}"), "{caller:?}: {sent}");
    let streamed = talk(caller, &base, true).await;
    assert_eq!(streamed["ok"], true, "{caller:?}: {streamed}");
    let (said, made) = texts(&streamed["value"]);
    let whole = format!("echo: {TEXT}");
    assert!(said.is_empty() || said.trim() == whole, "{caller:?}, status messages: {said:?}");
    assert_eq!(made.trim(), whole, "{caller:?}, artifacts: {streamed}");
    let last = streamed["value"].as_array().unwrap().last().unwrap().to_string();
    assert!(last.contains("TASK_STATE_COMPLETED"), "{caller:?}: {last}");
}

fn are_off() -> bool {
    peers::python_is_off() || peers::is_off("node")
}

#[tokio::test]
async fn fasta2a_waits_and_tells_its_times_with_a_zone() {
    if are_off() {
        return;
    }
    let agent = peers::agent(Sdk::FastA2a, &[]);
    for streams in [false, true] {
        let direct = talk(Python, &agent.url, streams).await;
        assert!(direct["error"] == "ParseError" && direct["message"].to_string().contains("timestamp"), "{direct}");
    }
    let direct = talk(Js, &agent.url, false).await;
    let state = &direct["value"][0]["task"]["status"]["state"];
    assert!(state == "TASK_STATE_SUBMITTED" || state == "TASK_STATE_WORKING", "it does not wait: {direct}");
    let gateway = before(&agent).await;
    works(&gateway, Python).await;
    works(&gateway, Js).await;
    gateway.finish().await;
}

#[tokio::test]
async fn pydantic_ai_takes_requests_waits_and_streams() {
    if are_off() {
        return;
    }
    let agent = peers::agent(Sdk::Pydantic, &[]);
    let direct = talk(Python, &agent.url, false).await;
    assert!(direct["message"].to_string().contains("HTTP Error: 500"), "{direct}");
    let direct = talk(Js, &agent.url, false).await;
    assert!(direct["message"].to_string().contains("No compatible transport"), "{direct}");
    let direct = talk(LegacyJs, &agent.url, false).await;
    assert_ne!(direct["value"][0]["task"]["status"]["state"], "TASK_STATE_COMPLETED", "it does not wait: {direct}");
    let gateway = before(&agent).await;
    works(&gateway, Python).await;
    works(&gateway, Js).await;
    works(&gateway, LegacyJs).await;
    gateway.finish().await;
}

#[tokio::test]
async fn langgraph_streams_events_and_tells_its_text_once() {
    if are_off() {
        return;
    }
    let agent = peers::agent(Sdk::LangGraph, &[]);
    for caller in [Python, Js] {
        let direct = talk(caller, &agent.url, true).await;
        let empty = direct["value"].as_array().unwrap().iter().filter(|event| **event == serde_json::json!({})).count();
        assert!(empty > 1, "the answer is lost in silence: {direct}");
    }
    let gateway = before(&agent).await;
    works(&gateway, Python).await;
    works(&gateway, Js).await;
    gateway.finish().await;
}

#[tokio::test]
async fn the_agent_development_kit_tells_its_text_once() {
    if are_off() {
        return;
    }
    let agent = peers::agent(Sdk::Adk, &[]);
    let direct = talk(Python, &agent.url, true).await;
    assert_eq!(texts(&direct["value"]).0, format!("echo: {TEXT}echo: {TEXT}"), "twice: {direct}");
    let gateway = before(&agent).await;
    works(&gateway, Python).await;
    works(&gateway, Js).await;
    gateway.finish().await;
}

#[tokio::test]
async fn strands_is_called_by_clients_of_1_0() {
    if are_off() {
        return;
    }
    let agent = peers::agent(Sdk::Strands, &[]);
    let direct = talk(Js, &agent.url, false).await;
    assert!(direct["message"].to_string().contains("No compatible transport"), "{direct}");
    let gateway = before(&agent).await;
    works(&gateway, Python).await;
    works(&gateway, Js).await;
    gateway.finish().await;
}

/// The 12 bytes of the clients' file, as base64.
const FILE: &str = "++++/wCAwf4B9foK";

/// What an agent answers to a file, by this binding of 0.3: the file, as it came.
async fn file(caller: Caller, base: &str, binding: &str) -> Value {
    let arguments = ["--base", base, "--key", KEY, "--binding", binding, "--version", "0.3"];
    match caller {
        Python => {
            let arguments = arguments.into_iter().map(str::to_owned).collect();
            peers::run(Sdk::V1, "client_send.py", arguments, Vec::new()).await
        }
        _ => tools::node("client_send.mjs", &[&arguments[..], &["--legacy"]].concat()).await,
    }
}

/// What the agent says it received, and the file that it sent back.
fn received(answer: &Value) -> (String, String) {
    let parts = &answer["value"][0]["task"]["artifacts"][0]["parts"];
    let parts: Vec<&Value> = parts.as_array().into_iter().flatten().collect();
    let text = parts.iter().find_map(|part| part["text"].as_str()).unwrap_or_default().to_owned();
    let raw = parts.iter().find_map(|part| part["raw"].as_str()).unwrap_or_default().to_owned();
    (text, raw)
}

/// The JavaScript SDK's protobuf form of 0.3 has a file's bytes as they are, the Python SDK's as base64: by gRPC and
/// HTTP+JSON neither can read the other's.
#[tokio::test]
async fn binary_files_pass_between_javascript_and_python() {
    if are_off() {
        return;
    }
    let (python, js) = (peers::agent(Sdk::V03, &["--push", "--ext-card"]), peers::js_agent());
    let entry = |name: &str, url: &str, binding: &str, more: &str| {
        format!(
            "- {{name: {name}, url: '{url}', trust_card_url: true, grpc_listen: '127.0.0.1:0', bindings: [{binding}]{more}}}\n"
        )
    };
    // What is said of one endpoint counts for more than what is said of the agent.
    let raw = |binding: &str| format!(", dialect: {{file_bytes: base64, file_bytes_{binding}: raw}}");
    let entries = [
        entry("python-grpc", &python.url, "grpc", ""),
        entry("python-rest", &python.url, "http_json", ""),
        entry("js-grpc", &js.url, "grpc", &raw("grpc")),
        entry("js-rest", &js.url, "http_json", &raw("http_json")),
    ];
    let gateway =
        TestGateway::start(&format!("outbound: {{allow: [127.0.0.0/8]}}\nagents:\n{}", entries.concat())).await;
    for binding in ["GRPC", "HTTP+JSON"] {
        let direct = file(LegacyJs, &python.url, binding).await;
        assert_eq!(direct["ok"], false, "by {binding}: {direct}");
        let direct = file(Python, &js.url, binding).await;
        assert!(received(&direct).0.contains("received 16 bytes"), "it has the base64, by {binding}: {direct}");
        for agent in ["python-grpc", "python-rest", "js-grpc", "js-rest"] {
            for caller in [LegacyJs, Python] {
                let answer = file(caller, &format!("{}/a2a/{agent}", gateway.base), binding).await;
                let (text, back) = received(&answer);
                assert!(text.contains("received 12 bytes: fbefbeff"), "{caller:?} by {binding} to {agent}: {answer}");
                assert_eq!(back, FILE, "{caller:?} by {binding} to {agent}: {answer}");
            }
        }
    }
    gateway.finish().await;
}
