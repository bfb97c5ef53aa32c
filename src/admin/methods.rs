//! The table of the admin API: which role may call which method, and on what.

use std::pin::Pin;
use std::sync::Arc;

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Actor, Admin, Scope};
use crate::call::{Caller, Form};
use crate::config::Role;
use crate::error::{Error, Kind};
use bytes::Bytes;

/// One method.
pub(super) struct AdminMethod {
    /// Service and method, without the package: `AgentService/CreateAgent`.
    pub(super) name: &'static str,
    /// For caller, auditor, publisher, team admin, admin and operator, in this order.
    scopes: [Option<Scope>; 6],
    pub(super) run: Run,
}

type Run = fn(Arc<Admin>, Actor, Form, Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, Error>> + Send>>;

impl AdminMethod {
    pub(super) fn by_name(name: &str) -> Option<&'static Self> {
        ADMIN_METHODS.iter().find(|method| method.name == name)
    }

    /// `caller` as one who may call it.
    ///
    /// # Errors
    /// PermissionDenied when its role may not.
    pub(super) fn actor(&self, caller: Caller) -> Result<Actor, Error> {
        let at = match caller.role {
            Role::Unspecified | Role::Caller => 0,
            Role::Auditor => 1,
            Role::Publisher => 2,
            Role::TeamAdmin => 3,
            Role::Admin => 4,
            Role::Operator => 5,
        };
        let Some(scope) = self.scopes[at] else {
            let method = self.name.rsplit('/').next().unwrap_or_default();
            let message = format!("this key may not call {method}: its role does not allow it");
            return Err(Error::new(Kind::PermissionDenied, message));
        };
        Ok(Actor { caller, scope, method: self.name })
    }
}

const NO: Option<Scope> = None;
const OWN: Option<Scope> = Some(Scope::Own);
const ALL: Option<Scope> = Some(Scope::All);

macro_rules! methods {
    ($($name:literal $method:ident [$($scope:ident)*];)*) => {
        /// Every method, in the order of the schema. A test walks the schema and finds each of its methods here.
        #[rustfmt::skip]
        pub(super) const ADMIN_METHODS: &[AdminMethod] = &[$(AdminMethod {
            name: $name,
            scopes: [$($scope),*],
            run: |admin, actor, form, message| Box::pin(async move {
                let request = read(form, &message)?;
                let response = admin.$method(&actor, request).await?;
                write(form, &response)
            }),
        }),*];
    };
}

methods! {
    //                                                            caller auditor publisher team admin admin operator
    "AgentService/CreateAgent"              create_agent          [NO    NO      OWN       OWN        ALL   ALL];
    "AgentService/GetAgent"                 get_agent             [OWN   ALL     OWN       OWN        ALL   ALL];
    "AgentService/ListAgents"               list_agents           [OWN   ALL     OWN       OWN        ALL   ALL];
    "AgentService/UpdateAgent"              update_agent          [NO    NO      OWN       OWN        ALL   ALL];
    "AgentService/DeleteAgent"              delete_agent          [NO    NO      NO        OWN        ALL   ALL];
    "AgentService/EnableAgent"              enable_agent          [NO    NO      NO        OWN        ALL   ALL];
    "AgentService/DisableAgent"             disable_agent         [NO    NO      NO        OWN        ALL   ALL];
    "AgentService/RefreshAgentCard"         refresh_agent_card    [NO    NO      OWN       OWN        ALL   ALL];
    "AgentService/DiscoverAgentCard"        discover_agent_card   [NO    NO      OWN       OWN        ALL   ALL];

    "KeyService/CreateKey"                  create_key            [NO    NO      NO        OWN        ALL   ALL];
    "KeyService/GetKey"                     get_key               [OWN   ALL     OWN       OWN        ALL   ALL];
    "KeyService/ListKeys"                   list_keys             [NO    ALL     NO        OWN        ALL   ALL];
    "KeyService/UpdateKey"                  update_key            [NO    NO      NO        OWN        ALL   ALL];
    "KeyService/BlockKey"                   block_key             [NO    NO      NO        OWN        ALL   ALL];
    "KeyService/UnblockKey"                 unblock_key           [NO    NO      NO        OWN        ALL   ALL];
    "KeyService/RotateKey"                  rotate_key            [NO    NO      NO        OWN        ALL   ALL];
    "KeyService/DeleteKey"                  delete_key            [NO    NO      NO        OWN        ALL   ALL];
    "KeyService/ExplainAccess"              explain_access        [NO    ALL     NO        OWN        ALL   ALL];

    "TeamService/CreateTeam"                create_team           [NO    NO      NO        NO         ALL   ALL];
    "TeamService/GetTeam"                   get_team              [NO    ALL     OWN       OWN        ALL   ALL];
    "TeamService/ListTeams"                 list_teams            [NO    ALL     OWN       OWN        ALL   ALL];
    "TeamService/UpdateTeam"                update_team           [NO    NO      NO        NO         ALL   ALL];
    "TeamService/DeleteTeam"                delete_team           [NO    NO      NO        NO         ALL   ALL];

    "TaskService/ListTasks"                 list_tasks            [OWN   ALL     OWN       OWN        ALL   ALL];
    "TaskService/GetTask"                   get_task              [OWN   ALL     OWN       OWN        ALL   ALL];

    "AccessGroupService/CreateAccessGroup"  create_access_group   [NO    NO      NO        NO         ALL   ALL];
    "AccessGroupService/GetAccessGroup"     get_access_group      [NO    ALL     NO        NO         ALL   ALL];
    "AccessGroupService/ListAccessGroups"   list_access_groups    [NO    ALL     NO        NO         ALL   ALL];
    "AccessGroupService/UpdateAccessGroup"  update_access_group   [NO    NO      NO        NO         ALL   ALL];
    "AccessGroupService/DeleteAccessGroup"  delete_access_group   [NO    NO      NO        NO         ALL   ALL];
}

/// The names of the services, each once.
pub(super) fn services() -> Vec<&'static str> {
    let mut names: Vec<_> = ADMIN_METHODS.iter().filter_map(|method| method.name.split('/').next()).collect();
    names.dedup();
    names
}

/// A request in its caller's form.
fn read<T: Message + DeserializeOwned + Default>(form: Form, message: &Bytes) -> Result<T, Error> {
    match form {
        Form::Proto => T::decode(message.clone()).map_err(|error| {
            Error::new(Kind::InvalidParams, "the message is not protobuf of its schema").because(error)
        }),
        // An empty body is the empty message. The admin API has one version, so 0.3's forms do not come here.
        _ if message.iter().all(u8::is_ascii_whitespace) => Ok(T::default()),
        _ => read_json(message),
    }
}

/// Unknown members that are named.
const UNKNOWN_MAX: usize = 16;

/// Reads JSON of the schema, and names every member that it does not know.
pub(super) fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_slice(text);
    let noting = |path: serde_ignored::Path<'_>| {
        if unknown.len() < UNKNOWN_MAX {
            unknown.push(path.to_string().replace(".?", ""));
        }
    };
    let mut noting = noting;
    let noted = serde_ignored::Deserializer::new(&mut json, &mut noting);
    let read = T::deserialize(serde_path_to_error::Deserializer::new(noted, &mut track));
    let read = read.map_err(|error| {
        let path = track.path().to_string();
        if error.is_syntax() || error.is_eof() {
            let message = format!("the body is not JSON: line {}, column {}", error.line(), error.column());
            return Error::new(Kind::Parse, message);
        }
        Error::invalid(path, "is not of the type that the schema says")
    })?;
    json.end().map_err(|_| Error::new(Kind::Parse, "the body has more than one JSON value"))?;
    if unknown.is_empty() {
        return Ok(read);
    }
    let message = format!("{}: no such field", unknown.join(", "));
    let violation = |field| crate::error::FieldViolation { field, description: "no such field".to_owned() };
    Err(unknown.into_iter().map(violation).fold(Error::new(Kind::InvalidParams, message), Error::violation))
}

fn write<T: Message + Serialize>(form: Form, message: &T) -> Result<Bytes, Error> {
    match form {
        Form::Proto => Ok(message.encode_to_vec().into()),
        _ => serde_json::to_vec(message)
            .map(Bytes::from)
            .map_err(|error| Error::new(Kind::Internal, "the answer cannot be written as JSON").because(error)),
    }
}
