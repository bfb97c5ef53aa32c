//! What the gateway costs beside nginx, on this machine: `cargo bench --bench load`.
//!
//! One run starts a static agent (nginx), nginx as a plain proxy before it, and the gateway before it, and measures
//! all of them in turn: requests per second and CPU per request, added latency, memory, and the time to ready. It
//! prints, and fails only when something is missing or an answer is wrong; being slow is no failure.
//! `docs/performance.md` says how to read it.
//!
//! `LOAD_ROUNDS` (7) and `LOAD_SECONDS` (3) set how many rounds are driven and how long each one lasts; with
//! `LOAD_ONLY=matrix` only the matrix of bindings and versions is driven.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for a reader, far from the limits of their types"
)]

use std::error::Error;
use std::process::ExitCode;

#[path = "load/echo.rs"]
mod echo;
#[path = "load/footprint.rs"]
mod footprint;
#[path = "load/http.rs"]
mod http;
#[path = "load/latency.rs"]
mod latency;
#[path = "load/machine.rs"]
mod machine;
#[path = "load/matrix.rs"]
mod matrix;
#[path = "load/payload.rs"]
mod payload;
#[path = "load/process.rs"]
mod process;
#[path = "load/stage.rs"]
mod stage;
#[path = "load/statistics.rs"]
mod statistics;
#[path = "load/streams.rs"]
mod streams;
#[path = "load/throughput.rs"]
mod throughput;

use machine::Machine;
use stage::Stage;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs benches too, to see that they start.
        println!("load: measures nothing without --bench, which `cargo bench --bench load` passes");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let machine = Machine::inspect()?;
    let rounds = number("LOAD_ROUNDS", 7)?;
    let seconds = number("LOAD_SECONDS", 3)?;
    machine.print_conditions();
    if std::env::var("LOAD_ONLY").is_ok_and(|part| part == "matrix") {
        machine.pin_this_process()?;
        matrix::measure(&machine, rounds, seconds)?;
        println!("\n{}", machine.summary());
        return Ok(());
    }

    // Before anything is pinned: a process that was just started, as an operator would start it.
    footprint::measure()?.print();
    streams::measure()?;

    machine.pin_this_process()?;
    let mut stage = Stage::start(&machine)?;
    stage.check_answers()?;
    println!(
        "\nA request is {} bytes, a reply {} bytes from the 1.0 agent and {} from the 0.3 agent; every sample answer was right.",
        payload::request(payload::Call::Unary).len(),
        payload::reply_1_0().len(),
        payload::reply_0_3().len()
    );
    throughput::measure(&mut stage, rounds, seconds)?.print();
    matrix::measure(&machine, rounds, seconds)?;
    for shape in latency::SHAPES {
        latency::measure(&stage, shape)?.print();
    }
    footprint::print_after_load(&stage)?;
    println!("\n{}", machine.summary());
    Ok(())
}

/// A positive number from the environment.
fn number(name: &str, default: u32) -> Outcome<u32> {
    let Ok(text) = std::env::var(name) else { return Ok(default) };
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{name} must be a number from 1 on, not {text:?}").into()),
        Ok(number) => Ok(number),
    }
}
