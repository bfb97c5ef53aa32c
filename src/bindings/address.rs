//! How callers reach this gateway, as cards say it.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::HOST;
use http::uri::Authority;
use url::Url;

use crate::call::Peer;
use crate::config::Settings;

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
    let scheme = forwarded("x-forwarded-proto")
        .filter(|scheme| matches!(*scheme, "http" | "https"))
        .unwrap_or(if settings.tls.is_some() { "https" } else { "http" });
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

/// Who sent a request: the peer, or, where the peer is a trusted proxy, the last in `X-Forwarded-For` who is none.
pub fn source(settings: &Settings, peer: Peer, headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address: IpAddr| settings.trusted_proxies.iter().any(|network| network.contains(&address));
    let mut source = peer.address.ip().to_canonical();
    let named = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
    for name in named.into_iter().rev() {
        match name.parse::<IpAddr>() {
            Ok(address) if is_trusted(source) => source = address.to_canonical(),
            _ => break,
        }
    }
    source
}

/// Scheme, host and port, and nothing else that a Host header could smuggle in.
fn is_bare(url: &Url) -> bool {
    let nothing_else = url.query().is_none() && url.fragment().is_none() && url.password().is_none();
    url.path() == "/" && url.username().is_empty() && nothing_else
}

pub(super) fn has_port(host: &str) -> bool {
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
    fn knows_the_sender_behind_trusted_proxies_only() {
        let sender = |config: &str, forwarded: &str| {
            let settings = crate::config::parse(&format!("master_key: sk-1\n{config}"), &|_| None).unwrap();
            let peer = Peer { address: "10.0.0.9:1".parse().unwrap() };
            source(&settings, peer, &headers(&[("x-forwarded-for", forwarded)])).to_string()
        };
        let trusted = "trusted_proxies: [10.0.0.0/8]";
        assert_eq!(sender("", "192.0.2.1"), "10.0.0.9");
        assert_eq!(sender(trusted, "192.0.2.1"), "192.0.2.1");
        assert_eq!(
            sender(trusted, "198.51.100.7, 192.0.2.1, 10.1.1.1"),
            "192.0.2.1",
            "the first was written by anybody"
        );
        assert_eq!(sender(trusted, "nonsense"), "10.0.0.9");
    }

    #[test]
    fn never_repeats_a_host_that_is_none() {
        assert_eq!(base("", &[("host", "evil/path?x=")]), "http://127.0.0.1:4000");
        assert_eq!(base("", &[("host", "user@evil")]), "http://127.0.0.1:4000");
        assert_eq!(base("", &[("host", "evil?x=1")]), "http://127.0.0.1:4000");
        assert_eq!(base("", &[("host", "evil#x")]), "http://127.0.0.1:4000");
        assert_eq!(base("", &[]), "http://127.0.0.1:4000");
    }
}
