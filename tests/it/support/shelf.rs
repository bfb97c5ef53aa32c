//! An agent of 1.0 by JSON-RPC that answers a message with what stands in the message's metadata, and keeps the tasks
//! that it answered with: a test says what it says, true or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::fake::{FakeAgent, FakeReply, Seen};

pub struct Shelf {
    pub agent: FakeAgent,
    /// What it says of each task when it is asked; a null is silence.
    pub tasks: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Shelf {
    pub async fn start() -> Self {
        let tasks = Arc::<Mutex<BTreeMap<String, Value>>>::default();
        let kept = Arc::clone(&tasks);
        let agent = FakeAgent::start(move |seen| answer(&mut kept.lock().unwrap(), &seen)).await;
        Self { agent, tasks }
    }

    pub fn url(&self) -> &str {
        &self.agent.url
    }

    /// Changes what it says of a task.
    pub fn say(&self, id: &str, task: Value) {
        self.tasks.lock().unwrap().insert(id.to_owned(), task);
    }

    /// How often this method was called.
    pub fn heard(&self, method: &str) -> usize {
        self.agent.calls().iter().filter(|seen| seen.json()["method"] == method).count()
    }
}

fn answer(tasks: &mut BTreeMap<String, Value>, seen: &Seen) -> FakeReply {
    let request = seen.json();
    let params = &request["params"];
    let said = &params["message"]["metadata"]["say"];
    let mut keep = |reply: &Value| {
        if let Some(id) = reply["task"]["id"].as_str() {
            tasks.insert(id.to_owned(), reply["task"].clone());
        }
    };
    match request["method"].as_str().unwrap() {
        "SendMessage" => {
            keep(said);
            FakeReply::result(seen, &said.to_string())
        }
        "SendStreamingMessage" => {
            let events = said.as_array().cloned().unwrap_or_else(|| vec![said.clone()]);
            events.iter().for_each(&mut keep);
            let events: Vec<String> = events.iter().map(Value::to_string).collect();
            FakeReply::events(seen, &events.iter().map(String::as_str).collect::<Vec<_>>())
        }
        "SubscribeToTask" => {
            let task = &tasks[params["id"].as_str().unwrap()];
            let done = json!({ "statusUpdate": { "taskId": params["id"], "contextId": task["contextId"], "status": { "state": "TASK_STATE_COMPLETED" } } });
            FakeReply::events(seen, &[&json!({ "task": task }).to_string(), &done.to_string()])
        }
        "GetTask" => match tasks.get(params["id"].as_str().unwrap()) {
            Some(Value::Null) => {
                let (feed, reply) = FakeReply::fed();
                std::mem::forget(feed);
                reply
            }
            Some(task) => FakeReply::result(seen, &task.to_string()),
            None => FakeReply::error(seen, r#"{"code":-32001,"message":"no such task"}"#),
        },
        "CancelTask" => FakeReply::result(seen, &tasks[params["id"].as_str().unwrap()].to_string()),
        "CreateTaskPushNotificationConfig" => {
            tasks.insert("config".to_owned(), params.clone());
            FakeReply::result(seen, &params.to_string())
        }
        "GetTaskPushNotificationConfig" => FakeReply::result(seen, &tasks["config"].to_string()),
        "ListTaskPushNotificationConfigs" => FakeReply::result(seen, &tasks["configs"].to_string()),
        _ => FakeReply::error(seen, r#"{"code":-32004,"message":"not here"}"#),
    }
}

/// A message that is answered with this.
pub fn asking(say: &Value) -> Value {
    let message =
        json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "hi" }], "metadata": { "say": say } });
    json!({ "message": message })
}

pub fn task(id: &str, context: &str, state: &str) -> Value {
    json!({ "id": id, "contextId": context, "status": { "state": format!("TASK_STATE_{state}") } })
}
