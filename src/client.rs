//! A small A2A caller by JSON-RPC, for the command line and the demo.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use url::Url;

use crate::clock::Clock;
use crate::config::{OutboundSettings, Secret};
use crate::operation::{Rpc, Version};
use crate::outbound::{Destination, Outbound, ReplyBody};
use crate::wire::body::{self, Budget, Pace, Pieces};
use crate::wire::sse::SseReader;

/// Answers and events are as large as the gateway lets them be by default.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The gateway or the agent said no; its words.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered.
    #[error("{0}")]
    Unreachable(String),
}

/// A caller of one gateway with one key.
#[derive(Clone)]
pub struct Client {
    outbound: Arc<Outbound>,
    base: Url,
    key: Secret,
}

impl Client {
    /// A caller of the gateway at `base`.
    pub fn new(base: Url, key: impl Into<String>) -> Self {
        let settings = OutboundSettings { allow: Vec::new(), idle_connections_max: 8 };
        Self {
            outbound: Arc::new(Outbound::new(settings, Vec::new(), Duration::from_secs(10))),
            base,
            key: Secret::new(key),
        }
    }

    /// Sends `text` and hands each result to `print`: one, or with `stream` every event.
    ///
    /// # Errors
    /// The first error that comes instead of a result.
    pub async fn send(
        &self,
        agent: &str,
        text: &str,
        version: Version,
        stream: bool,
        print: impl FnMut(&Value),
    ) -> Result<(), Failure> {
        let rpc = if stream { Rpc::SendStreamingMessage } else { Rpc::SendMessage };
        self.call(agent, rpc, version, message(text, version), print).await
    }

    /// Makes one call and hands each result to `print`.
    ///
    /// # Errors
    /// The first error that comes instead of a result.
    pub async fn call(
        &self,
        agent: &str,
        rpc: Rpc,
        version: Version,
        params: Value,
        mut print: impl FnMut(&Value),
    ) -> Result<(), Failure> {
        let method = rpc.method();
        let envelope = json!({ "jsonrpc": "2.0", "id": 1, "method": method.jsonrpc_name(version), "params": params });
        let response = self.post(agent, version, method.streams, envelope.to_string()).await?;
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !content_type.starts_with("text/event-stream") {
            print(&result(&whole(response).await?)?);
            return Ok(());
        }
        let mut body = response.into_body();
        let mut reader = SseReader::new(REPLY_BYTES_MAX);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failure::Unreachable(format!("the stream broke off: {error}")))?;
            if let Ok(data) = frame.into_data() {
                reader.push(data);
            }
            while let Some(event) = reader.next_data().map_err(|error| Failure::Refused(error.to_string()))? {
                print(&result(&event)?);
            }
        }
        Ok(())
    }

    /// Calls a method of the admin API, such as `KeyService/ListKeys`, by Connect.
    ///
    /// # Errors
    /// What the gateway says instead of an answer.
    pub async fn admin(&self, method: &str, body: &Value) -> Result<Value, Failure> {
        let (service, method) = method.split_once('/').unwrap_or((method, ""));
        let service = format!("switchboard.v1.{service}");
        let mut request = self.request([&service, method], body.to_string())?;
        request.1.headers_mut().insert("connect-protocol-version", HeaderValue::from_static("1"));
        let response = self.exchange(request).await?;
        let is_answer = response.status().is_success();
        let read: Value = serde_json::from_slice(&whole(response).await?)
            .map_err(|_| Failure::Refused("the answer is no JSON: is this a gateway?".to_owned()))?;
        if is_answer {
            return Ok(read);
        }
        let said = read["message"].as_str().or(read["error"]["message"].as_str());
        Err(Failure::Refused(said.unwrap_or("an error without a message").to_owned()))
    }

    async fn post(
        &self,
        agent: &str,
        version: Version,
        streams: bool,
        body: String,
    ) -> Result<Response<ReplyBody>, Failure> {
        let mut request = self.request(["a2a", agent], body)?;
        let headers = request.1.headers_mut();
        headers
            .insert(ACCEPT, HeaderValue::from_static(if streams { "text/event-stream" } else { "application/json" }));
        headers.insert("a2a-version", HeaderValue::from_static(version.as_str()));
        self.exchange(request).await
    }

    /// A request with a JSON body, and where it goes.
    fn request(&self, path: [&str; 2], body: String) -> Result<(Destination, Request<Pieces>), Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::Refused("the gateway's URL has no path".to_owned()))?
            .pop_if_empty()
            .extend(path);
        let mut request = Request::new(Pieces::new([Bytes::from(body), Bytes::new(), Bytes::new()]));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.key.expose()))
            .map_err(|_| Failure::Refused("the key cannot stand in a header".to_owned()))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        let to = Destination::registered(&url).map_err(|error| Failure::Refused(error.to_string()))?;
        Ok((to, request))
    }

    async fn exchange(&self, (to, request): (Destination, Request<Pieces>)) -> Result<Response<ReplyBody>, Failure> {
        self.outbound.send(&to, request).await.map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            Failure::Unreachable(format!("{}: {error}: {source}", self.base))
        })
    }
}

async fn whole(response: Response<ReplyBody>) -> Result<Bytes, Failure> {
    let pace = Pace { bytes_max: REPLY_BYTES_MAX, pause_max: Duration::from_secs(600), bytes_per_second_min: 0 };
    let whole = body::read(response.into_body(), pace, &Budget::new(2 * REPLY_BYTES_MAX), Clock.instant()).await;
    whole.map_err(|error| Failure::Unreachable(error.to_string()))
}

fn result(body: &[u8]) -> Result<Value, Failure> {
    let reply: Value = serde_json::from_slice(body)
        .map_err(|_| Failure::Refused("the answer is no JSON: is this a gateway?".to_owned()))?;
    match (reply.get("result"), reply.get("error")) {
        (Some(result), None) => Ok(result.clone()),
        (_, Some(error)) => {
            let message = error["message"].as_str().unwrap_or("an error without a message");
            Err(Failure::Refused(format!("{message} (code {})", error["code"])))
        }
        (None, None) => Err(Failure::Refused("the answer is no JSON-RPC response: is this a gateway?".to_owned())),
    }
}

/// The params of a send with one text part.
pub fn message(text: &str, version: Version) -> Value {
    let id = Clock.uuid().to_string();
    match version {
        Version::V1_0 => json!({ "message": { "messageId": id, "role": "ROLE_USER", "parts": [{ "text": text }] } }),
        Version::V0_3 => json!({
            "message": { "kind": "message", "messageId": id, "role": "user", "parts": [{ "kind": "text", "text": text }] }
        }),
    }
}
