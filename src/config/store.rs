//! Where everything is kept that must outlive the process.

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::{EncryptionKey, Secret};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    /// SQLite without a file: gone with the process.
    Memory,
    Postgres,
}

#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub database: Database,
    /// Empty for the usual file in `data_dir`. It may hold a password.
    pub url: Secret,
    /// For the database file and for secrets that are made once.
    pub data_dir: PathBuf,
    /// Whether tables are brought to this release at the start.
    pub migrate: bool,
    pub connections_max: u32,
    /// For one statement or transaction.
    pub timeout: Duration,
    /// How long what was read before is believed while the database is away.
    pub stale_max: Duration,
    /// How often other gateways' changes are looked for.
    pub poll: Duration,
    /// None: made once and kept in `data_dir`.
    pub encryption_key: Option<EncryptionKey>,
    /// Keys under which older secrets may still be sealed.
    pub encryption_keys_former: Vec<EncryptionKey>,
}

/// Reads the section `store` and the encryption keys beside it.
pub(super) fn store(root: &Section<'_>) -> StoreSettings {
    let s = root.section("store");
    let hint = "these are known: sqlite:PATH, memory, and postgres://USER:PASSWORD@HOST/DATABASE";
    let url = s.secrets("url").pop();
    let database = match url.as_ref().map(|(url, line)| (database(url.expose()), line)) {
        // RouteIQ's switch: nothing is kept.
        None if root.environment_says_no("STORE_MODEL_IN_DB") => Database::Memory,
        None => Database::Sqlite,
        Some((Some(database), _)) => database,
        Some((None, line)) => {
            // It is not shown, for it may hold a password.
            s.problem("url", *line, "names no database that is known here", hint);
            Database::Sqlite
        }
    };
    let settings = StoreSettings {
        database,
        url: url.map_or_else(|| Secret::new(""), |(url, _)| url),
        data_dir: s.text("data_dir").unwrap_or_default().into(),
        migrate: s.flag("migrate"),
        connections_max: u32::try_from(s.number("connections_max", 1..=1_000)).unwrap_or(1),
        timeout: s.millis("timeout_ms"),
        stale_max: s.millis("stale_max_ms"),
        poll: s.millis("poll_ms"),
        encryption_key: encryption_keys(root, "encryption_key").pop(),
        encryption_keys_former: encryption_keys(root, "encryption_keys_former"),
    };
    if database == Database::Postgres && settings.encryption_key.is_none() && !root.has("encryption_key") {
        root.problem(
            "encryption_key",
            None,
            "is missing, and gateways that share a PostgreSQL must have the same one",
            "make one with: openssl rand -hex 32; and write `encryption_key: ${SWITCHBOARD_ENCRYPTION_KEY}`",
        );
    }
    s.finish();
    settings
}

fn database(url: &str) -> Option<Database> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "memory" => Some(Database::Memory),
        "sqlite" => Some(Database::Sqlite),
        "postgres" | "postgresql" => Some(Database::Postgres),
        _ => None,
    }
}

fn encryption_keys(root: &Section<'_>, name: &str) -> Vec<EncryptionKey> {
    let read = |(text, line): (Secret, Option<usize>)| {
        let key = EncryptionKey::parse(text.expose());
        if key.is_none() {
            root.problem(name, line, "is no key of 32 bytes in hex or base64", "make one with: openssl rand -hex 32");
        }
        key
    };
    root.secrets(name).into_iter().filter_map(read).collect()
}
