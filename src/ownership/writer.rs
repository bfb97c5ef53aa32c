//! Writes rows, a batch at a time: what comes together is committed together.
//!
//! Whoever needs to know waits for the commit. What nobody waits for is written within milliseconds, and when the store
//! is away new rows are kept and tried again, while nothing new is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::index::Index;
use crate::error::Error;
use crate::store::{NewOwned, OwnedRow, StateChange, Store, StoreError, Tx};

/// How long what nobody waits for gathers.
const GATHERING: Duration = Duration::from_millis(10);
/// How soon a store that failed is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Writes of one transaction.
const BATCH_MAX: usize = 512;
/// How often tasks that ended long ago are looked for.
const FORGETTING_EVERY: Duration = Duration::from_secs(60);
/// Those that one transaction forgets, and the pause before the next.
const FORGOTTEN_AT_ONCE: i64 = 500;
const FORGETTING_PAUSE: Duration = Duration::from_millis(50);

/// What is to be written.
#[derive(Debug)]
pub(super) enum Write {
    /// New rows. Told back are those whose ids were taken, as they are.
    Rows {
        new: Arc<NewOwned>,
        done: Option<oneshot::Sender<Result<Vec<OwnedRow>, Error>>>,
    },
    State(StateChange),
    /// A claim becomes good. Told back is whether the context is still there.
    Settle {
        row: Arc<OwnedRow>,
        done: Option<oneshot::Sender<Result<bool, Error>>>,
    },
    /// A claim is taken back.
    Release {
        row: Arc<OwnedRow>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    /// Nothing: all that came before is written.
    Flush {
        done: oneshot::Sender<Result<(), Error>>,
    },
}

impl Write {
    fn is_waited_for(&self) -> bool {
        match self {
            Self::Rows { done, .. } => done.is_some(),
            Self::Settle { done, .. } => done.is_some(),
            Self::State(_) => false,
            Self::Release { .. } | Self::Flush { .. } => true,
        }
    }
}

/// The other end of the queue.
pub struct Writer {
    store: Arc<Store>,
    queue: mpsc::Receiver<Write>,
    index: Index,
    is_failing: Arc<AtomicBool>,
    retention: Duration,
}

impl Writer {
    pub(super) fn new(
        store: &Arc<Store>,
        queue: mpsc::Receiver<Write>,
        index: &Index,
        is_failing: Arc<AtomicBool>,
        retention: Duration,
    ) -> Self {
        Self { store: Arc::clone(store), queue, index: index.clone(), is_failing, retention }
    }

    /// Writes until `stop`, and then all that is still in the queue; forgets what ended long ago.
    pub async fn run(self, stop: CancellationToken) {
        let (store, retention) = (Arc::clone(&self.store), self.retention);
        tokio::join!(self.write_all(stop.clone()), forget(store, retention, stop));
    }

    async fn write_all(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while !stop.is_cancelled() {
            tokio::select! {
                received = self.queue.recv_many(&mut batch, BATCH_MAX) => {
                    if received == 0 {
                        return;
                    }
                }
                () = stop.cancelled() => break,
                () = sleep(RETRY_AFTER) => {
                    // Nothing comes while nothing is sent, so somebody must find out when it can be.
                    if !self.is_failing.load(Ordering::Relaxed) {
                        continue;
                    }
                }
            }
            self.gather(&mut batch, &stop).await;
            self.write(&mut batch).await;
        }
        self.queue.close();
        while self.queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.write(&mut batch).await;
        }
        if !batch.is_empty() {
            self.write(&mut batch).await;
        }
    }

    /// Waits a moment for more, unless somebody waits for what is there.
    async fn gather(&mut self, batch: &mut Vec<Write>, stop: &CancellationToken) {
        let until = sleep(GATHERING);
        tokio::pin!(until);
        while batch.len() < BATCH_MAX && !batch.is_empty() && !batch.iter().any(Write::is_waited_for) {
            tokio::select! {
                more = self.queue.recv() => match more {
                    Some(write) => batch.push(write),
                    None => return,
                },
                () = &mut until => return,
                () = stop.cancelled() => return,
            }
        }
    }

    /// Writes a batch. If that fails, whoever waits is told, and new rows stay in it to be tried again: as many as there
    /// were calls under way, for nothing new is sent.
    async fn write(&self, batch: &mut Vec<Write>) {
        let work = Arc::new(Work::of(batch));
        if work.is_empty() && !self.is_failing.load(Ordering::Relaxed) {
            return told(std::mem::take(batch), Done::default());
        }
        let result = self.store.run_tx("write owners", |tx| Arc::clone(&work).apply(tx)).await;
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Ok(taken) => {
                self.index.wrote(work.new.iter().flat_map(|new| new.rows()));
                told(std::mem::take(batch), taken);
            }
            Err(error) => {
                if !was_failing {
                    tracing::error!(?error, "owners of tasks cannot be written: nothing is sent until they can be");
                }
                batch.extract_if(.., |write| write.is_waited_for()).for_each(|write| refused(write, &error));
                // A state is a hint: whoever asks for the task next hears it again.
                batch.retain(|write| !matches!(write, Write::State(_)));
            }
        }
    }
}

/// A batch in the order in which it is written.
#[derive(Default)]
struct Work {
    new: Vec<Arc<NewOwned>>,
    states: Vec<StateChange>,
    /// In the order in which they came.
    claims: Vec<Claimed>,
}

/// What becomes of a claim.
enum Claimed {
    Good(Arc<OwnedRow>),
    Back(Arc<OwnedRow>),
}

/// What there was when a batch was written: for each new row of it, and for each claim that was made good.
#[derive(Default)]
struct Done {
    taken: Vec<Vec<OwnedRow>>,
    settled: Vec<bool>,
}

impl Work {
    fn of(batch: &[Write]) -> Self {
        let mut work = Self::default();
        for write in batch {
            match write {
                Write::Rows { new, .. } => work.new.push(Arc::clone(new)),
                Write::State(change) => {
                    // Of one task's states the last one counts.
                    let is_same = |known: &StateChange| {
                        known.task_id == change.task_id && known.agent_id == change.agent_id && known.ended_at.is_none()
                    };
                    work.states.retain(|known| !is_same(known));
                    work.states.push(change.clone());
                }
                Write::Settle { row, .. } => work.claims.push(Claimed::Good(Arc::clone(row))),
                Write::Release { row, .. } => work.claims.push(Claimed::Back(Arc::clone(row))),
                Write::Flush { .. } => {}
            }
        }
        // Always in the same order, so that two gateways do not wait for each other.
        work.states.sort_by(|a, b| (&a.agent_id, &a.task_id).cmp(&(&b.agent_id, &b.task_id)));
        work
    }

    fn is_empty(&self) -> bool {
        self.new.is_empty() && self.states.is_empty() && self.claims.is_empty()
    }

    async fn apply(self: Arc<Self>, mut tx: Tx) -> Result<(Tx, Done), StoreError> {
        if self.is_empty() {
            tx.prove_writable().await?;
        }
        let taken = tx.insert_owned(&self.new).await?;
        for change in &self.states {
            tx.note_state(change).await?;
        }
        let mut settled = Vec::new();
        for row in &self.claims {
            match row {
                Claimed::Good(row) => settled.push(tx.settle_context(row).await?),
                Claimed::Back(row) => tx.release_context(&row.agent_id, &row.id, &row.claim).await?,
            }
        }
        Ok((tx, Done { taken, settled }))
    }
}

/// Tells whoever waits that it is written, and what was there.
fn told(batch: Vec<Write>, done: Done) {
    let (mut taken, mut settled) = (done.taken.into_iter(), done.settled.into_iter());
    for write in batch {
        // Whoever left does not want to know.
        match write {
            Write::Rows { done, .. } => {
                let theirs = taken.next().unwrap_or_default();
                drop(done.map(|done| done.send(Ok(theirs))));
            }
            Write::Settle { done, .. } => {
                let is_there = settled.next().unwrap_or_default();
                drop(done.map(|done| done.send(Ok(is_there))));
            }
            Write::Release { done, .. } | Write::Flush { done } => drop(done.send(Ok(()))),
            Write::State(_) => {}
        }
    }
}

fn refused(write: Write, error: &Error) {
    let again = || Error::new(error.kind(), error.message()).retry_after_is(RETRY_AFTER);
    match write {
        Write::Rows { done: Some(done), .. } => drop(done.send(Err(again()))),
        Write::Settle { done: Some(done), .. } => drop(done.send(Err(again()))),
        Write::Release { done, .. } | Write::Flush { done } => drop(done.send(Err(again()))),
        Write::Rows { .. } | Write::Settle { .. } | Write::State(_) => {}
    }
}

/// Forgets tasks that ended longer ago than `retention`, few at a time, until `stop`.
async fn forget(store: Arc<Store>, retention: Duration, stop: CancellationToken) {
    let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    let mut pause = FORGETTING_PAUSE;
    while timeout(pause, stop.cancelled()).await.is_err() {
        let before = store.now().saturating_sub(retention);
        let forgotten = |mut tx: Tx| async move {
            let count = tx.forget_ended(before, FORGOTTEN_AT_ONCE).await?;
            Ok((tx, count))
        };
        let done = store.run_tx("forget tasks", forgotten).await;
        let is_more = done.as_ref().is_ok_and(|count| *count >= FORGOTTEN_AT_ONCE.unsigned_abs());
        pause = if is_more { FORGETTING_PAUSE } else { FORGETTING_EVERY };
    }
}
