//! Both databases: a SQLite file in a directory of its own, and a real PostgreSQL.
//!
//! PostgreSQL is `TEST_DATABASE_URL`, else a server that this test binary starts, from PATH or from Debian's place, as an
//! unprivileged user, on a socket in a temporary directory. It ends when the test process ends, however it ends.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// The uid of nobody: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;
const ENCRYPTION_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A database of a test's own, as a configuration says it.
pub struct Database {
    pub yaml: String,
    url: Option<String>,
    pub directory: TempDir,
}

impl Database {
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let yaml =
            format!("store: {{data_dir: '{}'}}\nencryption_key: '{ENCRYPTION_KEY}'\n", directory.path().display());
        Self { yaml, url: None, directory }
    }

    pub fn postgres() -> Self {
        let url = shared().database();
        Self::at(url)
    }

    /// One of `server`.
    pub fn of(server: &Postgres) -> Self {
        Self::at(server.database())
    }

    fn at(url: String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let yaml = format!(
            "store: {{url: '{url}', data_dir: '{}'}}\nencryption_key: '{ENCRYPTION_KEY}'\n",
            directory.path().display()
        );
        Self { yaml, url: Some(url), directory }
    }

    /// One of each.
    pub fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres()]
    }

    /// Changes what is there.
    pub fn execute(&self, sql: &str) {
        self.query(sql);
    }

    /// What a query says, a line a row, cells with `|` between them.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let output = if let Some(url) = &self.url {
            Command::new(program("psql")).args(["-XAtq", "-d", url, "-c", sql]).output()
        } else {
            let script = "import sqlite3,sys\nfor row in sqlite3.connect(sys.argv[1],isolation_level=None).execute(sys.argv[2]): print('|'.join('' if c is None else str(c) for c in row))";
            let file = self.directory.path().join("switchboard.db");
            Command::new("python3").args(["-c", script]).arg(file).arg(sql).output()
        };
        let output = output.expect("the database can be asked");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

/// A PostgreSQL server.
pub struct Postgres {
    /// None for one that somebody else runs.
    child: Option<Child>,
    directory: Option<TempDir>,
    url: String,
}

fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var("TEST_DATABASE_URL") {
        Ok(url) => Postgres { child: None, directory: None, url },
        Err(_) => Postgres::start(),
    })
}

impl Postgres {
    /// A server of this test's own.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("switchboard-pg").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
        if is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = directory.path().join("data");
        let init = unprivileged(&program("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .expect("initdb starts");
        assert!(init.status.success(), "initdb: {}", String::from_utf8_lossy(&init.stderr));
        let mut server = Self { child: None, url: String::new(), directory: Some(directory) };
        server.go_on();
        server
    }

    /// Starts it, again if it was stopped.
    pub fn go_on(&mut self) {
        let directory = self.directory.as_ref().expect("it is ours").path();
        // The shell waits for the end of its input, which comes with the end of the test process.
        let script = r#""$0" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off -c max_connections=200 >"$1/log" 2>&1 & pid=$!; echo started; cat >/dev/null; kill -INT $pid; wait $pid"#;
        let mut child = unprivileged(Path::new("/bin/sh"))
            .args(["-c", script])
            .arg(program("postgres"))
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).unwrap();
        self.child = Some(child);
        self.url = format!("postgres://postgres@localhost/postgres?host={}", directory.display());
        for _ in 0..200 {
            if self.psql("SELECT 1").status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL does not start: {}", std::fs::read_to_string(directory.join("log")).unwrap_or_default());
    }

    /// Stops it at once, with connections open.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    fn psql(&self, sql: &str) -> Output {
        Command::new(program("psql")).args(["-XAtq", "-d", &self.url, "-c", sql]).output().expect("psql starts")
    }

    /// A new database, as a URL.
    fn database(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let made = self.psql(&format!("CREATE DATABASE {name}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut url = url::Url::parse(&self.url).expect("a URL");
        url.set_path(&name);
        url.to_string()
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).current_dir("/tmp");
    command
}

/// One of PostgreSQL's programs: on PATH, else where Debian keeps them.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists());
    let debian = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        versions.filter_map(|entry| Some(entry.ok()?.path().join("bin").join(name))).find(|file| file.exists())
    };
    on_path
        .or_else(debian)
        .unwrap_or_else(|| panic!("{name} is not here: apt-get install postgresql, or set TEST_DATABASE_URL"))
}
