//! Logs: structured, without bodies, keys or query strings, on stderr.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// Starts logging for the process. A second call changes nothing.
pub fn start(settings: &LogSettings) {
    let filter = EnvFilter::new(&settings.level);
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A subscriber that is there already, as in tests, stays.
    let _ = match settings.format {
        LogFormat::Text => logs.with_ansi(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
}
