//! 0.3 and 1.0 say the same: golden vectors, and the Python SDK's own converters as the judge.

use bytes::Bytes;
use serde_json::{Value, json};
use switchboard::a2a::{card, v0_3};
use switchboard::config::JsonLimits;
use switchboard::operation::{Rpc, Version};
use switchboard::proto;
use switchboard::wire::json::{read_request, write_request};

use crate::support::peers;

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 10_000, parts_max: 100, digits_max: 100 };

const TASK_V1: &str = r#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_INPUT_REQUIRED","message":{"messageId":"s","role":"ROLE_AGENT","parts":[{"text":"more?"}]},"timestamp":"2026-01-02T03:04:05.500Z"},"artifacts":[{"artifactId":"a","name":"n","parts":[{"raw":"aGk=","mediaType":"image/png","filename":"f.png"},{"url":"https://h/x","mediaType":"text/plain"},{"data":[1,"x"]}]}],"history":[{"messageId":"m","contextId":"c","taskId":"t","role":"ROLE_USER","parts":[{"text":"hi","metadata":{"k":"v"}}],"extensions":["https://e/x"],"referenceTaskIds":["t0"]}],"metadata":{"m":true}}"#;
const TASK_V03: &str = r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"input-required","message":{"kind":"message","messageId":"s","role":"agent","parts":[{"kind":"text","text":"more?"}]},"timestamp":"2026-01-02T03:04:05.500Z"},"artifacts":[{"artifactId":"a","name":"n","parts":[{"kind":"file","file":{"bytes":"aGk=","mimeType":"image/png","name":"f.png"}},{"kind":"file","file":{"uri":"https://h/x","mimeType":"text/plain"}},{"kind":"data","data":{"value":[1,"x"]},"metadata":{"data_part_compat":true}}]}],"history":[{"kind":"message","messageId":"m","contextId":"c","taskId":"t","role":"user","parts":[{"kind":"text","text":"hi","metadata":{"k":"v"}}],"extensions":["https://e/x"],"referenceTaskIds":["t0"]}],"metadata":{"m":true}}"#;
const SEND_V03: &str = r#"{"message":{"kind":"message","messageId":"m","role":"user","contextId":"c","parts":[{"kind":"text","text":"hi"},{"kind":"file","file":{"uri":"https://h/x","mimeType":"a/b"}},{"kind":"data","data":{"a":{"b":null}}}]},"configuration":{"blocking":false,"historyLength":3,"acceptedOutputModes":["text/plain"],"pushNotificationConfig":{"id":"p","url":"https://h/w","token":"tk","authentication":{"schemes":["Bearer"],"credentials":"z"}}},"metadata":{"x":1}}"#;
const SEND_V1: &str = r#"{"message":{"messageId":"m","contextId":"c","role":"ROLE_USER","parts":[{"text":"hi"},{"url":"https://h/x","mediaType":"a/b"},{"data":{"a":{"b":null}}}]},"configuration":{"acceptedOutputModes":["text/plain"],"taskPushNotificationConfig":{"id":"p","url":"https://h/w","token":"tk","authentication":{"scheme":"Bearer","credentials":"z"}},"historyLength":3,"returnImmediately":true},"metadata":{"x":1}}"#;

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// The params of a request in the other version.
fn request(rpc: Rpc, from: Version, params: &str, to: Version) -> Value {
    let (operation, _) = read_request(rpc, from, Some(Bytes::copy_from_slice(params.as_bytes())), &LIMITS).unwrap();
    value(std::str::from_utf8(&write_request(&operation, to).unwrap()).unwrap())
}

fn part_to_v03(part: &str) -> Value {
    let message = format!(r#"{{"message":{{"messageId":"m","role":"ROLE_USER","parts":[{part}]}}}}"#);
    request(Rpc::SendMessage, Version::V1_0, &message, Version::V0_3)["message"]["parts"][0].clone()
}

fn part_to_v1(part: &str) -> Value {
    let message = format!(r#"{{"message":{{"messageId":"m","role":"user","parts":[{part}]}}}}"#);
    request(Rpc::SendMessage, Version::V0_3, &message, Version::V1_0)["message"]["parts"][0].clone()
}

#[test]
fn keeps_the_golden_vectors() {
    let task: proto::Task = serde_json::from_str(TASK_V1).unwrap();
    assert_eq!(serde_json::to_value(v0_3::task_to_v0_3(&task).unwrap()).unwrap(), value(TASK_V03));
    assert_eq!(v0_3::task_from_v0_3(TASK_V03.as_bytes()).unwrap(), task);
    assert_eq!(request(Rpc::SendMessage, Version::V0_3, SEND_V03, Version::V1_0), value(SEND_V1));
    assert_eq!(request(Rpc::SendMessage, Version::V1_0, SEND_V1, Version::V0_3), value(SEND_V03));
    assert_eq!(
        part_to_v03(r#"{"text":"a","mediaType":"text/markdown","filename":"x.md","metadata":{"k":1}}"#),
        json!({ "kind": "text", "text": "a", "metadata": {
            "k": 1, "switchboard/a2a-1.0": { "mediaType": "text/markdown", "filename": "x.md" },
        }})
    );
    assert_eq!(
        part_to_v03(r#"{"data":null}"#),
        json!({ "kind": "data", "data": { "value": null }, "metadata": { "data_part_compat": true } })
    );
    assert_eq!(
        part_to_v1(r#"{"kind":"data","data":{"value":[1]},"metadata":{"data_part_compat":true,"z":1}}"#),
        json!({ "data": [1], "metadata": { "z": 1 } })
    );
    let configuration = |from, config: &str, to| {
        let role = if from == Version::V1_0 { "ROLE_USER" } else { "user" };
        let part = if from == Version::V1_0 { r#"{"text":"x"}"# } else { r#"{"kind":"text","text":"x"}"# };
        let params =
            format!(r#"{{"message":{{"messageId":"m","role":"{role}","parts":[{part}]}},"configuration":{config}}}"#);
        request(Rpc::SendMessage, from, &params, to)["configuration"].clone()
    };
    assert_eq!(configuration(Version::V0_3, "{}", Version::V1_0), json!({}));
    assert_eq!(
        configuration(Version::V0_3, r#"{"blocking":false}"#, Version::V1_0),
        json!({ "returnImmediately": true })
    );
    assert_eq!(configuration(Version::V0_3, r#"{"historyLength":0}"#, Version::V1_0), json!({}));
    assert_eq!(
        configuration(Version::V1_0, "{}", Version::V0_3),
        json!({ "blocking": true, "acceptedOutputModes": [] })
    );
    assert_eq!(
        configuration(Version::V1_0, r#"{"historyLength":0}"#, Version::V0_3),
        json!({ "blocking": true, "historyLength": 0, "acceptedOutputModes": [] })
    );
}

#[test]
fn keeps_the_golden_events() {
    let to_v03 = |json: &str| {
        let event: proto::StreamResponse = serde_json::from_str(json).unwrap();
        value(v0_3::event_to_v0_3(&event).unwrap().get())
    };
    assert_eq!(
        to_v03(r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#),
        json!({ "kind": "status-update", "taskId": "t", "contextId": "c", "status": { "state": "completed" }, "final": true })
    );
    for state in ["AUTH_REQUIRED", "WORKING", "SUBMITTED", "UNSPECIFIED"] {
        let event =
            format!(r#"{{"statusUpdate":{{"taskId":"t","contextId":"c","status":{{"state":"TASK_STATE_{state}"}}}}}}"#);
        assert_eq!(to_v03(&event)["final"], false, "{state}");
    }
    let update =
        to_v03(r#"{"artifactUpdate":{"taskId":"t","contextId":"c","artifact":{"artifactId":"a","parts":[]}}}"#);
    assert_eq!((&update["append"], &update["lastChunk"]), (&json!(false), &json!(false)));
    let shifted = v0_3::task_from_v0_3(br#"{"kind":"task","id":"t","contextId":"c","status":{"state":"working","timestamp":"2026-01-02T03:04:05+02:00"}}"#).unwrap();
    assert_eq!(serde_json::to_value(&shifted).unwrap()["status"]["timestamp"], "2026-01-02T01:04:05Z");
    let roleless: proto::SendMessageResponse =
        serde_json::from_str(r#"{"message":{"messageId":"m","parts":[{"text":"x"}]}}"#).unwrap();
    assert_eq!(value(v0_3::send_response_to_v0_3(&roleless).unwrap().get())["role"], "agent");
}

/// Numbers by value, absent and empty alike: how two JSON printers may differ without meaning anything.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => members
            .iter()
            // What the SDK drops is put aside here.
            .filter(|(name, _)| *name != v0_3::stash::SAID_IN_1_0)
            .map(|(name, value)| (name.clone(), plain(value)))
            .filter(|(_, value)| *value != json!("") && *value != json!([]) && *value != json!({}))
            .collect(),
        other => other.clone(),
    }
}

fn sdk(op: &str, kind: &str, json: &str) -> Value {
    let answer = peers::oracle().lock().unwrap().ask(&json!({ "op": op, "type": kind, "json": json }));
    match answer["json"].as_str() {
        Some(text) => value(text),
        None => panic!("the SDK refused {kind} {json}: {answer}"),
    }
}

#[test]
fn converts_messages_as_the_python_sdk_does() {
    if peers::python_is_off() {
        return;
    }
    let sends = [
        SEND_V1.to_owned(),
        r#"{"message":{"messageId":"m","role":"ROLE_USER","taskId":"t","parts":[{"data":[1,{"x":null}],"metadata":{"k":1}},{"raw":"","filename":"e"},{"url":""}],"metadata":{}},"configuration":{"historyLength":0}}"#.to_owned(),
        r#"{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":""}],"referenceTaskIds":["a","b"],"metadata":{"n":[1.5,-0.25,true]}}}"#.to_owned(),
    ];
    for send in &sends {
        let ours = request(Rpc::SendMessage, Version::V1_0, send, Version::V0_3);
        assert_eq!(plain(&ours), plain(&sdk("to_v03", "SendMessageRequest", send)), "{send}");
        let back = ours.to_string();
        let ours = request(Rpc::SendMessage, Version::V0_3, &back, Version::V1_0);
        assert_eq!(plain(&ours), plain(&sdk("to_v1", "SendMessageRequest", &back)), "{back}");
    }
    for task in [TASK_V1, r#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_AUTH_REQUIRED"}}"#] {
        let typed: proto::Task = serde_json::from_str(task).unwrap();
        let ours = serde_json::to_value(v0_3::task_to_v0_3(&typed).unwrap()).unwrap();
        assert_eq!(plain(&ours), plain(&sdk("to_v03", "Task", task)), "{task}");
    }
    for event in [
        r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_FAILED","timestamp":"2026-01-02T03:04:05.000001Z"},"metadata":{"a":1}}}"#,
        r#"{"artifactUpdate":{"taskId":"t","contextId":"c","artifact":{"artifactId":"a","name":"n","description":"d","parts":[{"text":"x"}],"extensions":["e"]},"append":true,"lastChunk":true}}"#,
        r#"{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"data":"scalar"}]}}"#,
    ] {
        let typed: proto::StreamResponse = serde_json::from_str(event).unwrap();
        let ours = value(v0_3::event_to_v0_3(&typed).unwrap().get());
        let theirs = sdk("to_v03", "StreamResponse", event);
        // The SDK wraps a stream's result in an envelope of its own.
        let theirs = theirs.get("result").cloned().unwrap_or(theirs);
        assert_eq!(plain(&ours), plain(&theirs), "{event}");
    }
}

#[test]
fn converts_requests_on_tasks_as_the_python_sdk_does() {
    if peers::python_is_off() {
        return;
    }
    for (rpc, kind, params) in [
        (Rpc::GetTask, "GetTaskRequest", r#"{"id":"t","historyLength":2}"#),
        (Rpc::CancelTask, "CancelTaskRequest", r#"{"id":"t","metadata":{"a":1}}"#),
        (Rpc::SubscribeToTask, "SubscribeToTaskRequest", r#"{"id":"t"}"#),
        (
            Rpc::CreatePushConfig,
            "TaskPushNotificationConfig",
            r#"{"taskId":"t","id":"p","url":"https://h/w","token":"k","authentication":{"scheme":"Bearer","credentials":"z"}}"#,
        ),
        (Rpc::GetPushConfig, "GetTaskPushNotificationConfigRequest", r#"{"taskId":"t","id":"p"}"#),
        (Rpc::DeletePushConfig, "DeleteTaskPushNotificationConfigRequest", r#"{"taskId":"t","id":"p"}"#),
    ] {
        let ours = request(rpc, Version::V1_0, params, Version::V0_3);
        let theirs = sdk("to_v03", kind, params);
        let theirs = theirs.get("params").cloned().unwrap_or(theirs);
        assert_eq!(plain(&ours), plain(&theirs), "{kind}");
        assert_eq!(request(rpc, Version::V0_3, &ours.to_string(), Version::V1_0), value(params), "{kind} comes back");
    }
}

#[test]
fn converts_cards_as_the_python_sdk_does() {
    if peers::python_is_off() {
        return;
    }
    let old = r#"{"protocolVersion":"0.3.0","name":"n","description":"d","url":"https://h/rpc","preferredTransport":"JSONRPC","version":"2",
        "additionalInterfaces":[{"url":"https://h/rest","transport":"HTTP+JSON"}],"provider":{"organization":"o","url":"https://o"},
        "documentationUrl":"https://docs","iconUrl":"https://icon","capabilities":{"streaming":true,"pushNotifications":false,"extensions":[{"uri":"https://e","required":true}]},
        "securitySchemes":{"k":{"type":"apiKey","in":"header","name":"X"},"b":{"type":"http","scheme":"bearer","bearerFormat":"JWT"},
            "o":{"type":"oauth2","flows":{"authorizationCode":{"authorizationUrl":"https://a","tokenUrl":"https://t","scopes":{"s":"d"}}}},
            "i":{"type":"openIdConnect","openIdConnectUrl":"https://i"},"m":{"type":"mutualTLS","description":"certificates"}},
        "security":[{"k":[]},{"o":["s"]}],"defaultInputModes":["text/plain"],"defaultOutputModes":["text/plain"],"supportsAuthenticatedExtendedCard":true,
        "skills":[{"id":"s","name":"s","description":"d","tags":["t"],"examples":["e"],"inputModes":["a/b"],"security":[{"b":[]}]}]}"#;
    let new = card::read(old.as_bytes()).unwrap();
    let ours = serde_json::to_value(&new).unwrap();
    assert_eq!(plain(&ours), plain(&sdk("to_v1", "AgentCard", old)));
    let back = value(v0_3::card_to_v0_3(&new).unwrap().get());
    assert_eq!(plain(&back), plain(&sdk("to_v03", "AgentCard", &ours.to_string())));
    assert_eq!(plain(&back), plain(&value(old)));
}

#[test]
fn says_where_a_0_3_request_is_wrong() {
    let refused = |params: &str| {
        let params = Some(Bytes::copy_from_slice(params.as_bytes()));
        read_request(Rpc::SendMessage, Version::V0_3, params, &LIMITS).unwrap_err().violations()[0].field.clone()
    };
    assert_eq!(
        refused(r#"{"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"a"},{"kind":"text"}]}}"#),
        "message.parts[1].text"
    );
    assert_eq!(
        refused(r#"{"message":{"messageId":"m","role":"user","parts":[{"kind":"file","file":{"bytes":"!!"}}]}}"#),
        "message.parts[0].file.bytes"
    );
    assert_eq!(refused(r#"{"message":{"messageId":"m","role":"robot","parts":[]}}"#), "message.role");
    assert_eq!(refused(r#"{"message":{"messageId":"m","parts":[{"kind":"text","text":"a"}]}}"#), "message.role");
    assert_eq!(refused(r#"{"message":{"messageId":"m","role":"user"}}"#), "message.parts");
}
