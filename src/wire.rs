//! Bodies in their forms, and their framing: what bytes mean, before anybody decides what to do with them.

pub mod body;
pub mod content;
pub mod grpc;
pub mod json;
pub mod jsonrpc;
pub mod proto;
pub mod rest;
pub mod scan;
pub mod sse;
pub mod status;
