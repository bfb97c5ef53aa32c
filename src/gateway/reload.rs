//! The configuration file, followed while it is served: its agents and keys are taken over, the rest waits for a start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::config::{self, Problems, Settings};
use crate::store::generated_master_key;

/// How often the file is looked at.
const ROUND: Duration = Duration::from_secs(1);
/// Half a file is often a valid file with fewer agents; it is believed when it reads the same after this.
const SETTLED: Duration = Duration::from_millis(200);

impl Gateway {
    /// Takes over the agents and keys of the file whenever it changes, until `stop`. A file with problems changes
    /// nothing, and its problems are logged.
    pub async fn follow_file(self: Arc<Self>, path: PathBuf, stop: CancellationToken) {
        let mut known = self.settings.digest;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
            let Ok(now) = tokio::fs::read(&path).await else { continue };
            let digest: [u8; 32] = Sha256::digest(&now).into();
            if known == digest {
                continue;
            }
            tokio::time::sleep(SETTLED).await;
            if tokio::fs::read(&path).await.ok().as_ref() != Some(&now) {
                continue;
            }
            // What was read twice is what is believed, whatever the file is now.
            let text = String::from_utf8_lossy(&now).into_owned();
            known = digest;
            let parsed = tokio::task::spawn_blocking(move || config::parse(&text, &|name| std::env::var(name).ok()));
            match parsed.await {
                Ok(Ok(settings)) => self.reconfigure(&settings),
                Ok(Err(problems)) => {
                    let problems = Problems { file: path.display().to_string(), problems };
                    tracing::error!("the configuration is left as it was: {problems}");
                }
                Err(error) => tracing::error!(%error, "the configuration is left as it was"),
            }
        }
    }

    /// Takes over the agents and keys of another configuration.
    pub fn reconfigure(&self, settings: &Settings) {
        let later = self.settings.parts_that_differ(settings);
        if !later.is_empty() {
            tracing::warn!(keys = later.join(", "), "changes of these keys wait for the next start");
        }
        let master = match (&settings.master_key, settings.keys.is_empty()) {
            (Some(key), _) => Some(key.clone()),
            (None, false) => None,
            (None, true) => match generated_master_key(&settings.store, self.clock) {
                Ok((key, _)) => Some(key),
                Err(error) => {
                    tracing::error!(%error, "the configuration is left as it was: it names nobody who may call");
                    return;
                }
            },
        };
        let is_open = !self.settings.listen.ip().is_loopback();
        let weak = settings.keys.iter().map(|key| &key.key).chain(&master).any(|key| !config::is_long_enough(key));
        if is_open && weak {
            tracing::error!(
                "the configuration is left as it was: a key in it is too short for where this gateway listens"
            );
            return;
        }
        let gone = self.access.configure(master.as_ref(), &settings.keys);
        let (changed, removed) = self.registry.configure(&settings.agents);
        for id in &changed {
            self.routing.forget(id);
        }
        if !gone.is_empty() || !removed.is_empty() {
            tracing::warn!(keys = gone.join(", "), agents = removed.join(", "), "the configuration has these no more");
        }
        tracing::info!(agents = settings.agents.len(), keys = settings.keys.len(), "the configuration was read again");
        self.changes.tell();
    }
}
