//! What is noted of an agent's dialect when its card is read: from the card itself, and from how it answers to a call
//! that does nothing. A message is never sent to find out.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use tokio::time::timeout;

use super::{Cards, endpoints, registered_origin};
use crate::config::{Dialect, StreamText, Streaming};
use crate::operation::{Binding, Version};
use crate::proto::AgentCard;
use crate::registry::Agent;
use crate::upstream::Endpoint;
use crate::wire::body::Pieces;
use crate::wire::jsonrpc;

/// A method that no agent has.
const NO_METHOD: &str = "switchboard/probe";
/// What LangGraph's cards say of themselves.
const LANGGRAPH: &str = "https://langchain.com/a2a/";

impl Cards {
    /// What the card shows, and one harmless call.
    pub(super) async fn profile(&self, agent: &Agent, card: &AgentCard) -> Dialect {
        let mut profile = of_card(card);
        let endpoints = endpoints(agent, Some(card), Dialect::default(), &self.outbound);
        // Of the frameworks in use, those that answer strangely to what they do not know speak JSON-RPC 0.3.
        let old = |endpoint: &&Endpoint| (endpoint.binding, endpoint.version) == (Binding::JsonRpc, Version::V0_3);
        if let Some(endpoint) = endpoints.iter().find(old)
            && agent.settings.dialect.strict_requests.is_none()
        {
            let asked = timeout(self.settings.cards.timeout, self.breaks_at_the_unknown(agent, endpoint)).await;
            profile.strict_requests = asked.ok().flatten();
        }
        profile
    }

    /// Whether the agent fails, instead of answering, when it is asked for a method that it does not have: it does the
    /// same when a member is missing that only it requires. None when it does not answer at all.
    async fn breaks_at_the_unknown(&self, agent: &Agent, endpoint: &Endpoint) -> Option<bool> {
        let (head, tail) = jsonrpc::write_request(b"\"probe\"", NO_METHOD);
        let mut request = Request::new(Pieces::new([head, Bytes::from_static(b"{}"), tail]));
        *request.method_mut() = Method::POST;
        if registered_origin(agent, &endpoint.destination) {
            *request.headers_mut() = agent.settings.headers.clone();
        }
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("switchboard"));
        headers.insert("a2a-version", HeaderValue::from_static(Version::V0_3.as_str()));
        // Of the answer only the head is looked at; its connection is not used again.
        let response = self.outbound.send(&endpoint.destination, request).await.ok()?;
        let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|found| found.as_bytes().ends_with(b"json"));
        Some(response.status() == StatusCode::INTERNAL_SERVER_ERROR && !is_json).filter(|breaks| *breaks)
    }
}

fn of_card(card: &AgentCard) -> Dialect {
    let capabilities = card.capabilities.as_ref();
    let streams = capabilities.and_then(|capabilities| capabilities.streaming);
    let is_langgraph = capabilities.is_some_and(|c| c.extensions.iter().any(|e| e.uri.starts_with(LANGGRAPH)));
    Dialect {
        streaming: (streams == Some(false)).then_some(Streaming::Unary),
        stream_text: is_langgraph.then_some(StreamText::Cumulative),
        ..Dialect::default()
    }
}
