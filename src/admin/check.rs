//! What keys, teams and groups must be like.

use super::{Actor, Admin, Scope};
use crate::call::AgentName;
use crate::error::{Error, Kind};
use crate::operation::Method;
use crate::proto::admin as api;
use crate::registry::unenforced;
use crate::store::Resource;

/// Agents of one list; for more there are tags.
const AGENTS_MAX: usize = 5_000;
/// Keys, teams or groups of one list, each of which is looked up.
const ROWS_MAX: usize = 1_000;

/// A text of one line.
///
/// # Errors
/// InvalidParams naming `field`.
pub(super) fn text(field: &str, text: &str, bytes_max: usize) -> Result<(), Error> {
    if text.len() > bytes_max || text.chars().any(char::is_control) || text.trim() != text {
        let rule = format!("must be at most {bytes_max} bytes on one line, without spaces around it");
        return Err(Error::invalid(field, rule));
    }
    Ok(())
}

/// Limits that would not hold are refused, for nobody should believe that they do.
///
/// # Errors
/// InvalidParams naming the limit.
pub(super) fn limits(field: &str, limits: Option<&api::Limits>) -> Result<(), Error> {
    let wrong = limits.and_then(|limits| unenforced(limits).into_iter().find(|(_, value)| *value > 0));
    match wrong {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::invalid(format!("{field}.{name}"), "is not enforced by this release: leave it out"))
        }
    }
}

/// Whether a key is long and varied enough not to be guessed.
pub(super) fn looks_random(secret: &str) -> bool {
    let mut characters: Vec<char> = secret.chars().collect();
    let length = characters.len();
    characters.sort_unstable();
    characters.dedup();
    length >= 32 && characters.len() >= 12
}

impl Admin {
    /// Checks grants, and writes agents and groups as their ids: a name may come to mean another one. What was granted
    /// before stays, though it may be gone by now.
    pub(super) async fn check_grants(
        &self,
        actor: &Actor,
        field: &str,
        grants: Option<&mut api::Grants>,
        before: Option<&api::Grants>,
    ) -> Result<(), Error> {
        let Some(grants) = grants else { return Ok(()) };
        let old = before.cloned().unwrap_or_default();
        self.agent_ids(actor, &format!("{field}.agents"), &mut grants.agents, &old.agents)?;
        if actor.scope == Scope::Own && grants.access_groups != old.access_groups {
            let message = format!("{field}.access_groups: only administrators may grant them");
            return Err(Error::new(Kind::PermissionDenied, message));
        }
        let groups = format!("{field}.access_groups");
        self.row_ids(Resource::AccessGroups, &groups, &mut grants.access_groups, &old.access_groups).await?;
        for (at, tag) in grants.tags.iter().enumerate() {
            text(&format!("{field}.tags[{at}]"), tag, 256)?;
        }
        for (at, name) in grants.operations.iter().enumerate() {
            if Method::by_name(name).is_none() {
                let rule = "is no operation of A2A: write names such as SendMessage and GetTask";
                return Err(Error::invalid(format!("{field}.operations[{at}]"), rule));
            }
        }
        Ok(())
    }

    /// Writes agents that the actor sees as their ids; those that were there `before` stay.
    pub(super) fn agent_ids(
        &self,
        actor: &Actor,
        field: &str,
        names: &mut [String],
        before: &[String],
    ) -> Result<(), Error> {
        bounded(field, names, AGENTS_MAX)?;
        for (at, name) in names.iter_mut().enumerate().filter(|(_, name)| !before.contains(name)) {
            let agent = self.gateway.agent(&AgentName(name.as_str().into()));
            let agent = agent.filter(|agent| self.sees(actor, agent));
            let agent = agent.ok_or_else(|| Error::invalid(format!("{field}[{at}]"), "is no agent here"))?;
            *name = agent.id.to_string();
        }
        Ok(())
    }

    /// Writes keys, teams or groups as their ids; those that were there `before` stay.
    pub(super) async fn row_ids(
        &self,
        resource: Resource,
        field: &str,
        names: &mut [String],
        before: &[String],
    ) -> Result<(), Error> {
        bounded(field, names, ROWS_MAX)?;
        for (at, name) in names.iter_mut().enumerate().filter(|(_, name)| !before.contains(name)) {
            // Keys are named by their hash too, as LiteLLM does.
            let of_hash = match resource {
                Resource::Keys if name.len() == 64 => self.store().key_id(name).await?,
                _ => None,
            };
            let row = self.store().find(resource, of_hash.as_deref().unwrap_or(name)).await?;
            let missing = || Error::invalid(format!("{field}[{at}]"), format!("is no {} here", resource.noun()));
            *name = row.ok_or_else(missing)?.id;
        }
        Ok(())
    }
}

fn bounded(field: &str, items: &[String], max: usize) -> Result<(), Error> {
    if items.len() > max {
        return Err(Error::invalid(field, format!("has more than {max} items")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_weak_keys() {
        assert!(looks_random("sk-Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3A"));
        for weak in ["sk-1234", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abcabcabcabcabcabcabcabcabcabcabcabcabc"] {
            assert!(!looks_random(weak), "{weak}");
        }
    }
}
