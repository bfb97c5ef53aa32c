//! What a proxy adds to the time of an answer, by a client of our own: wrk's percentiles are too coarse for that.

use std::sync::Barrier;
use std::thread::{scope, sleep};
use std::time::Duration;

use switchboard::clock::Clock;

use crate::Outcome;
use crate::http::Connection;
use crate::payload::Call;
use crate::stage::{Stage, Variant};
use crate::statistics::percentile;

/// Ways take turns this often, so that a disturbance meets them all.
const TURNS: usize = 5;
/// Requests of each connection that are not counted: the first ones open connections behind the proxy.
const WARM_UP: usize = 20;

/// How the requests come.
#[derive(Clone, Copy)]
pub struct Shape {
    title: &'static str,
    call: Call,
    connections: usize,
    /// Requests of each connection in each turn.
    requests: usize,
    /// From one request of a connection to its next; zero for the next as soon as the answer is there.
    interval: Duration,
    target: fn(Variant) -> &'static str,
}

pub const SHAPES: [Shape; 4] = [
    Shape {
        title: "Latency: one connection, one request after the other",
        call: Call::Unary,
        connections: 1,
        requests: 1_000,
        interval: Duration::ZERO,
        target: |variant| match variant {
            Variant::Direct | Variant::Nginx => "",
            Variant::Raw => "p50 +90",
            Variant::Translated => "p50 +130",
        },
    },
    Shape {
        title: "Latency: 16 connections, 2,000 requests per second in all",
        call: Call::Unary,
        connections: 16,
        requests: 50,
        interval: Duration::from_millis(8),
        target: |variant| match variant {
            Variant::Direct | Variant::Nginx => "",
            Variant::Raw | Variant::Translated => "p99 +300",
        },
    },
    Shape {
        title: "First event of a stream: 16 connections, 2,000 streams per second in all",
        call: Call::Stream,
        connections: 16,
        requests: 50,
        interval: Duration::from_millis(8),
        target: |variant| match variant {
            Variant::Direct | Variant::Nginx => "",
            Variant::Raw | Variant::Translated => "p99 +1000",
        },
    },
    Shape {
        title: "Latency: 16 connections, as fast as answers come (all are queues then)",
        call: Call::Unary,
        connections: 16,
        requests: 200,
        interval: Duration::ZERO,
        target: |variant| match variant {
            Variant::Direct | Variant::Nginx => "",
            Variant::Raw | Variant::Translated => "p99 +300",
        },
    },
];

/// The times of one shape, ascending, for each way.
pub struct Latency {
    shape: Shape,
    times_us: [(Variant, Vec<f64>); 4],
}

/// Sends the requests of `shape` on every way.
pub fn measure(stage: &Stage, shape: Shape) -> Outcome<Latency> {
    let mut times_us = Variant::ALL.map(|variant| (variant, Vec::new()));
    for _ in 0..TURNS {
        for (variant, times) in &mut times_us {
            times.extend(turn(stage, *variant, shape)?);
        }
    }
    for (_, times) in &mut times_us {
        times.sort_by(f64::total_cmp);
    }
    Ok(Latency { shape, times_us })
}

/// One turn of one way: all connections at once.
fn turn(stage: &Stage, variant: Variant, shape: Shape) -> Outcome<Vec<f64>> {
    let request = stage.request(variant, shape.call);
    let port = stage.port(variant);
    let mut connections = (0..shape.connections).map(|_| Connection::open(port)).collect::<Outcome<Vec<_>>>()?;
    let together = Barrier::new(shape.connections);
    scope(|threads| {
        let workers: Vec<_> = connections
            .iter_mut()
            .zip(0..)
            .map(|(connection, place)| {
                let (request, together) = (&request, &together);
                threads.spawn(move || {
                    let warm = (0..WARM_UP).try_for_each(|_| ask(connection, request, shape.call).map(drop));
                    // Nobody may be left waiting, so a failure is told only afterwards.
                    together.wait();
                    warm.and_then(|()| times(connection, request, shape, place))
                })
            })
            .collect();
        let times = workers.into_iter().map(|worker| worker.join().map_err(|_| "a thread of the load panicked")?);
        Ok(times.collect::<Outcome<Vec<_>>>()?.concat())
    })
}

/// The time of each request in microseconds. A connection's `place` spreads the beginnings over an interval.
fn times(connection: &mut Connection, request: &[u8], shape: Shape, place: u32) -> Outcome<Vec<f64>> {
    let mut due = Clock.instant() + shape.interval * place / shape.connections as u32;
    let mut times = Vec::with_capacity(shape.requests);
    for _ in 0..shape.requests {
        if !shape.interval.is_zero() {
            sleep(due.saturating_duration_since(Clock.instant()));
            due += shape.interval;
        }
        times.push(ask(connection, request, shape.call)?.as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// The time to the whole reply, or to the first event of a stream.
fn ask(connection: &mut Connection, request: &[u8], call: Call) -> Outcome<Duration> {
    let begin = Clock.instant();
    let answer = connection.ask(request)?;
    let until = match call {
        Call::Unary => Some(answer.complete),
        Call::Stream => answer.first_event,
    };
    match until {
        Some(until) if answer.status == 200 => Ok(until - begin),
        _ => Err(format!("HTTP {} under load, or no event", answer.status).into()),
    }
}

impl Latency {
    pub fn print(&self) {
        let shape = &self.shape;
        let count = shape.connections * shape.requests * TURNS;
        println!("\n{}. {count} requests each, in microseconds.", shape.title);
        println!(
            "{:<11} {:>8} {:>8} {:>12} {:>12} {:>12} {:>12}   target",
            "", "p50", "p99", "p50-direct", "p99-direct", "p50-nginx", "p99-nginx"
        );
        let quantiles = |of: Variant| {
            let (_, times) = self.times_us.iter().find(|(variant, _)| *variant == of).expect("all were measured");
            (percentile(times, 50.0), percentile(times, 99.0))
        };
        let (direct, nginx) = (quantiles(Variant::Direct), quantiles(Variant::Nginx));
        for variant in Variant::ALL {
            let (p50, p99) = quantiles(variant);
            print!("{:<11} {p50:>8.0} {p99:>8.0}", variant.name());
            if variant != Variant::Direct {
                print!(" {:>+12.0} {:>+12.0}", p50 - direct.0, p99 - direct.1);
            }
            if matches!(variant, Variant::Raw | Variant::Translated) {
                print!(" {:>+12.0} {:>+12.0}   {}", p50 - nginx.0, p99 - nginx.1, (shape.target)(variant));
            }
            println!();
        }
    }
}
