//! Reading bodies in bounded memory.
//!
//! A body is announced by somebody we do not trust: it may be endless, slow, or one of ten thousand. So every read
//! has a size limit, a pace limit, and a share of one byte budget for the whole process.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// What the budget is counted in. Small bodies count as one unit.
const UNIT_BYTES: usize = 4096;
/// How long a body waits for its share of the budget.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// How many bytes of bodies the process holds at once.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    /// Gives bytes that are in memory already their share.
    ///
    /// # Errors
    /// NoBudget when none is free within a second.
    pub async fn hold(&self, bytes: Bytes) -> Result<Bytes, BodyError> {
        let mut share = Share { budget: self, permit: None, units: 0 };
        share.grow(bytes.len()).await?;
        Ok(share.held_by(bytes))
    }

    /// A budget of `bytes`, rounded down to whole units of 4 KiB, at least one.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS))))
    }
}

/// How a body is read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub bytes_max: usize,
    /// The longest pause between two pieces of the body.
    pub pause_max: Duration,
    /// After the first pause, the least bytes per second on average; 0 for no such limit.
    pub bytes_per_second_min: usize,
}

/// The body is compressed, or encoded in another way. We offer and ask for nothing of the kind.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity")
}

/// Bytes with their share of the budget, which is returned when the last slice of them is dropped.
struct Held {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body arrives too slowly")]
    TooSlow,
    #[error("no memory is left for another body")]
    NoBudget,
    #[error("the body broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads `body` to its end. A body in one piece is not copied. The bytes hold their share of the budget for as long
/// as any slice of them lives, hence until a reply that forwards them was written.
///
/// # Errors
/// As [`BodyError`] says; what was read is dropped.
pub async fn read<B>(mut body: B, pace: Pace, budget: &Budget, now: Instant) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let announced = body.size_hint().lower();
    if announced > pace.bytes_max as u64 {
        return Err(BodyError::TooLarge(pace.bytes_max));
    }
    let mut share = Share { budget, permit: None, units: 0 };
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let wait = pause_end(pace, now, first.len() + rest.len());
        let frame = match timeout_at(wait, body.frame()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(|error| BodyError::Broken(error.into()))?,
        };
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + rest.len() + data.len();
        if length > pace.bytes_max {
            return Err(BodyError::TooLarge(pace.bytes_max));
        }
        share.grow(length).await?;
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                // No more ahead than is here already: what is announced may never come.
                let announced = usize::try_from(announced).unwrap_or(0).min(2 * length);
                rest.reserve(announced.max(length));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(data.chunk());
        }
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(share.held_by(bytes))
}

/// Gathers what `next` writes into the piece that it is given, until it writes nothing more: for what grows as it is
/// decoded. The bytes hold their share of the budget as those of [`read`] do.
///
/// # Errors
/// As [`BodyError`] says; what was gathered is dropped.
pub async fn gather(
    bytes_max: usize,
    budget: &Budget,
    mut next: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> Result<Bytes, BodyError> {
    let mut share = Share { budget, permit: None, units: 0 };
    let mut gathered = BytesMut::new();
    let mut piece = vec![0; 4 * UNIT_BYTES];
    loop {
        let length = next(&mut piece).map_err(|error| BodyError::Broken(error.into()))?;
        if length == 0 {
            return Ok(share.held_by(gathered.freeze()));
        }
        if gathered.len() + length > bytes_max {
            return Err(BodyError::TooLarge(bytes_max));
        }
        share.grow(gathered.len() + length).await?;
        gathered.extend_from_slice(&piece[..length]);
    }
}

/// Bytes on their way through somebody else's buffers, counted as they pass.
#[derive(Debug)]
pub struct Passing {
    budget: Budget,
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Passing {
    pub fn new(budget: Budget) -> Self {
        Self { budget, bytes: 0, permit: None }
    }

    /// Counts more bytes.
    ///
    /// # Errors
    /// NoBudget when there is no memory for them now.
    pub fn add(&mut self, bytes: usize) -> Result<(), BodyError> {
        let units = (self.bytes + bytes).div_ceil(UNIT_BYTES) - self.bytes.div_ceil(UNIT_BYTES);
        let units = u32::try_from(units).map_err(|_| BodyError::NoBudget)?;
        let more = Arc::clone(&self.budget.0).try_acquire_many_owned(units).map_err(|_| BodyError::NoBudget)?;
        self.bytes += bytes;
        match &mut self.permit {
            Some(known) => known.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }

    /// What was counted has arrived, and is counted where it is now.
    pub fn arrived(&mut self) {
        self.bytes = 0;
        self.permit = None;
    }
}

/// When to give up on the next piece: after the longest pause, sooner when the sender is behind the least rate.
fn pause_end(pace: Pace, started: Instant, read: usize) -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a timer needs the moment at which it starts")]
    let pause = Instant::now() + pace.pause_max;
    if pace.bytes_per_second_min == 0 {
        return pause;
    }
    let due = Duration::from_secs((read / pace.bytes_per_second_min) as u64);
    pause.min(started + pace.pause_max + due)
}

/// The growing share of one body in the budget.
struct Share<'a> {
    budget: &'a Budget,
    permit: Option<OwnedSemaphorePermit>,
    units: usize,
}

impl Share<'_> {
    async fn grow(&mut self, bytes: usize) -> Result<(), BodyError> {
        let units = bytes.div_ceil(UNIT_BYTES);
        let Some(more) = units.checked_sub(self.units).filter(|more| *more > 0) else { return Ok(()) };
        let more = u32::try_from(more).map_err(|_| BodyError::NoBudget)?;
        let semaphore = Arc::clone(&self.budget.0);
        let permit = match Arc::clone(&semaphore).try_acquire_many_owned(more) {
            Ok(permit) => permit,
            // The caller waits for others to finish; if it leaves meanwhile, the future is dropped and so is its place.
            Err(_) => timeout(WAIT_MAX, semaphore.acquire_many_owned(more))
                .await
                .map_err(|_| BodyError::NoBudget)?
                .map_err(|_| BodyError::NoBudget)?,
        };
        match &mut self.permit {
            Some(known) => known.merge(permit),
            None => self.permit = Some(permit),
        }
        self.units = units;
        Ok(())
    }

    /// `bytes`, which give the share back when the last slice of them is dropped.
    fn held_by(self, bytes: Bytes) -> Bytes {
        match self.permit {
            Some(share) => Bytes::from_owner(Held { bytes, _share: share }),
            None => bytes,
        }
    }
}

/// A body in up to three pieces, so that forwarded bytes need not be copied into an envelope.
#[derive(Debug, Default)]
pub struct Pieces {
    pieces: [Bytes; 3],
    next: usize,
}

/// Up to here, copying into one buffer costs less than writing in pieces.
const JOINED_BYTES_MAX: usize = 8 << 10;

impl Pieces {
    /// A body of these pieces; small ones are joined.
    pub fn new(pieces: [Bytes; 3]) -> Self {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        if length > JOINED_BYTES_MAX {
            return Self { pieces, next: 0 };
        }
        let mut joined = BytesMut::with_capacity(length);
        for piece in &pieces {
            joined.extend_from_slice(piece);
        }
        Self { pieces: [joined.freeze(), Bytes::new(), Bytes::new()], next: 0 }
    }

    pub fn empty() -> Self {
        Self { pieces: Default::default(), next: 3 }
    }

    fn remaining(&self) -> usize {
        self.pieces.iter().skip(self.next).map(Bytes::len).sum()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.next < self.pieces.len() {
            let at = self.next;
            self.next += 1;
            let piece = std::mem::take(&mut self.pieces[at]);
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining() as u64)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the clock of these tests is tokio's, and paused")]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};

    const PACE: Pace = Pace { bytes_max: 10_000, pause_max: Duration::from_secs(5), bytes_per_second_min: 100 };

    fn pieces(delay: Duration, count: usize) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin {
        let stream = futures_util::stream::unfold(0, move |at| async move {
            if at == count {
                return None;
            }
            tokio::time::sleep(delay).await;
            Some((Ok(Frame::data(Bytes::from_static(b"0123456789"))), at + 1))
        });
        StreamBody::new(Box::pin(stream))
    }

    #[tokio::test(start_paused = true)]
    async fn joins_pieces_and_keeps_whole_bodies() {
        let budget = Budget::new(1 << 20);
        let now = Instant::now();
        let whole = read(Full::new(Bytes::from_static(b"one")), PACE, &budget, now).await.unwrap();
        assert_eq!(whole, "one");
        let joined = read(pieces(Duration::ZERO, 3), PACE, &budget, now).await.unwrap();
        assert_eq!(joined, "012345678901234567890123456789");
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_what_is_too_large_or_too_slow() {
        let budget = Budget::new(1 << 20);
        let now = Instant::now();
        let large = read(pieces(Duration::ZERO, 2_000), PACE, &budget, now).await.unwrap_err();
        assert!(matches!(large, BodyError::TooLarge(10_000)));
        let stalled = read(pieces(Duration::from_secs(6), 2), PACE, &budget, now).await.unwrap_err();
        assert!(matches!(stalled, BodyError::TooSlow));
        let trickle = read(pieces(Duration::from_secs(4), 50), PACE, &budget, Instant::now()).await.unwrap_err();
        assert!(matches!(trickle, BodyError::TooSlow), "ten bytes in four seconds are under the least rate");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_budget_and_gives_it_back() {
        let budget = Budget::new(UNIT_BYTES);
        let now = Instant::now();
        let held = read(Full::new(Bytes::from_static(b"one")), PACE, &budget, now).await.unwrap();
        let refused = read(Full::new(Bytes::from_static(b"two")), PACE, &budget, now).await.unwrap_err();
        assert!(matches!(refused, BodyError::NoBudget));
        let slice = held.slice(1..);
        drop(held);
        let still = read(Full::new(Bytes::from_static(b"two")), PACE, &budget, now).await;
        assert!(matches!(still, Err(BodyError::NoBudget)), "a slice of it still lives");
        drop(slice);
        assert!(read(Full::new(Bytes::from_static(b"two")), PACE, &budget, now).await.is_ok());
    }
}
