//! Values that must not be seen.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use sha2::{Digest as _, Sha256};

/// A secret text. Its `Debug` prints nothing of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for comparing and for sending, never for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// An encryption key: 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey([u8; 32]);

impl EncryptionKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 32 bytes as 64 hex digits or as base64.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let of_base64 = || BASE64.decode(text.trim_end_matches('=')).ok()?.try_into().ok();
        from_hex(text).or_else(of_base64).map(Self)
    }

    /// In the form that [`EncryptionKey::parse`] reads.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Tells keys apart without telling anything of them.
    pub fn id(&self) -> String {
        hex(&Sha256::digest(self.0)[..4])
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", self.id())
    }
}

/// Bytes in hex, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes from hex digits of either case.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let is_hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok());
    digits.collect::<Option<Vec<u8>>>().filter(|_| is_hex)?.try_into().ok()
}

/// SHA-256 of a key's value in hex: all of it that is kept.
pub fn key_hash(value: &str) -> String {
    hex(&Sha256::digest(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keys_in_hex_and_base64_and_never_shows_them() {
        assert_eq!(EncryptionKey::parse(&BASE64.encode([17; 32])), EncryptionKey::parse(&"11".repeat(32)));
        assert_eq!(EncryptionKey::parse("too short"), None);
        assert!(!format!("{:?}", EncryptionKey::new([7; 32])).contains("0707"));
    }
}
