//! The machine that is measured on: its tools, its cores, and what /proc tells of a process.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// Where the load generator and the static agent run.
pub const LOAD_CORE: u32 = 0;
/// Where the proxy under test runs.
pub const PROXY_CORE: u32 = 1;

const INSTALL: &str = "apt-get install -y --no-install-recommends nginx-light wrk nghttp2-client";
/// Clock ticks per second in /proc/PID/stat: USER_HZ, which is 100 wherever Linux runs a server.
const TICKS_PER_SECOND: u64 = 100;

/// What was found at the start.
pub struct Machine {
    is_pinned: bool,
    nginx: String,
    cpu: String,
    cores: usize,
}

impl Machine {
    /// Looks for the tools and the cores.
    ///
    /// # Errors
    /// nginx, wrk or h2load is missing; the message has the line that installs them.
    pub fn inspect() -> Outcome<Self> {
        for tool in ["nginx", "wrk", "h2load"] {
            if !is_on_path(tool) {
                return Err(
                    format!("{tool} is not on PATH, and nothing was measured. Install it with: {INSTALL}").into()
                );
            }
        }
        let version = Command::new("nginx").arg("-v").output()?;
        let version = String::from_utf8_lossy(&version.stderr).trim().to_owned();
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
        let may_run_on = |core: u32| {
            is_on_path("taskset")
                && Command::new("taskset")
                    .args(["-c", &core.to_string(), "true"])
                    .output()
                    .is_ok_and(|o| o.status.success())
        };
        Ok(Self {
            is_pinned: may_run_on(LOAD_CORE) && may_run_on(PROXY_CORE),
            nginx: version.rsplit(": ").next().unwrap_or("nginx").to_owned(),
            cpu: cpu.unwrap_or("unknown CPU").trim().to_owned(),
            cores: std::thread::available_parallelism()?.get(),
        })
    }

    /// A command that runs `program` on one core, if this machine can pin.
    pub fn command_on(&self, core: u32, program: &str) -> Command {
        if !self.is_pinned {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string(), program]);
        command
    }

    /// Puts this process, and with it the load generator, on its core.
    pub fn pin_this_process(&self) -> Outcome<()> {
        if self.is_pinned {
            let pid = std::process::id().to_string();
            let pinned = Command::new("taskset").args(["-acp", &LOAD_CORE.to_string(), &pid]).output()?;
            if !pinned.status.success() {
                return Err(format!("taskset: {}", String::from_utf8_lossy(&pinned.stderr).trim()).into());
            }
        }
        Ok(())
    }

    pub fn print_conditions(&self) {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        println!("Load average at the start: {load}. Numbers of a machine that does something else are noise.");
        if self.is_pinned {
            println!("Pinned: the proxy under test to core {PROXY_CORE}, load and static agent to core {LOAD_CORE}.");
        } else {
            println!("NOT pinned: taskset or a second core is missing, so these runs say little.");
        }
    }

    /// The last line of the output.
    pub fn summary(&self) -> String {
        format!("Measured on: {}, {} cores, {}.", self.cpu, self.cores, self.nginx)
    }
}

fn is_on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

/// User and system time that the process has used, in microseconds. Its grain is 10 ms.
pub fn cpu_us(pid: u32) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold spaces; utime and stime are the 14th and 15th field of the line.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ')).ok_or("/proc/PID/stat has no name")?;
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks * 1_000_000 / TICKS_PER_SECOND)
}

/// Memory in use and its highest so far, in KiB.
pub fn resident_kib(pid: u32) -> Outcome<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Outcome<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or(format!("no {name} in status"))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// The first process whose parent is `parent`.
pub fn child_of(parent: u32) -> Option<u32> {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
        let parent_field = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1));
        parent_field.is_some_and(|field| field.parse() == Ok(parent))
    };
    let processes = fs::read_dir("/proc").ok()?;
    processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(is_child)
}

/// # Errors
/// What should hold does not.
pub fn check(holds: bool, what: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("this does not hold: {what}").into()) }
}
