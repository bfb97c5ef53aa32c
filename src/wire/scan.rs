//! One pass over JSON that proves what may be forwarded.
//!
//! Policy reads a few members of a message (ids, tenant, push config). If the same bytes go on to an agent, the
//! agent must read the same: a second `taskId`, a `task_id` or a `TASKID` beside it would let a caller show one
//! task to us and another to the agent. So the scan checks that every member that matters stands there at most
//! once and in its canonical spelling. In the same pass it bounds depth, nodes, parts and digits, before anything
//! is decoded, and picks out what the record needs of an answer.
//!
//! The input must be valid JSON; the envelope's parser has proved it. The scan never recurses or allocates.

use crate::config::JsonLimits;

mod shapes;

use shapes::Slot;
pub use shapes::{Shape, answer_shape, event_shape, free_shape, request_shape};

/// The deepest nesting that a configuration may allow; also the size of the scanner's stack.
pub const DEPTH_MAX: usize = 64;

/// What the scan found.
#[derive(Debug)]
pub struct Scan<'a> {
    /// Every member that policy reads occurs at most once, in canonical spelling: the bytes may be forwarded.
    pub canonical: bool,
    values: [Option<&'a [u8]>; Slot::COUNT],
}

/// A limit that the input exceeds, said as what the input is or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("is nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("is nested deeper than {0} messages")]
    TooManyFrames(usize),
    #[error("has more than {0} values")]
    TooManyNodes(usize),
    #[error("has more than {0} parts")]
    TooManyParts(usize),
    #[error("has a number of more than {0} digits")]
    TooManyDigits(usize),
}

impl<'a> Scan<'a> {
    /// The text of a string member without its quotes; `None` when absent, not a string, or written with escapes.
    fn text(&self, slot: Slot) -> Option<&'a str> {
        let value = self.values[slot as usize]?;
        let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if inner.contains(&b'\\') { None } else { std::str::from_utf8(inner).ok() }
    }

    fn is_present(&self, slot: Slot) -> bool {
        self.values[slot as usize].is_some()
    }

    /// Whether the request has a `tenant` member at all.
    pub fn has_tenant(&self) -> bool {
        self.is_present(Slot::Tenant)
    }
}

/// Scans `json`, one valid JSON value whose members are as `shape` says.
///
/// # Errors
/// The first limit that is exceeded.
pub fn scan<'a>(json: &'a [u8], shape: &'static Shape, limits: &JsonLimits) -> Result<Scan<'a>, ScanError> {
    let mut scanner = Scanner {
        json,
        at: 0,
        stack: [Frame::default(); DEPTH_MAX],
        depth: 0,
        nodes: 0,
        parts: 0,
        pending: Pending { shape: Some(shape), slot: None, counts_parts: false },
        scan: Scan { canonical: true, values: [None; Slot::COUNT] },
    };
    scanner.run(limits)?;
    Ok(scanner.scan)
}

#[derive(Clone, Copy, Default)]
struct Frame {
    /// What is known of the members; `None` inside free-form content.
    shape: Option<&'static Shape>,
    /// Which of the shape's members were seen.
    seen: u32,
    is_array: bool,
    counts_parts: bool,
    expects_key: bool,
}

/// What is known of the value that comes next.
#[derive(Clone, Copy, Default)]
struct Pending {
    shape: Option<&'static Shape>,
    slot: Option<Slot>,
    counts_parts: bool,
}

struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
    stack: [Frame; DEPTH_MAX],
    depth: usize,
    nodes: usize,
    parts: usize,
    pending: Pending,
    scan: Scan<'a>,
}

impl Scanner<'_> {
    fn run(&mut self, limits: &JsonLimits) -> Result<(), ScanError> {
        while let Some(&byte) = self.json.get(self.at) {
            match byte {
                b'"' if self.depth > 0 && self.stack[self.depth - 1].expects_key => {
                    let (start, end) = self.string();
                    self.key(start + 1, end - 1);
                }
                b'{' | b'[' => self.open(byte == b'[', limits)?,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' => {
                    if let Some(frame) = self.depth.checked_sub(1).map(|top| &mut self.stack[top]) {
                        frame.expects_key = !frame.is_array;
                    }
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | b'\n' | b':' => self.at += 1,
                b'"' => {
                    let (start, end) = self.string();
                    self.value(start, end, limits)?;
                }
                _ => {
                    let start = self.at;
                    while self
                        .json
                        .get(self.at)
                        .is_some_and(|b| !matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n'))
                    {
                        self.at += 1;
                    }
                    let length = self.at - start;
                    if length > limits.digits_max && !byte.is_ascii_alphabetic() {
                        return Err(ScanError::TooManyDigits(limits.digits_max));
                    }
                    self.value(start, self.at, limits)?;
                }
            }
        }
        Ok(())
    }

    /// Steps over the string at the cursor; its bounds include the quotes.
    fn string(&mut self) -> (usize, usize) {
        let start = self.at;
        let mut at = start + 1;
        while let Some(found) = memchr::memchr2(b'"', b'\\', &self.json[at.min(self.json.len())..]) {
            at += found;
            if self.json[at] == b'"' {
                break;
            }
            at += 2;
        }
        self.at = (at + 1).min(self.json.len());
        (start, self.at)
    }

    fn key(&mut self, start: usize, end: usize) {
        let frame = &mut self.stack[self.depth - 1];
        frame.expects_key = false;
        self.pending = Pending::default();
        let Some(shape) = frame.shape else { return };
        let name = &self.json[start..end];
        match shape.find(name) {
            Some((at, member)) => {
                self.scan.canonical &= frame.seen & (1 << at) == 0 && !member.foreign;
                frame.seen |= 1 << at;
                self.pending = Pending { shape: member.shape, slot: member.slot, counts_parts: member.counts_parts };
            }
            None => self.scan.canonical &= !shape.resembles(name),
        }
    }

    fn open(&mut self, is_array: bool, limits: &JsonLimits) -> Result<(), ScanError> {
        let start = self.at;
        self.value(start, start + 1, limits)?;
        if self.depth >= limits.depth_max.min(DEPTH_MAX) {
            return Err(ScanError::TooDeep(limits.depth_max));
        }
        // The elements of an array have the shape that its member names.
        let Pending { shape, counts_parts, .. } = std::mem::take(&mut self.pending);
        self.stack[self.depth] = Frame { shape, seen: 0, is_array, counts_parts, expects_key: !is_array };
        self.depth += 1;
        self.at = start + 1;
        Ok(())
    }

    /// Counts a value and keeps it if somebody asked for it.
    fn value(&mut self, start: usize, end: usize, limits: &JsonLimits) -> Result<(), ScanError> {
        self.nodes += 1;
        if self.nodes > limits.nodes_max {
            return Err(ScanError::TooManyNodes(limits.nodes_max));
        }
        if let Some(Frame { is_array: true, counts_parts, shape, .. }) =
            self.depth.checked_sub(1).map(|top| self.stack[top])
        {
            self.parts += usize::from(counts_parts);
            if self.parts > limits.parts_max {
                return Err(ScanError::TooManyParts(limits.parts_max));
            }
            self.pending = Pending { shape, slot: None, counts_parts: false };
        }
        if let Some(slot) = self.pending.slot {
            let json = self.json;
            let known = self.scan.values[slot as usize].replace(&json[start..end]);
            self.scan.canonical &= known.is_none();
        }
        Ok(())
    }
}

mod peek;

#[cfg(test)]
mod tests;
