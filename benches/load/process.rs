//! Processes that end with the bench.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use switchboard::clock::Clock;
use tokio::time::Instant;

use crate::Outcome;
use crate::http::Connection;

/// How long a process may take to answer after its start, and to end when it is asked.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_micros(500);

/// A running child. Dropping it ends it, also when the bench panics.
pub struct Process {
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Process {
    /// Starts `command`, its stderr in the file `log` and its stdout appended to the file `output`.
    pub fn start(mut command: Command, log: &Path, output: &Path) -> Outcome<Self> {
        let output = File::options().create(true).append(true).open(output)?;
        command.stdin(Stdio::null()).stdout(output).stderr(File::create(log)?);
        let program = command.get_program().to_owned();
        let started = Clock.instant();
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        Ok(Self { child, log: log.to_owned(), started })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a GET of `path` is answered with 200, and says how long after the start that was.
    pub fn wait_for(&mut self, port: u16, path: &str) -> Outcome<Duration> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        while self.started.elapsed() < PATIENCE {
            if let Ok(mut connection) = Connection::open(port)
                && connection.ask(request.as_bytes()).is_ok_and(|answer| answer.status == 200)
            {
                return Ok(self.started.elapsed());
            }
            self.check_alive()?;
            sleep(POLL);
        }
        Err(format!("no 200 from port {port}, path {path}: {}", self.said()).into())
    }

    /// # Errors
    /// The process has ended; the message is what it said.
    pub fn check_alive(&mut self) -> Outcome<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("a process ended with {status}: {}", self.said()).into()),
        }
    }

    fn said(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A kill would leave nginx's workers behind: they end with their master only when it is asked to end.
        let _ = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.id().to_string()]).status();
        let begin = Clock.instant();
        while begin.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
