//! Settings: what the operator wrote, checked once and then trusted.
//!
//! Text becomes a tree with line numbers, the tree becomes [`Settings`], and `Settings` cannot be invalid. Every
//! problem is collected with its key, its line and what to do, so that one run shows all of them, before a port
//! is opened. Defaults are in `switchboard.default.yaml`, which is compiled in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use url::Url;

use crate::call::AgentName;
use crate::operation::{Binding, Rpc, Version};

mod agents;
mod check;
mod dialect;
mod litellm;
mod problem;
mod secret;
mod section;
mod settings;
mod store;
mod tasks;
mod tls;
mod tree;
mod trust;

pub use agents::{
    agent_url, fault_of_forwarded, is_agent_name, is_ours, is_readable_on_the_way, is_reserved_name,
    looks_like_a_credential,
};
pub use check::is_long_enough;
pub use dialect::{Dialect, Spelled, StreamText, Streaming, Waiting};
pub use litellm::RESTRICTING;
pub use problem::{Problem, Problems};
pub use secret::{EncryptionKey, Secret, from_hex, hex, key_hash};
pub use store::{Database, StoreSettings};
pub use tasks::{ClientContexts, TaskScope, TaskSettings};
pub use tls::{TlsFiles, TlsSettings};
pub use trust::{Trust, TrustError};

/// Every key and its default, as shipped.
pub const DEFAULTS: &str = include_str!("../switchboard.default.yaml");

/// One checked configuration. Immutable; a call keeps the snapshot with which it began.
#[derive(Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    /// None: without TLS, as behind a proxy that ends it.
    pub tls: Option<TlsSettings>,
    pub cors: CorsSettings,
    /// Hosts of one label before this domain name the agent by it. In lower case.
    pub agent_domain: Option<String>,
    /// The agent that gRPC callers mean who name none: 0.3 has no way to name one in a request.
    pub grpc_default_agent: Option<AgentName>,
    pub public_url: Option<Url>,
    pub trusted_proxies: Vec<IpNet>,
    pub master_key: Option<Secret>,
    /// What a key or team without grants may call.
    pub default_access: DefaultAccess,
    pub store: StoreSettings,
    pub keys: Vec<KeySettings>,
    pub agents: Vec<AgentSettings>,
    pub strict_version: bool,
    /// False when `A2A_GATEWAY_ENABLED` is, as RouteIQ has it: no door of A2A is open.
    pub a2a_enabled: bool,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub cards: CardSettings,
    pub tasks: TaskSettings,
    pub push: PushSettings,
    pub outbound: OutboundSettings,
    pub log: LogSettings,
    /// SHA-256 of the text that this was read from.
    pub digest: [u8; 32],
    /// What was read and is not ours, such as the other sections of a LiteLLM file; for the operator to see.
    pub notes: Vec<String>,
}

impl Settings {
    /// The keys outside `agents`, `keys` and `master_key` whose values differ, as far as they are printed.
    pub fn parts_that_differ(&self, other: &Self) -> Vec<&'static str> {
        let parts = |s: &Self| {
            [
                ("listen", format!("{:?}", s.listen)),
                ("tls", format!("{:?}", s.tls)),
                ("cors", format!("{:?}", s.cors)),
                ("agent_domain", format!("{:?}", s.agent_domain)),
                ("grpc_default_agent", format!("{:?}", s.grpc_default_agent)),
                ("agents[].grpc_listen", format!("{:?}", s.own_listeners())),
                ("public_url", format!("{:?}", s.public_url)),
                ("trusted_proxies", format!("{:?}", s.trusted_proxies)),
                ("default_access", format!("{:?}", s.default_access)),
                ("store", format!("{:?}", s.store)),
                ("strict_version", format!("{:?}", s.strict_version)),
                ("limits", format!("{:?}", s.limits)),
                ("timeouts", format!("{:?}", s.timeouts)),
                ("cards", format!("{:?}", s.cards)),
                ("tasks", format!("{:?}", s.tasks)),
                ("push", format!("{:?}", s.push)),
                ("outbound", format!("{:?}", s.outbound)),
                ("log", format!("{:?}", s.log)),
            ]
        };
        let pairs = parts(self).into_iter().zip(parts(other));
        pairs.filter(|(old, new)| old != new).map(|((name, _), _)| name).collect()
    }

    /// The addresses at which one agent alone is called, and which.
    pub fn own_listeners(&self) -> Vec<(SocketAddr, AgentName)> {
        let own = |agent: &AgentSettings| Some((agent.grpc_listen?, AgentName(Arc::clone(&agent.name))));
        self.agents.iter().filter_map(own).collect()
    }
}

/// Which pages may call from a browser.
#[derive(Clone, Debug)]
pub struct CorsSettings {
    pub any_origin: bool,
    pub origins: Vec<HeaderValue>,
    /// How long a browser may keep the answer to its question.
    pub max_age: Duration,
}

#[derive(Clone, Debug)]
pub struct KeySettings {
    pub name: Arc<str>,
    pub key: Secret,
    pub agents: Granted,
    /// Of A2A's operations, those that it may make; empty for all.
    pub operations: Vec<Rpc>,
    pub role: Role,
    pub rates: Rates,
}

/// What a key or team that names no grant may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAccess {
    None,
    All,
}

/// What somebody may do beside calling agents; a later one may what an earlier one may, but for an auditor's sight of
/// all teams.
pub type Role = crate::proto::admin::Role;

/// What a key, a team or an agent may use; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub requests_per_minute_max: u32,
    /// Calls under way at once.
    pub calls_max: u32,
    /// Of these, streams.
    pub streams_max: u32,
}

/// How long one agent may take; none for what [`Timeouts`] says for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentTimeouts {
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub idle: Option<Duration>,
    pub total: Option<Duration>,
}

/// The agents that a key may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    All,
    Named(Vec<String>),
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that the operator sets")]
pub struct AgentSettings {
    pub name: Arc<str>,
    pub aliases: Vec<String>,
    /// `http` or `https`.
    pub url: Url,
    /// What is spoken at `url`, where the operator wrote it as `grpc` or `grpcs`.
    pub url_binding: Option<Binding>,
    /// The bindings by which it may be called, the preferred one first; empty for all.
    pub bindings: Vec<Binding>,
    /// Whom TLS believes there; none for the system's authorities.
    pub trust: Option<Trust>,
    pub card_url: Option<Url>,
    /// `None`: as its card says.
    pub protocol_version: Option<Version>,
    /// `None`: both.
    pub serve_version: Option<Version>,
    pub description: String,
    /// Values are marked sensitive: their `Debug` prints nothing of them.
    pub headers: HeaderMap,
    pub forward_headers: Vec<HeaderName>,
    pub trust_card_url: bool,
    /// Whether it is called at all: enabled, and approved.
    pub is_served: bool,
    /// Whether the public hub shows it.
    pub public: bool,
    /// Set by administrators, for grants.
    pub tags: Vec<String>,
    /// Ids of the access groups that it says it belongs to.
    pub access_groups: Vec<String>,
    pub rates: Rates,
    pub timeouts: AgentTimeouts,
    /// None: as for all.
    pub task_scope: Option<TaskScope>,
    /// None: as for all.
    pub client_contexts: Option<ClientContexts>,
    /// What it does otherwise than A2A says.
    pub dialect: Dialect,
    /// The port of its own at which gRPC callers reach it without naming it.
    pub grpc_listen: Option<SocketAddr>,
    /// Whether its addresses pass the guard: those that came over the API do.
    pub is_guarded: bool,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub body_bytes_max: usize,
    pub reply_bytes_max: usize,
    pub event_bytes_max: usize,
    pub in_flight_bytes_max: usize,
    pub header_bytes_max: usize,
    pub connections_max: usize,
    pub streams_per_connection_max: u32,
    pub json: JsonLimits,
    pub calls_max: usize,
    /// Keys of the store that are held in memory.
    pub keys_cached_max: usize,
    /// Unknown keys that one address may present in a minute.
    pub failed_keys_per_minute_max: u32,
}

/// What a JSON body may be, before anything of it is decoded.
#[derive(Clone, Copy, Debug)]
pub struct JsonLimits {
    pub depth_max: usize,
    pub nodes_max: usize,
    pub parts_max: usize,
    pub digits_max: usize,
}

#[derive(Clone, Debug)]
pub struct Timeouts {
    pub header: Duration,
    pub body_pause: Duration,
    pub body_bytes_per_second_min: usize,
    pub idle: Duration,
    pub write_stall: Duration,
    pub connect: Duration,
    pub unary: Duration,
    pub stream_idle: Duration,
    pub keep_alive: Duration,
    pub drain: Duration,
}

#[derive(Clone, Debug)]
pub struct CardSettings {
    pub lifetime: Duration,
    pub retry: Duration,
    pub timeout: Duration,
    pub bytes_max: usize,
    pub fetches_max: usize,
}

/// How agents' push notifications reach the callers who asked for them.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// How agents reach this gateway, if not by `public_url`.
    pub url: Option<Url>,
    /// Private networks that callers' webhooks may be in.
    pub allow: Vec<IpNet>,
    /// For everything that one notification takes here, its retries included.
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct OutboundSettings {
    pub allow: Vec<IpNet>,
    pub idle_connections_max: usize,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub level: String,
    pub format: LogFormat,
    pub records: RecordOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where the records of calls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutput {
    Stdout,
    Stderr,
}

/// Looks up an environment variable; a parameter, so that tests need not touch the process.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the configuration file at `path`.
///
/// # Errors
/// Every problem that it has, in the order of the file.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Settings, Problems> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = Problem::of_file(format!("cannot be read: {error}"), "pass its path with --config");
        Problems { file: file.clone(), problems: vec![problem] }
    })?;
    parse(&text, environment).map_err(|problems| Problems { file, problems })
}

/// Reads a configuration from its text.
///
/// # Errors
/// Every problem that it has.
pub fn parse(text: &str, environment: Environment<'_>) -> Result<Settings, Vec<Problem>> {
    settings::read(text, environment)
}

/// Reads an http or https URL with a host and without credentials.
///
/// # Errors
/// What is wrong with it.
pub fn web_url(text: &str) -> Result<Url, String> {
    settings::web_url(text)
}

/// Headers that carry a caller's credentials: never passed on to an agent, never logged.
pub fn is_credential(name: &HeaderName) -> bool {
    const CREDENTIALS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-litellm-api-key"];
    CREDENTIALS.contains(&name.as_str()) || name.as_str().starts_with("proxy-")
}
