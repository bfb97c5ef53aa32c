//! Our own TLS: certificates that may change while connections are open.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::config::{TlsFiles, TlsSettings};

/// What connections may speak once they are secured.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub(super) struct Tls {
    settings: TlsSettings,
    config: ArcSwap<ServerConfig>,
    /// What the files held at the start.
    first: TlsFiles,
}

impl Tls {
    /// # Errors
    /// The files changed since the configuration was checked, and are of no use now.
    pub(super) fn new(settings: &TlsSettings) -> io::Result<Self> {
        let files = settings.read().map_err(|(key, problem)| invalid(format!("tls.{key} {problem}")))?;
        Ok(Self { settings: settings.clone(), config: ArcSwap::from(config(&files)?), first: files })
    }

    /// Secures a connection. The caller bounds how long that may take.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config.load_full()).accept(stream).await
    }

    /// Looks at the files until `stop`; new connections get what is in them. Files that are of no use, such as half a
    /// certificate while it is being written, change nothing.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut known = described(&self.first);
        let mut complained = None;
        while timeout(self.settings.reload, stop.cancelled()).await.is_err() {
            let settings = self.settings.clone();
            let read = tokio::task::spawn_blocking(move || settings.read()).await;
            match read.unwrap_or_else(|error| Err(("cert_file", error.to_string()))) {
                Ok(files) if known != described(&files) => {
                    known = described(&files);
                    complained = None;
                    match config(&files) {
                        Ok(config) => {
                            self.config.store(config);
                            tracing::info!("the certificate was read again; new connections use it");
                        }
                        Err(error) => tracing::warn!(%error, "the new certificate is of no use; the one before stays"),
                    }
                }
                Ok(_) => {}
                Err(problem) => {
                    if complained.as_ref() != Some(&problem) {
                        tracing::warn!(
                            key = problem.0,
                            problem = problem.1,
                            "the certificate files are of no use; the one before stays"
                        );
                    }
                    complained = Some(problem);
                }
            }
        }
    }
}

/// What makes one reading of the files differ from another.
fn described(files: &TlsFiles) -> (Vec<rustls::pki_types::CertificateDer<'static>>, Option<crate::config::Trust>) {
    (files.certified.cert.clone(), files.client_ca.clone())
}

fn config(files: &TlsFiles) -> io::Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(trust) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trust.roots()), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| invalid(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(resolver(&files.certified));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

fn resolver(certified: &Arc<CertifiedKey>) -> Arc<dyn ResolvesServerCert> {
    Arc::new(SingleCertAndKey::from(Arc::clone(certified)))
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}
