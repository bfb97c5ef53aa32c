//! The way of a push notification: from an agent, whose token says for whom it is, to that caller's webhook, in the
//! version in which the caller asked for it.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::{Instant, timeout_at};

use super::{Gateway, own_name, restarting};
use crate::call::{CallId, Caller, Content, Event, Form, PayloadKind, Peer, Response};
use crate::config::Settings;
use crate::error::{Error, Kind, Sent};
use crate::ledger::Notified;
use crate::limits::Reserved;
use crate::operation::{Operation, Version};
use crate::ownership::Named;
use crate::proto;
use crate::proto::stream_response::Payload;
use crate::registry::Agent;
use crate::tasks::{Recipient, TOKEN, undelivered};
use crate::wire::content::{self, EventWriter};
use crate::wire::json;

/// A push notification whose sender may send it.
pub struct Notification {
    recipient: Recipient,
    caller: Caller,
    agent: Arc<Agent>,
    peer: Peer,
    received: Instant,
}

impl Gateway {
    /// Lets a push notification in by its headers alone: its token must have been made for this address, and whoever
    /// asked for it may still call the agent.
    ///
    /// # Errors
    /// Unauthenticated, PermissionDenied, Overloaded when the store does not answer.
    pub async fn admit_notification(
        &self,
        handle: &str,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Result<Notification, Error> {
        let received = self.clock.instant();
        let mut tokens = headers.get_all(TOKEN).iter();
        let token = match (tokens.next(), tokens.next()) {
            (Some(token), None) => token.to_str().ok(),
            _ => None,
        };
        let recipient = token.and_then(|token| self.relay.recipient(handle, token)).ok_or_else(|| {
            let message =
                "send the token of the push configuration in one header X-A2A-Notification-Token, to its own url";
            Error::new(Kind::Unauthenticated, message)
        })?;
        let gone = || {
            let message =
                "whoever asked for these notifications may not call this agent any more: delete the configuration";
            Error::new(Kind::PermissionDenied, message)
        };
        let caller = self.access.whose(&recipient.key()).await?.ok_or_else(gone)?;
        let agent = self.access.visible(&self.registry, &caller, &recipient.agent()).map_err(|_| gone())?;
        if !recipient.asked_by().is_some_and(|rpc| self.access.may_make(&caller, rpc)) {
            return Err(gone());
        }
        Ok(Notification { recipient, caller, agent, peer, received })
    }

    /// Hands a notification on, and keeps its record.
    ///
    /// # Errors
    /// InvalidAgentResponse for a notification that is none, or about somebody else's task; RateLimited when as many are
    /// under way as there may be; UpstreamUnavailable when the webhook did not take it in time; Overloaded.
    pub async fn notify(&self, notification: &Notification, payload: Bytes) -> Result<(), Error> {
        let record = self.ledger.notified(&Notified {
            id: CallId(self.clock.uuid()),
            caller: &notification.caller,
            agent: &own_name(&notification.agent),
            version: notification.recipient.version(),
            webhook: &notification.recipient.origin(),
            received: notification.received,
        })?;
        let mut attempts = 0;
        let event = match read(payload, &self.settings) {
            Ok(event) => event,
            Err(error) => return record.close(None, attempts, Err(error)),
        };
        let peek = event.peek.clone();
        let until = notification.received + self.settings.push.timeout;
        let handed_on = tokio::select! {
            handed_on = timeout_at(until, Box::pin(self.hand_on(notification, event, &mut attempts))) => {
                handed_on.unwrap_or_else(|_| Err(undelivered("the notification was not handed on in time", Sent::Maybe)))
            }
            () = self.ending.cancelled() => Err(restarting()),
        };
        record.close(Some(&peek), attempts, handed_on)
    }

    async fn hand_on(&self, notification: &Notification, event: Event, attempts: &mut u32) -> Result<(), Error> {
        let Notification { recipient, caller, agent, .. } = notification;
        if recipient.task().is_some_and(|asked| event.peek.task_id.as_deref() != Some(asked)) {
            let message = "the agent notified about another task than the one that was asked about; it is withheld";
            return Err(Error::new(Kind::InvalidAgentResponse, message));
        }
        let known = self.ownership.may_be_told(caller, agent, &event.peek).await?;
        let task_id = event.peek.task_id.clone().unwrap_or_default();
        let get = proto::GetTaskRequest { id: task_id.clone(), ..Default::default() };
        let patience = self.settings.push.timeout;
        let call = self.call_of_ours(caller.clone(), agent, Operation::GetTask(get), notification.peer, patience);
        if known.is_some() {
            self.ownership.hear(&agent.id, &event.peek).await;
        }
        let named = Named { task: known, context: None };
        let reserved = self.limits.reserve_notification(self.access.notified(&call, agent, named))?;
        let is_whole = recipient.version() == Version::V1_0 || event.peek.kind == Some(PayloadKind::Task);
        // In 0.3 a notification is the task, and not what changed of it.
        let event = if is_whole || task_id.is_empty() { event } else { self.task_now(&reserved).await? };
        let event = if self.ownership.is_namespaced(agent) {
            self.ownership.renamed_notification(event, caller, agent).await?
        } else {
            event
        };
        self.relay.deliver(recipient, written(event, recipient.version())?, attempts).await
    }

    /// The task as its agent has it now, if it is still one that the caller may be told of.
    async fn task_now(&self, reserved: &Reserved<'_>) -> Result<Event, Error> {
        let (call, agent) = (reserved.permitted().call(), reserved.permitted().agent());
        let task = Box::pin(self.routing.send(reserved)).await.and_then(content::task_in).map_err(|error| {
            let message = "the agent did not say how the task is";
            Error::new(Kind::UpstreamUnavailable, message).sent_is(Sent::NotSent).because(error)
        })?;
        let event = content::typed_event(proto::StreamResponse { payload: Some(Payload::Task(task)) });
        self.ownership.may_be_told(&call.caller, agent, &event.peek).await?;
        Ok(event)
    }
}

/// A notification in whichever version: one of 0.3 is a bare task, one of 1.0 what a stream would say (A2A 4.3.3).
fn read(payload: Bytes, settings: &Settings) -> Result<Event, Error> {
    #[derive(Deserialize)]
    struct Probe {
        kind: Option<IgnoredAny>,
    }
    let no_object = |_| Error::new(Kind::InvalidAgentResponse, "the notification is no JSON object");
    // The scan of what may go on as it came takes JSON for granted.
    json::is_object(&payload).map_err(no_object)?;
    let is_old = serde_json::from_slice::<Probe>(&payload).is_ok_and(|probe| probe.kind.is_some());
    let version = if is_old { Version::V0_3 } else { Version::V1_0 };
    let event = json::read_event(version, payload, &settings.limits.json)?;
    if event.peek.task_id.is_none() && event.peek.kind != Some(PayloadKind::Message) {
        return Err(Error::new(Kind::InvalidAgentResponse, "the notification does not say which task it is about"));
    }
    Ok(event)
}

/// A notification as callers of `version` read it: the agent's own bytes if they are in it.
fn written(event: Event, version: Version) -> Result<Bytes, Error> {
    let is_task = event.peek.kind == Some(PayloadKind::Task);
    let is_as_it_came = matches!(&event.content, Content::Raw(raw) if raw.form == Form::Json(version));
    if version == Version::V0_3 && is_task && !is_as_it_came {
        let Some(Payload::Task(task)) = content::typed_stream_event(event)?.payload else {
            return Err(Error::new(Kind::InvalidAgentResponse, "the notification has no task in it"));
        };
        return json::write_response(&Response::Task(task), version);
    }
    let messages = EventWriter::new(Form::Json(version)).write(event)?;
    messages
        .into_iter()
        .next()
        .ok_or_else(|| Error::new(Kind::InvalidAgentResponse, "the notification has nothing in it"))
}
