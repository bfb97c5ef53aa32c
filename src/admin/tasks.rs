//! Tasks as the gateway knows them: for administrators all, for others those that they share in. Agents are not asked.

use super::kept::{Pages, page_size};
use super::{Actor, Admin, Scope};
use crate::error::{Error, Kind};
use crate::proto::wkt::time;
use crate::proto::{TaskState, admin as api};
use crate::registry::Agent;
use crate::store::{OwnedBy, OwnedRow, TasksOf};

impl Admin {
    pub async fn list_tasks(
        &self,
        actor: &Actor,
        request: api::ListTasksRequest,
    ) -> Result<api::ListTasksResponse, Error> {
        if request.agent.is_empty() {
            return Err(Error::invalid("agent", "is missing: tasks are listed agent by agent"));
        }
        let agent = self.visible_agent(actor, &request.agent)?;
        let owners = match (actor.scope, request.key_id.as_str(), request.team_id.as_str()) {
            (Scope::All, "", "") => vec![OwnedBy::Anybody],
            (Scope::All, key, "") => vec![OwnedBy::Key(key)],
            (Scope::All, "", team) => vec![OwnedBy::Team(team)],
            (Scope::All, ..) => {
                return Err(Error::invalid("team_id", "goes without key_id: a key's tasks are its own"));
            }
            (Scope::Own, "", "") => self.gateway.task_owners(&actor.caller, &agent),
            (Scope::Own, ..) => {
                let message = "key_id and team_id are for administrators: without them, the list is of your own tasks";
                return Err(Error::new(Kind::PermissionDenied, message));
            }
        };
        let filter = format!("{} {owners:?} {:?} {}", agent.id, request.context_id, request.state);
        let pages = Pages { store: self.store(), actor, filter };
        let size = page_size(request.page_size)?;
        let after = pages.after(&request.page_token)?;
        let of = TasksOf {
            agent_id: &agent.id.0,
            owners: &owners,
            context_id: &request.context_id,
            state: if request.state == 0 { "" } else { request.state().as_str_name() },
            after: after.split_once(' ').and_then(|(at, id)| Some((at.parse().ok()?, id))),
            ..TasksOf::default()
        };
        self.gateway.tasks_written().await?;
        let mut rows = self.store().tasks(of, size + 1).await?;
        let has_more = rows.len() > size;
        rows.truncate(size);
        let last = rows.last().filter(|_| has_more).map(|row| format!("{} {}", row.state_at, row.id));
        Ok(api::ListTasksResponse {
            tasks: rows.iter().map(|row| shown(actor, row, &agent)).collect(),
            next_page_token: last.map(|last| pages.token(&last)).unwrap_or_default(),
        })
    }

    pub async fn get_task(&self, actor: &Actor, request: api::GetTaskRequest) -> Result<api::GetTaskResponse, Error> {
        let agent = self.visible_agent(actor, &request.agent)?;
        self.gateway.tasks_written().await?;
        let rows = self.store().owned(&agent.id.0, &[&request.id], &[]).await?;
        let is_theirs = |row: &OwnedRow| {
            actor.scope == Scope::All
                || (row.deleted_at.is_none() && self.gateway.shares_task(&actor.caller, &agent, row))
        };
        match rows.first().filter(|row| is_theirs(row)) {
            Some(row) => Ok(api::GetTaskResponse { task: Some(shown(actor, row, &agent)) }),
            None => Err(Error::new(Kind::NotFound, "there is no such task")),
        }
    }
}

/// Where it lives is shown to those alone who rule the agent.
fn shown(actor: &Actor, row: &OwnedRow, agent: &Agent) -> api::Task {
    let endpoint = if actor.rules(agent) { row.endpoint_id.clone() } else { String::new() };
    api::Task {
        id: row.id.clone(),
        agent_id: row.agent_id.clone(),
        agent: agent.name().to_owned(),
        context_id: row.context_id.clone(),
        key_id: row.key_id.clone(),
        team_id: row.team_id.clone(),
        user_id: row.user_id.clone(),
        caller_version: row.caller_version.clone(),
        endpoint,
        agent_binding: row.agent_binding.clone(),
        agent_version: row.agent_version.clone(),
        state: TaskState::from_str_name(&row.state).unwrap_or(TaskState::Unspecified).into(),
        state_time: Some(time(row.state_at)),
        end_time: row.ended_at.map(time),
        create_time: Some(time(row.created_at)),
    }
}
