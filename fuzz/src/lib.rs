//! What the targets share.

use bytes::Bytes;
use switchboard::config::JsonLimits;
use switchboard::operation::{METHODS, Rpc};

/// The gateway's own limits.
pub const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 10_000, parts_max: 100, digits_max: 100 };

/// The first byte chooses an operation, a second one a variant; the rest is the message.
pub fn chosen(data: &[u8]) -> Option<(Rpc, u8, Bytes)> {
    let [rpc, variant, rest @ ..] = data else { return None };
    Some((METHODS[usize::from(*rpc) % METHODS.len()].rpc, *variant, Bytes::copy_from_slice(rest)))
}
