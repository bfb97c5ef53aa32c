//! The program itself, for tests that kill it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::gateway::KEY;

/// How long until `done` says so.
pub async fn until(limit: Duration, mut done: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < limit, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("it took {:?}", begun.elapsed());
    begun.elapsed()
}

/// A gateway in a process of its own, which is killed when it is dropped.
pub struct Process {
    pub child: Child,
    pub base: String,
    pub config: tempfile::NamedTempFile,
}

impl Process {
    /// Starts one with this configuration; port and master key are the test's.
    pub fn serve(yaml: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(config.path(), format!("listen: {address}\nmaster_key: {KEY}\n{yaml}")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .env_clear()
            .args(["serve", "--config"])
            .arg(config.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, base: format!("http://{address}"), config }
    }

    /// Returns when it answers.
    pub async fn is_ready(&self) {
        let client = switchboard::client::Client::new(self.base.parse().unwrap(), KEY);
        until(Duration::from_secs(20), async || client.admin("AgentService/ListAgents", &json!({})).await.is_ok())
            .await;
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
