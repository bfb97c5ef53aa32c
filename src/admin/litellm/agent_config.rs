//! LiteLLM's AgentConfig, to and from an agent of the admin API. What it says of LiteLLM alone is kept beside it and shown
//! again; what it restricts is enforced, or refused by name.

use serde_json::{Value, json};

use super::fields::Fields;
use crate::error::Error;
use crate::proto::{Struct, Value as ProtoValue, admin as api, value::Kind as ValueKind};

/// Where LiteLLM's own members are kept, so that they are shown as they were written.
const KEPT: &str = "litellm";
/// Providers whose agents speak A2A themselves.
const A2A_PROVIDERS: [&str; 2] = ["a2a", "a2a_agent"];

/// An agent as the admin API has it, from LiteLLM's AgentConfig.
pub(super) fn agent_of(body: &Fields<'_>, whole: &Value) -> Result<api::Agent, Error> {
    body.refuse(&crate::config::RESTRICTING)?;
    if body.text("execution_mode")?.is_some_and(|mode| mode != "autonomous") {
        return Err(Error::invalid(
            "execution_mode",
            "must be autonomous: the others need identities, which this release has not",
        ));
    }
    let (card, params) =
        (body.inner("agent_card_params", "agent_card_params."), body.inner("litellm_params", "litellm_params."));
    params.refuse(&crate::config::RESTRICTING)?;
    if let Some(provider) = params.text("custom_llm_provider")?.filter(|known| !A2A_PROVIDERS.contains(&known.as_str()))
    {
        let rule = format!("{provider} agents are not supported by this release, only agents that speak A2A are");
        return Err(Error::invalid("litellm_params.custom_llm_provider", rule));
    }
    let name = body.text("agent_name")?.ok_or_else(|| Error::invalid("agent_name", "is required"))?;
    let url = card
        .text("url")?
        .ok_or_else(|| Error::invalid("agent_card_params.url", "is required: the agent is called there"))?;
    let card_url = params
        .text("agent_card_path")?
        .map(|path| format!("{}/{}", url.trim_end_matches('/'), path.trim_start_matches('/')));
    let endpoint = api::Endpoint {
        url,
        weight: 1,
        protocol_version: version(&params, "a2a_protocol_version")?,
        headers: body.pairs("static_headers")?.unwrap_or_default().into_iter().collect(),
        // Not LiteLLM's: it sends credentials anywhere.
        allow_plaintext: body.flag("allow_plaintext")?.unwrap_or(false),
        ..Default::default()
    };
    Ok(api::Agent {
        name,
        description: card.text("description")?.unwrap_or_default(),
        endpoints: vec![endpoint],
        card_url: card_url.unwrap_or_default(),
        serve_version: version(&card, "protocolVersion")?,
        forward_headers: body.texts("extra_headers")?.unwrap_or_default(),
        enabled: Some(body.flag("enabled")?.unwrap_or(true)),
        public: params.flag("is_public")?.unwrap_or(false),
        limits: body
            .count("rpm_limit")?
            .filter(|rpm| *rpm > 0)
            .map(|rpm| api::Limits { requests_per_minute_max: rpm, ..Default::default() }),
        prices: prices(&params)?,
        access_groups: body.texts("access_group_ids")?.unwrap_or_default(),
        metadata: Some(kept(whole)),
        ..Default::default()
    })
}

/// A version of A2A: `0.3` and `1.0`, with a patch level or without.
fn version(fields: &Fields<'_>, name: &str) -> Result<String, Error> {
    let Some(text) = fields.text(name)? else { return Ok(String::new()) };
    match text.splitn(3, '.').take(2).collect::<Vec<_>>()[..] {
        ["0", "3"] => Ok("0.3".to_owned()),
        ["1", "0"] => Ok("1.0".to_owned()),
        _ => Err(Error::invalid(fields.field(name), "must be 0.3 or 1.0")),
    }
}

fn prices(params: &Fields<'_>) -> Result<Option<api::Prices>, Error> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and casts saturate")]
    let micros = |cost: Option<f64>, units: f64| (cost.unwrap_or(0.0) * units * 1e6).round() as u64;
    let prices = api::Prices {
        call_micros: micros(params.number("cost_per_query")?, 1.0),
        input_tokens_micros: micros(params.number("input_cost_per_token")?, 1e6),
        output_tokens_micros: micros(params.number("output_cost_per_token")?, 1e6),
    };
    Ok((prices != api::Prices::default()).then_some(prices))
}

/// Members of `litellm_params` that are no secrets; of any other, only that it is there.
const HARMLESS: [&str; 14] = [
    "a2a_protocol_version",
    "agent_card_path",
    "api_base",
    "cost_per_query",
    "custom_llm_provider",
    "input_cost_per_token",
    "is_public",
    "max_budget_per_session",
    "max_iterations",
    "model",
    "output_cost_per_token",
    "require_trace_id_on_calls_by_agent",
    "require_trace_id_on_calls_to_agent",
    "timeout",
];

/// What is kept and shown of LiteLLM's own members.
fn kept(whole: &Value) -> Struct {
    let mut kept =
        json!({ "agent_card_params": whole["agent_card_params"], "litellm_params": whole["litellm_params"] });
    if let Some(params) = kept["litellm_params"].as_object_mut() {
        for (name, value) in params.iter_mut() {
            if !HARMLESS.contains(&name.as_str()) || value.is_object() || value.is_array() {
                *value = crate::registry::REDACTED.into();
            }
        }
    }
    serde_json::from_value(json!({ KEPT: kept })).unwrap_or_default()
}

/// The fields that LiteLLM's body can say.
pub(super) fn every_path() -> Vec<String> {
    let paths = WRITTEN.iter().flat_map(|(_, paths)| paths.iter());
    let paths: std::collections::BTreeSet<&str> = paths.copied().collect();
    paths.into_iter().map(str::to_owned).collect()
}

/// The fields that this body says something of.
pub(super) fn paths_of(body: &Value) -> Vec<String> {
    let is_said = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    let said = WRITTEN.iter().filter(|(name, _)| is_said(name)).flat_map(|(_, paths)| paths.iter());
    let said: std::collections::BTreeSet<&str> = said.copied().collect();
    said.into_iter().map(str::to_owned).collect()
}

/// LiteLLM's members, and the fields that each is.
const WRITTEN: [(&str, &[&str]); 9] = [
    ("agent_name", &["name"]),
    ("agent_card_params", &["description", "endpoints", "card_url", "serve_version", "metadata"]),
    ("litellm_params", &["endpoints", "card_url", "public", "prices", "metadata"]),
    ("static_headers", &["endpoints"]),
    ("allow_plaintext", &["endpoints"]),
    ("extra_headers", &["forward_headers"]),
    ("access_group_ids", &["access_groups"]),
    ("enabled", &["enabled"]),
    ("rpm_limit", &["limits.requests_per_minute_max"]),
];

/// What LiteLLM's body cannot say of an endpoint or of metadata, as it was.
pub(super) fn with_the_rest(patch: &mut api::Agent, before: &api::Agent, body: &Value) {
    let says_plaintext = body.get("allow_plaintext").is_some_and(Value::is_boolean);
    if let (Some(endpoint), Some(known)) = (patch.endpoints.first_mut(), before.endpoints.first()) {
        endpoint.bindings.clone_from(&known.bindings);
        endpoint.weight = known.weight;
        if !says_plaintext && endpoint.url == known.url {
            endpoint.allow_plaintext = known.allow_plaintext;
        }
    }
    patch.endpoints.extend(before.endpoints.iter().skip(1).cloned());
    if let (Some(metadata), Some(known)) = (&mut patch.metadata, &before.metadata) {
        for (name, value) in known.fields.iter().filter(|(name, _)| *name != KEPT) {
            metadata.fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// The body that LiteLLM's PATCH means: what is there, with what the patch says over it.
pub(super) fn merged(about: &api::Agent, patch: Value) -> Value {
    let endpoint = about.endpoints.first().cloned().unwrap_or_default();
    let version = Some(endpoint.protocol_version).filter(|version| !version.is_empty());
    let mut body = json!({
        "agent_card_params": kept_member(about, "agent_card_params"),
        "litellm_params": kept_member(about, "litellm_params"),
    });
    for own in ["agent_card_params", "litellm_params"] {
        if !body[own].is_object() {
            body[own] = json!({});
        }
    }
    // What is kept is what was written once; what is in force may have been written since, by other ways.
    let now = json!({
        "agent_name": about.name,
        "agent_card_params": { "url": endpoint.url, "description": about.description },
        "litellm_params": { "is_public": about.public, "a2a_protocol_version": version },
        "static_headers": endpoint.headers,
        "extra_headers": about.forward_headers,
        "access_group_ids": about.access_groups,
        "enabled": about.enabled,
        "rpm_limit": about.limits.map(|limits| limits.requests_per_minute_max).filter(|max| *max > 0),
    });
    over(&mut body, now);
    over(&mut body, patch);
    body
}

/// Lays one object over another; a null says nothing.
fn over(target: &mut Value, patch: Value) {
    match (target.as_object_mut(), patch) {
        (Some(target), Value::Object(patch)) => {
            for (name, value) in patch.into_iter().filter(|(_, value)| !value.is_null()) {
                // A card's skills are one value; the two objects of LiteLLM's are merged member by member.
                match target
                    .get_mut(&name)
                    .filter(|known| known.is_object() && value.is_object() && name.ends_with("_params"))
                {
                    Some(known) => over(known, value),
                    None => drop(target.insert(name, value)),
                }
            }
        }
        (_, Value::Null) => {}
        (_, patch) => *target = patch,
    }
}

pub(super) fn kept_member(about: &api::Agent, name: &str) -> Value {
    let kept = about.metadata.as_ref().and_then(|metadata| metadata.fields.get(KEPT));
    let Some(ProtoValue { kind: Some(ValueKind::StructValue(kept)) }) = kept else { return Value::Null };
    kept.fields.get(name).map_or(Value::Null, |value| serde_json::to_value(value).unwrap_or_default())
}
