//! The commands, and the call of the admin API that each is.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

/// Members that have no option of their own.
#[derive(Args)]
pub(in crate::cli) struct Data {
    /// More members, as JSON of the schema: '{"limits":{"callsMax":5}}'.
    #[arg(long, value_parser = object, default_value = "{}", hide_default_value = true)]
    data: Map<String, Value>,
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("must be a JSON object: {error}"))
}

/// Somebody's grants.
#[derive(Args)]
pub(in crate::cli) struct GrantOptions {
    /// Agents that may be called, by name or id.
    #[arg(long, value_delimiter = ',')]
    agents: Vec<String>,
    /// Access groups whose agents may be called.
    #[arg(long, value_delimiter = ',')]
    groups: Vec<String>,
    /// Tags whose agents may be called.
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
    /// Operations that may be made, such as SendMessage; left out: all.
    #[arg(long, value_delimiter = ',')]
    operations: Vec<String>,
    /// Every agent may be called.
    #[arg(long)]
    all_agents: bool,
}

impl GrantOptions {
    fn json(&self) -> Value {
        let mut grants = Map::new();
        let lists = [
            ("agents", &self.agents),
            ("accessGroups", &self.groups),
            ("tags", &self.tags),
            ("operations", &self.operations),
        ];
        for (name, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
            grants.insert(name.to_owned(), json!(items));
        }
        if self.all_agents {
            grants.insert("allAgents".to_owned(), true.into());
        }
        Value::Object(grants)
    }
}

#[derive(Subcommand)]
pub(in crate::cli) enum AgentCommand {
    /// List agents.
    List {
        /// Only those with this tag.
        #[arg(long, default_value = "", hide_default_value = true)]
        tag: String,
        /// Only those with this text in their name or description.
        #[arg(long, default_value = "", hide_default_value = true)]
        query: String,
    },
    /// Show one agent and its card.
    Show { id: String },
    /// Register an agent.
    Create {
        name: String,
        /// Where it is called: http, https, grpc or grpcs.
        address: String,
        /// A header that is sent to it, as in "authorization: Bearer TOKEN".
        #[arg(long = "header", value_parser = header)]
        headers: Vec<(String, String)>,
        #[arg(long, value_delimiter = ',')]
        tags: Vec<String>,
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        #[command(flatten)]
        data: Data,
    },
    /// Change members of an agent.
    Update {
        id: String,
        #[command(flatten)]
        data: Data,
    },
    /// Remove an agent.
    Delete { id: String },
    /// Let callers reach a disabled agent again.
    Enable { id: String },
    /// Make an agent disappear for its callers.
    Disable {
        id: String,
        /// Have the agent cancel its tasks that have not ended.
        #[arg(long)]
        stop_running: bool,
    },
    /// Read an agent's card again.
    Refresh { id: String },
    /// Read the card at an address.
    Discover { address: String },
}

#[derive(Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// List keys, the newest first.
    List {
        /// Only those of this team.
        #[arg(long, default_value = "", hide_default_value = true)]
        team: String,
    },
    /// Show one key, by id, alias or hash.
    Show { id: String },
    /// Make a key; its value is shown this once.
    Create {
        /// What its owner calls it.
        alias: String,
        /// The team that it belongs to, by id or name.
        #[arg(long, default_value = "", hide_default_value = true)]
        team: String,
        /// What it may do beside calling agents.
        #[arg(long, value_parser = ["caller", "auditor", "publisher", "team-admin", "admin"], default_value = "caller")]
        role: String,
        #[command(flatten)]
        grants: GrantOptions,
        #[command(flatten)]
        data: Data,
    },
    /// Change members of a key.
    Update {
        id: String,
        #[command(flatten)]
        data: Data,
    },
    /// Refuse a key until it is unblocked.
    Block { id: String },
    /// Let a blocked key call again.
    Unblock { id: String },
    /// Give a key a new value; it is shown this once.
    Rotate {
        id: String,
        /// For how many milliseconds the former value is taken too.
        #[arg(long, default_value_t = 0)]
        overlap_ms: u32,
    },
    /// Remove a key.
    Delete { id: String },
}

#[derive(Subcommand)]
pub(in crate::cli) enum TeamCommand {
    /// List teams.
    List,
    /// Show one team.
    Show { id: String },
    /// Make a team.
    Create {
        name: String,
        #[command(flatten)]
        grants: GrantOptions,
        #[command(flatten)]
        data: Data,
    },
    /// Change members of a team.
    Update {
        id: String,
        #[command(flatten)]
        data: Data,
    },
    /// Remove a team and its keys.
    Delete { id: String },
}

#[derive(Subcommand)]
pub(in crate::cli) enum GroupCommand {
    /// List access groups.
    List,
    /// Show one access group.
    Show { id: String },
    /// Make an access group.
    Create {
        name: String,
        /// Its agents, by name or id.
        #[arg(long, value_delimiter = ',')]
        agents: Vec<String>,
        #[command(flatten)]
        data: Data,
    },
    /// Change members of an access group.
    Update {
        id: String,
        #[command(flatten)]
        data: Data,
    },
    /// Remove an access group.
    Delete { id: String },
}

#[derive(Subcommand)]
pub(in crate::cli) enum TaskCommand {
    /// List an agent's tasks, the last changed first; without a role, those that your key shares in.
    List {
        /// The agent, by name or id.
        agent: String,
        /// Only those that this key made, by its id.
        #[arg(long, default_value = "", hide_default_value = true)]
        key: String,
        /// Only those that keys of this team made, by its id.
        #[arg(long, default_value = "", hide_default_value = true)]
        team: String,
        /// Only those of this conversation.
        #[arg(long, default_value = "", hide_default_value = true)]
        context: String,
        /// Only those in this state.
        #[arg(long, value_parser = STATES)]
        state: Option<String>,
    },
    /// Show who made a task, where it lives and what was last seen of it.
    Show {
        /// The agent, by name or id.
        agent: String,
        id: String,
    },
}

const STATES: [&str; 8] =
    ["submitted", "working", "completed", "failed", "canceled", "input-required", "rejected", "auth-required"];

#[derive(Subcommand)]
pub(in crate::cli) enum ExplainCommand {
    /// Whether a key may call an agent, and which grant decides.
    Access {
        /// The key's id, alias or hash.
        #[arg(long)]
        key: String,
        #[arg(long)]
        agent: String,
    },
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("must be as in \"name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// One call of the admin API.
pub(in crate::cli) struct Asked {
    pub(super) method: &'static str,
    pub(super) body: Value,
}

/// `members` with `more` over them.
#[expect(clippy::needless_pass_by_value, reason = "callers make the members in place")]
fn with(members: Value, more: &Data) -> Value {
    let mut all = members.as_object().cloned().unwrap_or_default();
    all.retain(|_, value| {
        !matches!(value, Value::String(text) if text.is_empty()) && *value != json!({}) && *value != json!([])
    });
    all.extend(more.data.clone());
    Value::Object(all)
}

/// A call about the resource of this id alone.
fn by_id(method: &'static str, id: &str) -> Asked {
    Asked { method, body: json!({ "id": id }) }
}

/// An update of the members that are given, and of no others.
fn update(method: &'static str, field: &str, id: &str, data: &Data) -> Asked {
    let mask: Vec<&str> = data.data.keys().map(String::as_str).collect();
    Asked { method, body: json!({ field: with(json!({ "id": id }), data), "updateMask": mask.join(",") }) }
}

impl AgentCommand {
    pub(super) fn asked(&self) -> Asked {
        match self {
            Self::List { tag, query } => Asked {
                method: "AgentService/ListAgents",
                body: json!({ "pageSize": 1000, "tag": tag, "query": query }),
            },
            Self::Show { id } => by_id("AgentService/GetAgent", id),
            Self::Create { name, address, headers, tags, description, data } => {
                let headers: Map<String, Value> =
                    headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
                let endpoint = json!({ "url": address, "headers": headers });
                let agent = json!({ "name": name, "endpoints": [endpoint], "tags": tags, "description": description });
                Asked { method: "AgentService/CreateAgent", body: json!({ "agent": with(agent, data) }) }
            }
            Self::Update { id, data } => update("AgentService/UpdateAgent", "agent", id, data),
            Self::Delete { id } => by_id("AgentService/DeleteAgent", id),
            Self::Enable { id } => by_id("AgentService/EnableAgent", id),
            Self::Disable { id, stop_running } => {
                Asked { method: "AgentService/DisableAgent", body: json!({ "id": id, "stopRunning": stop_running }) }
            }
            Self::Refresh { id } => by_id("AgentService/RefreshAgentCard", id),
            Self::Discover { address } => {
                Asked { method: "AgentService/DiscoverAgentCard", body: json!({ "url": address }) }
            }
        }
    }
}

impl KeyCommand {
    pub(super) fn asked(&self) -> Asked {
        match self {
            Self::List { team } => {
                Asked { method: "KeyService/ListKeys", body: json!({ "pageSize": 1000, "teamId": team }) }
            }
            Self::Show { id } => by_id("KeyService/GetKey", id),
            Self::Create { alias, team, role, grants, data } => {
                let role = format!("ROLE_{}", role.to_uppercase().replace('-', "_"));
                let key = json!({ "alias": alias, "teamId": team, "role": role, "grants": grants.json() });
                Asked { method: "KeyService/CreateKey", body: json!({ "key": with(key, data) }) }
            }
            Self::Update { id, data } => update("KeyService/UpdateKey", "key", id, data),
            Self::Block { id } => by_id("KeyService/BlockKey", id),
            Self::Unblock { id } => by_id("KeyService/UnblockKey", id),
            Self::Rotate { id, overlap_ms } => {
                Asked { method: "KeyService/RotateKey", body: json!({ "id": id, "overlapMs": overlap_ms }) }
            }
            Self::Delete { id } => by_id("KeyService/DeleteKey", id),
        }
    }
}

impl TeamCommand {
    pub(super) fn asked(&self) -> Asked {
        match self {
            Self::List => Asked { method: "TeamService/ListTeams", body: json!({ "pageSize": 1000 }) },
            Self::Show { id } => by_id("TeamService/GetTeam", id),
            Self::Create { name, grants, data } => {
                let team = with(json!({ "name": name, "grants": grants.json() }), data);
                Asked { method: "TeamService/CreateTeam", body: json!({ "team": team }) }
            }
            Self::Update { id, data } => update("TeamService/UpdateTeam", "team", id, data),
            Self::Delete { id } => by_id("TeamService/DeleteTeam", id),
        }
    }
}

impl GroupCommand {
    pub(super) fn asked(&self) -> Asked {
        match self {
            Self::List => Asked { method: "AccessGroupService/ListAccessGroups", body: json!({ "pageSize": 1000 }) },
            Self::Show { id } => by_id("AccessGroupService/GetAccessGroup", id),
            Self::Create { name, agents, data } => {
                let group = with(json!({ "name": name, "agents": agents }), data);
                Asked { method: "AccessGroupService/CreateAccessGroup", body: json!({ "accessGroup": group }) }
            }
            Self::Update { id, data } => update("AccessGroupService/UpdateAccessGroup", "accessGroup", id, data),
            Self::Delete { id } => by_id("AccessGroupService/DeleteAccessGroup", id),
        }
    }
}

impl TaskCommand {
    pub(super) fn asked(&self) -> Asked {
        match self {
            Self::List { agent, key, team, context, state } => {
                let state =
                    state.as_ref().map(|state| format!("TASK_STATE_{}", state.to_uppercase().replace('-', "_")));
                let filter = json!({ "agent": agent, "keyId": key, "teamId": team, "contextId": context });
                let mut body = filter.as_object().cloned().unwrap_or_default();
                body.insert("pageSize".to_owned(), 1000.into());
                body.extend(state.map(|state| ("state".to_owned(), state.into())));
                Asked { method: "TaskService/ListTasks", body: Value::Object(body) }
            }
            Self::Show { agent, id } => {
                Asked { method: "TaskService/GetTask", body: json!({ "agent": agent, "id": id }) }
            }
        }
    }
}

impl ExplainCommand {
    pub(super) fn asked(&self) -> Asked {
        let Self::Access { key, agent } = self;
        Asked { method: "KeyService/ExplainAccess", body: json!({ "key": key, "agent": agent }) }
    }
}
