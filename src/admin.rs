//! What administrators and their tools ask of the gateway: the admin API (`proto/switchboard/v1`) by gRPC, gRPC-Web and
//! Connect, and LiteLLM's and RouteIQ's HTTP as thin translations over the same functions.
//!
//! Every way in ends in [`Admin::call`] or in one of the methods that it leads to, with an [`Actor`] that only the
//! table of roles can make. A change is taken over by this gateway before it is answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;

use crate::bindings::{Doors, serve_other};
use crate::call::{Caller, Form};
use crate::config::Role;
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::registry::Agent;
use crate::store::Store;

mod agents;
mod check;
mod groups;
mod kept;
mod keys;
mod litellm;
mod methods;
mod routeiq;
mod tasks;
mod teams;

use methods::AdminMethod;

/// The admin API.
pub struct Admin {
    gateway: Arc<Gateway>,
}

/// What a role may touch with a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// What is its team's, or what it may call.
    Own,
    All,
}

/// Somebody who may call one method. Made from the table of roles alone.
#[derive(Debug)]
pub struct Actor {
    caller: Caller,
    scope: Scope,
    method: &'static str,
}

impl Actor {
    fn id(&self) -> &str {
        &self.caller.key.0
    }

    fn team(&self) -> Result<&str, Error> {
        self.caller.team.as_ref().map(|team| &*team.0).ok_or_else(|| {
            Error::new(Kind::PermissionDenied, "this key is in no team, and its role rules a team's own things only")
        })
    }

    fn is_of(&self, team_id: &str) -> bool {
        self.caller.team.as_ref().is_some_and(|team| &*team.0 == team_id)
    }

    fn must_be_of(&self, team_id: &str) -> Result<(), Error> {
        if self.is_of(team_id) { Ok(()) } else { Err(self.refused()) }
    }

    /// Whether what belongs to this team is its to change.
    fn must_rule(&self, team_id: &str) -> Result<(), Error> {
        if self.scope == Scope::All { Ok(()) } else { self.must_be_of(team_id) }
    }

    fn refused(&self) -> Error {
        let message = format!("this key may call {} on what is its own team's only", self.method);
        Error::new(Kind::PermissionDenied, message)
    }

    /// Whether the agent is its to change, or to see whole.
    fn rules(&self, agent: &Agent) -> bool {
        let rules_its_team = matches!(self.caller.role, Role::Publisher | Role::TeamAdmin);
        self.scope == Scope::All || (rules_its_team && self.is_of(&agent.about.team_id))
    }

    /// Whether it may make keys of this role, and change them.
    fn may_give(&self, role: Role) -> bool {
        match self.caller.role {
            Role::Operator => role != Role::Operator,
            Role::Admin => !matches!(role, Role::Admin | Role::Operator),
            Role::TeamAdmin => {
                matches!(role, Role::Unspecified | Role::Caller | Role::Publisher | Role::TeamAdmin)
            }
            _ => false,
        }
    }
}

impl Admin {
    fn store(&self) -> &Store {
        self.gateway.store()
    }

    /// Takes over what was just written. If that fails it is written all the same, and found by the next poll.
    async fn taken_over(&self) {
        if let Err(error) = self.gateway.catch_up().await {
            tracing::warn!(?error, "a change is written, and will be in force with the next poll");
        }
    }

    /// Calls a method by its name, with a message in `form`.
    ///
    /// # Errors
    /// MethodNotFound, PermissionDenied, and those of the method.
    pub async fn call(
        self: Arc<Self>,
        caller: Caller,
        method: &str,
        form: Form,
        message: Bytes,
    ) -> Result<Bytes, Error> {
        let known = method_of(method)?;
        let actor = known.actor(caller)?;
        (known.run)(self, actor, form, message).await
    }
}

fn method_of(name: &str) -> Result<&'static AdminMethod, Error> {
    AdminMethod::by_name(name).ok_or_else(|| {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        Error::new(Kind::MethodNotFound, format!("there is no method {shown:?}: they are those of switchboard.v1"))
    })
}

/// What the routes need.
#[derive(Clone)]
struct Routes {
    admin: Arc<Admin>,
    doors: Doors,
}

impl Routes {
    /// Lets `caller` call `method`, such as `KeyService/CreateKey`.
    ///
    /// # Errors
    /// PermissionDenied when its role does not allow it.
    #[expect(clippy::unused_self, reason = "whoever has the routes may ask")]
    fn actor(&self, caller: Caller, method: &str) -> Result<Actor, Error> {
        method_of(method)?.actor(caller)
    }
}

/// The routes beside the doors.
pub fn router(doors: Doors) -> Router {
    let admin = Arc::new(Admin { gateway: Arc::clone(&doors.gateway) });
    let routes = Routes { admin, doors };
    let mut all = litellm::router().merge(routeiq::router());
    for service in methods::services() {
        let serve = move |State(routes): State<Routes>, Path(method): Path<String>, request: Request| async move {
            rpc(routes, &format!("{service}/{method}"), request).await
        };
        all = all.route(&format!("/switchboard.v1.{service}/{{method}}"), any(serve));
    }
    all.with_state(routes)
}

async fn rpc(routes: Routes, method: &str, request: Request) -> Response {
    let Routes { admin, doors } = routes;
    serve_other(&doors, request, async |caller, form, message| admin.call(caller, method, form, message).await).await
}
