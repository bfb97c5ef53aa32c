//! The command-line callers that people try a gRPC server with: buf curl, grpcurl, and the Go SDK's own client.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::gateway::{KEY, TestGateway};
use crate::support::peers::{self, Sdk};
use crate::support::tools;

async fn gateway() -> TestGateway {
    let agent = peers::agent(Sdk::V1, &["--no-compat", "--push", "--ext-card"]);
    let old = peers::agent(Sdk::V03, &["--push", "--ext-card"]);
    let entry = |name: &str, more: &str| format!("- {{name: {name}, url: '{}', {more}}}\n", agent.url);
    let entries = [
        entry("new-jsonrpc", "bindings: [jsonrpc]"),
        entry("new-rest", "bindings: [http_json]"),
        format!(
            "- {{name: new-grpc, url: 'grpc://{}', card_url: '{}/.well-known/agent-card.json'}}\n",
            agent.grpc, agent.url
        ),
        format!("- {{name: old, url: '{}'}}\n", old.url),
    ];
    TestGateway::start(&format!("agents:\n{}", entries.concat())).await
}

const AGENTS: [&str; 4] = ["new-jsonrpc", "new-rest", "new-grpc", "old"];

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON documents that stand one after the other in a text.
fn documents(text: &str) -> Vec<Value> {
    let documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn message(agent: &str, id: &str) -> String {
    json!({ "tenant": agent, "message": { "messageId": id, "role": "ROLE_USER", "parts": [{ "text": "hi" }] } })
        .to_string()
}

#[tokio::test]
async fn buf_curl_calls_in_three_protocols_with_reflection() {
    if peers::python_is_off() {
        return;
    }
    let gateway = gateway().await;
    let key = format!("authorization: Bearer {KEY}");
    for protocol in ["grpc", "grpcweb", "connect"] {
        let curl = async |method: &str, data: &str| {
            let url = format!("{}/lf.a2a.v1.A2AService/{method}", gateway.base);
            let how = ["curl", "--protocol", protocol, "--http2-prior-knowledge"];
            let whom = ["-H", &key, "--reflect-header", &key, "-H", "a2a-version: 1.0", "-d", data, &url];
            tools::buf(&[&how[..], &whom[..]].concat()).await
        };
        for agent in AGENTS {
            let sent = curl("SendMessage", &message(agent, "m-1")).await;
            assert!(sent.status.success(), "{protocol} to {agent}: {}", stderr(&sent));
            let sent = documents(&stdout(&sent)).remove(0);
            assert_eq!(sent["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{protocol} to {agent}: {sent}");
            let streamed = documents(&stdout(&curl("SendStreamingMessage", &message(agent, "chunks-2-4-10-x")).await));
            assert!(streamed.len() >= 4, "{protocol} to {agent}: {streamed:?}");
            let missing = curl("GetTask", &json!({ "tenant": agent, "id": "nope" }).to_string()).await;
            assert_eq!(missing.status.code(), Some(8 * 5), "NOT_FOUND: {}", stderr(&missing));
            let error = documents(&stderr(&missing)).remove(0);
            assert_eq!(error["details"][0]["type"], "google.rpc.ErrorInfo", "{protocol} to {agent}: {error}");
        }
    }
    let listed = async |key: &str| {
        let header = format!("authorization: Bearer {key}");
        tools::buf(&[
            "curl",
            "--protocol",
            "grpc",
            "--http2-prior-knowledge",
            "--list-methods",
            "--reflect-header",
            &header,
            &gateway.base,
        ])
        .await
    };
    assert!(stdout(&listed(KEY).await).contains("lf.a2a.v1.A2AService/SubscribeToTask"));
    assert!(!listed("sk-nobody").await.status.success(), "the schema is for those with a key");
    gateway.finish().await;
}

#[tokio::test]
async fn grpcurl_calls_with_reflection_and_reads_statuses() {
    if peers::python_is_off() || peers::is_off("go") {
        return;
    }
    let gateway = gateway().await;
    let host = gateway.base.trim_start_matches("http://");
    let key = format!("authorization: Bearer {KEY}");
    let grpcurl = async |arguments: &[&str]| {
        tools::go("grpcurl", &[&["-plaintext", "-H", &key, "-format-error"], arguments].concat()).await
    };
    let listed = stdout(&grpcurl(&[host, "list"]).await);
    for service in ["lf.a2a.v1.A2AService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(listed.contains(service), "{listed}");
    }
    let healthy = grpcurl(&[host, "grpc.health.v1.Health/Check"]).await;
    assert!(stdout(&healthy).contains("SERVING"), "{}", stderr(&healthy));
    for agent in AGENTS {
        let data = message(agent, "m-1");
        let sent = grpcurl(&["-d", &data, host, "lf.a2a.v1.A2AService/SendMessage"]).await;
        assert!(sent.status.success(), "{agent}: {}", stderr(&sent));
        assert!(stdout(&sent).contains("TASK_STATE_COMPLETED"));
        let data = message(agent, "chunks-2-4-10-x");
        let streamed = grpcurl(&["-d", &data, host, "lf.a2a.v1.A2AService/SendStreamingMessage"]).await;
        assert!(documents(&stdout(&streamed)).len() >= 4, "{agent}: {}", stderr(&streamed));
        let missing = json!({ "tenant": agent, "id": "nope" }).to_string();
        let missing = grpcurl(&["-d", &missing, host, "lf.a2a.v1.A2AService/GetTask"]).await;
        assert_eq!(missing.status.code(), Some(64 + 5), "NOT_FOUND: {}", stderr(&missing));
        let held = message(agent, "hold-1");
        let held = grpcurl(&["-max-time", "1", "-d", &held, host, "lf.a2a.v1.A2AService/SendMessage"]).await;
        assert_eq!(held.status.code(), Some(64 + 4), "DEADLINE_EXCEEDED: {}", stderr(&held));
    }
    gateway.finish().await;
}

/// The service of 0.3 has no place for the agent's name, so it stands in the metadata.
#[tokio::test]
async fn buf_curl_and_grpcurl_call_in_0_3() {
    if peers::python_is_off() || peers::is_off("go") {
        return;
    }
    let gateway = gateway().await;
    let key = format!("authorization: Bearer {KEY}");
    let message = |id: &str| {
        json!({ "request": { "messageId": id, "role": "ROLE_USER", "content": [{ "text": "hi" }] } }).to_string()
    };
    let missing = json!({ "name": "tasks/nope" }).to_string();
    for agent in AGENTS {
        let agent = format!("a2a-agent: {agent}");
        for protocol in ["grpc", "grpcweb", "connect"] {
            let curl = async |method: &str, data: &str| {
                let url = format!("{}/a2a.v1.A2AService/{method}", gateway.base);
                let how = ["curl", "--protocol", protocol, "--http2-prior-knowledge", "--reflect-header", &key];
                tools::buf(&[&how[..], &["-H", &key, "-H", &agent, "-d", data, &url]].concat()).await
            };
            let sent = curl("SendMessage", &message("m-1")).await;
            assert!(sent.status.success(), "{protocol}, {agent}: {}", stderr(&sent));
            let sent = documents(&stdout(&sent)).remove(0);
            assert_eq!(sent["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{protocol}, {agent}: {sent}");
            let missing = curl("GetTask", &missing).await;
            assert_eq!(missing.status.code(), Some(8 * 5), "NOT_FOUND: {}", stderr(&missing));
            assert!(stderr(&missing).contains("TaskNotFoundError: "), "{protocol}, {agent}: {}", stderr(&missing));
        }
        let host = gateway.base.trim_start_matches("http://");
        let grpcurl = async |method: &str, data: &str| {
            let method = format!("a2a.v1.A2AService/{method}");
            tools::go("grpcurl", &["-plaintext", "-H", &key, "-H", &agent, "-format-error", "-d", data, host, &method])
                .await
        };
        let streamed = grpcurl("SendStreamingMessage", &message("chunks-2-4-10-x")).await;
        assert!(documents(&stdout(&streamed)).len() >= 4, "{agent}: {}", stderr(&streamed));
        let missing = grpcurl("GetTask", &missing).await;
        assert_eq!(missing.status.code(), Some(64 + 5), "NOT_FOUND: {}", stderr(&missing));
    }
    gateway.finish().await;
}

/// With a transport `a2a` reads no card. Without one it reads it, and a2a-go 2.3.1 cannot read what A2A 4.5.2 says of
/// security requirements (`{"schemes":{"bearer":{"list":[]}}}`; it takes arrays, which no other SDK does).
#[tokio::test]
async fn the_go_sdks_client_works_by_every_binding() {
    if peers::python_is_off() || peers::is_off("go") {
        return;
    }
    let gateway = gateway().await;
    let key = format!("Bearer {KEY}");
    let host = gateway.base.trim_start_matches("http://").to_owned();
    for agent in AGENTS {
        let base = format!("{}/a2a/{agent}", gateway.base);
        let hows = [
            (vec!["--transport", "jsonrpc"], base.clone()),
            (vec!["--transport", "rest"], base.clone()),
            (vec!["--transport", "grpc", "--insecure", "--tenant", agent], host.clone()),
        ];
        for (how, endpoint) in hows {
            let run = async |arguments: &[&str]| {
                let common = ["-o", "json", "--auth", &key];
                tools::go("a2a", &[&common[..], &how[..], arguments].concat()).await
            };
            let sent = run(&["send", &endpoint, "hi"]).await;
            assert!(sent.status.success(), "{how:?} to {agent}: {}", stderr(&sent));
            let task = documents(&stdout(&sent)).remove(0);
            assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{how:?} to {agent}: {task}");
            let id = task["id"].as_str().expect("a task");
            let got = run(&["get", "task", &endpoint, id]).await;
            assert_eq!(documents(&stdout(&got))[0]["id"], id, "{how:?} to {agent}: {}", stderr(&got));
            let chunks = json!({ "messageId": "chunks-2-4-10-x", "role": "ROLE_USER", "parts": [{ "text": "hi" }] });
            let streamed = run(&["send", &endpoint, "--stream", "--json", &chunks.to_string()]).await;
            let events = documents(&stdout(&streamed)).len();
            assert!(events >= 4, "{how:?} to {agent}: {events} events, {}", stderr(&streamed));
            let missing = run(&["get", "task", &endpoint, "nope"]).await;
            assert_eq!(missing.status.code(), Some(1));
            assert!(stderr(&missing).to_lowercase().contains("task"), "{}", stderr(&missing));
        }
    }
    let url = format!("{}/a2a/old", gateway.base);
    let by_card = stderr(&tools::go("a2a", &["-o", "json", "--auth", &key, "send", &url, "hi"]).await);
    assert!(by_card.contains("SecuritySchemeScopes"), "it reads cards now: test it by card: {by_card}");
    gateway.finish().await;
}
