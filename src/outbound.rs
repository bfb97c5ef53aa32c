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
use http::uri::Scheme;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{OutboundSettings, Trust};
use crate::wire::body::Pieces;

mod destination;
mod guard;
mod http1;
mod http2;
mod timed;

pub use destination::Destination;
use destination::{NamedBy, to_uri};
use guard::Guard;
use http1::{DrivenBody, Pool};
pub use http2::Http2Body;
use timed::Timed;

/// Idle connections are closed before usual servers close them.
const IDLE_CONNECTION: Duration = Duration::from_secs(50);
/// How the gateway names itself in `User-Agent`.
pub const OUR_NAME: HeaderValue = HeaderValue::from_static(concat!("switchboard/", env!("CARGO_PKG_VERSION")));
/// Finds dead peers under idle streams.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);

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
    claimed: Ways,
    webhooks: Ways,
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
    /// A client that allows claimed addresses as `settings` say, webhooks in the networks `webhooks`, and waits
    /// `connect_timeout` for a connection.
    pub fn new(settings: OutboundSettings, webhooks: Vec<IpNet>, connect_timeout: Duration) -> Self {
        let claimed = Ways::new(Guard::new(settings.allow.clone()));
        let webhooks = Ways::new(Guard::new(webhooks));
        Self { settings, connect_timeout, open: Ways::new(Guard::open()), claimed, webhooks }
    }

    /// An address that somebody claims. Its literal address is checked here, its name at every connection.
    ///
    /// # Errors
    /// Forbidden for anything but http and https, for credentials in the URL, and for private addresses that the
    /// operator did not allow.
    pub fn claimed(&self, url: &Url) -> Result<Destination, OutboundError> {
        self.checked(url, NamedBy::Claim)
    }

    /// An address to which a caller wants to be notified. It is checked as [`Outbound::claimed`] does.
    ///
    /// # Errors
    /// As [`Outbound::claimed`].
    pub fn webhook(&self, url: &Url) -> Result<Destination, OutboundError> {
        self.checked(url, NamedBy::Webhook)
    }

    fn checked(&self, url: &Url, named_by: NamedBy) -> Result<Destination, OutboundError> {
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundError::Forbidden("it is no plain http or https URL".to_owned()));
        }
        let literal = match url.host() {
            Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(url::Host::Domain(_)) => None,
            None => return Err(OutboundError::Forbidden("it has no host".to_owned())),
        };
        if literal.is_some_and(|address| !self.ways_of(named_by).guard.allows(address)) {
            return Err(private(named_by));
        }
        Ok(Destination { uri: to_uri(url)?, named_by, trust: None, connect_timeout: None })
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
            for ways in [&self.open, &self.claimed, &self.webhooks] {
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
        let ways = self.ways_of(to.named_by);
        if to.named_by == NamedBy::Operator {
            return Ok(ways);
        }
        let host = to.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        match host.parse::<IpAddr>() {
            Ok(address) if !ways.guard.allows(address) => Err(private(to.named_by)),
            _ => Ok(ways),
        }
    }

    fn ways_of(&self, named_by: NamedBy) -> &Ways {
        match named_by {
            NamedBy::Operator => &self.open,
            NamedBy::Claim => &self.claimed,
            NamedBy::Webhook => &self.webhooks,
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

fn private(named_by: NamedBy) -> OutboundError {
    let key = if named_by == NamedBy::Webhook { "push.allow" } else { "outbound.allow" };
    OutboundError::Forbidden(format!("it is private: allow its network with {key}"))
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
