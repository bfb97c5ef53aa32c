//! What a gateway with many agents takes before it has done anything: memory, and time to be ready.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::machine::resident_kib;
use crate::process::free_port;
use crate::stage::{Stage, Variant, gateway};
use crate::statistics::Spread;
use crate::{Outcome, payload};

const AGENTS: u32 = 200;
const STARTS: u32 = 5;
/// After it was ready, until its memory is read.
const SETTLE: Duration = Duration::from_millis(500);

pub struct Footprint {
    ready_ms: Spread,
    resident_mb: Spread,
}

/// Starts a gateway several times, one after the other, unpinned and with as many workers as it likes.
pub fn measure() -> Outcome<Footprint> {
    let mut found = Vec::new();
    for _ in 0..STARTS {
        let directory = tempfile::Builder::new().prefix("switchboard-load").tempdir()?;
        let port = free_port()?;
        let command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        let mut process = gateway(directory.path(), command, &config(port))?;
        let ready = process.wait_for(port, "/health/ready")?;
        sleep(SETTLE);
        found.push((ready.as_secs_f64() * 1e3, megabytes(resident_kib(process.id())?.0)));
    }
    Ok(Footprint {
        ready_ms: Spread::of(found.iter().map(|(ready, _)| *ready)),
        resident_mb: Spread::of(found.iter().map(|(_, resident)| *resident)),
    })
}

/// Agents that nobody calls, so that nothing is connected to.
fn config(port: u16) -> String {
    let agents: String =
        (0..AGENTS).map(|n| format!("  - {{ name: agent-{n}, url: \"http://127.0.0.1:9/agents/{n}\" }}\n")).collect();
    let key = payload::MASTER_KEY;
    format!("listen: 127.0.0.1:{port}\nmaster_key: {key}\nagents:\n{agents}")
}

impl Footprint {
    pub fn print(&self) {
        println!("\nFootprint: {STARTS} starts with {AGENTS} agents. Median (min - max).");
        println!("{:<34} {:>24}   target 100", "from spawn to ready, ms", self.ready_ms.show(1));
        println!("{:<34} {:>24}   target 25", "resident when idle, MB", self.resident_mb.show(1));
    }
}

/// The memory of the gateway that was measured; there is no target for it.
pub fn print_after_load(stage: &Stage) -> Outcome<()> {
    let (now, highest) = resident_kib(stage.pid(Variant::Raw))?;
    println!(
        "\nThe measured gateway holds {:.1} MB after the load, and held {:.1} MB at most.",
        megabytes(now),
        megabytes(highest)
    );
    Ok(())
}

fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
