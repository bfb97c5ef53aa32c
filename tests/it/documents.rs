//! The documents say what the code does.

use std::collections::BTreeMap;
use std::fs;

use saphyr_parser::{Event, Parser};
use switchboard::config::DEFAULTS;
use switchboard::error::KINDS;

fn document(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of every table, as trimmed cells without backticks.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    text.lines().filter(|line| line.trim_start().starts_with("| `")).map(cells).collect()
}

#[test]
fn the_error_table_is_the_codes() {
    let written = rows(&document("docs/errors.md"));
    let expected: Vec<Vec<String>> = KINDS
        .iter()
        .map(|kind| {
            let row = kind.row();
            let old = row.legacy;
            [
                format!("{kind:?}"),
                row.reason.to_owned(),
                row.grpc.name().to_owned(),
                row.jsonrpc.to_string(),
                row.http.to_string(),
                old.name.to_owned(),
                old.grpc.name().to_owned(),
                old.jsonrpc.to_string(),
                old.http.to_string(),
            ]
            .to_vec()
        })
        .collect();
    assert_eq!(written, expected);
}

/// Every key of the shipped defaults with its value as written.
fn defaults() -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut path: Vec<String> = Vec::new();
    let mut events = Parser::new_from_str(DEFAULTS).map(|event| event.unwrap().0);
    let mut key: Option<String> = None;
    while let Some(event) = events.next() {
        match event {
            Event::MappingStart(..) => path.extend(key.take()),
            Event::MappingEnd => drop(path.pop()),
            Event::SequenceStart(..) => {
                assert!(matches!(events.next(), Some(Event::SequenceEnd)), "lists are empty by default");
                keys.insert(dotted(&path, &key.take().unwrap()), "[]".to_owned());
            }
            Event::Scalar(text, ..) => match key.take() {
                None => key = Some(text.into_owned()),
                Some(name) => drop(keys.insert(dotted(&path, &name), text.into_owned())),
            },
            _ => {}
        }
    }
    keys
}

fn dotted(path: &[String], name: &str) -> String {
    path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
}

#[test]
fn the_configuration_reference_has_every_key_and_its_default() {
    let written = rows(&document("docs/configuration.md"));
    let written: BTreeMap<String, String> =
        written.into_iter().filter(|row| row.len() >= 3).map(|row| (row[0].clone(), row[1].clone())).collect();
    for (key, value) in defaults() {
        assert_eq!(written.get(&key), Some(&value), "{key} in docs/configuration.md");
    }
}

#[test]
fn the_roles_are_those_of_the_table() {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/methods.rs")).unwrap();
    let coded: BTreeMap<String, Vec<String>> = source
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.trim().strip_prefix('"')?.split_once('"')?;
            let scopes = rest.split_once('[')?.1.split_once(']')?.0;
            let spelled = |scope: &str| match scope {
                "NO" => "-".to_owned(),
                scope => scope.to_lowercase(),
            };
            Some((name.to_owned(), scopes.split_whitespace().map(spelled).collect()))
        })
        .collect();
    assert!(coded.len() >= 28, "{}", coded.len());
    let written = rows(&document("docs/admin.md"));
    let written: BTreeMap<String, Vec<String>> =
        written.into_iter().filter(|row| row[0].contains('/')).map(|row| (row[0].clone(), row[1..].to_vec())).collect();
    assert_eq!(written, coded);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut checked = 0;
    for path in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "docs/bindings.md",
        "docs/configuration.md",
        "docs/ownership.md",
        "docs/versions.md",
        "docs/errors.md",
        "docs/litellm.md",
        "docs/operations.md",
        "docs/performance.md",
    ] {
        let text = document(path);
        let folder = std::path::Path::new(root).join(path).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target)) {
            if target.starts_with("http") || target.starts_with('#') {
                continue;
            }
            let file = target.split('#').next().unwrap();
            assert!(folder.join(file).exists(), "{path} links to {target}");
            checked += 1;
        }
    }
    assert!(checked > 5, "{checked} links");
}
