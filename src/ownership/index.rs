//! The rows in memory: a bounded cache of what the store has, and what the store is still to get.
//!
//! What is not here is asked of the store every time: that a row is absent is never remembered.

use std::collections::{HashMap, VecDeque};
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
    /// Goes up with every batch that was written.
    written: u64,
    /// What was written of late and by which batch, so that a read of the store that began before is not believed.
    recent: HashMap<u64, u64>,
    order: VecDeque<(u64, u64)>,
    /// The last batch of which something is not remembered any more.
    forgotten: u64,
}

/// Rows whose writing is remembered.
const RECENT_MAX: usize = 16_384;

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

    /// Takes rows that neither memory nor the store had when `written` batches were. False when one of them was written
    /// since: then it must be looked again, and nothing was taken. So of two that come at once one is second.
    pub(super) fn take(&self, rows: &[Arc<OwnedRow>], written: u64) -> bool {
        let keys = rows.iter().map(|row| (self.key(row.is_context == 1, &row.agent_id, &row.id), row));
        let keys: Vec<_> = keys.collect();
        let mut pending = self.pending.lock().expect("no code panics while holding this");
        let is_there =
            |key: &u64| pending.rows.contains_key(key) || pending.recent.get(key).is_some_and(|batch| *batch > written);
        if pending.forgotten > written || keys.iter().any(|(key, _)| is_there(key)) {
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
        let batch = pending.written;
        for row in rows {
            let key = self.key(row.is_context == 1, &row.agent_id, &row.id);
            pending.rows.remove(&key);
            pending.recent.insert(key, batch);
            pending.order.push_back((batch, key));
        }
        while pending.order.len() > RECENT_MAX
            && let Some((batch, key)) = pending.order.pop_front()
        {
            pending.forgotten = batch;
            if pending.recent.get(&key) == Some(&batch) {
                pending.recent.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: usize) -> Arc<OwnedRow> {
        Arc::new(OwnedRow { agent_id: "a".into(), id: id.to_string(), ..OwnedRow::default() })
    }

    #[test]
    fn takes_each_row_once_whatever_else_is_written() {
        let index = Index::new(10);
        let before = index.written();
        assert!(index.take(&[row(1)], before));
        assert!(!index.take(&[row(1)], before), "it is to be written");
        index.wrote([row(1)].iter().map(|row| &**row));
        assert!(!index.take(&[row(2), row(1)], before), "it was written since the store was asked");
        assert!(index.take(&[row(2)], before), "another one was");
        index.wrote((10..10 + RECENT_MAX).map(row).collect::<Vec<_>>().iter().map(|row| &**row));
        assert!(!index.take(&[row(3)], before), "nobody knows any more what was");
        assert!(index.take(&[row(3)], index.written()));
    }
}
