//! What the scan of an answer or event tells the record.

use super::{Scan, Slot};
use crate::a2a::v0_3;
use crate::call::{PayloadKind, Peek};
use crate::operation::Version;
use crate::proto::{TaskState, wkt};

/// Something that cannot be told without decoding: two payloads, an escaped id, a state that nobody knows.
struct Unclear;

impl Scan<'_> {
    /// The peek at an answer or event in `version`; `None` when something in it cannot be told without decoding.
    pub fn peek(&self, version: Version) -> Option<Peek> {
        if self.canonical { self.clear_peek(version).ok() } else { None }
    }

    fn clear_peek(&self, version: Version) -> Result<Peek, Unclear> {
        let kind = match version {
            Version::V1_0 => self.wrapped_kind()?,
            Version::V0_3 => self.bare_kind()?,
        };
        // A bare 0.3 object has its own id only as a task; everything else names its task as taskId.
        let id_slot = match (version, kind) {
            (Version::V0_3, Some(PayloadKind::Task)) => Slot::Id,
            (Version::V0_3, None) if self.is_present(Slot::Id) => Slot::Id,
            _ => Slot::TaskId,
        };
        let state = match (self.plain(Slot::State)?, version) {
            (None, _) => None,
            (Some(name), Version::V1_0) => Some(TaskState::from_str_name(name).ok_or(Unclear)?),
            (Some(name), Version::V0_3) => Some(v0_3::state_by_name(name).ok_or(Unclear)?),
        };
        let state_at = self.text(Slot::Timestamp).and_then(wkt::micros_of);
        if version == Version::V1_0 && self.is_present(Slot::Timestamp) {
            // Readers of 1.0 refuse what is no time, and a time without a zone. In 0.3 it is a text like any other.
            self.text(Slot::Timestamp).filter(|time| state_at.is_some() && wkt::has_zone(time)).ok_or(Unclear)?;
        }
        Ok(Peek {
            kind,
            task_id: self.plain(id_slot)?.map(str::to_owned),
            context_id: self.plain(Slot::ContextId)?.map(str::to_owned),
            state,
            state_at,
            is_final: self.values[Slot::Final as usize] == Some(b"true"),
        })
    }

    /// The one payload of a wrapper; a bare task or config has none.
    fn wrapped_kind(&self) -> Result<Option<PayloadKind>, Unclear> {
        let kinds = [
            (Slot::Task, PayloadKind::Task),
            (Slot::Message, PayloadKind::Message),
            (Slot::StatusUpdate, PayloadKind::StatusUpdate),
            (Slot::ArtifactUpdate, PayloadKind::ArtifactUpdate),
        ];
        // `null` is an absent payload.
        let mut present = kinds.iter().filter(|(slot, _)| self.values[*slot as usize] == Some(b"{"));
        match (present.next(), present.next()) {
            (found, None) => Ok(found.map(|(_, kind)| *kind)),
            _ => Err(Unclear),
        }
    }

    fn bare_kind(&self) -> Result<Option<PayloadKind>, Unclear> {
        match self.plain(Slot::Kind)? {
            Some("task") => Ok(Some(PayloadKind::Task)),
            Some("message") => Ok(Some(PayloadKind::Message)),
            Some("status-update") => Ok(Some(PayloadKind::StatusUpdate)),
            Some("artifact-update") => Ok(Some(PayloadKind::ArtifactUpdate)),
            Some(_) => Err(Unclear),
            None => Ok(None),
        }
    }

    /// The text of a member that is a plain string, or nothing when it is absent.
    fn plain(&self, slot: Slot) -> Result<Option<&str>, Unclear> {
        match (self.is_present(slot), self.text(slot)) {
            (false, _) => Ok(None),
            (true, Some(text)) => Ok(Some(text)),
            (true, None) => Err(Unclear),
        }
    }
}
