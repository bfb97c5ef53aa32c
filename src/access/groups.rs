//! Teams and access groups: all of them in memory, for there are few.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use foldhash::HashMap;
use serde::de::DeserializeOwned;

use super::keys::grants;
use crate::call::{Grants, TeamId};
use crate::config::Rates;
use crate::error::Error;
use crate::proto::admin;
use crate::registry::rates_of;
use crate::store::{Resource, Row, Store};

/// A team, as far as its keys' calls are concerned.
#[derive(Debug)]
pub struct Team {
    pub name: Arc<str>,
    pub is_blocked: bool,
    pub grants: Grants,
    pub rates: Rates,
}

/// An access group.
#[derive(Debug)]
pub struct Group {
    pub name: Box<str>,
    pub agents: HashSet<Box<str>>,
    teams: HashSet<Box<str>>,
    keys: HashSet<Box<str>>,
}

impl Group {
    pub fn is_of_team(&self, id: &str) -> bool {
        self.teams.contains(id)
    }

    pub fn is_of_key(&self, id: &str) -> bool {
        self.keys.contains(id)
    }
}

/// What is read from one table, by id. A change makes a new map.
#[derive(Debug)]
pub struct Table<T> {
    resource: Resource,
    rows: ArcSwap<HashMap<Box<str>, Arc<T>>>,
    seq: AtomicI64,
}

/// What a row of a table becomes.
pub trait FromRow: Sized {
    type Document: DeserializeOwned;
    fn from_row(row: &Row, document: Self::Document) -> Self;
}

impl FromRow for Team {
    type Document = admin::Team;
    fn from_row(row: &Row, team: admin::Team) -> Self {
        Self {
            name: row.name.as_str().into(),
            is_blocked: team.blocked,
            grants: grants(team.grants.as_ref()),
            rates: rates_of(&team.limits.unwrap_or_default()),
        }
    }
}

impl FromRow for Group {
    type Document = admin::AccessGroup;
    fn from_row(row: &Row, group: admin::AccessGroup) -> Self {
        let set = |items: Vec<String>| items.into_iter().map(String::into_boxed_str).collect();
        Self {
            name: row.name.as_str().into(),
            agents: set(group.agents),
            teams: set(group.teams),
            keys: set(group.keys),
        }
    }
}

impl<T: FromRow> Table<T> {
    pub fn new(resource: Resource) -> Self {
        Self { resource, rows: ArcSwap::default(), seq: AtomicI64::new(0) }
    }

    pub fn get(&self, id: &str) -> Option<Arc<T>> {
        self.rows.load().get(id).cloned()
    }

    /// The first that `wanted` lets pass.
    pub fn find<R>(&self, wanted: impl Fn(&str, &T) -> Option<R>) -> Option<R> {
        self.rows.load().iter().find_map(|(id, row)| wanted(id, row))
    }

    /// Reads what changed in the store since the last time; at first, everything.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn follow(&self, store: &Store) -> Result<(), Error> {
        let mut changes = store.changes_since(self.resource, self.seq.load(Ordering::Acquire));
        while let Some(changed) = changes.next_page().await? {
            let mut rows = self.rows.load().as_ref().clone();
            for row in &changed {
                match serde_json::from_str(&row.doc) {
                    Ok(document) if row.deleted_at.is_none() => {
                        rows.insert(row.id.as_str().into(), Arc::new(T::from_row(row, document)));
                    }
                    Ok(_) => drop(rows.remove(row.id.as_str())),
                    Err(error) => {
                        // Without it, less is granted.
                        tracing::error!(table = self.resource.table(), id = row.id, %error, "a row is not as this release writes it");
                        rows.remove(row.id.as_str());
                    }
                }
            }
            self.rows.store(Arc::new(rows));
        }
        // At the end only: what fails half-way is read again from the beginning.
        self.seq.store(changes.seq(), Ordering::Release);
        Ok(())
    }
}

impl Table<Team> {
    /// The team of a caller; none if the team is gone.
    pub fn of(&self, id: &TeamId) -> Option<Arc<Team>> {
        self.get(&id.0)
    }
}
