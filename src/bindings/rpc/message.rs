//! The one message of a request: out of its frame, and out of gzip.
//!
//! The libraries could do both, but know nothing of the memory for bodies; and what they hand over would be a copy.

use std::io::Read as _;

use bytes::{Buf as _, Bytes};
use flate2::bufread::GzDecoder;
use http::HeaderMap;

use super::Protocol;
use crate::call::Arrival;
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::wire::body::{self, BodyError};

/// A request's message.
pub(super) enum Message {
    Whole(Bytes),
    /// Compressed in a way that nobody here knows: the library says so in its protocol's words.
    Foreign,
}

const COMPRESSED: u8 = 1;

/// Takes the message out of a whole body.
///
/// # Errors
/// InvalidRequest for what is not framed as the protocol defines it, RequestTooLarge, Overloaded.
pub(super) async fn read(
    gateway: &Gateway,
    arrival: &Arrival,
    protocol: Protocol,
    framing: &HeaderMap,
    body: Bytes,
) -> Result<Message, Error> {
    let header = match protocol {
        Protocol::Connect => "content-encoding",
        Protocol::ConnectStream => "connect-content-encoding",
        _ => "grpc-encoding",
    };
    let encoding = framing.get(header).map_or(Ok("identity"), |encoding| encoding.to_str());
    let encoding = encoding.map_err(|_| invalid(&format!("the header {header} is not as HTTP defines it")))?;
    let (is_compressed, message) = match protocol {
        Protocol::Connect => (encoding != "identity" && !body.is_empty(), body),
        _ => unframed(body)?,
    };
    match (is_compressed, encoding) {
        (false, _) => Ok(Message::Whole(message)),
        (true, "gzip") => unzipped(gateway, arrival, message).await.map(Message::Whole),
        (true, "identity") => Err(invalid("a message is marked as compressed, and the head does not say how")),
        (true, _) => Ok(Message::Foreign),
    }
}

/// The message of a body that must hold one, and whether it is compressed.
fn unframed(mut body: Bytes) -> Result<(bool, Bytes), Error> {
    if body.is_empty() {
        return Err(invalid("the request has no message"));
    }
    if body.len() < 5 {
        return Err(invalid("the request ends inside the frame of its message"));
    }
    let (flags, length) = (body.get_u8(), body.get_u32() as usize);
    if flags > COMPRESSED {
        return Err(invalid("the frame of the message has flags that its protocol does not define"));
    }
    match body.len() {
        found if found < length => Err(invalid("the request ends inside its message")),
        found if found > length => Err(invalid("the method takes one message, and the request has more")),
        _ => Ok((flags == COMPRESSED, body)),
    }
}

fn invalid(message: &str) -> Error {
    Error::new(Kind::InvalidRequest, message)
}

/// Decompresses piece by piece, with a share of the memory for bodies and within their limit.
async fn unzipped(gateway: &Gateway, arrival: &Arrival, compressed: Bytes) -> Result<Bytes, Error> {
    let limit = arrival.settings.limits.body_bytes_max;
    let mut decoder = GzDecoder::new(compressed.reader());
    let unzipped = body::gather(limit, &gateway.budget, move |piece| decoder.read(piece)).await;
    unzipped.map_err(|error| match &error {
        BodyError::TooLarge(limit) => Error::new(
            Kind::RequestTooLarge,
            format!("the message is larger than {limit} bytes, the limit here, once it is decompressed"),
        ),
        BodyError::NoBudget => Error::new(Kind::Overloaded, "no memory is left for another body: try again")
            .retry_after_is(std::time::Duration::from_secs(1)),
        _ => invalid("the message is not gzip, as the head says").because(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_whole_frame() {
        let frame = |flags: u8, length: u8, body: &[u8]| {
            unframed(Bytes::from([&[flags, 0, 0, 0, length], body].concat())).map(|(zip, body)| (zip, body.to_vec()))
        };
        assert_eq!(frame(0, 2, b"ab").unwrap(), (false, b"ab".to_vec()));
        assert_eq!(frame(1, 0, b"").unwrap(), (true, Vec::new()));
        for (flags, length, body) in [(2, 1, &b"a"[..]), (128, 0, b""), (0, 2, b"a"), (0, 1, b"ab")] {
            assert_eq!(frame(flags, length, body).unwrap_err().kind(), Kind::InvalidRequest, "{flags} {length}");
        }
        assert!(unframed(Bytes::new()).is_err() && unframed(Bytes::from_static(b"\0\0\0\0")).is_err());
    }
}
