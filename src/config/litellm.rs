//! LiteLLM's configuration, read as it stands: its agent entries, and a whole proxy file.
//!
//! What restricts a caller there must not silently stop to: a field that limits and that is not enforced here is
//! refused by name. What only describes, prices or decorates is noted and left alone.

use super::agents::{header_names, headers, nowhere, version};
use super::section::Section;
use super::settings::web_url;
use super::tree::{Node, Value};
use super::{AgentSettings, AgentTimeouts, Dialect, Rates};

/// The sections of a proxy file that are about models.
const FOREIGN: [&str; 20] = [
    "model_list",
    "general_settings",
    "litellm_settings",
    "router_settings",
    "environment_variables",
    "mcp_servers",
    "guardrails",
    "callback_settings",
    "credential_list",
    "vector_store_registry",
    "assistant_settings",
    "include",
    "mcp_tools",
    "search_tools",
    "vector_stores",
    "prompts",
    "finetune_settings",
    "files_settings",
    "default_team_settings",
    "pass_through_endpoints",
];

/// Fields that restrict, in an entry or in its `litellm_params`, and are enforced neither in the configuration nor over the
/// API.
pub const RESTRICTING: [&str; 19] = [
    "agent_access_groups",
    "allowed_routes",
    "blocked",
    "guardrails",
    "identity",
    "jwt_auth_configured",
    "kill_switch",
    "max_budget",
    "max_budget_per_session",
    "max_iterations",
    "max_parallel_requests",
    "object_permission",
    "require_trace_id_on_calls_by_agent",
    "require_trace_id_on_calls_to_agent",
    "session_rpm_limit",
    "session_tpm_limit",
    "tpd_limit",
    "tpm_limit",
    "soft_budget",
];

/// Those that the API enforces or refuses by their value.
const OF_THE_API: [&str; 2] = ["access_group_ids", "execution_mode"];

/// Providers whose agents speak A2A themselves.
const A2A_PROVIDERS: [&str; 2] = ["a2a", "a2a_agent"];

/// If the file is LiteLLM's, what in it is not ours.
pub(super) fn recognise(root: &Section<'_>) -> Option<Vec<String>> {
    let written = root.written();
    let has = |name: &str| written.iter().any(|(key, _)| *key == name);
    // Any of them: a file of agents alone may have nothing but litellm_settings beside them.
    if !FOREIGN.iter().any(|name| has(name)) {
        return None;
    }
    let foreign = written.iter().filter(|(key, _)| FOREIGN.contains(key));
    Some(
        foreign
            .map(|(key, line)| {
                // Asked for, so that it is not reported as unknown.
                root.find(key);
                match *key {
                    "general_settings" => {
                        format!("line {line}: of LiteLLM's general_settings, master_key is used; the rest is not ours")
                    }
                    key => format!("line {line}: {key} is LiteLLM's and not ours; it is left alone"),
                }
            })
            .collect(),
    )
}

/// Reads one of LiteLLM's agent entries.
pub(super) fn agent(section: &Section<'_>, notes: &mut Vec<String>) -> AgentSettings {
    let name = section.required("agent_name", "callers call the agent by it").unwrap_or_default();
    let name_is_usable = name.len() <= 255 && !name.contains(['/', '\\']) && !name.chars().any(char::is_control);
    if !name_is_usable {
        section.problem(
            "agent_name",
            Some(section.line),
            "cannot stand in a path: it has a slash, a control character, or over 255 bytes",
            "rename the agent",
        );
    }
    let card = section.section("agent_card_params");
    let params = section.section("litellm_params");
    let url = card.required("url", "LiteLLM's agents are called at agent_card_params.url");
    let provider = params.text("custom_llm_provider").filter(|provider| !A2A_PROVIDERS.contains(&provider.as_str()));
    if let Some(provider) = provider {
        params.problem(
            "custom_llm_provider",
            None,
            format!("{provider} agents are not supported by this release"),
            "only agents that speak A2A are",
        );
    }
    let enabled = section.text("enabled").unwrap_or_default().to_ascii_lowercase();
    let rpm =
        section.parsed("rpm_limit", "write how many requests a minute, or enabled: false to let none pass", |text| {
            // There, 0 lets nothing pass; here it would be no limit.
            text.parse::<u32>().ok().filter(|rpm| *rpm > 0).ok_or_else(|| "must be a whole number above 0".to_owned())
        });
    let agent = AgentSettings {
        aliases: section.text("agent_id").into_iter().collect(),
        url: url
            .and_then(|_| card.parsed("url", "write it as in http://127.0.0.1:9999", web_url))
            .unwrap_or_else(nowhere),
        url_binding: None,
        bindings: Vec::new(),
        trust: None,
        card_url: card_url(&card, &params),
        protocol_version: version(&params, "a2a_protocol_version", true),
        serve_version: version(&card, "protocolVersion", false),
        description: card.text("description").unwrap_or_default(),
        headers: headers(section, "static_headers"),
        forward_headers: header_names(section, "extra_headers"),
        trust_card_url: false,
        dialect: Dialect::default(),
        grpc_listen: None,
        is_served: !matches!(enabled.as_str(), "false" | "no" | "off" | "0"),
        public: params.has("is_public") && matches!(params.text("is_public").as_deref(), Some("true" | "True" | "yes")),
        tags: Vec::new(),
        access_groups: Vec::new(),
        rates: Rates { requests_per_minute_max: rpm.unwrap_or(0), ..Rates::default() },
        timeouts: AgentTimeouts::default(),
        task_scope: None,
        client_contexts: None,
        is_guarded: false,
        name: name.into(),
    };
    refuse_restrictions(section);
    refuse_restrictions(&params);
    section.refuse_doubles();
    params.refuse_doubles();
    card.refuse_doubles();
    let read = [
        "agent_name",
        "agent_id",
        "agent_card_params",
        "litellm_params",
        "static_headers",
        "extra_headers",
        "enabled",
        "rpm_limit",
    ];
    let ignored = section
        .written()
        .into_iter()
        .filter(|(key, _)| !read.contains(key) && !RESTRICTING.contains(key) && !OF_THE_API.contains(key));
    let ignored = ignored.map(|(key, _)| key.to_owned());
    let read = ["a2a_protocol_version", "agent_card_path", "custom_llm_provider", "is_public"];
    let params = params
        .written()
        .into_iter()
        .filter(|(key, _)| !read.contains(key) && !RESTRICTING.contains(key) && !OF_THE_API.contains(key));
    let params = params.map(|(key, _)| format!("litellm_params.{key}"));
    let ignored: Vec<String> = ignored.chain(params).collect();
    if !ignored.is_empty() {
        notes.push(format!("agent {}: {} has no effect here", agent.name, ignored.join(", ")));
    }
    agent
}

/// `agent_card_path` is relative to the agent's address.
fn card_url(card: &Section<'_>, params: &Section<'_>) -> Option<url::Url> {
    let path = params.text("agent_card_path")?;
    let url = web_url(&card.text("url")?).ok()?;
    let base = format!("{}/{}", url.as_str().trim_end_matches('/'), path.trim_start_matches('/'));
    params.parsed("agent_card_path", "write a path under the agent's url", |_| web_url(&base))
}

fn refuse_restrictions(section: &Section<'_>) {
    for name in RESTRICTING.iter().chain(&OF_THE_API) {
        if let Some(found) = section.find(name).filter(|found| restricts(found.node)) {
            section.problem(
                name,
                found.line,
                "restricts callers in LiteLLM and is not enforced by this release",
                "remove it, knowing that it does not hold here",
            );
        }
    }
}

/// Null, false and empty values restrict nothing.
fn restricts(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Scalar(text) => !matches!(text.to_ascii_lowercase().as_str(), "false" | "no" | "off" | ""),
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => entries.iter().any(|(_, node)| restricts(node)),
    }
}
