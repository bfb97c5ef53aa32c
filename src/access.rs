//! Who calls, and what they may: decided on headers, before a byte of the body is read.
//!
//! Closed by default: no key, no access, and an agent that a caller may not call does not exist for it. The
//! decision is a value: routing and upstreams take a [`Permitted`], which only this module can make.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::HashMap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::call::{AgentName, Call, Caller, Grants, KeyId};
use crate::clock::Clock;
use crate::config::{DefaultAccess, Granted, KeySettings, Rates, Role, Secret, Settings, hex};
use crate::error::{Error, Kind};
use crate::operation::{METHODS, Rpc};
use crate::ownership::{Named, Ownership};
use crate::registry::{Agent, Registry};
use crate::store::{OwnedRow, Resource, Store};

mod grants;
mod groups;
mod keys;
mod throttle;

pub use grants::Reach;
use groups::{Group, Table, Team};
use keys::{Hash, Keys};
use throttle::Throttle;

/// Where a caller may present its key; all that are there must be the same one.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-litellm-api-key"];
/// The words for a key that is absent, expired, blocked or deleted: which of these is for its owner's administrator.
const NOT_KNOWN: &str = "the key is not known here, or not any more";

/// Who is known, and what they may.
#[derive(Debug)]
pub struct Access {
    of_config: ArcSwap<HashMap<Hash, Caller>>,
    keys: Keys,
    teams: Table<Team>,
    groups: Table<Group>,
    throttle: Throttle,
    store: Arc<Store>,
    /// For keys and teams without grants.
    otherwise: DefaultAccess,
    clock: Clock,
    started: Instant,
    /// When the store was last heard, in milliseconds from `started`.
    heard_ms: AtomicU64,
    stale_max: Duration,
}

/// Proof that this caller may make this call on this agent.
#[derive(Debug)]
pub struct Permitted<'a> {
    call: &'a Call,
    agent: Arc<Agent>,
    team_rates: Option<Rates>,
    named: Named,
}

impl<'a> Permitted<'a> {
    pub fn call(&self) -> &'a Call {
        self.call
    }

    pub fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// What the caller's team may use, if the caller is in one.
    pub fn team_rates(&self) -> Option<Rates> {
        self.team_rates
    }

    /// The task and context that the call names, which the caller shares in.
    pub fn named(&self) -> &Named {
        &self.named
    }

    /// Lets a call go to the same agent for the same caller that is a part of this one: it gets a task of the caller's.
    pub fn part<'b>(&self, call: &'b Call, task: Arc<OwnedRow>) -> Permitted<'b> {
        let named = Named { task: Some(task), context: None };
        Permitted { call, agent: Arc::clone(&self.agent), team_rates: self.team_rates, named }
    }
}

impl Access {
    pub fn new(settings: &Settings, store: Arc<Store>, clock: Clock) -> Self {
        let access = Self {
            of_config: ArcSwap::default(),
            keys: Keys::new(settings.limits.keys_cached_max),
            teams: Table::new(Resource::Teams),
            groups: Table::new(Resource::AccessGroups),
            throttle: Throttle::new(settings.limits.failed_keys_per_minute_max),
            store,
            otherwise: settings.default_access,
            clock,
            started: clock.instant(),
            heard_ms: AtomicU64::new(0),
            stale_max: settings.store.stale_max,
        };
        access.configure(settings.master_key.as_ref(), &settings.keys);
        access
    }

    /// Takes the keys of a configuration in place of those before; the names of those that are gone.
    pub fn configure(&self, master: Option<&Secret>, keys: &[KeySettings]) -> Vec<String> {
        let master = master.map(|key| {
            let grants = Grants { all_agents: true, ..Grants::default() };
            config_key("master", key, Role::Operator, grants, Rates::default())
        });
        let others = keys.iter().map(|key| {
            let agents = match &key.agents {
                Granted::All => Vec::new(),
                Granted::Named(names) => names.iter().map(|name| name.as_str().into()).collect(),
            };
            let grants = Grants {
                all_agents: key.agents == Granted::All,
                agents: agents.into_iter().collect(),
                operations: (!key.operations.is_empty()).then(|| key.operations.clone()),
                ..Grants::default()
            };
            config_key(&key.name, &key.key, key.role, grants, key.rates)
        });
        let now: HashMap<_, _> = master.into_iter().chain(others).collect();
        let before = self.of_config.swap(Arc::new(now.clone()));
        let gone = before.values().filter(|old| !now.values().any(|new| new == *old));
        gone.map(|old| old.name.to_string()).collect()
    }

    /// The caller whose credentials `headers` carry. Keys of the configuration and those in memory are known at once;
    /// others are looked up in the store, on behalf of `source`.
    ///
    /// # Errors
    /// Unauthenticated when there are none, when one is unknown, when two differ, and when a header is repeated;
    /// RateLimited for an address that presented too many unknown ones; Overloaded while the store is away.
    pub async fn identify(&self, headers: &HeaderMap, source: IpAddr) -> Result<Caller, Error> {
        let mut found: Option<Caller> = None;
        for presented in presented(headers)? {
            let caller = self.lookup(presented, source).await?;
            if found.as_ref().is_some_and(|other| *other != caller) {
                let message = "the credentials in the headers belong to different callers: send one";
                return Err(Error::new(Kind::Unauthenticated, message));
            }
            found = Some(caller);
        }
        found.ok_or_else(|| {
            let message = "no key: send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`";
            Error::new(Kind::Unauthenticated, message)
        })
    }

    async fn lookup(&self, presented: &str, source: IpAddr) -> Result<Caller, Error> {
        let not_known = || Error::new(Kind::Unauthenticated, NOT_KNOWN);
        let hash: Hash = Sha256::digest(presented.as_bytes()).into();
        // Looking up by digest leaks nothing of the key; the comparison is constant-time all the same.
        if let Some((known, caller)) = self.of_config.load().get_key_value(&hash)
            && bool::from(known.ct_eq(&hash))
        {
            return Ok(caller.clone());
        }
        let now = self.store.now();
        let key = if let Some(key) = self.keys.known(&hash, now) {
            self.is_fresh()?;
            key
        } else {
            self.ask_store(&hash, source, now).await?.ok_or_else(not_known)?
        };
        if !self.is_valid(&key, now) {
            return Err(not_known());
        }
        Ok(key.caller.clone())
    }

    async fn ask_store(&self, hash: &Hash, source: IpAddr, now: i64) -> Result<Option<Arc<keys::StoredKey>>, Error> {
        let instant = self.clock.instant();
        // A key that was known before is only read again.
        if !self.keys.was_known(hash) {
            self.throttle.may_ask(source, instant)?;
        }
        let is_unknown = self.keys.is_unknown(hash);
        let read = if is_unknown { None } else { self.keys.read(hash, now, &self.store).await? };
        if read.is_none() {
            self.throttle.failed(source, instant);
        }
        Ok(read)
    }

    fn is_valid(&self, key: &keys::StoredKey, now: i64) -> bool {
        let team_is_there =
            key.caller.team.as_ref().is_none_or(|id| self.teams.of(id).is_some_and(|team| !team.is_blocked));
        !key.is_blocked && key.caller.expires_at.is_none_or(|at| now < at) && team_is_there
    }

    /// What was read from the store is believed for a while after the store went away.
    fn is_fresh(&self) -> Result<(), Error> {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        if (self.clock.instant() - self.started).saturating_sub(heard) <= self.stale_max {
            return Ok(());
        }
        let message = "the store has been away for too long to believe keys: try again";
        Err(Error::new(Kind::Overloaded, message).retry_after_is(Duration::from_secs(1)))
    }

    /// The caller that a key of the configuration or of the store stands for; none while it may not call.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn whose(&self, key: &KeyId) -> Result<Option<Caller>, Error> {
        let known = self.of_config.load().values().find(|known| known.key == *key).cloned();
        if known.is_some() {
            return Ok(known);
        }
        self.is_fresh()?;
        self.by_id(key).await
    }

    /// The caller that a key of the store stands for; none while it may not call.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn by_id(&self, key: &KeyId) -> Result<Option<Caller>, Error> {
        let Some(key) = self.keys.by_id(key, &self.store).await? else { return Ok(None) };
        Ok(self.is_valid(&key, self.store.now()).then(|| key.caller.clone()))
    }

    /// The caller of the configuration with this name or id.
    pub fn configured(&self, name: &str) -> Option<Caller> {
        let known = self.of_config.load();
        known.values().find(|caller| *caller.name == *name || *caller.key.0 == *name).cloned()
    }

    /// Whether the configuration has a key of this value.
    pub fn is_of_config(&self, value: &str) -> bool {
        let hash: Hash = Sha256::digest(value.as_bytes()).into();
        self.of_config.load().contains_key(&hash)
    }

    /// Begins to follow the store: reads teams and groups whole, and keys from now on.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn load(&self) -> Result<(), Error> {
        let [_, keys, ..] = self.store.revisions().await?;
        self.keys.follow_from(keys);
        self.teams.follow(&self.store).await?;
        self.groups.follow(&self.store).await?;
        self.heard();
        Ok(())
    }

    /// Takes over what changed of one kind of row.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn follow(&self, resource: Resource) -> Result<(), Error> {
        match resource {
            Resource::Keys => self.keys.follow(&self.store).await,
            Resource::Teams => self.teams.follow(&self.store).await,
            Resource::AccessGroups => self.groups.follow(&self.store).await,
            Resource::Agents => Ok(()),
        }
    }

    /// The store has just answered: what is in memory is what it has.
    pub fn heard(&self) {
        let now = (self.clock.instant() - self.started).as_millis();
        self.heard_ms.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long until a time of day, in microseconds since 1970.
    pub fn until(&self, at: i64) -> Duration {
        Duration::from_micros(u64::try_from(at.saturating_sub(self.store.now())).unwrap_or(0))
    }

    /// What a caller's team may use.
    pub fn team_rates(&self, caller: &Caller) -> Option<Rates> {
        Some(self.teams.of(caller.team.as_ref()?)?.rates)
    }

    /// The agent that `name` means to `caller`.
    ///
    /// # Errors
    /// AgentNotFound, with the same words for one that is absent and one that the caller may not see.
    pub fn visible(&self, registry: &Registry, caller: &Caller, name: &AgentName) -> Result<Arc<Agent>, Error> {
        let agent = registry.find(name).filter(|agent| self.may_call(caller, agent));
        agent.ok_or_else(|| {
            let shown: String = name.0.chars().filter(|c| !c.is_control()).take(63).collect();
            Error::new(
                Kind::AgentNotFound,
                format!("there is no agent {shown:?} for this key: GET /v1/agents lists those there are"),
            )
        })
    }

    /// Lets `call` go to `agent`, if it may be made there, on the tasks and contexts that it names.
    ///
    /// # Errors
    /// PermissionDenied for an operation that is not granted on an agent that is; TaskNotFound and InvalidParams for what
    /// is somebody else's, as [`Ownership::named`]; Overloaded when the store does not answer.
    pub async fn permit<'a>(
        &self,
        ownership: &Ownership,
        agent: Arc<Agent>,
        call: &'a Call,
    ) -> Result<Permitted<'a>, Error> {
        let rpc = call.operation.rpc();
        if !self.may_make(&call.caller, rpc) {
            let message = format!("this key may not make {} calls", rpc.method().name);
            return Err(Error::new(Kind::PermissionDenied, message));
        }
        let named = ownership.named(call, &agent).await?;
        Ok(Permitted { call, agent, team_rates: self.team_rates(&call.caller), named })
    }

    /// Lets an administrator's emergency stop cancel a task on an agent that is disabled already.
    pub fn stopping<'a>(call: &'a Call, agent: &Arc<Agent>, named: Named) -> Permitted<'a> {
        Permitted { call, agent: Arc::clone(agent), team_rates: None, named }
    }

    /// Lets a task be read whole of which its agent has just told somebody who asked to be told, and who was found to
    /// be one who may.
    pub fn notified<'a>(&self, call: &'a Call, agent: &Arc<Agent>, named: Named) -> Permitted<'a> {
        Permitted { call, agent: Arc::clone(agent), team_rates: self.team_rates(&call.caller), named }
    }

    /// The operations that a caller may make on the agents that it may call.
    pub fn operations(&self, caller: &Caller) -> Vec<Rpc> {
        METHODS.iter().map(|method| method.rpc).filter(|rpc| self.may_make(caller, *rpc)).collect()
    }

    /// Whether a caller may make this operation on the agents that it may call.
    pub fn may_make(&self, caller: &Caller, rpc: Rpc) -> bool {
        let team = caller.team.as_ref().and_then(|id| self.teams.of(id));
        caller.grants.allow(rpc) && team.is_none_or(|team| team.grants.allow(rpc))
    }
}

fn config_key(name: &str, secret: &Secret, role: Role, grants: Grants, rates: Rates) -> (Hash, Caller) {
    // From the name, not from the secret: it stays when the secret is rotated, and logs tell nothing of the secret.
    let id = format!("key_{}", &hex(&Sha256::digest(name.as_bytes()))[..24]);
    let caller = Caller {
        key: KeyId(id.into()),
        name: name.into(),
        team: None,
        user: None,
        agent: None,
        role,
        expires_at: None,
        grants: Arc::new(grants),
        rates,
    };
    (Sha256::digest(secret.expose().as_bytes()).into(), caller)
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
mod tests;
