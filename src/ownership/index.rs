//! The rows in memory: a bounded cache of what the store has, and what the store is still to get.
//!
//! What is not here is asked of the store every time: that a row is absent is never remembered.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};

use moka::sync::Cache;

use crate::store::OwnedRow;

/// Cheap to clone: the same rows.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// By a hash of what a row is found by; the row itself says whether it is the right one.
    cache: Cache<u64, Arc<OwnedRow>>,
    hasher: Arc<RandomState>,
    pending: Arc<Mutex<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    rows: HashMap<u64, Arc<OwnedRow>>,
    /// Goes up with every batch that was written, so that a read that began before is not believed.
    written: u64,
}

impl Index {
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            cache: Cache::builder().max_capacity(rows_max as u64).build(),
            hasher: Arc::default(),
            pending: Arc::default(),
        }
    }

    fn key(&self, is_context: bool, agent: &str, id: &str) -> u64 {
        self.hasher.hash_one((is_context, agent, id))
    }

    pub(super) fn get(&self, is_context: bool, agent: &str, id: &str) -> Option<Arc<OwnedRow>> {
        let key = self.key(is_context, agent, id);
        let is_it = |row: &Arc<OwnedRow>| (row.is_context == 1) == is_context && row.agent_id == agent && row.id == id;
        let cached = self.cache.get(&key).filter(is_it);
        cached.or_else(|| {
            let pending = self.pending.lock().expect("no code panics while holding this");
            pending.rows.get(&key).filter(|row| is_it(row)).cloned()
        })
    }

    /// Keeps a row that the store has.
    pub(super) fn put(&self, row: OwnedRow) -> Arc<OwnedRow> {
        let row = Arc::new(row);
        self.cache.insert(self.key(row.is_context == 1, &row.agent_id, &row.id), Arc::clone(&row));
        row
    }

    pub(super) fn forget(&self, is_context: bool, agent: &str, id: &str) {
        self.cache.invalidate(&self.key(is_context, agent, id));
    }

    /// How many batches were written, to be asked before the store is.
    pub(super) fn written(&self) -> u64 {
        self.pending.lock().expect("no code panics while holding this").written
    }

    /// Takes rows that neither memory nor the store had when `written` batches were. False when something was written
    /// since: then it must be looked again, and nothing was taken. So of two that come at once one is second.
    pub(super) fn take(&self, rows: &[Arc<OwnedRow>], written: u64) -> bool {
        let keys = rows.iter().map(|row| (self.key(row.is_context == 1, &row.agent_id, &row.id), row));
        let keys: Vec<_> = keys.collect();
        let mut pending = self.pending.lock().expect("no code panics while holding this");
        if pending.written != written || keys.iter().any(|(key, _)| pending.rows.contains_key(key)) {
            return false;
        }
        for (key, row) in keys {
            pending.rows.insert(key, Arc::clone(row));
            self.cache.insert(key, Arc::clone(row));
        }
        true
    }

    /// The store has these now.
    pub(super) fn wrote<'r>(&self, rows: impl Iterator<Item = &'r OwnedRow>) {
        let mut pending = self.pending.lock().expect("no code panics while holding this");
        pending.written += 1;
        for row in rows {
            pending.rows.remove(&self.key(row.is_context == 1, &row.agent_id, &row.id));
        }
    }
}
