//! YAML as a tree in which every key and value knows its line, and scalars are still the text that was written.
//!
//! Written text matters: `protocol_version: 1.0` is the version 1.0, not the number 1.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// How often aliases may repeat what an anchor holds, in nodes; beyond, the file is taken for a bomb.
const NODES_MAX: usize = 100_000;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`, unquoted.
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) name: String,
}

/// A file that is no YAML, or no single mapping.
#[derive(Debug)]
pub(super) struct BadYaml {
    pub(super) line: usize,
    pub(super) message: String,
}

impl From<ScanError> for BadYaml {
    fn from(error: ScanError) -> Self {
        Self { line: error.marker().line(), message: format!("is not valid YAML: {}", error.info()) }
    }
}

/// Parses the one document of `text`; an empty one is an empty mapping.
pub(super) fn parse(text: &str) -> Result<Node, BadYaml> {
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    loop {
        let (event, span) = builder.event()?;
        match event {
            Event::StreamEnd => return Ok(root.unwrap_or(Node { line: 1, value: Value::Map(Vec::new()) })),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event if root.is_none() => root = Some(builder.node(event, span)?),
            _ => {
                let message = "has a second document after `---`, which would be ignored".to_owned();
                return Err(BadYaml { line: span.start.line(), message });
            }
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn event(&mut self) -> Result<(Event<'a>, Span), BadYaml> {
        match self.parser.next_event() {
            Some(event) => Ok(event?),
            None => Err(BadYaml { line: 0, message: "ends too early".to_owned() }),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, BadYaml> {
        let line = span.start.line();
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(BadYaml { line, message: format!("has more than {NODES_MAX} values") });
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                (anchor, if is_null { Value::Null } else { Value::Scalar(text.into_owned()) })
            }
            Event::SequenceStart(anchor, _) => (anchor, Value::List(self.list()?)),
            Event::MappingStart(anchor, _) => (anchor, Value::Map(self.map()?)),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| BadYaml { line, message: "refers to an unknown anchor".to_owned() })?;
                self.nodes += size(&node);
                return Ok(node);
            }
            _ => return Err(BadYaml { line, message: "has a value in an unexpected place".to_owned() }),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<Node>, BadYaml> {
        let mut items = Vec::new();
        loop {
            match self.event()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Vec<(Key, Node)>, BadYaml> {
        let mut entries = Vec::new();
        loop {
            let key = match self.event()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(name, ..), span) => Key { line: span.start.line(), name: name.into_owned() },
                (_, span) => {
                    return Err(BadYaml { line: span.start.line(), message: "has a key that is no text".to_owned() });
                }
            };
            let (event, span) = self.event()?;
            entries.push((key, self.node(event, span)?));
        }
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, node)| size(node)).sum(),
    }
}
