//! Server-sent events: a reader for what agents send and a writer for what callers get.
//!
//! The reader takes every line end that the standard allows (LF, CRLF, CR), joins several `data:` lines with a
//! line feed, skips comments, and refuses an event that grows beyond its limit. An event whose data lies in one
//! chunk of the body is a slice of that chunk.

use bytes::{Bytes, BytesMut};

/// An event is larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub struct EventTooLarge(pub usize);

/// Splits a byte stream into events.
#[derive(Debug)]
pub struct SseReader {
    /// What came after the last complete line.
    buffer: BytesMut,
    /// How far the buffer was searched for a line end.
    searched: usize,
    /// The last line ended in CR, so a LF that follows belongs to it.
    after_cr: bool,
    at_start: bool,
    data: Option<Data>,
    event_bytes_max: usize,
}

/// The data of one event: usually one line.
#[derive(Debug)]
enum Data {
    One(Bytes),
    Many(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::One(line) => line.len(),
            Self::Many(lines) => lines.len(),
        }
    }
}

impl SseReader {
    pub fn new(event_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, after_cr: false, at_start: true, data: None, event_bytes_max }
    }

    /// Takes the next piece of the body. Call [`SseReader::next_data`] until it has nothing more.
    pub fn push(&mut self, piece: Bytes) {
        if self.buffer.is_empty() {
            // The usual case: no copy when the piece is ours alone.
            self.buffer = piece.try_into_mut().unwrap_or_else(|piece| BytesMut::from(&piece[..]));
        } else {
            self.buffer.extend_from_slice(&piece);
        }
    }

    /// The data of the next complete event in what was pushed. Names and ids of events carry nothing in A2A: that an
    /// event is an error stands in its data.
    ///
    /// # Errors
    /// [`EventTooLarge`]; the stream is of no use afterwards.
    pub fn next_data(&mut self) -> Result<Option<Bytes>, EventTooLarge> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                match self.data.take() {
                    Some(Data::One(line)) => return Ok(Some(line)),
                    Some(Data::Many(lines)) => return Ok(Some(lines.freeze())),
                    None => continue,
                }
            }
            // Counted as below, so that it does not matter in which pieces a line arrives.
            self.check_room_for(line.len())?;
            self.field(&line);
        }
        if self.buffer.is_empty() {
            // An empty buffer keeps the whole piece in memory from which it was cut, for as long as the stream is quiet.
            self.buffer = BytesMut::new();
        }
        self.check_room_for(self.buffer.len()).map(|()| None)
    }

    /// An event's data and the line that is being read may have `event_bytes_max` together.
    fn check_room_for(&self, line: usize) -> Result<(), EventTooLarge> {
        let pending = line + self.data.as_ref().map_or(0, Data::len);
        if pending > self.event_bytes_max { Err(EventTooLarge(self.event_bytes_max)) } else { Ok(()) }
    }

    /// What was left when the body ended without a blank line. The standard drops it; agents in use omit the
    /// last blank line, so it counts as an event.
    pub fn finish(&mut self) -> Result<Option<Bytes>, EventTooLarge> {
        self.push(Bytes::from_static(b"\n\n"));
        self.next_data()
    }

    fn line(&mut self) -> Option<Bytes> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer[0] == b'\n' {
                let _ = self.buffer.split_to(1);
            }
        }
        if self.at_start && self.buffer.len() >= 3 {
            self.at_start = false;
            if self.buffer.starts_with(b"\xEF\xBB\xBF") {
                let _ = self.buffer.split_to(3);
                self.searched = 0;
            }
        }
        let Some(found) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + found;
        self.searched = 0;
        self.at_start = false;
        self.after_cr = self.buffer[end] == b'\r';
        let line = self.buffer.split_to(end).freeze();
        let _ = self.buffer.split_to(1);
        Some(line)
    }

    fn field(&mut self, line: &Bytes) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let mut value = line.slice((colon + 1).min(line.len())..);
        if value.first() == Some(&b' ') {
            value = value.slice(1..);
        }
        if &line[..colon] == b"data" {
            self.data = Some(match self.data.take() {
                None => Data::One(value),
                Some(Data::One(first)) => {
                    let mut lines = BytesMut::with_capacity(first.len() + value.len() + 1);
                    lines.extend_from_slice(&first);
                    Data::Many(joined(lines, &value))
                }
                Some(Data::Many(lines)) => Data::Many(joined(lines, &value)),
            });
        }
    }
}

fn joined(mut lines: BytesMut, line: &[u8]) -> BytesMut {
    lines.extend_from_slice(b"\n");
    lines.extend_from_slice(line);
    lines
}

/// Writes one event whose data is given in pieces. Line ends between the tokens of forwarded JSON become spaces:
/// inside JSON strings there can be none.
pub fn write_event(name: Option<&str>, data: &[&[u8]]) -> Bytes {
    let length: usize = data.iter().map(|piece| piece.len()).sum();
    let mut out = BytesMut::with_capacity(length + 32);
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"data: ");
    let start = out.len();
    for piece in data {
        out.extend_from_slice(piece);
    }
    if memchr::memchr2(b'\n', b'\r', &out[start..]).is_some() {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    out.extend_from_slice(b"\n\n");
    out.freeze()
}

/// What keeps an idle stream open through proxies: a comment.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Vec<String> {
        let mut reader = SseReader::new(1_000);
        let mut events = Vec::new();
        let mut take = |data: Bytes| events.push(String::from_utf8(data.to_vec()).unwrap());
        for piece in pieces {
            reader.push(Bytes::copy_from_slice(piece.as_bytes()));
            while let Some(event) = reader.next_data().unwrap() {
                take(event);
            }
        }
        while let Some(event) = reader.finish().unwrap() {
            take(event);
        }
        events
    }

    #[test]
    fn reads_every_line_end_in_any_pieces() {
        for text in ["data: a\n\ndata:b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r"] {
            let whole = read(&[text]);
            assert_eq!(whole, ["a", "b"], "{text:?}");
            let bytes: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(read(&bytes.iter().map(String::as_str).collect::<Vec<_>>()), whole, "{text:?} by the byte");
        }
    }

    #[test]
    fn joins_data_lines_and_skips_comments_and_unknown_fields() {
        let events = read(&[": ping\n\nid: 7\nevent: error\ndata: {\ndata: }\nretry: 3\n\nevent: empty\n\ndata\n\n"]);
        assert_eq!(events, ["{\n}", ""]);
    }

    #[test]
    fn takes_a_last_event_without_its_blank_line() {
        assert_eq!(read(&["\u{feff}data: a\n\ndata: b"]), ["a", "b"]);
    }

    #[test]
    fn takes_a_byte_order_mark_in_any_pieces() {
        let stream = "\u{feff}data: a\n\n".as_bytes();
        for size in 1..stream.len() {
            let mut reader = SseReader::new(100);
            let mut events = Vec::new();
            for piece in stream.chunks(size) {
                reader.push(Bytes::copy_from_slice(piece));
                events.extend(reader.next_data().unwrap());
            }
            assert_eq!(events, ["a"], "in pieces of {size}");
        }
    }

    #[test]
    fn refuses_an_endless_line_and_endless_data() {
        let mut reader = SseReader::new(10);
        reader.push(Bytes::from_static(b"data: 12345678901"));
        assert_eq!(reader.next_data(), Err(EventTooLarge(10)));
        let mut reader = SseReader::new(10);
        reader.push(Bytes::from_static(b"data: 12345\ndata: 67890\ndata: 1\n"));
        assert_eq!(reader.next_data(), Err(EventTooLarge(10)));
    }

    #[test]
    fn writes_one_line_whatever_the_data() {
        assert_eq!(write_event(None, &[b"{\"a\":", b"1,\r\n\"b\":2}"]), "data: {\"a\":1,  \"b\":2}\n\n");
        assert_eq!(write_event(Some("error"), &[b"{}"]), "event: error\ndata: {}\n\n");
    }
}
