//! What must outlive the process: one SQL text for SQLite and PostgreSQL, written here and nowhere else.
//!
//! Every change is a named transaction ([`Store::run_tx`]) that takes the number of its kind of row first, so that
//! changes become visible in the order of their numbers, and whoever polls [`Store::revisions`] misses none. Rows hold
//! documents (ProtoJSON of `proto/switchboard/v1`) beside the columns that SQL must know. Nothing is deleted: a row that
//! is gone has `deleted_at`, so its id is never free again.

use std::fs::File;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyPool, Executor as _};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::{Database, StoreSettings, from_hex, hex};
use crate::error::{Error, Kind};

mod audit;
mod cipher;
mod files;
mod keys;
mod listen;
mod owned;
mod rows;
mod sql;
mod task_lists;

pub use audit::AuditRow;
pub use cipher::{Cipher, Place, SealError};
pub use files::generated_master_key;
pub use keys::KeyColumns;
pub use owned::{NewOwned, OwnedRow, StateChange};
pub use rows::{Changes, PageOf, Resource, Row};
pub use task_lists::{OwnedBy, TasksOf};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// How often a transaction is tried that another one was in the way of.
const ATTEMPTS_MAX: u32 = 5;
/// A store that is away is asked again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The open store.
#[derive(Debug)]
pub struct Store {
    pool: AnyPool,
    database: Database,
    /// For one statement or one transaction.
    patience: Duration,
    cipher: Cipher,
    clock: Clock,
    /// How far the database's clock is ahead of ours, in microseconds; 0 but on PostgreSQL.
    ahead: AtomicI64,
    /// The latest time that was told. A clock that is set back reopens nothing.
    latest: AtomicI64,
    /// Rung after each change made here, and when PostgreSQL tells of one made elsewhere.
    pub changed: Arc<Notify>,
    /// Held as long as the process has the SQLite file.
    _lock: Option<File>,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Files(String),
    #[error("the database cannot be opened: {0}")]
    Database(String),
    #[error(
        "the database has no tables of this release ({0}), and store.migrate is false: run it once with migrate: true, or apply migrations/ by hand"
    )]
    NotMigrated(String),
    #[error(
        "the database was sealed under another encryption key: configure that one, as encryption_key or among encryption_keys_former"
    )]
    WrongKey,
}

/// Why a transaction or a query failed.
#[derive(Debug)]
pub enum StoreError {
    /// Whatever the database or the way to it says.
    Database(DatabaseError),
    /// The work itself refused: the transaction is undone.
    Refused(Error),
}

/// What a database says; named here so that nobody else names its library.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(#[from] sqlx::Error);

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl DatabaseError {
    /// Another transaction was in the way; a repeat may pass.
    fn is_conflict(&self) -> bool {
        // SQLite's BUSY and LOCKED; PostgreSQL's serialization_failure, deadlock_detected and lock_not_available.
        let code = self.code().unwrap_or_default();
        sqlite_code(&code).is_some_and(|code| [5, 6].contains(&code)) || ["40001", "40P01", "55P03"].contains(&&*code)
    }

    fn is_unique_violation(&self) -> bool {
        self.0.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }

    /// The database is there, and refuses what we ask: our mistake, not the weather.
    fn is_ours(&self) -> bool {
        let told = matches!(
            self.0,
            sqlx::Error::Database(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_)
        );
        // PostgreSQL that shuts down, starts or has no room; SQLite whose disk is read-only, broken, full or away.
        let code = self.code().unwrap_or_default();
        let is_weather = match sqlite_code(&code) {
            Some(code) => [8, 10, 13, 14].contains(&code),
            // No connection, no resources, an operator's intervention, a broken disk, and a standby that only reads.
            None => ["08", "53", "57", "58", "25006"].iter().any(|class| code.starts_with(class)),
        };
        told && !is_weather && !self.is_conflict()
    }

    fn code(&self) -> Option<String> {
        self.0.as_database_error().and_then(sqlx::error::DatabaseError::code).map(|code| code.to_string())
    }
}

/// SQLite's primary code in its extended one; PostgreSQL's codes have five characters.
fn sqlite_code(code: &str) -> Option<i64> {
    code.parse::<i64>().ok().filter(|_| code.len() < 5).map(|code| code & 0xff)
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(error) => error,
            StoreError::Database(error) if error.is_unique_violation() => {
                Self::new(Kind::AlreadyExists, "somebody else has just taken that name").because(error)
            }
            StoreError::Database(error) if error.is_ours() => {
                tracing::error!(%error, "the store refuses a statement");
                Self::new(Kind::Internal, "the store refused; nothing was changed").because(error)
            }
            StoreError::Database(error) => {
                Self::new(Kind::Overloaded, "the store does not answer; nothing was changed: try again")
                    .retry_after_is(RETRY_AFTER)
                    .because(error)
            }
        }
    }
}

/// An open transaction. Dropped, it is undone.
pub struct Tx {
    inner: sqlx::Transaction<'static, Any>,
    now: i64,
    /// Something that other gateways have to hear of.
    wrote: bool,
}

impl Store {
    /// Opens the database that `settings` name, and brings its tables to this release.
    ///
    /// # Errors
    /// As [`OpenError`] says. Nothing was changed then, except for files that were missing.
    pub async fn open(settings: &StoreSettings, clock: Clock) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let files = files::Files::prepare(settings, clock)?;
        let is_memory = settings.database == Database::Memory;
        let options = AnyPoolOptions::new()
            // Each connection to a database in memory would have one of its own.
            .max_connections(if is_memory { 1 } else { settings.connections_max })
            .min_connections(u32::from(is_memory))
            .acquire_timeout(settings.timeout)
            .idle_timeout((!is_memory).then_some(Duration::from_secs(300)))
            .max_lifetime(None)
            .test_before_acquire(settings.database == Database::Postgres);
        let is_postgres = settings.database == Database::Postgres;
        let options = options.after_connect(move |connection, _| {
            Box::pin(async move {
                if !is_postgres {
                    connection.execute(PRAGMAS).await?;
                }
                Ok(())
            })
        });
        let pool = options.connect(&files.url).await.map_err(|error| OpenError::Database(plain(&error)))?;
        files.protect();
        let store = Self {
            pool,
            database: settings.database,
            patience: settings.timeout,
            cipher: Cipher::new(files.encryption_key, settings.encryption_keys_former.clone(), clock),
            clock,
            ahead: AtomicI64::new(0),
            latest: AtomicI64::new(0),
            changed: Arc::default(),
            _lock: files.lock,
        };
        store.migrate(settings.migrate).await?;
        store.prove_the_key().await?;
        store.hear_the_time().await.map_err(|error| OpenError::Database(error.to_string()))?;
        Ok(store)
    }

    async fn migrate(&self, may_migrate: bool) -> Result<(), OpenError> {
        if may_migrate {
            return MIGRATIONS.run(&self.pool).await.map_err(|error| OpenError::Database(error.to_string()));
        }
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
        let applied = sqlx::query_scalar::<_, i64>("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations");
        match applied.fetch_one(&self.pool).await {
            Ok(applied) if applied >= newest => Ok(()),
            Ok(applied) => Err(OpenError::NotMigrated(format!("they are at {applied} of {newest}"))),
            Err(sqlx::Error::Database(_)) => Err(OpenError::NotMigrated("there are none".to_owned())),
            Err(error) => Err(OpenError::Database(plain(&error))),
        }
    }

    /// A word sealed at the first start must open: a wrong key is told at once, and not at some agent's next call.
    async fn prove_the_key(&self) -> Result<(), OpenError> {
        let place = Place { table: "meta", column: "value", row: "encryption_proof" };
        let failed = |error: sqlx::Error| OpenError::Database(plain(&error));
        let known = sqlx::query_scalar::<_, String>("SELECT value FROM meta WHERE name = 'encryption_proof'");
        let known = known.fetch_optional(&self.pool).await.map_err(failed)?;
        if let Some(sealed) = &known {
            self.cipher.open(place, sealed).map_err(|_| OpenError::WrongKey)?;
        }
        if known.is_none_or(|sealed| !self.cipher.is_current(&sealed)) {
            let write = "INSERT INTO meta (name, value) VALUES ('encryption_proof', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            sqlx::query(write)
                .bind(self.cipher.seal(place, "switchboard"))
                .execute(&self.pool)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Now, in microseconds since 1970, by the clock that all gateways on this database share, and never earlier than
    /// what was told before.
    pub fn now(&self) -> i64 {
        let now = self.clock.unix_micros().saturating_add(self.ahead.load(Ordering::Relaxed));
        self.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Compares the clocks.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn hear_the_time(&self) -> Result<(), Error> {
        if self.database == Database::Postgres {
            let query = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
            let theirs: i64 = self.read(sqlx::query_scalar(query).fetch_one(&self.pool)).await?;
            self.ahead.store(theirs - self.clock.unix_micros(), Ordering::Relaxed);
        }
        Ok(())
    }

    pub fn database(&self) -> Database {
        self.database
    }

    /// A secret that all gateways on this database share: made once, and kept sealed.
    ///
    /// # Errors
    /// Overloaded when the store does not answer; Internal when what is kept cannot be opened.
    pub async fn shared_secret(&self, name: &str) -> Result<[u8; 32], Error> {
        let place = Place { table: "meta", column: "value", row: name };
        let kept = || sqlx::query_scalar::<_, String>("SELECT value FROM meta WHERE name = $1").bind(name);
        let sealed = if let Some(sealed) = self.read(kept().fetch_optional(&self.pool)).await? {
            sealed
        } else {
            let sealed = self.cipher.seal(place, &hex(&self.clock.random::<32>()));
            let write = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
            self.read(sqlx::query(write).bind(name).bind(sealed).execute(&self.pool)).await?;
            // Another gateway may have been faster.
            self.read(kept().fetch_one(&self.pool)).await?
        };
        let opened = self.cipher.open(place, &sealed).ok().and_then(|text| from_hex(&text));
        if let Some(secret) = opened.filter(|_| !self.cipher.is_current(&sealed)) {
            let write =
                sqlx::query("UPDATE meta SET value = $3 WHERE name = $1 AND value = $2").bind(name).bind(&sealed);
            self.read(write.bind(self.cipher.seal(place, &hex(&secret))).execute(&self.pool)).await?;
        }
        opened.ok_or_else(|| Error::new(Kind::Internal, format!("table meta: the row {name} cannot be opened")))
    }

    pub fn cipher(&self) -> &Cipher {
        &self.cipher
    }

    /// Runs `work` in a transaction, which is committed if it returns a value. What another transaction was in the way of
    /// is undone and done again, a bounded number of times; so `work` must change nothing but the transaction.
    ///
    /// # Errors
    /// What `work` refused with; Overloaded when the store does not answer.
    pub async fn run_tx<T, W>(&self, name: &'static str, mut work: impl FnMut(Tx) -> W) -> Result<T, Error>
    where
        // The transaction goes in and comes back: a future that borrowed it could not be known to be Send.
        W: Future<Output = Result<(Tx, T), StoreError>>,
    {
        let mut attempt = 1;
        loop {
            let mut is_committing = false;
            let done = timeout(self.patience, async {
                let (mut tx, value) = work(self.begin().await?).await?;
                if tx.wrote && self.database == Database::Postgres {
                    sqlx::query("SELECT pg_notify('switchboard', '')").execute(&mut *tx.inner).await?;
                }
                is_committing = true;
                let wrote = tx.wrote;
                tx.inner.commit().await?;
                Ok::<_, StoreError>((value, wrote))
            });
            match done.await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into())) {
                Ok((value, wrote)) => {
                    if wrote {
                        self.changed.notify_one();
                    }
                    return Ok(value);
                }
                Err(StoreError::Database(error)) if error.is_conflict() && attempt < ATTEMPTS_MAX => {
                    tracing::debug!(transaction = name, attempt, %error, "another transaction was in the way");
                    attempt += 1;
                }
                Err(StoreError::Database(error)) if is_committing && !error.is_ours() => {
                    let message =
                        "the store did not answer in time, and may have made the change: read it before you repeat it";
                    return Err(Error::new(Kind::Overloaded, message).retry_after_is(RETRY_AFTER).because(error));
                }
                Err(error) => {
                    let error = Error::from(error);
                    tracing::debug!(transaction = name, attempt, ?error, "a transaction was undone");
                    return Err(error);
                }
            }
        }
    }

    async fn begin(&self) -> Result<Tx, StoreError> {
        // SQLite: a transaction that reads and then writes could otherwise fail half-way, whatever the timeout.
        let inner = match self.database {
            Database::Postgres => self.pool.begin().await?,
            Database::Sqlite | Database::Memory => self.pool.begin_with("BEGIN IMMEDIATE").await?,
        };
        Ok(Tx { inner, now: self.now(), wrote: false })
    }

    /// A read outside a transaction, in bounded time.
    async fn read<T>(&self, query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
        let read = timeout(self.patience, query).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        read.map_err(|error| StoreError::from(error).into())
    }

    /// Closes every connection, after the queries under way.
    pub async fn close(&self) {
        // A database that hangs must not keep the process.
        let _ = timeout(self.patience, self.pool.close()).await;
    }
}

/// WAL lets readers go on while one writes; FULL makes a commit outlive a power cut.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -1024; PRAGMA foreign_keys = ON";

/// What a database says, without the address that it may hold.
fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "nothing listens at store.url".to_owned()
        }
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "it does not answer in time".to_owned(),
        other => other.to_string(),
    }
}
