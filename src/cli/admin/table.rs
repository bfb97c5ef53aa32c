//! Answers as tables: a line for each thing, or for each member of one thing.

use serde_json::Value;

/// Columns of a list: heading, and where the value is.
type Columns = &'static [(&'static str, &'static str)];

const AGENTS: Columns = &[
    ("NAME", "name"),
    ("ID", "id"),
    ("URL", "endpoints.0.url"),
    ("ENABLED", "enabled"),
    ("STATE", "state"),
    ("SOURCE", "source"),
    ("TEAM", "teamId"),
    ("TAGS", "tags"),
];
const KEYS: Columns = &[
    ("ALIAS", "alias"),
    ("ID", "id"),
    ("VALUE", "hint"),
    ("ROLE", "role"),
    ("TEAM", "teamId"),
    ("BLOCKED", "blocked"),
    ("EXPIRES", "expireTime"),
];
const TEAMS: Columns = &[("NAME", "name"), ("ID", "id"), ("BLOCKED", "blocked"), ("AGENTS", "grants.agents")];
const GROUPS: Columns = &[("NAME", "name"), ("ID", "id"), ("AGENTS", "agents"), ("DESCRIPTION", "description")];

const TASKS: Columns = &[
    ("ID", "id"),
    ("STATE", "state"),
    ("SINCE", "stateTime"),
    ("KEY", "keyId"),
    ("TEAM", "teamId"),
    ("USER", "userId"),
    ("CONTEXT", "contextId"),
];

/// The answer of `method` for people.
pub(super) fn table(method: &str, answer: &Value) -> String {
    let list = match method {
        "AgentService/ListAgents" => Some(("agents", AGENTS)),
        "KeyService/ListKeys" => Some(("keys", KEYS)),
        "TeamService/ListTeams" => Some(("teams", TEAMS)),
        "AccessGroupService/ListAccessGroups" => Some(("accessGroups", GROUPS)),
        "TaskService/ListTasks" => Some(("tasks", TASKS)),
        _ => None,
    };
    match list {
        Some((name, columns)) => rows(answer[name].as_array().map_or(&[][..], Vec::as_slice), columns),
        None if method == "KeyService/ExplainAccess" => explained(answer),
        None => members(answer),
    }
}

fn rows(items: &[Value], columns: Columns) -> String {
    let cell = |item: &Value, path: &str| {
        let pointer = format!("/{}", path.replace('.', "/"));
        item.pointer(&pointer).map_or_else(|| "-".to_owned(), shown)
    };
    let heading: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let lines = items.iter().map(|item| columns.iter().map(|(_, path)| cell(item, path)).collect());
    let lines: Vec<Vec<String>> = [heading].into_iter().chain(lines).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(padded).collect()
}

/// What the values of an enum begin with.
const PREFIXES: [&str; 4] = ["AGENT_STATE_", "AGENT_SOURCE_", "ROLE_", "TASK_STATE_"];

/// Enums without what all of their values begin with; lists on one line.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => {
            let known = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix));
            known.map_or_else(|| text.clone(), str::to_lowercase)
        }
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    // What others wrote must not move the cursor.
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A line for each member, those of objects with their path.
fn members(answer: &Value) -> String {
    let mut lines = Vec::new();
    flatten(answer, "", &mut lines);
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn flatten(value: &Value, path: &str, lines: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| flatten(value, &below(name), lines)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(at, item)| flatten(item, &below(&at.to_string()), lines));
        }
        value => lines.push((path.to_owned(), shown(value))),
    }
}

fn explained(answer: &Value) -> String {
    let may = if answer["allowed"] == true { "allowed" } else { "refused" };
    let reasons = answer["reasons"].as_array().into_iter().flatten().map(|reason| format!("  {}\n", shown(reason)));
    let operations =
        if may == "allowed" { format!("  operations: {}\n", shown(&answer["operations"])) } else { String::new() };
    format!("{may}\n{}{operations}", reasons.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_columns_up_and_keeps_control_characters_out() {
        let answer = json!({ "accessGroups": [{ "name": "a", "id": "grp_1", "agents": ["x", "y"] }, { "name": "long name", "id": "\u{1b}[2J" }] });
        assert_eq!(
            table("AccessGroupService/ListAccessGroups", &answer),
            "NAME       ID     AGENTS  DESCRIPTION\na          grp_1  x,y     -\nlong name   [2J   -       -\n"
        );
    }

    #[test]
    fn shows_one_thing_member_by_member() {
        let answer =
            json!({ "key": { "alias": "a", "role": "ROLE_TEAM_ADMIN", "grants": { "agents": [] } }, "secret": "sk-1" });
        assert_eq!(
            table("KeyService/CreateKey", &answer),
            "key.alias          a\nkey.grants.agents  \nkey.role           team_admin\nsecret             sk-1\n"
        );
    }
}
