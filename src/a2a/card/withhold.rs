//! Takes the agent's addresses out of every text of its card.
//!
//! Interfaces are replaced as a whole; but a documentation link, the params of an extension or a description may
//! name the same host. What is at an address of the agent is of no use to callers who cannot reach it. An extension
//! whose URI is there is left out as a whole: with another URI it would be another extension.

use url::Url;

use crate::proto::{AgentCard, Struct, Value, value::Kind};

/// What stands in the place of an address.
const WITHHELD: &str = "(address withheld)";

/// Removes from `ours` every address that `theirs` lists as an interface, and `registered`.
pub(super) fn addresses(ours: &mut AgentCard, theirs: &AgentCard, registered: &str) {
    let interfaces = theirs.supported_interfaces.iter().map(|interface| {
        let url = Url::parse(&interface.url).ok().filter(url::Url::has_authority);
        // A gRPC interface is a bare host and port.
        url.map_or_else(|| interface.url.clone(), |url| url.authority().to_owned())
    });
    let all = interfaces.chain([registered.to_owned()]).filter(|known| !known.is_empty());
    // A host of one word, such as `agent`, is a word like any other, unless it stands in an address.
    let is_address = |host: &str| host.contains(['.', ':']);
    let mut known: Vec<String> = all.map(|host| if is_address(&host) { host } else { format!("://{host}") }).collect();
    known.sort_unstable_by_key(|known| std::cmp::Reverse(known.len()));
    known.dedup();
    let known = Known(known);
    for url in [&mut ours.documentation_url, &mut ours.icon_url] {
        *url = url.take().filter(|url| !known.is_in(url));
    }
    if let Some(provider) = &mut ours.provider {
        if known.is_in(&provider.url) {
            provider.url.clear();
        }
        known.withhold(&mut provider.organization);
    }
    known.withhold_in_all([&mut ours.name, &mut ours.description, &mut ours.version]);
    known.withhold_in_all(ours.default_input_modes.iter_mut().chain(&mut ours.default_output_modes));
    for skill in &mut ours.skills {
        known.withhold_in_all([&mut skill.id, &mut skill.name, &mut skill.description]);
        known.withhold_in_all(skill.examples.iter_mut().chain(&mut skill.tags));
        known.withhold_in_all(skill.input_modes.iter_mut().chain(&mut skill.output_modes));
    }
    if let Some(capabilities) = &mut ours.capabilities {
        capabilities.extensions.retain(|extension| !known.is_in(&extension.uri));
        for extension in &mut capabilities.extensions {
            known.withhold(&mut extension.description);
            extension.params.iter_mut().for_each(|params| known.withhold_in_struct(params));
        }
    }
}

struct Known(Vec<String>);

impl Known {
    fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|known| text.contains(known.as_str()))
    }

    fn withhold(&self, text: &mut String) {
        for known in &self.0 {
            if text.contains(known.as_str()) {
                *text = text.replace(known.as_str(), WITHHELD);
            }
        }
    }

    fn withhold_in_all<'a>(&self, texts: impl IntoIterator<Item = &'a mut String>) {
        texts.into_iter().for_each(|text| self.withhold(text));
    }

    fn withhold_in_struct(&self, object: &mut Struct) {
        object.fields.retain(|name, _| !self.is_in(name));
        object.fields.values_mut().for_each(|value| self.withhold_in_value(value));
    }

    fn withhold_in_value(&self, value: &mut Value) {
        match &mut value.kind {
            Some(Kind::StringValue(text)) => self.withhold(text),
            Some(Kind::ListValue(list)) => list.values.iter_mut().for_each(|value| self.withhold_in_value(value)),
            Some(Kind::StructValue(object)) => self.withhold_in_struct(object),
            _ => {}
        }
    }
}
