//! The members of a body as LiteLLM's users write them: loosely typed, mostly optional, many of them about models.

use serde_json::{Map, Value, json};

use crate::error::{Error, Kind};
use crate::proto::{Struct, admin as api};

/// One body, or an object inside it.
pub(in crate::admin) struct Fields<'a> {
    /// What stands before the members' names in messages: empty, or `litellm_params.`
    prefix: &'static str,
    members: &'a Map<String, Value>,
}

/// An object without members.
fn nothing<'a>() -> &'a Map<String, Value> {
    static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    &NOTHING
}

impl<'a> Fields<'a> {
    pub(in crate::admin) fn of(body: &'a Value) -> Result<Self, Error> {
        let members =
            body.as_object().ok_or_else(|| Error::new(Kind::InvalidParams, "the body must be a JSON object"))?;
        Ok(Self { prefix: "", members })
    }

    pub(in crate::admin) fn inner(&self, name: &str, prefix: &'static str) -> Fields<'a> {
        Fields { prefix, members: self.members.get(name).and_then(Value::as_object).unwrap_or_else(nothing) }
    }

    pub(in crate::admin) fn field(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The member if it is there and not null.
    pub(in crate::admin) fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    pub(in crate::admin) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        self.typed(name, "must be a text", |value| value.as_str().map(str::to_owned))
    }

    pub(in crate::admin) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.typed(name, "must be true or false", Value::as_bool)
    }

    pub(in crate::admin) fn number(&self, name: &str) -> Result<Option<f64>, Error> {
        self.typed(name, "must be a number that is not negative", |value| value.as_f64().filter(|n| *n >= 0.0))
    }

    pub(in crate::admin) fn count(&self, name: &str) -> Result<Option<u32>, Error> {
        // There, 0 lets nothing pass; here it would be no limit.
        let rule = "must be a whole number above 0; to let nothing pass, block it";
        self.typed(name, rule, |value| value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0))
    }

    pub(in crate::admin) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        self.typed(name, "must be a list of texts", |value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        })
    }

    /// The entries of an object of texts.
    pub(in crate::admin) fn pairs(&self, name: &str) -> Result<Option<Vec<(String, String)>>, Error> {
        self.typed(name, "must be an object of texts", |value| {
            let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            value.as_object()?.iter().map(pair).collect()
        })
    }

    pub(in crate::admin) fn typed<T>(
        &self,
        name: &str,
        rule: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| Error::invalid(self.field(name), rule))
    }

    /// Refuses members that restrict something in LiteLLM and nothing here.
    pub(in crate::admin) fn refuse(&self, names: &[&str]) -> Result<(), Error> {
        for name in names {
            if self.get(name).is_some_and(restricts) {
                let rule = "restricts in LiteLLM and is not enforced by this release: leave it out, knowing that it does not hold";
                return Err(Error::invalid(self.field(name), rule));
            }
        }
        Ok(())
    }
}

/// False, empty and zero-less values restrict nothing.
fn restricts(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => members.values().any(restricts),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// The fields that a body says something of: a null says nothing.
pub(super) fn said(body: &Value, written: &[(&str, &str)]) -> Vec<String> {
    let is_said = |name: &str| {
        let place = format!("/{}", name.replace('.', "/"));
        body.pointer(&place).is_some_and(|value| !value.is_null())
    };
    let paths = written.iter().filter(|(theirs, _)| is_said(theirs)).map(|(_, ours)| (*ours).to_owned());
    paths.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// What `object_permission` grants here; none if it says nothing of agents.
pub(super) fn grants(body: &Fields<'_>) -> Result<Option<api::Grants>, Error> {
    let permission = body.inner("object_permission", "object_permission.");
    let (agents, groups) = (permission.texts("agents")?, permission.texts("agent_access_groups")?);
    let own_groups = body.texts("access_group_ids")?;
    if agents.is_none() && groups.is_none() && own_groups.is_none() {
        return Ok(None);
    }
    let groups = groups.into_iter().chain(own_groups).flatten().collect();
    Ok(Some(api::Grants { agents: agents.unwrap_or_default(), access_groups: groups, ..Default::default() }))
}

/// What is enforced of a body's limits.
pub(super) fn limits(body: &Fields<'_>) -> Result<Option<api::Limits>, Error> {
    body.refuse(&[
        "tpm_limit",
        "tpd_limit",
        "max_budget",
        "soft_budget",
        "budget_duration",
        "budget_limits",
        "guardrails",
    ])?;
    let (rpm, calls) = (body.count("rpm_limit")?, body.count("max_parallel_requests")?);
    if rpm.is_none() && calls.is_none() {
        return Ok(None);
    }
    Ok(Some(api::Limits {
        requests_per_minute_max: rpm.unwrap_or(0),
        calls_max: calls.unwrap_or(0),
        ..Default::default()
    }))
}

/// An object to keep, such as `metadata`.
pub(super) fn metadata(body: &Fields<'_>) -> Result<Option<Struct>, Error> {
    body.typed("metadata", "must be an object", |value| serde_json::from_value(value.clone()).ok())
}

/// A limit as LiteLLM shows it: null for none.
pub(super) fn shown(limit: u32) -> Value {
    if limit == 0 { Value::Null } else { json!(limit) }
}

/// Grants as LiteLLM shows them.
pub(super) fn permission(grants: Option<&api::Grants>) -> Value {
    let Some(grants) = grants.filter(|grants| !grants.all_agents) else { return Value::Null };
    json!({ "agents": grants.agents, "agent_access_groups": grants.access_groups })
}

/// A time as LiteLLM shows it.
pub(super) fn time(time: Option<&crate::proto::Timestamp>) -> Value {
    time.map_or(Value::Null, |time| serde_json::to_value(time).unwrap_or_default())
}

/// `30s`, `5m`, `24h`, `30d`, `2w` or `1mo` in seconds.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "mo" => 2_592_000,
        _ => return None,
    };
    amount.parse::<i64>().ok()?.checked_mul(unit).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        assert_eq!(seconds("30d"), Some(2_592_000));
        assert_eq!(seconds("90s"), Some(90));
        for wrong in ["", "d", "30", "-1d", "0h", "1y", "99999999999999999999d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn refuses_by_name_what_would_not_hold() {
        let body = json!({ "max_budget": 5, "tpm_limit": null, "guardrails": [] });
        let error = limits(&Fields::of(&body).unwrap()).unwrap_err();
        assert_eq!(error.violations()[0].field, "max_budget");
        assert!(limits(&Fields::of(&json!({ "guardrails": [], "budget_limits": null })).unwrap()).unwrap().is_none());
    }
}
