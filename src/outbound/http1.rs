//! HTTP/1.1 without TLS, the way to most agents: connections that are driven by whoever uses them.
//!
//! hyper runs a connection as a future of its own, which is usually spawned; then a request and its answer cross
//! between two tasks five times, and that costs more than all else that a forwarded call does. Here the connection
//! is polled by the task that waits for its answer, and by the body that is read from it. An idle connection is
//! polled by nobody; whether its peer has closed it is found out when it is taken up again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use foldhash::HashMap;
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
use super::{BoxError, IDLE_CONNECTION, OutboundError, broken, unconnected};
use crate::clock::Clock;
use crate::wire::body::Pieces;

/// Connections by host and port.
pub(super) struct Pool {
    connector: HttpConnector<Guard>,
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
    /// Dropped when it ends: hyper gives back what it has not begun to send only then.
    driver: Option<Pin<Box<Driver>>>,
}

type Driver = http1::Connection<TokioIo<TcpStream>, Pieces>;

impl Connection {
    /// Lets the connection write and read what it can.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
            self.driver = None;
        }
    }

    /// Whether the peer has closed it, or sent what nobody asked for, while it lay idle.
    fn is_over(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_none() || !self.sender.is_ready()
    }
}

impl Pool {
    pub(super) fn new(connector: HttpConnector<Guard>, idle_max: usize) -> Arc<Self> {
        Arc::new(Self { connector, idle_max, idle: Mutex::default(), clock: Clock })
    }

    /// Sends `request` to the host of `uri` and returns when the headers of the answer are there.
    ///
    /// A request that an idle connection did not take, because its peer had closed it, goes on a new one.
    pub(super) async fn send(
        self: &Arc<Self>,
        uri: &Uri,
        connect_limit: Duration,
        mut request: Request<Pieces>,
    ) -> Result<Response<DrivenBody>, OutboundError> {
        let host = match (uri.host().unwrap_or_default(), uri.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let host = host.as_str();
        *request.uri_mut() = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")).into();
        let host_header = HeaderValue::from_str(host).map_err(|error| OutboundError::Forbidden(error.to_string()))?;
        request.headers_mut().insert(HOST, host_header);
        loop {
            let taken = self.take(host);
            let is_new = taken.is_none();
            let mut connection = match taken {
                Some(connection) => connection,
                None => self.connect(uri.clone(), connect_limit).await?,
            };
            match exchange(&mut connection, request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let place = Place { pool: Arc::clone(self), host: host.into() };
                    return Ok(Response::from_parts(head, DrivenBody::new(body, connection, place)));
                }
                Err((error, Some(unsent))) if is_new => {
                    drop(unsent);
                    return Err(unconnected(error));
                }
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Err(broken(error)),
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
        if of_host.len() < self.idle_max {
            of_host.push(Idle { connection, since });
        }
    }

    /// Closes the connections that lie idle for too long.
    pub(super) fn close_aged(&self) {
        let now = self.clock.instant();
        let mut aged = Vec::new();
        let mut idle = self.idle.lock().expect("no code panics while holding this");
        idle.retain(|_, of_host| {
            // The oldest are at the front.
            let count = of_host.iter().take_while(|old| now - old.since >= IDLE_CONNECTION).count();
            aged.extend(of_host.drain(..count));
            !of_host.is_empty()
        });
        // Closing takes a system call each, and others wait for the lock.
        drop(idle);
        drop(aged);
    }

    async fn connect(&self, uri: Uri, limit: Duration) -> Result<Connection, OutboundError> {
        let connecting = async {
            let stream = self.connector.clone().call(uri).await.map_err(BoxError::from)?;
            let (sender, driver) = http1::handshake(stream).await?;
            Ok(Connection { sender, driver: Some(Box::pin(driver)) })
        };
        match timeout(limit, connecting).await {
            Ok(connected) => connected.map_err(|error: BoxError| unconnected(error)),
            Err(elapsed) => Err(unconnected(elapsed)),
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
        // When the connection ends, its driver is dropped, and the answer is ready: with an error if nothing else.
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may spawn")]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn request() -> Request<Pieces> {
        Request::post("/")
            .header(HOST, "h")
            .body(Pieces::new([Bytes::from_static(b"x"), Bytes::new(), Bytes::new()]))
            .unwrap()
    }

    #[tokio::test]
    async fn gives_the_request_back_when_the_peer_closed_an_idle_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let (close, closing) = tokio::sync::oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1_024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            drop(closing.await);
        });
        let pool = Pool::new(super::super::tcp_connector(Guard::open()), 8);
        let mut connection = pool.connect(uri, Duration::from_secs(5)).await.unwrap();
        let response = exchange(&mut connection, request()).await.unwrap();
        assert!(response.body().is_end_stream());
        assert!(!connection.is_over(), "it lies idle");
        drop(close);
        served.await.unwrap();
        // Until the end of the stream has arrived; nobody looks at the connection meanwhile.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let outcome = timeout(Duration::from_secs(5), exchange(&mut connection, request())).await.expect("an outcome");
        assert!(matches!(outcome, Err((_, Some(_)))), "it can be sent on another connection");
    }

    #[tokio::test]
    async fn keeps_connections_whose_answer_was_read_and_closes_the_others() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut request = [0; 1_024];
                    while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
                    }
                });
            }
        });
        let pool = Pool::new(super::super::tcp_connector(Guard::open()), 8);
        for _ in 0..5 {
            let body = pool.send(&uri, Duration::from_secs(5), request()).await.unwrap().into_body();
            let whole = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
            assert_eq!(whole, "ok");
        }
        assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
        drop(pool.send(&uri, Duration::from_secs(5), request()).await.unwrap());
        assert_eq!(pool.idle.lock().unwrap().values().map(Vec::len).sum::<usize>(), 0, "an unread answer closes it");
    }
}
