//! TeamService.

use super::kept::{self, Kept as _, Pages, not_found};
use super::{Actor, Admin, Scope, check};
use crate::error::Error;
use crate::proto::admin as api;
use crate::store::{PageOf, Resource, Row, Tx};

impl Admin {
    pub async fn create_team(
        &self,
        actor: &Actor,
        request: api::CreateTeamRequest,
    ) -> Result<api::CreateTeamResponse, Error> {
        let mut team = request.team.unwrap_or_default();
        if team.id.is_empty() {
            team.id = kept::new_id::<api::Team>();
        }
        let is_id =
            |text: &str| text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !is_id(&team.id) {
            return Err(Error::invalid(
                "team.id",
                "must be up to 128 letters, digits, '.', '_' or '-', or be left out",
            ));
        }
        self.check_team(actor, &mut team, None).await?;
        let kept = &team;
        let written = move |mut tx: Tx| async move {
            let row = kept::insert(&mut tx, actor, kept, String::new()).await?;
            Ok((tx, row))
        };
        let row = self.store().run_tx("create team", written).await?;
        self.taken_over().await;
        Ok(api::CreateTeamResponse { team: Some(kept::read(&row)?) })
    }

    pub async fn get_team(&self, actor: &Actor, request: api::GetTeamRequest) -> Result<api::GetTeamResponse, Error> {
        let row = self.visible_team(actor, &request.id).await?;
        Ok(api::GetTeamResponse { team: Some(kept::read(&row)?) })
    }

    pub async fn list_teams(
        &self,
        actor: &Actor,
        request: api::ListTeamsRequest,
    ) -> Result<api::ListTeamsResponse, Error> {
        if actor.scope == Scope::Own {
            let row = self.visible_team(actor, actor.team()?).await?;
            return Ok(api::ListTeamsResponse { teams: vec![kept::read(&row)?], next_page_token: String::new() });
        }
        let pages = Pages { store: self.store(), actor, filter: String::new() };
        let asked = (request.page_size, request.page_token.as_str());
        let (rows, next_page_token) = pages.rows(Resource::Teams, asked, PageOf::default()).await?;
        let teams = rows.iter().map(kept::read).collect::<Result<_, _>>()?;
        Ok(api::ListTeamsResponse { teams, next_page_token })
    }

    pub async fn update_team(
        &self,
        actor: &Actor,
        request: api::UpdateTeamRequest,
    ) -> Result<api::UpdateTeamResponse, Error> {
        let patch = request.team.unwrap_or_default();
        let seen = self.visible_team(actor, &patch.id).await?;
        kept::must_have(&seen, patch.provenance().map_or(0, |provenance| provenance.revision))?;
        let before: api::Team = kept::read(&seen)?;
        let mut team = kept::patched(&before, &patch, request.update_mask.as_ref())?;
        self.check_team(actor, &mut team, before.grants.as_ref()).await?;
        let (seen, kept) = (&seen, &team);
        let written = move |mut tx: Tx| async move {
            let before = kept::wanted::<api::Team>(&mut tx, &seen.id, seen.revision).await?;
            let row = kept::update(&mut tx, actor, &before, kept, String::new()).await?;
            Ok((tx, row))
        };
        let row = self.store().run_tx("update team", written).await?;
        self.taken_over().await;
        Ok(api::UpdateTeamResponse { team: Some(kept::read(&row)?) })
    }

    pub async fn delete_team(
        &self,
        actor: &Actor,
        request: api::DeleteTeamRequest,
    ) -> Result<api::DeleteTeamResponse, Error> {
        let seen = self.visible_team(actor, &request.id).await?;
        let (seen, revision) = (&seen, request.revision);
        let deleted = move |mut tx: Tx| async move {
            let before = kept::wanted::<api::Team>(&mut tx, &seen.id, revision).await?;
            kept::delete(&mut tx, actor, Resource::Teams, &before).await?;
            let line = kept::line(actor, &before, tx.now());
            tx.delete_keys_of_team(&before.id, &line).await?;
            Ok((tx, ()))
        };
        self.store().run_tx("delete team", deleted).await?;
        self.taken_over().await;
        Ok(api::DeleteTeamResponse {})
    }

    async fn check_team(
        &self,
        actor: &Actor,
        team: &mut api::Team,
        granted: Option<&api::Grants>,
    ) -> Result<(), Error> {
        check::text("team.name", &team.name, 256)?;
        check::limits("team.limits", team.limits.as_ref())?;
        for (at, member) in team.members.iter().enumerate() {
            check::text(&format!("team.members[{at}].user_id"), &member.user_id, 256)?;
            check::text(&format!("team.members[{at}].role"), &member.role, 64)?;
        }
        self.check_grants(actor, "team.grants", team.grants.as_mut(), granted).await
    }

    async fn visible_team(&self, actor: &Actor, id: &str) -> Result<Row, Error> {
        let row = self.store().find(Resource::Teams, id).await?;
        let row = row.filter(|row| actor.scope == Scope::All || actor.is_of(&row.id));
        row.ok_or_else(|| not_found::<api::Team>(id))
    }
}
