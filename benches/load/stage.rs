//! Everything that takes part in a run: the static agent, nginx before it, and the gateway before it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::http::Connection;
use crate::machine::{self, LOAD_CORE, Machine, PROXY_CORE};
use crate::payload::Call;
use crate::process::{Process, free_port};
use crate::{Outcome, payload};

/// The way that a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// To the agent itself.
    Direct,
    /// Through nginx, to the 1.0 agent.
    Nginx,
    /// Through the gateway to the 1.0 agent: forwarded.
    Raw,
    /// Through the gateway to the 0.3 agent: translated both ways.
    Translated,
}

impl Variant {
    pub const ALL: [Self; 4] = [Self::Direct, Self::Nginx, Self::Raw, Self::Translated];
    pub const PROXIED: [Self; 3] = [Self::Nginx, Self::Raw, Self::Translated];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Raw => "raw",
            Self::Translated => "translated",
        }
    }

    pub const fn path(self, call: Call) -> &'static str {
        match (self, call) {
            (Self::Direct | Self::Nginx, Call::Unary) => "/v1_0",
            (Self::Direct | Self::Nginx, Call::Stream) => "/v1_0_stream",
            (Self::Raw, Call::Unary) => "/a2a/raw",
            (Self::Raw, Call::Stream) => "/a2a/raw-stream",
            (Self::Translated, Call::Unary) => "/a2a/translated",
            (Self::Translated, Call::Stream) => "/a2a/translated-stream",
        }
    }
}

/// The running processes, and the directory with all of their files.
pub struct Stage {
    proxy: Process,
    gateway: Process,
    // Ended after those that call it.
    agent: Process,
    agent_port: u16,
    proxy_port: u16,
    gateway_port: u16,
    proxy_worker: u32,
    directory: TempDir,
    /// The program and the arguments that run wrk on its core.
    wrk: Vec<String>,
}

impl Stage {
    /// Starts all three and waits until each answers.
    pub fn start(machine: &Machine) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("switchboard-load").tempdir()?;
        let (agent_port, proxy_port, gateway_port) = (free_port()?, free_port()?, free_port()?);
        let folder = directory.path();
        let mut agent = nginx(folder, "agent", &agent_server(agent_port), machine.command_on(LOAD_CORE, "nginx"))?;
        agent.wait_for(agent_port, "/card/v1_0")?;
        let mut proxy = nginx(
            folder,
            "proxy",
            &proxy_server(folder, proxy_port, agent_port),
            machine.command_on(PROXY_CORE, "nginx"),
        )?;
        proxy.wait_for(proxy_port, "/card/v1_0")?;
        let proxy_worker = machine::child_of(proxy.id()).ok_or("nginx has no worker")?;

        let mut command = machine.command_on(PROXY_CORE, env!("CARGO_BIN_EXE_switchboard"));
        // One core has use for one worker, as nginx has one.
        command.env("TOKIO_WORKER_THREADS", "1");
        let mut gateway = gateway(folder, command, &gateway_config(gateway_port, agent_port))?;
        gateway.wait_for(gateway_port, "/health/ready")?;
        make_key(gateway_port)?;
        Ok(Self {
            wrk: words(&machine.command_on(LOAD_CORE, "wrk")),
            proxy,
            gateway,
            agent,
            agent_port,
            proxy_port,
            gateway_port,
            proxy_worker,
            directory,
        })
    }

    /// The wrk command, on the core of the load.
    pub fn wrk(&self) -> Command {
        let mut command = Command::new(&self.wrk[0]);
        command.args(&self.wrk[1..]);
        command
    }

    pub fn port(&self, variant: Variant) -> u16 {
        match variant {
            Variant::Direct => self.agent_port,
            Variant::Nginx => self.proxy_port,
            Variant::Raw | Variant::Translated => self.gateway_port,
        }
    }

    /// The process whose CPU time a proxied variant costs.
    pub fn pid(&self, variant: Variant) -> u32 {
        match variant {
            Variant::Direct => self.agent.id(),
            Variant::Nginx => self.proxy_worker,
            Variant::Raw | Variant::Translated => self.gateway.id(),
        }
    }

    /// The file in which a proxied variant keeps its records: nginx's access log, or the gateway's book.
    pub fn records(&self, variant: Variant) -> PathBuf {
        self.path(if variant == Variant::Nginx { "access.log" } else { "gateway.out" })
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub fn check_alive(&mut self) -> Outcome<()> {
        self.proxy.check_alive()?;
        self.gateway.check_alive()
    }

    /// The whole request of `variant`, as bytes on the wire.
    pub fn request(&self, variant: Variant, call: Call) -> Vec<u8> {
        let (path, port, body) = (variant.path(call), self.port(variant), payload::request(call));
        let headers: String = payload::headers().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    /// Asks once on every way and compares what comes back with what the agent says.
    ///
    /// # Errors
    /// An answer is wrong; it is in the message.
    pub fn check_answers(&self) -> Outcome<()> {
        for variant in Variant::ALL {
            let mut connection = Connection::open(self.port(variant))?;
            let answer = connection.ask(&self.request(variant, Call::Unary))?;
            let body = std::str::from_utf8(answer.body)?;
            let is_right = match variant {
                // Forwarding must not touch a byte.
                Variant::Direct | Variant::Nginx | Variant::Raw => body == payload::reply_1_0(),
                Variant::Translated => is_the_task(body)?,
            };
            if answer.status != 200 || !is_right {
                return Err(format!("{} answers wrongly, with HTTP {}: {body}", variant.name(), answer.status).into());
            }
            let answer = connection.ask(&self.request(variant, Call::Stream))?;
            let body = String::from_utf8_lossy(answer.body);
            if answer.status != 200 || !body.contains("data:") || !body.contains(payload::ANSWER) {
                return Err(format!("{} streams wrongly, with HTTP {}: {body}", variant.name(), answer.status).into());
            }
        }
        Ok(())
    }
}

/// The program and the arguments of a command, for commands that are made again and again.
pub fn words(command: &Command) -> Vec<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Whether a translated reply says in 1.0 what the 0.3 agent said.
fn is_the_task(body: &str) -> Outcome<bool> {
    let mut expected: Value = serde_json::from_str(&payload::reply_1_0())?;
    let mut found: Value = serde_json::from_str(body)?;
    for reply in [&mut expected, &mut found] {
        // ProtoJSON may spell a time with more or fewer zeros.
        reply["result"]["task"]["status"]["timestamp"].take();
    }
    Ok(found == expected)
}

/// Starts nginx with one worker and this in its `http` section.
pub fn nginx(folder: &Path, name: &str, server: &str, mut command: Command) -> Outcome<Process> {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{name}-{kind};\n", folder.display()))
        .concat();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {folder}/{name}.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n{temporary}default_type application/json;\nclient_body_buffer_size 16k;\n\
         keepalive_requests 1000000000;\nkeepalive_timeout 300s;\n{server}}}\n",
        folder = folder.display()
    );
    let path = folder.join(format!("{name}.conf"));
    fs::write(&path, config)?;
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(path);
    Process::start(command, &folder.join(format!("{name}.err")), &folder.join(format!("{name}.out")))
}

/// The agent: a reply and a stream in both versions, each at its path and with its card.
fn agent_server(port: u16) -> String {
    let fixed = |path: &str, body: &str| format!("location = {path} {{ return 200 '{body}'; }}\n");
    let stream = |path: &str, reply: &str| {
        let body = payload::stream_of(reply);
        format!("location = {path} {{ default_type text/event-stream; return 200 '{body}'; }}\n")
    };
    let locations: String = [("v1_0", payload::reply_1_0()), ("v0_3", payload::reply_0_3())]
        .map(|(path, reply)| fixed(&format!("/{path}"), &reply) + &stream(&format!("/{path}_stream"), &reply))
        .concat();
    let cards: String = ["v1_0", "v1_0_stream", "v0_3", "v0_3_stream"]
        .map(|path| fixed(&format!("/card/{path}"), &payload::card(path, &format!("http://127.0.0.1:{port}/{path}"))))
        .concat();
    format!("access_log off;\nserver {{\nlisten 127.0.0.1:{port} backlog=1024;\n{locations}{cards}}}\n")
}

/// nginx as a proxy that keeps connections and writes its log in batches, for the gateway does both.
fn proxy_server(folder: &Path, port: u16, agent_port: u16) -> String {
    format!(
        "access_log {}/access.log combined buffer=64k flush=1s;\n\
         upstream agent {{ server 127.0.0.1:{agent_port}; keepalive 128; keepalive_requests 1000000000; }}\n\
         server {{\nlisten 127.0.0.1:{port} backlog=1024;\n\
         location / {{ proxy_pass http://agent; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n}}\n",
        folder.display()
    )
}

/// Makes the key of the load in the gateway's store: of a team, with grants of both, and with limits that are counted
/// and never hit.
pub fn make_key(port: u16) -> Outcome<()> {
    let limits = r#""limits":{"requestsPerMinuteMax":4000000000,"callsMax":1000000,"streamsMax":1000000}"#;
    let team = format!(r#"{{"team":{{"id":"load","name":"load","grants":{{"allAgents":true}},{limits}}}}}"#);
    let key = format!(
        r#"{{"key":{{"alias":"load","teamId":"load","grants":{{"allAgents":true}},{limits}}},"secret":"{}"}}"#,
        payload::KEY
    );
    for (method, body) in [("TeamService/CreateTeam", team), ("KeyService/CreateKey", key)] {
        let request = format!(
            "POST /switchboard.v1.{method} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            payload::MASTER_KEY,
            body.len()
        );
        let mut connection = Connection::open(port)?;
        let answer = connection.ask(request.as_bytes())?;
        if answer.status != 200 {
            return Err(format!("{method}: {}", String::from_utf8_lossy(answer.body)).into());
        }
    }
    Ok(())
}

/// Starts the gateway with `config`; its records go to `gateway.out`.
pub fn gateway(folder: &Path, mut command: Command, config: &str) -> Outcome<Process> {
    let path = folder.join("switchboard.yaml");
    let store = format!("store: {{ data_dir: '{}' }}\n", folder.join("data").display());
    fs::write(&path, format!("{store}{config}"))?;
    command.arg("serve").arg("--config").arg(path);
    Process::start(command, &folder.join("gateway.err"), &folder.join("gateway.out"))
}

/// Streams come from agents of their own, for the static agent answers by path and not by method.
fn gateway_config(port: u16, agent_port: u16) -> String {
    let key = payload::MASTER_KEY;
    let agent = |name: &str, version: &str, path: &str| {
        format!(
            "  - name: {name}\n    url: http://127.0.0.1:{agent_port}/{path}\n    \
             card_url: http://127.0.0.1:{agent_port}/card/{path}\n    protocol_version: \"{version}\"\n"
        )
    };
    let agents = [
        agent("raw", "1.0", "v1_0"),
        agent("translated", "0.3", "v0_3"),
        agent("raw-stream", "1.0", "v1_0_stream"),
        agent("translated-stream", "0.3", "v0_3_stream"),
    ];
    format!("listen: 127.0.0.1:{port}\nmaster_key: {key}\nagents:\n{}", agents.concat())
}
