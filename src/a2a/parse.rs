//! Reading JSON.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem;

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

/// As [`json`], and on failure says where: the path is only tracked in a second pass.
///
/// # Errors
/// The path of the member, and what is wrong with it in words that repeat nothing of the input; None when the value is
/// right, and followed by something else.
pub fn located<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, (String, Option<String>)> {
    json(bytes).map_err(|_| {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Ok(_) => (String::new(), None),
            Err(error) => (error.path().to_string(), Some(problem::of(error.inner()))),
        }
    })
}
