//! The one way out: the HTTP client, with its guard. It knows no A2A.
//!
//! An address is used only as a [`Destination`], and there are two ways to get one. What the operator wrote in the
//! configuration may be anywhere. What a card, an agent or a caller claims passes the guard: its names are resolved
//! and checked at every connection, so that a name cannot be public when checked and private when used.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use crate::config::OutboundSettings;
use crate::wire::body::Pieces;

mod guard;
mod timed;

use guard::Guard;
use timed::Timed;

/// Idle connections are closed before usual servers close them.
const IDLE_CONNECTION: Duration = Duration::from_secs(50);
/// Finds dead peers under idle streams.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);

/// An address that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    uri: Uri,
    guarded: bool,
}

impl Destination {
    /// An address from the operator's configuration: wherever it is.
    ///
    /// # Errors
    /// Forbidden for what is a URL and no URI; the configuration refuses such.
    pub fn registered(url: &Url) -> Result<Self, OutboundError> {
        Ok(Self { uri: to_uri(url)?, guarded: false })
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Another address at the same scheme, host and port, with the same rights.
    pub fn at(&self, url: &Url) -> Option<Self> {
        let uri = to_uri(url).ok()?;
        same_origin(&self.uri, &uri).then_some(Self { uri, guarded: self.guarded })
    }
}

/// A URL may hold what a URI may not, and be longer: cards and redirects are written by others.
fn to_uri(url: &Url) -> Result<Uri, OutboundError> {
    url.as_str().parse().map_err(|_| OutboundError::Forbidden("it is no URI that can be called".to_owned()))
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    a.scheme() == b.scheme() && a.host() == b.host() && port(a) == port(b)
}

/// Why a request could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No connection: nothing was sent.
    #[error("cannot connect")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// The connection broke: the request may have arrived.
    #[error("the connection broke")]
    Broken(#[source] hyper_util::client::legacy::Error),
    #[error("the address is not allowed: {0}")]
    Forbidden(String),
}

type HyperClient = Client<Timed<HttpsConnector<HttpConnector<Guard>>>, Pieces>;

/// The HTTP client, shared by everything that leaves this process.
pub struct Outbound {
    settings: OutboundSettings,
    connect_timeout: Duration,
    open: OnceLock<HyperClient>,
    guarded: OnceLock<HyperClient>,
}

impl Outbound {
    /// A client that allows claimed addresses as `settings` say, and waits `connect_timeout` for a connection.
    pub fn new(settings: OutboundSettings, connect_timeout: Duration) -> Self {
        Self { settings, connect_timeout, open: OnceLock::new(), guarded: OnceLock::new() }
    }

    /// An address that somebody claims. Its literal address is checked here, its name at every connection.
    ///
    /// # Errors
    /// Forbidden for anything but http and https, for credentials in the URL, and for private addresses that the
    /// operator did not allow.
    pub fn claimed(&self, url: &Url) -> Result<Destination, OutboundError> {
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundError::Forbidden("it is no plain http or https URL".to_owned()));
        }
        let literal = match url.host() {
            Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(url::Host::Domain(_)) => None,
            None => return Err(OutboundError::Forbidden("it has no host".to_owned())),
        };
        if literal.is_some_and(|address| !self.guard().allows(address)) {
            return Err(OutboundError::Forbidden("it is private: allow its network with outbound.allow".to_owned()));
        }
        Ok(Destination { uri: to_uri(url)?, guarded: true })
    }

    /// Sends `request`, whose URI is set from `to`, and returns when the headers of the answer are there. No
    /// redirect is followed, no proxy of the environment is used.
    ///
    /// # Errors
    /// As [`OutboundError`] says; a pooled connection that turns out to be closed is replaced without an error.
    pub async fn send(
        &self,
        to: &Destination,
        mut request: Request<Pieces>,
    ) -> Result<Response<Incoming>, OutboundError> {
        *request.uri_mut() = to.uri.clone();
        let client = if to.guarded {
            self.guarded.get_or_init(|| self.client(self.guard()))
        } else {
            self.open.get_or_init(|| self.client(Guard::open()))
        };
        client.request(request).await.map_err(|error| {
            if error.is_connect() { OutboundError::Connect(error) } else { OutboundError::Broken(error) }
        })
    }

    fn guard(&self) -> Guard {
        Guard::new(self.settings.allow.clone())
    }

    fn client(&self, guard: Guard) -> HyperClient {
        let mut tcp = HttpConnector::new_with_resolver(guard);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEP_ALIVE));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(2 * TCP_KEEP_ALIVE));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(self.settings.idle_connections_max)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(Timed { connector: tls, limit: self.connect_timeout })
    }
}

/// TLS with the system's certificate authorities. A system without any can still call plain http.
fn tls_config() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(
            "the system has no certificate authorities, so no https agent can be verified: install ca-certificates"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
