//! The files of an installation: the directory (0700), the database, and the secrets that are made once (0600).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::OpenError;
use crate::clock::Clock;
use crate::config::{Database, EncryptionKey, Secret, StoreSettings, hex};

/// The directory in which an installation keeps its files.
#[derive(Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Makes it, or closes it to everybody else.
    ///
    /// # Errors
    /// It cannot be made or is not ours.
    pub fn prepare(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: io::Error| {
            OpenError::Files(format!(
                "{} cannot be used: {error}. Set store.data_dir to a directory of ours",
                path.display()
            ))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
        Ok(Self(path.to_owned()))
    }

    /// The text of a file in it, which is made with `text` if it is not there.
    fn kept(&self, name: &str, text: impl FnOnce() -> String) -> Result<(String, PathBuf, bool), OpenError> {
        let path = self.0.join(name);
        let failed = |error: io::Error| OpenError::Files(format!("{} cannot be used: {error}", path.display()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(mut file) => {
                let text = text();
                writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
                Ok((text, path, true))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let text = fs::read_to_string(&path).map_err(failed)?;
                Ok((text.trim().to_owned(), path, false))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// The master key of an installation whose configuration has none: made once, kept in `master.key`, whose path is all
/// that is ever printed.
///
/// # Errors
/// The file cannot be written or read.
pub fn generated_master_key(settings: &StoreSettings, clock: Clock) -> Result<(Secret, PathBuf), OpenError> {
    let directory = DataDir::prepare(&settings.data_dir)?;
    let (text, path, _) = directory.kept("master.key", || format!("sk-{}", hex(&clock.random::<32>())))?;
    if text.is_empty() {
        return Err(OpenError::Files(format!("{} is empty: remove it, and a new key is made", path.display())));
    }
    Ok((Secret::new(text), path))
}

/// What [`super::Store::open`] needs of the file system.
pub(super) struct Files {
    pub(super) url: String,
    pub(super) encryption_key: EncryptionKey,
    pub(super) lock: Option<File>,
    database: Option<PathBuf>,
}

impl Files {
    pub(super) fn prepare(settings: &StoreSettings, clock: Clock) -> Result<Self, OpenError> {
        let configured = settings.encryption_key.clone();
        match settings.database {
            Database::Memory => Ok(Self {
                url: "sqlite::memory:".to_owned(),
                encryption_key: configured.unwrap_or_else(|| EncryptionKey::new(clock.random())),
                lock: None,
                database: None,
            }),
            Database::Postgres => Ok(Self {
                url: settings.url.expose().to_owned(),
                // The configuration sees to it that there is one: replicas must have the same.
                encryption_key: configured.ok_or_else(|| OpenError::Files("encryption_key is missing".to_owned()))?,
                lock: None,
                database: None,
            }),
            Database::Sqlite => Self::sqlite(settings, configured, clock),
        }
    }

    fn sqlite(settings: &StoreSettings, configured: Option<EncryptionKey>, clock: Clock) -> Result<Self, OpenError> {
        let directory = DataDir::prepare(&settings.data_dir)?;
        let written = settings.url.expose();
        let path = written.strip_prefix("sqlite:").unwrap_or(written);
        let path = match path.strip_prefix("//").unwrap_or(path) {
            "" => directory.0.join("switchboard.db"),
            path => PathBuf::from(path),
        };
        let lock = lock(&path)?;
        let encryption_key = match configured {
            Some(key) => key,
            None => generated_encryption_key(&directory, clock)?,
        };
        let encoded = percent_encoding::utf8_percent_encode(&path.to_string_lossy(), PATH).to_string();
        Ok(Self { url: format!("sqlite:{encoded}?mode=rwc"), encryption_key, lock: Some(lock), database: Some(path) })
    }

    /// Closes the database's files to everybody else.
    pub(super) fn protect(&self) {
        let Some(path) = &self.database else { return };
        for suffix in ["", "-wal", "-shm"] {
            let file = format!("{}{suffix}", path.display());
            // The directory is closed already; a file that is not there needs nothing.
            let _ = fs::set_permissions(file, Permissions::from_mode(0o600));
        }
    }
}

const PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'?').add(b'#').add(b'%').add(b' ');

/// The key of an installation whose configuration has none: made once, kept in `encryption.key`.
fn generated_encryption_key(directory: &DataDir, clock: Clock) -> Result<EncryptionKey, OpenError> {
    let make = || EncryptionKey::new(clock.random()).to_hex();
    let (text, path, is_new) = directory.kept("encryption.key", make)?;
    if is_new {
        tracing::info!(path = %path.display(), "made an encryption key: keep a copy where the database's backups are not");
    }
    let unusable = || OpenError::Files(format!("{} holds no key of 32 bytes", path.display()));
    EncryptionKey::parse(&text).ok_or_else(unusable)
}

/// Two processes on one file would each believe their own memory of it.
fn lock(database: &Path) -> Result<File, OpenError> {
    let path = PathBuf::from(format!("{}.lock", database.display()));
    let failed = |error: io::Error| OpenError::Files(format!("{} cannot be used: {error}", path.display()));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Files(format!(
            "another process has {} open: stop it, or use PostgreSQL for several gateways",
            database.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}
