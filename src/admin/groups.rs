//! AccessGroupService.

use super::kept::{self, Kept as _, Pages, not_found};
use super::{Actor, Admin, check};
use crate::error::Error;
use crate::proto::admin as api;
use crate::store::{PageOf, Resource, Row, Tx};

impl Admin {
    pub async fn create_access_group(
        &self,
        actor: &Actor,
        request: api::CreateAccessGroupRequest,
    ) -> Result<api::CreateAccessGroupResponse, Error> {
        let mut group = request.access_group.unwrap_or_default();
        self.check_group(actor, &mut group, &api::AccessGroup::default()).await?;
        let group = group.with(&kept::new_id::<api::AccessGroup>(), None);
        let kept = &group;
        let written = move |mut tx: Tx| async move {
            let row = kept::insert(&mut tx, actor, kept, String::new()).await?;
            Ok((tx, row))
        };
        let row = self.store().run_tx("create access group", written).await?;
        self.taken_over().await;
        Ok(api::CreateAccessGroupResponse { access_group: Some(kept::read(&row)?) })
    }

    pub async fn get_access_group(
        &self,
        _: &Actor,
        request: api::GetAccessGroupRequest,
    ) -> Result<api::GetAccessGroupResponse, Error> {
        let row = self.group(&request.id).await?;
        Ok(api::GetAccessGroupResponse { access_group: Some(kept::read(&row)?) })
    }

    pub async fn list_access_groups(
        &self,
        actor: &Actor,
        request: api::ListAccessGroupsRequest,
    ) -> Result<api::ListAccessGroupsResponse, Error> {
        let pages = Pages { store: self.store(), actor, filter: String::new() };
        let asked = (request.page_size, request.page_token.as_str());
        let (rows, next_page_token) = pages.rows(Resource::AccessGroups, asked, PageOf::default()).await?;
        let access_groups = rows.iter().map(kept::read).collect::<Result<_, _>>()?;
        Ok(api::ListAccessGroupsResponse { access_groups, next_page_token })
    }

    pub async fn update_access_group(
        &self,
        actor: &Actor,
        request: api::UpdateAccessGroupRequest,
    ) -> Result<api::UpdateAccessGroupResponse, Error> {
        let patch = request.access_group.unwrap_or_default();
        let seen = self.group(&patch.id).await?;
        kept::must_have(&seen, patch.provenance().map_or(0, |provenance| provenance.revision))?;
        let before: api::AccessGroup = kept::read(&seen)?;
        let mut group = kept::patched(&before, &patch, request.update_mask.as_ref())?;
        self.check_group(actor, &mut group, &before).await?;
        let (seen, kept) = (&seen, &group);
        let written = move |mut tx: Tx| async move {
            let before = kept::wanted::<api::AccessGroup>(&mut tx, &seen.id, seen.revision).await?;
            let row = kept::update(&mut tx, actor, &before, kept, String::new()).await?;
            Ok((tx, row))
        };
        let row = self.store().run_tx("update access group", written).await?;
        self.taken_over().await;
        Ok(api::UpdateAccessGroupResponse { access_group: Some(kept::read(&row)?) })
    }

    pub async fn delete_access_group(
        &self,
        actor: &Actor,
        request: api::DeleteAccessGroupRequest,
    ) -> Result<api::DeleteAccessGroupResponse, Error> {
        let seen = self.group(&request.id).await?;
        let (seen, revision) = (&seen, request.revision);
        let deleted = move |mut tx: Tx| async move {
            let before = kept::wanted::<api::AccessGroup>(&mut tx, &seen.id, revision).await?;
            kept::delete(&mut tx, actor, Resource::AccessGroups, &before).await?;
            Ok((tx, ()))
        };
        self.store().run_tx("delete access group", deleted).await?;
        self.taken_over().await;
        Ok(api::DeleteAccessGroupResponse {})
    }

    async fn check_group(
        &self,
        actor: &Actor,
        group: &mut api::AccessGroup,
        before: &api::AccessGroup,
    ) -> Result<(), Error> {
        if group.name.is_empty() {
            return Err(Error::invalid("access_group.name", "is required"));
        }
        check::text("access_group.name", &group.name, 256)?;
        check::text("access_group.description", &group.description, 4_096)?;
        self.agent_ids(actor, "access_group.agents", &mut group.agents, &before.agents)?;
        self.row_ids(Resource::Teams, "access_group.teams", &mut group.teams, &before.teams).await?;
        self.row_ids(Resource::Keys, "access_group.keys", &mut group.keys, &before.keys).await
    }

    async fn group(&self, id: &str) -> Result<Row, Error> {
        let row = self.store().find(Resource::AccessGroups, id).await?;
        row.ok_or_else(|| not_found::<api::AccessGroup>(id))
    }
}
