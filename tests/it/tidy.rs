//! The house in order: who may use whom, one door for each library, and files that one can read.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules by rank: each may use those of earlier groups, and inside its group those to its left. Words may use
/// one another.
const RANKS: [&[&str]; 11] = [
    &["proto", "operation", "call", "error", "clock", "config"],
    &["a2a", "wire"],
    &["outbound", "store"],
    &["registry", "ownership"],
    &["access", "limits"],
    &["ledger"],
    &["upstream", "routing"],
    &["tasks"],
    &["gateway"],
    &["bindings", "admin"],
    &["telemetry", "server", "client", "demo", "cli"],
];

/// Libraries that only some modules may name.
const DOORS: [(&str, &[&str]); 11] = [
    ("sqlx::", &["store"]),
    ("axum::", &["bindings", "admin", "server", "demo"]),
    ("connectrpc::", &["bindings"]),
    ("tower_http::", &["bindings"]),
    ("tonic_reflection::", &["bindings"]),
    ("tonic_health::", &["bindings"]),
    ("a2_a_service_server", &["bindings"]),
    ("a2_a_service_client", &["upstream"]),
    ("hyper_util::client", &["outbound"]),
    ("hyper_rustls", &["outbound"]),
    ("clap::", &["cli"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(files.len() > 40, "the sources were found");
    files
}

fn module(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn rank(module: &str) -> Option<(usize, usize)> {
    RANKS.iter().enumerate().find_map(|(group, modules)| Some((group, modules.iter().position(|m| *m == module)?)))
}

/// The text before unit tests, which may use what they like.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

#[test]
fn modules_use_only_what_stands_before_them() {
    for (path, text) in sources() {
        let own = module(&path);
        if own == "lib" || own == "main" || path.ends_with("tests.rs") {
            continue;
        }
        let own_rank = rank(&own).unwrap_or_else(|| panic!("{own} has no rank: add it to tidy.rs"));
        for used in code(&text).split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(rank) = rank(&used) else { continue };
            let allowed = used == own || rank < own_rank || (rank.0 == 0 && own_rank.0 == 0);
            assert!(allowed, "{} uses {used}, which stands after it", path.display());
        }
    }
}

#[test]
fn libraries_have_one_door() {
    for (path, text) in sources() {
        for (library, doors) in DOORS {
            let used = text.contains(&format!("use {library}")) || text.contains(&format!(" {library}"));
            assert!(!used || doors.contains(&module(&path).as_str()), "{} names {library}", path.display());
        }
    }
}

#[test]
fn files_are_short_enough_to_read() {
    for (path, text) in sources() {
        let lines = code(&text).lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_repository_names_no_path_of_a_machine() {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = std::process::Command::new("git").args(["-C", root, "ls-files"]).output().expect("git is there");
    for name in String::from_utf8_lossy(&output.stdout).lines().filter(|name| *name != "Cargo.lock") {
        let Ok(text) = fs::read_to_string(format!("{root}/{name}")) else { continue };
        for folder in ["root", "work", "home"].map(|folder| format!("/{folder}/")) {
            assert!(!text.contains(&folder), "{name} names {folder}");
        }
    }
}

/// Doors share everything but their wire: they reach what decides, sends and records through the gateway alone, whose
/// fields are private.
#[test]
fn no_binding_reaches_access_limits_routing_or_ledger_but_through_the_gateway() {
    let behind = ["access", "ledger", "limits", "outbound", "routing", "upstream"];
    for (path, text) in sources() {
        if !["bindings", "admin"].contains(&module(&path).as_str()) {
            continue;
        }
        for name in behind {
            assert!(!text.contains(&format!("crate::{name}")), "{} uses {name}", path.display());
        }
    }
    let gateway = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway.rs")).unwrap();
    let fields = gateway.split("pub struct Gateway {").nth(1).unwrap().split('}').next().unwrap();
    for name in ["access", "registry", "ledger", "routing"] {
        assert!(fields.contains(&format!("    {name}:")), "{name} is private");
    }
}

/// One place makes a call from headers, and one turns an error into a row.
#[test]
fn calls_and_rows_are_made_in_one_place_each() {
    let makes = |what: &str| {
        let found =
            sources().into_iter().filter(|(path, text)| module(path) == "bindings" && code(text).contains(what));
        found.map(|(path, _)| path.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(makes("    Arrival {"), ["bindings/arrival.rs"]);
    assert_eq!(makes("    Call {"), ["bindings/arrival.rs"]);
    let rows: Vec<_> = makes(".row()").into_iter().filter(|path| path != "bindings/respond.rs").collect();
    assert!(rows.is_empty(), "{rows:?}");
}
