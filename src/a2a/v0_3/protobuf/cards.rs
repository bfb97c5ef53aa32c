//! Cards in 0.3's protobuf form. Most of their messages have the numbers of 1.0, so they are carried over as bytes.

use super::pb;
use crate::a2a::v0_3::ConvertError;
use crate::operation::Version;
use crate::proto;

/// A card in 1.0.
pub fn card_from(old: pb::AgentCard) -> proto::AgentCard {
    let interface = |url: String, binding: String| proto::AgentInterface {
        url,
        protocol_binding: if binding.is_empty() { "JSONRPC".to_owned() } else { binding },
        tenant: String::new(),
        protocol_version: Version::V0_3.to_string(),
    };
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let mut capabilities: proto::AgentCapabilities = same(&old.capabilities.unwrap_or_default());
    capabilities.extended_agent_card = Some(old.supports_authenticated_extended_card);
    let others = old.additional_interfaces.into_iter().map(|other| interface(other.url, other.transport));
    proto::AgentCard {
        name: old.name,
        description: old.description,
        supported_interfaces: std::iter::once(interface(old.url, old.preferred_transport)).chain(others).collect(),
        provider: old.provider.as_ref().map(same),
        version: old.version,
        documentation_url: text(old.documentation_url),
        capabilities: Some(capabilities),
        security_schemes: old.security_schemes.iter().map(|(name, scheme)| (name.clone(), same(scheme))).collect(),
        security_requirements: old.security.iter().map(same).collect(),
        default_input_modes: old.default_input_modes,
        default_output_modes: old.default_output_modes,
        skills: old.skills.iter().map(same).collect(),
        signatures: old.signatures.iter().map(same).collect(),
        icon_url: text(old.icon_url),
    }
}

/// A card in 0.3: its first 0.3 interface is the main one.
///
/// # Errors
/// A card without a 0.3 interface.
pub fn card_to(new: &proto::AgentCard) -> Result<pb::AgentCard, ConvertError> {
    let is_old = |interface: &&proto::AgentInterface| {
        Version::parse(&interface.protocol_version).is_none_or(|version| version == Version::V0_3)
    };
    let mut interfaces = new.supported_interfaces.iter().filter(is_old);
    let main = interfaces.next().ok_or_else(|| ConvertError::new("supportedInterfaces", "none speaks A2A 0.3"))?;
    let other = |interface: &proto::AgentInterface| pb::AgentInterface {
        url: interface.url.clone(),
        transport: interface.protocol_binding.clone(),
    };
    let capabilities = new.capabilities.clone().unwrap_or_default();
    Ok(pb::AgentCard {
        protocol_version: "0.3.0".to_owned(),
        name: new.name.clone(),
        description: new.description.clone(),
        url: main.url.clone(),
        preferred_transport: main.protocol_binding.clone(),
        additional_interfaces: interfaces.map(other).collect(),
        provider: new.provider.as_ref().map(same),
        version: new.version.clone(),
        documentation_url: new.documentation_url.clone().unwrap_or_default(),
        supports_authenticated_extended_card: capabilities.extended_agent_card(),
        capabilities: Some(same(&capabilities)),
        security_schemes: new.security_schemes.iter().map(|(name, scheme)| (name.clone(), same(scheme))).collect(),
        security: new.security_requirements.iter().map(same).collect(),
        default_input_modes: new.default_input_modes.clone(),
        default_output_modes: new.default_output_modes.clone(),
        skills: new.skills.iter().map(same).collect(),
        signatures: new.signatures.iter().map(same).collect(),
        icon_url: new.icon_url.clone().unwrap_or_default(),
    })
}

/// A message whose fields have the same numbers and types in both versions; what only one has is left out.
fn same<A: prost::Message, B: prost::Message + Default>(message: &A) -> B {
    B::decode(&message.encode_to_vec()[..]).unwrap_or_default()
}
