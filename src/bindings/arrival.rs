//! The one place that makes an `Arrival`, and later a `Call`, from a request's head: the same for every door.

use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName};

use super::address::source;
use super::peer_of;
use crate::call::{
    A2A_VERSION, AgentName, Arrival, Call, CallId, Caller, ExtensionUri, Form, MeantByAddress, Raw, TraceContext,
    WorkflowHint,
};
use crate::config::{Settings, is_credential};
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::operation::{Binding, Operation, Version};

const A2A_AGENT: HeaderName = HeaderName::from_static("a2a-agent");

/// What is known of a request from its head, whose path may name the agent. Takes the headers out of `head`.
pub(super) fn arrival(gateway: &Gateway, in_path: Option<AgentName>, binding: Binding, head: &mut Parts) -> Arrival {
    let peer = peer_of(&head.extensions);
    let received = gateway.clock.instant();
    let settings = &gateway.settings;
    let mut selectors = Vec::from_iter(in_path);
    let flaw = more_selectors(head, settings, &mut selectors).err();
    let (deadline, flaw) = match timeout(binding, &head.headers) {
        Ok(timeout) => (timeout.and_then(|timeout| received.checked_add(timeout)), flaw),
        Err(error) => (None, flaw.or(Some(error))),
    };
    Arrival {
        id: CallId(gateway.clock.uuid()),
        received,
        binding,
        peer,
        source: source(settings, peer, &head.headers),
        uri: head.uri.clone(),
        selectors,
        agent: None,
        deadline,
        extensions: ExtensionUri::all_in(&head.headers),
        flaw,
        settings: std::sync::Arc::clone(settings),
        headers: std::mem::take(&mut head.headers),
    }
}

/// The agents that the address, the metadata and the host name.
fn more_selectors(head: &Parts, settings: &Settings, selectors: &mut Vec<AgentName>) -> Result<(), Error> {
    selectors.extend(head.extensions.get::<MeantByAddress>().map(|agent| agent.0.clone()));
    let mut named = head.headers.get_all(A2A_AGENT).iter();
    if let Some(name) = named.next() {
        if named.next().is_some() {
            return Err(Error::new(Kind::InvalidParams, "the header a2a-agent is repeated: send it once"));
        }
        selectors.push(AgentName(name.to_str().unwrap_or_default().trim().into()));
    }
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(Authority::as_str);
    if let (Some(host), Some(authority)) = (host, authority)
        && !host.eq_ignore_ascii_case(authority)
    {
        return Err(Error::new(Kind::InvalidRequest, "the authority and the host of the request differ"));
    }
    if let (Some(domain), Some(host)) = (&settings.agent_domain, authority.or(host)) {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        if let Some(label) = name
            .strip_suffix(domain.as_str())
            .and_then(|rest| rest.strip_suffix('.'))
            .filter(|label| !label.contains('.'))
        {
            selectors.push(AgentName(label.into()));
        }
    }
    Ok(())
}

/// How long the caller waits, in the header of its binding; JSON callers have none.
///
/// # Errors
/// InvalidRequest for a value that the binding does not define.
fn timeout(binding: Binding, headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let (name, parse): (_, fn(&str) -> Option<Duration>) = match binding {
        Binding::Grpc | Binding::GrpcWeb => ("grpc-timeout", grpc_timeout),
        Binding::Connect => ("connect-timeout-ms", connect_timeout),
        Binding::JsonRpc | Binding::HttpJson => return Ok(None),
    };
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str().ok().and_then(parse) {
        Some(timeout) => Ok(Some(timeout)),
        None => Err(Error::new(Kind::InvalidRequest, format!("the header {name} is not as its protocol defines it"))),
    }
}

/// At most eight digits and a unit.
fn grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount = digits_of(digits, 8)?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// At most ten digits, milliseconds.
fn connect_timeout(value: &str) -> Option<Duration> {
    digits_of(value, 10).map(Duration::from_millis)
}

fn digits_of(text: &str, length_max: usize) -> Option<u64> {
    let valid = !text.is_empty() && text.len() <= length_max && text.bytes().all(|b| b.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

/// The version that the caller names must be spoken here, and be named at all when the operator is strict. What is
/// asked in is told by the names of methods and paths: clients that were made for both versions differ in the header.
///
/// # Errors
/// VersionNotSupported.
pub(super) fn check_version(arrival: &Arrival, version: Version) -> Result<(), Error> {
    let named = named_version(&arrival.headers, arrival.uri.query())?;
    if named.is_none() && version == Version::V1_0 && arrival.settings.strict_version {
        let message = "a request without A2A-Version is A2A 0.3, which has no such method: send `A2A-Version: 1.0`";
        return Err(Error::new(Kind::VersionNotSupported, message));
    }
    Ok(())
}

/// The version that the caller names, in the header or in the query (A2A 3.6).
///
/// # Errors
/// VersionNotSupported for one that is not spoken here, and for two that differ.
pub(super) fn named_version(headers: &HeaderMap, query: Option<&str>) -> Result<Option<Version>, Error> {
    let in_query = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let in_query = in_query.filter(|(name, _)| name.eq_ignore_ascii_case("a2a-version")).map(|(_, value)| value);
    let in_headers = headers.get_all(A2A_VERSION).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut found = None;
    for text in in_headers.chain(in_query).map(str::trim).filter(|text| !text.is_empty()) {
        let version = Version::parse(text).filter(|version| found.is_none_or(|other| other == *version));
        let Some(version) = version else {
            let message = "A2A-Version must be 1.0 or 0.3, once: these are the versions spoken here";
            return Err(Error::new(Kind::VersionNotSupported, message));
        };
        found = Some(version);
    }
    Ok(found)
}

/// What an admitted request turns out to ask, once its body is read.
pub(super) struct Asked {
    pub(super) version: Version,
    /// How the reply is to be written.
    pub(super) form: Form,
    pub(super) operation: Operation,
    pub(super) raw: Option<Raw>,
    /// The id of its JSON-RPC envelope.
    pub(super) rpc_id: Option<bytes::Bytes>,
}

/// The call that an admitted request makes on this agent.
pub(super) fn call(arrival: Arrival, caller: Caller, agent: AgentName, asked: Asked) -> Call {
    let mut forwardable = arrival.headers;
    let trace =
        TraceContext { traceparent: forwardable.remove("traceparent"), tracestate: forwardable.remove("tracestate") };
    let session = ["x-litellm-trace-id", "x-litellm-session-id"].iter().find_map(|name| forwardable.get(*name));
    let workflow = WorkflowHint(session.and_then(|value| value.to_str().ok()).map(Into::into));
    let credentials: Vec<HeaderName> = forwardable.keys().filter(|name| is_credential(name)).cloned().collect();
    for name in credentials {
        forwardable.remove(name);
    }
    Call {
        id: arrival.id,
        caller,
        agent,
        operation: asked.operation,
        raw: asked.raw,
        rpc_id: asked.rpc_id,
        version: asked.version,
        form: asked.form,
        binding: arrival.binding,
        received: arrival.received,
        deadline: arrival.deadline,
        peer: arrival.peer,
        forwardable,
        extensions: arrival.extensions,
        trace,
        workflow,
        resume_after: None,
        parent: None,
        settings: arrival.settings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn reads_the_version_from_header_and_query() {
        let read = |pairs: &[(&'static str, &str)], query| named_version(&headers(pairs), query);
        assert_eq!(read(&[("a2a-version", "1.0")], None).unwrap(), Some(Version::V1_0));
        assert_eq!(read(&[], Some("x=1&A2A-Version=0.3")).unwrap(), Some(Version::V0_3));
        assert_eq!(read(&[("a2a-version", "")], None).unwrap(), None);
        for (pairs, query) in [
            (&[("a2a-version", "2.0")][..], None),
            (&[("a2a-version", "1.0")], Some("a2a-version=0.3")),
            (&[("a2a-version", "1.0, 0.3")], None),
        ] {
            assert_eq!(read(pairs, query).unwrap_err().kind(), Kind::VersionNotSupported);
        }
    }

    #[test]
    fn reads_timeouts_as_their_protocols_define_them() {
        assert_eq!(grpc_timeout("10S"), Some(Duration::from_secs(10)));
        assert_eq!(grpc_timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(connect_timeout("1500"), Some(Duration::from_millis(1_500)));
        for wrong in ["", "S", "10", "10s", "-1S", "123456789S", "1.5S", "10\u{e9}"] {
            assert_eq!(grpc_timeout(wrong), None, "{wrong}");
        }
        for wrong in ["", "-1", "12345678901", "1s"] {
            assert_eq!(connect_timeout(wrong), None, "{wrong}");
        }
    }
}
