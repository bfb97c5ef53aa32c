//! From an agent as somebody wrote it over the API to settings that cannot be invalid.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::config::{
    AgentSettings, AgentTimeouts, ClientContexts, Dialect, Rates, Spelled, TaskScope, agent_url, fault_of_forwarded,
    is_agent_name, is_ours, is_readable_on_the_way, is_reserved_name, looks_like_a_credential, web_url,
};
use crate::error::FieldViolation;
use crate::operation::{Binding, Version};
use crate::proto::admin;

/// Endpoints, aliases, tags and the like of one agent.
const ITEMS_MAX: usize = 64;
/// The longest text of a field.
const TEXT_BYTES_MAX: usize = 4_096;

/// What is wrong, field by field.
#[derive(Default)]
struct Violations(Vec<FieldViolation>);

impl Violations {
    fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(FieldViolation { field: field.into(), description: description.into() });
    }

    fn text(&mut self, field: &str, text: &str) {
        if text.len() > TEXT_BYTES_MAX || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.add(field, format!("must be at most {TEXT_BYTES_MAX} bytes without control characters"));
        }
    }

    fn list(&mut self, field: &str, items: &[String]) {
        if items.len() > ITEMS_MAX {
            self.add(field, format!("has more than {ITEMS_MAX} items"));
        }
        for (at, item) in items.iter().enumerate() {
            if item.is_empty() || item.len() > 256 || item.chars().any(char::is_control) {
                self.add(format!("{field}[{at}]"), "must be 1 to 256 bytes without control characters");
            }
        }
    }
}

/// The settings that `about` says, all of its headers' values included.
///
/// # Errors
/// Every field that is wrong, in the spelling of the API.
pub fn settings_of(about: &admin::Agent) -> Result<AgentSettings, Vec<FieldViolation>> {
    let mut wrong = Violations::default();
    names(about, &mut wrong);
    wrong.text("agent.description", &about.description);
    wrong.text("agent.provider", &about.provider);
    wrong.list("agent.tags", &about.tags);
    wrong.list("agent.capabilities", &about.capabilities);
    wrong.list("agent.access_groups", &about.access_groups);
    for (at, name) in about.forward_headers.iter().enumerate() {
        if let Some(fault) = fault_of_forwarded(name) {
            wrong.add(format!("agent.forward_headers[{at}]"), fault);
        }
    }
    let first = endpoints(about, &mut wrong);
    let card_url = optional(&about.card_url, "agent.card_url", &mut wrong, web_url);
    let serve_version = optional(&about.serve_version, "agent.serve_version", &mut wrong, version);
    let task_scope = optional(&about.task_scope, "agent.task_scope", &mut wrong, TaskScope::parse);
    let client_contexts = optional(&about.client_contexts, "agent.client_contexts", &mut wrong, ClientContexts::parse);
    let dialect = dialect(about.dialect.as_ref(), &mut wrong);
    let limits = about.limits.unwrap_or_default();
    not_enforced(&limits, &mut wrong);
    let (Some(url), true) = (first.url, wrong.0.is_empty()) else { return Err(wrong.0) };
    let header_names = about.forward_headers.iter().filter_map(|name| HeaderName::try_from(name.as_str()).ok());
    Ok(AgentSettings {
        name: about.name.as_str().into(),
        aliases: about.aliases.clone(),
        url,
        url_binding: first.url_binding,
        bindings: first.bindings,
        trust: None,
        card_url,
        protocol_version: first.version,
        serve_version,
        description: about.description.clone(),
        headers: first.headers,
        forward_headers: header_names.collect(),
        trust_card_url: about.trust_card_url,
        is_served: about.enabled.unwrap_or(true) && about.state() != admin::AgentState::Draft,
        public: about.public,
        tags: about.tags.clone(),
        access_groups: about.access_groups.clone(),
        rates: rates_of(&limits),
        timeouts: timeouts(about.timeouts.unwrap_or_default()),
        task_scope,
        client_contexts,
        dialect,
        // A port of its own is opened at the start, and the API opens none.
        grpc_listen: None,
        is_guarded: true,
    })
}

/// What limits say that is enforced.
pub fn rates_of(limits: &admin::Limits) -> Rates {
    Rates {
        requests_per_minute_max: limits.requests_per_minute_max,
        calls_max: limits.calls_max,
        streams_max: limits.streams_max,
    }
}

fn timeouts(timeouts: admin::Timeouts) -> AgentTimeouts {
    let limit = |millis: u32| (millis > 0).then(|| Duration::from_millis(millis.into()));
    AgentTimeouts {
        connect: limit(timeouts.connect_ms),
        first_byte: limit(timeouts.first_byte_ms),
        idle: limit(timeouts.idle_ms),
        total: limit(timeouts.total_ms),
    }
}

fn names(about: &admin::Agent, wrong: &mut Violations) {
    // LiteLLM's users have names with spaces and the like, which stand percent-encoded in paths.
    let is_litellms = about.metadata.as_ref().is_some_and(|metadata| metadata.fields.contains_key("litellm"));
    let is_name = |name: &str| {
        let can_stand_in_a_path = !name.contains(['/', '\\']) && !name.chars().any(char::is_control);
        is_agent_name(name)
            || (is_litellms
                && !name.is_empty()
                && !name.trim_matches('.').is_empty()
                && name.len() <= 255
                && can_stand_in_a_path)
    };
    if !is_name(&about.name) {
        let rule = "must be up to 63 letters, digits, '.', '_' or '-', and begin with a letter or digit";
        wrong.add("agent.name", rule);
    } else if is_reserved_name(&about.name) {
        wrong.add("agent.name", "is reserved: choose another");
    }
    wrong.list("agent.aliases", &about.aliases);
    for (at, alias) in about.aliases.iter().enumerate() {
        if alias.contains(['/', '\\']) || is_reserved_name(alias) {
            wrong.add(format!("agent.aliases[{at}]"), "cannot stand in a path, or is reserved");
        }
    }
}

/// What would limit or cost something and is not enforced yet is refused, for nobody should believe that it is.
fn not_enforced(limits: &admin::Limits, wrong: &mut Violations) {
    for (name, value) in unenforced(limits) {
        if value > 0 {
            wrong.add(format!("agent.limits.{name}"), "is not enforced by this release: leave it out");
        }
    }
}

/// The limits that this release only keeps.
pub fn unenforced(limits: &admin::Limits) -> [(&'static str, u64); 3] {
    [
        ("tokens_per_minute_max", limits.tokens_per_minute_max),
        ("budget_micros", limits.budget_micros),
        ("budget_seconds", limits.budget_seconds),
    ]
}

#[derive(Default)]
struct Checked {
    url: Option<Url>,
    url_binding: Option<Binding>,
    bindings: Vec<Binding>,
    version: Option<Version>,
    headers: HeaderMap,
}

/// The first endpoint, after a look at all of them.
fn endpoints(about: &admin::Agent, wrong: &mut Violations) -> Checked {
    if about.endpoints.is_empty() {
        wrong.add("agent.endpoints", "needs at least one, with a url");
    }
    if about.endpoints.len() > ITEMS_MAX {
        wrong.add("agent.endpoints", format!("has more than {ITEMS_MAX} items"));
    }
    let checked: Vec<_> =
        about.endpoints.iter().enumerate().map(|(at, endpoint)| checked(at, endpoint, wrong)).collect();
    checked.into_iter().next().unwrap_or_default()
}

fn checked(at: usize, endpoint: &admin::Endpoint, wrong: &mut Violations) -> Checked {
    const KNOWN: [Binding; 3] = [Binding::Grpc, Binding::JsonRpc, Binding::HttpJson];
    let field = |name: &str| format!("agent.endpoints[{at}].{name}");
    let mut checked = Checked::default();
    match agent_url(&endpoint.url) {
        Ok((url, binding)) => (checked.url, checked.url_binding) = (Some(url), binding),
        Err(fault) => wrong.add(field("url"), format!("{fault}: write it as in https://agent.example.com/a2a")),
    }
    for name in &endpoint.bindings {
        match KNOWN.into_iter().find(|known| known.as_str() == name) {
            Some(binding) if !checked.bindings.contains(&binding) => checked.bindings.push(binding),
            Some(_) => {}
            None => wrong.add(field("bindings"), "must be of grpc, jsonrpc, http_json"),
        }
    }
    checked.version = optional(&endpoint.protocol_version, &field("protocol_version"), wrong, version);
    if endpoint.headers.len() > ITEMS_MAX {
        wrong.add(field("headers"), format!("has more than {ITEMS_MAX} entries"));
    }
    let is_open = checked.url.as_ref().is_some_and(is_readable_on_the_way) && !endpoint.allow_plaintext;
    for (name, value) in &endpoint.headers {
        match header(name, value, is_open) {
            Ok((name, value)) => drop(checked.headers.insert(name, value)),
            Err(fault) => wrong.add(format!("{}[{name:?}]", field("headers")), fault),
        }
    }
    checked
}

fn header(name: &str, value: &str, is_open: bool) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = HeaderName::try_from(name).map_err(|_| "is no header name")?;
    if is_ours(&name) {
        return Err("is set by the gateway itself: remove it");
    }
    if is_open && looks_like_a_credential(&name) {
        return Err("would be sent without TLS, for anybody on the way to read: use https, or set allow_plaintext");
    }
    // The configuration follows these. Over the API nobody may read our environment or our files.
    if ["env:", "file:", "os.environ/"].iter().any(|prefix| value.starts_with(prefix)) || value.contains("${") {
        return Err("names a variable or a file, which only the configuration may: write the value itself");
    }
    let mut value = HeaderValue::try_from(value).map_err(|_| "has a value that cannot stand in a header")?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn dialect(said: Option<&admin::Dialect>, wrong: &mut Violations) -> Dialect {
    let Some(said) = said else { return Dialect::default() };
    Dialect {
        file_bytes: optional(&said.file_bytes, "agent.dialect.file_bytes", wrong, Spelled::parse),
        file_bytes_grpc: optional(&said.file_bytes_grpc, "agent.dialect.file_bytes_grpc", wrong, Spelled::parse),
        file_bytes_http_json: optional(
            &said.file_bytes_http_json,
            "agent.dialect.file_bytes_http_json",
            wrong,
            Spelled::parse,
        ),
        waiting: optional(&said.waiting, "agent.dialect.waiting", wrong, Spelled::parse),
        streaming: optional(&said.streaming, "agent.dialect.streaming", wrong, Spelled::parse),
        stream_text: optional(&said.stream_text, "agent.dialect.stream_text", wrong, Spelled::parse),
        strict_requests: optional(&said.strict_requests, "agent.dialect.strict_requests", wrong, Spelled::parse),
    }
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "must be 0.3, 1.0 or empty".to_owned())
}

fn optional<T>(
    text: &str,
    field: &str,
    wrong: &mut Violations,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    parse(text).map_err(|fault| wrong.add(field, fault)).ok()
}
