//! What one version has no room for travels in metadata, under a key of our own, and is put back on the way back.
//!
//! A peer that reads the key finds there what the other side said; one that does not is not disturbed by it. Whatever
//! a peer has under this key itself stays its own: it is only taken for ours if it has nothing but our members.

use std::collections::BTreeMap;

use crate::proto::{Struct, Value, value};

/// Our key among the metadata of 0.3: what 1.0 said and 0.3 cannot.
pub const SAID_IN_1_0: &str = "switchboard/a2a-1.0";
/// Our key among the metadata of 1.0: what 0.3 said and 1.0 cannot.
pub const SAID_IN_0_3: &str = "switchboard/a2a-0.3";
/// What was under our key before.
const OWN: &str = "own";
/// There was metadata, and it was empty.
const EMPTY: &str = "emptyMetadata";
/// All that ours can have.
const MEMBERS: [&str; 10] =
    [OWN, EMPTY, "mediaType", "filename", "uri", "role", "final", "isObject", "wrapped", "referenceTaskIds"];

/// What was put aside.
#[derive(Debug, PartialEq)]
pub(super) struct Stash {
    key: &'static str,
    members: BTreeMap<String, Value>,
}

impl Stash {
    /// An empty one under this key.
    pub(super) fn new(key: &'static str) -> Self {
        Self { key, members: BTreeMap::new() }
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.members.insert(name.to_owned(), kind(value::Kind::StringValue(text.to_owned())));
        }
    }

    pub(super) fn flag(&mut self, name: &str, flag: bool) {
        self.members.insert(name.to_owned(), kind(value::Kind::BoolValue(flag)));
    }

    pub(super) fn value(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    pub(super) fn take_value(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    pub(super) fn texts(&mut self, name: &str, texts: &[String]) {
        if !texts.is_empty() {
            let values = texts.iter().map(|text| kind(value::Kind::StringValue(text.clone()))).collect();
            self.members.insert(name.to_owned(), kind(value::Kind::ListValue(crate::proto::ListValue { values })));
        }
    }

    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        match self.members.remove(name)?.kind {
            Some(value::Kind::StringValue(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn take_flag(&mut self, name: &str) -> Option<bool> {
        match self.members.remove(name)?.kind {
            Some(value::Kind::BoolValue(flag)) => Some(flag),
            _ => None,
        }
    }

    pub(super) fn take_texts(&mut self, name: &str) -> Vec<String> {
        let Some(value::Kind::ListValue(list)) = self.members.remove(name).and_then(|value| value.kind) else {
            return Vec::new();
        };
        let text = |value: Value| match value.kind {
            Some(value::Kind::StringValue(text)) => Some(text),
            _ => None,
        };
        list.values.into_iter().filter_map(text).collect()
    }

    /// Puts `texts` aside beside what is put aside in `metadata` already.
    pub(super) fn add_texts(key: &'static str, metadata: &mut Option<Struct>, name: &str, texts: &[String]) {
        let mut stash = Self::new(key);
        stash.texts(name, texts);
        let ours = metadata.as_mut().and_then(|metadata| metadata.fields.get_mut(key)).filter(|ours| is_ours(ours));
        if let Some(Some(value::Kind::StructValue(ours))) = ours.map(|ours| &mut ours.kind) {
            ours.fields.extend(stash.members);
        } else {
            let before = metadata.clone();
            stash.put_into(metadata, before.as_ref());
        }
    }

    /// Puts it into `metadata`, of which `before` is what the peer had.
    pub(super) fn put_into(mut self, metadata: &mut Option<Struct>, before: Option<&Struct>) {
        let own = metadata.as_mut().and_then(|metadata| metadata.fields.remove(self.key));
        let is_changed = metadata.as_ref() != before || !self.members.is_empty() || own.as_ref().is_some_and(is_ours);
        if is_changed && before.is_some_and(|before| before.fields.is_empty()) {
            self.flag(EMPTY, true);
        }
        match own {
            // Nothing to say, and nobody will take it for ours.
            Some(own) if self.members.is_empty() && !is_ours(&own) => {
                metadata.get_or_insert_default().fields.insert(self.key.to_owned(), own);
                return;
            }
            Some(own) => drop(self.members.insert(OWN.to_owned(), own)),
            None => {}
        }
        if !self.members.is_empty() {
            let ours = kind(value::Kind::StructValue(Struct { fields: self.members }));
            metadata.get_or_insert_default().fields.insert(self.key.to_owned(), ours);
        }
    }

    /// Takes ours out of `metadata`, if it is there and has none but these members, which are what can be put back there.
    /// [`Stash::restore`] is to follow.
    pub(super) fn take(key: &'static str, metadata: &mut Option<Struct>, members: &[&str]) -> Self {
        let nothing = Self::new(key);
        let Some(fields) = metadata.as_mut().map(|metadata| &mut metadata.fields) else { return nothing };
        let fits = |name: &String| [OWN, EMPTY].contains(&name.as_str()) || members.contains(&name.as_str());
        let is_taken = |ours: &Value| match &ours.kind {
            Some(value::Kind::StructValue(object)) => is_ours(ours) && object.fields.keys().all(fits),
            _ => false,
        };
        if !fields.get(key).is_some_and(is_taken) {
            return nothing;
        }
        match fields.remove(key).and_then(|value| value.kind) {
            Some(value::Kind::StructValue(ours)) => Self { key, members: ours.fields },
            _ => nothing,
        }
    }

    /// Leaves `metadata` as the peer had it, where something was taken out of it.
    pub(super) fn restore(mut self, metadata: &mut Option<Struct>, something_was_taken: bool) {
        if let Some(own) = self.members.remove(OWN) {
            metadata.get_or_insert_default().fields.insert(self.key.to_owned(), own);
        }
        let was_empty = self.take_flag(EMPTY) == Some(true);
        if something_was_taken && !was_empty && metadata.as_ref().is_some_and(|metadata| metadata.fields.is_empty()) {
            *metadata = None;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

fn kind(kind: value::Kind) -> Value {
    Value { kind: Some(kind) }
}

fn is_ours(value: &Value) -> bool {
    match &value.kind {
        Some(value::Kind::StructValue(object)) => {
            !object.fields.is_empty() && object.fields.keys().all(|name| MEMBERS.contains(&name.as_str()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Struct {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn puts_things_aside_and_back_whatever_the_peer_has() {
        for before in [
            None,
            Some("{}"),
            Some(r#"{"a":1}"#),
            Some(r#"{"KEY":7}"#),
            Some(r#"{"KEY":{"x":1}}"#),
            Some(r#"{"KEY":{"mediaType":"its own"}}"#),
            Some(r#"{"KEY":{"own":1}}"#),
        ] {
            let before = before.map(|json| object(&json.replace("KEY", SAID_IN_1_0)));
            for kept in ["", "text/markdown"] {
                let mut stash = Stash::new(SAID_IN_1_0);
                stash.text("mediaType", kept);
                let mut metadata = before.clone();
                stash.put_into(&mut metadata, before.as_ref());
                let mut taken = Stash::take(SAID_IN_1_0, &mut metadata, &["mediaType"]);
                let something = !taken.is_empty();
                assert_eq!(taken.take_text("mediaType").unwrap_or_default(), kept, "{before:?}");
                taken.restore(&mut metadata, something);
                assert_eq!(metadata, before);
            }
        }
    }
}
