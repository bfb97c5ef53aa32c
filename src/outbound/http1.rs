//! HTTP/1.1 without TLS, the way to most agents: connections that are driven by whoever uses them.
//!
//! hyper runs a connection as a future of its own, which is usually spawned; then a request and its answer cross
//! between two tasks five times, and that costs more than all else that a forwarded call does. Here the connection
//! is polled by the task that waits for its answer, and by the body that is read from it. An idle connection is
//! polled by nobody; whether its peer has closed it is found out when it is taken up again.

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tower_service::Service as _;

use super::guard::Guard;
use super::{BoxError, IDLE_CONNECTION, OutboundError};
use crate::clock::Clock;
use crate::wire::body::Pieces;

/// Connections by host and port.
pub(super) struct Pool {
    connector: HttpConnector<Guard>,
    connect_timeout: Duration,
    idle_max: usize,
    idle: Mutex<HashMap<Box<str>, Vec<Idle>>>,
    clock: Clock,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: SendRequest<Pieces>,
    driver: Pin<Box<http1::Connection<TokioIo<TcpStream>, Pieces>>>,
    has_ended: bool,
}

impl Connection {
    /// Lets the connection write and read what it can.
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.has_ended = self.has_ended || self.driver.as_mut().poll(cx).is_ready();
    }

    /// Whether the peer has closed it, or sent what nobody asked for, while it lay idle.
    fn is_over(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.has_ended || !self.sender.is_ready()
    }
}

impl Pool {
    pub(super) fn new(connector: HttpConnector<Guard>, connect_timeout: Duration, idle_max: usize) -> Arc<Self> {
        Arc::new(Self { connector, connect_timeout, idle_max, idle: Mutex::default(), clock: Clock })
    }

    /// Sends `request` to the host of `uri` and returns when the headers of the answer are there.
    ///
    /// A request that an idle connection did not take, because its peer had closed it, goes on a new one.
    pub(super) async fn send(
        self: &Arc<Self>,
        uri: &Uri,
        mut request: Request<Pieces>,
    ) -> Result<Response<DrivenBody>, OutboundError> {
        let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        *request.uri_mut() = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")).into();
        let host_header = HeaderValue::from_str(host).map_err(|error| OutboundError::Forbidden(error.to_string()))?;
        request.headers_mut().insert(HOST, host_header);
        loop {
            let taken = self.take(host);
            let is_new = taken.is_none();
            let mut connection = match taken {
                Some(connection) => connection,
                None => self.connect(uri.clone()).await?,
            };
            match exchange(&mut connection, request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let place = Place { pool: Arc::clone(self), host: host.into() };
                    return Ok(Response::from_parts(head, DrivenBody::new(body, connection, place)));
                }
                Err((error, Some(unsent))) if is_new => {
                    drop(unsent);
                    return Err(OutboundError::Connect(error.into()));
                }
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Err(OutboundError::Broken(error.into())),
            }
        }
    }

    fn take(&self, host: &str) -> Option<Connection> {
        let now = self.clock.instant();
        loop {
            // One at a time, so that the lock is not held while a connection is looked at.
            let mut idle = self.idle.lock().expect("no code panics while holding this").get_mut(host)?.pop()?;
            if now - idle.since < IDLE_CONNECTION && !idle.connection.is_over() {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, host: &str, connection: Connection) {
        let since = self.clock.instant();
        let mut idle = self.idle.lock().expect("no code panics while holding this");
        let of_host = match idle.get_mut(host) {
            Some(of_host) => of_host,
            None => idle.entry(host.into()).or_default(),
        };
        // The oldest are at the front: those that lie too long are let go.
        let aged = of_host.iter().take_while(|old| since - old.since >= IDLE_CONNECTION).count();
        of_host.drain(..aged);
        if of_host.len() < self.idle_max {
            of_host.push(Idle { connection, since });
        }
    }

    async fn connect(&self, uri: Uri) -> Result<Connection, OutboundError> {
        let connecting = async {
            let stream = self.connector.clone().call(uri).await.map_err(BoxError::from)?;
            let (sender, driver) = http1::handshake(stream).await?;
            Ok(Connection { sender, driver: Box::pin(driver), has_ended: false })
        };
        match timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(OutboundError::Connect),
            Err(elapsed) => Err(OutboundError::Connect(elapsed.into())),
        }
    }
}

/// Drives the connection until the answer's headers are there. A request that was not begun to be written comes back
/// with the error.
async fn exchange(
    connection: &mut Connection,
    request: Request<Pieces>,
) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Pieces>>)> {
    let mut answer = pin!(connection.sender.try_send_request(request));
    std::future::poll_fn(|cx| {
        // When the connection ends, the answer is ready too: with an error if nothing else.
        connection.drive(cx);
        answer.as_mut().poll(cx)
    })
    .await
    .map_err(|mut error| {
        let unsent = error.take_message();
        (error.into_error(), unsent)
    })
}

/// Where a connection goes when its answer was read.
struct Place {
    pool: Arc<Pool>,
    host: Box<str>,
}

/// The body of an answer, which drives its connection as it is read. Read to its end, the connection is kept;
/// dropped before, it is closed, and the agent sees that nobody listens.
pub struct DrivenBody {
    body: Incoming,
    connection: Option<(Connection, Place)>,
}

impl DrivenBody {
    fn new(body: Incoming, connection: Connection, place: Place) -> Self {
        let mut driven = Self { body, connection: Some((connection, place)) };
        if driven.body.is_end_stream() {
            driven.keep();
        }
        driven
    }

    /// Puts the connection back, if it can take another request.
    fn keep(&mut self) {
        let Some((mut connection, place)) = self.connection.take() else { return };
        if !connection.is_over() {
            place.pool.put(&place.host, connection);
        }
    }
}

impl Body for DrivenBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        // Twice: asking for a frame is what lets the connection read one.
        for _ in 0..2 {
            let frame = Pin::new(&mut this.body).poll_frame(cx);
            match frame {
                Poll::Ready(None) => this.keep(),
                Poll::Ready(Some(Err(_))) => this.connection = None,
                Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
            }
            if frame.is_ready() {
                return frame;
            }
            if let Some((connection, _)) = &mut this.connection {
                // Its end shows in the next frame.
                connection.drive(cx);
            }
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
