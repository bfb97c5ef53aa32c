//! Whether a caller's grants reach an agent, and by which of them.

use std::fmt;

use super::Access;
use super::groups::{Group, Table};
use crate::call::{Caller, Grants};
use crate::config::DefaultAccess;
use crate::registry::Agent;

/// The grant that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    AllAgents,
    Agent,
    Tag(String),
    Group(String),
    /// Nothing is granted, and `default_access` is all.
    Default,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAgents => f.write_str("all agents are granted"),
            Self::Agent => f.write_str("the agent is granted"),
            Self::Tag(tag) => write!(f, "the tag {tag:?} is granted"),
            Self::Group(group) => write!(f, "the access group {group:?} is granted"),
            Self::Default => f.write_str("nothing is granted, and default_access is all"),
        }
    }
}

/// Whose grants they are.
#[derive(Clone, Copy)]
enum Owner<'a> {
    Key(&'a str),
    Team(&'a str),
}

impl Owner<'_> {
    fn has(self, group: &Group) -> bool {
        match self {
            Self::Key(id) => group.is_of_key(id),
            Self::Team(id) => group.is_of_team(id),
        }
    }
}

impl Access {
    /// Whether `caller` may call `agent`, and so whether the agent exists for it.
    pub fn may_call(&self, caller: &Caller, agent: &Agent) -> bool {
        agent.settings.is_served && self.key_reaches(caller, agent).is_some() && self.team_reaches(caller, agent)
    }

    fn team_reaches(&self, caller: &Caller, agent: &Agent) -> bool {
        let Some(id) = &caller.team else { return true };
        let Some(team) = self.teams.of(id) else { return false };
        !team.is_blocked && self.reach(&team.grants, Owner::Team(&id.0), agent).is_some()
    }

    fn key_reaches(&self, caller: &Caller, agent: &Agent) -> Option<Reach> {
        self.reach(&caller.grants, Owner::Key(&caller.key.0), agent)
    }

    fn reach(&self, grants: &Grants, owner: Owner<'_>, agent: &Agent) -> Option<Reach> {
        if grants.all_agents {
            return Some(Reach::AllAgents);
        }
        // Keys of the configuration name its agents; ids have a form that no name can have.
        let is_named = |name: &str| grants.agents.contains(name);
        let config_names = || agent.is_of_config() && agent.settings.aliases.iter().any(|alias| is_named(alias));
        if is_named(&agent.id.0) || (agent.is_of_config() && is_named(agent.name())) || config_names() {
            return Some(Reach::Agent);
        }
        if let Some(tag) = agent.settings.tags.iter().find(|tag| grants.tags.contains(tag.as_str())) {
            return Some(Reach::Tag(tag.clone()));
        }
        let group = self.group(grants, owner, agent);
        if group.is_some() {
            return group;
        }
        let is_open =
            self.otherwise == DefaultAccess::All && grants.may_default && grants.is_empty() && !self.has_groups(owner);
        is_open.then_some(Reach::Default)
    }

    /// The group that has the agent, and that is granted or says itself whose it is.
    fn group(&self, grants: &Grants, owner: Owner<'_>, agent: &Agent) -> Option<Reach> {
        let groups: &Table<Group> = &self.groups;
        let has_agent = |id: &str, group: &Group| {
            group.agents.contains(&*agent.id.0) || agent.settings.access_groups.iter().any(|own| own == id)
        };
        let granted = grants.access_groups.iter().find_map(|id| {
            let group = groups.get(id)?;
            has_agent(id, &group).then(|| Reach::Group(group.name.to_string()))
        });
        granted.or_else(|| {
            groups.find(|id, group| {
                (owner.has(group) && has_agent(id, group)).then(|| Reach::Group(group.name.to_string()))
            })
        })
    }

    fn has_groups(&self, owner: Owner<'_>) -> bool {
        self.groups.find(|_, group| owner.has(group).then_some(())).is_some()
    }

    /// What decides whether `caller` may call `agent`, step by step; the last step decides.
    pub fn explain(&self, caller: &Caller, agent: &Agent) -> (bool, Vec<String>) {
        let mut reasons = Vec::new();
        if !agent.settings.is_served {
            reasons.push("the agent is disabled or not approved: it exists for no caller".to_owned());
            return (false, reasons);
        }
        let Some(reach) = self.key_reaches(caller, agent) else {
            reasons.push(format!("key {}: none of its grants reaches the agent", caller.name));
            return (false, reasons);
        };
        reasons.push(format!("key {}: {reach}", caller.name));
        let Some(id) = &caller.team else {
            reasons.push("the key is in no team".to_owned());
            return (true, reasons);
        };
        let Some(team) = self.teams.of(id) else {
            reasons.push(format!("team {}: there is no such team", id.0));
            return (false, reasons);
        };
        if team.is_blocked {
            reasons.push(format!("team {}: is blocked", team.name));
            return (false, reasons);
        }
        let reach = self.reach(&team.grants, Owner::Team(&id.0), agent);
        reasons.push(match &reach {
            Some(reach) => format!("team {}: {reach}", team.name),
            None => format!("team {}: none of its grants reaches the agent", team.name),
        });
        (reach.is_some(), reasons)
    }
}
