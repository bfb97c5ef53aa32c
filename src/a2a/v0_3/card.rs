//! Agent cards of 0.3 (its specification, section 5.5), to the typed 1.0 card and back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ConvertError;
use super::raw;
use super::request::parse;
use crate::operation::Version;
use crate::proto;
use crate::proto::o_auth_flows::Flow;
use crate::proto::security_scheme::Scheme;

type Security = Vec<BTreeMap<String, Vec<String>>>;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct OldCard {
    protocol_version: Option<String>,
    name: String,
    description: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_transport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_interfaces: Option<Vec<OldInterface>>,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<proto::AgentProvider>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_url: Option<String>,
    capabilities: OldCapabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_schemes: Option<BTreeMap<String, OldScheme>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<Security>,
    default_input_modes: Vec<String>,
    default_output_modes: Vec<String>,
    skills: Vec<OldSkill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supports_authenticated_extended_card: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<Vec<proto::AgentCardSignature>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct OldInterface {
    url: String,
    transport: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct OldCapabilities {
    #[serde(skip_serializing_if = "Option::is_none")]
    streaming: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_notifications: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Vec<proto::AgentExtension>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct OldSkill {
    id: String,
    name: String,
    description: String,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    examples: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_modes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_modes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<Security>,
}

/// OpenAPI's security schemes, told apart by `type`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum OldScheme {
    #[serde(rename = "apiKey")]
    ApiKey {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        #[serde(rename = "in")]
        location: String,
        name: String,
    },
    #[serde(rename = "http")]
    Http {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        scheme: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bearer_format: Option<String>,
    },
    #[serde(rename = "oauth2")]
    OAuth2 {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        flows: Box<OldFlows>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oauth2_metadata_url: Option<String>,
    },
    #[serde(rename = "openIdConnect")]
    OpenIdConnect {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        open_id_connect_url: String,
    },
    #[serde(rename = "mutualTLS")]
    MutualTls {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
}

/// The flows of OpenAPI have the members of 1.0's flows, so 1.0's types read and write them.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct OldFlows {
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_code: Option<proto::AuthorizationCodeOAuthFlow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_credentials: Option<proto::ClientCredentialsOAuthFlow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    implicit: Option<proto::ImplicitOAuthFlow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<proto::PasswordOAuthFlow>,
}

/// Reads a 0.3 card. Its interfaces keep the version that the card states.
///
/// # Errors
/// The first member of a wrong type.
pub fn card_from_v0_3(json: &[u8]) -> Result<proto::AgentCard, ConvertError> {
    let old: OldCard = parse(json)?;
    let version = old.protocol_version.filter(|version| !version.is_empty()).unwrap_or_else(|| "0.3".to_owned());
    let primary = proto::AgentInterface {
        url: old.url,
        protocol_binding: old.preferred_transport.filter(|t| !t.is_empty()).unwrap_or_else(|| "JSONRPC".to_owned()),
        tenant: String::new(),
        protocol_version: version,
    };
    let others = old.additional_interfaces.unwrap_or_default().into_iter().map(|interface| proto::AgentInterface {
        url: interface.url,
        protocol_binding: interface.transport,
        tenant: String::new(),
        protocol_version: Version::V0_3.to_string(),
    });
    Ok(proto::AgentCard {
        name: old.name,
        description: old.description,
        supported_interfaces: std::iter::once(primary).chain(others).collect(),
        provider: old.provider,
        version: old.version,
        documentation_url: old.documentation_url,
        capabilities: Some(proto::AgentCapabilities {
            streaming: old.capabilities.streaming,
            push_notifications: old.capabilities.push_notifications,
            extensions: old.capabilities.extensions.unwrap_or_default(),
            extended_agent_card: old.supports_authenticated_extended_card,
        }),
        security_schemes: old
            .security_schemes
            .unwrap_or_default()
            .into_iter()
            .map(|(n, s)| (n, s.into_new()))
            .collect(),
        security_requirements: requirements(old.security),
        default_input_modes: old.default_input_modes,
        default_output_modes: old.default_output_modes,
        skills: old.skills.into_iter().map(OldSkill::into_new).collect(),
        signatures: old.signatures.unwrap_or_default(),
        icon_url: old.icon_url,
    })
}

/// Writes a card for a 0.3 reader: its first 0.3 interface is the main one.
///
/// # Errors
/// A card without a 0.3 interface, and security schemes that 0.3 cannot say.
pub fn card_to_v0_3(new: &proto::AgentCard) -> Result<Box<RawValue>, ConvertError> {
    let is_old = |interface: &&proto::AgentInterface| {
        interface.protocol_version.is_empty() || Version::parse(&interface.protocol_version) == Some(Version::V0_3)
    };
    let mut interfaces = new.supported_interfaces.iter().filter(is_old);
    let primary = interfaces.next().ok_or_else(|| ConvertError::new("supportedInterfaces", "none speaks A2A 0.3"))?;
    let others: Vec<_> = interfaces
        .map(|interface| OldInterface { url: interface.url.clone(), transport: interface.protocol_binding.clone() })
        .collect();
    let capabilities = new.capabilities.clone().unwrap_or_default();
    let schemes = new.security_schemes.iter().map(|(name, scheme)| {
        let field = format!("securitySchemes.{name}");
        Ok((name.clone(), OldScheme::from_new(scheme).map_err(|problem| ConvertError::new(field, problem))?))
    });
    raw(&OldCard {
        protocol_version: Some(if primary.protocol_version.is_empty() {
            "0.3".to_owned()
        } else {
            primary.protocol_version.clone()
        }),
        name: new.name.clone(),
        description: new.description.clone(),
        url: primary.url.clone(),
        preferred_transport: Some(primary.protocol_binding.clone()),
        additional_interfaces: some_list(others),
        version: new.version.clone(),
        provider: new.provider.clone(),
        documentation_url: new.documentation_url.clone(),
        icon_url: new.icon_url.clone(),
        capabilities: OldCapabilities {
            streaming: capabilities.streaming,
            push_notifications: capabilities.push_notifications,
            extensions: some_list(capabilities.extensions),
        },
        security_schemes: Some(schemes.collect::<Result<BTreeMap<_, _>, ConvertError>>()?).filter(|s| !s.is_empty()),
        security: some_list(old_security(&new.security_requirements)),
        default_input_modes: new.default_input_modes.clone(),
        default_output_modes: new.default_output_modes.clone(),
        skills: new.skills.iter().map(OldSkill::from_new).collect(),
        supports_authenticated_extended_card: capabilities.extended_agent_card,
        signatures: some_list(new.signatures.clone()),
    })
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn requirements(old: Option<Security>) -> Vec<proto::SecurityRequirement> {
    let requirement = |schemes: BTreeMap<String, Vec<String>>| proto::SecurityRequirement {
        schemes: schemes.into_iter().map(|(name, list)| (name, proto::StringList { list })).collect(),
    };
    old.unwrap_or_default().into_iter().map(requirement).collect()
}

fn old_security(new: &[proto::SecurityRequirement]) -> Security {
    let scopes = |requirement: &proto::SecurityRequirement| {
        requirement.schemes.iter().map(|(name, scopes)| (name.clone(), scopes.list.clone())).collect()
    };
    new.iter().map(scopes).collect()
}

impl OldSkill {
    fn into_new(self) -> proto::AgentSkill {
        proto::AgentSkill {
            id: self.id,
            name: self.name,
            description: self.description,
            tags: self.tags,
            examples: self.examples.unwrap_or_default(),
            input_modes: self.input_modes.unwrap_or_default(),
            output_modes: self.output_modes.unwrap_or_default(),
            security_requirements: requirements(self.security),
        }
    }

    fn from_new(new: &proto::AgentSkill) -> Self {
        Self {
            id: new.id.clone(),
            name: new.name.clone(),
            description: new.description.clone(),
            tags: new.tags.clone(),
            examples: some_list(new.examples.clone()),
            input_modes: some_list(new.input_modes.clone()),
            output_modes: some_list(new.output_modes.clone()),
            security: some_list(old_security(&new.security_requirements)),
        }
    }
}

impl OldScheme {
    fn into_new(self) -> proto::SecurityScheme {
        let text = Option::unwrap_or_default;
        let scheme = match self {
            Self::ApiKey { description, location, name } => Scheme::ApiKeySecurityScheme(proto::ApiKeySecurityScheme {
                description: text(description),
                location,
                name,
            }),
            Self::Http { description, scheme, bearer_format } => {
                Scheme::HttpAuthSecurityScheme(proto::HttpAuthSecurityScheme {
                    description: text(description),
                    scheme,
                    bearer_format: text(bearer_format),
                })
            }
            Self::OAuth2 { description, flows, oauth2_metadata_url } => {
                Scheme::Oauth2SecurityScheme(proto::OAuth2SecurityScheme {
                    description: text(description),
                    flows: Some(proto::OAuthFlows { flow: flows.into_new() }),
                    oauth2_metadata_url: text(oauth2_metadata_url),
                })
            }
            Self::OpenIdConnect { description, open_id_connect_url } => {
                Scheme::OpenIdConnectSecurityScheme(proto::OpenIdConnectSecurityScheme {
                    description: text(description),
                    open_id_connect_url,
                })
            }
            Self::MutualTls { description } => {
                Scheme::MtlsSecurityScheme(proto::MutualTlsSecurityScheme { description: text(description) })
            }
        };
        proto::SecurityScheme { scheme: Some(scheme) }
    }

    fn from_new(new: &proto::SecurityScheme) -> Result<Self, String> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Ok(match new.scheme.as_ref().ok_or("names no scheme")? {
            Scheme::ApiKeySecurityScheme(s) => {
                if !["query", "header", "cookie"].contains(&s.location.as_str()) {
                    return Err("location must be query, header or cookie".to_owned());
                }
                Self::ApiKey { description: text(&s.description), location: s.location.clone(), name: s.name.clone() }
            }
            Scheme::HttpAuthSecurityScheme(s) => Self::Http {
                description: text(&s.description),
                scheme: s.scheme.clone(),
                bearer_format: text(&s.bearer_format),
            },
            Scheme::Oauth2SecurityScheme(s) => Self::OAuth2 {
                description: text(&s.description),
                flows: Box::new(OldFlows::from_new(s.flows.as_ref().and_then(|flows| flows.flow.as_ref()))),
                oauth2_metadata_url: text(&s.oauth2_metadata_url),
            },
            Scheme::OpenIdConnectSecurityScheme(s) => Self::OpenIdConnect {
                description: text(&s.description),
                open_id_connect_url: s.open_id_connect_url.clone(),
            },
            Scheme::MtlsSecurityScheme(s) => Self::MutualTls { description: text(&s.description) },
        })
    }
}

impl OldFlows {
    /// 1.0 has room for one flow; as in the SDK, the last one wins.
    #[expect(deprecated, reason = "0.3 callers still use the implicit and password flows")]
    fn into_new(self) -> Option<Flow> {
        self.password
            .map(Flow::Password)
            .or(self.implicit.map(Flow::Implicit))
            .or(self.client_credentials.map(Flow::ClientCredentials))
            .or(self.authorization_code.map(Flow::AuthorizationCode))
    }

    #[expect(deprecated, reason = "as above")]
    fn from_new(flow: Option<&Flow>) -> Self {
        let mut flows = Self::default();
        match flow.cloned() {
            Some(Flow::AuthorizationCode(mut flow)) => {
                // 0.3 has no such member.
                flow.pkce_required = false;
                flows.authorization_code = Some(flow);
            }
            Some(Flow::ClientCredentials(flow)) => flows.client_credentials = Some(flow),
            Some(Flow::Implicit(flow)) => flows.implicit = Some(flow),
            Some(Flow::Password(flow)) => flows.password = Some(flow),
            Some(Flow::DeviceCode(_)) | None => {}
        }
        flows
    }
}
