//! `switchboard demo`: a gateway and two small agents in one process, with nothing to install or configure.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Client, message};
use crate::config;
use crate::ledger::{Entry, Sink};
use crate::operation::{Rpc, Version};
use crate::server::{Server, StartError};

mod agent;

/// Everyone may know the key of a demo: it listens on loopback only.
const KEY: &str = "sk-demo";
/// The demo's agents: what they are called and what they speak.
const AGENTS: [(&str, Version); 2] = [("newer", Version::V1_0), ("older", Version::V0_3)];

/// A running demo.
pub struct Demo {
    server: Server,
    agents: TaskTracker,
    stop: CancellationToken,
    last_record: Arc<Mutex<Option<Box<Entry>>>>,
}

impl Demo {
    /// Starts the agents on ports that the system chooses, and the gateway on `listen`.
    ///
    /// # Errors
    /// A port cannot be opened.
    pub async fn start(listen: SocketAddr) -> Result<Self, StartError> {
        let agents = TaskTracker::new();
        let stop = CancellationToken::new();
        let mut entries = String::new();
        for (name, version) in AGENTS {
            let address = agent::start(name, version, &agents, stop.clone()).await?;
            entries += &format!("  - {{ name: {name}, url: 'http://{address}' }}\n");
        }
        let text = format!(
            "listen: {listen}\nmaster_key: {KEY}\nlog: {{ records: stderr }}\nstore: {{ url: memory }}\nagents:\n{entries}"
        );
        let settings = config::parse(&text, &|_| None).map_err(|problems| {
            let first = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
            io::Error::new(io::ErrorKind::InvalidInput, first)
        })?;
        let (sink, mut records) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(settings, Some(Sink::Channel(sink))).await?;
        // The records of all its calls would drown what the demo shows; it shows the last one.
        let last_record = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&last_record);
        agents.spawn(async move {
            while let Some(record) = records.recv().await {
                *kept.lock().expect("not poisoned") = Some(record);
            }
        });
        Ok(Self { server, agents, stop, last_record })
    }

    /// Calls each agent in each version in every way, and prints what came back. True when all of it worked.
    pub async fn show(&self) -> bool {
        let base = format!("http://{}", self.server.address());
        let url = base.parse().expect("an address is a URL");
        let client = Client::new(url, KEY);
        println!(
            "Switchboard listens on {base}. Two agents are behind it: `newer` speaks A2A 1.0, `older` speaks 0.3.\n"
        );
        let mut worked = true;
        for (agent, speaks) in AGENTS {
            for version in [Version::V1_0, Version::V0_3] {
                println!("Agent `{agent}` (speaks {speaks}), called in A2A {version}:");
                worked &= tour(&client, agent, version).await;
                println!();
            }
        }
        if let Some(record) = self.last_record.lock().expect("not poisoned").take() {
            let record = serde_json::to_string(&record).expect("an entry serializes");
            println!("Every call leaves a record. The last one:\n  {record}\n");
        }
        println!("{}", paste(&base));
        worked
    }

    /// Stops the gateway and the agents.
    pub async fn stop(self) {
        self.server.stop().await;
        self.stop.cancel();
        self.agents.close();
        self.agents.wait().await;
    }
}

/// Every operation once. Prints a line for each.
async fn tour(client: &Client, agent: &str, version: Version) -> bool {
    let mut worked = true;
    let show = async |what: &str, rpc: Rpc, params: Value| -> (bool, Value) {
        let mut results = Vec::new();
        let outcome = client.call(agent, rpc, version, params, |value| results.push(summary(value))).await;
        let shown = results.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(" → ");
        let last = results.pop().map(|(_, value)| value).unwrap_or_default();
        match outcome {
            Ok(()) => println!("  {what:<10} {shown}"),
            Err(error) if shown.is_empty() => println!("  {what:<10} {error}"),
            Err(error) => println!("  {what:<10} {shown} → {error}"),
        }
        (last != Value::Null, last)
    };
    let (ok, task) = show("send", Rpc::SendMessage, message("Hello!", version)).await;
    worked &= ok;
    let id = task["id"].clone();
    worked &= show("stream", Rpc::SendStreamingMessage, message("Tell me a story", version)).await.0;
    worked &= show("get", Rpc::GetTask, json!({ "id": id })).await.0;
    // 0.3 has no such method; a 1.0 agent can answer it all the same.
    let listed = show("list", Rpc::ListTasks, json!({})).await.0;
    worked &= listed || agent == "older";
    let mut waiting = message("wait a while", version);
    waiting["configuration"] = match version {
        Version::V1_0 => json!({ "returnImmediately": true }),
        Version::V0_3 => json!({ "blocking": false }),
    };
    let (ok, task) = show("send", Rpc::SendMessage, waiting).await;
    worked &= ok;
    worked &= show("subscribe", Rpc::SubscribeToTask, json!({ "id": task["id"] })).await.0;
    let mut waiting = message("wait for me to cancel", version);
    waiting["configuration"] = json!({ "returnImmediately": true, "blocking": false });
    let (ok, task) = show("send", Rpc::SendMessage, waiting).await;
    worked &= ok;
    worked &= show("cancel", Rpc::CancelTask, json!({ "id": task["id"] })).await.0;
    show("get", Rpc::GetTask, json!({ "id": "no-such-task" })).await;
    worked
}

/// A result in a few words, and the task in it.
fn summary(result: &Value) -> (String, Value) {
    let inner = ["task", "message", "statusUpdate", "artifactUpdate"].iter().find_map(|name| result.get(name));
    let value = inner.unwrap_or(result);
    let state = value["status"]["state"].as_str().map(std::borrow::ToOwned::to_owned);
    let text = value["artifact"]["parts"][0]["text"].as_str().or(value["artifacts"][0]["parts"][0]["text"].as_str());
    let count = value["tasks"].as_array().map(|tasks| format!("{} tasks", tasks.len()));
    let words: Vec<String> = state.into_iter().chain(text.map(|text| format!("{text:?}"))).chain(count).collect();
    (words.join(" "), value.clone())
}

fn paste(base: &str) -> String {
    let host = base.trim_start_matches("http://");
    format!(
        r#"Paste this into another terminal:

  # who is there
  curl -s {base}/v1/agents -H 'Authorization: Bearer {KEY}'

  # a card, with this gateway's address in it
  curl -s {base}/a2a/newer/.well-known/agent-card.json -H 'Authorization: Bearer {KEY}'

  # A2A 1.0 to the agent that speaks 0.3
  curl -s {base}/a2a/older -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' -H 'A2A-Version: 1.0' \
    -d '{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{{"message":{{"messageId":"m-1","role":"ROLE_USER","parts":[{{"text":"hi"}}]}}}}}}'

  # A2A 0.3 to the agent that speaks 1.0, streamed
  curl -sN {base}/a2a/newer -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' \
    -d '{{"jsonrpc":"2.0","id":1,"method":"message/stream","params":{{"message":{{"kind":"message","messageId":"m-2","role":"user","parts":[{{"kind":"text","text":"hi"}}]}}}}}}'

  # HTTP+JSON, to the agent that speaks 0.3 by JSON-RPC
  curl -s {base}/a2a/older/message:send -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' \
    -d '{{"message":{{"messageId":"m-3","role":"ROLE_USER","parts":[{{"text":"hi"}}]}}}}'

  # Connect, which is gRPC for curl and browsers
  curl -s {base}/a2a/newer/lf.a2a.v1.A2AService/SendMessage -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' \
    -d '{{"message":{{"messageId":"m-4","role":"ROLE_USER","parts":[{{"text":"hi"}}]}}}}'

  # gRPC, streamed: the agent is the tenant of the request
  buf curl --protocol grpc --http2-prior-knowledge -H 'Authorization: Bearer {KEY}' --reflect-header 'Authorization: Bearer {KEY}' \
    -d '{{"tenant":"older","message":{{"messageId":"m-5","role":"ROLE_USER","parts":[{{"text":"hi"}}]}}}}' \
    {base}/lf.a2a.v1.A2AService/SendStreamingMessage
  grpcurl -plaintext -H 'Authorization: Bearer {KEY}' {host} list

  # the same from the command line
  switchboard call older "hi" --stream --url {base} --key {KEY}
"#
    )
}
