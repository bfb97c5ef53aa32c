//! The keys of the store, as far as they are in memory: a value's hash leads to an id, the id to the caller.
//!
//! A hash belongs to one key for good, so the first step is never wrong, only forgotten. The second follows the store:
//! a changed key is dropped as soon as the change is heard of, and read again by whoever presents it next. What is
//! unknown is remembered apart and briefly, so that a flood of wrong keys drives no right one out.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use moka::sync::Cache;
use subtle::ConstantTimeEq as _;

use crate::call::{Caller, Grants, KeyId, TeamId};
use crate::config::{Role, from_hex, hex};
use crate::error::{Error, Kind};
use crate::operation::Method;
use crate::proto::{admin, wkt};
use crate::registry::rates_of;
use crate::store::{KeyColumns, Resource, Row, Store};

/// How long a key that is not known is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(2);
const UNKNOWN_MAX: u64 = 10_000;

pub type Hash = [u8; 32];

/// A key of the store.
#[derive(Debug)]
pub struct StoredKey {
    pub caller: Caller,
    pub is_blocked: bool,
    hash: Hash,
    former_hash: Option<Hash>,
    former_until: i64,
}

impl StoredKey {
    fn read(row: &Row, columns: &KeyColumns) -> Result<Self, Error> {
        let broken = || {
            let message = format!("table keys: the row {} is not as this release writes it", row.id);
            Error::new(Kind::Internal, message)
        };
        let key: admin::Key = serde_json::from_str(&row.doc).map_err(|error| broken().because(error))?;
        let text = |text: &str| Some(Arc::<str>::from(text)).filter(|text| !text.is_empty());
        let name = if row.name.is_empty() { &row.id } else { &row.name };
        let caller = Caller {
            key: KeyId(row.id.as_str().into()),
            name: name.as_str().into(),
            team: text(&row.team_id).map(TeamId),
            user: text(&columns.user_id),
            agent: text(&columns.agent_id),
            role: if key.role() == Role::Unspecified { Role::Caller } else { key.role() },
            expires_at: key.expire_time.map(|time| wkt::micros(time.seconds, time.nanos)),
            grants: Arc::new(grants(key.grants.as_ref())),
            rates: rates_of(&key.limits.unwrap_or_default()),
        };
        Ok(Self {
            caller,
            is_blocked: key.blocked,
            hash: from_hex(&columns.hash).ok_or_else(broken)?,
            former_hash: columns.former_hash.as_deref().and_then(from_hex),
            former_until: columns.former_until.unwrap_or_default(),
        })
    }

    /// Whether this value is its own, or was until not long ago.
    fn is_valued(&self, hash: &Hash, now: i64) -> bool {
        bool::from(hash.ct_eq(&self.hash)) || (now < self.former_until && self.former_hash.as_ref() == Some(hash))
    }
}

/// What a message says may be called.
pub fn grants(grants: Option<&admin::Grants>) -> Grants {
    let Some(grants) = grants else { return Grants { may_default: true, ..Grants::default() } };
    let set = |items: &[String]| items.iter().map(|item| item.as_str().into()).collect();
    let operations = grants.operations.iter().filter_map(|name| Some(Method::by_name(name)?.rpc)).collect();
    Grants {
        all_agents: grants.all_agents,
        may_default: true,
        agents: set(&grants.agents),
        access_groups: set(&grants.access_groups),
        tags: set(&grants.tags),
        operations: (!grants.operations.is_empty()).then_some(operations),
    }
}

/// The keys in memory.
#[derive(Debug)]
pub struct Keys {
    ids: Cache<Hash, KeyId, RandomState>,
    by_id: Cache<KeyId, Arc<StoredKey>, RandomState>,
    unknown: Cache<Hash, ()>,
    /// The number of the last change that was heard of.
    seq: AtomicI64,
    /// Goes up when something was dropped, so that a read that was under way is not believed.
    dropped: AtomicU64,
}

impl Keys {
    pub fn new(keys_max: usize) -> Self {
        let hasher = RandomState::default();
        Self {
            ids: Cache::builder().max_capacity(keys_max as u64).build_with_hasher(hasher.clone()),
            by_id: Cache::builder().max_capacity(keys_max as u64).build_with_hasher(hasher),
            unknown: Cache::builder().max_capacity(UNKNOWN_MAX).time_to_live(UNKNOWN_FOR).build(),
            seq: AtomicI64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// The key with this hash if it is in memory.
    pub fn known(&self, hash: &Hash, now: i64) -> Option<Arc<StoredKey>> {
        let key = self.by_id.get(&self.ids.get(hash)?)?;
        key.is_valued(hash, now).then_some(key)
    }

    /// Whether this was a key's hash, as far as is remembered: what is left is to read the key again.
    pub fn was_known(&self, hash: &Hash) -> bool {
        self.ids.contains_key(hash)
    }

    /// Whether there was no such key a moment ago.
    pub fn is_unknown(&self, hash: &Hash) -> bool {
        self.unknown.contains_key(hash)
    }

    /// The key with this hash, from the store.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn read(&self, hash: &Hash, now: i64, store: &Store) -> Result<Option<Arc<StoredKey>>, Error> {
        let id = store.key_id(&hex(hash)).await?.map(|id| KeyId(id.into()));
        let key = match &id {
            Some(id) => self.by_id(id, store).await?,
            None => None,
        };
        let Some((id, key)) = id.zip(key.filter(|key| key.is_valued(hash, now))) else {
            self.unknown.insert(*hash, ());
            return Ok(None);
        };
        self.ids.insert(*hash, id);
        Ok(Some(key))
    }

    /// The key with this id, from memory or from the store.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn by_id(&self, id: &KeyId, store: &Store) -> Result<Option<Arc<StoredKey>>, Error> {
        loop {
            if let Some(key) = self.by_id.get(id) {
                return Ok(Some(key));
            }
            let before = self.dropped.load(Ordering::Acquire);
            let Some((row, columns)) = store.key(&id.0).await? else { return Ok(None) };
            let key = Arc::new(StoredKey::read(&row, &columns)?);
            self.by_id.insert(id.clone(), Arc::clone(&key));
            // A change that was heard of meanwhile may be this key's, and what was read may be older.
            if self.dropped.load(Ordering::Acquire) == before {
                return Ok(Some(key));
            }
            self.by_id.invalidate(id);
        }
    }

    /// Begins to follow the store from its present state.
    pub fn follow_from(&self, seq: i64) {
        self.seq.store(seq, Ordering::Release);
    }

    /// Drops what changed in the store since the last time.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn follow(&self, store: &Store) -> Result<(), Error> {
        let mut changes = store.changes_since(Resource::Keys, self.seq.load(Ordering::Acquire));
        while let Some(rows) = changes.next_page().await? {
            // First, so that whoever reads one of them just now does not believe what they read.
            self.dropped.fetch_add(1, Ordering::AcqRel);
            for row in &rows {
                self.by_id.invalidate(&KeyId(row.id.as_str().into()));
            }
            // New values may be among the unknown.
            self.unknown.invalidate_all();
        }
        // At the end only: what fails half-way is read again from the beginning.
        self.seq.store(changes.seq(), Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn many_changes_are_followed_to_their_end() {
        let text = "store: {url: memory}\nmaster_key: sk-master";
        let settings = crate::config::parse(text, &|_| None).unwrap();
        let store = Store::open(&settings.store, Clock).await.unwrap();
        // As when a team with many keys is deleted: one change of many rows, more than fit two pages.
        let written = store.run_tx("test", |mut tx| async move {
            let seq = tx.next_seq(Resource::Keys).await?;
            for n in 0..1_234 {
                let row = Row { id: format!("key-{n}"), doc: "{}".into(), revision: 1, seq, ..Row::default() };
                tx.insert(Resource::Keys, &row).await?;
            }
            Ok((tx, seq))
        });
        let seq = written.await.unwrap();

        let mut changes = store.changes_since(Resource::Keys, 0);
        let mut ids = Vec::new();
        while let Some(rows) = changes.next_page().await.unwrap() {
            ids.extend(rows.into_iter().map(|row| row.id));
        }
        assert_eq!(ids.len(), 1_234);
        ids.dedup();
        assert_eq!((ids.len(), changes.seq()), (1_234, seq), "each once");

        let keys = Keys::new(10);
        timeout(Duration::from_secs(60), keys.follow(&store)).await.expect("it comes to an end").unwrap();
        assert_eq!(keys.seq.load(Ordering::Acquire), seq);
        assert_eq!(keys.dropped.load(Ordering::Acquire), 3, "a page at a time");
    }
}
