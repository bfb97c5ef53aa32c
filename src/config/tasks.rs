//! The section `tasks`, and what an agent's entry may say otherwise.

use std::time::Duration;

use super::section::Section;

/// To whom tasks and contexts belong, and how long they are known.
#[derive(Clone, Debug)]
pub struct TaskSettings {
    pub scope: TaskScope,
    pub client_contexts: ClientContexts,
    /// How long a task that has ended is listed and can be got.
    pub retention: Duration,
    /// Tasks and contexts whose owners are in memory.
    pub cached_max: usize,
    /// Tasks that a list asks the agent about before it answers.
    pub refreshes_max: usize,
    /// For everything that one list asks of the agent.
    pub list: Duration,
}

/// Who else may use what a key made. It is asked at every call, so a change of it is in force for what there is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskScope {
    Key,
    /// The keys of the team that the maker was in; without a team, nobody.
    Team,
    /// Whoever knows the id.
    None,
}

impl TaskScope {
    /// Reads what the configuration says.
    ///
    /// # Errors
    /// What it may say.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "key" => Ok(Self::Key),
            "team" => Ok(Self::Team),
            "none" => Ok(Self::None),
            _ => Err("must be key, team or none".to_owned()),
        }
    }

    /// As the configuration spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Team => "team",
            Self::None => "none",
        }
    }
}

/// What is done with a context id that a caller made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientContexts {
    /// It belongs to whoever uses it first.
    Claim,
    /// The agent sees another id in its place, which no other owner's can be.
    Namespaced,
    Refuse,
}

impl ClientContexts {
    /// Reads what the configuration says.
    ///
    /// # Errors
    /// What it may say.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "claim" => Ok(Self::Claim),
            "namespaced" => Ok(Self::Namespaced),
            "refuse" => Ok(Self::Refuse),
            _ => Err("must be claim, namespaced or refuse".to_owned()),
        }
    }

    /// As the configuration spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Namespaced => "namespaced",
            Self::Refuse => "refuse",
        }
    }
}

pub(super) fn tasks(section: Section<'_>) -> TaskSettings {
    let days = section.number("retention_days", 1..=36_500) as u64;
    let tasks = TaskSettings {
        scope: scope(&section, "scope").unwrap_or(TaskScope::Team),
        client_contexts: contexts(&section).unwrap_or(ClientContexts::Claim),
        retention: Duration::from_secs(days * 24 * 60 * 60),
        cached_max: section.number("cached_max", 1..=100_000_000),
        refreshes_max: section.number("refreshes_max", 0..=10_000),
        list: section.millis("list_ms"),
    };
    section.finish();
    tasks
}

pub(super) fn scope(section: &Section<'_>, name: &str) -> Option<TaskScope> {
    section.parsed(name, "team: the keys of a team share their tasks", TaskScope::parse)
}

pub(super) fn contexts(section: &Section<'_>) -> Option<ClientContexts> {
    section.parsed("client_contexts", "claim: a contextId belongs to whoever uses it first", ClientContexts::parse)
}
