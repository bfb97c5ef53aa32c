//! What watches one connection: whether it is used, and whether its reader still reads.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::clock::Clock;

/// Requests under way on a connection, and since when there are none.
pub(super) struct Activity {
    clock: Clock,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy)]
struct State {
    requests: usize,
    idle_since: Instant,
    is_new: bool,
    /// When the first byte of a request came whose headers are not complete.
    head_since: Option<Instant>,
    /// Frames come at any time, so reading says nothing about headers; hyper bounds those of HTTP/2.
    is_http2: bool,
}

impl Activity {
    pub(super) fn new(clock: Clock) -> Self {
        let state = State { requests: 0, idle_since: clock.instant(), is_new: true, head_since: None, is_http2: false };
        Self { clock, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Returns when the connection had no request for `idle`, or a request's headers are not complete after `head`;
    /// a new connection has `head` for its first request.
    pub(super) async fn idle_for(&self, head: Duration, idle: Duration) {
        loop {
            let state = self.state();
            if state.requests > 0 {
                self.changed.notified().await;
                continue;
            }
            let end = match state.head_since {
                Some(since) => since + head,
                None => state.idle_since + if state.is_new { head } else { idle },
            };
            tokio::select! {
                () = sleep_until(end) => {
                    let now = self.state();
                    let same_head = now.head_since == state.head_since;
                    if now.requests == 0 && now.idle_since == state.idle_since && same_head {
                        return;
                    }
                }
                () = self.changed.notified() => {}
            }
        }
    }

    fn state(&self) -> State {
        *self.state.lock().expect("no code panics while holding this")
    }

    /// Bytes came from the peer.
    fn read(&self, bytes: &[u8]) {
        let mut state = self.state.lock().expect("no code panics while holding this");
        if state.is_new && state.head_since.is_none() && bytes.starts_with(b"PRI ") {
            state.is_http2 = true;
        }
        if state.requests > 0 || state.is_http2 || state.head_since.is_some() {
            return;
        }
        state.head_since = Some(self.clock.instant());
        drop(state);
        self.changed.notify_one();
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().expect("no code panics while holding this");
        let was_busy = state.requests > 0;
        change(&mut state);
        state.is_new = false;
        state.head_since = None;
        let is_busy = state.requests > 0;
        drop(state);
        if was_busy != is_busy {
            self.changed.notify_one();
        }
    }
}

/// One request under way, until its response was written or dropped.
pub(super) struct Counted(Arc<Activity>);

impl Counted {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.change(|state| state.requests += 1);
        Self(Arc::clone(activity))
    }

    pub(super) fn around(self, body: Body) -> CountedBody {
        CountedBody { body, _counted: self }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let now = self.0.clock.instant();
        self.0.change(|state| {
            state.requests -= 1;
            state.idle_since = now;
        });
    }
}

/// A response body that keeps its request counted.
pub(super) struct CountedBody {
    body: Body,
    _counted: Counted,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
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
#[expect(clippy::disallowed_methods, reason = "a test may spawn")]
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
        let activity = Arc::new(Activity::new(Clock));
        let (first, idle) = (Duration::from_secs(10), Duration::from_secs(60));
        let started = Clock.instant();
        let counted = Counted::new(&activity);
        let waiting = tokio::spawn({
            let activity = Arc::clone(&activity);
            async move { activity.idle_for(first, idle).await }
        });
        tokio::time::sleep(Duration::from_secs(100)).await;
        drop(counted);
        waiting.await.unwrap();
        assert_eq!((Clock.instant() - started).as_secs(), 160);
        Activity::new(Clock).idle_for(first, idle).await;
        assert_eq!((Clock.instant() - started).as_secs(), 170, "a connection without a first request ends sooner");
        let begun = Activity::new(Clock);
        tokio::time::sleep(Duration::from_secs(5)).await;
        begun.read(b"POST / HT");
        begun.idle_for(first, idle).await;
        assert_eq!((Clock.instant() - started).as_secs(), 185, "headers have their time from their first byte");
    }
}
