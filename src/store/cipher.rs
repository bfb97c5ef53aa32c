//! Secrets at rest: XChaCha20-Poly1305, each bound to the row and column it stands in, so that whoever can write to the
//! database can neither read one nor move it to another row.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::clock::Clock;
use crate::config::EncryptionKey;

const NONCE_BYTES: usize = 24;
/// What a sealed text begins with.
const FORMAT: &str = "1";

/// Where a secret stands: it can be opened nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub table: &'a str,
    pub column: &'a str,
    pub row: &'a str,
}

impl Place<'_> {
    /// With lengths, so that no two places read alike.
    fn bytes(self) -> Vec<u8> {
        let parts = [self.table, self.column, self.row];
        parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat()).collect()
    }
}

/// Why a sealed text could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("was sealed under the encryption key {0}, which is not configured: add it to encryption_keys_former")]
    UnknownKey(String),
    #[error("was altered, or moved from another row")]
    Altered,
    #[error("is not as this release writes it")]
    Malformed,
}

/// Seals under the current key, and opens under any that is configured.
#[derive(Debug)]
pub struct Cipher {
    current: EncryptionKey,
    former: Vec<EncryptionKey>,
    clock: Clock,
}

impl Cipher {
    pub fn new(current: EncryptionKey, former: Vec<EncryptionKey>, clock: Clock) -> Self {
        Self { current, former, clock }
    }

    /// Encrypts `secret` for `place`.
    pub fn seal(&self, place: Place<'_>, secret: &str) -> String {
        let nonce: [u8; NONCE_BYTES] = self.clock.random();
        let payload = Payload { msg: secret.as_bytes(), aad: &place.bytes() };
        let sealed = XChaCha20Poly1305::new(&self.current.bytes().into()).encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("texts are shorter than the cipher's limit of 256 GiB");
        format!("{FORMAT}.{}.{}", self.current.id(), BASE64.encode([&nonce[..], &sealed].concat()))
    }

    /// Decrypts what was sealed for `place`.
    ///
    /// # Errors
    /// As [`SealError`] says; nothing of the secret is in it.
    pub fn open(&self, place: Place<'_>, sealed: &str) -> Result<String, SealError> {
        let (id, bytes) = parts(sealed)?;
        let key = [&self.current].into_iter().chain(&self.former).find(|key| key.id() == id);
        let key = key.ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Malformed)?;
        let payload = Payload { msg: sealed, aad: &place.bytes() };
        let opened = XChaCha20Poly1305::new(&key.bytes().into()).decrypt(&XNonce::from(*nonce), payload);
        String::from_utf8(opened.map_err(|_| SealError::Altered)?).map_err(|_| SealError::Malformed)
    }

    /// Where a list goes on: the end of a page, sealed for this method and list, in letters that stand in a query as they
    /// are.
    pub fn page_token(&self, method: &str, list: &str, end: &str) -> String {
        let place = Place { table: "page_token", column: method, row: list };
        self.seal(place, end).replace('+', "-").replace('/', "_")
    }

    /// The end of the page that a token was made of; none for a token of another list.
    pub fn page_end(&self, method: &str, list: &str, token: &str) -> Option<String> {
        let place = Place { table: "page_token", column: method, row: list };
        self.open(place, &token.replace('-', "+").replace('_', "/")).ok()
    }

    /// Whether this was sealed under the key that is current.
    pub fn is_current(&self, sealed: &str) -> bool {
        parts(sealed).is_ok_and(|(id, _)| id == self.current.id())
    }
}

fn parts(sealed: &str) -> Result<(&str, Vec<u8>), SealError> {
    let mut parts = sealed.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(FORMAT), Some(id), Some(text), None) => {
            BASE64.decode(text).map(|bytes| (id, bytes)).map_err(|_| SealError::Malformed)
        }
        _ => Err(SealError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { table: "agents", column: "sealed", row: "agt_1" };

    fn key(digit: char) -> EncryptionKey {
        EncryptionKey::parse(&digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn opens_a_secret_only_where_it_was_sealed_and_unaltered() {
        let cipher = Cipher::new(key('1'), Vec::new(), Clock);
        let sealed = cipher.seal(PLACE, "Bearer s3cret");
        assert!(!sealed.contains("s3cret") && sealed != cipher.seal(PLACE, "Bearer s3cret"));
        assert_eq!(cipher.open(PLACE, &sealed).unwrap(), "Bearer s3cret");
        for elsewhere in [
            Place { row: "agt_2", ..PLACE },
            Place { column: "doc", ..PLACE },
            Place { table: "keys", ..PLACE },
            Place { column: "sealeda", row: "gt_1", ..PLACE },
        ] {
            assert_eq!(cipher.open(elsewhere, &sealed), Err(SealError::Altered), "{elsewhere:?}");
        }
        let altered = format!("{}{}", &sealed[..sealed.len() - 1], if sealed.ends_with('A') { 'B' } else { 'A' });
        assert!(cipher.open(PLACE, &altered).is_err());
        for malformed in ["", "1", "2.x.y", "1.00000000.", "1.a.b.c"] {
            assert!(cipher.open(PLACE, malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn opens_what_a_former_key_sealed_and_seals_under_the_current_one() {
        let old = Cipher::new(key('1'), Vec::new(), Clock).seal(PLACE, "x");
        let rotated = Cipher::new(key('2'), vec![key('1')], Clock);
        assert_eq!(rotated.open(PLACE, &old).unwrap(), "x");
        assert!(!rotated.is_current(&old) && rotated.is_current(&rotated.seal(PLACE, "x")));
        let without = Cipher::new(key('2'), Vec::new(), Clock);
        assert!(matches!(without.open(PLACE, &old), Err(SealError::UnknownKey(_))));
    }
}
