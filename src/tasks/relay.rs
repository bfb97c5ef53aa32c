//! Push notifications on their way from agents to callers.
//!
//! An agent is given an address of ours and a token in place of the caller's. The token is a sealed [`Recipient`]: all that
//! is needed to hand a notification on, so that nothing has to be kept, and any gateway on the same database will do. It
//! can be opened only at the address that it was made for. What an agent answers about a configuration is opened again,
//! so that callers read what they wrote.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use url::Url;

use crate::call::{A2A_VERSION, AgentName, Answer, Call, Caller, Content, KeyId, Response, TeamId};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Kind, Origin, Sent};
use crate::operation::{self, Operation, Rpc, Version};
use crate::outbound::{OUR_NAME, Outbound, OutboundError};
use crate::proto::{AuthenticationInfo, TaskPushNotificationConfig};
use crate::registry::Agent;
use crate::store::{Place, Store};
use crate::wire::body::Pieces;
use crate::wire::content;

/// Where the token of a notification stands (A2A 4.3.3).
pub const TOKEN: HeaderName = HeaderName::from_static("x-a2a-notification-token");
/// What a caller's address and credentials may be together: sealed, they are a header of the agent's requests.
const BYTES_MAX: usize = 4_096;
/// Below it are the addresses of all configurations.
const PATH: &str = "/push/";
/// The pauses before a notification is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// Where notifications of one configuration go, and in whose name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    key: String,
    team: Option<String>,
    agent: String,
    /// None: the configuration came with a message.
    task: Option<String>,
    /// The operation by which the caller asked, by its name in 1.0.
    operation: String,
    /// The version in which the caller asked.
    version: String,
    url: String,
    token: String,
    authentication: Option<Credentials>,
}

/// What a webhook asks for in `Authorization`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Credentials {
    scheme: String,
    credentials: String,
}

/// Without the credentials in it.
impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, agent, task, version, .. } = self;
        write!(f, "Recipient({key} of {agent}, task {task:?}, in {version})")
    }
}

impl Recipient {
    /// Whoever asked for the notifications.
    pub fn key(&self) -> KeyId {
        KeyId(self.key.as_str().into())
    }

    /// The id of the only agent that it is good for.
    pub fn agent(&self) -> AgentName {
        AgentName(self.agent.as_str().into())
    }

    /// The only task that it is good for, if it was known when the configuration was made.
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// The operation by which it was asked for.
    pub fn asked_by(&self) -> Option<Rpc> {
        operation::Method::by_name(&self.operation).map(|method| method.rpc)
    }

    pub fn version(&self) -> Version {
        Version::parse(&self.version).unwrap_or(Version::V1_0)
    }

    /// Whether `caller` is in the team for which it was asked.
    fn is_of_team(&self, team: Option<&TeamId>) -> bool {
        self.team.as_deref().is_some_and(|own| team.is_some_and(|team| *team.0 == *own))
    }

    /// Scheme, host and port of the webhook, for the record: its path may be a secret.
    pub fn origin(&self) -> String {
        Url::parse(&self.url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    /// What a notification carries beside its body.
    fn headers(&self) -> HeaderMap {
        let version = self.version();
        // A2A 4.3.3; in 0.3 it was plain JSON.
        let media_type = if version == Version::V1_0 { "application/a2a+json" } else { "application/json" };
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(USER_AGENT, OUR_NAME);
        headers.insert(A2A_VERSION, HeaderValue::from_static(version.as_str()));
        if !self.token.is_empty() {
            headers.extend(sensitive(&self.token).map(|token| (TOKEN, token)));
        }
        if let Some(Credentials { scheme, credentials }) = &self.authentication
            && !scheme.is_empty()
            && !credentials.is_empty()
        {
            headers.extend(sensitive(&format!("{scheme} {credentials}")).map(|value| (AUTHORIZATION, value)));
        }
        headers
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Stands between agents' notifications and callers' webhooks.
pub struct Relay {
    store: Arc<Store>,
    outbound: Arc<Outbound>,
    clock: Clock,
    /// The address below which agents reach us; None: agents are given callers' own addresses.
    base: Option<String>,
}

impl Relay {
    pub fn new(settings: &Settings, store: Arc<Store>, outbound: Arc<Outbound>, clock: Clock) -> Self {
        let url = settings.push.url.as_ref().or(settings.public_url.as_ref());
        let base = url.map(|url| format!("{}{PATH}", url.as_str().trim_end_matches('/')));
        Self { store, outbound, clock, base }
    }

    /// The call as the agent is to see it, if it brings a configuration.
    ///
    /// # Errors
    /// InvalidParams for an address that must not be called, and for what no header can carry.
    pub fn outgoing(&self, call: &Call, agent: &Agent) -> Result<Option<Box<Call>>, Error> {
        let Some(base) = self.base.as_ref().filter(|_| config(&call.operation).is_some()) else { return Ok(None) };
        // The caller's bytes have the caller's address.
        let mut relayed = Box::new(Call { raw: None, ..call.clone() });
        if let Some(config) = config_mut(&mut relayed.operation) {
            self.check(config, call)?;
            let handle = self.clock.uuid().simple().to_string();
            let authentication = config.authentication.take();
            let recipient = Recipient {
                key: call.caller.key.0.to_string(),
                team: call.caller.team.as_ref().map(|team| team.0.to_string()),
                agent: agent.id.0.to_string(),
                task: Some(config.task_id.clone()).filter(|task| !task.is_empty()),
                operation: call.operation.method().name.to_owned(),
                version: call.version.as_str().to_owned(),
                url: std::mem::replace(&mut config.url, format!("{base}{handle}")),
                token: std::mem::take(&mut config.token),
                authentication: authentication
                    .map(|AuthenticationInfo { scheme, credentials }| Credentials { scheme, credentials }),
            };
            let recipient = serde_json::to_string(&recipient).expect("a recipient serializes");
            config.token = self.store.cipher().seal(place(&handle), &recipient);
        }
        Ok(Some(relayed))
    }

    fn check(&self, config: &TaskPushNotificationConfig, call: &Call) -> Result<(), Error> {
        let refuse = |member: &str, what: &str| Err(Error::invalid(field(call, member), what));
        let Ok(url) = Url::parse(&config.url) else {
            return refuse("url", "is no URL: write it as in https://host/path");
        };
        if let Err(error) = self.outbound.webhook(&url) {
            let why = match error {
                OutboundError::Forbidden(why) => why,
                other => other.to_string(),
            };
            return refuse("url", &format!("must be a public address, by http or https: {why}"));
        }
        let (scheme, credentials) =
            config.authentication.as_ref().map_or(("", ""), |found| (&found.scheme, &found.credentials));
        for (member, text) in
            [("token", config.token.as_str()), ("authentication", scheme), ("authentication", credentials)]
        {
            if sensitive(text).is_none() {
                return refuse(member, "has characters that no header can carry");
            }
        }
        let bytes = config.url.len() + config.token.len() + scheme.len() + credentials.len();
        if bytes > BYTES_MAX {
            let what = format!("with token and credentials has {bytes} bytes, and may have {BYTES_MAX}");
            return refuse("url", &what);
        }
        Ok(())
    }

    /// An agent's answer about configurations as the caller is to read it: with its own address in place of ours, and
    /// its own secrets. Of a colleague's, the secrets are left out, and of anybody else's the address too.
    ///
    /// # Errors
    /// InvalidAgentResponse for an answer that cannot be read.
    pub fn incoming(&self, answer: Answer, caller: &Caller, agent: &Agent) -> Result<Answer, Error> {
        let mut response = content::typed_answer(answer.clone())?;
        let configs = match &mut response {
            Response::PushConfig(config) => std::slice::from_mut(config),
            Response::PushConfigs(list) => &mut list.configs[..],
            _ => &mut [],
        };
        let mut is_changed = false;
        for config in configs {
            is_changed |= self.restore(config, caller, agent);
        }
        let content = if is_changed { Content::Typed(Box::new(response)) } else { answer.content };
        Ok(Answer { rpc: answer.rpc, peek: answer.peek, content })
    }

    /// Puts back what [`Relay::outgoing`] took out, whatever our address was then; false when it is none of ours.
    fn restore(&self, config: &mut TaskPushNotificationConfig, caller: &Caller, agent: &Agent) -> bool {
        let handle = config.url.rsplit_once(PATH).map(|(_, handle)| handle);
        let recipient = handle.and_then(|handle| self.recipient(handle, &config.token));
        let Some(recipient) = recipient else {
            // Sealed under a key that is gone, or not sent back: what is left of it is worth nothing to anybody.
            let is_ours = self.base.as_ref().is_some_and(|base| config.url.starts_with(base.as_str()));
            if is_ours {
                config.token.clear();
            }
            return is_ours;
        };
        let is_of_agent = recipient.agent == *agent.id.0;
        let is_own = is_of_agent && recipient.key == *caller.key.0;
        let is_shared = is_own || (is_of_agent && recipient.is_of_team(caller.team.as_ref()));
        config.url = if is_shared { recipient.url } else { String::new() };
        config.token = if is_own { recipient.token } else { String::new() };
        let authentication = recipient.authentication.filter(|_| is_shared);
        config.authentication = authentication.map(|Credentials { scheme, credentials }| AuthenticationInfo {
            scheme,
            credentials: if is_own { credentials } else { String::new() },
        });
        true
    }

    /// What was sealed for this address, if the token was; for any other there is none.
    pub fn recipient(&self, handle: &str, token: &str) -> Option<Recipient> {
        let opened = self.store.cipher().open(place(handle), token).ok()?;
        serde_json::from_str(&opened).ok()
    }

    /// Hands a notification on, and counts in `attempts` how often it is sent. While the webhook cannot be reached or
    /// asks for patience, it is tried again, so it may arrive twice. The time for all of it is the caller's to set.
    ///
    /// # Errors
    /// UpstreamUnavailable when the webhook did not take it.
    pub async fn deliver(&self, recipient: &Recipient, body: Bytes, attempts: &mut u32) -> Result<(), Error> {
        let url =
            Url::parse(&recipient.url).map_err(|_| undelivered("the webhook's address is none", Sent::NotSent))?;
        let to = self.outbound.webhook(&url).map_err(|error| unreached(error).into_error())?;
        let mut pauses = PAUSES.iter();
        loop {
            let mut request = Request::new(Pieces::new([body.clone(), Bytes::new(), Bytes::new()]));
            *request.method_mut() = Method::POST;
            *request.headers_mut() = recipient.headers();
            *attempts += 1;
            let failed = match self.outbound.send(&to, request).await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => answered(response.status()),
                Err(error) => unreached(error),
            };
            match (failed, pauses.next()) {
                (Failed::ForNow(_), Some(pause)) => sleep(*pause).await,
                (failed, _) => return Err(failed.into_error()),
            }
        }
    }
}

/// What came of one attempt.
enum Failed {
    /// It may do better in a moment.
    ForNow(Error),
    ForGood(Error),
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::ForNow(error) | Self::ForGood(error) => error,
        }
    }
}

/// A webhook that did not take a notification is its owner's to mend.
pub fn undelivered(message: impl Into<String>, sent: Sent) -> Error {
    Error::new(Kind::UpstreamUnavailable, message).origin_is(Origin::Caller).sent_is(sent)
}

fn answered(status: StatusCode) -> Failed {
    let error = undelivered(format!("the webhook answered HTTP {}", status.as_u16()), Sent::Sent);
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502..=504 => Failed::ForNow(error),
        _ => Failed::ForGood(error),
    }
}

fn unreached(error: OutboundError) -> Failed {
    match error {
        OutboundError::Forbidden(_) => {
            Failed::ForGood(undelivered("the webhook's address is not allowed", Sent::NotSent).because(error))
        }
        OutboundError::Connect(_) => {
            Failed::ForNow(undelivered("the webhook cannot be reached", Sent::NotSent).because(error))
        }
        OutboundError::Broken(_) => {
            Failed::ForNow(undelivered("the connection to the webhook broke", Sent::Maybe).because(error))
        }
    }
}

fn place(handle: &str) -> Place<'_> {
    Place { table: "push", column: "token", row: handle }
}

/// A member of a configuration as the caller writes it.
fn field(call: &Call, member: &str) -> String {
    let around = match (&call.operation, call.version) {
        (Operation::CreatePushConfig(_), Version::V1_0) => "",
        (Operation::CreatePushConfig(_), Version::V0_3) => "pushNotificationConfig.",
        (_, Version::V1_0) => "configuration.taskPushNotificationConfig.",
        (_, Version::V0_3) => "configuration.pushNotificationConfig.",
    };
    format!("{around}{member}")
}

fn config(operation: &Operation) -> Option<&TaskPushNotificationConfig> {
    match operation {
        Operation::CreatePushConfig(config) => Some(config),
        Operation::SendMessage(request) | Operation::SendStreamingMessage(request) => {
            request.configuration.as_ref()?.task_push_notification_config.as_ref()
        }
        _ => None,
    }
}

fn config_mut(operation: &mut Operation) -> Option<&mut TaskPushNotificationConfig> {
    match operation {
        Operation::CreatePushConfig(config) => Some(config),
        Operation::SendMessage(request) | Operation::SendStreamingMessage(request) => {
            request.configuration.as_mut()?.task_push_notification_config.as_mut()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_printed_without_what_is_secret_in_it() {
        let secret = || "s3cret".to_owned();
        let recipient = Recipient {
            key: "key_1".to_owned(),
            team: None,
            agent: "agt_1".to_owned(),
            task: Some("t".to_owned()),
            operation: "SendMessage".to_owned(),
            version: "0.3".to_owned(),
            url: "https://hooks.example/s3cret".to_owned(),
            token: secret(),
            authentication: Some(Credentials { scheme: "Bearer".to_owned(), credentials: secret() }),
        };
        let printed = format!("{recipient:?} {} {:?}", recipient.origin(), recipient.headers());
        assert!(!printed.contains("s3cret") && printed.contains("https://hooks.example"), "{printed}");
        assert_eq!(recipient.asked_by(), Some(Rpc::SendMessage));
    }
}
