//! What agents tell twice within one stream, told once.
//!
//! Three idioms are in use beside the one that A2A means. Status messages that hold the whole text so far, again and
//! again (LangGraph); status messages that hold what is new, and at the end the whole once more (Google's ADK); and
//! artifacts whose first piece says that it is to be appended, and whose last replaces all by the same text (FastA2A).
//! A caller that puts texts together would have them twice. Here each becomes pieces that add up: nothing is left out
//! that was not said before, and where the whole differs from its pieces it goes on as it is.
//!
//! Other streams pass untouched: whether a stream is of such a kind is told by the agent's dialect, by the marks that
//! ADK leaves in its metadata, and by the first piece of an artifact.

use std::collections::HashMap;

use crate::call::{Content, Event, PayloadKind, Raw};
use crate::config::StreamText;
use crate::error::Error;
use crate::proto::part::Content as Said;
use crate::proto::stream_response::Payload;
use crate::proto::{self, Artifact, Part, TaskState};
use crate::wire::content;

/// What ADK writes into the metadata of every update.
const ADK_MARK: &[u8] = b"\"adk_";

/// What was told in one stream.
pub(super) struct Retold {
    /// None: it is not known yet.
    text: Option<StreamText>,
    /// The text of status messages so far, and of how many.
    said: String,
    messages: usize,
    /// None: no piece has come yet. False: pieces say what they are.
    mends_artifacts: Option<bool>,
    /// The artifacts of the task as it was when the stream began, and their text so far; none for what is not text alone.
    artifacts: HashMap<String, Option<String>>,
    /// Texts beyond this are not put together any more.
    bytes_max: usize,
}

impl Retold {
    pub(super) fn new(text: Option<StreamText>, bytes_max: usize) -> Self {
        Self { text, said: String::new(), messages: 0, mends_artifacts: None, artifacts: HashMap::new(), bytes_max }
    }

    /// The event with what is new in it.
    ///
    /// # Errors
    /// InvalidAgentResponse for one that cannot be read.
    pub(super) fn once(&mut self, event: Event) -> Result<Event, Error> {
        match event.peek.kind {
            Some(PayloadKind::StatusUpdate) if self.retells_status(&event) => self.typed(event, Self::status),
            Some(PayloadKind::ArtifactUpdate) if self.mends_artifacts != Some(false) => {
                self.typed(event, Self::artifact_update)
            }
            // Only pieces that come later need to know what there is.
            Some(PayloadKind::Task) if self.mends_artifacts.is_none() && holds(&event, b"artifactId") => {
                let typed = content::typed_stream_event(event.clone())?;
                if let Some(Payload::Task(task)) = &typed.payload {
                    self.artifacts.extend(task.artifacts.iter().map(|a| (a.artifact_id.clone(), text_of(&a.parts))));
                }
                Ok(event)
            }
            _ => Ok(event),
        }
    }

    /// Whether status messages of this stream may tell things twice.
    fn retells_status(&mut self, event: &Event) -> bool {
        if self.text.is_none() {
            self.text = Some(if holds(event, ADK_MARK) { StreamText::Repeated } else { StreamText::AsIs });
        }
        self.text != Some(StreamText::AsIs) && event.peek.state.is_some_and(|state| !state.is_terminal())
    }

    /// Changes the event's typed form; one that stays as it was keeps its bytes.
    fn typed(
        &mut self,
        event: Event,
        change: fn(&mut Self, &mut proto::StreamResponse) -> bool,
    ) -> Result<Event, Error> {
        let Event { content, peek } = &event;
        let mut typed = content::typed_stream_event(Event { content: content.clone(), peek: peek.clone() })?;
        if !change(self, &mut typed) {
            return Ok(event);
        }
        Ok(Event { content: Content::Typed(Box::new(typed)), peek: event.peek })
    }

    fn status(&mut self, event: &mut proto::StreamResponse) -> bool {
        let Some(Payload::StatusUpdate(update)) = &mut event.payload else { return false };
        let Some(status) = update.status.as_mut().filter(|status| status.state() == TaskState::Working) else {
            return false;
        };
        let Some(text) = status.message.as_ref().and_then(|message| text_of(&message.parts)) else { return false };
        if self.said.len() + text.len() > self.bytes_max {
            self.text = Some(StreamText::AsIs);
            return false;
        }
        let new = match self.text {
            Some(StreamText::Cumulative) => match text.strip_prefix(self.said.as_str()) {
                Some(new) => new.to_owned(),
                // Another text begins.
                None => text.clone(),
            },
            // One piece and the same piece again may be meant.
            _ if self.messages > 1 && text == self.said => String::new(),
            _ => text.clone(),
        };
        let is_changed = new.len() != text.len();
        match self.text {
            Some(StreamText::Cumulative) => self.said = text,
            _ if new.is_empty() => (self.said, self.messages) = (String::new(), 0),
            _ => {
                self.said += &text;
                self.messages += 1;
            }
        }
        if is_changed {
            status.message = status.message.take().filter(|_| !new.is_empty());
            if let Some(message) = &mut status.message {
                message.parts = vec![text_part(new)];
            }
        }
        is_changed
    }

    fn artifact_update(&mut self, event: &mut proto::StreamResponse) -> bool {
        let Some(Payload::ArtifactUpdate(update)) = &mut event.payload else { return false };
        let Some(artifact) = &mut update.artifact else { return false };
        let is_known = self.artifacts.contains_key(&artifact.artifact_id);
        if self.mends_artifacts.is_none() {
            // Appended to nothing: the mark of the idiom. Anything else is as A2A means it.
            self.mends_artifacts = Some(update.append && !is_known);
            if self.mends_artifacts == Some(false) {
                self.artifacts = HashMap::new();
                return false;
            }
        }
        let text = text_of(&artifact.parts);
        if !is_known {
            self.artifacts.insert(artifact.artifact_id.clone(), text);
            let is_changed = update.append;
            update.append = false;
            return is_changed;
        }
        let before = self.artifacts.get(&artifact.artifact_id).cloned().flatten();
        if update.append {
            let whole = before.zip(text).map(|(before, text)| before + &text);
            let whole = whole.filter(|whole| whole.len() <= self.bytes_max);
            self.artifacts.insert(artifact.artifact_id.clone(), whole);
            return false;
        }
        let new = before.zip(text.as_ref()).and_then(|(before, text)| text.strip_prefix(&before).map(str::to_owned));
        self.artifacts.insert(artifact.artifact_id.clone(), text);
        match new {
            Some(new) => {
                more_of(artifact, new);
                update.append = true;
                true
            }
            None => false,
        }
    }
}

/// The piece that is added to an artifact; of nothing it says that there is no more.
fn more_of(artifact: &mut Artifact, text: String) {
    artifact.parts = vec![text_part(text)];
}

fn text_part(text: String) -> Part {
    Part { content: Some(Said::Text(text)), ..Part::default() }
}

/// The text of parts that are text and nothing else.
fn text_of(parts: &[Part]) -> Option<String> {
    let is_bare = |part: &Part| part.metadata.is_none() && part.media_type.is_empty() && part.filename.is_empty();
    let text = |part: &Part| match &part.content {
        Some(Said::Text(text)) if is_bare(part) => Some(text.clone()),
        _ => None,
    };
    if parts.is_empty() { None } else { parts.iter().map(text).collect() }
}

/// Whether the bytes of an event have this in them; of one that was decoded it is not known, and so it may be.
fn holds(event: &Event, needle: &[u8]) -> bool {
    match &event.content {
        Content::Raw(Raw { bytes, .. }) => memchr::memmem::find(bytes, needle).is_some(),
        Content::Typed(typed) => match &typed.payload {
            Some(Payload::StatusUpdate(update)) => {
                let metadata = update.metadata.as_ref().map(|metadata| &metadata.fields);
                metadata.is_some_and(|fields| fields.keys().any(|name| name.starts_with("adk_")))
            }
            _ => true,
        },
    }
}

#[cfg(test)]
mod tests;
