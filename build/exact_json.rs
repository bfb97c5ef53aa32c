//! Makes pbjson's code do what the ProtoJSON specification says.
//!
//! pbjson is close to ProtoJSON but not exact (nulls, open enums, integral floats, members of a oneof that are
//! null, REQUIRED members that hold their default). Every mend of its output is counted, so that another
//! pbjson-build cannot slip through unnoticed.

use std::collections::HashMap;
use std::error;

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, Value};

use crate::PACKAGE;

/// The fields that the schema marks REQUIRED and that have a default to leave out, by message name in lower case,
/// for Rust spells acronyms in its own way.
pub fn required_fields(pool: &DescriptorPool) -> Result<HashMap<String, Vec<String>>, Box<dyn error::Error>> {
    let behavior = pool.get_extension_by_name("google.api.field_behavior").ok_or("no field_behavior")?;
    let required = |message: &MessageDescriptor| -> Vec<String> {
        let fields = message.fields().filter(|field| field.is_list() || !matches!(field.kind(), Kind::Message(_)));
        fields
            .filter(|field| match field.options().get_extension(&behavior).as_ref() {
                Value::List(values) => values.iter().any(|value| value.as_enum_number() == Some(2)),
                _ => false,
            })
            .map(|field| field.name().to_owned())
            .collect()
    };
    let messages = pool.all_messages().filter(|message| message.package_name() == PACKAGE);
    Ok(messages.map(|message| (message.name().to_lowercase(), required(&message))).collect())
}

/// The generated code with every mend.
pub fn exact_json(generated: &str, required: &HashMap<String, Vec<String>>) -> String {
    let text = always_emit_required(generated, required);
    let text = null_is_unset_in_oneofs(&text);
    // Where a value may be absent, null is the default value.
    let text =
        replace(&text, 110, "Some(map_.next_value()?)", "Some(map_.next_value::<Option<_>>()?.unwrap_or_default())");
    let text = replace(
        &text,
        7,
        "map_.next_value::<std::collections::BTreeMap<_, _>>()?",
        "map_.next_value::<Option<_>>()?.unwrap_or_default()",
    );
    // An integer may be written 10, 10.0, 1e1 or "10".
    let text = replace(
        &text,
        3,
        "Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)",
        "Some(map_.next_value::<Option<crate::proto::json::Int32>>()?.map_or(0, |x| x.0))",
    );
    let text = replace(&text, 4, "::pbjson::private::NumberDeserialize<_>", "crate::proto::json::Int32");
    // Enums of proto3 are open: a number that this build does not know is kept.
    let mut text = text;
    for (name, count) in [("Role", 1), ("TaskState", 2)] {
        text = replace(
            &text,
            count,
            &format!("Some(map_.next_value::<{name}>()? as i32)"),
            &format!(
                "Some(map_.next_value::<Option<crate::proto::json::OpenEnum<{name}>>>()?.map_or(0, |x| x.number))"
            ),
        );
        text = replace_enum_output(&text, count, name);
    }
    text
}

fn replace(text: &str, count: usize, from: &str, to: &str) -> String {
    let found = text.matches(from).count();
    assert_eq!(found, count, "pbjson-build generates something else now: {found} times `{from}`, expected {count}");
    text.replace(from, to)
}

/// `let v = Role::try_from(self.role)\n.map_err(..)?;` fails for an unknown number; print the number instead.
fn replace_enum_output(text: &str, count: usize, name: &str) -> String {
    let start = format!("let v = {name}::try_from(self.");
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    let mut found = 0;
    while let Some(line) = lines.next() {
        if let Some((indent, rest)) = line.split_once(&start) {
            let field = rest.trim_end_matches(')');
            let tail = lines.next().expect("the second line of the conversion");
            assert!(tail.contains(".map_err("), "unexpected continuation: {tail}");
            out += &format!("{indent}let v = crate::proto::json::OpenEnum::<{name}>::new(self.{field});\n");
            found += 1;
        } else {
            out += line;
            out.push('\n');
        }
    }
    assert_eq!(found, count, "outputs of enum {name}");
    out
}

/// A2A 5.7: REQUIRED members are written even when they hold their default (`"nextPageToken":""`, `"tasks":[]`).
fn always_emit_required(text: &str, required: &HashMap<String, Vec<String>>) -> String {
    let mut fields: &[String] = &[];
    let mut mended = HashMap::<String, usize>::new();
    let mut message = String::new();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("impl serde::Serialize for ") {
            message = name.trim_end_matches(" {").to_lowercase();
            fields = required.get(&message).map_or(&[], Vec::as_slice);
        } else if line.starts_with("impl<'de>") {
            fields = &[];
        }
        let bare = line.trim();
        let condition = |field: &String| {
            bare == format!("if !self.{field}.is_empty() {{") || bare == format!("if self.{field} != 0 {{")
        };
        match fields.iter().find(|field| condition(field)) {
            Some(field) => {
                *mended.entry(format!("{message}.{field}")).or_default() += 1;
                out += &line.replace(bare, "{");
            }
            None => out += line,
        }
        out.push('\n');
    }
    for (name, fields) in required {
        for field in fields {
            // Once where the members are counted, once where the member is written.
            assert_eq!(
                mended.get(&format!("{name}.{field}")),
                Some(&2),
                "REQUIRED {name}.{field} is not always written"
            );
        }
    }
    out
}

/// `{"text":"a","url":null}` sets one member of the oneof, not two; but `{"data":null}` is a value.
fn null_is_unset_in_oneofs(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    let mut mended = 0;
    for line in lines {
        let Some((target, value)) = line.trim().split_once("__ = map_.next_value::<::std::option::Option<") else {
            out.push(line.to_owned());
            continue;
        };
        let value = value.trim_end_matches(';');
        let Some((_, variant)) = value.split_once(".map(").filter(|(_, variant)| variant.contains("::")) else {
            out.push(line.to_owned());
            continue;
        };
        mended += 1;
        // The three lines before refuse a second member before looking at it.
        let refusal = out.split_off(out.len() - 3);
        assert!(refusal[1].contains("duplicate_field"), "unexpected lines before a oneof: {refusal:?}");
        let refusal = refusal.join("\n");
        if variant.starts_with("part::Content::Data") {
            out.push(format!("{refusal}\n{target}__ = Some(part::Content::Data(map_.next_value()?))"));
        } else {
            out.push(format!(
                "if let Some(member) = map_.next_value::<::std::option::Option<{value} {{\n{refusal}\n{target}__ = Some(member);\n}}"
            ));
        }
        if line.trim_end().ends_with(';') {
            out.push(";".to_owned());
        }
    }
    assert_eq!(mended, 20, "members of oneofs");
    out.join("\n") + "\n"
}
