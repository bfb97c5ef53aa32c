//! Certificate authorities of an operator's own.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// The authorities that TLS believes at one agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trust {
    certificates: Arc<Vec<CertificateDer<'static>>>,
    /// Of all of them: what tells one trust from another, cheaply and on every call.
    digest: [u8; 32],
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Trust {}

impl Hash for Trust {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// Why a PEM text is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("is no PEM: {0}")]
    Pem(String),
    #[error("holds no certificate")]
    Empty,
    #[error("holds a certificate that is none of an authority: {0}")]
    NoAuthority(rustls::Error),
}

impl Trust {
    /// The authorities in a PEM text.
    ///
    /// # Errors
    /// As [`TrustError`] says.
    pub fn parse(pem: &[u8]) -> Result<Self, TrustError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|error| TrustError::Pem(error.to_string()))?;
        if found.is_empty() {
            return Err(TrustError::Empty);
        }
        let mut roots = RootCertStore::empty();
        for certificate in &found {
            roots.add(certificate.clone()).map_err(TrustError::NoAuthority)?;
        }
        let mut digest = Sha256::new();
        for certificate in &found {
            digest.update(certificate.len().to_be_bytes());
            digest.update(certificate);
        }
        Ok(Self { certificates: Arc::new(found), digest: digest.finalize().into() })
    }

    /// As TLS takes them.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates.iter().cloned());
        roots
    }
}
