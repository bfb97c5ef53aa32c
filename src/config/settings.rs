//! From sections to [`Settings`]: which keys there are, and what their values must be.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::section::{Reader, Section};
use super::{
    CardSettings, CorsSettings, DEFAULTS, DefaultAccess, Environment, Granted, JsonLimits, KeySettings, Limits,
    LogFormat, LogSettings, OutboundSettings, Problem, PushSettings, Rates, RecordOutput, Role, Secret, Settings,
    Timeouts, TlsSettings, agents, check, litellm, store, tasks, tree,
};
use crate::call::AgentName;
use crate::operation::{Method, Rpc};

pub(super) fn read(text: &str, environment: Environment<'_>) -> Result<Settings, Vec<Problem>> {
    let defaults = tree::parse(DEFAULTS).expect("the shipped defaults are valid YAML");
    let user = tree::parse(text).map_err(|error| {
        vec![Problem {
            key: String::new(),
            line: Some(error.line),
            message: error.message,
            hint: "check indentation and quotes there".to_owned(),
        }]
    })?;
    let reader = Reader { problems: RefCell::default(), environment };
    let root = Section::new(&reader, String::new(), Some(&user), Some(&defaults));
    let settings = Settings { digest: Sha256::digest(text.as_bytes()).into(), ..whole(root) };
    let mut problems = reader.problems.into_inner();
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    problems.dedup();
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn whole(root: Section<'_>) -> Settings {
    root.parsed("version", "this release reads version 1", |text| {
        if text == "1" { Ok(()) } else { Err("must be 1".to_owned()) }
    });
    let foreign = litellm::recognise(&root);
    let listen = root.parsed("listen", "write an address and a port, as in 127.0.0.1:4000", address);
    let master_key = if foreign.is_some() { root.section("general_settings").secret("master_key") } else { None };
    let mut notes = foreign.unwrap_or_default();
    let agents: Vec<_> =
        root.sections("agents").into_iter().map(|section| agents::agent(section, &mut notes)).collect();
    let settings = Settings {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        tls: tls(root.section("tls")),
        cors: cors(root.section("cors")),
        grpc_default_agent: root.text("grpc_default_agent").map(|name| AgentName(name.into())),
        agent_domain: root.parsed("agent_domain", "write it as in agents.example.com", domain),
        public_url: root.parsed("public_url", "write it as in https://agents.example.com", base_url),
        trusted_proxies: networks(&root, "trusted_proxies"),
        master_key: root.secret("master_key").or(master_key),
        default_access: default_access(&root),
        store: store::store(&root),
        keys: root.sections("keys").into_iter().filter_map(key).collect(),
        agents,
        strict_version: root.flag("strict_version"),
        a2a_enabled: !root.environment_says_no("A2A_GATEWAY_ENABLED"),
        limits: limits(root.section("limits")),
        timeouts: timeouts(root.section("timeouts")),
        cards: cards(root.section("cards")),
        tasks: tasks::tasks(root.section("tasks")),
        push: push(root.section("push")),
        outbound: outbound(root.section("outbound")),
        log: log(root.section("log")),
        digest: [0; 32],
        notes,
    };
    check::agents(&root, &settings.agents);
    check::keys(&root, &settings);
    check::grpc_addresses(&root, &settings);
    root.finish();
    settings
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| "is not an address with a port".to_owned())
}

/// An http or https URL with a host and without credentials.
pub(super) fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("must begin with http:// or https://, not {}:", url.scheme()));
    }
    if url.host().is_none() {
        return Err("has no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold credentials: use headers".to_owned());
    }
    if url.as_str().parse::<http::Uri>().is_err() {
        return Err("has characters that cannot be called".to_owned());
    }
    Ok(url)
}

fn base_url(text: &str) -> Result<Url, String> {
    let url = web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have no query and no fragment".to_owned());
    }
    Ok(url)
}

/// A domain, in lower case.
fn domain(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("is no domain name".to_owned())
    }
}

fn tls(s: Section<'_>) -> Option<TlsSettings> {
    let (cert_file, key_file) = (s.text("cert_file"), s.text("key_file"));
    let client_ca_file = s.text("client_ca_file");
    let reload = s.millis("reload_ms");
    let tls = match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => Some(TlsSettings {
            cert_file: cert_file.into(),
            key_file: key_file.into(),
            client_ca_file: client_ca_file.map(Into::into),
            reload,
        }),
        (None, None) if client_ca_file.is_none() => None,
        _ => {
            s.complain("needs cert_file and key_file", "give both, or remove the section to serve without TLS");
            None
        }
    };
    if let Some(Err((key, problem))) = tls.as_ref().map(TlsSettings::read) {
        s.problem(
            key,
            s.find(key).and_then(|found| found.line),
            problem,
            "check the path, its permissions and its content",
        );
    }
    s.finish();
    tls
}

fn cors(s: Section<'_>) -> CorsSettings {
    let written = s.texts("origins");
    let any_origin = written.iter().any(|(origin, _)| origin == "*");
    let mut origins = Vec::new();
    for (origin, line) in written.into_iter().filter(|(origin, _)| origin != "*") {
        let is_origin = web_url(&origin).is_ok_and(|url| url.origin().ascii_serialization() == origin);
        if let Some(value) = HeaderValue::try_from(&origin).ok().filter(|_| is_origin) {
            origins.push(value);
        } else {
            let message = format!("{origin} is no origin");
            s.problem("origins", line, message, "write scheme, host and port as in https://app.example.com, or \"*\"");
        }
    }
    let cors = CorsSettings { any_origin, origins, max_age: s.millis("max_age_ms") };
    s.finish();
    cors
}

fn networks(section: &Section<'_>, name: &str) -> Vec<IpNet> {
    let network = |(text, line): (String, Option<usize>)| {
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        if parsed.is_err() {
            section.problem(name, line, format!("{text} is not a network"), "write it as in 10.0.0.0/8 or ::1");
        }
        parsed.ok()
    };
    section.texts(name).into_iter().filter_map(network).collect()
}

fn key(section: Section<'_>) -> Option<KeySettings> {
    let name = section.required("name", "give the key a name: records show it");
    let key = section.secret("key");
    if key.is_none() && !section.has("key") {
        section.complain("key is missing", "write `key: ${NAME}` and export NAME");
    }
    let granted = match section.find("agents") {
        Some(found) if matches!(&found.node.value, tree::Value::Scalar(text) if text == "*") => Granted::All,
        Some(_) => Granted::Named(section.texts("agents").into_iter().map(|(name, _)| name).collect()),
        None => {
            section.complain("agents is missing", "list the names that this key may call, or write agents: \"*\"");
            Granted::Named(Vec::new())
        }
    };
    let settings = KeySettings {
        name: name.unwrap_or_default().into(),
        key: key.clone().unwrap_or_else(|| Secret::new("")),
        agents: granted,
        operations: operations(&section),
        role: section.parsed("role", "these are: caller, auditor, admin", role).unwrap_or(Role::Caller),
        rates: rates(section.section("limits")),
    };
    section.finish();
    (key.is_some() && !settings.name.is_empty()).then_some(settings)
}

/// Publishers and team admins belong to a team, and only keys of the store do.
fn role(text: &str) -> Result<Role, String> {
    match text {
        "caller" => Ok(Role::Caller),
        "auditor" => Ok(Role::Auditor),
        "admin" => Ok(Role::Admin),
        _ => Err("is no role that a key of the configuration may have".to_owned()),
    }
}

fn operations(section: &Section<'_>) -> Vec<Rpc> {
    let operation = |(name, line): (String, Option<usize>)| {
        let method = Method::by_name(&name);
        if method.is_none() {
            let message = format!("{name} is no operation of A2A");
            section.problem("operations", line, message, "write names such as SendMessage and GetTask");
        }
        method.map(|method| method.rpc)
    };
    section.texts("operations").into_iter().filter_map(operation).collect()
}

/// What an entry may use; what it leaves out is not limited.
pub(super) fn rates(section: Section<'_>) -> Rates {
    let count = |name: &str| {
        let number = |text: &str| text.replace('_', "").parse::<u32>().map_err(|_| "must be a whole number".to_owned());
        section.parsed(name, "write how many, or 0 for no limit", number).unwrap_or(0)
    };
    let rates = Rates {
        requests_per_minute_max: count("requests_per_minute_max"),
        calls_max: count("calls_max"),
        streams_max: count("streams_max"),
    };
    section.finish();
    rates
}

fn default_access(root: &Section<'_>) -> DefaultAccess {
    let access = |text: &str| match text {
        "none" => Ok(DefaultAccess::None),
        "all" => Ok(DefaultAccess::All),
        _ => Err("must be none or all".to_owned()),
    };
    root.parsed("default_access", "none: a key without grants may call nothing", access).unwrap_or(DefaultAccess::None)
}

fn limits(s: Section<'_>) -> Limits {
    const GIB: usize = 1 << 30;
    let limits = Limits {
        body_bytes_max: s.number("body_bytes_max", 1_024..=GIB),
        reply_bytes_max: s.number("reply_bytes_max", 1_024..=GIB),
        event_bytes_max: s.number("event_bytes_max", 1_024..=GIB),
        in_flight_bytes_max: s.number("in_flight_bytes_max", 1_048_576..=64 * GIB),
        header_bytes_max: s.number("header_bytes_max", 8_192..=1_048_576),
        connections_max: s.number("connections_max", 1..=1_000_000),
        streams_per_connection_max: u32::try_from(s.number("streams_per_connection_max", 1..=10_000)).unwrap_or(1),
        json: JsonLimits {
            depth_max: s.number("json_depth_max", 8..=64),
            nodes_max: s.number("json_nodes_max", 100..=10_000_000),
            parts_max: s.number("json_parts_max", 1..=1_000_000),
            digits_max: s.number("json_digits_max", 20..=10_000),
        },
        calls_max: s.number("calls_max", 1..=1_000_000),
        keys_cached_max: s.number("keys_cached_max", 1..=100_000_000),
        failed_keys_per_minute_max: u32::try_from(s.number("failed_keys_per_minute_max", 1..=1_000_000)).unwrap_or(1),
    };
    for (largest, name) in [(limits.body_bytes_max, "body_bytes_max"), (limits.reply_bytes_max, "reply_bytes_max")] {
        if limits.in_flight_bytes_max < largest {
            let message = format!("is less than {name}, so the largest could never be read");
            s.problem("in_flight_bytes_max", None, message, "raise it");
        }
    }
    s.finish();
    limits
}

fn timeouts(s: Section<'_>) -> Timeouts {
    let timeouts = Timeouts {
        header: s.millis("header_ms"),
        body_pause: s.millis("body_pause_ms"),
        body_bytes_per_second_min: s.number("body_bytes_per_second_min", 0..=1_000_000_000),
        idle: s.millis("idle_ms"),
        write_stall: s.millis("write_stall_ms"),
        connect: s.millis("connect_ms"),
        unary: s.millis("unary_ms"),
        stream_idle: s.millis("stream_idle_ms"),
        keep_alive: s.millis("keep_alive_ms"),
        drain: s.millis("drain_ms"),
    };
    s.finish();
    timeouts
}

fn cards(s: Section<'_>) -> CardSettings {
    let cards = CardSettings {
        lifetime: s.millis("lifetime_ms"),
        retry: s.millis("retry_ms"),
        timeout: s.millis("timeout_ms"),
        bytes_max: s.number("bytes_max", 1_024..=16_777_216),
        fetches_max: s.number("fetches_max", 1..=1_000),
    };
    s.finish();
    cards
}

fn push(s: Section<'_>) -> PushSettings {
    let push = PushSettings {
        url: s.parsed("url", "write it as in https://gateway.internal:4000", base_url),
        allow: networks(&s, "allow"),
        timeout: s.millis("timeout_ms"),
    };
    s.finish();
    push
}

fn outbound(s: Section<'_>) -> OutboundSettings {
    let outbound = OutboundSettings {
        allow: networks(&s, "allow"),
        idle_connections_max: s.number("idle_connections_max", 0..=100_000),
    };
    s.finish();
    outbound
}

fn log(s: Section<'_>) -> LogSettings {
    let one_of = |name: &str, choices: [&'static str; 2]| {
        let choice = |text: &str| {
            choices.iter().position(|c| *c == text).ok_or(format!("must be {} or {}", choices[0], choices[1]))
        };
        s.parsed(name, "", choice).unwrap_or(0)
    };
    let log = LogSettings {
        level: s.parsed("level", "write a level, or info,switchboard=debug", filter).unwrap_or_default(),
        format: if one_of("format", ["text", "json"]) == 0 { LogFormat::Text } else { LogFormat::Json },
        records: if one_of("records", ["stdout", "stderr"]) == 0 { RecordOutput::Stdout } else { RecordOutput::Stderr },
    };
    s.finish();
    log
}

fn filter(text: &str) -> Result<String, String> {
    let parsed = tracing_subscriber::EnvFilter::try_new(text);
    parsed.map(|_| text.to_owned()).map_err(|error| format!("is no filter: {error}"))
}

#[cfg(test)]
mod tests;
