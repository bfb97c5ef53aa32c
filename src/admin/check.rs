//! What keys, teams and groups must be like.

use super::Admin;
use crate::call::AgentName;
use crate::error::Error;
use crate::operation::Method;
use crate::proto::admin as api;
use crate::registry::unenforced;
use crate::store::Resource;

/// Items of one list.
const ITEMS_MAX: usize = 10_000;

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
    /// Checks grants, and writes agents and groups as their ids: a name may come to mean another one.
    pub(super) async fn check_grants(&self, field: &str, grants: Option<&mut api::Grants>) -> Result<(), Error> {
        let Some(grants) = grants else { return Ok(()) };
        self.agent_ids(&format!("{field}.agents"), &mut grants.agents)?;
        self.row_ids(Resource::AccessGroups, &format!("{field}.access_groups"), &mut grants.access_groups).await?;
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

    /// Writes agents as their ids.
    pub(super) fn agent_ids(&self, field: &str, names: &mut [String]) -> Result<(), Error> {
        bounded(field, names)?;
        for (at, name) in names.iter_mut().enumerate() {
            let agent = self.gateway.agent(&AgentName(name.as_str().into()));
            let agent = agent.ok_or_else(|| Error::invalid(format!("{field}[{at}]"), "is no agent here"))?;
            *name = agent.id.to_string();
        }
        Ok(())
    }

    /// Writes keys, teams or groups as their ids.
    pub(super) async fn row_ids(&self, resource: Resource, field: &str, names: &mut [String]) -> Result<(), Error> {
        bounded(field, names)?;
        for (at, name) in names.iter_mut().enumerate() {
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

fn bounded(field: &str, items: &[String]) -> Result<(), Error> {
    if items.len() > ITEMS_MAX {
        return Err(Error::invalid(field, format!("has more than {ITEMS_MAX} items")));
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
