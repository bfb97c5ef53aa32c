//! The whole matrix beside nginx: every binding and version of callers before every binding and version of agents, as
//! CPU per request, in rounds that take turns.
//!
//! Agents are nginx with fixed answers; by gRPC that is a file with a trailer, which costs next to nothing. Callers of
//! gRPC are h2load and compared with nginx's `grpc_pass`; callers of JSON are wrk and compared with its `proxy_pass`.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use switchboard::call::{FileBytes, Form};
use switchboard::config::JsonLimits;
use switchboard::operation::{Binding, Rpc, Version};
use switchboard::wire::{content, json};
use tempfile::TempDir;

use crate::machine::{self, LOAD_CORE, Machine, PROXY_CORE, cpu_us};
use crate::payload::{self, Call};
use crate::process::{Process, free_port};
use crate::stage::{gateway, make_key, nginx};
use crate::statistics::Spread;
use crate::throughput::{Counted, check_records, wrk_counted, wrk_script};
use crate::{Outcome, echo, stage};

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 100_000, parts_max: 100, digits_max: 100 };
/// Connections of h2load, and calls at once on each: 64 calls, as many as wrk has connections.
const CONNECTIONS: u32 = 8;
const STREAMS: u32 = 8;
const VERSIONS: [Version; 2] = [Version::V1_0, Version::V0_3];
const TARGET: f64 = 0.4;

/// One side of a call: what a caller or an agent speaks.
type Side = (Binding, Version);

/// The way that a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Through nginx, as gRPC or as JSON.
    Nginx { grpc: bool },
    /// Through the gateway, from a caller to an agent.
    Ours(Side, Side),
}

fn callers() -> impl Iterator<Item = Side> {
    let bindings = [Binding::Grpc, Binding::Connect, Binding::HttpJson, Binding::JsonRpc];
    VERSIONS.into_iter().flat_map(move |version| bindings.map(|binding| (binding, version)))
}

fn agents() -> impl Iterator<Item = Side> {
    let bindings = [Binding::Grpc, Binding::HttpJson, Binding::JsonRpc];
    VERSIONS.into_iter().flat_map(move |version| bindings.map(|binding| (binding, version)))
}

fn ways() -> Vec<Way> {
    let ours = callers().flat_map(|caller| agents().map(move |agent| Way::Ours(caller, agent)));
    [Way::Nginx { grpc: true }, Way::Nginx { grpc: false }].into_iter().chain(ours).collect()
}

impl Way {
    const fn is_grpc(self) -> bool {
        matches!(self, Self::Nginx { grpc: true } | Self::Ours((Binding::Grpc, _), _))
    }

    fn name(self) -> String {
        match self {
            Self::Nginx { grpc: true } => "nginx grpc_pass".to_owned(),
            Self::Nginx { grpc: false } => "nginx proxy_pass".to_owned(),
            Self::Ours(caller, agent) => format!("{} to {}", said(caller), said(agent)),
        }
    }
}

fn said((binding, version): Side) -> String {
    let binding = match binding {
        Binding::Grpc => "gRPC",
        Binding::Connect => "Connect",
        Binding::HttpJson => "HTTP+JSON",
        Binding::JsonRpc => "JSON-RPC",
        Binding::GrpcWeb => "gRPC-Web",
    };
    format!("{binding} {}", version.as_str())
}

/// The agent's name at the gateway, and of its files.
fn label((binding, version): Side) -> String {
    format!("{}-{}", binding.as_str().replace('_', "-"), version.as_str())
}

/// How this side spells messages. Connect callers send JSON.
const fn form((binding, version): Side) -> Form {
    match (binding, version) {
        (Binding::Grpc | Binding::GrpcWeb, Version::V1_0) => Form::Proto,
        (Binding::Grpc | Binding::GrpcWeb, Version::V0_3) => Form::ProtoV0_3(FileBytes::Base64),
        (Binding::Connect | Binding::HttpJson, Version::V0_3) => Form::ProtoJsonV0_3(FileBytes::Base64),
        (Binding::Connect | Binding::HttpJson | Binding::JsonRpc, version) => Form::Json(version),
    }
}

const fn method(version: Version) -> &'static str {
    match version {
        Version::V1_0 => "/lf.a2a.v1.A2AService/SendMessage",
        Version::V0_3 => "/a2a.v1.A2AService/SendMessage",
    }
}

const fn rest_path(version: Version) -> &'static str {
    match version {
        Version::V1_0 => "/message:send",
        Version::V0_3 => "/v1/message:send",
    }
}

struct Stage {
    proxy: Process,
    gateway: Process,
    _agent: Process,
    proxy_worker: u32,
    /// nginx's ports for gRPC and JSON, and the gateway's for all.
    ports: [u16; 3],
    directory: TempDir,
    h2load: Vec<String>,
    wrk: Vec<String>,
}

/// Measures all ways. There are fifty, so they are driven in a third of the `rounds`.
///
/// # Errors
/// A tool is missing, a request failed, or an answer is wrong.
pub fn measure(machine: &Machine, rounds: u32, seconds: u32) -> Outcome<()> {
    let rounds = rounds.div_ceil(3);
    let mut stage = Stage::start(machine)?;
    for way in ways() {
        stage.drive(way, 1)?;
    }
    let mut runs: Vec<(Way, f64)> = Vec::new();
    for _ in 0..rounds {
        for way in ways() {
            let pid = if matches!(way, Way::Nginx { .. }) { stage.proxy_worker } else { stage.gateway.id() };
            let before = cpu_us(pid)?;
            let counted = stage.drive(way, seconds);
            stage.gateway.check_alive()?;
            stage.proxy.check_alive()?;
            let (counted, used) = (counted?, cpu_us(pid)? - before);
            runs.push((way, used as f64 / counted.requests as f64));
        }
    }
    print(&runs, rounds, seconds);
    Ok(())
}

fn print(runs: &[(Way, f64)], rounds: u32, seconds: u32) {
    let cpu = |way: Way| Spread::of(runs.iter().filter(|run| run.0 == way).map(|run| run.1));
    let ratio = |caller: Side, agent: Side| {
        let way = Way::Ours(caller, agent);
        cpu(Way::Nginx { grpc: way.is_grpc() }).median / cpu(way).median
    };
    println!("\nMatrix: 64 calls at once, {rounds} rounds of {seconds} s in turns. Callers down, agents across.");
    for grpc in [true, false] {
        let way = Way::Nginx { grpc };
        println!("{}: {} us of CPU a request, median (min - max)", way.name(), cpu(way).show(1));
    }
    println!("CPU of nginx, by the same kind of caller, over ours. Target: {TARGET}");
    table(|caller, agent| format!("{:.2}", ratio(caller, agent)));
    println!("CPU us a request, medians");
    table(|caller, agent| format!("{:.1}", cpu(Way::Ours(caller, agent)).median));
    let missed = callers().flat_map(|caller| agents().map(move |agent| ratio(caller, agent)));
    println!("{} of 48 cells are below the target.", missed.filter(|ratio| *ratio < TARGET).count());
}

fn table(cell: impl Fn(Side, Side) -> String) {
    let agents: Vec<Side> = agents().collect();
    let row = |first: String, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>14}")).collect();
        println!("{first:<14}{cells}");
    };
    row(String::new(), agents.iter().map(|agent| said(*agent)).collect());
    for caller in callers() {
        row(said(caller), agents.iter().map(|agent| cell(caller, *agent)).collect());
    }
}

impl Stage {
    fn start(machine: &Machine) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("switchboard-load").tempdir()?;
        let folder = directory.path();
        let [grpc_agent, json_agent, grpc_proxy, json_proxy, ours] =
            [free_port()?, free_port()?, free_port()?, free_port()?, free_port()?];
        let (locations, entries) = answers(folder, grpc_agent, json_agent)?;
        let config = format!("listen: 127.0.0.1:{ours}\nmaster_key: {}\nagents:\n{entries}", payload::MASTER_KEY);
        let agent = format!(
            "access_log off;\nopen_file_cache max=10;\nopen_file_cache_valid 1000s;\n\
             server {{ listen 127.0.0.1:{grpc_agent} http2; root {folder}/files; http2_max_concurrent_streams 1000;\n\
             location / {{ default_type application/grpc; add_trailer grpc-status 0; error_page 405 =200 $uri; }} }}\n\
             server {{ listen 127.0.0.1:{json_agent}; {locations} }}\n",
            folder = folder.display(),
        );
        let mut agent = nginx(folder, "agent", &agent, machine.command_on(LOAD_CORE, "nginx"))?;
        agent.wait_for(json_agent, "/ready")?;
        let kept = "keepalive 128; keepalive_requests 1000000000;";
        let proxy = format!(
            "access_log {}/access.log combined buffer=64k flush=1s;\n\
             upstream g {{ server 127.0.0.1:{grpc_agent}; {kept} }}\n\
             upstream j {{ server 127.0.0.1:{json_agent}; {kept} }}\n\
             server {{ listen 127.0.0.1:{grpc_proxy} http2; location / {{ grpc_pass grpc://g; }} }}\n\
             server {{ listen 127.0.0.1:{json_proxy}; location / {{ proxy_pass http://j; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n",
            folder.display()
        );
        let mut proxy = nginx(folder, "proxy", &proxy, machine.command_on(PROXY_CORE, "nginx"))?;
        proxy.wait_for(json_proxy, "/ready")?;
        let proxy_worker = machine::child_of(proxy.id()).ok_or("nginx has no worker")?;
        let mut command = machine.command_on(PROXY_CORE, env!("CARGO_BIN_EXE_switchboard"));
        command.env("TOKIO_WORKER_THREADS", "1");
        let mut gateway = gateway(folder, command, &config)?;
        gateway.wait_for(ours, "/health/ready")?;
        make_key(ours)?;
        for caller in callers() {
            let request = request(caller)?;
            match caller.0 {
                Binding::Grpc => fs::write(folder.join(label(caller)), framed(&request))?,
                _ => fs::write(folder.join(label(caller)), wrk_script(std::str::from_utf8(&request)?))?,
            }
        }
        Ok(Self {
            proxy,
            gateway,
            _agent: agent,
            proxy_worker,
            ports: [grpc_proxy, json_proxy, ours],
            h2load: stage::words(&machine.command_on(LOAD_CORE, "h2load")),
            wrk: stage::words(&machine.command_on(LOAD_CORE, "wrk")),
            directory,
        })
    }

    fn drive(&self, way: Way, seconds: u32) -> Outcome<Counted> {
        let (port, path, caller) = match way {
            Way::Nginx { grpc: true } => {
                (self.ports[0], method(Version::V1_0).to_owned(), (Binding::Grpc, Version::V1_0))
            }
            Way::Nginx { grpc: false } => (self.ports[1], "/rpc".to_owned(), (Binding::JsonRpc, Version::V1_0)),
            Way::Ours(caller, agent) => {
                let below = match caller.0 {
                    Binding::JsonRpc => "",
                    Binding::HttpJson => rest_path(caller.1),
                    _ => method(caller.1),
                };
                (self.ports[2], format!("/a2a/{}{below}", label(agent)), caller)
            }
        };
        let url = format!("http://127.0.0.1:{port}{path}");
        File::options().write(true).open(self.directory.path().join("gateway.out"))?.set_len(0)?;
        let body = self.directory.path().join(label(caller));
        if way.is_grpc() {
            let mut h2load = Command::new(&self.h2load[0]);
            h2load.args(&self.h2load[1..]);
            h2load.args([&format!("-c{CONNECTIONS}"), &format!("-m{STREAMS}"), &format!("-D{seconds}")]);
            let counted = h2load_counted(way, h2load.arg("--data").arg(body).arg(url), seconds)?;
            return self.checked(way, counted);
        }
        let mut wrk = Command::new(&self.wrk[0]);
        wrk.args(&self.wrk[1..]).args(["-t1", "-c64", &format!("-d{seconds}s"), "-s"]).arg(body).arg(url);
        self.checked(way, wrk_counted(&way.name(), &mut wrk)?)
    }

    /// Who was called, and by what, the book knows.
    fn checked(&self, way: Way, counted: Counted) -> Outcome<Counted> {
        let Way::Ours(_, (binding, version)) = way else { return Ok(counted) };
        let called = format!("\"agent_binding\":\"{}\",\"agent_version\":\"{}\"", binding.as_str(), version.as_str());
        check_records(&way.name(), &self.directory.path().join("gateway.out"), &called, counted.requests)?;
        Ok(counted)
    }
}

/// Writes what agents answer by gRPC, starts those that echo ids, and gives nginx's locations for the others and the
/// gateway's entries for all.
fn answers(folder: &Path, grpc_agent: u16, json_agent: u16) -> Outcome<(String, String)> {
    let fixed = |path: &str, body: &str| {
        format!("location = {path} {{ default_type application/json; return 200 '{body}'; }}\n")
    };
    // nginx as a proxy has the fixed reply; the gateway's own ids need an agent that echoes them.
    let mut locations = fixed("/rpc", &payload::reply_1_0()) + &fixed("/ready", "{}");
    let mut entries = String::new();
    for agent in agents() {
        let (binding, version) = agent;
        let answer = answer(form(agent))?;
        let url = match binding {
            Binding::Grpc => {
                let file = format!("{}/files{}", folder.display(), method(version));
                fs::create_dir_all(file.rsplit_once('/').expect("a path").0)?;
                fs::write(file, framed(&answer))?;
                format!("grpc://127.0.0.1:{grpc_agent}")
            }
            Binding::JsonRpc => format!("http://127.0.0.1:{}/", echo::start(std::str::from_utf8(&answer)?)?),
            _ => {
                locations += &fixed(&format!("/rest{}", rest_path(version)), std::str::from_utf8(&answer)?);
                format!("http://127.0.0.1:{json_agent}/rest")
            }
        };
        entries += &format!(
            "- {{ name: {}, url: '{url}', protocol_version: '{}', bindings: [{}] }}\n",
            label(agent),
            version.as_str(),
            binding.as_str()
        );
    }
    Ok((locations, entries))
}

/// Runs h2load with the headers of a call.
fn h2load_counted(way: Way, h2load: &mut Command, seconds: u32) -> Outcome<Counted> {
    for header in ["content-type: application/grpc", "te: trailers"] {
        h2load.args(["-H", header]);
    }
    let output = h2load.args(["-H", &format!("authorization: Bearer {}", payload::KEY)]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |before: &str, after: &str| -> Option<u64> {
        said.split(before).nth(1)?.split(after).next()?.trim().parse().ok()
    };
    let requests = number("requests: ", " total").ok_or_else(|| format!("h2load failed: {said}"))?;
    let succeeded = number(" done, ", " succeeded").unwrap_or(0);
    // Calls that are under way when the time is over count as failed.
    let mut failures_max = u64::from(CONNECTIONS * STREAMS);
    if matches!(way, Way::Nginx { .. }) {
        // The agent, a file, answers before it has read the request, and resets its stream. nginx, which reuses the
        // connection meanwhile, sometimes takes that for an error of the next call.
        failures_max += requests / 100;
    }
    if requests == 0 || requests - succeeded > failures_max {
        return Err(format!("{}: {succeeded} of {requests} succeeded: {said}", way.name()).into());
    }
    Ok(Counted { requests: succeeded, duration_us: u64::from(seconds) * 1_000_000 })
}

/// The task of [`payload::reply_1_0`], as an agent of this form answers with it.
fn answer(form: Form) -> Outcome<Vec<u8>> {
    let reply: serde_json::Value = serde_json::from_str(&payload::reply_1_0())?;
    let result = reply["result"].to_string();
    let answer = json::read_answer(Rpc::SendMessage, Version::V1_0, result.into(), &LIMITS)?;
    Ok(content::write_answer(answer, form)?.to_vec())
}

/// The request of [`payload::request`], as this caller sends it.
fn request(caller: Side) -> Outcome<Vec<u8>> {
    let whole: serde_json::Value = serde_json::from_str(&payload::request(Call::Unary))?;
    let params = whole["params"].to_string();
    let (operation, _) = json::read_request(Rpc::SendMessage, Version::V1_0, Some(params.into()), &LIMITS)?;
    let message = content::write_request(&operation, form(caller))?;
    let name = match caller {
        (Binding::JsonRpc, Version::V1_0) => "SendMessage",
        (Binding::JsonRpc, Version::V0_3) => "message/send",
        _ => return Ok(message.to_vec()),
    };
    let params = std::str::from_utf8(&message)?;
    Ok(format!(r#"{{"jsonrpc":"2.0","id":{},"method":"{name}","params":{params}}}"#, whole["id"]).into_bytes())
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a small message");
    [&[0][..], &length.to_be_bytes(), message].concat()
}
