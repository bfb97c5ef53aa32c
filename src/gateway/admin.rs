//! What the admin API needs of the middle.

use std::sync::Arc;

use url::Url;

use super::Gateway;
use crate::call::{Caller, KeyId};
use crate::config::{self, TaskScope};
use crate::error::{Error, Kind};
use crate::operation::Rpc;
use crate::ownership;
use crate::proto::{AgentCard, admin};
use crate::registry::{self, Agent};
use crate::store::{OwnedBy, OwnedRow, Store};

impl Gateway {
    /// Where everything is kept that must outlive the process.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// All agents, whoever may call them: those of the configuration first.
    pub fn agents(&self) -> Vec<Arc<Agent>> {
        self.registry.agents()
    }

    /// Whether `caller` may call `agent`.
    pub fn may_call(&self, caller: &Caller, agent: &Agent) -> bool {
        self.access.may_call(caller, agent)
    }

    /// Whether `caller` may call `agent`, and why, step by step.
    pub fn explain(&self, caller: &Caller, agent: &Agent) -> (bool, Vec<String>) {
        self.access.explain(caller, agent)
    }

    /// The operations that `caller` may make on the agents that it may call.
    pub fn operations(&self, caller: &Caller) -> Vec<Rpc> {
        self.access.operations(caller)
    }

    /// The caller that a key of the store stands for; none while it may not call.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn caller(&self, key: &KeyId) -> Result<Option<Caller>, Error> {
        self.access.by_id(key).await
    }

    /// The caller of the configuration with this name or id.
    pub fn configured_caller(&self, name: &str) -> Option<Caller> {
        self.access.configured(name)
    }

    /// Whether the configuration has a key of this value.
    pub fn is_of_config(&self, value: &str) -> bool {
        self.access.is_of_config(value)
    }

    /// Whose tasks of an agent `caller` is shown: those that it shares in, and its own where everybody shares in all.
    pub fn task_owners<'c>(&self, caller: &'c Caller, agent: &Agent) -> Vec<OwnedBy<'c>> {
        ownership::owners(self.shown_scope(agent), caller)
    }

    fn shown_scope(&self, agent: &Agent) -> TaskScope {
        match self.ownership.scope(agent) {
            TaskScope::None => TaskScope::Key,
            scope => scope,
        }
    }

    /// Whether `caller` is shown a task of an agent.
    pub fn shares_task(&self, caller: &Caller, agent: &Agent, task: &OwnedRow) -> bool {
        ownership::shares(self.shown_scope(agent), task, caller)
    }

    /// Returns when the store has all that was learnt of tasks before.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn tasks_written(&self) -> Result<(), Error> {
        self.ownership.flush().await
    }

    /// Why nobody may name this address over the API, if nobody may.
    pub fn refuses_address(&self, url: &Url) -> Option<String> {
        self.routing.refuses_address(url)
    }

    /// Reads an agent's card now, whatever is known.
    ///
    /// # Errors
    /// UpstreamUnavailable when there is none that can be read.
    pub async fn refresh_card(&self, agent: &Arc<Agent>) -> Result<Arc<AgentCard>, Error> {
        self.routing.refresh_card(agent).await
    }

    /// Reads the card of an agent that is not registered, and where it was.
    ///
    /// # Errors
    /// InvalidParams for an address that may not be named; UpstreamUnavailable when there is no card that can be read.
    pub async fn discover(&self, address: &str) -> Result<(String, AgentCard), Error> {
        let (url, _) = config::agent_url(address).map_err(|fault| Error::invalid("url", fault))?;
        if let Some(fault) = self.refuses_address(&url) {
            return Err(Error::invalid("url", fault));
        }
        let endpoint = admin::Endpoint { url: address.to_owned(), ..Default::default() };
        let about = admin::Agent { name: "discovered".to_owned(), endpoints: vec![endpoint], ..Default::default() };
        let settings = registry::settings_of(&about).map_err(|_| Error::invalid("url", "cannot be called"))?;
        let agent = Agent { id: registry::id_of("discovered"), settings, about };
        let found = self.routing.discover(&agent).await;
        found.map_err(|reason| Error::new(Kind::UpstreamUnavailable, format!("the card there {reason}")))
    }
}
