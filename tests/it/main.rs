//! What this gateway promises to the outside, one file for each capability.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may stop where it stands")]

mod support;

mod access;
mod admin_clients;
mod bad_input;
mod cards;
mod commands;
mod connect;
mod connections;
mod conversion;
mod differential;
mod documents;
mod durable;
mod errors;
mod fidelity;
mod frameworks;
mod grpc;
mod hostile;
mod infrastructure;
mod keys;
mod limits;
mod lists;
mod matrix;
mod nonsense;
mod own_tls;
mod owned;
mod ownership;
mod parity;
mod promises;
mod properties;
mod protojson;
mod push;
mod registry;
mod replicas;
mod rest;
mod schema;
mod sdks;
mod shutdown;
mod streaming;
mod tidy;
mod tls;
mod tools;
mod upstream_failures;
mod versions;
