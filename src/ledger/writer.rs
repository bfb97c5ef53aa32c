//! The writer at the other end of the ledger's queue.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Entry;

/// How many records are written at once.
const BATCH_MAX: usize = 4_096;
/// How long records gather before the next write; a crash may lose this much of the log.
const GATHERING: Duration = Duration::from_millis(10);

/// Where entries go.
pub enum Sink {
    Stdout,
    Stderr,
    /// For a reader in this process, such as the demo.
    Channel(mpsc::UnboundedSender<Box<Entry>>),
}

/// The writer at the other end of the queue.
pub struct Writer {
    queue: mpsc::Receiver<Box<Entry>>,
    sink: Sink,
}

impl Writer {
    pub(super) fn new(queue: mpsc::Receiver<Box<Entry>>, sink: Sink) -> Self {
        Self { queue, sink }
    }

    /// Writes entries until `stop`, and then all that are still in the queue.
    ///
    /// Entries that come close together are written together: one wake-up and one write for all of them, instead of
    /// one for each, which would cost more than the calls themselves.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while !stop.is_cancelled() {
            tokio::select! {
                received = self.queue.recv_many(&mut batch, BATCH_MAX) => {
                    if received == 0 {
                        return;
                    }
                }
                () = stop.cancelled() => break,
            }
            self.write(&mut batch).await;
            if !matches!(self.sink, Sink::Channel(_)) {
                // Cut short by the end of the process; the rest is written below.
                drop(timeout(GATHERING, stop.cancelled()).await);
            }
        }
        self.queue.close();
        while self.queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.write(&mut batch).await;
        }
    }

    #[expect(clippy::vec_box, reason = "entries come boxed out of the queue, so that its slots are small")]
    async fn write(&self, batch: &mut Vec<Box<Entry>>) {
        if let Sink::Channel(reader) = &self.sink {
            // A reader that left has no use for the rest.
            batch.drain(..).for_each(|entry| drop(reader.send(entry)));
            return;
        }
        let mut lines = Vec::with_capacity(batch.len() * 512);
        for entry in batch.drain(..) {
            serde_json::to_writer(&mut lines, &*entry).expect("an entry serializes");
            lines.push(b'\n');
        }
        let written = match self.sink {
            Sink::Stderr => flushed(tokio::io::stderr(), &lines).await,
            _ => flushed(tokio::io::stdout(), &lines).await,
        };
        if let Err(error) = written {
            tracing::error!(%error, "records of calls could not be written: check where stdout goes");
        }
    }
}

async fn flushed(mut output: impl tokio::io::AsyncWrite + Unpin, lines: &[u8]) -> std::io::Result<()> {
    output.write_all(lines).await?;
    output.flush().await
}
