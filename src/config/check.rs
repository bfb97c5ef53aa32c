//! What must hold between the parts of a configuration.

use std::collections::HashMap;
use std::sync::Arc;

use super::section::Section;
use super::{AgentSettings, Granted, Secret, Settings};

/// Off loopback, a key must have at least this many characters.
const KEY_LENGTH_MIN: usize = 32;

/// Whether a key may be used off loopback.
pub fn is_long_enough(key: &Secret) -> bool {
    key.expose().chars().count() >= KEY_LENGTH_MIN
}

/// Every name and alias may stand for one agent only.
pub(super) fn agents(root: &Section<'_>, agents: &[AgentSettings]) {
    let mut known: HashMap<&str, &str> = HashMap::new();
    // An agent whose name was refused has none; that was reported.
    for agent in agents.iter().filter(|agent| !agent.name.is_empty()) {
        for name in std::iter::once(&*agent.name).chain(agent.aliases.iter().map(String::as_str)) {
            if name.is_empty() || name.contains(['/', '\\']) || name.chars().any(char::is_control) {
                root.problem(
                    "agents",
                    None,
                    format!("{} has an alias that cannot stand in a path", agent.name),
                    "remove it",
                );
            }
            if name.starts_with("agt_") {
                root.problem("agents", None, format!("{name} looks like an id"), "names must not begin with agt_");
            }
            if let Some(other) = known.insert(name, &agent.name) {
                let message = format!("{name} names two agents: {other} and {}", agent.name);
                root.problem("agents", None, message, "names and aliases must differ");
            }
        }
    }
}

/// Where gRPC callers need not name an agent: it must be there, and each address one agent's only.
pub(super) fn grpc_addresses(root: &Section<'_>, settings: &Settings) {
    let is_agent = |name: &str| {
        settings.agents.iter().any(|agent| *agent.name == *name || agent.aliases.iter().any(|alias| alias == name))
    };
    if let Some(name) = &settings.grpc_default_agent
        && !is_agent(&name.0)
    {
        let hint = "name an agent of this file: those of the store may go";
        root.problem("grpc_default_agent", None, format!("{name} is no agent"), hint);
    }
    let mut known = vec![settings.listen];
    for (address, agent) in settings.own_listeners() {
        if address.port() != 0 && known.contains(&address) {
            let message = format!("{} has an address that is in use: {address}", agent.0);
            root.problem("agents", None, message, "give every grpc_listen a port of its own");
        }
        known.push(address);
    }
}

pub(super) fn keys(root: &Section<'_>, settings: &Settings) {
    let mut names = vec![Arc::<str>::from("master")];
    let mut secrets: Vec<&Secret> = settings.master_key.iter().collect();
    for key in &settings.keys {
        if names.contains(&key.name) {
            root.problem(
                "keys",
                None,
                format!("two keys are named {}", key.name),
                "records could not tell them apart; the master key is named master",
            );
        }
        if secrets.contains(&&key.key) {
            root.problem(
                "keys",
                None,
                format!("the key of {} is used twice", key.name),
                "give every caller a key of its own",
            );
        }
        names.push(Arc::clone(&key.name));
        secrets.push(&key.key);
        let Granted::Named(agents) = &key.agents else { continue };
        for agent in agents {
            let exists = settings.agents.iter().any(|a| *a.name == **agent || a.aliases.contains(agent));
            if !exists {
                root.problem(
                    "keys",
                    None,
                    format!("{} may call {agent}, which is no agent here", key.name),
                    "add the agent or remove the name",
                );
            }
        }
    }
    if !settings.listen.ip().is_loopback() {
        let master = settings.master_key.iter().map(|key| ("master_key", "the master key", key));
        let others = settings.keys.iter().map(|key| ("keys", &*key.name, &key.key));
        for (place, name, key) in master.chain(others) {
            if !is_long_enough(key) {
                let message =
                    format!("{name} has fewer than {KEY_LENGTH_MIN} characters, too weak for {}", settings.listen);
                root.problem(place, None, message, "make one with: openssl rand -hex 32; or listen on 127.0.0.1");
            }
        }
    }
}
