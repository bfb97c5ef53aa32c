//! gRPC-Web in text: the same frames in base64, in both directions.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::error::{Error, Kind};

pub(super) const BINARY: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");
const TEXT: HeaderValue = HeaderValue::from_static("application/grpc-web-text+proto");

/// The frames in a body of base64, which may be of several pieces, each with its own padding.
pub(super) fn decoded(text: &[u8]) -> Result<Bytes, Error> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut rest = text;
    while !rest.is_empty() {
        // A piece ends after the group with padding.
        let padding = memchr::memchr(b'=', rest).map_or(rest.len(), |at| (at / 4 + 1) * 4);
        let (piece, after) = rest.split_at(padding.min(rest.len()));
        let not_base64 = || Error::new(Kind::InvalidRequest, "the body is not base64, as gRPC-Web's text form is");
        STANDARD.decode_vec(piece, &mut out).map_err(|_| not_base64())?;
        rest = after;
    }
    Ok(out.into())
}

/// The response with its body in base64: each piece by itself, so that none waits for the next one.
pub(super) fn encoded(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    if head.headers.contains_key(CONTENT_TYPE) {
        head.headers.insert(CONTENT_TYPE, TEXT);
    }
    head.headers.remove(CONTENT_LENGTH);
    let pieces = body.into_data_stream().map(|piece| piece.map(|bytes| Bytes::from(STANDARD.encode(bytes))));
    Response::from_parts(head, Body::from_stream(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pieces_that_were_padded_by_themselves() {
        let text = format!("{}{}{}", STANDARD.encode("a"), STANDARD.encode("bc"), STANDARD.encode("def"));
        assert_eq!(decoded(text.as_bytes()).unwrap(), "abcdef");
        assert_eq!(decoded(b"").unwrap(), "");
        assert!(decoded(b"a").is_err() && decoded(b"====").is_err() && decoded(b"?!").is_err());
    }
}
