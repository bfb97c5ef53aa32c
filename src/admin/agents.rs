//! AgentService.

use std::sync::Arc;

use crate::call::AgentName;
use crate::config::agent_url;
use crate::error::{Error, Kind};
use crate::proto::admin as api;
use crate::registry::{self, Agent};
use crate::store::{Resource, Row, StoreError, Tx};

use super::kept::{self, Kept as _, Pages, not_found, taken};
use super::{Actor, Admin, Scope};

impl Admin {
    pub async fn create_agent(
        &self,
        actor: &Actor,
        request: api::CreateAgentRequest,
    ) -> Result<api::CreateAgentResponse, Error> {
        let mut about = request.agent.unwrap_or_default().with("", None);
        about.enabled = Some(about.enabled.unwrap_or(true));
        (about.source, about.problem) = (0, String::new());
        if about.state() == api::AgentState::Unspecified {
            let is_trusted = actor.scope == Scope::All || actor.caller.role == api::Role::TeamAdmin;
            let state = if is_trusted { api::AgentState::Approved } else { api::AgentState::Draft };
            about.set_state(state);
        }
        if actor.scope == Scope::Own && about.team_id.is_empty() {
            actor.team()?.clone_into(&mut about.team_id);
        }
        self.check_agent(actor, &mut about, None).await?;
        let about = about.with(&kept::new_id::<api::Agent>(), None);
        let sealed = registry::sealed(&about, &about.id, self.store().cipher());
        let (kept, sealed) = (&registry::redacted(about), &sealed);
        let written = move |mut tx: Tx| async move {
            let row = kept::insert(&mut tx, actor, kept, sealed.clone()).await?;
            self.claim(&mut tx, kept).await?;
            Ok((tx, row))
        };
        let row = self.store().run_tx("create agent", written).await?;
        self.taken_over().await;
        Ok(api::CreateAgentResponse { agent: Some(shown(actor, &self.agent_of(&row)?)) })
    }

    #[expect(clippy::unused_async, reason = "the methods of the table are")]
    pub async fn get_agent(
        &self,
        actor: &Actor,
        request: api::GetAgentRequest,
    ) -> Result<api::GetAgentResponse, Error> {
        let agent = self.visible_agent(actor, &request.id)?;
        let is_whole = actor.rules(&agent);
        let card = self.gateway.known_card(&agent).filter(|_| is_whole).map(|card| (*card).clone());
        let profile = registry::about_dialect(self.gateway.profile(&agent));
        Ok(api::GetAgentResponse { agent: Some(shown(actor, &agent)), card, profile })
    }

    #[expect(clippy::unused_async, reason = "the methods of the table are")]
    pub async fn list_agents(
        &self,
        actor: &Actor,
        request: api::ListAgentsRequest,
    ) -> Result<api::ListAgentsResponse, Error> {
        let query = request.query.to_lowercase();
        let matches = |agent: &Agent| {
            let about = &agent.about;
            let has = |wanted: &str, items: &[String]| wanted.is_empty() || items.iter().any(|item| item == wanted);
            let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
            let is_in_state = request.state() == api::AgentState::Unspecified || request.state() == about.state();
            is(&request.team_id, &about.team_id)
                && is(&request.provider, &about.provider)
                && has(&request.tag, &about.tags)
                && has(&request.capability, &about.capabilities)
                && is_in_state
                && (!request.public_only || about.public)
                && (about.name.to_lowercase().contains(&query) || about.description.to_lowercase().contains(&query))
        };
        let mut agents = self.gateway.agents();
        agents.retain(|agent| matches(agent) && self.sees(actor, agent));
        agents.sort_by(|a, b| (a.name(), &a.id.0).cmp(&(b.name(), &b.id.0)));
        let filter = api::ListAgentsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let pages = Pages { store: self.store(), actor, filter: format!("{filter:?}") };
        let (size, after) = (kept::page_size(request.page_size)?, pages.after(&request.page_token)?);
        let place = |agent: &Agent| format!("{} {}", agent.name(), agent.id);
        // A name may have spaces, an id has none.
        let last = after.rsplit_once(' ');
        let mut rest = agents.iter().skip_while(|agent| last.is_some_and(|last| (agent.name(), &*agent.id.0) <= last));
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let has_more = rest.next().is_some();
        let next = page.last().filter(|_| has_more).map(|last| pages.token(&place(last))).unwrap_or_default();
        let agents = page.into_iter().map(|agent| shown(actor, agent)).collect();
        Ok(api::ListAgentsResponse { agents, next_page_token: next })
    }

    pub async fn update_agent(
        &self,
        actor: &Actor,
        request: api::UpdateAgentRequest,
    ) -> Result<api::UpdateAgentResponse, Error> {
        let patch = request.agent.unwrap_or_default();
        let agent = self.changeable_agent(actor, &patch.id)?;
        let seen = self.store().find(Resource::Agents, &agent.id.0).await?;
        let seen = seen.ok_or_else(|| not_found::<api::Agent>(&patch.id))?;
        // As it is written, which may be newer than what this gateway has in memory.
        actor.must_rule(&seen.team_id)?;
        kept::must_have(&seen, patch.provenance().map_or(0, |provenance| provenance.revision))?;
        let current: api::Agent = kept::read(&seen)?;
        let mut about = kept::patched(&current, &patch, request.update_mask.as_ref())?;
        registry::restore(&mut about, &seen, self.store().cipher())?;
        self.check_agent(actor, &mut about, Some(&current)).await?;
        let sealed = registry::sealed(&about, &seen.id, self.store().cipher());
        let (seen, kept, sealed) = (&seen, &registry::redacted(about), &sealed);
        let written = move |mut tx: Tx| async move {
            let before = kept::wanted::<api::Agent>(&mut tx, &seen.id, seen.revision).await?;
            let row = kept::update(&mut tx, actor, &before, kept, sealed.clone()).await?;
            self.claim(&mut tx, kept).await?;
            Ok((tx, row))
        };
        let row = self.store().run_tx("update agent", written).await?;
        self.taken_over().await;
        Ok(api::UpdateAgentResponse { agent: Some(shown(actor, &self.agent_of(&row)?)) })
    }

    pub async fn delete_agent(
        &self,
        actor: &Actor,
        request: api::DeleteAgentRequest,
    ) -> Result<api::DeleteAgentResponse, Error> {
        let agent = self.changeable_agent(actor, &request.id)?;
        let (id, revision) = (&agent.id.0, request.revision);
        let deleted = move |mut tx: Tx| async move {
            let before = kept::wanted::<api::Agent>(&mut tx, id, revision).await?;
            actor.must_rule(&before.team_id)?;
            kept::delete(&mut tx, actor, Resource::Agents, &before).await?;
            tx.claim_names(&before.id, &[]).await?;
            Ok((tx, ()))
        };
        self.store().run_tx("delete agent", deleted).await?;
        self.taken_over().await;
        Ok(api::DeleteAgentResponse {})
    }

    pub async fn enable_agent(
        &self,
        actor: &Actor,
        request: api::EnableAgentRequest,
    ) -> Result<api::EnableAgentResponse, Error> {
        let agent = self.switched(actor, &request.id, true).await?;
        Ok(api::EnableAgentResponse { agent: Some(agent) })
    }

    pub async fn disable_agent(
        &self,
        actor: &Actor,
        request: api::DisableAgentRequest,
    ) -> Result<api::DisableAgentResponse, Error> {
        let agent = self.changeable_agent(actor, &request.id)?;
        let mut running = self.gateway.running_tasks(&agent.id);
        let shown = self.switched(actor, &request.id, false).await?;
        if request.stop_running {
            // With those that began in between. A stream whose agent has not said its task yet cannot be told of.
            running.extend(self.gateway.running_tasks(&agent.id));
            match self.gateway.unended_tasks(&agent.id, &actor.caller).await {
                Ok(tasks) => running.extend(tasks),
                // The stop is made, and what is known is cancelled all the same.
                Err(error) => tracing::warn!(?error, "only the tasks of open streams can be cancelled"),
            }
            self.gateway.cancel_tasks(&agent, running).await;
        }
        Ok(api::DisableAgentResponse { agent: Some(shown) })
    }

    /// Writes this one field: an emergency stop must not fail over what others have done to the rest.
    async fn switched(&self, actor: &Actor, id: &str, enabled: bool) -> Result<api::Agent, Error> {
        let agent = self.changeable_agent(actor, id)?;
        let id = &agent.id.0;
        let written = move |mut tx: Tx| async move {
            // Taking the number holds up every other writer, so what is read stays true.
            tx.next_seq(Resource::Agents).await?;
            let before = kept::wanted::<api::Agent>(&mut tx, id, 0).await?;
            actor.must_rule(&before.team_id)?;
            let about = api::Agent { enabled: Some(enabled), ..kept::read(&before)? };
            let row = kept::update(&mut tx, actor, &before, &about, before.sealed.clone()).await?;
            Ok((tx, row))
        };
        let row = self.store().run_tx("switch agent", written).await?;
        self.taken_over().await;
        Ok(shown(actor, &self.agent_of(&row)?))
    }

    pub async fn refresh_agent_card(
        &self,
        actor: &Actor,
        request: api::RefreshAgentCardRequest,
    ) -> Result<api::RefreshAgentCardResponse, Error> {
        let agent = self.visible_agent(actor, &request.id)?;
        if !actor.rules(&agent) {
            return Err(actor.refused());
        }
        let card = self.gateway.refresh_card(&agent).await?;
        Ok(api::RefreshAgentCardResponse { card: Some((*card).clone()) })
    }

    pub async fn discover_agent_card(
        &self,
        _: &Actor,
        request: api::DiscoverAgentCardRequest,
    ) -> Result<api::DiscoverAgentCardResponse, Error> {
        let (url, card) = self.gateway.discover(&request.url).await?;
        Ok(api::DiscoverAgentCardResponse { url, card: Some(card) })
    }

    /// Takes the agent's names for it alone: none may be one of the configuration's, or another agent's.
    async fn claim(&self, tx: &mut Tx, about: &api::Agent) -> Result<(), StoreError> {
        let names = registry::names_of(about);
        let of_config = |name: &str| {
            let known = self.gateway.agent(&AgentName(name.into()));
            known.is_some_and(|known| known.is_of_config())
        };
        let mut clash = names.iter().find(|name| of_config(name)).map(|name| (*name).to_owned());
        if clash.is_none() {
            clash = tx.claim_names(&about.id, &names).await?;
        }
        match clash {
            None => Ok(()),
            Some(name) => {
                let field = if name == about.name { "agent.name" } else { "agent.aliases" };
                Err(taken::<api::Agent>(field, &name).into())
            }
        }
    }

    /// What the actor may write, field by field; groups are written as their ids.
    async fn check_agent(
        &self,
        actor: &Actor,
        about: &mut api::Agent,
        before: Option<&api::Agent>,
    ) -> Result<(), Error> {
        let old = before.cloned().unwrap_or_default();
        if actor.scope == Scope::Own {
            actor.must_be_of(&about.team_id)?;
            let reserved = [
                ("agent.tags", about.tags == old.tags),
                ("agent.access_groups", about.access_groups == old.access_groups),
                ("agent.public", about.public == old.public),
            ];
            if let Some((field, _)) = reserved.into_iter().find(|(_, same)| !same) {
                return Err(Error::new(Kind::PermissionDenied, format!("{field}: only administrators may set it")));
            }
            let may_approve = actor.caller.role == api::Role::TeamAdmin;
            let was_draft = before.is_none_or(|before| before.state() == api::AgentState::Draft);
            let stays_draft = was_draft && about.state() == api::AgentState::Draft;
            if !may_approve && !stays_draft {
                let message =
                    "agent.state: publishers write drafts; an administrator approves them, and changes them then";
                return Err(Error::new(Kind::PermissionDenied, message));
            }
        }
        if !about.team_id.is_empty() && about.team_id != old.team_id {
            let team = self.store().find(Resource::Teams, &about.team_id).await?;
            about.team_id = team.ok_or_else(|| Error::invalid("agent.team_id", "is no team here"))?.id;
        }
        self.row_ids(Resource::AccessGroups, "agent.access_groups", &mut about.access_groups, &old.access_groups)
            .await?;
        if about.state() == api::AgentState::Unspecified {
            about.set_state(api::AgentState::Approved);
        }
        let settings = registry::settings_of(about).map_err(|wrong| {
            let message =
                wrong.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.description)).collect::<Vec<_>>();
            wrong.into_iter().fold(Error::new(Kind::InvalidParams, message.join("; ")), Error::violation)
        })?;
        for (at, endpoint) in about.endpoints.iter().enumerate() {
            let is_known = old.endpoints.iter().any(|known| known.url == endpoint.url);
            let url = agent_url(&endpoint.url).ok().filter(|_| !is_known);
            if let Some(fault) = url.and_then(|(url, _)| self.gateway.refuses_address(&url)) {
                return Err(Error::invalid(format!("agent.endpoints[{at}].url"), fault));
            }
        }
        let card_url = settings.card_url.as_ref().filter(|_| about.card_url != old.card_url);
        if let Some(fault) = card_url.and_then(|url| self.gateway.refuses_address(url)) {
            return Err(Error::invalid("agent.card_url", fault));
        }
        Ok(())
    }

    /// The agent that `id` means to the actor.
    pub(super) fn visible_agent(&self, actor: &Actor, id: &str) -> Result<Arc<Agent>, Error> {
        let agent = self.gateway.agent(&AgentName(id.into())).filter(|agent| self.sees(actor, agent));
        agent.ok_or_else(|| not_found::<api::Agent>(id))
    }

    /// The agent that the actor may change.
    pub(super) fn changeable_agent(&self, actor: &Actor, id: &str) -> Result<Arc<Agent>, Error> {
        let agent = self.visible_agent(actor, id)?;
        if agent.is_of_config() {
            let message = "the agent is in the configuration file: change it there";
            return Err(Error::new(Kind::PermissionDenied, message));
        }
        if !actor.rules(&agent) {
            return Err(actor.refused());
        }
        Ok(agent)
    }

    /// The agent of a row that was just written.
    fn agent_of(&self, row: &Row) -> Result<Agent, Error> {
        let broken = || Error::new(Kind::Internal, format!("table agents: the row {} cannot be read back", row.id));
        registry::from_row(row, self.store().cipher()).ok_or_else(broken)
    }

    pub(super) fn sees(&self, actor: &Actor, agent: &Agent) -> bool {
        actor.rules(agent) || self.gateway.may_call(&actor.caller, agent)
    }
}

/// What the actor is shown of an agent: to those who only call it, nothing of how it is reached.
fn shown(actor: &Actor, agent: &Agent) -> api::Agent {
    if actor.rules(agent) {
        return agent.about.clone();
    }
    let about = &agent.about;
    api::Agent {
        id: about.id.clone(),
        name: about.name.clone(),
        aliases: about.aliases.clone(),
        description: about.description.clone(),
        tags: about.tags.clone(),
        capabilities: about.capabilities.clone(),
        provider: about.provider.clone(),
        enabled: about.enabled,
        public: about.public,
        state: about.state,
        source: about.source,
        ..Default::default()
    }
}
