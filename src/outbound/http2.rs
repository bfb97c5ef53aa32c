//! HTTP/2 to agents, for gRPC: few connections, many calls on each.
//!
//! A connection takes as many calls at once as its peer allows; the next one goes on a new connection, instead of
//! waiting behind long streams. Pings find out whether a silent peer is still there.

use std::collections::HashMap;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor as _;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout};
use tonic::body::Body;
use tower_service::Service as _;

use super::guard::Guard;
use super::{OutboundError, broken, unconnected};
use crate::clock::Clock;

/// How often a peer with calls under way is asked whether it is still there, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Connections to one host and port; when all are full, calls wait for their turn on the emptiest.
const CONNECTIONS_MAX: usize = 64;
/// Calls at once on one connection, also where the peer takes more.
const CALLS_MAX: usize = 128;
/// What an agent may send on one stream before it is read. The window of a connection is that of all its streams, so
/// that slow readers of some keep nothing from the others.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 128;

/// Connections by host and port.
pub(super) struct Pool {
    connector: HttpsConnector<HttpConnector<Guard>>,
    connect_timeout: Duration,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    clock: Clock,
}

#[derive(Default)]
struct Host {
    connections: Mutex<Vec<Connection>>,
    /// Held by whoever opens a connection, so that a burst of calls opens one and not many. When the last attempt
    /// failed, and how: those who waited for it have their answer too.
    opening: tokio::sync::Mutex<Option<(Instant, OutboundError)>>,
}

struct Connection {
    sender: SendRequest<Body>,
    calls: Arc<AtomicUsize>,
    /// When it was taken last.
    taken: Instant,
    /// How many calls its peer takes at once, as it says.
    calls_max: Arc<AtomicUsize>,
}

/// One call on a connection, for as long as it lasts.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Host {
    /// The first connection that can take another call; with `or_full`, the emptiest when there is none.
    fn take(&self, now: Instant, or_full: bool) -> Option<(SendRequest<Body>, Place)> {
        let mut connections = self.connections.lock().expect("no code panics while holding this");
        connections.retain(|connection| !connection.sender.is_closed());
        let load = |connection: &Connection| connection.calls.load(Ordering::Relaxed);
        let has_place = |found: &Connection| load(found) < found.calls_max.load(Ordering::Relaxed).min(CALLS_MAX);
        let found = match connections.iter().position(has_place) {
            None if or_full && connections.len() >= CONNECTIONS_MAX => {
                (0..connections.len()).min_by_key(|at| load(&connections[*at]))
            }
            free => free,
        }?;
        let found = &mut connections[found];
        found.taken = now;
        found.calls.fetch_add(1, Ordering::Relaxed);
        Some((found.sender.clone(), Place(Arc::clone(&found.calls))))
    }
}

impl Pool {
    pub(super) fn new(connector: HttpsConnector<HttpConnector<Guard>>, connect_timeout: Duration) -> Self {
        Self { connector, connect_timeout, hosts: Mutex::default(), clock: Clock }
    }

    /// Sends `request` to the host of `to` and returns when the headers of the answer are there. A request that a
    /// closing connection did not take goes on another one, once.
    pub(super) async fn send(
        &self,
        to: &Uri,
        mut request: Request<Body>,
    ) -> Result<Response<Http2Body>, OutboundError> {
        let host = self.host(to);
        for is_last in [false, true] {
            let (mut sender, place) = self.place(&host, to).await?;
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| Http2Body { body, _place: place })),
                Err(mut error) => match error.take_message().filter(|_| !is_last) {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(error.into_error())),
                },
            }
        }
        unreachable!("the second attempt returns")
    }

    fn host(&self, to: &Uri) -> Arc<Host> {
        let authority = to.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        // The scheme belongs to it: without TLS it is another place, also where both leave the port out.
        let key = format!("{}://{authority}", to.scheme_str().unwrap_or_default());
        let mut hosts = self.hosts.lock().expect("no code panics while holding this");
        Arc::clone(hosts.entry(key).or_default())
    }

    async fn place(&self, host: &Host, to: &Uri) -> Result<(SendRequest<Body>, Place), OutboundError> {
        let asked = self.clock.instant();
        if let Some(place) = host.take(asked, false) {
            return Ok(place);
        }
        // If the caller leaves here, another one opens the connection.
        let mut opening = host.opening.lock().await;
        if let Some(place) = host.take(self.clock.instant(), true) {
            return Ok(place);
        }
        match &*opening {
            Some((failed, error)) if *failed >= asked => return Err(error.clone()),
            _ => {}
        }
        // In a box, for it is large and seldom: most calls find a connection.
        let opened = Box::pin(self.open(host, to)).await;
        *opening = opened.as_ref().err().map(|error| (self.clock.instant(), error.clone()));
        opened
    }

    /// Closes the connections that nobody used for `idle`.
    pub(super) fn close_aged(&self, idle: Duration) {
        let now = self.clock.instant();
        let hosts: Vec<_> = self.hosts.lock().expect("no code panics while holding this").values().cloned().collect();
        for host in hosts {
            let mut connections = host.connections.lock().expect("no code panics while holding this");
            connections.retain(|c| c.calls.load(Ordering::Relaxed) > 0 || now - c.taken < idle);
        }
    }

    async fn open(&self, host: &Host, to: &Uri) -> Result<(SendRequest<Body>, Place), OutboundError> {
        let connecting = async {
            let io = self.connector.clone().call(to.clone()).await.map_err(unconnected)?;
            let handshake = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .handshake(io);
            handshake.await.map_err(unconnected)
        };
        let (sender, mut driver) = timeout(self.connect_timeout, connecting).await.map_err(unconnected)??;
        // Ends with the connection, which is closed when nobody holds a sender.
        let calls_max = Arc::new(AtomicUsize::new(driver.current_max_send_streams()));
        let said = Arc::clone(&calls_max);
        TokioExecutor::new().execute(async move {
            let ended = std::future::poll_fn(|cx| {
                let ended = Pin::new(&mut driver).poll(cx);
                said.store(driver.current_max_send_streams(), Ordering::Relaxed);
                ended
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "an HTTP/2 connection to an agent ended");
            }
        });
        let taken = self.clock.instant();
        let connection = Connection { sender: sender.clone(), calls: Arc::new(AtomicUsize::new(1)), taken, calls_max };
        let place = Place(Arc::clone(&connection.calls));
        host.connections.lock().expect("no code panics while holding this").push(connection);
        Ok((sender, place))
    }
}

/// The body of an answer over HTTP/2, which keeps its place on the connection. Dropping it resets the stream.
pub struct Http2Body {
    body: Incoming,
    _place: Place,
}

impl http_body::Body for Http2Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
