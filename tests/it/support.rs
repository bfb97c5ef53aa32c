//! What tests stand on: a real gateway on a port of its own, agents that misbehave on request, and real peers.

pub mod database;
pub mod fake;
pub mod gateway;
pub mod grpc;
pub mod peers;
pub mod process;
pub mod shelf;
pub mod tools;

pub use database::{Database, Postgres};
pub use fake::{FakeAgent, FakeReply, Seen};
pub use shelf::Shelf;

/// Pretty enough to read in a failure.
pub fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}
