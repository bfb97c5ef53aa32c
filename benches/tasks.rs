//! Ten million tasks in the store, on both databases: `cargo bench --bench tasks`. It prints what it takes to get one,
//! to list them and to send to one, with owners in memory and not, and fails only when something is wrong.
//!
//! `TASK_ROWS` (10,000,000) sets how many there are: of one agent, in a thousand teams, and one key has a tenth of all.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use switchboard::client::Client;
use switchboard::clock::Clock;
use switchboard::config;
use switchboard::ledger::Sink;
use switchboard::server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[expect(dead_code, reason = "tests need more of it")]
#[expect(clippy::unwrap_used, reason = "a bench may stop where it stands")]
#[path = "../tests/it/support/database.rs"]
mod database;

use database::Database;

const MASTER: &str = "sk-master";
const ROUNDS: usize = 200;
const TEAMS: usize = 1_000;

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("tasks: measures nothing without --bench, which `cargo bench --bench tasks` passes");
        return ExitCode::SUCCESS;
    }
    let rows = std::env::var("TASK_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for database in Database::both() {
            measure(&database, rows).await;
        }
    });
    ExitCode::SUCCESS
}

/// Answers GetTask with the task that is asked for, and everything else with a new one.
async fn agent() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    #[expect(clippy::disallowed_methods, reason = "it ends with the process")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

async fn serve(mut stream: tokio::net::TcpStream) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let Some((_, body)) = text.split_once("\r\n\r\n") else { return };
        let Ok(request) = serde_json::from_str::<Value>(body) else { return };
        let asked = request["params"]["id"].as_str().map(str::to_owned);
        let is_get = asked.is_some();
        let id = asked.unwrap_or_else(|| Clock.uuid().to_string());
        let task =
            json!({ "id": id, "contextId": format!("context of {id}"), "status": { "state": "TASK_STATE_COMPLETED" } });
        let result = if is_get { task } else { json!({ "task": task }) };
        let reply = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", reply.len());
        if stream.write_all((head + &reply).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn measure(database: &Database, rows: usize) {
    let name = if database.yaml.contains("postgres://") { "PostgreSQL" } else { "SQLite" };
    let port = agent().await;
    let text = format!(
        "listen: 127.0.0.1:0\nmaster_key: {MASTER}\nlog: {{level: error}}\n{}agents: [{{name: a, url: 'http://127.0.0.1:{port}', protocol_version: '1.0', bindings: [jsonrpc]}}]\n",
        database.yaml
    );
    let (server, client) = start(&text).await;
    let agent = client.admin("AgentService/GetAgent", &json!({ "id": "a" })).await.expect("it is there");
    let team = json!({ "team": { "id": "team-7", "name": "seven", "grants": { "allAgents": true } } });
    client.admin("TeamService/CreateTeam", &team).await.expect("it is made");
    let key = async |alias: &str, team: &str| {
        let key = json!({ "key": { "alias": alias, "teamId": team, "grants": { "allAgents": true } } });
        client.admin("KeyService/CreateKey", &key).await.expect("it is made")
    };
    let (member, many) = (key("member", "team-7").await, key("many", "").await);
    server.stop().await;
    let begun = Clock.instant();
    fill(database, agent["agent"]["id"].as_str().expect("an id"), many["key"]["id"].as_str().expect("an id"), rows);
    println!("{name}: {rows} tasks, written in {:.0} s", begun.elapsed().as_secs_f64());

    let (server, _) = start(&text).await;
    let base = server.address();
    for (whose, key) in [("of a team with a thousandth", &member), ("of a key with a tenth", &many)] {
        let key = key["secret"].as_str().expect("a value");
        let mut caller = Caller::connect(base, key).await;
        let is_many = whose.contains("key");
        let ids: Vec<String> = (0..ROUNDS).map(|n| id_of(n, rows, is_many)).collect();
        let get = caller.median("GetTask", |n| json!({ "id": ids[n] })).await;
        let again = caller.median("GetTask", |n| json!({ "id": ids[n] })).await;
        let list = caller.median("ListTasks", |_| json!({ "pageSize": 50 })).await;
        let one = caller.median("ListTasks", |_| json!({ "pageSize": 1 })).await;
        println!(
            "{name}, {whose}: get {get:.2} ms, with its owner in memory {again:.2} ms; list 1 {one:.1} ms, list 50 (with 50 gets) {list:.1} ms"
        );
        if !is_many {
            let message = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "hi" }] });
            let send = caller.median("SendMessage", |_| json!({ "message": message })).await;
            println!("{name}: send, with a new task and context each time {send:.2} ms");
        }
    }
    server.stop().await;
}

async fn start(text: &str) -> (Server, Client) {
    let settings = config::parse(text, &|_| None).expect("a right configuration");
    let (sink, mut records) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || while records.blocking_recv().is_some() {});
    let server = Server::start(settings, Some(Sink::Channel(sink))).await.expect("it starts");
    let base = format!("http://{}", server.address()).parse().expect("a URL");
    (server, Client::new(base, MASTER))
}

/// The nth task of team 7, or of the key that has a tenth.
fn id_of(n: usize, rows: usize, is_many: bool) -> String {
    let at = if is_many { n * 10 * (rows / 10 / ROUNDS).max(1) } else { 7 + TEAMS * (n % (rows / TEAMS)) };
    format!("task-{at}")
}

struct Caller {
    stream: tokio::net::TcpStream,
    key: String,
}

impl Caller {
    async fn connect(to: std::net::SocketAddr, key: &str) -> Self {
        let stream = tokio::net::TcpStream::connect(to).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, key: key.to_owned() }
    }

    /// Milliseconds of the median call.
    async fn median(&mut self, method: &str, params: impl Fn(usize) -> Value) -> f64 {
        let mut times: Vec<Duration> = Vec::new();
        for round in 0..ROUNDS {
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params(round) }).to_string();
            let head = format!(
                "POST /a2a/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                self.key,
                body.len()
            );
            let begun = Clock.instant();
            self.stream.write_all((head + &body).as_bytes()).await.expect("it takes the call");
            let answer = self.answer().await;
            times.push(begun.elapsed());
            assert!(answer.contains("\"result\""), "{method}: {answer}");
        }
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    }

    async fn answer(&mut self) -> String {
        let (mut text, mut buffer) = (String::new(), vec![0; 64 << 10]);
        loop {
            let read = self.stream.read(&mut buffer).await.expect("it answers");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            if length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length) {
                return text;
            }
        }
    }
}

/// Writes rows by the database's own hands: ten million calls would take hours. Task n is of team n modulo a thousand;
/// every tenth is of one key without a team.
fn fill(database: &Database, agent: &str, many: &str, rows: usize) {
    let is_postgres = database.yaml.contains("postgres://");
    let numbers = if is_postgres {
        format!("SELECT n FROM generate_series(0, {rows} - 1) AS g(n)")
    } else {
        format!("WITH RECURSIVE g(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM g WHERE n < {rows} - 1) SELECT n FROM g")
    };
    let indexes = if is_postgres {
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'tasks' AND indexname <> 'tasks_pkey'"
    } else {
        "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'tasks' AND type = 'index' AND sql IS NOT NULL"
    };
    let indexes = database.query(indexes);
    let split =
        |line: &str| line.split_once('|').map(|(name, sql)| (name.to_owned(), sql.to_owned())).expect("two cells");
    let indexes: Vec<(String, String)> = indexes.iter().map(|line| split(line)).collect();
    for (name, _) in &indexes {
        database.execute(&format!("DROP INDEX {name}"));
    }
    database.execute(&format!(
        "INSERT INTO tasks (agent_id, task_id, context_id, key_id, team_id, user_id, caller_version, endpoint_id, agent_version, state, state_at, created_at, ended_at, shared_with, made_by) SELECT '{agent}', 'task-' || n, 'context of task-' || n, CASE WHEN n % 10 = 0 THEN '{many}' ELSE 'key-' || (n % {TEAMS} * 10 + n % 7) END, CASE WHEN n % 10 = 0 THEN '' ELSE 'team-' || (n % {TEAMS}) END, '', '1.0', '', '1.0', 'TASK_STATE_COMPLETED', 1760000000000000 + CAST(n AS BIGINT) * 1000, 1760000000000000, 4760000000000000, CASE WHEN n % 10 = 0 THEN 'key:{many}' ELSE 'team:team-' || (n % {TEAMS}) END, CASE WHEN n % 10 = 0 THEN 'key:{many}' ELSE 'key:key-' || (n % {TEAMS} * 10 + n % 7) END FROM ({numbers}) AS numbers"
    ));
    for (_, sql) in &indexes {
        database.execute(sql);
    }
    if is_postgres {
        database.execute("VACUUM ANALYZE tasks");
    }
}
