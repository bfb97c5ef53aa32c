//! Reading JSON.

use serde::Deserialize;

/// Reads JSON whose UTF-8 is checked once, and not text by text.
///
/// # Errors
/// Those of the parser.
pub fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        // The parser says where it is wrong.
        Err(_) => serde_json::from_slice(bytes),
    }
}
