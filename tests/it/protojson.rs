//! Our JSON is ProtoJSON: each case against Google's own implementation in Python, and against prost-reflect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use switchboard::proto::{
    self, AgentCard, ListTasksRequest, ListTasksResponse, Part, SendMessageConfiguration, Task, TaskStatus,
};

use crate::support::peers;

/// Parses with ours; binary, or the fact that it is refused.
fn ours<T: DeserializeOwned + Message>(json: &str) -> Option<Vec<u8>> {
    serde_json::from_str::<T>(json).ok().map(|message| message.encode_to_vec())
}

/// Parses with Google's; re-encoded by ours, so that only the meaning is compared.
fn googles<T: Message + Default>(name: &str, json: &str) -> Option<Vec<u8>> {
    let answer = peers::oracle().lock().unwrap().ask(&json!({ "op": "parse", "type": name, "json": json }));
    let binary = STANDARD.decode(answer["binary"].as_str()?).unwrap();
    Some(T::decode(&binary[..]).unwrap().encode_to_vec())
}

fn reflects<T: Message + Default>(name: &str, json: &str) -> Option<Vec<u8>> {
    let pool = DescriptorPool::decode(proto::DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("lf.a2a.v1.{name}")).unwrap();
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut deserializer, &options).ok()?;
    Some(T::decode(&message.encode_to_vec()[..]).unwrap().encode_to_vec())
}

fn agrees<T: DeserializeOwned + Message + Default>(name: &str, cases: &[&str]) {
    for json in cases {
        let ours = ours::<T>(json);
        assert_eq!(ours, googles::<T>(name, json), "Google differs on {name} {json}");
        assert_eq!(ours, reflects::<T>(name, json), "prost-reflect differs on {name} {json}");
    }
}

#[test]
fn reads_what_protojson_allows_and_refuses_what_it_forbids() {
    if peers::python_is_off() {
        return;
    }
    agrees::<Part>(
        "Part",
        &[
            r#"{"data":null}"#,
            r#"{"data":[1,null,{"a":null}]}"#,
            r#"{"data":{"id":9007199254740993}}"#,
            r#"{"data":12345678901234567890}"#,
            r#"{"text":"a","url":null}"#,
            r#"{"url":null,"text":"a"}"#,
            r#"{"text":"a","metadata":null,"mediaType":null,"filename":null}"#,
            r#"{"text":"a","media_type":"b"}"#,
            r#"{"text":"a","unknown":{"x":[1]}}"#,
            r#"{"raw":"aGk="}"#,
            r#"{"raw":"aGk"}"#,
            r#"{"raw":"_-8="}"#,
            r#"{"raw":"/+8"}"#,
            r#"{"text":"a","url":"b"}"#,
            r#"{"text":1}"#,
        ],
    );
    agrees::<proto::Message>(
        "Message",
        &[
            r#"{"messageId":null,"role":null,"parts":null,"extensions":null}"#,
            r#"{"message_id":"m","role":1}"#,
            r#"{"role":"ROLE_AGENT"}"#,
            r#"{"messageId":7}"#,
            r#"{"parts":[null]}"#,
            r#"{"parts":{}}"#,
        ],
    );
    agrees::<ListTasksRequest>(
        "ListTasksRequest",
        &[
            r#"{"pageSize":10}"#,
            r#"{"pageSize":10.0}"#,
            r#"{"pageSize":1e1}"#,
            r#"{"pageSize":"10"}"#,
            r#"{"pageSize":10.5}"#,
            r#"{"pageSize":2147483648}"#,
            r#"{"pageSize":null,"historyLength":0}"#,
            r#"{"includeArtifacts":false}"#,
            r#"{"status":"TASK_STATE_WORKING"}"#,
            r#"{"statusTimestampAfter":"2026-01-02T03:04:05.123456789Z"}"#,
            r#"{"statusTimestampAfter":"2026-01-02T03:04:05+02:00"}"#,
            r#"{"statusTimestampAfter":"nonsense"}"#,
        ],
    );
}

/// Where the two oracles differ, or we differ on purpose, each with its reason.
#[test]
fn differs_only_where_it_means_to() {
    // An enum number that nobody knows is kept (open enums); Google's Python keeps it too, prost-reflect as well.
    let status: TaskStatus = serde_json::from_str(r#"{"state":42}"#).unwrap();
    assert_eq!(status.state, 42);
    assert_eq!(serde_json::to_string(&status).unwrap(), r#"{"state":42}"#);
    // An unknown name is an error by default; Google's ignore_unknown_fields would silently make it 0.
    assert!(serde_json::from_str::<TaskStatus>(r#"{"state":"SHINY"}"#).is_err());
    // An enum as a number in a string: Google's Python reads it, the specification does not name it.
    assert!(serde_json::from_str::<proto::Message>(r#"{"role":"2"}"#).is_err());
    // A member that stands twice is refused: readers differ in which of the two they take.
    assert!(serde_json::from_str::<Task>(r#"{"id":"a","id":"b"}"#).is_err());
    // A time without a zone is UTC: agents in use write such.
    let zoneless: TaskStatus = serde_json::from_str(r#"{"timestamp":"2026-01-02T03:04:05"}"#).unwrap();
    assert_eq!(zoneless.timestamp.unwrap().seconds, 1_767_323_045);
    // Years beyond 9999 cannot be spelled.
    let late = proto::Timestamp { seconds: 253_402_300_800, nanos: 0 };
    assert!(serde_json::to_string(&late).is_err());
    assert!(serde_json::from_str::<proto::Timestamp>(r#""+10000-01-01T00:00:00Z""#).is_err());
    // Nesting ends in an error, not in a stack overflow.
    let deep = format!("{{\"data\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(serde_json::from_str::<Part>(&deep).is_err());
}

fn printed<T: Serialize>(message: &T) -> Value {
    serde_json::to_value(message).unwrap()
}

#[test]
fn prints_what_google_reads_back_as_the_same() {
    if peers::python_is_off() {
        return;
    }
    let task: Task = serde_json::from_str(
        r#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING","timestamp":"2026-01-02T03:04:05.500Z"},
            "artifacts":[{"artifactId":"a","parts":[{"raw":"aGk=","mediaType":"image/png"},{"data":{"z":1,"a":[1.5,null,true]}},{"data":null}]}],
            "metadata":{"b":1,"a":{"y":2,"x":3}}}"#,
    )
    .unwrap();
    let json = serde_json::to_string(&task).unwrap();
    assert_eq!(googles::<Task>("Task", &json), Some(task.encode_to_vec()), "{json}");
    assert!(json.contains(r#""timestamp":"2026-01-02T03:04:05.500Z""#), "Z, not an offset: {json}");
    assert!(json.contains(r#""z":1"#) && !json.contains("1.0"), "integers stay integers: {json}");
    assert!(json.contains(r#"{"data":null}"#), "a null value is a value: {json}");
    assert!(json.contains(r#""metadata":{"a":{"x":3,"y":2},"b":1}"#), "keys have one order: {json}");
}

#[test]
fn prints_required_members_that_hold_their_default() {
    let list = printed(&ListTasksResponse::default());
    assert_eq!(list, json!({ "tasks": [], "nextPageToken": "", "pageSize": 0, "totalSize": 0 }));
    let card = printed(&AgentCard::default());
    for member in
        ["name", "description", "supportedInterfaces", "version", "defaultInputModes", "defaultOutputModes", "skills"]
    {
        assert!(card.get(member).is_some(), "{member} in {card}");
    }
    // Optional ones are left out, and explicit presence is kept.
    assert_eq!(printed(&SendMessageConfiguration::default()), json!({}));
    assert_eq!(
        printed(&SendMessageConfiguration { history_length: Some(0), ..Default::default() }),
        json!({ "historyLength": 0 })
    );
}
