//! The one place that makes an `Arrival`, and later a `Call`, from headers: the same for every door.

use std::net::SocketAddr;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName};
use url::Url;

use super::Doors;
use crate::call::{AgentName, Arrival, Call, CallId, Caller, ExtensionUri, Peer, Raw, TraceContext, WorkflowHint};
use crate::config::{Settings, is_credential};
use crate::error::{Error, Kind};
use crate::operation::{Binding, Operation, Version};

const A2A_VERSION: HeaderName = HeaderName::from_static("a2a-version");

/// What is known of a request from its head. Takes the headers out of `head`.
pub(super) fn arrival(doors: &Doors, agent: AgentName, binding: Binding, head: &mut Parts) -> Arrival {
    let gateway = &doors.gateway;
    let address = head.extensions.get::<Peer>().map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |peer| peer.address);
    Arrival {
        id: CallId(gateway.clock.uuid()),
        received: gateway.clock.instant(),
        binding,
        peer: Peer { address },
        agent,
        extensions: ExtensionUri::all_in(&head.headers),
        settings: std::sync::Arc::clone(&gateway.settings),
        headers: std::mem::take(&mut head.headers),
    }
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

/// The call that an admitted request makes.
pub(super) fn call(
    arrival: Arrival,
    caller: Caller,
    version: Version,
    operation: Operation,
    raw: Option<Raw>,
    rpc_id: Option<bytes::Bytes>,
) -> Call {
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
        agent: arrival.agent,
        operation,
        raw,
        rpc_id,
        version,
        binding: arrival.binding,
        received: arrival.received,
        deadline: None,
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

/// How the caller reaches this gateway: `public_url`, else what the request says. `X-Forwarded-*` is believed from
/// trusted proxies only. No trailing slash.
pub fn base_url(settings: &Settings, peer: Peer, headers: &HeaderMap, uri: &http::Uri) -> String {
    if let Some(url) = &settings.public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let trusted = settings.trusted_proxies.iter().any(|network| network.contains(&peer.address.ip().to_canonical()));
    let text =
        |name: &str| headers.get(name)?.to_str().ok().map(|value| value.rsplit(',').next().unwrap_or_default().trim());
    let forwarded = |name: &str| if trusted { text(name).filter(|value| !value.is_empty()) } else { None };
    let scheme = forwarded("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
    let host = forwarded("x-forwarded-host")
        .or_else(|| uri.authority().map(Authority::as_str))
        .or_else(|| text(HOST.as_str()));
    let host = match (host, forwarded("x-forwarded-port")) {
        (Some(host), Some(port)) if forwarded("x-forwarded-host").is_some() && !has_port(host) => {
            format!("{host}:{port}")
        }
        (Some(host), _) => host.to_owned(),
        (None, _) => settings.listen.to_string(),
    };
    match Url::parse(&format!("{scheme}://{host}/")) {
        Ok(url) if is_bare(&url) => url.as_str().trim_end_matches('/').to_owned(),
        _ => format!("http://{}", settings.listen),
    }
}

/// Scheme, host and port, and nothing else that a Host header could smuggle in.
fn is_bare(url: &Url) -> bool {
    let nothing_else = url.query().is_none() && url.fragment().is_none() && url.password().is_none();
    url.path() == "/" && url.username().is_empty() && nothing_else
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
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

    fn base(config: &str, pairs: &[(&'static str, &str)]) -> String {
        let settings = crate::config::parse(&format!("master_key: sk-1\n{config}"), &|_| None).unwrap();
        let peer = Peer { address: "10.0.0.9:1".parse().unwrap() };
        base_url(&settings, peer, &headers(pairs), &"/a2a/x".parse().unwrap())
    }

    #[test]
    fn believes_forwarded_headers_from_trusted_proxies_only() {
        let proxied = [
            ("host", "inner:4000"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "gw.example.com"),
            ("x-forwarded-port", "8443"),
        ];
        assert_eq!(base("", &proxied), "http://inner:4000");
        assert_eq!(base("trusted_proxies: [10.0.0.0/8]", &proxied), "https://gw.example.com:8443");
        assert_eq!(base("trusted_proxies: [10.0.0.0/8]\npublic_url: https://p/x/", &proxied), "https://p/x");
    }

    #[test]
    fn never_repeats_a_host_that_is_none() {
        assert_eq!(base("", &[("host", "evil/path?x=")]), "http://127.0.0.1:4000");
        assert_eq!(base("", &[("host", "user@evil")]), "http://127.0.0.1:4000");
        assert_eq!(base("", &[("host", "evil?x=1")]), "http://127.0.0.1:4000");
        assert_eq!(base("", &[("host", "evil#x")]), "http://127.0.0.1:4000");
        assert_eq!(base("", &[]), "http://127.0.0.1:4000");
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
}
