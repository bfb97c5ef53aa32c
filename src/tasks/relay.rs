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
use tokio::time::{sleep, timeout};
use url::Url;

use crate::call::{AgentName, Answer, Call, Caller, Content, KeyId, Response};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Kind, Origin, Sent};
use crate::operation::{Operation, Version};
use crate::outbound::{Outbound, OutboundError};
use crate::proto::{AuthenticationInfo, TaskPushNotificationConfig};
use crate::registry::Agent;
use crate::store::{Place, Store};
use crate::wire::body::Pieces;
use crate::wire::content;

/// Where the token of a notification stands (A2A 4.3.3).
pub const TOKEN: HeaderName = HeaderName::from_static("x-a2a-notification-token");
const A2A_VERSION: HeaderName = HeaderName::from_static("a2a-version");
const OUR_NAME: HeaderValue = HeaderValue::from_static(concat!("switchboard/", env!("CARGO_PKG_VERSION")));
/// What a caller's address and credentials may be together: sealed, they are a header of the agent's requests.
const BYTES_MAX: usize = 4_096;
/// The pauses before a notification is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// Where notifications of one configuration go, and in whose name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    key: String,
    agent: String,
    /// Empty for the task that the message began with which the configuration came.
    task: String,
    /// The version in which the caller registered.
    version: String,
    url: String,
    token: String,
    authentication: Option<(String, String)>,
}

/// Without the credentials in it.
impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, agent, task, version, .. } = self;
        write!(f, "Recipient({key} at {agent}, task {task:?}, in {version})")
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
        Some(self.task.as_str()).filter(|task| !task.is_empty())
    }

    pub fn version(&self) -> Version {
        Version::parse(&self.version).unwrap_or(Version::V1_0)
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
        headers.extend(secret(&self.token).filter(|_| !self.token.is_empty()).map(|token| (TOKEN, token)));
        let credentials =
            self.authentication.as_ref().filter(|(scheme, secret)| ![scheme, secret].contains(&&String::new()));
        let written = credentials.and_then(|(scheme, credentials)| secret(&format!("{scheme} {credentials}")));
        headers.extend(written.map(|credentials| (AUTHORIZATION, credentials)));
        headers
    }
}

fn secret(text: &str) -> Option<HeaderValue> {
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
    timeout: Duration,
}

impl Relay {
    pub fn new(settings: &Settings, store: Arc<Store>, outbound: Arc<Outbound>, clock: Clock) -> Self {
        let url = settings.push.url.as_ref().or(settings.public_url.as_ref());
        let base = url.map(|url| format!("{}/push/", url.as_str().trim_end_matches('/')));
        Self { store, outbound, clock, base, timeout: settings.push.timeout }
    }

    /// The call as the agent is to see it, if it brings a configuration.
    ///
    /// # Errors
    /// InvalidParams for an address that must not be called, and for what no header can carry.
    pub fn outgoing(&self, call: &Call, agent: &Agent) -> Result<Option<Box<Call>>, Error> {
        let Some(base) = self.base.as_ref().filter(|_| config(&call.operation).is_some()) else { return Ok(None) };
        let mut operation = call.operation.clone();
        if let Some(config) = config_mut(&mut operation) {
            self.check(config, call)?;
            let handle = self.clock.uuid().simple().to_string();
            let authentication = config.authentication.take();
            let recipient = Recipient {
                key: call.caller.key.0.to_string(),
                agent: agent.id.0.to_string(),
                task: config.task_id.clone(),
                version: call.version.as_str().to_owned(),
                url: std::mem::replace(&mut config.url, format!("{base}{handle}")),
                token: std::mem::take(&mut config.token),
                authentication: authentication.map(|found| (found.scheme, found.credentials)),
            };
            let recipient = serde_json::to_string(&recipient).expect("a recipient serializes");
            config.token = self.store.cipher().seal(place(&handle), &recipient);
        }
        // The caller's bytes have the caller's address.
        Ok(Some(Box::new(Call { operation, raw: None, ..call.clone() })))
    }

    fn check(&self, config: &TaskPushNotificationConfig, call: &Call) -> Result<(), Error> {
        let refuse = |member: &str, what: &str| Err(Error::invalid(field(call, member), what));
        let Ok(url) = Url::parse(&config.url) else {
            return refuse("url", "is no URL: write it as in https://host/path");
        };
        if let Err(error) = self.outbound.claimed(&url) {
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
            if secret(text).is_none() {
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
    /// its own secrets. Of a colleague's, the secrets are left out.
    ///
    /// # Errors
    /// InvalidAgentResponse for an answer that cannot be read.
    pub fn incoming(&self, answer: Answer, caller: &Caller) -> Result<Answer, Error> {
        if self.base.is_none() {
            return Ok(answer);
        }
        let (rpc, peek) = (answer.rpc, answer.peek.clone());
        let mut response = content::typed_answer(answer)?;
        match &mut response {
            Response::PushConfig(config) => self.opened(config, caller),
            Response::PushConfigs(list) => list.configs.iter_mut().for_each(|config| self.opened(config, caller)),
            _ => {}
        }
        Ok(Answer { rpc, peek, content: Content::Typed(Box::new(response)) })
    }

    fn opened(&self, config: &mut TaskPushNotificationConfig, caller: &Caller) {
        let handle = self.base.as_ref().and_then(|base| config.url.strip_prefix(base.as_str()));
        let Some(recipient) = handle.and_then(|handle| self.recipient(handle, &config.token)) else { return };
        let is_own = recipient.key == *caller.key.0;
        config.url = recipient.url;
        config.token = if is_own { recipient.token } else { String::new() };
        config.authentication = recipient.authentication.map(|(scheme, credentials)| AuthenticationInfo {
            scheme,
            credentials: if is_own { credentials } else { String::new() },
        });
    }

    /// What was sealed for this address, if the token was; for any other there is none.
    pub fn recipient(&self, handle: &str, token: &str) -> Option<Recipient> {
        let opened = self.store.cipher().open(place(handle), token).ok()?;
        serde_json::from_str(&opened).ok()
    }

    /// Hands a notification on. While the webhook cannot be reached or asks for patience, it is tried again, so it may
    /// arrive twice. How often it was sent comes back.
    ///
    /// # Errors
    /// UpstreamUnavailable when the webhook did not take it.
    pub async fn deliver(&self, recipient: &Recipient, body: Bytes) -> Result<u32, Error> {
        let refused =
            |why: OutboundError| undelivered("the webhook's address is not allowed", Sent::NotSent).because(why);
        let url =
            Url::parse(&recipient.url).map_err(|_| undelivered("the webhook's address is none", Sent::NotSent))?;
        let to = self.outbound.claimed(&url).map_err(refused)?;
        let sent = async {
            let mut pauses = PAUSES.iter();
            for attempt in 1.. {
                let mut request = Request::new(Pieces::new([body.clone(), Bytes::new(), Bytes::new()]));
                *request.method_mut() = Method::POST;
                *request.headers_mut() = recipient.headers();
                let failed = match self.outbound.send(&to, request).await {
                    Ok(response) if response.status().is_success() => return Ok(attempt),
                    Ok(response) => answered(response.status()),
                    Err(error) => unreached(error),
                };
                match pauses.next().filter(|_| failed.retry_after().is_some()) {
                    Some(pause) => sleep(*pause).await,
                    None => return Err(failed),
                }
            }
            unreachable!("the pauses come to an end")
        };
        let late = || Err(undelivered("the webhook did not answer in time", Sent::Maybe));
        timeout(self.timeout, Box::pin(sent)).await.unwrap_or_else(|_| late())
    }
}

/// A webhook that did not take a notification is its owner's to mend.
fn undelivered(message: impl Into<String>, sent: Sent) -> Error {
    Error::new(Kind::UpstreamUnavailable, message).origin_is(Origin::Caller).sent_is(sent)
}

fn answered(status: StatusCode) -> Error {
    let error = undelivered(format!("the webhook answered HTTP {}", status.as_u16()), Sent::Sent);
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502..=504 => error.retry_after_is(PAUSES[0]),
        _ => error,
    }
}

fn unreached(error: OutboundError) -> Error {
    match error {
        OutboundError::Forbidden(_) => {
            undelivered("the webhook's address is not allowed", Sent::NotSent).because(error)
        }
        OutboundError::Connect(_) => {
            undelivered("the webhook cannot be reached", Sent::NotSent).because(error).retry_after_is(PAUSES[0])
        }
        OutboundError::Broken(_) => {
            undelivered("the connection to the webhook broke", Sent::Maybe).because(error).retry_after_is(PAUSES[0])
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
    fn a_ticket_is_printed_without_what_is_secret_in_it() {
        let recipient = Recipient {
            key: "key_1".to_owned(),
            agent: "agt_1".to_owned(),
            task: "t".to_owned(),
            version: "0.3".to_owned(),
            url: "https://hooks.example/s3cret".to_owned(),
            token: "s3cret".to_owned(),
            authentication: Some(("Bearer".to_owned(), "s3cret".to_owned())),
        };
        let printed = format!("{recipient:?} {} {:?}", recipient.origin(), recipient.headers());
        assert!(!printed.contains("s3cret") && printed.contains("https://hooks.example"), "{printed}");
    }
}
