//! What holds of every message, event and metadata: there and back again is the same.

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use switchboard::a2a::v0_3;
use switchboard::call::{FileBytes, Form};
use switchboard::config::JsonLimits;
use switchboard::operation::Version;
use switchboard::proto::part::Content;
use switchboard::proto::stream_response::Payload;
use switchboard::proto::{self, StreamResponse, Struct, TaskState, Timestamp, Value, value};
use switchboard::wire::proto::v0_3 as old_proto;
use switchboard::wire::{content, json as wire_json};

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 100_000, parts_max: 1_000, digits_max: 400 };

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{0,6}", 1 => "\\PC{0,8}"]
}

fn id() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9:_-]{1,12}"
}

/// An id, or none.
fn no_id() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), id()]
}

fn of(kind: value::Kind) -> Value {
    Value { kind: Some(kind) }
}

/// Any JSON value that protobuf can hold.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(of(value::Kind::NullValue(0))),
        any::<bool>().prop_map(|flag| of(value::Kind::BoolValue(flag))),
        (-1.0e12..1.0e12_f64).prop_map(|number| of(value::Kind::NumberValue(number))),
        any::<i32>().prop_map(|number| of(value::Kind::NumberValue(f64::from(number)))),
        text().prop_map(|text| of(value::Kind::StringValue(text))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| of(value::Kind::ListValue(proto::ListValue { values }))),
            btree_map(prop_oneof![3 => "[a-z]{1,5}", 1 => Just("value".to_owned())], inner, 0..4)
                .prop_map(|fields| of(value::Kind::StructValue(Struct { fields }))),
        ]
    })
}

/// Metadata, now and then with what converters put there themselves.
fn metadata() -> impl Strategy<Value = Option<Struct>> {
    let special = prop_oneof![
        Just(json!({ "data_part_compat": true })),
        Just(json!({ "switchboard/a2a-1.0": { "mediaType": "text/x" } })),
        Just(json!({ "switchboard/a2a-1.0": { "own": 1 }, "k": [1] })),
        Just(json!({ "switchboard/a2a-1.0": 7 })),
        Just(json!({ "switchboard/a2a-0.3": [1] })),
    ];
    let special = special.prop_map(|json| serde_json::from_value::<Struct>(json).unwrap());
    let any = btree_map("[a-z]{1,6}", any_value(), 0..3).prop_map(|fields| Struct { fields });
    prop_oneof![2 => Just(None), 3 => any.prop_map(Some), 1 => special.prop_map(Some)]
}

fn part() -> impl Strategy<Value = proto::Part> {
    let content = prop_oneof![
        text().prop_map(Content::Text),
        vec(any::<u8>(), 0..24).prop_map(|bytes| Content::Raw(bytes.into())),
        text().prop_map(Content::Url),
        any_value().prop_map(Content::Data),
    ];
    (content, metadata(), text(), text()).prop_map(|(content, metadata, filename, media_type)| proto::Part {
        content: Some(content),
        metadata,
        filename,
        media_type,
    })
}

prop_compose! {
    fn message()(
        message_id in id(), context_id in no_id(), task_id in no_id(), role in 0..3_i32, parts in vec(part(), 0..4),
        metadata in metadata(), extensions in vec(text(), 0..3), reference_task_ids in vec(id(), 0..3),
    ) -> proto::Message {
        proto::Message { message_id, context_id, task_id, role, parts, metadata, extensions, reference_task_ids }
    }
}

prop_compose! {
    fn status()(
        state in 0..9_i32, message in option::of(message()),
        timestamp in option::of((0..4_000_000_000_i64, 0..1_000_000_000_i32)),
    ) -> proto::TaskStatus {
        let timestamp = timestamp.map(|(seconds, nanos)| Timestamp { seconds, nanos });
        proto::TaskStatus { state, message, timestamp }
    }
}

prop_compose! {
    fn artifact()(
        artifact_id in id(), name in text(), description in text(), parts in vec(part(), 0..4), metadata in metadata(),
        extensions in vec(text(), 0..3),
    ) -> proto::Artifact {
        proto::Artifact { artifact_id, name, description, parts, metadata, extensions }
    }
}

prop_compose! {
    fn task()(
        id in id(), context_id in no_id(), status in status(), artifacts in vec(artifact(), 0..3),
        history in vec(message(), 0..3), metadata in metadata(),
    ) -> proto::Task {
        proto::Task { id, context_id, status: Some(status), artifacts, history, metadata }
    }
}

fn event() -> impl Strategy<Value = StreamResponse> {
    let status_update = (id(), no_id(), status(), metadata()).prop_map(|(task_id, context_id, status, metadata)| {
        Payload::StatusUpdate(proto::TaskStatusUpdateEvent { task_id, context_id, status: Some(status), metadata })
    });
    let flags = (any::<bool>(), any::<bool>());
    let artifact_update = (id(), no_id(), artifact(), flags, metadata()).prop_map(
        |(task_id, context_id, artifact, (append, last_chunk), metadata)| {
            let artifact = Some(artifact);
            Payload::ArtifactUpdate(proto::TaskArtifactUpdateEvent {
                task_id,
                context_id,
                artifact,
                append,
                last_chunk,
                metadata,
            })
        },
    );
    let payload = prop_oneof![
        task().prop_map(Payload::Task),
        message().prop_map(Payload::Message),
        status_update,
        artifact_update,
    ];
    payload.prop_map(|payload| StreamResponse { payload: Some(payload) })
}

/// An event of 1.0 as 0.3 writes it in this form, read again.
fn through(event: &StreamResponse, form: Form) -> StreamResponse {
    let written = content::EventWriter::new(form).write(content::typed_event(event.clone())).unwrap();
    assert_eq!(written.len(), 1);
    let bytes: Bytes = written[0].clone();
    let read = match form {
        Form::ProtoV0_3(files) => old_proto::read_event(bytes, &LIMITS, files),
        Form::ProtoJsonV0_3(files) => old_proto::read_event_json(&bytes, &LIMITS, files),
        _ => wire_json::read_event(Version::V0_3, bytes, &LIMITS),
    };
    content::typed_stream_event(read.unwrap()).unwrap()
}

/// A part of 0.3, as JSON.
fn old_part() -> impl Strategy<Value = Json> {
    use base64::Engine as _;
    let bytes = vec(any::<u8>(), 0..12).prop_map(|raw| base64::engine::general_purpose::STANDARD.encode(raw));
    let text_part = text().prop_map(|text| json!({ "kind": "text", "text": text }));
    let file = prop_oneof![
        bytes.clone().prop_map(|bytes| json!({ "bytes": bytes, "mimeType": "image/png", "name": "a.png" })),
        "[a-z:/]{1,9}".prop_map(|uri| json!({ "uri": uri })),
        (bytes, "[a-z:/]{1,9}").prop_map(|(bytes, uri)| json!({ "bytes": bytes, "uri": uri })),
    ];
    let file = file.prop_map(|file| json!({ "kind": "file", "file": file }));
    let data = btree_map("[a-z]{1,5}|value", any_value(), 0..3)
        .prop_map(|fields| json!({ "kind": "data", "data": serde_json::to_value(Struct { fields }).unwrap() }));
    // The mark of wrapped data belongs to what is wrapped.
    let metadata = metadata().prop_map(|m| m.filter(|m| !m.fields.contains_key("data_part_compat")));
    (prop_oneof![text_part, file, data], metadata).prop_map(|(mut part, metadata)| {
        if let Some(metadata) = metadata.filter(|m| !m.fields.contains_key("switchboard/a2a-1.0")) {
            part["metadata"] = serde_json::to_value(metadata).unwrap();
        }
        part
    })
}

prop_compose! {
    fn old_update()(
        parts in vec(old_part(), 1..4), state in 0..9_i32, is_final in any::<bool>(), is_user in any::<bool>(),
        metadata in metadata(),
    ) -> Json {
        let role = if is_user { "user" } else { "agent" };
        let state = v0_3::state_name(TaskState::try_from(state).unwrap().into());
        let mut update = json!({ "kind": "status-update", "taskId": "t", "contextId": "c", "final": is_final, "status": {
            "state": state, "message": { "kind": "message", "messageId": "m", "role": role, "parts": parts },
        }});
        if let Some(metadata) = metadata {
            update["metadata"] = serde_json::to_value(metadata).unwrap();
        }
        update
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_1_0_says_comes_back_from_0_3(event in event()) {
        let forms = [
            Form::Json(Version::V0_3),
            Form::ProtoV0_3(FileBytes::Base64),
            Form::ProtoV0_3(FileBytes::Auto),
            Form::ProtoV0_3(FileBytes::Raw),
            Form::ProtoJsonV0_3(FileBytes::Base64),
            Form::ProtoJsonV0_3(FileBytes::Raw),
        ];
        for form in forms {
            prop_assert_eq!(&through(&event, form), &event, "{:?}", form);
        }
    }

    #[test]
    fn what_0_3_says_comes_back_from_1_0(update in old_update()) {
        let new = v0_3::event_from_v0_3(update.to_string().as_bytes(), None).unwrap();
        let back: Json = serde_json::from_str(v0_3::event_to_v0_3(&new).unwrap().get()).unwrap();
        prop_assert_eq!(back, update);
    }

    #[test]
    fn no_bytes_make_a_reader_stop(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = old_proto::read_event(bytes.clone(), &LIMITS, FileBytes::Auto);
        let _ = old_proto::read_event_json(&bytes, &LIMITS, FileBytes::Auto);
        let _ = old_proto::read_request(switchboard::operation::Rpc::SendMessage, bytes, &LIMITS);
    }
}
