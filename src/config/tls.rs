//! The files of our own TLS: read when the configuration is checked, and again when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Trust;

/// Where certificate and key are, and who vouches for callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// Callers may present a certificate of these authorities; one of others is refused.
    pub client_ca_file: Option<PathBuf>,
    /// How often the files are looked at.
    pub reload: Duration,
}

/// What the files hold.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certified: Arc<CertifiedKey>,
    pub client_ca: Option<Trust>,
}

impl TlsSettings {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong, under the key that names the file.
    pub fn read(&self) -> Result<TlsFiles, (&'static str, String)> {
        let read = |key: &'static str, path: &PathBuf| {
            std::fs::read(path).map_err(|error| (key, format!("{} cannot be read: {error}", path.display())))
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read("cert_file", &self.cert_file)?).collect();
        let chain = chain.map_err(|error| ("cert_file", format!("is no PEM: {error}")))?;
        if chain.is_empty() {
            return Err(("cert_file", "holds no certificate".to_owned()));
        }
        // The error could repeat a piece of the key.
        let key = PrivateKeyDer::from_pem_slice(&read("key_file", &self.key_file)?)
            .map_err(|_| ("key_file", "holds no private key in PEM".to_owned()))?;
        let certified = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
            .map_err(|error| ("key_file", format!("does not fit the certificate: {error}")))?;
        let client_ca = match &self.client_ca_file {
            None => None,
            Some(path) => {
                let pem = read("client_ca_file", path)?;
                Some(Trust::parse(&pem).map_err(|error| ("client_ca_file", error.to_string()))?)
            }
        };
        Ok(TlsFiles { certified: Arc::new(certified), client_ca })
    }
}
