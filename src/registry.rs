//! The agents, as values: an immutable snapshot that readers never wait for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::call::AgentName;
use crate::config::{AgentSettings, Settings};

/// Identifies an agent for good; `agt_` and hex digits, a form that no name can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentId(Arc<str>);

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A registered agent.
#[derive(Debug)]
pub struct Agent {
    pub id: AgentId,
    pub settings: AgentSettings,
}

impl Agent {
    /// What callers call it.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether `name` is one of its names: name, id or alias.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.name() || name == &*self.id.0 || self.settings.aliases.iter().any(|alias| alias == name)
    }
}

/// All agents of one configuration.
#[derive(Debug, Default)]
pub struct Registry {
    agents: Vec<Arc<Agent>>,
    by_name: HashMap<Box<str>, Arc<Agent>>,
}

impl Registry {
    /// The agents of `settings`, in its order. An agent of the configuration keeps its id as long as its name.
    pub fn new(settings: &Settings) -> Self {
        let mut registry = Self::default();
        for settings in &settings.agents {
            let agent = Arc::new(Agent { id: id_of(&settings.name), settings: settings.clone() });
            let names = settings.aliases.iter().map(String::as_str).chain([&*settings.name, &*agent.id.0]);
            for name in names {
                registry.by_name.insert(name.into(), Arc::clone(&agent));
            }
            registry.agents.push(agent);
        }
        registry
    }

    /// The agent that is called so, if there is one.
    pub fn find(&self, name: &AgentName) -> Option<&Arc<Agent>> {
        self.by_name.get(&*name.0)
    }

    pub fn agents(&self) -> &[Arc<Agent>] {
        &self.agents
    }
}

fn id_of(name: &str) -> AgentId {
    let digest = Sha256::digest(name.as_bytes());
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    AgentId(format!("agt_{hex}").into())
}
