//! The A2A 1.0 messages, generated from `proto/lf/a2a/v1/a2a.proto`, with an exact ProtoJSON form.
//!
//! These types are the only hub between versions and bindings. Their JSON is what the ProtoJSON specification
//! says, with two liberties that it allows: integral numbers inside `Struct` and `Value` are printed without `.0`,
//! and members that A2A marks REQUIRED are printed even when they hold their default (A2A 5.7).

pub mod json;
pub mod wkt;

#[allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)] // Generated code is not ours to tidy.
mod generated {
    /// `google.protobuf`: the well-known types that A2A uses.
    pub mod google {
        pub mod protobuf {
            include!(concat!(env!("OUT_DIR"), "/google.protobuf.rs"));
        }
    }
    pub mod switchboard {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/switchboard.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/switchboard.v1.serde.rs"));
        }
    }
    pub mod a2a {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/a2a.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/a2a.v1.serde.rs"));
        }
    }
    pub mod lf {
        pub mod a2a {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/lf.a2a.v1.rs"));
                include!(concat!(env!("OUT_DIR"), "/lf.a2a.v1.serde.rs"));
            }
        }
    }
}

/// A2A 0.3 in its protobuf form, `proto/a2a/v1/a2a.proto`, which its gRPC speaks, and in JSON its HTTP+JSON.
pub use generated::a2a::v1 as v0_3;
pub use generated::google::protobuf::{FieldMask, ListValue, NullValue, Struct, Timestamp, Value, value};
pub use generated::lf::a2a::v1::*;
/// The admin API, `proto/switchboard/v1`: agents, keys, teams and access groups, as they are sent and as they are kept.
pub use generated::switchboard::v1 as admin;

/// The compiled schemas with all its options: a serialized `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.fds"));

impl TaskState {
    /// A task in this state will not change any more (A2A 4.1.3).
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// The agent waits for its caller: the stream ends, the task does not (A2A 4.1.3).
    pub const fn is_interrupted(self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }
}
