//! Who calls, and what they may: decided on headers, before a byte of the body is read.
//!
//! Closed by default: no key, no access, and an agent that a caller may not call does not exist for it. The
//! decision is a value: routing and upstreams take a [`Permitted`], which only this module can make.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::call::{AgentName, Call, Caller, KeyId};
use crate::config::{Granted, Secret, Settings};
use crate::error::{Error, Kind};
use crate::registry::{Agent, Registry};

/// Where a caller may present its key; all that are there must be the same one.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-litellm-api-key"];

/// The keys of one configuration and what they may.
#[derive(Debug)]
pub struct Access {
    keys: HashMap<[u8; 32], Key>,
    grants: HashMap<KeyId, Granted>,
}

#[derive(Debug)]
struct Key {
    digest: [u8; 32],
    caller: Caller,
}

/// Proof that this caller may make this call on this agent.
#[derive(Debug)]
pub struct Permitted<'a> {
    call: &'a Call,
    agent: &'a Arc<Agent>,
}

impl<'a> Permitted<'a> {
    pub fn call(&self) -> &'a Call {
        self.call
    }

    pub fn agent(&self) -> &'a Arc<Agent> {
        self.agent
    }
}

impl Access {
    pub fn new(settings: &Settings) -> Self {
        let mut access = Self { keys: HashMap::new(), grants: HashMap::new() };
        if let Some(master) = &settings.master_key {
            access.add("master", master, Granted::All);
        }
        for key in &settings.keys {
            access.add(&key.name, &key.key, key.agents.clone());
        }
        access
    }

    fn add(&mut self, name: &str, secret: &Secret, granted: Granted) {
        let digest: [u8; 32] = Sha256::digest(secret.expose().as_bytes()).into();
        // From the name, not from the secret: it stays when the secret is rotated, and logs tell nothing of the secret.
        let of_name = Sha256::digest(name.as_bytes());
        let short: String = of_name.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let caller = Caller { key: KeyId(format!("key_{short}").into()), name: name.into() };
        self.grants.insert(caller.key.clone(), granted);
        self.keys.insert(digest, Key { digest, caller });
    }

    /// The caller whose credentials `headers` carry.
    ///
    /// # Errors
    /// Unauthenticated when there are none, when one is unknown, when two differ, and when a header is repeated.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let refuse = |message: &str| Err(Error::new(Kind::Unauthenticated, message));
        let mut found: Option<&Caller> = None;
        for presented in presented(headers)? {
            match self.lookup(presented) {
                None => return refuse("the key is not known here"),
                Some(caller) if found.is_some_and(|other| other != caller) => {
                    return refuse("the credentials in the headers belong to different callers: send one");
                }
                Some(caller) => found = Some(caller),
            }
        }
        match found {
            Some(caller) => Ok(caller.clone()),
            None => refuse("no key: send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`"),
        }
    }

    /// Looking up by digest leaks nothing of the key; the comparison is constant-time all the same.
    fn lookup(&self, presented: &str) -> Option<&Caller> {
        let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let key = self.keys.get(&digest)?;
        bool::from(key.digest.ct_eq(&digest)).then_some(&key.caller)
    }

    /// Whether `caller` may call `agent`, and so whether the agent exists for it.
    pub fn may_call(&self, caller: &Caller, agent: &Agent) -> bool {
        match self.grants.get(&caller.key) {
            Some(Granted::All) => true,
            Some(Granted::Named(names)) => names.iter().any(|name| agent.is_called(name)),
            None => false,
        }
    }

    /// The agent that `name` means to `caller`.
    ///
    /// # Errors
    /// AgentNotFound, with the same words for one that is absent and one that the caller may not see.
    pub fn visible<'r>(
        &self,
        registry: &'r Registry,
        caller: &Caller,
        name: &AgentName,
    ) -> Result<&'r Arc<Agent>, Error> {
        let agent = registry.find(name).filter(|agent| self.may_call(caller, agent));
        agent.ok_or_else(|| {
            let shown: String = name.0.chars().filter(|c| !c.is_control()).take(63).collect();
            Error::new(
                Kind::AgentNotFound,
                format!("there is no agent {shown:?} for this key: GET /v1/agents lists those there are"),
            )
        })
    }

    /// Lets `call` go to the agent that it names.
    ///
    /// # Errors
    /// AgentNotFound, as for an agent that does not exist.
    pub fn permit<'a>(&self, registry: &'a Registry, call: &'a Call) -> Result<Permitted<'a>, Error> {
        let agent = self.visible(registry, &call.caller, &call.agent)?;
        Ok(Permitted { call, agent })
    }
}

/// Every key that the headers carry.
fn presented(headers: &HeaderMap) -> Result<Vec<&str>, Error> {
    let refuse = |message: String| Err(Error::new(Kind::Unauthenticated, message));
    let mut keys = Vec::with_capacity(1);
    for name in KEY_HEADERS.into_iter().chain([AUTHORIZATION.as_str()]) {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return refuse(format!("the header {name} is repeated"));
        }
        let text = value.to_str().unwrap_or_default().trim();
        let key = if name == AUTHORIZATION.as_str() {
            let scheme = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            match scheme {
                Some((_, key)) => key.trim(),
                None => return refuse("the Authorization header is not of the form `Bearer KEY`".to_owned()),
            }
        } else {
            // LiteLLM's header may carry the scheme too.
            text.strip_prefix("Bearer ").unwrap_or(text)
        };
        if key.is_empty() {
            return refuse(format!("the header {name} has no key in it"));
        }
        keys.push(key);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> (Access, Registry) {
        let text = "master_key: sk-master\nkeys:\n- {name: alice, key: sk-alice, agents: [echo]}\n- {name: bob, key: sk-bob, agents: []}\nagents:\n- {name: echo, url: 'http://h', aliases: [e]}\n- {name: other, url: 'http://h'}";
        let settings = crate::config::parse(text, &|_| None).unwrap();
        (Access::new(&settings), Registry::new(&settings))
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn knows_a_key_by_any_of_its_headers() {
        let (access, _) = access();
        for carried in [
            vec![("authorization", "Bearer sk-alice")],
            vec![("authorization", "bearer  sk-alice")],
            vec![("x-api-key", "sk-alice")],
            vec![("x-litellm-api-key", "Bearer sk-alice")],
            vec![("x-litellm-api-key", "sk-alice"), ("authorization", "Bearer sk-alice")],
        ] {
            assert_eq!(&*access.identify(&headers(&carried)).unwrap().name, "alice", "{carried:?}");
        }
    }

    #[test]
    fn refuses_missing_unknown_repeated_and_disagreeing_keys() {
        let (access, _) = access();
        for carried in [
            vec![],
            vec![("authorization", "Bearer sk-nobody")],
            vec![("authorization", "Basic sk-alice")],
            vec![("authorization", "Bearer ")],
            vec![("x-api-key", "sk-alice"), ("x-api-key", "sk-alice")],
            vec![("x-api-key", "sk-alice"), ("authorization", "Bearer sk-bob")],
            vec![("x-api-key", "sk-alice"), ("authorization", "Bearer nonsense")],
        ] {
            assert_eq!(access.identify(&headers(&carried)).unwrap_err().kind(), Kind::Unauthenticated, "{carried:?}");
        }
    }

    #[test]
    fn hides_agents_without_a_grant_as_if_they_did_not_exist() {
        let (access, registry) = access();
        let alice = access.identify(&headers(&[("x-api-key", "sk-alice")])).unwrap();
        let name = |name: &str| AgentName(name.into());
        assert!(access.visible(&registry, &alice, &name("echo")).is_ok());
        assert!(access.visible(&registry, &alice, &name("e")).is_ok());
        let hidden = access.visible(&registry, &alice, &name("other")).unwrap_err();
        let absent = access.visible(&registry, &alice, &name("otter")).unwrap_err();
        assert_eq!(hidden.kind(), Kind::AgentNotFound);
        assert_eq!(hidden.message().replace("other", "otter"), absent.message());
        let master = access.identify(&headers(&[("x-api-key", "sk-master")])).unwrap();
        assert!(access.visible(&registry, &master, &name("other")).is_ok());
    }
}
