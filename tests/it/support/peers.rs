//! Real peers: the official Python SDKs of both generations, and agents of frameworks, each in an environment of its own.
//!
//! Environments are made once from the locks in `tests/peers/python`, under `$SWITCHBOARD_CACHE`, with a file lock
//! between processes. An agent runs once for each test binary and ends when its stdin closes, which is when the
//! test process ends, however it ends. A peer that cannot be had fails its tests.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

/// A generation of the SDK, or a framework whose agents speak A2A. Each has an environment of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sdk {
    /// a2a-sdk 1.3.
    V1,
    /// a2a-sdk 0.3.26.
    V03,
    /// FastA2A 2 with Pydantic AI 2, A2A 1.0.
    FastA2a,
    /// Pydantic AI 1 with FastA2A 0.6, A2A 0.3.
    Pydantic,
    /// Google's Agent Development Kit, A2A 1.0.
    Adk,
    /// The A2A endpoint of LangGraph's server.
    LangGraph,
    /// Strands, A2A 0.3.
    Strands,
}

impl Sdk {
    const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V03 => "v03",
            Self::FastA2a => "fasta2a",
            Self::Pydantic => "pydantic",
            Self::Adk => "adk",
            Self::LangGraph => "langgraph",
            Self::Strands => "strands",
        }
    }
}

/// Whether the operator of this run turned the peers of this language off with `SWITCHBOARD_WITHOUT`.
pub fn is_off(peer: &str) -> bool {
    let off = std::env::var("SWITCHBOARD_WITHOUT").unwrap_or_default().split(',').any(|name| name.trim() == peer);
    if off {
        eprintln!("NOT TESTED: {peer} peers are turned off by SWITCHBOARD_WITHOUT");
    }
    off
}

pub fn python_is_off() -> bool {
    is_off("python")
}

pub(super) fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/switchboard");
    std::env::var_os("SWITCHBOARD_CACHE").map_or_else(home, PathBuf::from)
}

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers/python")
}

/// The interpreter of an environment, which is made when it is not there or its lock changed.
fn python(sdk: Sdk) -> PathBuf {
    static MADE: OnceLock<Mutex<HashMap<Sdk, PathBuf>>> = OnceLock::new();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap();
    made.entry(sdk).or_insert_with(|| make(sdk)).clone()
}

fn make(sdk: Sdk) -> PathBuf {
    let lock =
        fs::read_to_string(scripts().join(format!("{}.txt", sdk.name()))).expect("the lock is in the repository");
    let home = cache().join(format!("python-{}", sdk.name()));
    fs::create_dir_all(cache()).expect("the cache can be made");
    let guard = File::create(cache().join(format!("python-{}.lock", sdk.name()))).expect("a lock file can be made");
    guard.lock().expect("the lock can be taken");
    let stamp = home.join("lock.txt");
    let interpreter = home.join("bin/python");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return interpreter;
    }
    let run = |command: &mut Command| {
        let output = command.output().expect("python3 3.11 with venv is needed: apt-get install python3-venv");
        assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
    let requirements = scripts().join(format!("{}.txt", sdk.name()));
    run(Command::new(&interpreter)
        .args(["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r"])
        .arg(requirements));
    fs::write(stamp, lock).expect("the stamp can be written");
    interpreter
}

/// An agent that runs for the whole test binary.
pub struct Agent {
    pub url: String,
    /// The address of its gRPC binding, host and port, if it has one.
    pub grpc: String,
    /// Where its card is, if that is elsewhere than below its address.
    pub card: String,
    _child: Child,
}

/// The agent of this SDK with these arguments; started at its first use.
pub fn agent(sdk: Sdk, arguments: &[&str]) -> Arc<Agent> {
    type Running = Mutex<HashMap<(Sdk, String), Arc<Agent>>>;
    static RUNNING: OnceLock<Running> = OnceLock::new();
    let key = (sdk, arguments.join(" "));
    let mut running = RUNNING.get_or_init(Mutex::default).lock().unwrap();
    Arc::clone(running.entry(key).or_insert_with(|| {
        let mut command = Command::new(python(sdk));
        command.arg(scripts().join(format!("agent_{}.py", sdk.name()))).args(arguments);
        Arc::new(started(command))
    }))
}

/// The agent of the JavaScript SDK's last generation for 0.3; started at its first use.
pub fn js_agent() -> Arc<Agent> {
    static RUNNING: OnceLock<Arc<Agent>> = OnceLock::new();
    Arc::clone(RUNNING.get_or_init(|| Arc::new(started(super::tools::old_node_agent(&["--push", "--ext-card"])))))
}

/// Starts an agent, which says in one line where it is.
fn started(mut command: Command) -> Agent {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = piped.spawn().expect("the agent starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("the agent says where it is");
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the agent did not start: {line:?}"));
    let address = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
    Agent { url: address("url"), grpc: address("grpc"), card: address("card"), _child: child }
}

/// Runs a script to its end and reads the one document that it prints.
pub async fn run(
    sdk: Sdk,
    script: &'static str,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
) -> Value {
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(python(sdk));
        command.arg(scripts().join(script)).args(arguments).envs(environment).stdin(Stdio::null());
        command.output().expect("the script starts")
    });
    let output = output.await.expect("the script does not panic");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{script} printed no document: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// The SDK's own converters and Google's JSON, one question a line.
pub struct Oracle {
    _child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The oracle of this test binary.
pub fn oracle() -> &'static Mutex<Oracle> {
    static ORACLE: OnceLock<Mutex<Oracle>> = OnceLock::new();
    ORACLE.get_or_init(|| {
        let mut child = Command::new(python(Sdk::V1))
            .arg(scripts().join("oracle.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the oracle starts");
        let questions = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Mutex::new(Oracle { _child: child, questions, answers })
    })
}

impl Oracle {
    pub fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions, "{question}").expect("the oracle listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the oracle answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the oracle said {line:?} to {question}"))
    }
}
