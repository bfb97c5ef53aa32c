//! The doors of the RPC protocols: gRPC, Connect and gRPC-Web, told apart by the exact content type.
//!
//! tonic serves gRPC, and connectrpc the other two and gRPC with JSON. Both are given a request only when its caller
//! is known and its body is read, so that strangers cost nothing and bodies are counted; and both write refusals, so
//! that those have the protocol's own form. Either ends in [`service::Service`], the one implementation of A2A.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method};
use http_body_util::BodyExt as _;
use tokio::time::timeout_at;

use super::arrival::arrival;
use super::exchange::Admitted;
use super::respond::{self, error_response, other_verb};
use super::{Doors, closing, request};
use crate::call::AgentName;
use crate::config::Limits;
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::operation::{Binding, Method as A2aMethod, Version};
use crate::wire::status;

mod connect;
mod grpc;
mod infrastructure;
mod message;
mod other;
mod reflection;
mod service;
mod web_text;

use connect::Connect;
use grpc::Grpc;
pub(super) use infrastructure::router as infrastructure;
use message::Message;
pub use other::serve as serve_other;
pub(super) use service::for_peer;
use service::{Ticket, Travelling};

/// A method of one of the two services, as a path names it; whether there is such a method is another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MethodPath<'a> {
    version: Version,
    name: &'a str,
}

impl<'a> MethodPath<'a> {
    /// What `path` names, which does not begin with a slash.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let (service, name) = path.split_once('/')?;
        let package = service.strip_suffix(".A2AService")?;
        let version = [Version::V1_0, Version::V0_3].into_iter().find(|version| version.package() == package)?;
        Some(Self { version, name })
    }

    fn method(self) -> Option<&'static A2aMethod> {
        A2aMethod::by_rpc_name(self.name, self.version)
    }

    fn path(self) -> String {
        format!("/{}.A2AService/{}", self.version.package(), self.name)
    }

    /// This one if it exists, else one that does and that is answered in the same way.
    fn that_exists(self, protocol: Protocol) -> Self {
        let usual = if protocol == Protocol::ConnectStream { "SendStreamingMessage" } else { "SendMessage" };
        if self.method().is_some() { self } else { Self { name: usual, ..self } }
    }
}

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
    fn fits(self, to: MethodPath<'_>) -> bool {
        let streams = to.method().map(|known| known.streams);
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

    /// The least body that is one compressed message.
    const fn compressed_body(self) -> Bytes {
        match self {
            Self::Connect => Bytes::from_static(b"?"),
            _ => Bytes::from_static(&[1, 0, 0, 0, 1, b'?']),
        }
    }
}

/// Serves a method, for the agent that the path names, if it names one.
pub(super) async fn serve(doors: &Doors, agent: Option<AgentName>, to: MethodPath<'_>, request: Request) -> Response {
    if request.method() != Method::POST {
        return other_verb(request.method(), "POST");
    }
    let gateway = &doors.gateway;
    let (mut head, body) = request.into_parts();
    let Some(protocol) = Protocol::of(&head.headers).filter(|protocol| protocol.fits(to)) else {
        return closing(head.version, error_response(&unknown_type()));
    };
    let mut arrival = arrival(gateway, agent, protocol.binding(), &mut head);
    let mut framing = framing(&arrival.headers);
    let caller = match gateway.admit(&mut arrival).await {
        Ok(caller) => caller,
        Err(error) => return closing(head.version, refuse(doors, protocol, framing, to, error).await),
    };
    let read = async {
        may_be(protocol, to, head.version)?;
        let body = request::read(gateway, arrival.received, body).await?;
        let body = if protocol == Protocol::WebText { web_text::decoded(&body)? } else { body };
        message::read(gateway, &arrival, protocol, &framing, body).await
    };
    let read = match arrival.deadline {
        None => read.await,
        Some(deadline) => timeout_at(deadline, read).await.unwrap_or_else(|_| {
            let message = "the caller's deadline passed before the request was read";
            Err(Error::new(Kind::DeadlineExceeded, message))
        }),
    };
    let message = match read {
        Ok(message) => message,
        Err(error) => {
            let error = gateway.refuse(&arrival, &caller, error);
            return closing(head.version, refuse(doors, protocol, framing, to, error).await);
        }
    };
    let (message, stand_in) = match message {
        Message::Whole(message) => {
            // In frames, each message says for itself whether it is compressed.
            framing.remove("content-encoding");
            (message, protocol.empty_body())
        }
        Message::Foreign => (Bytes::new(), protocol.compressed_body()),
    };
    let ticket = Ticket::admitted(Admitted { arrival, caller }, message);
    let mut response = hand_over(doors, protocol, framing, to, stand_in, ticket.clone()).await;
    response.headers_mut().extend([respond::NOSNIFF]);
    if let Some(Travelling::Asked(admitted, _)) = ticket.take() {
        let Admitted { arrival, caller } = *admitted;
        // The library refused it before it came to us; its answer says why.
        let error = Error::new(Kind::InvalidRequest, "the request is not as its protocol defines it");
        gateway.refuse(&arrival, &caller, error);
    }
    response
}

fn unknown_type() -> Error {
    let message = "the content type is none of gRPC (application/grpc), Connect (application/json or application/proto for unary methods, application/connect+json or application/connect+proto for streams) and gRPC-Web (application/grpc-web, application/grpc-web-text)";
    Error::new(Kind::UnsupportedMediaType, message)
}

/// Whether there is such a method, and this protocol in this version of HTTP: gRPC's status comes after the body, in
/// trailers, which few clients read over HTTP/1.1.
fn may_be(protocol: Protocol, to: MethodPath<'_>, version: http::Version) -> Result<(), Error> {
    if to.method().is_none() {
        let service = to.version.package();
        let message = format!("there is no such method: they are those of {service}.A2AService, such as SendMessage");
        return Err(Error::new(Kind::MethodNotFound, message));
    }
    match protocol {
        Protocol::Grpc | Protocol::GrpcJson if version < http::Version::HTTP_2 => {
            Err(Error::new(Kind::UnsupportedMediaType, "gRPC needs HTTP/2: over HTTP/1.1 use Connect or gRPC-Web"))
        }
        _ => Ok(()),
    }
}

fn framing(headers: &HeaderMap) -> HeaderMap {
    let known = FRAMING.iter().flat_map(|name| headers.get_all(*name).into_iter().map(|value| (*name, value.clone())));
    known.map(|(name, value)| (HeaderName::from_static(name), value)).collect()
}

/// A refusal in the protocol's own form. It travels to a method that exists, whatever was asked for, and without what
/// the library could find wrong before it comes to the refusal.
async fn refuse(
    doors: &Doors,
    protocol: Protocol,
    mut framing: HeaderMap,
    to: MethodPath<'_>,
    error: Error,
) -> Response {
    if protocol == Protocol::Grpc {
        return status::of_in(&error, to.version).into_http::<tonic::body::Body>().map(Body::new);
    }
    for name in ENCODINGS.iter().chain(&["connect-protocol-version"]) {
        framing.remove(*name);
    }
    let to = to.that_exists(protocol);
    hand_over(doors, protocol, framing, to, protocol.empty_body(), Ticket::refused(error)).await
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

/// Lets the protocol's library serve the request, whose message is in the ticket: the body only stands for it.
async fn hand_over(
    doors: &Doors,
    protocol: Protocol,
    mut framing: HeaderMap,
    to: MethodPath<'_>,
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
    match to.path().parse() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return super::unknown_path().await,
    }
    match protocol {
        Protocol::Grpc => doors.rpc.grpc.clone().call(request, to.version).await,
        Protocol::GrpcJson => with_whole_head(doors.rpc.connect.clone().call(request).await).await,
        Protocol::WebText => web_text::encoded(doors.rpc.connect.clone().call(request).await),
        _ => doors.rpc.connect.clone().call(request).await,
    }
}
