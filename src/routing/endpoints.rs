//! The endpoints of an agent, from its entry and its card.

use std::sync::Arc;

use url::Url;

use crate::config::Dialect;
use crate::operation::{Binding, Version};
use crate::outbound::{Destination, Outbound};
use crate::proto::{AgentCard, AgentInterface};
use crate::registry::Agent;
use crate::upstream::Endpoint;

/// What agents are called by, 1.0 before 0.3.
const SPOKEN: [(Binding, Version); 6] = [
    (Binding::JsonRpc, Version::V1_0),
    (Binding::HttpJson, Version::V1_0),
    (Binding::Grpc, Version::V1_0),
    (Binding::JsonRpc, Version::V0_3),
    (Binding::HttpJson, Version::V0_3),
    (Binding::Grpc, Version::V0_3),
];

/// At least one endpoint, the preferred one first: by version, then by the operator's order of bindings, then by the
/// card's.
///
/// The registered address wins over the address that the card claims: an interface is called where the card says
/// only if that is the same scheme, host and port, or if the operator trusts the card's addresses. An interface that
/// is claimed elsewhere is looked for at the registered address if that is what is spoken there.
pub(super) fn endpoints(agent: &Agent, card: Option<&AgentCard>, noted: Dialect, outbound: &Outbound) -> Vec<Endpoint> {
    let settings = &agent.settings;
    let dialect = settings.dialect.or(noted);
    let interfaces = card.map_or(&[][..], |card| &card.supported_interfaces);
    let at_url = spoken_at_url(agent, interfaces);
    let mut found: Vec<Endpoint> = Vec::new();
    for interface in interfaces {
        let Some((binding, version)) = spoken(interface) else { continue };
        let allowed = settings.bindings.is_empty() || settings.bindings.contains(&binding);
        let pinned = settings.protocol_version.is_none_or(|pinned| pinned == version);
        let is_known = found.iter().any(|known| (known.binding, known.version) == (binding, version));
        if allowed && pinned && !is_known {
            found.extend(endpoint(agent, interface, (binding, version), at_url, outbound, dialect));
        }
    }
    let rank = |endpoint: &Endpoint| {
        let preference = settings.bindings.iter().position(|binding| *binding == endpoint.binding);
        (std::cmp::Reverse(endpoint.version), preference.unwrap_or(usize::MAX))
    };
    found.sort_by_key(rank);
    if found.is_empty() {
        // What has no card is mostly JSON-RPC 0.3.
        let usual = if at_url == Binding::JsonRpc { Version::V0_3 } else { Version::V1_0 };
        found.push(at_its_url(agent, at_url, settings.protocol_version.unwrap_or(usual), String::new(), dialect));
    }
    found
}

/// What is spoken at the registered address: as the entry says, else the card's only one, else JSON-RPC.
fn spoken_at_url(agent: &Agent, interfaces: &[AgentInterface]) -> Binding {
    let settings = &agent.settings;
    if let Some(binding) = settings.url_binding {
        return binding;
    }
    let listed: Vec<Binding> = interfaces.iter().filter_map(spoken).map(|(binding, _)| binding).collect();
    if listed.contains(&Binding::JsonRpc)
        && (settings.bindings.is_empty() || settings.bindings.contains(&Binding::JsonRpc))
    {
        return Binding::JsonRpc;
    }
    settings.bindings.first().or(listed.first()).copied().unwrap_or(Binding::JsonRpc)
}

/// The binding and version of an interface, if agents are called by it here. Letters may be of any case.
fn spoken(interface: &AgentInterface) -> Option<(Binding, Version)> {
    let binding = match interface.protocol_binding.to_ascii_uppercase().as_str() {
        "" | "JSONRPC" => Binding::JsonRpc,
        "HTTP+JSON" => Binding::HttpJson,
        "GRPC" => Binding::Grpc,
        _ => return None,
    };
    let found = (binding, version_of(interface)?);
    SPOKEN.contains(&found).then_some(found)
}

/// Legacy cards say `0.2.6` or nothing; newer minor versions of 1 are called as 1.0, for their major is what counts.
/// A major version that is not known here is not spoken.
fn version_of(interface: &AgentInterface) -> Option<Version> {
    let stated = interface.protocol_version.trim_start_matches('v');
    match stated.split('.').next() {
        None | Some("" | "0") => Some(Version::V0_3),
        Some("1") => Some(Version::V1_0),
        Some(_) => None,
    }
}

fn endpoint(
    agent: &Agent,
    interface: &AgentInterface,
    (binding, version): (Binding, Version),
    at_url: Binding,
    outbound: &Outbound,
    dialect: Dialect,
) -> Option<Endpoint> {
    let registered = registered(agent);
    let claimed = claimed(agent, interface);
    let same_origin = claimed.as_ref().and_then(|url| registered.at(url));
    let is_registered_origin = same_origin.is_some();
    let trusted =
        || claimed.as_ref().filter(|_| agent.settings.trust_card_url).and_then(|url| outbound.claimed(url).ok());
    match same_origin.or_else(trusted) {
        Some(destination) => Some(Endpoint {
            label: destination.uri().to_string().into(),
            destination: as_the_entry_says(agent, destination),
            binding,
            version,
            tenant: interface.tenant.clone(),
            dialect,
            is_registered_origin,
        }),
        None => (binding == at_url).then(|| at_its_url(agent, binding, version, interface.tenant.clone(), dialect)),
    }
}

/// The address that an interface claims. gRPC's is a host and a port; whether it has TLS is as at the registered one.
fn claimed(agent: &Agent, interface: &AgentInterface) -> Option<Url> {
    if let Ok(url) = Url::parse(&interface.url)
        && matches!(url.scheme(), "http" | "https")
    {
        return Some(url);
    }
    let bare = interface.url.trim_start_matches("dns:///").trim_start_matches("grpc://");
    let (scheme, bare) = match bare.strip_prefix("grpcs://") {
        Some(bare) => ("https", bare),
        None => (agent.settings.url.scheme(), bare),
    };
    Url::parse(&format!("{scheme}://{bare}")).ok()
}

fn registered(agent: &Agent) -> Destination {
    let registered = Destination::registered(&agent.settings.url).expect("the configuration checked the address");
    as_the_entry_says(agent, registered)
}

/// An address with what the agent's entry says of the way to it.
pub(super) fn as_the_entry_says(agent: &Agent, to: Destination) -> Destination {
    let settings = &agent.settings;
    to.guarded_if(settings.is_guarded).trusting(settings.trust.clone()).connecting_within(settings.timeouts.connect)
}

fn at_its_url(agent: &Agent, binding: Binding, version: Version, tenant: String, dialect: Dialect) -> Endpoint {
    let label: Arc<str> = agent.settings.url.as_str().into();
    let destination = registered(agent);
    Endpoint { destination, binding, version, tenant, dialect, is_registered_origin: true, label }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn found(entry: &str, interfaces: &[(&str, &str, &str)]) -> Vec<(String, Version)> {
        all(entry, interfaces).into_iter().map(|e| (e.label.to_string(), e.version)).collect()
    }

    fn all(entry: &str, interfaces: &[(&str, &str, &str)]) -> Vec<Endpoint> {
        let settings = crate::config::parse(&format!("master_key: sk-1\nagents:\n- {entry}"), &|_| None).unwrap();
        let registry = Registry::new(&settings.agents);
        let outbound = Outbound::new(settings.outbound.clone(), Vec::new(), settings.timeouts.connect);
        let supported_interfaces = interfaces
            .iter()
            .map(|(url, binding, version)| AgentInterface {
                url: (*url).into(),
                protocol_binding: (*binding).into(),
                protocol_version: (*version).into(),
                ..Default::default()
            })
            .collect();
        let card = AgentCard { supported_interfaces, ..Default::default() };
        endpoints(&registry.agents()[0], Some(&card), Dialect::default(), &outbound)
    }

    #[test]
    fn uses_the_cards_path_at_the_registered_origin() {
        let interfaces = [
            ("http://h:1/soap", "SOAP", "1.0"),
            ("http://h:1/rpc", "JSONRPC", "1.0"),
            ("http://h:1/old", "jsonrpc", "0.3.0"),
        ];
        let all = found("{name: a, url: 'http://h:1'}", &interfaces);
        assert_eq!(all, [("http://h:1/rpc".into(), Version::V1_0), ("http://h:1/old".into(), Version::V0_3)]);
        let pinned = found("{name: a, url: 'http://h:1', protocol_version: '0.3'}", &interfaces);
        assert_eq!(pinned, [("http://h:1/old".into(), Version::V0_3)]);
    }

    #[test]
    fn keeps_the_registered_address_when_the_card_claims_another() {
        let interfaces = [("http://0.0.0.0:1/rpc", "JSONRPC", "1.0")];
        assert_eq!(found("{name: a, url: 'http://h:1/x'}", &interfaces), [("http://h:1/x".into(), Version::V1_0)]);
        let trusting = "{name: a, url: 'http://h:1/x', trust_card_url: true}";
        assert_eq!(
            found(trusting, &interfaces),
            [("http://h:1/x".into(), Version::V1_0)],
            "a private address is not trusted"
        );
        let public = [("https://agents.example.com/rpc", "JSONRPC", "1.0")];
        assert_eq!(found(trusting, &public), [("https://agents.example.com/rpc".into(), Version::V1_0)]);
    }

    #[test]
    fn takes_an_agent_without_a_card_as_pinned_or_as_0_3() {
        assert_eq!(found("{name: a, url: 'http://h/'}", &[]), [("http://h/".into(), Version::V0_3)]);
        assert_eq!(
            found("{name: a, url: 'http://h/', protocol_version: '1.0'}", &[]),
            [("http://h/".into(), Version::V1_0)]
        );
    }

    #[test]
    fn orders_bindings_as_the_operator_does_and_else_as_the_card() {
        let interfaces = [
            ("http://h:1/rest", "HTTP+JSON", "1.0"),
            ("h:1", "GRPC", "1.0"),
            ("http://h:1/rpc", "JSONRPC", "1.0"),
            ("http://h:1/rest", "HTTP+JSON", "0.3"),
        ];
        let bindings = |entry: &str| all(entry, &interfaces).into_iter().map(|e| e.binding).collect::<Vec<_>>();
        let [grpc, http_json, jsonrpc] = [Binding::Grpc, Binding::HttpJson, Binding::JsonRpc];
        assert_eq!(bindings("{name: a, url: 'http://h:1'}"), [http_json, grpc, jsonrpc, http_json]);
        assert_eq!(bindings("{name: a, url: 'http://h:1', bindings: [jsonrpc, grpc]}"), [jsonrpc, grpc]);
        assert_eq!(bindings("{name: a, url: 'grpc://h:1', bindings: [grpc]}"), [grpc]);
    }

    #[test]
    fn takes_the_registered_address_for_what_is_spoken_there() {
        let elsewhere = [("http://x:1/rest", "HTTP+JSON", "1.0"), ("x:50051", "GRPC", "1.0")];
        let found = |entry: &str, interfaces: &[(&str, &str, &str)]| {
            all(entry, interfaces).into_iter().map(|e| (e.binding, e.label.to_string())).collect::<Vec<_>>()
        };
        let only_rest = found("{name: a, url: 'http://h:1/r'}", &elsewhere);
        assert_eq!(only_rest, [(Binding::HttpJson, "http://h:1/r".into())]);
        assert_eq!(found("{name: a, url: 'grpc://h:1'}", &elsewhere), [(Binding::Grpc, "http://h:1/".into())]);
        assert_eq!(found("{name: a, url: 'grpcs://h:1'}", &[]), [(Binding::Grpc, "https://h:1/".into())]);
        assert_eq!(
            found("{name: a, url: 'http://h:1', bindings: [http_json]}", &[]),
            [(Binding::HttpJson, "http://h:1/".into())]
        );
    }
}
