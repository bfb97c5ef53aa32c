//! The endpoints of an agent, from its entry and its card.

use std::sync::Arc;

use url::Url;

use crate::operation::{Binding, Version};
use crate::outbound::{Destination, Outbound};
use crate::proto::{AgentCard, AgentInterface};
use crate::registry::Agent;
use crate::upstream::Endpoint;

/// At least one endpoint, the preferred one first.
///
/// The registered address wins over the address that the card claims: an interface is called where the card says
/// only if that is the same scheme, host and port, or if the operator trusts the card's addresses.
pub(super) fn endpoints(agent: &Agent, card: Option<&AgentCard>, outbound: &Outbound) -> Vec<Endpoint> {
    let interfaces = card.map_or(&[][..], |card| &card.supported_interfaces);
    let versions: &[Version] = match &agent.settings.protocol_version {
        Some(pinned) => std::slice::from_ref(pinned),
        None => &[Version::V1_0, Version::V0_3],
    };
    let mut endpoints: Vec<_> = versions
        .iter()
        .filter_map(|version| {
            let interface = interfaces.iter().find(|interface| speaks(interface, *version))?;
            Some(endpoint(agent, interface, *version, outbound))
        })
        .collect();
    if endpoints.is_empty() {
        endpoints.push(at_its_url(agent, agent.settings.protocol_version.unwrap_or(Version::V0_3), String::new()));
    }
    endpoints
}

fn speaks(interface: &AgentInterface, version: Version) -> bool {
    let binding = interface.protocol_binding.is_empty() || interface.protocol_binding.eq_ignore_ascii_case("JSONRPC");
    binding && version_of(interface) == Some(version)
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

fn endpoint(agent: &Agent, interface: &AgentInterface, version: Version, outbound: &Outbound) -> Endpoint {
    let registered = registered(agent);
    let claimed = Url::parse(&interface.url).ok();
    let same_origin = claimed.as_ref().and_then(|url| registered.at(url));
    let trusted =
        || claimed.as_ref().filter(|_| agent.settings.trust_card_url).and_then(|url| outbound.claimed(url).ok());
    match same_origin.or_else(trusted) {
        Some(destination) => Endpoint {
            label: destination.uri().to_string().into(),
            destination,
            binding: Binding::JsonRpc,
            version,
            tenant: interface.tenant.clone(),
        },
        None => at_its_url(agent, version, interface.tenant.clone()),
    }
}

fn registered(agent: &Agent) -> Destination {
    Destination::registered(&agent.settings.url).expect("the configuration checked the address")
}

fn at_its_url(agent: &Agent, version: Version, tenant: String) -> Endpoint {
    let label: Arc<str> = agent.settings.url.as_str().into();
    Endpoint { destination: registered(agent), binding: Binding::JsonRpc, version, tenant, label }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn found(entry: &str, interfaces: &[(&str, &str, &str)]) -> Vec<(String, Version)> {
        let settings = crate::config::parse(&format!("master_key: sk-1\nagents:\n- {entry}"), &|_| None).unwrap();
        let registry = Registry::new(&settings);
        let outbound = Outbound::new(settings.outbound.clone(), settings.timeouts.connect);
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
        let all = endpoints(&registry.agents()[0], Some(&card), &outbound);
        all.into_iter().map(|e| (e.label.to_string(), e.version)).collect()
    }

    #[test]
    fn uses_the_cards_path_at_the_registered_origin() {
        let interfaces = [
            ("http://h:1/rest", "HTTP+JSON", "1.0"),
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
}
