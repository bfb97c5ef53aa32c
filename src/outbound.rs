//! The one way out: the HTTP client, with its guard. It knows no A2A.
//!
//! An address is used only as a [`Destination`], and there are two ways to get one. What the operator wrote in the
//! configuration may be anywhere. What a card, an agent or a caller claims passes the guard: its names are resolved
//! and checked at every connection, so that a name cannot be public when checked and private when used.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::uri::Scheme;
use http::{HeaderMap, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{OutboundSettings, Trust};
use crate::wire::body::Pieces;

mod guard;
mod http1;
mod http2;
mod timed;

use guard::Guard;
use http1::{DrivenBody, Pool};
pub use http2::Http2Body;
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
    /// Whom TLS believes there; none for the system's authorities.
    trust: Option<Trust>,
    /// To connect, where it is not as long as everywhere.
    connect_timeout: Option<Duration>,
}

impl Destination {
    /// An address from the operator's configuration: wherever it is.
    ///
    /// # Errors
    /// Forbidden for what is a URL and no URI; the configuration refuses such.
    pub fn registered(url: &Url) -> Result<Self, OutboundError> {
        Ok(Self { uri: to_uri(url)?, guarded: false, trust: None, connect_timeout: None })
    }

    /// The same address, which passes the guard if somebody wrote it over the API and not into the configuration.
    #[must_use]
    pub fn guarded_if(mut self, is_guarded: bool) -> Self {
        self.guarded |= is_guarded;
        self
    }

    /// The same address, where TLS believes these authorities instead of the system's.
    #[must_use]
    pub fn trusting(mut self, trust: Option<Trust>) -> Self {
        self.trust = trust;
        self
    }

    /// The same address, with a time to connect of its own.
    #[must_use]
    pub fn connecting_within(mut self, limit: Option<Duration>) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The address `path_and_query` below this one, which keeps its own path. None when it is too long for a URI.
    pub fn below(&self, path_and_query: &str) -> Option<Self> {
        let mut parts = self.uri.clone().into_parts();
        let mut whole = format!("{}{path_and_query}", self.uri.path().trim_end_matches('/'));
        if let Some(query) = self.uri.query() {
            whole.push(if path_and_query.contains('?') { '&' } else { '?' });
            whole += query;
        }
        parts.path_and_query = Some(whole.parse().ok()?);
        Some(Self { uri: Uri::from_parts(parts).ok()?, ..self.clone() })
    }

    /// Scheme, host, port, and a path without a slash at its end.
    pub fn origin(&self) -> Uri {
        let mut parts = self.uri.clone().into_parts();
        let path = self.uri.path().trim_end_matches('/');
        parts.path_and_query = Some(if path.is_empty() { "/" } else { path }.parse().expect("a part of a path"));
        Uri::from_parts(parts).expect("as whole as before")
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Another address at the same scheme, host and port, with the same rights.
    pub fn at(&self, url: &Url) -> Option<Self> {
        let uri = to_uri(url).ok().filter(|_| url.username().is_empty() && url.password().is_none())?;
        same_origin(&self.uri, &uri).then(|| Self { uri, ..self.clone() })
    }

    /// Where an answer from here redirects to by its `Location`, which may be relative; none outside this origin.
    pub fn redirected(&self, headers: &HeaderMap) -> Option<Self> {
        let location = headers.get(LOCATION)?.to_str().ok()?;
        let base = Url::parse(&self.uri.to_string()).ok()?;
        self.at(&base.join(location).ok()?)
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
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutboundError {
    /// No connection: nothing was sent.
    #[error("cannot connect")]
    Connect(#[source] Arc<BoxError>),
    /// The connection broke: the request may have arrived.
    #[error("the connection broke")]
    Broken(#[source] Arc<BoxError>),
    #[error("the address is not allowed: {0}")]
    Forbidden(String),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn unconnected(error: impl Into<BoxError>) -> OutboundError {
    OutboundError::Connect(Arc::new(error.into()))
}

fn broken(error: impl Into<BoxError>) -> OutboundError {
    OutboundError::Broken(Arc::new(error.into()))
}

/// The way over TLS, where the peer chooses between HTTP/1.1 and 2.
type TlsClient = Client<Timed<HttpsConnector<HttpConnector<Guard>>>, Pieces>;

/// The HTTP client, shared by everything that leaves this process.
pub struct Outbound {
    settings: OutboundSettings,
    connect_timeout: Duration,
    open: Ways,
    guarded: Ways,
}

/// The ways to addresses under one guard, made when they are first needed.
struct Ways {
    guard: Guard,
    plain: OnceLock<Arc<Pool>>,
    /// By whom they trust, and how long they wait to connect.
    secured: Mutex<HashMap<Believed, Arc<Secured>>>,
}

/// Whom TLS believes, and how long a connection may take.
type Believed = (Option<Trust>, Duration);

/// The ways over connections whose TLS, where there is any, believes the same authorities.
struct Secured {
    http: TlsClient,
    http2: http2::Pool,
}

impl Ways {
    fn new(guard: Guard) -> Self {
        Self { guard, plain: OnceLock::new(), secured: Mutex::default() }
    }
}

impl Outbound {
    /// A client that allows claimed addresses as `settings` say, and waits `connect_timeout` for a connection.
    pub fn new(settings: OutboundSettings, connect_timeout: Duration) -> Self {
        let guarded = Ways::new(Guard::new(settings.allow.clone()));
        Self { settings, connect_timeout, open: Ways::new(Guard::open()), guarded }
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
        if literal.is_some_and(|address| !self.guarded.guard.allows(address)) {
            return Err(private());
        }
        Ok(Destination { uri: to_uri(url)?, guarded: true, trust: None, connect_timeout: None })
    }

    /// Sends `request`, whose URI is set from `to`, and returns when the headers of the answer are there. No
    /// redirect is followed, no proxy of the environment is used.
    ///
    /// # Errors
    /// As [`OutboundError`] says; an idle connection that turns out to be closed is replaced without an error.
    pub async fn send(
        &self,
        to: &Destination,
        mut request: Request<Pieces>,
    ) -> Result<Response<ReplyBody>, OutboundError> {
        let ways = self.ways(to)?;
        if to.uri.scheme() == Some(&Scheme::HTTP) {
            let pool = ways
                .plain
                .get_or_init(|| Pool::new(tcp_connector(ways.guard.clone()), self.settings.idle_connections_max));
            let limit = to.connect_timeout.unwrap_or(self.connect_timeout);
            return Ok(pool.send(&to.uri, limit, request).await?.map(ReplyBody::Plain));
        }
        *request.uri_mut() = to.uri.clone();
        let response = self.secured(ways, to).http.request(request).await;
        let response = response.map_err(|error| if error.is_connect() { unconnected(error) } else { broken(error) })?;
        Ok(response.map(ReplyBody::Tls))
    }

    /// Sends a request over HTTP/2: without TLS by prior knowledge. Its path is the request's own.
    ///
    /// # Errors
    /// As [`OutboundError`] says.
    pub async fn send_http2(
        &self,
        to: &Destination,
        request: Request<tonic::body::Body>,
    ) -> Result<Response<Http2Body>, OutboundError> {
        let ways = self.ways(to)?;
        self.secured(ways, to).http2.send(&to.uri, request).await
    }

    /// Closes connections that lie idle, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        while tokio::time::timeout(IDLE_CONNECTION / 5, stop.cancelled()).await.is_err() {
            for ways in [&self.open, &self.guarded] {
                if let Some(pool) = ways.plain.get() {
                    pool.close_aged();
                }
                for secured in ways.secured.lock().expect("no code panics while holding this").values() {
                    secured.http2.close_aged(IDLE_CONNECTION);
                }
            }
        }
    }

    /// The ways to an address. A literal one is checked here, for no name is resolved on the way to it.
    fn ways(&self, to: &Destination) -> Result<&Ways, OutboundError> {
        if !to.guarded {
            return Ok(&self.open);
        }
        let host = to.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        match host.parse::<IpAddr>() {
            Ok(address) if !self.guarded.guard.allows(address) => Err(private()),
            _ => Ok(&self.guarded),
        }
    }

    fn secured(&self, ways: &Ways, to: &Destination) -> Arc<Secured> {
        let known = || ways.secured.lock().expect("no code panics while holding this");
        let limit = to.connect_timeout.map_or(self.connect_timeout, rounded);
        let key = (to.trust.clone(), limit);
        if let Some(secured) = known().get(&key) {
            return Arc::clone(secured);
        }
        // Made without the lock, for it may read the system's certificates; whoever is first wins.
        let tls = tls_config(to.trust.as_ref());
        let either = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_only()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp_connector(ways.guard.clone()));
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(self.settings.idle_connections_max)
            .pool_timer(TokioTimer::new())
            .http2_keep_alive_interval(TCP_KEEP_ALIVE)
            .timer(TokioTimer::new())
            .build(Timed { connector: either, limit });
        let only_http2 = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http2()
            .wrap_connector(tcp_connector(ways.guard.clone()));
        let secured = Arc::new(Secured { http, http2: http2::Pool::new(only_http2, limit) });
        Arc::clone(known().entry(key).or_insert(secured))
    }
}

/// The next of a few, for each of them has connections of its own.
fn rounded(limit: Duration) -> Duration {
    let steps = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000].map(Duration::from_millis);
    steps.into_iter().find(|step| limit <= *step).unwrap_or(steps[8])
}

fn private() -> OutboundError {
    OutboundError::Forbidden("it is private: allow its network with outbound.allow".to_owned())
}

fn tcp_connector(guard: Guard) -> HttpConnector<Guard> {
    let mut tcp = HttpConnector::new_with_resolver(guard);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_KEEP_ALIVE));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(2 * TCP_KEEP_ALIVE));
    tcp
}

fn system_roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        tracing::warn!(
            "the system has no certificate authorities, so https agents are verified by their ca_file only: install ca-certificates"
        );
    }
    roots
}

/// TLS that believes `trust`, or the system's certificate authorities. A system without any can still call plain http.
fn tls_config(trust: Option<&Trust>) -> rustls::ClientConfig {
    let roots = trust.map_or_else(system_roots, Trust::roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The body of an answer. Dropping it hangs up.
pub enum ReplyBody {
    Plain(DrivenBody),
    Tls(Incoming),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Plain(body) => Pin::new(body).poll_frame(cx),
            Self::Tls(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Tls(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Tls(body) => body.size_hint(),
        }
    }
}
