//! The entries of `agents`.

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::section::Section;
use super::settings::{address, rates, web_url};
use super::{AgentSettings, AgentTimeouts, Trust, dialect, litellm, tasks};
use crate::operation::{Binding, Version};

/// Reads one entry of `agents`.
pub(super) fn agent(section: Section<'_>, notes: &mut Vec<String>) -> AgentSettings {
    if section.has("agent_name") {
        return litellm::agent(&section, notes);
    }
    let name = section.required("name", "callers call the agent by it");
    let name = name.filter(|name| {
        if is_reserved_name(name) {
            section.problem(
                "name",
                Some(section.line),
                "is the name of an address of the gateway's own",
                "choose another",
            );
        }
        let valid = is_agent_name(name);
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
    let (url, url_binding) = url
        .and_then(|_| {
            section.parsed("url", "write it as in http://127.0.0.1:9999 or grpc://127.0.0.1:50051", agent_url)
        })
        .unwrap_or_else(|| (nowhere(), None));
    let headers = headers(&section, "headers");
    let agent = AgentSettings {
        name: name.unwrap_or_default().into(),
        aliases: section.texts("aliases").into_iter().map(|(alias, _)| alias).collect(),
        url,
        url_binding,
        bindings: bindings(&section),
        trust: trust(&section),
        card_url: section.parsed("card_url", "write the card's whole address", web_url),
        protocol_version: version(&section, "protocol_version", true),
        serve_version: version(&section, "serve_version", false),
        description: section.text("description").unwrap_or_default(),
        headers,
        forward_headers: header_names(&section, "forward_headers"),
        trust_card_url: section.flag("trust_card_url"),
        is_served: !section.has("enabled") || section.flag("enabled"),
        public: section.flag("public"),
        tags: section.texts("tags").into_iter().map(|(tag, _)| tag).collect(),
        access_groups: Vec::new(),
        rates: rates(section.section("limits")),
        timeouts: timeouts(section.section("timeouts")),
        task_scope: tasks::scope(&section, "task_scope"),
        client_contexts: tasks::contexts(&section),
        dialect: dialect::dialect(section.section("dialect")),
        grpc_listen: section.parsed("grpc_listen", "write an address and a port, as in 127.0.0.1:50051", address),
        is_guarded: false,
    };
    plaintext(&section, &agent);
    if let Some(spoken) = agent.url_binding
        && !agent.bindings.is_empty()
        && !agent.bindings.contains(&spoken)
    {
        let message = format!("leaves out {}, which is what url says", spoken.as_str());
        section.problem("bindings", None, message, "add it, or write url as http or https");
    }
    section.finish();
    agent
}

fn timeouts(section: Section<'_>) -> AgentTimeouts {
    let millis = |name: &str| section.has(name).then(|| section.millis(name));
    let timeouts = AgentTimeouts {
        connect: millis("connect_ms"),
        first_byte: millis("first_byte_ms"),
        idle: millis("idle_ms"),
        total: millis("total_ms"),
    };
    section.finish();
    timeouts
}

/// An agent's address: `grpc` is HTTP/2 without TLS, `grpcs` with it.
///
/// # Errors
/// What is wrong with it.
pub fn agent_url(text: &str) -> Result<(Url, Option<Binding>), String> {
    let of_grpc = [("grpc://", "http://"), ("grpcs://", "https://")];
    match of_grpc.iter().find_map(|(grpc, http)| Some(format!("{http}{}", text.strip_prefix(grpc)?))) {
        Some(http) => Ok((web_url(&http)?, Some(Binding::Grpc))),
        None => Ok((web_url(text)?, None)),
    }
}

/// The bindings by which the agent is called, the preferred one first; none for all, as suits the caller.
fn bindings(section: &Section<'_>) -> Vec<Binding> {
    const KNOWN: [Binding; 3] = [Binding::Grpc, Binding::JsonRpc, Binding::HttpJson];
    let mut bindings = Vec::new();
    for (text, line) in section.texts("bindings") {
        match KNOWN.into_iter().find(|known| known.as_str() == text) {
            Some(binding) if !bindings.contains(&binding) => bindings.push(binding),
            Some(_) => {}
            None => section.problem(
                "bindings",
                line,
                format!("{text} is no binding that agents are called by"),
                "these are: grpc, jsonrpc, http_json",
            ),
        }
    }
    bindings
}

fn trust(section: &Section<'_>) -> Option<Trust> {
    let read = |path: &str| {
        let pem = std::fs::read(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
        Trust::parse(&pem).map_err(|error| error.to_string())
    };
    section.parsed("ca_file", "name a PEM file with the certificates of the authorities", read)
}

/// Credentials are not sent where anybody on the way can read them, unless the operator says so.
fn plaintext(section: &Section<'_>, agent: &AgentSettings) {
    let allowed = section.flag("allow_plaintext");
    let secret = agent.headers.keys().find(|name| looks_like_a_credential(name));
    if let Some(header) = secret.filter(|_| is_readable_on_the_way(&agent.url) && !allowed) {
        let message = format!("{header} would be sent without TLS, for anybody on the way to read");
        let line = section.find("headers").and_then(|found| found.line);
        section.problem("headers", line, message, "call the agent with TLS, or write allow_plaintext: true");
    }
}

/// Whether the name of a header says that its value is a secret.
pub fn looks_like_a_credential(name: &HeaderName) -> bool {
    let secrets = ["auth", "cookie", "key", "password", "secret", "token"];
    secrets.iter().any(|secret| name.as_str().contains(secret))
}

/// Whether somebody between us and this address could read what is sent there.
pub fn is_readable_on_the_way(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => true,
    };
    url.scheme() == "http" && !is_local
}

/// Names whose addresses below `/a2a/` are the gateway's own.
pub fn is_reserved_name(name: &str) -> bool {
    name == "agents" || name.starts_with("agt_")
}

/// Whether callers can call an agent so: up to 63 letters, digits, '.', '_' or '-', the first a letter or digit.
pub fn is_agent_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Stands in for a URL that was refused: the settings around it are never used.
pub(super) fn nowhere() -> Url {
    Url::parse("http://invalid.invalid").expect("a constant")
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

/// Why a header cannot be passed on from callers to an agent.
pub fn fault_of_forwarded(text: &str) -> Option<&'static str> {
    match HeaderName::try_from(text) {
        Err(_) => Some("is no header name"),
        Ok(name) if is_ours(&name) || crate::config::is_credential(&name) || name.as_str().starts_with("x-amz-") => {
            Some("is never passed on: credentials for an agent go into its headers")
        }
        Ok(_) => None,
    }
}

/// Headers that belong to one connection or to the protocol, and are written by the gateway.
pub fn is_ours(name: &HeaderName) -> bool {
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
