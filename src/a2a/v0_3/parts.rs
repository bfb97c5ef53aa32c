//! Messages, parts, artifacts and statuses, between the objects of 0.3 and the typed 1.0 messages.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use super::stash::{SAID_IN_0_3, SAID_IN_1_0, Stash};
use super::types as old;
use super::{ConvertError, state_by_name, state_name};
use crate::proto::part::Content;
use crate::proto::{self, TaskState, Value, value};

/// Marks a data part whose value was no object and is wrapped as `{"value": ..}`: the SDKs' convention.
const WRAPPED: &str = "data_part_compat";

/// Base64 as ProtoJSON reads it: padding or none.
const LAX_STANDARD: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const LAX_URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn message_from_v0_3(mut old: old::Message) -> Result<proto::Message, ConvertError> {
    let mut stash = Stash::take(SAID_IN_1_0, &mut old.metadata, &["role", "referenceTaskIds"]);
    let something = !stash.is_empty();
    let role = match old.role.as_str() {
        _ if stash.take_text("role").is_some() => proto::Role::Unspecified,
        "user" | "ROLE_USER" => proto::Role::User,
        "agent" | "assistant" | "ROLE_AGENT" => proto::Role::Agent,
        "" => proto::Role::Unspecified,
        _ => return Err(ConvertError::new("role", "must be \"user\" or \"agent\"")),
    };
    let mut reference_task_ids = stash.take_texts("referenceTaskIds");
    reference_task_ids.extend(old.reference_task_ids);
    stash.restore(&mut old.metadata, something);
    Ok(proto::Message {
        message_id: old.message_id,
        context_id: old.context_id,
        task_id: old.task_id,
        role: role.into(),
        parts: parts_from_v0_3(old.parts)?,
        metadata: old.metadata,
        extensions: old.extensions,
        reference_task_ids,
    })
}

pub(super) fn message_to_v0_3(new: &proto::Message) -> Result<old::Message, ConvertError> {
    let mut stash = Stash::new(SAID_IN_1_0);
    if new.role() == proto::Role::Unspecified {
        stash.text("role", proto::Role::Unspecified.as_str_name());
    }
    let mut metadata = new.metadata.clone();
    stash.put_into(&mut metadata, new.metadata.as_ref());
    Ok(old::Message {
        kind: "message",
        message_id: new.message_id.clone(),
        context_id: new.context_id.clone(),
        task_id: new.task_id.clone(),
        role: if new.role() == proto::Role::User { "user" } else { "agent" }.to_owned(),
        parts: parts_to_v0_3(&new.parts)?,
        metadata,
        extensions: new.extensions.clone(),
        reference_task_ids: new.reference_task_ids.clone(),
    })
}

pub(super) fn parts_from_v0_3(parts: Vec<old::Part>) -> Result<Vec<proto::Part>, ConvertError> {
    let numbered = parts.into_iter().enumerate();
    numbered.map(|(at, part)| part_from_v0_3(part).map_err(|e| e.inside(&format!("parts[{at}]")))).collect()
}

pub(super) fn parts_to_v0_3(parts: &[proto::Part]) -> Result<Vec<old::Part>, ConvertError> {
    let numbered = parts.iter().enumerate();
    numbered.map(|(at, part)| part_to_v0_3(part).map_err(|e| e.inside(&format!("parts[{at}]")))).collect()
}

fn part_from_v0_3(mut part: old::Part) -> Result<proto::Part, ConvertError> {
    let missing = |name: &str| ConvertError::new(name, "is required");
    let kind = match (part.kind.as_deref(), &part) {
        (Some(kind), _) => kind.to_owned(),
        (None, old::Part { text: Some(_), .. }) => "text".to_owned(),
        (None, old::Part { file: Some(_), .. }) => "file".to_owned(),
        (None, old::Part { data: Some(_), .. }) => "data".to_owned(),
        (None, _) => return Err(missing("kind")),
    };
    let kept: &[&str] = match kind.as_str() {
        "text" => &["mediaType", "filename"],
        "data" => &["mediaType", "filename", "isObject", "wrapped"],
        _ => &[],
    };
    let mut stash = Stash::take(SAID_IN_1_0, &mut part.metadata, kept);
    let mut something = !stash.is_empty();
    let mut new = proto::Part {
        media_type: stash.take_text("mediaType").unwrap_or_default(),
        filename: stash.take_text("filename").unwrap_or_default(),
        ..Default::default()
    };
    match kind.as_str() {
        "text" => new.content = Some(Content::Text(part.text.ok_or_else(|| missing("text"))?)),
        "file" => {
            let file = part.file.ok_or_else(|| missing("file"))?;
            let mut kept = Stash::new(SAID_IN_0_3);
            new.content = Some(match (file.bytes, file.uri) {
                (Some(bytes), uri) => {
                    // The SDKs take the bytes; where they came from is kept.
                    kept.text("uri", uri.as_deref().unwrap_or_default());
                    Content::Raw(decoded(&bytes)?)
                }
                (None, Some(uri)) => Content::Url(uri),
                (None, None) => return Err(ConvertError::new("file", "needs bytes or uri")),
            });
            (new.media_type, new.filename) = (file.mime_type, file.name);
            let before = part.metadata.clone();
            kept.put_into(&mut part.metadata, before.as_ref());
        }
        "data" => {
            let data = part.data.ok_or_else(|| missing("data"))?;
            let is_object = stash.take_flag("isObject") == Some(true);
            let (data, unwrapped) = if is_object { (data, false) } else { unwrapped(data, &mut part.metadata) };
            something |= unwrapped;
            // The peer had something of its own where the mark was.
            if let Some(own) = stash.take_value("wrapped") {
                part.metadata.get_or_insert_default().fields.insert(WRAPPED.to_owned(), own);
            }
            new.content = Some(Content::Data(data));
        }
        _ => return Err(ConvertError::new("kind", "must be \"text\", \"file\" or \"data\"")),
    }
    stash.restore(&mut part.metadata, something);
    new.metadata = part.metadata;
    Ok(new)
}

pub(super) fn decoded(base64: &str) -> Result<bytes::Bytes, ConvertError> {
    let bytes = LAX_STANDARD.decode(base64).or_else(|_| LAX_URL_SAFE.decode(base64));
    bytes.map(Into::into).map_err(|_| ConvertError::new("file.bytes", "is not base64"))
}

fn is_flagged(metadata: Option<&proto::Struct>) -> bool {
    let flag = metadata.and_then(|m| m.fields.get(WRAPPED)).and_then(|flag| flag.kind.as_ref());
    flag == Some(&value::Kind::BoolValue(true))
}

/// What was wrapped, and whether anything was.
fn unwrapped(data: Value, metadata: &mut Option<proto::Struct>) -> (Value, bool) {
    let Some(value::Kind::StructValue(object)) = &data.kind else { return (data, false) };
    let wraps = object.fields.len() == 1 && object.fields.contains_key("value");
    if !wraps || !is_flagged(metadata.as_ref()) {
        return (data, false);
    }
    let Some(value::Kind::StructValue(mut object)) = data.kind else { unreachable!("it was an object above") };
    let inner = object.fields.remove("value").expect("it was there above");
    if let Some(fields) = metadata.as_mut().map(|m| &mut m.fields) {
        fields.remove(WRAPPED);
    }
    (inner, true)
}

fn part_to_v0_3(part: &proto::Part) -> Result<old::Part, ConvertError> {
    let mut new = old::Part::default();
    let mut metadata = part.metadata.clone();
    let is_raw = matches!(part.content, Some(Content::Raw(_)));
    let mut kept = Stash::take(SAID_IN_0_3, &mut metadata, if is_raw { &["uri"] } else { &[] });
    let something = !kept.is_empty();
    let uri = kept.take_text("uri");
    kept.restore(&mut metadata, something);
    let before = metadata.clone();
    let mut stash = Stash::new(SAID_IN_1_0);
    let file = || old::File { mime_type: part.media_type.clone(), name: part.filename.clone(), ..Default::default() };
    let mut describe = || {
        stash.text("mediaType", &part.media_type);
        stash.text("filename", &part.filename);
    };
    let kind = match &part.content {
        Some(Content::Text(text)) => {
            describe();
            new.text = Some(text.clone());
            "text"
        }
        Some(Content::Raw(raw)) => {
            new.file = Some(old::File { bytes: Some(STANDARD.encode(raw)), uri, ..file() });
            "file"
        }
        Some(Content::Url(url)) => {
            new.file = Some(old::File { uri: Some(url.clone()), ..file() });
            "file"
        }
        Some(Content::Data(data)) => {
            describe();
            if is_flagged(metadata.as_ref()) && matches!(data.kind, Some(value::Kind::StructValue(_))) {
                // It is marked as wrapped, and is an object by itself.
                stash.flag("isObject", true);
            }
            let own = metadata.as_ref().and_then(|metadata| metadata.fields.get(WRAPPED)).cloned();
            new.data = Some(wrapped(data, &mut metadata));
            if let Some(own) = own.filter(|_| !matches!(data.kind, Some(value::Kind::StructValue(_)))) {
                stash.value("wrapped", own);
            }
            "data"
        }
        None => return Err(ConvertError::new("", "has no content: A2A 0.3 cannot say that")),
    };
    new.kind = Some(kind.to_owned());
    stash.put_into(&mut metadata, before.as_ref());
    new.metadata = metadata;
    Ok(new)
}

fn wrapped(data: &Value, metadata: &mut Option<proto::Struct>) -> Value {
    if matches!(data.kind, Some(value::Kind::StructValue(_))) {
        return data.clone();
    }
    let flag = Value { kind: Some(value::Kind::BoolValue(true)) };
    metadata.get_or_insert_default().fields.insert(WRAPPED.to_owned(), flag);
    let fields = [("value".to_owned(), data.clone())].into();
    Value { kind: Some(value::Kind::StructValue(proto::Struct { fields })) }
}

pub(super) fn status_from_v0_3(old: old::TaskStatus) -> Result<proto::TaskStatus, ConvertError> {
    let state = match old.state.as_str() {
        "" => TaskState::Unspecified,
        name => state_by_name(name)
            .or_else(|| TaskState::from_str_name(name))
            .ok_or_else(|| ConvertError::new("status.state", format!("{} is no state of A2A 0.3", quoted(name))))?,
    };
    let message = old.message.map(|m| message_from_v0_3(m).map_err(|e| e.inside("status.message")));
    Ok(proto::TaskStatus { state: state.into(), message: message.transpose()?, timestamp: old.timestamp })
}

/// Text from a peer inside our own sentence: short, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

pub(super) fn status_to_v0_3(new: Option<&proto::TaskStatus>) -> Result<old::TaskStatus, ConvertError> {
    let Some(new) = new else { return Ok(old::TaskStatus { state: "unknown".to_owned(), ..Default::default() }) };
    let message = new.message.as_ref().map(|m| message_to_v0_3(m).map_err(|e| e.inside("status.message")));
    Ok(old::TaskStatus {
        state: state_name(new.state).to_owned(),
        message: message.transpose()?,
        timestamp: new.timestamp,
    })
}

pub(super) fn artifact_from_v0_3(old: old::Artifact) -> Result<proto::Artifact, ConvertError> {
    Ok(proto::Artifact {
        artifact_id: old.artifact_id,
        name: old.name,
        description: old.description,
        parts: parts_from_v0_3(old.parts)?,
        metadata: old.metadata,
        extensions: old.extensions,
    })
}

pub(super) fn artifact_to_v0_3(new: &proto::Artifact) -> Result<old::Artifact, ConvertError> {
    Ok(old::Artifact {
        artifact_id: new.artifact_id.clone(),
        name: new.name.clone(),
        description: new.description.clone(),
        parts: parts_to_v0_3(&new.parts)?,
        metadata: new.metadata.clone(),
        extensions: new.extensions.clone(),
    })
}
