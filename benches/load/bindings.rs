//! gRPC and HTTP+JSON beside nginx: CPU per request of each way through the gateway, in rounds that take turns.
//!
//! The agent by gRPC is a file that nginx serves with a trailer, which costs next to nothing. Callers of gRPC are
//! h2load and compared with nginx's `grpc_pass`; callers of JSON are wrk and compared with its `proxy_pass`.

use std::fs::{self, File};
use std::process::Command;

use prost::Message as _;
use switchboard::call::Form;
use switchboard::config::JsonLimits;
use switchboard::operation::{Rpc, Version};
use switchboard::wire::{content, json};
use tempfile::TempDir;

use crate::machine::{self, LOAD_CORE, Machine, PROXY_CORE, cpu_us};
use crate::payload::{self, Call};
use crate::process::{Process, free_port};
use crate::stage::{gateway, make_key, nginx};
use crate::statistics::Spread;
use crate::throughput::{Counted, wrk_counted, wrk_script};
use crate::{Outcome, echo, stage};

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 100_000, parts_max: 100, digits_max: 100 };
/// Connections of h2load, and calls at once on each: 64 calls, as many as wrk has connections.
const CONNECTIONS: u32 = 8;
const STREAMS: u32 = 8;
const METHOD: &str = "/lf.a2a.v1.A2AService/SendMessage";

/// The way that a request takes: what the caller speaks, and what the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    NginxGrpc,
    NginxJson,
    GrpcToGrpc,
    GrpcToJsonRpc,
    JsonRpcToGrpc,
    HttpJsonToHttpJson,
    HttpJsonToJsonRpc,
    ConnectToGrpc,
}

use Way::{
    ConnectToGrpc, GrpcToGrpc, GrpcToJsonRpc, HttpJsonToHttpJson, HttpJsonToJsonRpc, JsonRpcToGrpc, NginxGrpc,
    NginxJson,
};

impl Way {
    const ALL: [Self; 8] = [
        NginxGrpc,
        GrpcToGrpc,
        GrpcToJsonRpc,
        NginxJson,
        JsonRpcToGrpc,
        HttpJsonToHttpJson,
        HttpJsonToJsonRpc,
        ConnectToGrpc,
    ];

    const fn name(self) -> &'static str {
        match self {
            NginxGrpc => "nginx grpc_pass",
            NginxJson => "nginx proxy_pass",
            GrpcToGrpc => "gRPC to gRPC",
            GrpcToJsonRpc => "gRPC to JSON-RPC",
            JsonRpcToGrpc => "JSON-RPC to gRPC",
            HttpJsonToHttpJson => "HTTP+JSON to HTTP+JSON",
            HttpJsonToJsonRpc => "HTTP+JSON to JSON-RPC",
            ConnectToGrpc => "Connect to gRPC",
        }
    }

    const fn is_grpc(self) -> bool {
        matches!(self, NginxGrpc | GrpcToGrpc | GrpcToJsonRpc)
    }

    const fn is_nginx(self) -> bool {
        matches!(self, NginxGrpc | NginxJson)
    }

    /// The agent's name at the gateway.
    const fn agent(self) -> &'static str {
        match self {
            GrpcToJsonRpc | HttpJsonToJsonRpc => "jsonrpc",
            HttpJsonToHttpJson => "http-json",
            _ => "grpc",
        }
    }

    /// Of nginx's CPU, by the same caller.
    const fn target(self) -> &'static str {
        match self {
            GrpcToGrpc => "0.6",
            GrpcToJsonRpc | JsonRpcToGrpc => "0.45",
            HttpJsonToHttpJson => "0.5",
            _ => "",
        }
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

/// Measures all ways.
///
/// # Errors
/// A tool is missing, a request failed, or an answer is wrong.
pub fn measure(machine: &Machine, rounds: u32, seconds: u32) -> Outcome<()> {
    let mut stage = Stage::start(machine)?;
    for way in Way::ALL {
        stage.drive(way, 1)?;
    }
    let mut runs: Vec<(Way, f64, f64)> = Vec::new();
    for _ in 0..rounds {
        for way in Way::ALL {
            File::options().write(true).open(stage.directory.path().join("gateway.out"))?.set_len(0)?;
            let pid = if way.is_nginx() { stage.proxy_worker } else { stage.gateway.id() };
            let before = cpu_us(pid)?;
            let counted = stage.drive(way, seconds);
            stage.gateway.check_alive()?;
            stage.proxy.check_alive()?;
            let (counted, used) = (counted?, cpu_us(pid)? - before);
            let rps = counted.requests as f64 * 1e6 / counted.duration_us as f64;
            runs.push((way, rps, used as f64 / counted.requests as f64));
        }
    }
    print(&runs, rounds, seconds);
    Ok(())
}

fn print(runs: &[(Way, f64, f64)], rounds: u32, seconds: u32) {
    let of = |way: Way| runs.iter().filter(move |run| run.0 == way);
    let rps = |way| Spread::of(of(way).map(|run| run.1));
    let cpu = |way| Spread::of(of(way).map(|run| run.2));
    println!("\nBindings: 64 calls at once, {rounds} rounds of {seconds} s in turns. Median (min - max).");
    println!("{:<24} {:>24} {:>24} {:>15} {:>7}", "", "requests/s", "CPU us/request", "CPU nginx/ours", "target");
    for way in Way::ALL {
        let beside = if way.is_grpc() { NginxGrpc } else { NginxJson };
        println!(
            "{:<24} {:>24} {:>24} {:>15.2} {:>7}",
            way.name(),
            rps(way).show(0),
            cpu(way).show(1),
            cpu(beside).median / cpu(way).median,
            way.target()
        );
    }
}

impl Stage {
    fn start(machine: &Machine) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("switchboard-load").tempdir()?;
        let folder = directory.path();
        let [grpc_agent, json_agent, grpc_proxy, json_proxy, ours] =
            [free_port()?, free_port()?, free_port()?, free_port()?, free_port()?];
        fs::create_dir_all(folder.join("files/lf.a2a.v1.A2AService"))?;
        fs::write(folder.join(format!("files{METHOD}")), framed(&in_protobuf(&result()?)?))?;
        let rest = fixed("/rest/message:send", &result()?);
        // nginx as a proxy has the fixed reply; the gateway's own ids need an agent that echoes them.
        let rpc = fixed("/rpc", &payload::reply_1_0());
        let echo = echo::start(&result()?)?;
        let agent = format!(
            "access_log off;\nopen_file_cache max=10;\nopen_file_cache_valid 1000s;\n\
             server {{ listen 127.0.0.1:{grpc_agent} http2; root {folder}/files; http2_max_concurrent_streams 1000;\n\
             location / {{ default_type application/grpc; add_trailer grpc-status 0; error_page 405 =200 $uri; }} }}\n\
             server {{ listen 127.0.0.1:{json_agent}; {rest}{rpc}{ready} }}\n",
            folder = folder.display(),
            ready = fixed("/ready", "{}"),
        );
        let mut agent = nginx(folder, "agent", &agent, machine.command_on(LOAD_CORE, "nginx"))?;
        agent.wait_for(json_agent, "/ready")?;
        let proxy = format!(
            "access_log {}/access.log combined buffer=64k flush=1s;\n\
             upstream g {{ server 127.0.0.1:{grpc_agent}; keepalive 128; keepalive_requests 1000000000; }}\n\
             upstream j {{ server 127.0.0.1:{json_agent}; keepalive 128; keepalive_requests 1000000000; }}\n\
             server {{ listen 127.0.0.1:{grpc_proxy} http2; location / {{ grpc_pass grpc://g; }} }}\n\
             server {{ listen 127.0.0.1:{json_proxy}; location / {{ proxy_pass http://j; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n",
            folder.display()
        );
        let mut proxy = nginx(folder, "proxy", &proxy, machine.command_on(PROXY_CORE, "nginx"))?;
        proxy.wait_for(json_proxy, "/ready")?;
        let proxy_worker = machine::child_of(proxy.id()).ok_or("nginx has no worker")?;
        let mut command = machine.command_on(PROXY_CORE, env!("CARGO_BIN_EXE_switchboard"));
        command.env("TOKIO_WORKER_THREADS", "1");
        let mut gateway = gateway(folder, command, &config(ours, grpc_agent, json_agent, echo))?;
        gateway.wait_for(ours, "/health/ready")?;
        make_key(ours)?;
        fs::write(folder.join("grpc.body"), framed(&request("grpc")?))?;
        fs::write(folder.join("jsonrpc.body"), framed(&request("jsonrpc")?))?;
        fs::write(folder.join("nginx.body"), framed(&request("")?))?;
        let jsonrpc: serde_json::Value = serde_json::from_str(&payload::request(Call::Unary))?;
        fs::write(folder.join("rpc.lua"), wrk_script(&payload::request(Call::Unary)))?;
        fs::write(folder.join("params.lua"), wrk_script(&jsonrpc["params"].to_string()))?;
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
        let port = match way {
            NginxGrpc => self.ports[0],
            NginxJson => self.ports[1],
            _ => self.ports[2],
        };
        let path = match way {
            NginxGrpc | GrpcToGrpc | GrpcToJsonRpc => METHOD.to_owned(),
            NginxJson => "/rpc".to_owned(),
            JsonRpcToGrpc => "/a2a/grpc".to_owned(),
            ConnectToGrpc => format!("/a2a/grpc{METHOD}"),
            HttpJsonToHttpJson | HttpJsonToJsonRpc => format!("/a2a/{}/message:send", way.agent()),
        };
        let url = format!("http://127.0.0.1:{port}{path}");
        let before = self.answered()?;
        let counted = if way.is_grpc() { self.h2load(way, &url, seconds)? } else { self.wrk(way, &url, seconds)? };
        if !way.is_nginx() && before == 0 {
            self.check_records(way, counted.requests)?;
        }
        Ok(counted)
    }

    fn wrk(&self, way: Way, url: &str, seconds: u32) -> Outcome<Counted> {
        let script = if matches!(way, NginxJson | JsonRpcToGrpc) { "rpc.lua" } else { "params.lua" };
        let mut wrk = Command::new(&self.wrk[0]);
        wrk.args(&self.wrk[1..]).args(["-t1", "-c64", &format!("-d{seconds}s"), "-s"]);
        wrk_counted(way.name(), wrk.arg(self.directory.path().join(script)).arg(url))
    }

    fn h2load(&self, way: Way, url: &str, seconds: u32) -> Outcome<Counted> {
        let body = match way {
            NginxGrpc => "nginx.body",
            GrpcToJsonRpc => "jsonrpc.body",
            _ => "grpc.body",
        };
        let mut h2load = Command::new(&self.h2load[0]);
        h2load.args(&self.h2load[1..]);
        h2load.args([&format!("-c{CONNECTIONS}"), &format!("-m{STREAMS}"), &format!("-D{seconds}")]);
        h2load.arg("--data").arg(self.directory.path().join(body));
        for header in ["content-type: application/grpc", "te: trailers", "a2a-version: 1.0"] {
            h2load.args(["-H", header]);
        }
        h2load.args(["-H", &format!("authorization: Bearer {}", payload::KEY), url]);
        let output = h2load.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = |before: &str, after: &str| -> Option<u64> {
            said.split(before).nth(1)?.split(after).next()?.trim().parse().ok()
        };
        let requests = number("requests: ", " total").ok_or_else(|| format!("h2load failed: {said}"))?;
        let succeeded = number(" done, ", " succeeded").unwrap_or(0);
        // Calls that are under way when the time is over count as failed.
        if requests == 0 || requests - succeeded > u64::from(CONNECTIONS * STREAMS) {
            return Err(format!("{}: {succeeded} of {requests} succeeded: {said}", way.name()).into());
        }
        Ok(Counted { requests: succeeded, duration_us: u64::from(seconds) * 1_000_000 })
    }

    /// How many calls the book has as answered.
    fn answered(&self) -> Outcome<u64> {
        let book = fs::read(self.directory.path().join("gateway.out"))?;
        let answered = memchr::memmem::find_iter(&book, b"\"outcome\":\"answered\"").count();
        Ok(answered as u64)
    }

    /// A gRPC error is HTTP 200, which h2load cannot see; the book can.
    fn check_records(&self, way: Way, requests: u64) -> Outcome<()> {
        for _ in 0..100 {
            if self.answered()? >= requests {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Err(format!("{}: of {requests} answers, the book has {}", way.name(), self.answered()?).into())
    }
}

fn fixed(path: &str, body: &str) -> String {
    format!("location = {path} {{ default_type application/json; return 200 '{body}'; }}\n")
}

/// The result inside the JSON-RPC reply.
fn result() -> Outcome<String> {
    let reply: Box<serde_json::value::RawValue> = {
        let reply: std::collections::HashMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_str(&payload::reply_1_0())?;
        reply.into_iter().find(|(name, _)| name == "result").ok_or("a reply without a result")?.1
    };
    Ok(reply.get().to_owned())
}

fn in_protobuf(result: &str) -> Outcome<Vec<u8>> {
    let answer = json::read_answer(Rpc::SendMessage, Version::V1_0, result.to_owned().into(), &LIMITS)?;
    Ok(content::write_answer(answer, Form::Proto)?.to_vec())
}

/// The request for the agent of this name, as protobuf.
fn request(agent: &str) -> Outcome<Vec<u8>> {
    let jsonrpc: serde_json::Value = serde_json::from_str(&payload::request(Call::Unary))?;
    let mut request: switchboard::proto::SendMessageRequest = serde_json::from_value(jsonrpc["params"].clone())?;
    agent.clone_into(&mut request.tenant);
    Ok(request.encode_to_vec())
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a small message");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

fn config(port: u16, grpc: u16, json: u16, echo: u16) -> String {
    format!(
        "listen: 127.0.0.1:{port}\nmaster_key: {key}\nagents:\n\
         - {{ name: grpc, url: 'grpc://127.0.0.1:{grpc}' }}\n\
         - {{ name: jsonrpc, url: 'http://127.0.0.1:{echo}/rpc', protocol_version: '1.0', bindings: [jsonrpc] }}\n\
         - {{ name: http-json, url: 'http://127.0.0.1:{json}/rest', protocol_version: '1.0', bindings: [http_json] }}\n",
        key = payload::MASTER_KEY
    )
}
