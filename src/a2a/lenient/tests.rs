//! What peers were seen to write.

use serde_json::{Value, json};

use super::*;

fn read(json: &str) -> Value {
    serde_json::to_value(event(json.as_bytes(), FileBytes::Auto).unwrap_or_else(|| panic!("{json}"))).unwrap()
}

#[test]
fn reads_langgraphs_events_without_their_wrapper() {
    let flat = r#"{"taskId":"c:r","contextId":"c","kind":"status-update","status":{"state":"TASK_STATE_WORKING","message":{"kind":"message","role":"ROLE_AGENT","parts":[{"kind":"text","text":"hi"}],"messageId":"m"},"timestamp":"2026-11-20T13:17:23.823241+00:00"},"final":false}"#;
    assert_eq!(
        read(flat),
        json!({ "statusUpdate": { "taskId": "c:r", "contextId": "c", "status": {
            "state": "TASK_STATE_WORKING", "timestamp": "2026-11-20T13:17:23.823241Z",
            "message": { "messageId": "m", "role": "ROLE_AGENT", "parts": [{ "text": "hi" }] },
        }}})
    );
    let artifact = r#"{"taskId":"t","contextId":"c","kind":"artifact-update","artifact":{"artifactId":"a","parts":[{"kind":"data","data":{"question":"which?"}}]},"append":false,"lastChunk":true}"#;
    assert_eq!(read(artifact)["artifactUpdate"]["artifact"]["parts"][0]["data"]["question"], "which?");
}

#[test]
fn reads_states_roles_and_times_in_any_spelling() {
    for (written, state) in [
        ("\"working\"", "TASK_STATE_WORKING"),
        ("\"TASK_STATE_CANCELLED\"", "TASK_STATE_CANCELED"),
        ("\"cancelled\"", "TASK_STATE_CANCELED"),
        ("\"INPUT_REQUIRED\"", "TASK_STATE_INPUT_REQUIRED"),
        ("3", "TASK_STATE_COMPLETED"),
        ("\"unknown\"", "TASK_STATE_UNSPECIFIED"),
    ] {
        let json = format!(
            r#"{{"task":{{"id":"t","status":{{"state":{written},"timestamp":"2026-11-20T13:17:56.181997"}}}}}}"#
        );
        let status = &read(&json)["task"]["status"];
        assert_eq!(status["state"], state);
        assert_eq!(status["timestamp"], "2026-11-20T13:17:56.181997Z", "without a zone it is UTC");
    }
    let odd = read(r#"{"task":{"id":"t","status":{"state":"done soon","timestamp":"yesterday"}}}"#.replace("done soon", "failed").as_str());
    assert_eq!(odd["task"]["status"]["timestamp"], Value::Null, "what is no time is left out");
    assert!(
        event(br#"{"task":{"id":"t","status":{"state":"shiny"}}}"#, FileBytes::Auto).is_none(),
        "no state is guessed"
    );
    for (written, role) in [("assistant", "ROLE_AGENT"), ("ROLE_USER", "ROLE_USER"), ("agent", "ROLE_AGENT")] {
        let json = format!(r#"{{"role":"{written}","parts":["hi"],"messageId":"m"}}"#);
        assert_eq!(read(&json)["message"]["role"], role);
    }
}

#[test]
fn reads_parts_of_every_age() {
    let parts = |json: &str| {
        read(&format!(r#"{{"kind":"message","messageId":"m","role":"agent","parts":{json}}}"#))["message"]["parts"]
            .clone()
    };
    assert_eq!(
        parts(r#"[{"type":"text","text":"a"},"b",{"text":"c"}]"#),
        json!([{ "text": "a" }, { "text": "b" }, { "text": "c" }])
    );
    assert_eq!(
        parts(
            r#"[{"kind":"file","file":{"bytes":"aGk=","mime_type":"image/png","name":"f"}},{"file":{"uri":"https://h/x"}}]"#
        ),
        json!([{ "raw": "aGk=", "mediaType": "image/png", "filename": "f" }, { "url": "https://h/x" }])
    );
    assert_eq!(parts(r#"[{"file":{"fileWithBytes":"YUdrPQ=="}}]"#), json!([{ "raw": "aGk=" }]), "base64 of base64");
    assert_eq!(
        parts(
            r#"[{"kind":"data","data":{"value":[1]},"metadata":{"data_part_compat":true}},{"data":{"data":{"a":1}}}]"#
        ),
        json!([{ "data": [1] }, { "data": { "a": 1 } }])
    );
    assert_eq!(parts(r#""just text""#), json!([{ "text": "just text" }]));
}

#[test]
fn reads_answers_that_are_wrapped_otherwise_than_they_should() {
    let task = br#"{"kind":"task","id":"t","contextId":"c","status":{"state":"submitted"},"artifacts":[{"type":"text","text":"x"}]}"#;
    let Some(Response::Task(bare)) = response(Rpc::GetTask, task, FileBytes::Auto) else { panic!("a task") };
    assert_eq!(bare.artifacts[0].parts.len(), 1, "an artifact that is one part");
    let wrapped = [&b"{\"task\":"[..], task, b"}"].concat();
    let Some(Response::Task(inner)) = response(Rpc::GetTask, &wrapped, FileBytes::Auto) else { panic!("a task") };
    assert_eq!(inner.id, "t");
    assert!(response(Rpc::SendMessage, &wrapped, FileBytes::Auto).is_some());
    let nested = br#"[{"task_id":"t","push_notification_config":{"id":"p","url":"https://h","authentication":{"schemes":["Bearer"]}}}]"#;
    let Some(Response::PushConfigs(list)) = response(Rpc::ListPushConfigs, nested, FileBytes::Auto) else {
        panic!("configs")
    };
    assert_eq!((list.configs[0].task_id.as_str(), list.configs[0].id.as_str()), ("t", "p"));
    let two = br#"{"task":{"id":"a"},"message":{"messageId":"b"}}"#;
    assert!(response(Rpc::SendMessage, two, FileBytes::Auto).is_none(), "of two results neither is guessed");
    for nonsense in [&b"{}"[..], b"[]", b"7", b"{\"status\":{}}", b"<html>"] {
        assert!(response(Rpc::SendMessage, nonsense, FileBytes::Auto).is_none());
    }
}

#[test]
fn reads_what_old_callers_write() {
    let asked = |json: &str| match request(Rpc::SendMessage, json.as_bytes()) {
        Some(Operation::SendMessage(request)) => serde_json::to_value(request).unwrap(),
        _ => panic!("{json}"),
    };
    let hello = asked(r#"{"message":{"role":"user","content":"Hello"},"config":{"temperature":0.7}}"#);
    assert_eq!(hello["message"]["parts"], json!([{ "text": "Hello" }]));
    assert_eq!(hello["message"]["messageId"].as_str().map(str::len), Some(36), "a fresh id");
    assert_eq!(hello["metadata"], json!({ "config": { "temperature": 0.7 } }));
    let snake = asked(
        r#"{"message":{"message_id":"m","role":"user","context_id":"c","parts":[{"text":"a"}]},"configuration":{"blocking":false,"history_length":0}}"#,
    );
    assert_eq!((&snake["message"]["messageId"], &snake["message"]["contextId"]), (&json!("m"), &json!("c")));
    assert_eq!(snake["configuration"], json!({ "returnImmediately": true }), "a history length of 0 is no limit");
    assert!(request(Rpc::GetTask, b"{}").is_none() && request(Rpc::SendMessage, b"{}").is_none());
}
