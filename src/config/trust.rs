//! Certificate authorities of an operator's own.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The authorities that TLS believes at one agent. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust(Arc<Vec<CertificateDer<'static>>>);

impl Hash for Trust {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|certificate| certificate.as_ref().hash(state));
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
        Ok(Self(Arc::new(found)))
    }

    /// As TLS takes them.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.0.iter().cloned());
        roots
    }
}
