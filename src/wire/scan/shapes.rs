//! Which members matter, where: the structural skeleton of requests, answers and events in both versions.
//!
//! Only members that policy or the record reads are listed; all others are free to be what they are.

use crate::operation::{Rpc, Version};

/// The members of an object that matter.
#[derive(Debug)]
pub struct Shape {
    members: &'static [Member],
}

#[derive(Debug)]
pub(super) struct Member {
    name: &'static str,
    /// Where its value is kept, if the value matters beyond being unique.
    pub(super) slot: Option<Slot>,
    /// The shape of its object, or of the objects in its array.
    pub(super) shape: Option<&'static Shape>,
    /// The elements of its array are parts.
    pub(super) counts_parts: bool,
}

/// A member whose value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Tenant,
    Kind,
    Id,
    TaskId,
    ContextId,
    State,
    Final,
    Task,
    Message,
    StatusUpdate,
    ArtifactUpdate,
}

impl Slot {
    pub(super) const COUNT: usize = 11;
}

/// Longer names than this are compared by their beginning, which is longer than any name in the shapes.
const FOLDED_MAX: usize = 32;

impl Shape {
    pub(super) fn find(&self, name: &[u8]) -> Option<(usize, &'static Member)> {
        self.members.iter().enumerate().find(|(_, member)| member.name.as_bytes() == name)
    }

    /// Whether some reader could take `name` for one of the members: other case, underscores, or escapes in it.
    pub(super) fn resembles(&self, name: &[u8]) -> bool {
        if self.members.is_empty() {
            return false;
        }
        if name.contains(&b'\\') {
            return true;
        }
        let name = folded(name);
        self.members.iter().any(|member| folded(member.name.as_bytes()) == name)
    }
}

fn folded(name: &[u8]) -> [u8; FOLDED_MAX] {
    let mut out = [0; FOLDED_MAX];
    let letters = name.iter().filter(|b| **b != b'_' && **b != b'-');
    for (place, byte) in out.iter_mut().zip(letters) {
        *place = byte.to_ascii_lowercase();
    }
    out
}

const fn only(name: &'static str) -> Member {
    Member { name, slot: None, shape: None, counts_parts: false }
}

const fn kept(name: &'static str, slot: Slot) -> Member {
    Member { name, slot: Some(slot), shape: None, counts_parts: false }
}

const fn inside(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, slot: None, shape: Some(shape), counts_parts: false }
}

const fn payload(name: &'static str, slot: Slot, shape: &'static Shape) -> Member {
    Member { name, slot: Some(slot), shape: Some(shape), counts_parts: false }
}

const fn parts() -> Member {
    Member { name: "parts", slot: None, shape: None, counts_parts: true }
}

static MESSAGE_REQUEST: Shape =
    Shape { members: &[only("messageId"), only("taskId"), only("contextId"), only("referenceTaskIds"), parts()] };
static AUTHENTICATION: Shape = Shape { members: &[only("scheme"), only("schemes"), only("credentials")] };
static PUSH_CONFIG: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        only("id"),
        only("taskId"),
        only("url"),
        only("token"),
        inside("authentication", &AUTHENTICATION),
    ],
};
/// Inside a send or a 0.3 request. A tenant of its own would be a second one, so it shares the slot.
static CONFIGURATION: Shape = Shape {
    members: &[
        inside("taskPushNotificationConfig", &PUSH_CONFIG),
        inside("pushNotificationConfig", &PUSH_CONFIG),
        only("historyLength"),
        only("returnImmediately"),
        only("blocking"),
    ],
};
static SEND_REQUEST: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        inside("message", &MESSAGE_REQUEST),
        inside("configuration", &CONFIGURATION),
    ],
};
static TASK_REQUEST: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        only("id"),
        only("taskId"),
        only("contextId"),
        only("pushNotificationConfigId"),
        only("pageSize"),
        only("pageToken"),
        only("historyLength"),
        only("status"),
    ],
};
static PUSH_REQUEST_0_3: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        only("id"),
        only("taskId"),
        inside("pushNotificationConfig", &PUSH_CONFIG),
    ],
};

/// The members of a request that policy reads.
pub fn request_shape(rpc: Rpc, version: Version) -> &'static Shape {
    match (rpc, version) {
        (Rpc::SendMessage | Rpc::SendStreamingMessage, _) => &SEND_REQUEST,
        (Rpc::CreatePushConfig, Version::V1_0) => &PUSH_CONFIG,
        (Rpc::CreatePushConfig, Version::V0_3) => &PUSH_REQUEST_0_3,
        _ => &TASK_REQUEST,
    }
}

static STATUS: Shape = Shape { members: &[kept("state", Slot::State)] };
static TASK: Shape =
    Shape { members: &[kept("id", Slot::TaskId), kept("contextId", Slot::ContextId), inside("status", &STATUS)] };
static MESSAGE: Shape = Shape { members: &[kept("taskId", Slot::TaskId), kept("contextId", Slot::ContextId)] };
static UPDATE: Shape =
    Shape { members: &[kept("taskId", Slot::TaskId), kept("contextId", Slot::ContextId), inside("status", &STATUS)] };
/// SendMessageResponse and StreamResponse.
static WRAPPED: Shape = Shape {
    members: &[
        payload("task", Slot::Task, &TASK),
        payload("message", Slot::Message, &MESSAGE),
        payload("statusUpdate", Slot::StatusUpdate, &UPDATE),
        payload("artifactUpdate", Slot::ArtifactUpdate, &UPDATE),
    ],
};
/// A bare object that its `kind` names.
static BARE_0_3: Shape = Shape {
    members: &[
        kept("kind", Slot::Kind),
        kept("id", Slot::Id),
        kept("taskId", Slot::TaskId),
        kept("contextId", Slot::ContextId),
        kept("final", Slot::Final),
        inside("status", &STATUS),
    ],
};
static PUSH_ANSWER: Shape = Shape { members: &[kept("taskId", Slot::TaskId)] };
static FREE: Shape = Shape { members: &[] };

/// The members of an answer that the record reads.
pub fn answer_shape(rpc: Rpc, version: Version) -> &'static Shape {
    match (rpc, version) {
        (Rpc::SendMessage | Rpc::SendStreamingMessage | Rpc::SubscribeToTask, _) => event_shape(version),
        (Rpc::GetTask | Rpc::CancelTask, Version::V1_0) => &TASK,
        (Rpc::GetTask | Rpc::CancelTask, Version::V0_3) => &BARE_0_3,
        (Rpc::CreatePushConfig | Rpc::GetPushConfig, _) => &PUSH_ANSWER,
        _ => &FREE,
    }
}

/// The members of an event that the record reads.
pub fn event_shape(version: Version) -> &'static Shape {
    match version {
        Version::V1_0 => &WRAPPED,
        Version::V0_3 => &BARE_0_3,
    }
}
