//! What watches one connection: whether it is used, and whether its reader still reads.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::clock::Clock;

/// Requests under way on a connection, and since when there are none. Written on every request, so by atomics; read
/// by a watchman who comes by now and then.
pub(super) struct Activity {
    clock: Clock,
    opened: Instant,
    requests: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last request; NEVER before the first one.
    idle_since_ms: AtomicU64,
    /// Milliseconds from `opened` to the first byte of a request whose headers are not complete; NEVER when there is
    /// none.
    head_since_ms: AtomicU64,
    /// Frames come at any time, so reading says nothing about headers; hyper bounds those of HTTP/2.
    is_http2: AtomicBool,
    /// Bodies of HTTP/2 responses. One whose reader opens no window is not polled any more, while the connection
    /// goes on with others, so a stalled write does not show it.
    bodies: Mutex<Vec<Weak<HandedOver>>>,
}

/// When a piece of a body was handed to hyper, in milliseconds from the opening of the connection; NEVER while hyper
/// asks for more.
struct HandedOver(AtomicU64);

const NEVER: u64 = u64::MAX;

impl Activity {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            opened: clock.instant(),
            requests: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(NEVER),
            head_since_ms: AtomicU64::new(NEVER),
            is_http2: AtomicBool::new(false),
            bodies: Mutex::default(),
        }
    }

    /// Returns when the connection had no request for `idle`, or a request's headers are not complete after `head`;
    /// a new connection has `head` for its first request; and when a reader takes nothing of a body for `stall`. Up to
    /// an eighth of the shortest of these later.
    pub(super) async fn is_of_no_use(&self, head: Duration, idle: Duration, stall: Duration) {
        let round = (head.min(idle).min(stall) / 8).max(Duration::from_millis(1));
        loop {
            tokio::time::sleep(round).await;
            let now = self.now_ms();
            let is_over =
                |since_ms: u64, limit: Duration| u128::from(now.saturating_sub(since_ms)) >= limit.as_millis();
            if self.requests.load(Ordering::Relaxed) > 0 {
                if self.oldest_hand_over_ms().is_some_and(|since_ms| is_over(since_ms, stall)) {
                    return;
                }
                continue;
            }
            let expired = match (self.head_since_ms.load(Ordering::Relaxed), self.idle_since_ms.load(Ordering::Relaxed))
            {
                (NEVER, NEVER) => is_over(0, head),
                (NEVER, idle_since_ms) => is_over(idle_since_ms, idle),
                (head_since_ms, _) => is_over(head_since_ms, head),
            };
            if expired {
                return;
            }
        }
    }

    /// Since when a piece of a body waits for its reader.
    fn oldest_hand_over_ms(&self) -> Option<u64> {
        let mut bodies = self.bodies.lock().expect("no code panics while holding this");
        bodies.retain(|body| body.strong_count() > 0);
        let waiting = bodies.iter().filter_map(|body| Some(body.upgrade()?.0.load(Ordering::Relaxed)));
        waiting.filter(|since_ms| *since_ms != NEVER).min()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from((self.clock.instant() - self.opened).as_millis()).unwrap_or(NEVER - 1)
    }

    /// Bytes came from the peer.
    fn read(&self, bytes: &[u8]) {
        let is_first = self.idle_since_ms.load(Ordering::Relaxed) == NEVER;
        if is_first && self.head_since_ms.load(Ordering::Relaxed) == NEVER && bytes.starts_with(b"PRI ") {
            self.is_http2.store(true, Ordering::Relaxed);
        }
        let is_head = self.requests.load(Ordering::Relaxed) == 0 && !self.is_http2.load(Ordering::Relaxed);
        if is_head && self.head_since_ms.load(Ordering::Relaxed) == NEVER {
            self.head_since_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since_ms.store(NEVER, Ordering::Relaxed);
    }

    fn end(&self) {
        self.idle_since_ms.store(self.now_ms(), Ordering::Relaxed);
        self.head_since_ms.store(NEVER, Ordering::Relaxed);
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request under way, until its response was written or dropped.
pub(super) struct Counted(Arc<Activity>);

impl Counted {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.begin();
        Self(Arc::clone(activity))
    }

    pub(super) fn around(self, body: Body) -> CountedBody {
        let handed_over = self.0.is_http2.load(Ordering::Relaxed).then(|| {
            let handed_over = Arc::new(HandedOver(AtomicU64::new(NEVER)));
            let mut bodies = self.0.bodies.lock().expect("no code panics while holding this");
            bodies.push(Arc::downgrade(&handed_over));
            handed_over
        });
        CountedBody { body, handed_over, counted: self }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A response body that keeps its request counted.
pub(super) struct CountedBody {
    body: Body,
    handed_over: Option<Arc<HandedOver>>,
    counted: Counted,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(handed_over) = &self.handed_over {
            let since_ms = if frame.is_ready() { self.counted.0.now_ms() } else { NEVER };
            handed_over.0.store(since_ms, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose writes fail when the peer takes nothing for too long, and whose reads are noted.
pub(super) struct StallLimited<S> {
    stream: S,
    activity: Arc<Activity>,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> StallLimited<S> {
    pub(super) fn new(stream: S, limit: Duration, activity: Arc<Activity>) -> Self {
        Self { stream, activity, limit, stalled: None }
    }

    fn limited<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        match self.stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallLimited<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.read(&buffer.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallLimited<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limited(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.limited(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.limited(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limited(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_a_reader_that_stalls() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut limited = StallLimited::new(ours, Duration::from_secs(30), Arc::new(Activity::new(Clock)));
        let error = limited.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn counts_idle_time_from_the_last_response() {
        let (head, idle) = (Duration::from_secs(8), Duration::from_secs(64));
        let after = async |activity: &Activity| {
            let started = Clock.instant();
            activity.is_of_no_use(head, idle, Duration::from_secs(30)).await;
            (Clock.instant() - started).as_secs()
        };
        let fresh = Activity::new(Clock);
        assert_eq!(after(&fresh).await, 8, "a new connection has the time of one head");
        let used = Arc::new(Activity::new(Clock));
        drop(Counted::new(&used));
        assert_eq!(after(&used).await, 64);
        let busy = Arc::new(Activity::new(Clock));
        let counted = Counted::new(&busy);
        assert!(tokio::time::timeout(Duration::from_secs(600), after(&busy)).await.is_err(), "a request may take long");
        drop(counted);
        busy.read(b"POST / HT");
        assert_eq!(after(&busy).await, 8, "headers have their time from their first byte");
        let http2 = Arc::new(Activity::new(Clock));
        http2.read(b"PRI * HTTP/2.0");
        drop(Counted::new(&http2));
        http2.read(b"a frame");
        assert_eq!(after(&http2).await, 64, "frames are no heads");
    }
}
