//! The doors of the RPC protocols: gRPC, Connect and gRPC-Web, told apart by the exact content type.
//!
//! tonic serves gRPC, and connectrpc the other two and gRPC with JSON. Both are given a request only when its caller
//! is known and its body is read, so that strangers cost nothing and bodies are counted; and both write refusals, so
//! that those have the protocol's own form. Either ends in [`Service`], the one implementation of A2A.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method};
use http_body_util::BodyExt as _;

use super::arrival::arrival;
use super::exchange::Admitted;
use super::respond::{error_response, options, verb_not_allowed};
use super::{Doors, closing, request};
use crate::call::AgentName;
use crate::config::Limits;
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::operation::{Binding, METHODS};
use crate::wire::status;

mod connect;
mod grpc;
mod infrastructure;
mod reflection;
mod service;
mod web_text;

use connect::Connect;
use grpc::Grpc;
pub(super) use infrastructure::router as infrastructure;
use service::Ticket;

/// The path of the service, before the name of a method.
pub(super) const SERVICE: &str = "lf.a2a.v1.A2AService/";
/// What the libraries read of a request's head; all else is ours.
const FRAMING: [&str; 12] = [
    "accept",
    "accept-encoding",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "content-encoding",
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "te",
    "user-agent",
    "x-grpc-web",
];
/// Of these, what says how a body is encoded: a refusal answers as if there had been an empty one.
const ENCODINGS: [&str; 3] = ["connect-content-encoding", "content-encoding", "grpc-encoding"];

/// The protocols' servers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rpc {
    grpc: Grpc,
    connect: Connect,
}

impl Rpc {
    pub(super) fn new(gateway: &Arc<Gateway>) -> Self {
        let limits: &Limits = &gateway.settings.limits;
        Self { grpc: Grpc::new(gateway, limits), connect: Connect::new(gateway, limits) }
    }
}

/// How a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    /// gRPC whose messages are JSON, as connect-es can send it.
    GrpcJson,
    Web,
    /// gRPC-Web in base64, for browsers that cannot read bytes as they come.
    WebText,
    Connect,
    ConnectStream,
}

impl Protocol {
    fn of(headers: &HeaderMap) -> Option<Self> {
        Some(match request::media_type(headers)?.as_str() {
            "application/grpc" | "application/grpc+proto" => Self::Grpc,
            "application/grpc+json" => Self::GrpcJson,
            "application/grpc-web" | "application/grpc-web+proto" | "application/grpc-web+json" => Self::Web,
            "application/grpc-web-text" | "application/grpc-web-text+proto" => Self::WebText,
            "application/json" | "application/proto" => Self::Connect,
            "application/connect+json" | "application/connect+proto" => Self::ConnectStream,
            _ => return None,
        })
    }

    const fn binding(self) -> Binding {
        match self {
            Self::Grpc | Self::GrpcJson => Binding::Grpc,
            Self::Web | Self::WebText => Binding::GrpcWeb,
            Self::Connect | Self::ConnectStream => Binding::Connect,
        }
    }

    /// Connect has one content type for unary methods and another for streams.
    fn fits(self, method: &str) -> bool {
        let streams = METHODS.iter().find(|known| known.name == method).map(|known| known.streams);
        match self {
            Self::Connect => streams != Some(true),
            Self::ConnectStream => streams != Some(false),
            _ => true,
        }
    }

    /// The least body that is one message.
    const fn empty_body(self) -> Bytes {
        match self {
            Self::Connect => Bytes::new(),
            _ => Bytes::from_static(&[0; 5]),
        }
    }
}

/// Serves `method` of the service, for the agent that the path names, if it names one.
pub(super) async fn serve(doors: &Doors, agent: Option<AgentName>, method: &str, request: Request) -> Response {
    match *request.method() {
        Method::POST => {}
        Method::OPTIONS => return options("POST"),
        _ => return verb_not_allowed("POST"),
    }
    let gateway = &doors.gateway;
    let (mut head, body) = request.into_parts();
    let Some(protocol) = Protocol::of(&head.headers).filter(|protocol| protocol.fits(method)) else {
        return closing(head.version, error_response(&unknown_type()));
    };
    let mut arrival = arrival(gateway, agent, protocol.binding(), &mut head);
    let framing = framing(&arrival.headers);
    let path = format!("/{SERVICE}{method}");
    let caller = match gateway.admit(&mut arrival) {
        Ok(caller) => caller,
        Err(error) => return closing(head.version, refuse(doors, protocol, framing, &path, error).await),
    };
    let whole = match may_be(protocol, head.version) {
        Ok(()) => request::read(gateway, &arrival, body).await.and_then(|body| whole(protocol, body)),
        Err(error) => Err(error),
    };
    let whole = match whole {
        Ok(whole) => whole,
        Err(error) => {
            let error = gateway.refuse(&arrival, &caller, error);
            return closing(head.version, refuse(doors, protocol, framing, &path, error).await);
        }
    };
    let ticket = Ticket::admitted(Admitted { arrival, caller });
    let response = hand_over(doors, protocol, framing, &path, whole, ticket.clone()).await;
    if let Some(Ok(Admitted { arrival, caller })) = ticket.take() {
        // The library refused it before it came to us; its answer says why.
        let error = Error::new(Kind::InvalidRequest, "the request is not framed as its protocol defines it");
        gateway.refuse(&arrival, &caller, error);
    }
    response
}

fn unknown_type() -> Error {
    let message = "the content type is none of gRPC (application/grpc), Connect (application/json or application/proto for unary methods, application/connect+json or application/connect+proto for streams) and gRPC-Web (application/grpc-web, application/grpc-web-text)";
    Error::new(Kind::UnsupportedMediaType, message)
}

/// gRPC's status comes after the body, in trailers, which few clients read over HTTP/1.1.
fn may_be(protocol: Protocol, version: http::Version) -> Result<(), Error> {
    match protocol {
        Protocol::Grpc | Protocol::GrpcJson if version < http::Version::HTTP_2 => {
            Err(Error::new(Kind::UnsupportedMediaType, "gRPC needs HTTP/2: over HTTP/1.1 use Connect or gRPC-Web"))
        }
        _ => Ok(()),
    }
}

/// The body in bytes; all methods take one message, so there must not be two.
fn whole(protocol: Protocol, body: Bytes) -> Result<Bytes, Error> {
    let body = if protocol == Protocol::WebText { web_text::decoded(&body)? } else { body };
    let announced = |body: &[u8]| Some(u32::from_be_bytes(body.get(1..5)?.try_into().ok()?));
    match (protocol, announced(&body)) {
        (Protocol::Connect, _) => Ok(body),
        (_, Some(length)) if body.len() as u64 > u64::from(length) + 5 => {
            Err(Error::new(Kind::InvalidRequest, "the method takes one message, and the request has more"))
        }
        _ => Ok(body),
    }
}

fn framing(headers: &HeaderMap) -> HeaderMap {
    let known = FRAMING.iter().flat_map(|name| headers.get_all(*name).into_iter().map(|value| (*name, value.clone())));
    known.map(|(name, value)| (HeaderName::from_static(name), value)).collect()
}

/// A refusal in the protocol's own form.
async fn refuse(doors: &Doors, protocol: Protocol, mut framing: HeaderMap, path: &str, error: Error) -> Response {
    if protocol == Protocol::Grpc {
        return status::of(&error).into_http::<tonic::body::Body>().map(Body::new);
    }
    for name in ENCODINGS {
        framing.remove(name);
    }
    hand_over(doors, protocol, framing, path, protocol.empty_body(), Ticket::refused(error)).await
}

/// connectrpc writes a gRPC error's status into the head and its details into trailers, where clients that have seen
/// the head do not look. Then all of it goes into the head, as gRPC's Trailers-Only form is.
async fn with_whole_head(response: Response) -> Response {
    if !response.headers().contains_key("grpc-status") {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let trailers = body.collect().await.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
    for (name, value) in &trailers {
        head.headers.insert(name, value.clone());
    }
    Response::from_parts(head, Body::empty())
}

/// Lets the protocol's library serve the request.
async fn hand_over(
    doors: &Doors,
    protocol: Protocol,
    mut framing: HeaderMap,
    path: &str,
    body: Bytes,
    ticket: Ticket,
) -> Response {
    if protocol == Protocol::WebText {
        framing.insert(CONTENT_TYPE, web_text::BINARY);
    }
    framing.insert(CONTENT_LENGTH, body.len().into());
    let mut request = http::Request::new(http_body_util::Full::new(body));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = framing;
    request.extensions_mut().insert(ticket);
    match path.parse() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return super::unknown_path().await,
    }
    match protocol {
        Protocol::Grpc => doors.rpc.grpc.clone().call(request).await,
        Protocol::GrpcJson => with_whole_head(doors.rpc.connect.clone().call(request).await).await,
        Protocol::WebText => web_text::encoded(doors.rpc.connect.clone().call(request).await),
        _ => doors.rpc.connect.clone().call(request).await,
    }
}
