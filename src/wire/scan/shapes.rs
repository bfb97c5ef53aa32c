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
    folded: Folded,
    /// Where its value is kept, if the value matters beyond being unique.
    pub(super) slot: Option<Slot>,
    /// The shape of its object, or of the objects in its array.
    pub(super) shape: Option<&'static Shape>,
    /// The elements of its array are parts.
    pub(super) counts_parts: bool,
    /// It must not stand here: it belongs to the other version, to another operation or to another place, and some reader
    /// could take it.
    pub(super) foreign: bool,
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
    Timestamp,
    Final,
    Task,
    Message,
    StatusUpdate,
    ArtifactUpdate,
}

impl Slot {
    pub(super) const COUNT: usize = 12;
}

/// Longer names than this are compared by their beginning, which is longer than any name in the shapes.
const FOLDED_MAX: usize = 32;

/// A name without case and separators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Folded {
    length: usize,
    bytes: [u8; FOLDED_MAX],
}

const fn folded(name: &[u8]) -> Folded {
    let mut out = Folded { length: 0, bytes: [0; FOLDED_MAX] };
    let mut at = 0;
    while at < name.len() && out.length < FOLDED_MAX {
        if name[at] != b'_' && name[at] != b'-' {
            out.bytes[out.length] = name[at].to_ascii_lowercase();
            out.length += 1;
        }
        at += 1;
    }
    out
}

impl Shape {
    pub(super) fn find(&self, name: &[u8]) -> Option<(usize, &'static Member)> {
        self.members.iter().enumerate().find(|(_, member)| member.name.as_bytes() == name)
    }

    /// Whether some reader could take `name` for one of the members: other case or letters, underscores, escapes.
    pub(super) fn resembles(&self, name: &[u8]) -> bool {
        if self.members.is_empty() {
            return false;
        }
        // Some readers fold case as Unicode does, where more than one character folds to an ASCII letter.
        if !name.is_ascii() || memchr::memchr(b'\\', name).is_some() {
            return true;
        }
        let name = folded(name);
        self.members.iter().any(|member| member.folded == name)
    }
}

const fn only(name: &'static str) -> Member {
    Member { name, folded: folded(name.as_bytes()), slot: None, shape: None, counts_parts: false, foreign: false }
}

const fn kept(name: &'static str, slot: Slot) -> Member {
    Member { slot: Some(slot), ..only(name) }
}

const fn inside(name: &'static str, shape: &'static Shape) -> Member {
    Member { shape: Some(shape), ..only(name) }
}

const fn payload(name: &'static str, slot: Slot, shape: &'static Shape) -> Member {
    Member { slot: Some(slot), ..inside(name, shape) }
}

const fn foreign(name: &'static str) -> Member {
    Member { foreign: true, ..only(name) }
}

const fn parts() -> Member {
    Member { counts_parts: true, ..only("parts") }
}

static MESSAGE_REQUEST: Shape = Shape {
    members: &[
        only("messageId"),
        only("taskId"),
        only("contextId"),
        only("referenceTaskIds"),
        parts(),
        foreign("id"),
        foreign("task"),
        foreign("tenant"),
    ],
};
static AUTHENTICATION: Shape = Shape { members: &[only("scheme"), only("schemes"), only("credentials")] };
static PUSH_V1: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        only("id"),
        only("taskId"),
        only("url"),
        only("token"),
        inside("authentication", &AUTHENTICATION),
        foreign("pushNotificationConfig"),
    ],
};
/// Inside another object, which says the tenant and the task.
static NESTED_PUSH: Shape = Shape {
    members: &[
        foreign("tenant"),
        only("id"),
        foreign("taskId"),
        foreign("contextId"),
        only("url"),
        only("token"),
        inside("authentication", &AUTHENTICATION),
    ],
};
static CONFIGURATION_V1: Shape = Shape {
    members: &[
        inside("taskPushNotificationConfig", &NESTED_PUSH),
        foreign("pushNotificationConfig"),
        foreign("pushNotification"),
        only("historyLength"),
        only("returnImmediately"),
        foreign("blocking"),
        foreign("taskId"),
        foreign("contextId"),
        foreign("tenant"),
    ],
};
static CONFIGURATION_V03: Shape = Shape {
    members: &[
        inside("pushNotificationConfig", &NESTED_PUSH),
        foreign("taskPushNotificationConfig"),
        foreign("pushNotification"),
        only("historyLength"),
        only("blocking"),
        foreign("returnImmediately"),
        foreign("taskId"),
        foreign("contextId"),
        foreign("tenant"),
    ],
};
static SEND_V1: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        inside("message", &MESSAGE_REQUEST),
        inside("configuration", &CONFIGURATION_V1),
        foreign("request"),
        foreign("id"),
        foreign("task"),
        foreign("taskId"),
        foreign("contextId"),
        foreign("name"),
        foreign("parent"),
    ],
};
static SEND_V03: Shape = Shape {
    members: &[
        foreign("tenant"),
        inside("message", &MESSAGE_REQUEST),
        inside("configuration", &CONFIGURATION_V03),
        foreign("request"),
        foreign("id"),
        foreign("task"),
        foreign("taskId"),
        foreign("contextId"),
        foreign("name"),
        foreign("parent"),
    ],
};
/// Get, cancel and subscribe name the task as `id`; in 0.3 all operations but `set` do.
static TASK_V1: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        only("id"),
        foreign("taskId"),
        foreign("contextId"),
        foreign("name"),
        foreign("parent"),
        only("historyLength"),
    ],
};
static LIST_V1: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        only("contextId"),
        only("status"),
        only("pageSize"),
        only("pageToken"),
        only("historyLength"),
        foreign("id"),
        foreign("taskId"),
    ],
};
static PUSH_OF_TASK_V1: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        only("taskId"),
        only("id"),
        foreign("pushNotificationConfigId"),
        foreign("name"),
    ],
};
static PUSHES_OF_TASK_V1: Shape = Shape {
    members: &[
        kept("tenant", Slot::Tenant),
        only("taskId"),
        only("pageSize"),
        only("pageToken"),
        foreign("id"),
        foreign("parent"),
    ],
};
static TASK_V03: Shape = Shape {
    members: &[
        foreign("tenant"),
        only("id"),
        foreign("taskId"),
        foreign("contextId"),
        foreign("name"),
        foreign("parent"),
        only("pushNotificationConfigId"),
        only("historyLength"),
    ],
};
static SET_V03: Shape = Shape {
    members: &[
        foreign("tenant"),
        only("taskId"),
        foreign("id"),
        inside("pushNotificationConfig", &NESTED_PUSH),
        foreign("url"),
    ],
};

/// The members of a request that policy reads.
pub fn request_shape(rpc: Rpc, version: Version) -> &'static Shape {
    match (version, rpc) {
        (Version::V1_0, Rpc::SendMessage | Rpc::SendStreamingMessage) => &SEND_V1,
        (Version::V1_0, Rpc::GetTask | Rpc::CancelTask | Rpc::SubscribeToTask) => &TASK_V1,
        (Version::V1_0, Rpc::ListTasks | Rpc::GetExtendedAgentCard) => &LIST_V1,
        (Version::V1_0, Rpc::CreatePushConfig) => &PUSH_V1,
        (Version::V1_0, Rpc::GetPushConfig | Rpc::DeletePushConfig) => &PUSH_OF_TASK_V1,
        (Version::V1_0, Rpc::ListPushConfigs) => &PUSHES_OF_TASK_V1,
        (Version::V0_3, Rpc::SendMessage | Rpc::SendStreamingMessage) => &SEND_V03,
        (Version::V0_3, Rpc::CreatePushConfig) => &SET_V03,
        (Version::V0_3, _) => &TASK_V03,
    }
}

static STATUS: Shape = Shape { members: &[kept("state", Slot::State), kept("timestamp", Slot::Timestamp)] };
/// A part of 1.0; what says its kind, or is called a file, is one of 0.3 in the wrong place.
static PART: Shape = Shape { members: &[foreign("kind"), foreign("file")] };
static SAID: Shape = Shape { members: &[foreign("kind"), inside("parts", &PART)] };
static STATUS_V1: Shape =
    Shape { members: &[kept("state", Slot::State), kept("timestamp", Slot::Timestamp), inside("message", &SAID)] };
static TASK: Shape = Shape {
    members: &[
        kept("id", Slot::TaskId),
        kept("contextId", Slot::ContextId),
        inside("status", &STATUS_V1),
        inside("artifacts", &SAID),
        inside("history", &SAID),
        foreign("kind"),
    ],
};
static MESSAGE: Shape = Shape {
    members: &[
        kept("taskId", Slot::TaskId),
        kept("contextId", Slot::ContextId),
        inside("parts", &PART),
        foreign("kind"),
    ],
};
static UPDATE: Shape = Shape {
    members: &[
        kept("taskId", Slot::TaskId),
        kept("contextId", Slot::ContextId),
        inside("status", &STATUS_V1),
        inside("artifact", &SAID),
        foreign("kind"),
        foreign("final"),
    ],
};
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
/// The answer to get and cancel: a task, whatever its `kind` says.
static BARE_TASK_0_3: Shape = Shape {
    members: &[
        kept("kind", Slot::Kind),
        kept("id", Slot::Id),
        foreign("taskId"),
        kept("contextId", Slot::ContextId),
        inside("status", &STATUS),
    ],
};
static PUSH_ANSWER: Shape = Shape { members: &[kept("taskId", Slot::TaskId)] };
static FREE: Shape = Shape { members: &[] };

/// Of which nothing matters but its bounds.
pub fn free_shape() -> &'static Shape {
    &FREE
}

/// The members of an answer that the record reads.
pub fn answer_shape(rpc: Rpc, version: Version) -> &'static Shape {
    match (rpc, version) {
        (Rpc::SendMessage | Rpc::SendStreamingMessage | Rpc::SubscribeToTask, _) => event_shape(version),
        (Rpc::GetTask | Rpc::CancelTask, Version::V1_0) => &TASK,
        (Rpc::GetTask | Rpc::CancelTask, Version::V0_3) => &BARE_TASK_0_3,
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
