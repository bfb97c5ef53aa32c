use prost::Message as _;

use super::*;
use crate::proto::{Struct, Value, value::Kind as ValueKind};

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 2_000, parts_max: 10, digits_max: 100 };

fn send(message: proto::Message) -> Vec<u8> {
    proto::SendMessageRequest { message: Some(message), ..Default::default() }.encode_to_vec()
}

fn message() -> proto::Message {
    let part = proto::Part { content: Some(proto::part::Content::Text("hi".into())), ..Default::default() };
    proto::Message { message_id: "m".into(), role: 1, parts: vec![part], task_id: "t".into(), ..Default::default() }
}

fn read(bytes: Vec<u8>) -> Result<(Operation, Option<Raw>), Error> {
    read_request(Rpc::SendMessage, Bytes::from(bytes), &LIMITS)
}

#[test]
fn keeps_bytes_with_fields_that_nobody_knows() {
    let mut bytes = send(message());
    // Field 99, a string.
    bytes.extend_from_slice(&[0x9a, 0x06, 0x01, b'x']);
    let (operation, raw) = read(bytes.clone()).unwrap();
    assert_eq!(operation.task_id(), Some("t"));
    assert_eq!(raw.unwrap().bytes, bytes);
}

#[test]
fn writes_anew_what_has_a_singular_field_twice() {
    let mut bytes = send(message());
    bytes.extend(send(proto::Message { task_id: "other".into(), ..Default::default() }));
    let (operation, raw) = read(bytes).unwrap();
    assert_eq!(operation.task_id(), Some("other"), "protobuf merges them");
    assert!(raw.is_none());
}

#[test]
fn refuses_what_is_no_message() {
    for wrong in [
        &b"\x0a"[..],
        b"\x0a\x05ab",
        b"\x00",
        b"\x0b\x0c",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x08\x01",
    ] {
        let error = read(wrong.to_vec()).unwrap_err();
        assert!(matches!(error.kind(), Kind::Parse | Kind::InvalidParams), "{wrong:?}: {error}");
    }
}

fn nested(levels: usize) -> Value {
    let mut value = Value { kind: Some(ValueKind::BoolValue(true)) };
    for _ in 0..levels {
        let fields = [("a".to_owned(), value)].into();
        value = Value { kind: Some(ValueKind::StructValue(Struct { fields })) };
    }
    value
}

#[test]
fn bounds_nesting_parts_and_fields_as_in_json() {
    let with_data = |levels| {
        let part = proto::Part { content: Some(proto::part::Content::Data(nested(levels))), ..Default::default() };
        send(proto::Message { parts: vec![part], ..message() })
    };
    // Request, message, list of parts and part are four levels.
    for levels in 1..60 {
        match read(with_data(levels)) {
            Ok(_) => assert!(levels <= 32, "{levels}"),
            Err(error) => {
                assert!(
                    error.message().contains("100 messages") || error.message().contains("48 levels"),
                    "{levels}: {error}"
                );
                assert!(levels > 31, "{levels}: {error}");
            }
        }
    }
    let shallow = JsonLimits { depth_max: 8, ..LIMITS };
    assert!(read_request(Rpc::SendMessage, Bytes::from(with_data(4)), &shallow).is_ok());
    let error = read_request(Rpc::SendMessage, Bytes::from(with_data(5)), &shallow).unwrap_err();
    assert!(error.message().contains("8 levels"), "{error}");
    let parts = send(proto::Message { parts: vec![proto::Part::default(); 11], ..message() });
    assert!(read(parts).unwrap_err().message().contains("10 parts"));
    let many = send(proto::Message { extensions: vec![String::new(); 3_000], ..message() });
    assert!(read(many).unwrap_err().message().contains("2000 values"));
}

#[test]
fn puts_the_last_tenant_at_the_end() {
    let list = proto::ListTaskPushNotificationConfigsRequest {
        tenant: "echo".into(),
        task_id: "t".into(),
        ..Default::default()
    };
    let spliced = with_tenant(Rpc::ListPushConfigs, &list.encode_to_vec(), "");
    let read = proto::ListTaskPushNotificationConfigsRequest::decode(spliced).unwrap();
    assert_eq!((read.tenant.as_str(), read.task_id.as_str()), ("", "t"));
    let get = proto::GetTaskRequest { tenant: "echo".into(), id: "t".into(), ..Default::default() };
    let spliced = with_tenant(Rpc::GetTask, &get.encode_to_vec(), "inner");
    assert_eq!(proto::GetTaskRequest::decode(spliced).unwrap().tenant, "inner");
}

#[test]
fn peeks_at_answers_and_events_without_decoding() {
    let task = proto::Task {
        id: "t".into(),
        context_id: "c".into(),
        status: Some(proto::TaskStatus { state: 3, ..Default::default() }),
        ..Default::default()
    };
    let answer = read_answer(Rpc::GetTask, Bytes::from(task.encode_to_vec()), &LIMITS).unwrap();
    assert!(matches!(answer.content, Content::Raw(_)));
    assert_eq!((answer.peek.task_id.as_deref(), answer.peek.state), (Some("t"), Some(TaskState::Completed)));
    let update = proto::TaskStatusUpdateEvent {
        task_id: "t".into(),
        context_id: "c".into(),
        status: Some(proto::TaskStatus { state: 77, ..Default::default() }),
        ..Default::default()
    };
    let event = proto::StreamResponse { payload: Some(proto::stream_response::Payload::StatusUpdate(update)) };
    let event = read_event(Bytes::from(event.encode_to_vec()), &LIMITS).unwrap();
    assert!(matches!(event.content, Content::Typed(_)), "a state that nobody knows is decoded");
    assert!(read_event(Bytes::new(), &LIMITS).is_err(), "an event without a payload");
    assert!(read_answer(Rpc::SendMessage, Bytes::new(), &LIMITS).is_err());
}
