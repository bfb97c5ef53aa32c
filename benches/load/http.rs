//! The least HTTP/1.1 client that can be timed: one connection, one request at a time, nothing in between.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use memchr::memmem;
use switchboard::clock::Clock;
use tokio::time::Instant;

use crate::Outcome;

const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that is kept open.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What was answered; valid until the next request.
pub struct Answer<'a> {
    pub status: u16,
    /// With the chunks' framing, if it came in chunks.
    pub body: &'a [u8],
    /// When the first server-sent event was there.
    pub first_event: Option<Instant>,
    pub complete: Instant,
}

impl Connection {
    /// Connects to a port of this machine.
    pub fn open(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a whole request and reads the whole answer.
    pub fn ask(&mut self, request: &[u8]) -> Outcome<Answer<'_>> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        let mut first_event = None;
        let (start, end) = loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            if read == 0 {
                return Err("the connection was closed in the middle of an answer".into());
            }
            filled += read;
            let received = &self.buffer[..filled];
            if first_event.is_none() && memmem::find(received, b"data:").is_some_and(|at| has_end(&received[at..])) {
                first_event = Some(Clock.instant());
            }
            if let Some(extent) = extent(received)? {
                break extent;
            }
        };
        let complete = Clock.instant();
        let status = status(&self.buffer[..start])?;
        Ok(Answer { status, body: &self.buffer[start..end], first_event, complete })
    }
}

/// An event ends with an empty line.
fn has_end(event: &[u8]) -> bool {
    memmem::find(event, b"\n\n").is_some() || memmem::find(event, b"\r\n\r\n").is_some()
}

/// Where the body begins and ends, once all of it is there.
fn extent(received: &[u8]) -> Outcome<Option<(usize, usize)>> {
    let Some(head) = memmem::find(received, b"\r\n\r\n") else { return Ok(None) };
    let start = head + 4;
    let headers = std::str::from_utf8(&received[..head])?;
    let named = |wanted: &str| {
        let mut fields = headers.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let end = match named("content-length") {
        Some(length) => start + length.parse::<usize>()?,
        None if named("transfer-encoding") == Some("chunked") => {
            // The last chunk is empty, and there is nothing behind it before the next request.
            let is_over = received[start..].ends_with(b"\r\n0\r\n\r\n");
            return Ok(is_over.then_some((start, received.len())));
        }
        None => return Err("an answer that states no length".into()),
    };
    Ok((received.len() >= end).then_some((start, end)))
}

fn status(head: &[u8]) -> Outcome<u16> {
    let line = std::str::from_utf8(head)?;
    Ok(line.split(' ').nth(1).ok_or("an answer without a status")?.parse()?)
}
