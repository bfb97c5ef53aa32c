//! Agent cards: reading what agents publish, and writing ours in its place (A2A 8, and 5 in 0.3).
//!
//! A card is data from a semi-trusted party. What callers get is rebuilt from its typed form: our interfaces in
//! place of the agent's, our security scheme, no signature (it would not verify), text bounded and cleaned of
//! control characters. So no upstream address can leak through a member that somebody forgot.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem;
use super::v0_3::{self, ConvertError};
use crate::operation::Version;
use crate::proto;

mod withhold;

/// The most skills that are read from a card.
const SKILLS_MAX: usize = 256;
/// The most entries of any other list of a card.
const LIST_MAX: usize = 64;
/// The longest text of a card, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Why a card cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct CardError {
    pub field: String,
    pub problem: String,
}

impl From<ConvertError> for CardError {
    fn from(error: ConvertError) -> Self {
        Self { field: error.field, problem: error.problem }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sniff<'a> {
    #[serde(borrow, default)]
    supported_interfaces: Option<&'a RawValue>,
}

/// Reads a card in either form: 1.0 if it lists interfaces, else 0.3.
///
/// # Errors
/// What is wrong with it, for the operator's log.
pub fn read(json: &[u8]) -> Result<proto::AgentCard, CardError> {
    let broken = |error: serde_json::Error| CardError { field: "card".into(), problem: problem::of(&error) };
    let sniff: Sniff<'_> = serde_json::from_slice(json).map_err(broken)?;
    let lists_interfaces = sniff.supported_interfaces.is_some_and(|list| !matches!(list.get(), "null" | "[]"));
    let mut card =
        if lists_interfaces { serde_json::from_slice(json).map_err(broken)? } else { v0_3::card_from_v0_3(json)? };
    clean(&mut card);
    Ok(card)
}

/// The card of an agent whose own cannot be read: true, and little.
pub fn synthesised(name: &str, description: &str) -> proto::AgentCard {
    proto::AgentCard {
        name: name.to_owned(),
        description: description.to_owned(),
        version: "0".to_owned(),
        capabilities: Some(proto::AgentCapabilities { streaming: Some(true), ..Default::default() }),
        default_input_modes: vec!["text/plain".to_owned()],
        default_output_modes: vec!["text/plain".to_owned()],
        ..Default::default()
    }
}

/// What we serve an agent as.
#[derive(Clone, Debug)]
pub struct Face {
    /// Where its JSON-RPC and HTTP+JSON doors are, as callers reach them.
    pub url: String,
    /// Host and port of the gRPC door, which is the same for all agents.
    pub grpc: String,
    /// What gRPC callers send as the tenant, to name the agent.
    pub tenant: String,
    /// Host and port at which a gRPC caller who cannot name the agent, as in 0.3, reaches it all the same.
    pub grpc_v0_3: Option<String>,
    /// The only version to offer; both when none.
    pub pinned: Option<Version>,
    /// Host and port at which the agent is registered, which no text of its card may tell.
    pub upstream: String,
}

/// An agent's card as ours: what it is and can do is the agent's, how to reach it is ours.
pub fn rewritten(card: &proto::AgentCard, face: &Face) -> proto::AgentCard {
    let scheme = proto::security_scheme::Scheme::HttpAuthSecurityScheme(proto::HttpAuthSecurityScheme {
        description: "A key of this gateway.".to_owned(),
        scheme: "bearer".to_owned(),
        bearer_format: String::new(),
    });
    let requirement =
        proto::SecurityRequirement { schemes: [("bearer".to_owned(), proto::StringList::default())].into() };
    let mut ours = card.clone();
    ours.supported_interfaces = interfaces(face);
    ours.security_schemes = [("bearer".to_owned(), proto::SecurityScheme { scheme: Some(scheme) })].into();
    ours.security_requirements = vec![requirement];
    ours.signatures.clear();
    // An agent that cannot stream is asked until it has something new to tell.
    ours.capabilities.get_or_insert_default().streaming = Some(true);
    for skill in &mut ours.skills {
        skill.security_requirements.clear();
    }
    withhold::addresses(&mut ours, card, &face.upstream);
    ours
}

/// Every door that we serve, 1.0 before 0.3: clients that take the first one take the better one.
fn interfaces(face: &Face) -> Vec<proto::AgentInterface> {
    let door = |binding: &str, url: &String, tenant: &str, version: Version| proto::AgentInterface {
        url: url.clone(),
        protocol_binding: binding.to_owned(),
        tenant: tenant.to_owned(),
        protocol_version: version.as_str().to_owned(),
    };
    let mut doors = vec![
        door("JSONRPC", &face.url, "", Version::V1_0),
        door("HTTP+JSON", &face.url, "", Version::V1_0),
        door("GRPC", &face.grpc, &face.tenant, Version::V1_0),
        door("JSONRPC", &face.url, "", Version::V0_3),
        door("HTTP+JSON", &face.url, "", Version::V0_3),
    ];
    doors.extend(face.grpc_v0_3.as_ref().map(|address| door("GRPC", address, "", Version::V0_3)));
    doors.retain(|door| face.pinned.is_none_or(|pinned| pinned.as_str() == door.protocol_version));
    doors
}

/// A rewritten card as 1.0 clients read it.
pub fn write_v1(card: &proto::AgentCard) -> Vec<u8> {
    serde_json::to_vec(card).expect("a card without timestamps serializes")
}

/// A rewritten card that 0.3 and 1.x clients both read: 1.0's members and 0.3's in one object, and security
/// schemes in both spellings (`wire` facts: verified with the Python and JavaScript SDKs of both generations).
///
/// # Errors
/// A card without a 0.3 interface.
pub fn write_hybrid(card: &proto::AgentCard) -> Result<Vec<u8>, CardError> {
    let old = v0_3::card_to_v0_3(card)?;
    let old: serde_json::Map<String, serde_json::Value> = serde_json::from_str(old.get()).expect("an object");
    let new = serde_json::to_value(card).expect("a card serializes");
    let serde_json::Value::Object(mut hybrid) = new else { unreachable!("a card is an object") };
    for (name, value) in old {
        match (name.as_str(), hybrid.get_mut(&name)) {
            ("securitySchemes", Some(serde_json::Value::Object(schemes))) => merge_schemes(schemes, value),
            (_, Some(_)) => {}
            (_, None) => {
                hybrid.insert(name, value);
            }
        }
    }
    Ok(serde_json::to_vec(&hybrid).expect("JSON serializes"))
}

/// A card as 0.3 has it, with security schemes in both spellings: of HTTP+JSON's readers, some know its JSON form and
/// some that of protobuf.
///
/// # Errors
/// A card without a 0.3 interface.
pub fn write_v0_3(card: &proto::AgentCard) -> Result<Vec<u8>, ConvertError> {
    let old = v0_3::card_to_v0_3(card)?;
    let mut old: serde_json::Map<String, serde_json::Value> = serde_json::from_str(old.get()).expect("an object");
    let new = serde_json::to_value(&card.security_schemes).expect("schemes serialize");
    if let Some(serde_json::Value::Object(schemes)) = old.get_mut("securitySchemes") {
        merge_schemes(schemes, new);
    }
    Ok(serde_json::to_vec(&old).expect("JSON serializes"))
}

fn merge_schemes(schemes: &mut serde_json::Map<String, serde_json::Value>, old: serde_json::Value) {
    let serde_json::Value::Object(old) = old else { return };
    for (name, members) in old {
        if let (Some(serde_json::Value::Object(scheme)), serde_json::Value::Object(members)) =
            (schemes.get_mut(&name), members)
        {
            scheme.extend(members);
        }
    }
}

/// Bounds and cleans the text of a card: its words are data from a semi-trusted party.
pub fn clean(card: &mut proto::AgentCard) {
    for text in [&mut card.name, &mut card.description, &mut card.version] {
        clean_text(text);
    }
    card.documentation_url = card.documentation_url.take().filter(|url| is_web(url));
    card.icon_url = card.icon_url.take().filter(|url| is_web(url));
    if let Some(provider) = &mut card.provider {
        clean_text(&mut provider.organization);
        if !is_web(&provider.url) {
            provider.url.clear();
        }
    }
    clean_list(&mut card.default_input_modes);
    clean_list(&mut card.default_output_modes);
    card.supported_interfaces.truncate(LIST_MAX);
    card.skills.truncate(SKILLS_MAX);
    for skill in &mut card.skills {
        for text in [&mut skill.id, &mut skill.name, &mut skill.description] {
            clean_text(text);
        }
        for list in [&mut skill.tags, &mut skill.examples, &mut skill.input_modes, &mut skill.output_modes] {
            clean_list(list);
        }
    }
    if let Some(capabilities) = &mut card.capabilities {
        capabilities.extensions.truncate(LIST_MAX);
        for extension in &mut capabilities.extensions {
            clean_text(&mut extension.uri);
            clean_text(&mut extension.description);
        }
    }
}

fn clean_list(list: &mut Vec<String>) {
    list.truncate(LIST_MAX);
    list.iter_mut().for_each(clean_text);
}

fn clean_text(text: &mut String) {
    text.retain(|c| !c.is_control() || c == '\n' || c == '\t');
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

fn is_web(url: &str) -> bool {
    url.len() <= TEXT_BYTES_MAX && (url.starts_with("https://") || url.starts_with("http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"protocolVersion":"0.3.0","name":"a\u0007b","description":"ask 10.0.0.1","url":"http://10.0.0.1/rpc","version":"1",
        "additionalInterfaces":[{"url":"http://10.0.0.1/rest","transport":"HTTP+JSON"}],"capabilities":{"streaming":true,"extensions":[{"uri":"https://e","params":{"at":"http://10.0.0.1/x"}}]},"documentationUrl":"http://10.0.0.1/docs",
        "defaultInputModes":["text/plain"],"defaultOutputModes":["text/plain"],"iconUrl":"javascript:alert(1)",
        "skills":[{"id":"s","name":"s","description":"d","tags":["t"]}],"signatures":[{"protected":"a","signature":"b"}],
        "securitySchemes":{"k":{"type":"apiKey","in":"header","name":"x"}},"security":[{"k":[]}]}"#;

    /// What callers see of it.
    fn ours() -> proto::AgentCard {
        rewritten(&read(OLD.as_bytes()).unwrap(), &Face { upstream: "10.0.0.1".into(), ..face() })
    }

    fn face() -> Face {
        Face {
            url: "https://gw/a2a/echo".into(),
            grpc: "gw:443".into(),
            tenant: "echo".into(),
            grpc_v0_3: None,
            pinned: None,
            upstream: String::new(),
        }
    }

    #[test]
    fn rewrites_a_card_so_that_no_upstream_address_is_left() {
        let ours = ours();
        for written in [write_v1(&ours), write_hybrid(&ours).unwrap()] {
            let text = String::from_utf8(written).unwrap();
            assert!(!text.contains("10.0.0.1") && !text.contains("javascript") && !text.contains("apiKey"), "{text}");
            assert!(text.contains("https://gw/a2a/echo") && text.contains(r#""name":"ab""#), "{text}");
        }
    }

    #[test]
    fn writes_one_card_for_both_generations_of_clients() {
        let ours = ours();
        let hybrid: serde_json::Value = serde_json::from_slice(&write_hybrid(&ours).unwrap()).unwrap();
        assert_eq!(hybrid["url"], "https://gw/a2a/echo");
        assert_eq!(hybrid["protocolVersion"], "0.3");
        assert_eq!(hybrid["supportedInterfaces"][0]["protocolVersion"], "1.0");
        assert_eq!(hybrid["securitySchemes"]["bearer"]["type"], "http");
        assert_eq!(hybrid["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"], "bearer");
        assert_eq!(hybrid["security"][0]["bearer"], serde_json::json!([]));
        assert_eq!(hybrid["signatures"], serde_json::Value::Null);
    }

    #[test]
    fn withholds_addresses_and_not_words() {
        let mut theirs = synthesised("agent", "This agent asks http://agent/docs and 10.0.0.1:80 for help.");
        theirs.supported_interfaces =
            vec![proto::AgentInterface { url: "http://agent/rpc".into(), ..Default::default() }];
        let ours = rewritten(&theirs, &Face { upstream: "10.0.0.1:80".into(), ..face() });
        assert_eq!(ours.name, "agent");
        assert_eq!(ours.description, "This agent asks http(address withheld)/docs and (address withheld) for help.");
    }

    #[test]
    fn withholds_addresses_in_every_member() {
        const A: &str = "x 10.0.0.1:80 y";
        let card = format!(
            r#"{{"name":"{A}","description":"{A}","version":"{A}","url":"http://10.0.0.1:80/","protocolVersion":"0.3.0",
            "documentationUrl":"http://10.0.0.1:80/","iconUrl":"http://10.0.0.1:80/",
            "provider":{{"organization":"{A}","url":"http://10.0.0.1:80/"}},
            "capabilities":{{"extensions":[{{"uri":"http://10.0.0.1:80/e"}},
                {{"uri":"urn:e","description":"{A}","params":{{"{A}":1,"a":["{A}",{{"b":"{A}"}}]}}}}]}},
            "defaultInputModes":["{A}"],"defaultOutputModes":["{A}"],
            "skills":[{{"id":"{A}","name":"{A}","description":"{A}","tags":["{A}"],"examples":["{A}"],
                "inputModes":["{A}"],"outputModes":["{A}"]}}]}}"#
        );
        let face = Face { upstream: "10.0.0.1:80".into(), ..face() };
        let ours = rewritten(&read(card.as_bytes()).unwrap(), &face);
        let text = String::from_utf8(write_v1(&ours)).unwrap();
        assert!(!text.contains("10.0.0.1"), "{text}");
        assert_eq!(text.matches("x (address withheld) y").count(), 16, "{text}");
        assert_eq!(ours.capabilities.unwrap().extensions.len(), 1, "another URI is another extension");
    }

    #[test]
    fn offers_only_the_pinned_version() {
        let card = synthesised("echo", "d");
        let pinned = |version| rewritten(&card, &Face { pinned: Some(version), ..face() });
        assert_eq!(pinned(Version::V1_0).supported_interfaces.len(), 3);
        assert!(write_hybrid(&pinned(Version::V1_0)).is_err());
        let old: serde_json::Value = serde_json::from_slice(&write_hybrid(&pinned(Version::V0_3)).unwrap()).unwrap();
        assert_eq!(old["supportedInterfaces"][0]["protocolVersion"], "0.3");
    }
}
