//! One mapping of the configuration, read key by key: the user's value, else the default's.
//!
//! A reader asks for the keys that it knows and then calls [`Section::finish`], which reports the others. Problems
//! are noted and reading goes on, with a stand-in value that never reaches a running gateway.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Environment;
use super::problem::Problem;
use super::secret::Secret;
use super::tree::{Node, Value};

/// What all sections of one file share.
pub(super) struct Reader<'a> {
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) environment: Environment<'a>,
}

impl Reader<'_> {
    pub(super) fn problem(&self, key: &str, line: Option<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let problem = Problem { key: key.to_owned(), line, message: message.into(), hint: hint.into() };
        self.problems.borrow_mut().push(problem);
    }
}

pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    pub(super) path: String,
    pub(super) line: usize,
    user: Option<&'a Node>,
    default: Option<&'a Node>,
    asked: RefCell<Vec<String>>,
}

/// A value with its place.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) node: &'a Node,
    /// None when it is the default's.
    pub(super) line: Option<usize>,
}

impl<'a> Section<'a> {
    pub(super) fn new(reader: &'a Reader<'a>, path: String, user: Option<&'a Node>, default: Option<&'a Node>) -> Self {
        let section = Self {
            reader,
            path,
            line: user.map_or(0, |node| node.line),
            user: user.filter(|node| matches!(node.value, Value::Map(_))),
            default,
            asked: RefCell::default(),
        };
        if let Some(node) = user.filter(|node| !matches!(node.value, Value::Map(_) | Value::Null)) {
            reader.problem(&section.path, Some(node.line), "must be a mapping", "write `key: value` lines under it");
        }
        section
    }

    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn find(&self, name: &str) -> Option<Found<'a>> {
        self.asked.borrow_mut().push(name.to_owned());
        let in_map = |node: Option<&'a Node>| match node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            _ => None,
        };
        let set = |node: &&Node| !matches!(node.value, Value::Null);
        match in_map(self.user).filter(set) {
            Some(node) => Some(Found { node, line: Some(node.line) }),
            None => in_map(self.default).filter(set).map(|node| Found { node, line: None }),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some_and(|found| found.line.is_some())
    }

    pub(super) fn problem(&self, name: &str, line: Option<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.reader.problem(&self.key(name), line, message, hint);
    }

    /// A problem with the section as a whole.
    pub(super) fn complain(&self, message: impl Into<String>, hint: impl Into<String>) {
        let line = Some(self.line).filter(|line| *line > 0);
        self.reader.problem(&self.path, line, message, hint);
    }

    pub(super) fn section(&self, name: &str) -> Section<'a> {
        let in_map = |node: Option<&'a Node>| match node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            _ => None,
        };
        self.asked.borrow_mut().push(name.to_owned());
        Section::new(self.reader, self.key(name), in_map(self.user), in_map(self.default))
    }

    /// The items of a list; an absent one is empty.
    pub(super) fn list(&self, name: &str) -> Vec<Found<'a>> {
        let Some(found) = self.find(name) else { return Vec::new() };
        if let Value::List(items) = &found.node.value {
            items.iter().map(|node| Found { node, line: found.line.map(|_| node.line) }).collect()
        } else {
            self.problem(name, found.line, "must be a list", "write its items as `- item` lines, or as [item, item]");
            Vec::new()
        }
    }

    /// The mappings of a list.
    pub(super) fn sections(&self, name: &str) -> Vec<Section<'a>> {
        let items = self.list(name).into_iter().enumerate();
        items
            .map(|(at, item)| Section::new(self.reader, self.key(&format!("{name}[{at}]")), Some(item.node), None))
            .collect()
    }

    /// The texts of a list.
    pub(super) fn texts(&self, name: &str) -> Vec<(String, Option<usize>)> {
        let items = self.list(name);
        items.into_iter().filter_map(|item| Some((self.scalar(name, item)?, item.line))).collect()
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.find(name).and_then(|found| self.scalar(name, found))
    }

    pub(super) fn required(&self, name: &str, hint: &str) -> Option<String> {
        let text = self.find(name);
        if text.is_none() {
            self.complain(format!("{name} is missing"), hint);
        }
        text.and_then(|found| self.scalar(name, found)).filter(|text| !text.is_empty())
    }

    /// A text that `parse` accepts, else a noted problem.
    pub(super) fn parsed<T>(&self, name: &str, hint: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let found = self.find(name)?;
        let text = self.scalar(name, found)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(name, found.line, message, hint);
                None
            }
        }
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        let flag = |text: &str| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        };
        self.parsed(name, "", flag).unwrap_or(false)
    }

    pub(super) fn number(&self, name: &str, range: RangeInclusive<usize>) -> usize {
        let (low, high) = (*range.start(), *range.end());
        let number = |text: &str| match text.replace('_', "").parse::<usize>() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(format!("must be a whole number from {low} to {high}")),
        };
        self.parsed(name, "switchboard.default.yaml says what it counts", number).unwrap_or(low)
    }

    pub(super) fn millis(&self, name: &str) -> Duration {
        // A week is longer than any agent works on one call; a typo is more likely.
        Duration::from_millis(self.number(name, 1..=604_800_000) as u64)
    }

    /// Secrets, directly or by reference: of a list, or a single one.
    pub(super) fn secrets(&self, name: &str) -> Vec<(Secret, Option<usize>)> {
        let Some(found) = self.find(name) else { return Vec::new() };
        let items = if matches!(found.node.value, Value::List(_)) { self.list(name) } else { vec![found] };
        let read = |item: Found<'a>| {
            let text = self.scalar(name, item)?;
            Some((Secret::new(self.dereferenced(name, item.line, text)?), item.line))
        };
        items.into_iter().filter_map(read).collect()
    }

    /// A secret, directly or by reference.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        let found = self.find(name)?;
        let text = self.scalar(name, found)?;
        let text = self.dereferenced(name, found.line, text)?;
        if text.is_empty() {
            self.problem(name, found.line, "is empty", "give it a value, or remove the key");
            return None;
        }
        Some(Secret::new(text))
    }

    /// Follows `os.environ/NAME`, `env:NAME` and `file:PATH`.
    pub(super) fn dereferenced(&self, name: &str, line: Option<usize>, text: String) -> Option<String> {
        if let Some(variable) = text.strip_prefix("os.environ/").or_else(|| text.strip_prefix("env:")) {
            return self.variable(name, line, variable);
        }
        let Some(path) = text.strip_prefix("file:") else { return Some(text) };
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.problem(
                    name,
                    line,
                    format!("names a file that cannot be read: {error}"),
                    "check the path and its permissions",
                );
                None
            }
        }
    }

    /// Whether a variable of the environment is set to no.
    pub(super) fn environment_says_no(&self, variable: &str) -> bool {
        let value = (self.reader.environment)(variable).unwrap_or_default().to_ascii_lowercase();
        ["false", "0", "no", "off"].contains(&value.as_str())
    }

    fn variable(&self, name: &str, line: Option<usize>, variable: &str) -> Option<String> {
        let value = (self.reader.environment)(variable);
        if value.is_none() {
            let message = format!("uses the environment variable {variable}, which is not set");
            self.problem(
                name,
                line,
                message,
                format!("export {variable}=... before starting, or write $$ for a dollar sign"),
            );
        }
        value
    }

    /// The text of a scalar after `${NAME}` and `$$` are replaced.
    pub(super) fn scalar(&self, name: &str, found: Found<'_>) -> Option<String> {
        let Value::Scalar(text) = &found.node.value else {
            if !matches!(found.node.value, Value::Null) {
                self.problem(name, found.line, "must be a single value", "");
            }
            return None;
        };
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((variable, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                out.push_str(&self.variable(name, found.line, variable)?);
                rest = after;
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        Some(out)
    }

    /// The entries of a mapping whose keys are free.
    pub(super) fn entries(&self, name: &str) -> Vec<(String, Found<'a>)> {
        let Some(found) = self.find(name) else { return Vec::new() };
        if let Value::Map(entries) = &found.node.value {
            entries.iter().map(|(key, node)| (key.name.clone(), Found { node, line: Some(key.line) })).collect()
        } else {
            self.problem(name, found.line, "must be a mapping", "write `key: value` lines under it");
            Vec::new()
        }
    }

    /// All keys that the user wrote, with their lines.
    pub(super) fn written(&self) -> Vec<(&'a str, usize)> {
        match self.user.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries.iter().map(|(key, _)| (key.name.as_str(), key.line)).collect(),
            _ => Vec::new(),
        }
    }

    /// Reports keys that stand twice: readers of YAML differ in which they take.
    pub(super) fn refuse_doubles(&self) {
        let mut seen = Vec::new();
        for (name, line) in self.written() {
            if seen.contains(&name) {
                self.problem(name, Some(line), "stands twice", "keep one of the two");
            }
            seen.push(name);
        }
    }

    /// Reports keys that nobody asked for, and keys that stand twice.
    pub(super) fn finish(self) {
        self.refuse_doubles();
        let asked = self.asked.borrow();
        for (name, line) in self.written() {
            if !asked.iter().any(|known| known == name) {
                let hint = match nearest(name, &asked) {
                    Some(known) => format!("did you mean {known}?"),
                    None => "switchboard.default.yaml lists every key".to_owned(),
                };
                self.problem(name, Some(line), "is not a key that exists here", hint);
            }
        }
    }
}

/// The known key that a typo most likely meant.
fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let scored = known.iter().map(|key| (distance(name, key), key.as_str()));
    scored.filter(|(distance, _)| *distance <= 2).min().map(|(_, key)| key)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
