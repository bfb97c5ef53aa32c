//! The agents, as values: an immutable snapshot that readers never wait for.
//!
//! Agents come from the configuration, which alone can change its own, and from the store. A change makes a new
//! snapshot, which shares all but the part that changed with the one before, so that a hundred thousand agents do not
//! make the hundred thousand and first a slow one.

use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt as _};
use sha2::{Digest, Sha256};

use crate::call::AgentName;
use crate::config::{AgentSettings, hex};
use crate::error::Error;
use crate::proto::admin;
use crate::store::{Resource, Store};

mod check;
mod entry;

pub use check::{rates_of, settings_of, unenforced};
pub use entry::{REDACTED, about_config, about_dialect, from_row, names_of, provenance, redacted, restore, sealed};

/// Identifies an agent for good; `agt_` and hex digits, a form that no name can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentId(pub Arc<str>);

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A registered agent.
#[derive(Debug)]
pub struct Agent {
    pub id: AgentId,
    pub settings: AgentSettings,
    /// What is said of it, without secrets.
    pub about: admin::Agent,
}

impl Agent {
    /// What callers call it.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether `name` is one of its names: name, id or alias.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.name() || name == &*self.id.0 || self.settings.aliases.iter().any(|alias| alias == name)
    }

    /// Whether the configuration has it, so that nothing else can change it.
    pub fn is_of_config(&self) -> bool {
        self.about.source() == admin::AgentSource::Config
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.settings.aliases.iter().map(String::as_str).chain([&*self.settings.name, &*self.id.0])
    }
}

const SHARDS: usize = 256;
type Shard = Arc<HashMap<Box<str>, Arc<Agent>>>;

/// The agents by every name of theirs, in parts that snapshots share.
#[derive(Clone, Debug)]
struct Snapshot(Box<[Shard]>);

/// The agents that there are now.
#[derive(Debug)]
pub struct Registry {
    snapshot: ArcSwap<Snapshot>,
    hasher: RandomState,
    /// Held by whoever makes the next snapshot.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of the file.
    of_config: Vec<Arc<Agent>>,
    of_store: HashMap<AgentId, Arc<Agent>>,
    /// The number of the last change that was read from the store.
    seq: i64,
}

impl Registry {
    /// The agents of a configuration. An agent of the configuration keeps its id as long as its name.
    pub fn new(agents: &[AgentSettings]) -> Self {
        let registry = Self {
            snapshot: ArcSwap::from_pointee(Snapshot(vec![Shard::default(); SHARDS].into())),
            hasher: RandomState::default(),
            state: Mutex::default(),
        };
        registry.configure(agents);
        registry
    }

    /// Takes the agents of a configuration in place of those before: the ids of those that changed or are gone, and the
    /// names of those that are gone.
    pub fn configure(&self, agents: &[AgentSettings]) -> (Vec<AgentId>, Vec<String>) {
        let mut state = self.state.lock().expect("no code panics while holding this");
        let before = std::mem::take(&mut state.of_config);
        let now = agents.iter().map(|settings| {
            let id = id_of(&settings.name);
            // An agent that did not change stays the same value, and what is known of its card with it.
            let printed = format!("{settings:?}");
            let same = |old: &&Arc<Agent>| {
                old.id == id && old.settings.headers == settings.headers && format!("{:?}", old.settings) == printed
            };
            before.iter().find(same).cloned().unwrap_or_else(|| {
                Arc::new(Agent { about: about_config(&id, settings), settings: settings.clone(), id })
            })
        });
        state.of_config = now.collect();
        self.publish(&state);
        let is_same = |old: &Arc<Agent>| state.of_config.iter().any(|new| Arc::ptr_eq(new, old));
        let is_gone = |old: &Arc<Agent>| !state.of_config.iter().any(|new| new.id == old.id);
        let changed = before.iter().filter(|old| !is_same(old)).map(|old| old.id.clone()).collect();
        (changed, before.iter().filter(|old| is_gone(old)).map(|old| old.name().to_owned()).collect())
    }

    /// The agent that is called so, if there is one.
    pub fn find(&self, name: &AgentName) -> Option<Arc<Agent>> {
        self.snapshot.load().0[self.shard(&name.0)].get(&*name.0).cloned()
    }

    /// All agents: those of the configuration in its order, then those of the store by name.
    pub fn agents(&self) -> Vec<Arc<Agent>> {
        let state = self.state.lock().expect("no code panics while holding this");
        let mut of_store: Vec<_> = state.of_store.values().cloned().collect();
        of_store.sort_by(|a, b| a.name().cmp(b.name()));
        state.of_config.iter().cloned().chain(of_store).collect()
    }

    /// Reads what changed in the store since the last time, and names it.
    ///
    /// # Errors
    /// Overloaded when the store does not answer; what was read so far holds.
    pub async fn follow(&self, store: &Store) -> Result<Vec<AgentId>, Error> {
        let mut ids = Vec::new();
        let since = self.state.lock().expect("no code panics while holding this").seq;
        let mut changes = store.changes_since(Resource::Agents, since);
        while let Some(rows) = changes.next_page().await? {
            let mut state = self.state.lock().expect("no code panics while holding this");
            let mut snapshot = self.snapshot.load().as_ref().clone();
            for row in rows {
                let id = AgentId(row.id.as_str().into());
                if let Some(before) = state.of_store.remove(&id) {
                    self.take(&mut snapshot, &before);
                }
                if row.deleted_at.is_none()
                    && let Some(agent) = from_row(&row, store.cipher())
                {
                    let agent = Arc::new(agent);
                    self.put(&mut snapshot, &agent);
                    state.of_store.insert(id.clone(), agent);
                }
                ids.push(id);
            }
            self.snapshot.store(Arc::new(snapshot));
        }
        // At the end only: what fails half-way is read again from the beginning.
        self.state.lock().expect("no code panics while holding this").seq = changes.seq();
        Ok(ids)
    }

    /// Reads every agent of the store, at the start: what is sealed under a former key is sealed anew.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn load(&self, store: &Store) -> Result<(), Error> {
        let [seq, ..] = store.revisions().await?;
        let rows = store.all(Resource::Agents).await?;
        let agents: Vec<_> = rows.iter().filter_map(|row| Some(Arc::new(from_row(row, store.cipher())?))).collect();
        for row in rows.iter().filter(|row| !row.sealed.is_empty() && !store.cipher().is_current(&row.sealed)) {
            if let Some(anew) = entry::sealed_anew(row, store.cipher()) {
                store.reseal(&row.id, &row.sealed, &anew).await?;
            }
        }
        let mut state = self.state.lock().expect("no code panics while holding this");
        state.of_store = agents.into_iter().map(|agent| (agent.id.clone(), agent)).collect();
        state.seq = seq;
        self.publish(&state);
        Ok(())
    }

    fn publish(&self, state: &State) {
        let mut shards: Vec<HashMap<Box<str>, Arc<Agent>>> = vec![HashMap::new(); SHARDS];
        // The configuration's come last, for nothing shadows them.
        for agent in state.of_store.values().chain(state.of_config.iter()) {
            for name in agent.names() {
                let before = shards[self.shard(name)].insert(name.into(), Arc::clone(agent));
                if let Some(other) = before.filter(|other| other.id != agent.id) {
                    tracing::warn!(name, shadowed = %other.id, "an agent of the configuration has the name of one in the store, which is reached by its id alone");
                }
            }
        }
        self.snapshot.store(Arc::new(Snapshot(shards.into_iter().map(Arc::new).collect())));
    }

    fn shard(&self, name: &str) -> usize {
        usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or_default()
    }

    fn put(&self, snapshot: &mut Snapshot, agent: &Arc<Agent>) {
        for name in agent.names() {
            let shard = Arc::make_mut(&mut snapshot.0[self.shard(name)]);
            if !shard.get(name).is_some_and(|other| other.is_of_config()) {
                shard.insert(name.into(), Arc::clone(agent));
            }
        }
    }

    fn take(&self, snapshot: &mut Snapshot, agent: &Agent) {
        for name in agent.names() {
            let shard = Arc::make_mut(&mut snapshot.0[self.shard(name)]);
            if shard.get(name).is_some_and(|known| known.id == agent.id) {
                shard.remove(name);
            }
        }
    }
}

/// The id of an agent of the configuration.
pub fn id_of(name: &str) -> AgentId {
    AgentId(format!("agt_{}", &hex(&Sha256::digest(name.as_bytes()))[..24]).into())
}
