//! Contexts under another name at the agent: what a caller makes up is replaced by a name that no other owner can hit,
//! and put back in everything that the agent says.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::contexts::in_context;
use super::{Ownership, shares};
use crate::call::{Answer, Call, Caller, Content, Event, Reply, ReplyBody, Response};
use crate::config::{ClientContexts, TaskScope};
use crate::error::Error;
use crate::proto::send_message_response::Payload as Sent;
use crate::proto::stream_response::Payload;
use crate::proto::{Message, Task};
use crate::registry::Agent;
use crate::store::OwnedRow;
use crate::wire::content;

/// What our names for contexts begin with.
const PREFIX: &str = "ctx-";

/// The secret of which names are made.
pub struct Namespace([u8; 32]);

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Namespace(..)")
    }
}

impl Namespace {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The agent's name for what whoever shares with `caller` calls `context_id`.
    fn name(&self, scope: TaskScope, caller: &Caller, agent: &Agent, context_id: &str) -> String {
        let owner = match (scope, &caller.team) {
            (TaskScope::Team, Some(team)) => ["team", &team.0],
            _ => ["key", &caller.key.0],
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length will do");
        for field in [owner[0], owner[1], &agent.id.0, context_id] {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field.as_bytes());
        }
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

/// Who reads a reply of which agent.
struct Whose {
    caller: Caller,
    scope: TaskScope,
    agent: Arc<str>,
}

impl Ownership {
    /// Whether the agent's contexts have other names there.
    pub fn is_namespaced(&self, agent: &Agent) -> bool {
        self.scope(agent) != TaskScope::None && self.client_contexts(agent) == ClientContexts::Namespaced
    }

    /// The call as the agent is to see it, if it names a context that the agent did not make for its owner.
    ///
    /// # Errors
    /// Overloaded when the store does not answer.
    pub async fn namespaced(&self, call: &Call, agent: &Agent) -> Result<Option<Box<Call>>, Error> {
        let Some(context_id) = call.operation.context_id() else { return Ok(None) };
        let scope = self.scope(agent);
        let known = self.known(&agent.id.0, &[], &[context_id]).await?;
        let is_theirs = |row: &OwnedRow| row.client_id.is_empty() && shares(scope, row, &call.caller);
        if known.iter().any(|row| is_theirs(row)) {
            return Ok(None);
        }
        let name = self.namespace.name(scope, &call.caller, agent, context_id);
        let operation = in_context(&call.operation, name);
        // The caller's bytes have the caller's name.
        Ok(Some(Box::new(Call { operation, raw: None, ..call.clone() })))
    }

    /// A reply as the caller is to read it.
    ///
    /// # Errors
    /// InvalidAgentResponse for what cannot be read, Overloaded when the store does not answer.
    pub async fn renamed(self: &Arc<Self>, reply: Reply, caller: &Caller, agent: &Agent) -> Result<Reply, Error> {
        let whose = Arc::new(self.whose(caller, agent));
        let Reply { meta, body } = reply;
        let body = match body {
            ReplyBody::One(answer) => ReplyBody::One(self.renamed_answer(answer, &whose).await?),
            ReplyBody::Stream(events) => {
                let ownership = Arc::clone(self);
                let renamed = events.then(move |event| {
                    let (ownership, whose) = (Arc::clone(&ownership), Arc::clone(&whose));
                    async move {
                        match event {
                            Ok(event) => ownership.renamed_event(event, &whose).await,
                            Err(error) => Err(error),
                        }
                    }
                });
                ReplyBody::Stream(renamed.boxed())
            }
        };
        Ok(Reply { meta, body })
    }

    async fn renamed_answer(&self, answer: Answer, whose: &Whose) -> Result<Answer, Error> {
        let (rpc, mut peek) = (answer.rpc, answer.peek.clone());
        let mut response = content::typed_answer(answer)?;
        let mut names = Vec::new();
        match &mut response {
            Response::SendMessage(sent) => match &mut sent.payload {
                Some(Sent::Task(task)) => of_task(task, &mut names),
                Some(Sent::Message(message)) => of_message(message, &mut names),
                None => {}
            },
            Response::Task(task) => of_task(task, &mut names),
            Response::ListTasks(list) => list.tasks.iter_mut().for_each(|task| of_task(task, &mut names)),
            _ => {}
        }
        names.extend(&mut peek.context_id);
        self.put_back(names, whose).await?;
        Ok(Answer { rpc, peek, content: Content::Typed(Box::new(response)) })
    }

    /// An event that came by itself, as the caller is to read it.
    ///
    /// # Errors
    /// As [`Ownership::renamed`].
    pub async fn renamed_notification(&self, event: Event, caller: &Caller, agent: &Agent) -> Result<Event, Error> {
        self.renamed_event(event, &self.whose(caller, agent)).await
    }

    fn whose(&self, caller: &Caller, agent: &Agent) -> Whose {
        Whose { caller: caller.clone(), scope: self.scope(agent), agent: Arc::clone(&agent.id.0) }
    }

    async fn renamed_event(&self, event: Event, whose: &Whose) -> Result<Event, Error> {
        let mut peek = event.peek.clone();
        let mut typed = content::typed_stream_event(event)?;
        let mut names = Vec::new();
        match &mut typed.payload {
            Some(Payload::Task(task)) => of_task(task, &mut names),
            Some(Payload::Message(message)) => of_message(message, &mut names),
            Some(Payload::StatusUpdate(update)) => {
                names.push(&mut update.context_id);
                if let Some(message) = update.status.as_mut().and_then(|status| status.message.as_mut()) {
                    of_message(message, &mut names);
                }
            }
            Some(Payload::ArtifactUpdate(update)) => names.push(&mut update.context_id),
            None => {}
        }
        names.extend(&mut peek.context_id);
        self.put_back(names, whose).await?;
        Ok(Event { peek, content: Content::Typed(Box::new(typed)) })
    }

    /// Puts the caller's own names in place of ours; somebody else's stay as they are.
    async fn put_back(&self, names: Vec<&mut String>, whose: &Whose) -> Result<(), Error> {
        let mut ours: Vec<&str> =
            names.iter().map(|name| name.as_str()).filter(|name| name.starts_with(PREFIX)).collect();
        ours.sort_unstable();
        ours.dedup();
        let rows = self.known(&whose.agent, &[], &ours).await?;
        let rows = rows.iter().filter(|row| !row.client_id.is_empty() && shares(whose.scope, row, &whose.caller));
        let known: HashMap<String, String> = rows.map(|row| (row.id.clone(), row.client_id.clone())).collect();
        for name in names {
            if let Some(own) = known.get(name.as_str()) {
                name.clone_from(own);
            }
        }
        Ok(())
    }
}

/// The contexts that a task names.
fn of_task<'t>(task: &'t mut Task, names: &mut Vec<&'t mut String>) {
    names.push(&mut task.context_id);
    let status = task.status.as_mut().and_then(|status| status.message.as_mut());
    status.into_iter().chain(&mut task.history).for_each(|message| of_message(message, names));
}

fn of_message<'t>(message: &'t mut Message, names: &mut Vec<&'t mut String>) {
    names.push(&mut message.context_id);
}
