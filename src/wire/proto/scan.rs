//! One pass over protobuf bytes that bounds them, and proves what may be forwarded, before anything is decoded.
//!
//! 16 MiB of empty parts would be a gigabyte once decoded, so nesting, fields and parts are counted on the bytes, as
//! the scan of JSON counts them. A field that occurs twice where the schema has it once is well-defined in protobuf,
//! but not every reader merges alike: then the message is written anew from what we read.

use crate::config::JsonLimits;
use crate::wire::scan::{DEPTH_MAX, ScanError};

/// What is known of a message type, generated from the schema.
pub(super) struct Shape {
    /// Free-form content: what occurs twice in it matters to nobody.
    is_free: bool,
    /// It is an object or array in JSON, and so a level of nesting.
    is_level: bool,
    is_part: bool,
    fields: &'static [Field],
}

pub(super) struct Field {
    number: u32,
    /// The number under which it must be the only one: members of a oneof share theirs.
    place: u32,
    is_repeated: bool,
    /// Peers differ in what its bytes mean, so they are not forwarded.
    is_ambiguous: bool,
    /// The shape of the message that it holds.
    inner: Option<u8>,
}

/// The shapes of all messages, and the places of those that stand for themselves.
pub(super) mod shapes {
    use super::{Field, Shape};

    include!(concat!(env!("OUT_DIR"), "/shapes.rs"));
}

/// Why bytes cannot be taken for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unscannable {
    /// They are no protobuf, or use groups, which proto3 does not have.
    Malformed,
    Exceeds(ScanError),
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// Nesting of messages. Readers of protobuf stop at a hundred, ours among them; an object inside free-form data takes
/// three: the value, the struct and its entry.
const FRAMES_MAX: usize = 100;

#[derive(Clone, Copy, Default)]
struct Frame {
    end: usize,
    shape: u8,
    /// Which of the singular fields were seen, by place.
    seen: u64,
    level: usize,
}

/// Scans `bytes`, a message of this shape. True when no singular field occurs twice: then they may be forwarded.
pub(super) fn scan(bytes: &[u8], shape: u8, limits: &JsonLimits) -> Result<bool, Unscannable> {
    let mut stack = [Frame::default(); FRAMES_MAX];
    stack[0] = Frame { end: bytes.len(), shape, seen: 0, level: 1 };
    let (mut depth, mut at, mut nodes, mut parts) = (1, 0, 0, 0);
    let mut canonical = true;
    while depth > 0 {
        let frame = &mut stack[depth - 1];
        if at == frame.end {
            depth -= 1;
            continue;
        }
        let (number, content) = next(bytes, &mut at, frame.end).ok_or(Unscannable::Malformed)?;
        nodes += 1;
        if nodes > limits.nodes_max {
            return Err(ScanError::TooManyNodes(limits.nodes_max).into());
        }
        let shape = &shapes::SHAPES[usize::from(frame.shape)];
        let Some(field) = shape.fields.iter().find(|field| field.number == number) else { continue };
        canonical &= !field.is_ambiguous;
        if !field.is_repeated && !shape.is_free {
            let place = 1 << (field.place % 64);
            canonical &= frame.seen & place == 0;
            frame.seen |= place;
        }
        let (Some(inner), Content::Delimited(start)) = (field.inner, content) else { continue };
        let inner_shape = &shapes::SHAPES[usize::from(inner)];
        parts += usize::from(inner_shape.is_part);
        if parts > limits.parts_max {
            return Err(ScanError::TooManyParts(limits.parts_max).into());
        }
        // A list is a level in JSON too.
        let is_list = field.is_repeated && inner_shape.is_level;
        let level = frame.level + usize::from(inner_shape.is_level) + usize::from(is_list);
        if level > limits.depth_max.min(DEPTH_MAX) {
            return Err(ScanError::TooDeep(limits.depth_max).into());
        }
        if depth == FRAMES_MAX {
            return Err(ScanError::TooManyFrames(FRAMES_MAX).into());
        }
        stack[depth] = Frame { end: at, shape: inner, seen: 0, level };
        depth += 1;
        at = start;
    }
    Ok(canonical)
}

/// The content of the last field of this number, when it is length-delimited. The bytes were scanned before.
pub(super) fn field(bytes: &[u8], number: u32) -> Option<&[u8]> {
    let mut at = 0;
    let mut found = None;
    while at < bytes.len() {
        match next(bytes, &mut at, bytes.len())? {
            (this, Content::Delimited(start)) if this == number => found = Some(&bytes[start..at]),
            _ => {}
        }
    }
    found
}

/// The value of the last field of this number, when it is a varint.
pub(super) fn number(bytes: &[u8], number: u32) -> Option<u64> {
    let mut at = 0;
    let mut found = None;
    while at < bytes.len() {
        match next(bytes, &mut at, bytes.len())? {
            (this, Content::Number(value)) if this == number => found = Some(value),
            _ => {}
        }
    }
    found
}

enum Content {
    Number(u64),
    Fixed,
    /// Where it begins; it ends where the cursor is afterwards.
    Delimited(usize),
}

/// Steps over the field at the cursor; none when the bytes up to `end` are no field.
fn next(bytes: &[u8], at: &mut usize, end: usize) -> Option<(u32, Content)> {
    let bytes = &bytes[..end];
    let tag = varint(bytes, at)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0)?;
    let mut skip = |length: usize| {
        *at = at.checked_add(length).filter(|at| *at <= end)?;
        Some(())
    };
    let content = match tag & 7 {
        VARINT => Content::Number(varint(bytes, at)?),
        FIXED64 => {
            skip(8)?;
            Content::Fixed
        }
        FIXED32 => {
            skip(4)?;
            Content::Fixed
        }
        DELIMITED => {
            let length = usize::try_from(varint(bytes, at)?).ok()?;
            let start = *at;
            *at = at.checked_add(length).filter(|at| *at <= end)?;
            Content::Delimited(start)
        }
        _ => return None,
    };
    Some((number, content))
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut rest = bytes.get(*at..)?;
    let before = rest.len();
    let value = prost::encoding::decode_varint(&mut rest).ok()?;
    *at += before - rest.len();
    Some(value)
}
