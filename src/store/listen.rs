//! PostgreSQL's NOTIFY, which wakes the poll early. It is a hint and no more: what is missed is found half a second later.

use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use super::Store;
use crate::config::{Database, StoreSettings};

/// How long to wait before listening again after it failed.
const RETRY: std::time::Duration = std::time::Duration::from_secs(5);

impl Store {
    /// Rings [`Store::changed`] whenever another gateway changed something, until `stop`. On SQLite there is no other.
    pub async fn listen(&self, settings: &StoreSettings, stop: CancellationToken) {
        if self.database != Database::Postgres {
            return;
        }
        let listen = async {
            loop {
                if let Err(error) = self.listen_once(settings).await {
                    tracing::debug!(%error, "cannot listen for notifications: polling alone");
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = listen => {}
        }
    }

    async fn listen_once(&self, settings: &StoreSettings) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect(settings.url.expose()).await?;
        listener.listen("switchboard").await?;
        loop {
            listener.recv().await?;
            self.changed.notify_one();
        }
    }
}
