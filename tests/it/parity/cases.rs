//! The table of calls.

use serde_json::{Value, json};
use switchboard::error::Kind;
use switchboard::operation::Rpc;

#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub rpc: Rpc,
    pub request: Value,
    pub expected: Expected,
}

/// What the agent says.
#[derive(Clone, Debug)]
pub enum Expected {
    One(Value),
    Stream(Vec<Value>),
    Error(Kind),
}

use Expected::{Error, One, Stream};

fn case(name: &'static str, rpc: Rpc, request: Value, expected: Expected) -> Case {
    Case { name, rpc, request, expected }
}

fn send(parts: &Value) -> Value {
    json!({ "message": { "messageId": "m-1", "role": "ROLE_USER", "parts": parts } })
}

fn hi() -> Value {
    send(&json!([{ "text": "hi" }]))
}

fn status(state: &str) -> Value {
    json!({ "state": state, "timestamp": "2026-01-02T03:04:05.500Z" })
}

fn task(state: &str) -> Value {
    json!({ "id": "t-1", "contextId": "c-1", "status": status(state) })
}

fn config() -> Value {
    json!({
        "id": "p-1", "taskId": "t-1", "url": "https://example.com/hook", "token": "tk",
        "authentication": { "scheme": "Bearer", "credentials": "z" },
    })
}

fn update(state: &str) -> Value {
    json!({ "statusUpdate": { "taskId": "t-1", "contextId": "c-1", "status": status(state) } })
}

fn artifact(text: &str, append: bool, last: bool) -> Value {
    let mut update = json!({
        "taskId": "t-1", "contextId": "c-1",
        "artifact": { "artifactId": "a-1", "parts": [{ "text": text }] },
    });
    if append {
        update["append"] = json!(true);
    }
    if last {
        update["lastChunk"] = json!(true);
    }
    json!({ "artifactUpdate": update })
}

/// A task with one artifact of these parts.
fn with_parts(parts: &Value) -> Value {
    let mut task = task("TASK_STATE_COMPLETED");
    task["artifacts"] = json!([{ "artifactId": "a-1", "name": "out", "parts": parts }]);
    json!({ "task": task })
}

pub fn all() -> Vec<Case> {
    let mut all = operations();
    all.extend(contents());
    all.extend(states());
    all.extend(errors());
    all
}

/// Each of the eleven operations, with a task and with a message.
fn operations() -> Vec<Case> {
    let reply = json!({ "message": { "messageId": "r-1", "contextId": "c-1", "role": "ROLE_AGENT", "parts": [{ "text": "hello" }] } });
    let long = vec![
        json!({ "task": task("TASK_STATE_WORKING") }),
        artifact("a", false, false),
        artifact("b", true, true),
        update("TASK_STATE_COMPLETED"),
    ];
    let listed =
        json!({ "tasks": [task("TASK_STATE_WORKING")], "nextPageToken": "next", "pageSize": 5, "totalSize": 7 });
    let nothing = json!({ "tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0 });
    let list = json!({
        "contextId": "c 1", "status": "TASK_STATE_WORKING", "pageSize": 5, "pageToken": "a/b?c=d&e", "historyLength": 0,
        "statusTimestampAfter": "2023-11-14T22:13:20.005Z", "includeArtifacts": true,
    });
    let card = json!({
        "name": "parity", "description": "d", "version": "1", "capabilities": { "streaming": true },
        "supportedInterfaces": [
            { "url": "http://10.1.2.3/x", "protocolBinding": "JSONRPC", "protocolVersion": "1.0" },
            { "url": "http://10.1.2.3/x", "protocolBinding": "JSONRPC", "protocolVersion": "0.3" },
        ],
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": "s", "name": "s", "description": "d", "tags": ["t"] }],
    });
    let named = json!({ "taskId": "t-1", "id": "p-1" });
    vec![
        case("send, a task", Rpc::SendMessage, hi(), One(json!({ "task": task("TASK_STATE_COMPLETED") }))),
        case("send, a message", Rpc::SendMessage, hi(), One(reply.clone())),
        case("stream, a task", Rpc::SendStreamingMessage, hi(), Stream(long.clone())),
        case("stream, a message", Rpc::SendStreamingMessage, hi(), Stream(vec![reply])),
        case("get", Rpc::GetTask, json!({ "id": "t-1", "historyLength": 3 }), One(task("TASK_STATE_WORKING"))),
        case("list", Rpc::ListTasks, list, One(listed)),
        case("list, nothing", Rpc::ListTasks, json!({}), One(nothing)),
        case("cancel", Rpc::CancelTask, json!({ "id": "t-1" }), One(task("TASK_STATE_CANCELED"))),
        case(
            "cancel, with metadata",
            Rpc::CancelTask,
            json!({ "id": "t-1", "metadata": { "why": "x" } }),
            One(task("TASK_STATE_CANCELED")),
        ),
        case("subscribe", Rpc::SubscribeToTask, json!({ "id": "t-1" }), Stream(long)),
        case("push create", Rpc::CreatePushConfig, config(), One(config())),
        case("push get", Rpc::GetPushConfig, named.clone(), One(config())),
        case(
            "push list",
            Rpc::ListPushConfigs,
            json!({ "taskId": "t-1" }),
            One(json!({ "configs": [config()], "nextPageToken": "n" })),
        ),
        case("push delete", Rpc::DeletePushConfig, named, One(Value::Null)),
        case("extended card", Rpc::GetExtendedAgentCard, json!({}), One(card)),
    ]
}

/// What messages and artifacts can hold, in both directions.
fn contents() -> Vec<Case> {
    let parts = [
        ("text", json!([{ "text": "grüße, 世界 \u{1F44B}\n\"'\\" }])),
        ("file by bytes", json!([{ "raw": "AP/+aGk=", "mediaType": "image/png", "filename": "a b.png" }])),
        ("file by url", json!([{ "url": "https://example.com/x?y=1#z", "mediaType": "text/plain" }])),
        (
            "data",
            json!([{ "data": { "null": null, "list": [1, null, "two", [3], {}], "number": 0.25, "flag": false, "object": { "empty": {} } } }]),
        ),
        ("data, null", json!([{ "data": null }])),
        ("data, an array", json!([{ "data": [1, "x", null] }])),
        ("data, a text", json!([{ "data": "plain" }])),
        (
            "data, big integers",
            json!([{ "data": { "id": 9_007_199_254_740_993_u64, "huge": 12_345_678_901_234_567_890_u64 } }]),
        ),
        (
            "several parts with metadata",
            json!([{ "text": "a", "metadata": { "k": { "v": [1.5] } } }, { "text": "", "mediaType": "text/markdown" }]),
        ),
    ];
    let mut cases: Vec<Case> =
        parts.iter().map(|(name, parts)| case(name, Rpc::SendMessage, send(parts), One(with_parts(parts)))).collect();
    let whole = json!({
        "message": {
            "messageId": "m-1", "contextId": "c-1", "taskId": "t-1", "role": "ROLE_USER", "parts": [{ "text": "hi" }],
            "metadata": { "deep": { "list": [null, true] } }, "extensions": ["https://example.com/ext"],
            "referenceTaskIds": ["t-0", "t/with:odd?id"],
        },
        "configuration": {
            "acceptedOutputModes": ["text/plain", "image/*"], "historyLength": 2, "returnImmediately": true,
            "taskPushNotificationConfig": { "url": "https://example.com/hook", "token": "tk" },
        },
        "metadata": { "trace": "x", "count": 3 },
    });
    let mut rich = task("TASK_STATE_WORKING");
    rich["history"] = json!([whole["message"]]);
    rich["metadata"] = json!({ "m": [1.5, null] });
    cases.push(case("everything a message can hold", Rpc::SendMessage, whole, One(json!({ "task": rich }))));
    let odd = json!({ "id": "a/b:c?d=é%2F ..", "historyLength": 0 });
    let mut answer = task("TASK_STATE_WORKING");
    answer["id"] = odd["id"].clone();
    cases.push(case("an id of odd characters", Rpc::GetTask, odd.clone(), One(answer.clone())));
    answer["status"]["state"] = json!("TASK_STATE_CANCELED");
    cases.push(case("cancel of an id of odd characters", Rpc::CancelTask, json!({ "id": odd["id"] }), One(answer)));
    cases
}

/// How tasks can end or wait.
fn states() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, state) in [
        ("input required", "TASK_STATE_INPUT_REQUIRED"),
        ("auth required", "TASK_STATE_AUTH_REQUIRED"),
        ("rejected", "TASK_STATE_REJECTED"),
        ("failed", "TASK_STATE_FAILED"),
    ] {
        let mut ended = task(state);
        ended["status"]["message"] = json!({ "messageId": "s-1", "role": "ROLE_AGENT", "parts": [{ "text": "why" }] });
        cases.push(case(name, Rpc::SendMessage, hi(), One(json!({ "task": ended }))));
    }
    // A caller who waits would be made to wait.
    let mut at_once = hi();
    at_once["configuration"] = json!({ "returnImmediately": true });
    cases.push(case("submitted", Rpc::SendMessage, at_once, One(json!({ "task": task("TASK_STATE_SUBMITTED") }))));
    for (name, state) in
        [("a stream that waits", "TASK_STATE_INPUT_REQUIRED"), ("a stream that fails", "TASK_STATE_FAILED")]
    {
        let events = vec![json!({ "task": task("TASK_STATE_WORKING") }), update(state)];
        cases.push(case(name, Rpc::SendStreamingMessage, hi(), Stream(events)));
    }
    cases
}

/// Every error of A2A, before an answer and before a stream.
fn errors() -> Vec<Case> {
    let kinds = [
        ("TaskNotFound", Kind::TaskNotFound),
        ("TaskNotCancelable", Kind::TaskNotCancelable),
        ("PushNotificationNotSupported", Kind::PushNotificationNotSupported),
        ("UnsupportedOperation", Kind::UnsupportedOperation),
        ("ContentTypeNotSupported", Kind::ContentTypeNotSupported),
        ("InvalidAgentResponse", Kind::InvalidAgentResponse),
        ("ExtendedAgentCardNotConfigured", Kind::ExtendedAgentCardNotConfigured),
        ("ExtensionSupportRequired", Kind::ExtensionSupportRequired),
        ("VersionNotSupported", Kind::VersionNotSupported),
        ("InvalidParams", Kind::InvalidParams),
    ];
    let both = |(name, kind)| {
        [case(name, Rpc::SendMessage, hi(), Error(kind)), case(name, Rpc::SendStreamingMessage, hi(), Error(kind))]
    };
    let mut cases: Vec<Case> = kinds.into_iter().flat_map(both).collect();
    cases.push(case("no task to get", Rpc::GetTask, json!({ "id": "nope" }), Error(Kind::TaskNotFound)));
    cases.push(case("no task to cancel", Rpc::CancelTask, json!({ "id": "nope" }), Error(Kind::TaskNotFound)));
    cases
}
