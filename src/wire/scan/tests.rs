use super::*;
use crate::call::{PayloadKind, Peek};
use crate::operation::{Rpc, Version};
use crate::proto::TaskState;

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 1_000, parts_max: 10, digits_max: 100 };

fn request(json: &str) -> Result<Scan<'_>, ScanError> {
    scan(json.as_bytes(), request_shape(Rpc::SendMessage, Version::V1_0), &LIMITS)
}

#[test]
fn forwards_what_is_plain() {
    let plain = r#" { "x":{"task_id":1,"task_id":2}, "message" : {"taskId":"a","parts":[{"text":"\"}{"},{"data":[1,-2.5e3,null]}],"metadata":{"taskId":1,"task_id":2}}, "configuration":{} }"#;
    assert!(request(plain).unwrap().canonical);
}

#[test]
fn refuses_second_and_disguised_spellings_of_what_policy_reads() {
    for disguised in [
        r#"{"message":{"taskId":"a","taskId":"b"}}"#,
        r#"{"message":{"taskId":"a","task_id":"b"}}"#,
        r#"{"message":{"task_id":"b"}}"#,
        r#"{"message":{"TASKID":"b"}}"#,
        r#"{"message":{"task\u0049d":"b"}}"#,
        r#"{"message":{},"message":{}}"#,
        r#"{"message":{},"Message":{}}"#,
        r#"{"tenant":"a","tenant":"b","message":{}}"#,
        r#"{"message":{"reference_task_ids":["x"]}}"#,
        r#"{"configuration":{"task_push_notification_config":{}}}"#,
        r#"{"configuration":{"taskPushNotificationConfig":{"task_id":"x"}}}"#,
        r#"{"configuration":{"taskPushNotificationConfig":{"tenant":"b"}}}"#,
        r#"{"configuration":{"taskPushNotificationConfig":{"taskId":"b"}}}"#,
        r#"{"configuration":{"pushNotificationConfig":{"url":"http://169.254.169.254/"}}}"#,
        r#"{"configuration":{"pushNotification":{"url":"http://169.254.169.254/"}}}"#,
        "{\"message\":{\"taskId\":\"a\",\"ta\u{17f}kId\":\"b\"}}",
    ] {
        assert!(!request(disguised).unwrap().canonical, "{disguised}");
    }
}

#[test]
fn bounds_depth_nodes_parts_and_digits() {
    let deep = format!("{}1{}", "[".repeat(49), "]".repeat(49));
    assert_eq!(request(&deep).unwrap_err(), ScanError::TooDeep(48));
    assert!(request(&format!("{}1{}", "[".repeat(48), "]".repeat(48))).is_ok());
    let wide = format!("[{}1]", "1,".repeat(1_000));
    assert_eq!(request(&wide).unwrap_err(), ScanError::TooManyNodes(1_000));
    let parts = format!(r#"{{"message":{{"parts":[{}{{}}]}}}}"#, "{},".repeat(10));
    assert_eq!(request(&parts).unwrap_err(), ScanError::TooManyParts(10));
    let nested = format!(r#"{{"message":{{"parts":[{{"data":[{}1]}}]}}}}"#, "1,".repeat(20));
    assert!(request(&nested).is_ok(), "elements inside a part are not parts");
    let digits = format!(r#"{{"x":{}}}"#, "9".repeat(101));
    assert_eq!(request(&digits).unwrap_err(), ScanError::TooManyDigits(100));
}

fn event(json: &str, version: Version) -> Option<Peek> {
    scan(json.as_bytes(), event_shape(version), &LIMITS).unwrap().peek(version)
}

#[test]
fn peeks_at_events_of_both_versions() {
    let expected = |kind| Peek {
        state_at: None,
        kind: Some(kind),
        task_id: Some("t".into()),
        context_id: Some("c".into()),
        state: Some(TaskState::InputRequired),
        is_final: false,
    };
    let status = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_INPUT_REQUIRED","message":{"taskId":"other"}}}}"#;
    assert_eq!(event(status, Version::V1_0), Some(expected(PayloadKind::StatusUpdate)));
    let task =
        r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"input-required"},"history":[{"taskId":"x"}]}"#;
    assert_eq!(event(task, Version::V0_3), Some(expected(PayloadKind::Task)));
    let last = r#"{"kind":"status-update","taskId":"t","contextId":"c","status":{"state":"working"},"final":true}"#;
    assert!(event(last, Version::V0_3).unwrap().is_final);
}

#[test]
fn does_not_guess_at_ambiguous_events() {
    assert_eq!(event(r#"{"task":{"id":"a"},"message":{"taskId":"b"}}"#, Version::V1_0), None);
    assert_eq!(event(r#"{"task":{"id":"a","id":"b"}}"#, Version::V1_0), None);
    assert_eq!(event(r#"{"task":{"id":"a\n"}}"#, Version::V1_0), None);
    assert_eq!(event(r#"{"task":{"id":"a","status":{"state":"SHINY"}}}"#, Version::V1_0), None);
}
