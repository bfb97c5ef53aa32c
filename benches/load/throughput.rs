//! Requests per second and CPU per request of each proxy, driven by wrk in rounds that take turns.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use memchr::memmem;

use crate::machine::cpu_us;
use crate::payload::Call;
use crate::stage::{Stage, Variant};
use crate::statistics::Spread;
use crate::{Outcome, payload};

const CONNECTIONS: u32 = 64;
/// How long the last records of a round may take to reach their file.
const RECORDS_PATIENCE_MS: u32 = 5_000;

/// One variant in one round.
struct Run {
    requests_per_second: f64,
    cpu_us_per_request: f64,
}

/// What wrk counted.
pub struct Counted {
    pub requests: u64,
    pub duration_us: u64,
}

/// All rounds.
pub struct Throughput {
    runs: Vec<(Variant, Run)>,
    rounds: u32,
    seconds: u32,
}

/// Drives `rounds` rounds, in each of them every proxy for `seconds`, after one second for each to warm up.
///
/// # Errors
/// A request failed, or was not answered rightly, or left no record.
pub fn measure(stage: &mut Stage, rounds: u32, seconds: u32) -> Outcome<Throughput> {
    fs::write(stage.path("load.lua"), wrk_script(&payload::request(Call::Unary)))?;
    for variant in Variant::PROXIED {
        drive(stage, variant, 1)?;
    }
    let mut runs = Vec::new();
    for _ in 0..rounds {
        for variant in Variant::PROXIED {
            // The records of a long run would fill the disk.
            File::options().write(true).open(stage.records(variant))?.set_len(0)?;
            let before = cpu_us(stage.pid(variant))?;
            let counted = drive(stage, variant, seconds);
            // What a process said as it died explains more than the requests that failed.
            stage.check_alive()?;
            let (counted, used) = (counted?, cpu_us(stage.pid(variant))? - before);
            let version = match variant {
                Variant::Direct | Variant::Nginx => None,
                Variant::Raw => Some("1.0"),
                Variant::Translated => Some("0.3"),
            };
            if let Some(version) = version {
                let called = format!("\"agent_version\":\"{version}\"");
                check_records(variant.name(), &stage.records(variant), &called, counted.requests)?;
            }
            let run = Run {
                requests_per_second: counted.requests as f64 * 1e6 / counted.duration_us as f64,
                cpu_us_per_request: used as f64 / counted.requests as f64,
            };
            runs.push((variant, run));
        }
    }
    Ok(Throughput { runs, rounds, seconds })
}

fn drive(stage: &Stage, variant: Variant, seconds: u32) -> Outcome<Counted> {
    let url = format!("http://127.0.0.1:{}{}", stage.port(variant), variant.path(Call::Unary));
    let mut wrk = stage.wrk();
    wrk.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), "-s"]).arg(stage.path("load.lua")).arg(url);
    wrk_counted(variant.name(), &mut wrk)
}

/// Runs wrk with a script of [`wrk_script`].
///
/// # Errors
/// A request failed.
pub fn wrk_counted(name: &str, wrk: &mut Command) -> Outcome<Counted> {
    let output = wrk.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers = said.lines().find_map(|line| line.strip_prefix("counted "));
    let numbers = numbers.ok_or_else(|| format!("wrk failed: {said}{}", String::from_utf8_lossy(&output.stderr)))?;
    let numbers = numbers.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [requests, duration_us, failures] = numbers[..] else {
        return Err(format!("wrk counted {numbers:?}").into());
    };
    if failures > 0 || requests == 0 {
        return Err(format!("{name}: {failures} of {requests} requests failed: {said}").into());
    }
    Ok(Counted { requests, duration_us })
}

/// A JSON-RPC error is HTTP 200, so wrk cannot see one; the book can, and which agent was called. Requests under way
/// when wrk left are there too.
///
/// # Errors
/// The book does not come to have `requests` answers with `called` in their lines.
pub fn check_records(name: &str, book: &Path, called: &str, requests: u64) -> Outcome<()> {
    let mut answered = 0;
    for _ in 0..RECORDS_PATIENCE_MS / 50 {
        let book = fs::read(book)?;
        let is_answered = |line: &&[u8]| {
            memmem::find(line, b"\"outcome\":\"answered\"").is_some() && memmem::find(line, called.as_bytes()).is_some()
        };
        answered = book.split(|byte| *byte == b'\n').filter(is_answered).count() as u64;
        if answered >= requests {
            return Ok(());
        }
        sleep(Duration::from_millis(50));
    }
    Err(format!("{name}: of {requests} answers, the book has {answered}").into())
}

/// A script for wrk that posts `body` and counts.
pub fn wrk_script(body: &str) -> String {
    let headers: String =
        payload::headers().iter().map(|(name, value)| format!("wrk.headers[\"{name}\"] = \"{value}\"\n")).collect();
    format!(
        "wrk.method = \"POST\"\n{headers}wrk.body = [==[{body}]==]\n\
         function done(summary, latency, requests)\n\
         local e = summary.errors\n\
         local failures = e.connect + e.read + e.write + e.status + e.timeout\n\
         io.write(string.format(\"counted %d %d %d\\n\", summary.requests, summary.duration, failures))\n\
         end\n"
    )
}

impl Throughput {
    pub fn print(&self) {
        println!("\nThroughput: {CONNECTIONS} connections, {} rounds of {} s in turns.", self.rounds, self.seconds);
        println!("Median (min - max). Ratios are of medians: above 1 is better than nginx.");
        println!(
            "{:<11} {:>24} {:>24} {:>15} {:>15} {:>7}",
            "", "requests/s", "CPU us/request", "CPU nginx/ours", "rps ours/nginx", "target"
        );
        let rps = |variant| self.spread(variant, |run| run.requests_per_second);
        let cpu = |variant| self.spread(variant, |run| run.cpu_us_per_request);
        for variant in Variant::PROXIED {
            let target = match variant {
                Variant::Direct | Variant::Nginx => "",
                Variant::Raw => "0.7",
                Variant::Translated => "0.5",
            };
            println!(
                "{:<11} {:>24} {:>24} {:>15.2} {:>15.2} {target:>7}",
                variant.name(),
                rps(variant).show(0),
                cpu(variant).show(1),
                cpu(Variant::Nginx).median / cpu(variant).median,
                rps(variant).median / rps(Variant::Nginx).median,
            );
        }
    }

    fn spread(&self, variant: Variant, value: fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().filter(|(of, _)| *of == variant).map(|(_, run)| value(run)))
    }
}
