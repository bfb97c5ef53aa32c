//! A gateway with many agents and keys in its store: `cargo bench --bench scale`. It prints how long a start takes and
//! what a call costs beside one with ten of each, and fails only when something is wrong.
//!
//! `SCALE_AGENTS` (100,000) and `SCALE_KEYS` (1,000,000) set how many there are.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use switchboard::clock::Clock;
use switchboard::config;
use switchboard::registry::Registry;
use switchboard::server::Server;
use switchboard::store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MASTER: &str = "sk-master";
const CALLS: usize = 5_000;

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("scale: measures nothing without --bench, which `cargo bench --bench scale` passes");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for (agents, keys) in [(10, 10), (number("SCALE_AGENTS", 100_000), number("SCALE_KEYS", 1_000_000))] {
            measure(agents, keys).await;
        }
    });
    ExitCode::SUCCESS
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Answers whatever comes with one Task.
async fn agent() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    #[expect(clippy::disallowed_methods, reason = "it ends with the process")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let body = r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let mut buffer = vec![0; 16 << 10];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

async fn measure(agents: usize, keys: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let port = agent().await;
    let text = format!(
        "listen: 127.0.0.1:0\nmaster_key: {MASTER}\nlog: {{records: stderr, level: error}}\nstore: {{data_dir: '{}'}}\noutbound: {{allow: [127.0.0.0/8]}}\n",
        directory.path().display()
    );
    let settings = || config::parse(&text, &|_| None).expect("a right configuration");
    drop(Store::open(&settings().store, Clock).await.expect("it opens"));
    fill(directory.path(), port, agents, keys);

    let begun = Clock.instant();
    let (sink, mut records) = tokio::sync::mpsc::unbounded_channel();
    let drain = std::thread::spawn(move || while records.blocking_recv().is_some() {});
    let server = Server::start(settings(), Some(switchboard::ledger::Sink::Channel(sink))).await.expect("it starts");
    let ready = begun.elapsed();

    let mut stream = tokio::net::TcpStream::connect(server.address()).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let mut times = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    for round in 0..CALLS {
        // Two hundred keys take turns, each with an agent of its own; the first round reads each from the store.
        let of = (round % 200) * (keys.min(agents) / 200).max(1) % keys.min(agents);
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}]}}}"#;
        let request = format!(
            "POST /a2a/agent-{of} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-{of}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let begun = Clock.instant();
        stream.write_all(request.as_bytes()).await.expect("it takes the call");
        let read = stream.read(&mut buffer).await.expect("it answers");
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
        times.push(begun.elapsed());
    }
    let median = |times: &mut [Duration]| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let later = median(&mut times[CALLS / 2..]);
    let first = median(&mut times[..200.min(keys)]);
    drop(stream);
    server.stop().await;
    let _ = drain.join();
    let settings = settings();
    let store = Arc::new(Store::open(&settings.store, Clock).await.expect("it opens"));
    let begun = Clock.instant();
    Registry::new(&[]).load(&store).await.expect("it loads");
    println!(
        "{agents:>7} agents, {keys:>8} keys: ready in {:.0} ms (agents {:.0} ms); a call, median of {CALLS}: {later:.0} us; with a key read from the store: {first:.0} us",
        ready.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64() * 1e3,
    );
}

/// Writes rows as the gateway would, by SQLite's own hands: a million calls of the API would take hours.
fn fill(directory: &std::path::Path, port: u16, agents: usize, keys: usize) {
    const SCRIPT: &str = "
import hashlib, json, sqlite3, sys
file, port, agents, keys = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(file, isolation_level=None)
db.execute('PRAGMA synchronous = OFF'); db.execute('BEGIN')
row = ', '.join('?' * 11)
names = 'id, name, team_id, doc, sealed, revision, seq, created_at, created_by, updated_at, updated_by'
def agent(n):
    doc = {'name': f'agent-{n}', 'description': 'one of many', 'endpoints': [{'url': f'http://127.0.0.1:{port}/', 'protocolVersion': '1.0', 'bindings': ['jsonrpc']}], 'enabled': True, 'state': 'AGENT_STATE_APPROVED'}
    return (f'agt_{n:032x}', f'agent-{n}', '', json.dumps(doc), '', 1, n + 1, 1, 'bench', 1, 'bench')
def key(n):
    doc = {'alias': f'key-{n}', 'role': 'ROLE_CALLER', 'grants': {'agents': [f'agt_{n % agents:032x}']}}
    return (f'key_{n:032x}', f'key-{n}', '', json.dumps(doc), '', 1, n + 1, 1, 'bench', 1, 'bench', hashlib.sha256(f'sk-{n}'.encode()).hexdigest())
db.executemany(f'INSERT INTO agents ({names}) VALUES ({row})', (agent(n) for n in range(agents)))
db.executemany('INSERT INTO agent_names VALUES (?, ?)', ((f'agent-{n}', f'agt_{n:032x}') for n in range(agents)))
db.executemany(f'INSERT INTO keys ({names}, hash) VALUES ({row}, ?)', (key(n) for n in range(keys)))
db.execute('UPDATE revision SET n = ? WHERE topic = ?', (agents, 'agents')); db.execute('UPDATE revision SET n = ? WHERE topic = ?', (keys, 'keys'))
db.execute('COMMIT')
";
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(directory.join("switchboard.db"))
        .args([port.to_string(), agents.to_string(), keys.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("python3 is here");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
