//! The accept loop: HTTP/1.1 and h2c on one port, with limits on what a connection may cost.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use super::connection::{Activity, Counted, StallLimited};
use super::tls::Tls;
use crate::call::{AgentName, MeantByAddress, Peer};
use crate::clock::Clock;
use crate::config::Settings;

/// After a failed accept, mostly for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to answer.
const HTTP2_KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Streams that a peer may reset before we have looked at them (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 32;

pub(super) struct Acceptor {
    pub(super) app: Router,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) settings: Arc<Settings>,
    /// The agent that callers at this address mean, whatever they call.
    pub(super) agent: Option<AgentName>,
    /// For connections, shared by all addresses.
    pub(super) places: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) cut_off: CancellationToken,
}

/// Spawns what hyper spawns, one task for each HTTP/2 stream, where it is tracked.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn(async move {
            future.await;
        });
    }
}

impl Acceptor {
    /// Accepts until `stop`. At the limit of connections, new ones wait in the system's queue.
    pub(super) async fn run(self, listener: TcpListener) {
        let acceptor = Arc::new(self);
        let http = acceptor.http();
        loop {
            let accepted = tokio::select! {
                () = acceptor.stop.cancelled() => return,
                accepted = accept(&listener, &acceptor.places) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    let connection = Arc::clone(&acceptor).serve(http.clone(), stream, peer);
                    acceptor.tasks.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted; if this goes on, raise the limit of open files");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn http(&self) -> auto::Builder<Tracked> {
        let limits = &self.settings.limits;
        let mut http = auto::Builder::new(Tracked(self.tasks.clone()));
        http.http1()
            .timer(TokioTimer::new())
            // hyper counts idle time as reading headers; `Activity` tells the two apart.
            .header_read_timeout(None)
            .max_buf_size(limits.header_bytes_max);
        let header_bytes_max = u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_per_connection_max)
            .max_header_list_size(header_bytes_max)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .keep_alive_interval(HTTP2_KEEP_ALIVE)
            .keep_alive_timeout(HTTP2_KEEP_ALIVE);
        http
    }

    async fn serve(self: Arc<Self>, http: auto::Builder<Tracked>, stream: TcpStream, peer: Peer) {
        // Small answers should leave at once; a socket that refuses this works all the same.
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.tls.clone() else { return self.serve_on(http, stream, peer).await };
        // A peer that does not get so far is the peer's business.
        let secured = tokio::select! {
            secured = timeout(self.settings.timeouts.header, tls.accept(stream)) => secured,
            () = self.stop.cancelled() => return,
        };
        if let Ok(Ok(stream)) = secured {
            // In a box: a plain connection needs no room for it.
            Box::pin(self.serve_on(http, stream, peer)).await;
        }
    }

    async fn serve_on(
        &self,
        http: auto::Builder<Tracked>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
    ) {
        let timeouts = &self.settings.timeouts;
        let activity = Arc::new(Activity::new(Clock));
        let io = TokioIo::new(StallLimited::new(stream, timeouts.write_stall, Arc::clone(&activity)));
        let app = self.app.clone();
        let agent = self.agent.clone().map(MeantByAddress);
        let of_service = Arc::clone(&activity);
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if let Some(agent) = &agent {
                request.extensions_mut().insert(agent.clone());
            }
            let counted = Counted::new(&of_service);
            let mut app = app.clone();
            async move {
                let response = app.call(request.map(Body::new)).await?;
                Ok::<_, std::convert::Infallible>(response.map(|body| counted.around(body)))
            }
        });
        let connection = http.serve_connection_with_upgrades(io, service);
        tokio::pin!(connection);
        // The connection is polled for every byte, the signals only when one of them stirs.
        let mut signals = FuturesUnordered::from_iter([self.signal(&activity, false)]);
        loop {
            tokio::select! {
                biased;
                // A broken connection is the peer's business; calls on it have their records.
                _ = connection.as_mut() => return,
                Some(signal) = signals.next() => match signal {
                    Signal::Close => return,
                    Signal::Drain => {
                        connection.as_mut().graceful_shutdown();
                        signals.push(self.signal(&activity, true));
                    }
                },
            }
        }
    }

    /// What the connection is to do next.
    async fn signal(&self, activity: &Activity, is_draining: bool) -> Signal {
        let timeouts = &self.settings.timeouts;
        tokio::select! {
            () = self.cut_off.cancelled() => Signal::Close,
            () = self.stop.cancelled(), if !is_draining => Signal::Drain,
            () = activity.is_of_no_use(timeouts.header, timeouts.idle, timeouts.write_stall) => Signal::Close,
        }
    }
}

/// What may be asked of a connection.
enum Signal {
    /// Take no new request.
    Drain,
    Close,
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, address) = listener.accept().await?;
    Ok((stream, Peer { address }, place))
}
