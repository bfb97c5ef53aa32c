//! The shapes of all messages, for the scan that bounds protobuf bytes before they are decoded.

use std::fmt::Write as _;

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, ServiceDescriptor};

/// The bytes of a file in 0.3: of some peers they are base64.
const AMBIGUOUS: &str = "a2a.v1.FilePart.file_with_bytes";

/// `pub static SHAPES: [Shape; n]`, and the place in it of each message that is a request or a response.
pub fn table(pool: &DescriptorPool, services: &[&ServiceDescriptor]) -> String {
    let methods = services.iter().flat_map(|service| service.methods());
    let stand_alone: Vec<String> =
        methods.flat_map(|m| [m.input(), m.output()]).map(|m| m.full_name().to_owned()).collect();
    let is_a2a = |message: &MessageDescriptor| [crate::PACKAGE, crate::PACKAGE_0_3].contains(&message.package_name());
    let wanted =
        |message: &MessageDescriptor| is_a2a(message) || message.parent_file().name() == "google/protobuf/struct.proto";
    let messages: Vec<_> = pool.all_messages().filter(wanted).collect();
    let index = |name: &str| messages.iter().position(|message| message.full_name() == name);
    let mut out = String::new();
    let mut shapes = String::new();
    for (at, message) in messages.iter().enumerate() {
        if stand_alone.iter().any(|name| name == message.full_name()) {
            let old = if message.package_name() == crate::PACKAGE_0_3 { "V0_3_" } else { "" };
            writeln!(out, "pub const {old}{}: u8 = {at};", constant(message.name())).expect("a String takes all");
        }
        let mut fields = String::new();
        for field in message.fields() {
            let inner = match field.kind() {
                Kind::Message(inner) => index(inner.full_name()),
                _ => None,
            };
            // Members of one oneof exclude each other, so they share a place: its first member's.
            let oneof = field.containing_oneof().filter(|oneof| oneof.fields().len() > 1);
            let place =
                oneof.map_or(field.number(), |oneof| oneof.fields().map(|f| f.number()).min().expect("members"));
            let inner = inner.map_or("None".to_owned(), |inner| format!("Some({inner})"));
            write!(
                fields,
                "Field {{ number: {}, place: {place}, is_repeated: {}, is_ambiguous: {}, inner: {inner} }}, ",
                field.number(),
                field.is_list() || field.is_map(),
                field.full_name() == AMBIGUOUS
            )
            .expect("a String takes all");
        }
        let is_free = !is_a2a(message);
        // A map's entry and a Value are no level of their own in JSON.
        let is_level = !message.is_map_entry() && message.name() != "Value";
        let is_part = message.name() == "Part";
        writeln!(
            shapes,
            "    Shape {{ is_free: {is_free}, is_level: {is_level}, is_part: {is_part}, fields: &[{fields}] }}, // {}",
            message.full_name()
        )
        .expect("a String takes all");
    }
    writeln!(out, "pub static SHAPES: [Shape; {}] = [\n{shapes}];", messages.len()).expect("a String takes all");
    out
}

fn constant(name: &str) -> String {
    let mut out = String::new();
    let mut previous_is_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && previous_is_lower {
            out.push('_');
        }
        previous_is_lower = letter.is_ascii_lowercase();
        out.push(letter.to_ascii_uppercase());
    }
    out
}
