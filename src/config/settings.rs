//! From sections to [`Settings`]: which keys there are, and what their values must be.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use url::Url;

use super::section::{Reader, Section};
use super::{
    AgentSettings, CardSettings, DEFAULTS, Environment, Granted, JsonLimits, KeySettings, Limits, LogFormat,
    LogSettings, OutboundSettings, Problem, RecordOutput, Settings, Timeouts, check, litellm, tree,
};
use crate::operation::Version;

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
    let settings = whole(root);
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
    let agents: Vec<_> = root.sections("agents").into_iter().map(|section| agent(section, &mut notes)).collect();
    let settings = Settings {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        public_url: root.parsed("public_url", "write it as in https://agents.example.com", base_url),
        trusted_proxies: networks(&root, "trusted_proxies"),
        master_key: root.secret("master_key").or(master_key),
        keys: root.sections("keys").into_iter().filter_map(key).collect(),
        agents,
        strict_version: root.flag("strict_version"),
        limits: limits(root.section("limits")),
        timeouts: timeouts(root.section("timeouts")),
        cards: cards(root.section("cards")),
        outbound: outbound(root.section("outbound")),
        log: log(root.section("log")),
        notes,
    };
    check::agents(&root, &settings.agents);
    check::keys(&root, &settings);
    root.finish();
    settings
}

fn address(text: &str) -> Result<SocketAddr, String> {
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
    section.finish();
    Some(KeySettings { name: name?.into(), key: key?, agents: granted })
}

fn agent(section: Section<'_>, notes: &mut Vec<String>) -> AgentSettings {
    if section.has("agent_name") {
        return litellm::agent(&section, notes);
    }
    let name = section.required("name", "callers call the agent by it");
    let name = name.filter(|name| {
        let valid = is_name(name);
        if !valid {
            section.problem(
                "name",
                Some(section.line),
                "must be up to 63 letters, digits, '.', '_' or '-', and begin with a letter or digit",
                "",
            );
        }
        valid
    });
    let url = section.required("url", "write where the agent is called, as in http://127.0.0.1:9999");
    let agent = AgentSettings {
        name: name.unwrap_or_default().into(),
        aliases: section.texts("aliases").into_iter().map(|(alias, _)| alias).collect(),
        url: url
            .and_then(|_| section.parsed("url", "write it as in http://127.0.0.1:9999", web_url))
            .unwrap_or_else(nowhere),
        card_url: section.parsed("card_url", "write the card's whole address", web_url),
        protocol_version: version(&section, "protocol_version", true),
        serve_version: version(&section, "serve_version", false),
        description: section.text("description").unwrap_or_default(),
        headers: headers(&section, "headers"),
        forward_headers: header_names(&section, "forward_headers"),
        trust_card_url: section.flag("trust_card_url"),
    };
    section.finish();
    agent
}

/// Stands in for a URL that was refused: the settings around it are never used.
pub(super) fn nowhere() -> Url {
    Url::parse("http://invalid.invalid").expect("a constant")
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

pub(super) fn version(section: &Section<'_>, name: &str, may_be_auto: bool) -> Option<Version> {
    let choices = if may_be_auto { "auto, \"0.3\" or \"1.0\"" } else { "\"0.3\" or \"1.0\"" };
    let version = |text: &str| match Version::parse(text) {
        Some(version) => Ok(Some(version)),
        None if may_be_auto && text == "auto" => Ok(None),
        None => Err(format!("must be {choices}")),
    };
    section.parsed(name, "these are the versions of A2A that are spoken here", version).flatten()
}

pub(super) fn headers(section: &Section<'_>, name: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (header, found) in section.entries(name) {
        let Ok(header_name) = HeaderName::try_from(header.as_str()) else {
            section.problem(name, found.line, format!("{header} is no header name"), "");
            continue;
        };
        if is_ours(&header_name) {
            section.problem(name, found.line, format!("{header} is set by the gateway itself"), "remove it");
            continue;
        }
        let value = section.scalar(name, found).and_then(|text| section.dereferenced(name, found.line, text));
        match value.map(HeaderValue::try_from) {
            Some(Ok(mut value)) => {
                value.set_sensitive(true);
                if headers.insert(header_name, value).is_some() {
                    section.problem(name, found.line, format!("{header} stands twice"), "keep one of the two");
                }
            }
            Some(Err(_)) => {
                section.problem(name, found.line, format!("the value of {header} cannot stand in a header"), "");
            }
            None => {}
        }
    }
    headers
}

pub(super) fn header_names(section: &Section<'_>, name: &str) -> Vec<HeaderName> {
    let parse = |(text, line): (String, Option<usize>)| {
        let header = HeaderName::try_from(text.to_ascii_lowercase()).ok();
        match header {
            Some(header) if !is_ours(&header) && !crate::config::is_credential(&header) => Some(header),
            Some(_) => {
                section.problem(
                    name,
                    line,
                    format!("{text} is never passed on"),
                    "credentials for an agent go into its headers",
                );
                None
            }
            None => {
                section.problem(name, line, format!("{text} is no header name"), "");
                None
            }
        }
    };
    section.texts(name).into_iter().filter_map(parse).collect()
}

/// Headers that belong to one connection or to the protocol, and are written by the gateway.
fn is_ours(name: &HeaderName) -> bool {
    const OURS: [&str; 17] = [
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "a2a-version",
        "a2a-extensions",
        "x-a2a-extensions",
        "forwarded",
    ];
    OURS.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
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
