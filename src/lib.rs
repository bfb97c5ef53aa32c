//! Switchboard: an agent gateway. Any A2A caller reaches any A2A agent, each in its own version of the protocol.
//!
//! Read [`call`] first, then [`gateway`]. A gateway is a function from [`call::Call`] to [`call::Reply`]; every door
//! makes a `Call`, every upstream consumes one, and what stands between is a handful of visible lines. The modules
//! below stand in the order of the layers: each uses only those above it.

// Words: plain data.
pub mod call;
pub mod clock;
pub mod config;
pub mod error;
pub mod operation;
pub mod proto;

// Protocol: what bytes mean.
pub mod a2a;
pub mod wire;

// Ground: what is kept, and the way out.
pub mod outbound;
pub mod store;

// Records, decisions, the book.
pub mod access;
pub mod ledger;
pub mod limits;
pub mod ownership;
pub mod registry;

// The far side.
pub mod routing;
pub mod upstream;

// What is answered here, or across calls.
pub mod tasks;

// The middle.
pub mod gateway;

// The edges.
pub mod admin;
pub mod bindings;

// The process.
pub mod cli;
pub mod client;
pub mod demo;
pub mod server;
pub mod telemetry;
