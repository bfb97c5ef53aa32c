//! Agents that speak gRPC, in 1.0 (A2A 10) and in 0.3, by tonic: the table of operations says what is called.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
use hyper::body::Frame;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use super::events::Source;
use super::exchange::{Answered, Asked, Exchange};
use super::failure;
use crate::call::{Answer, ExtensionUri, FileBytes};
use crate::error::{Error, Kind, Sent};
use crate::operation::{Rpc, Version};
use crate::outbound::{Destination, Http2Body, Outbound, OutboundError};
use crate::wire::body::{BodyError, Passing};
use crate::wire::grpc::{Encoded, EncodedCodec};
use crate::wire::proto::{self, v0_3};
use crate::wire::status;

/// The way of tonic's client to one endpoint.
#[derive(Clone)]
struct Transport {
    outbound: Arc<Outbound>,
    to: Destination,
    passing: Arc<Mutex<Passing>>,
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Transport {
    type Response = http::Response<Counted>;
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, OutboundError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let Self { outbound, to, passing } = self.clone();
        Box::pin(async move {
            let mut response = outbound.send_http2(&to, request).await?;
            without_broken_details(response.headers_mut());
            Ok(response.map(|body| Counted { body, passing }))
        })
    }
}

/// An answer whose bytes are counted while tonic gathers them, and whose trailers can be read.
struct Counted {
    body: Http2Body,
    passing: Arc<Mutex<Passing>>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let mut frame = frame?;
        if let Some(data) = frame.data_ref() {
            self.passing.lock().expect("no code panics while holding this").add(data.len())?;
        }
        if let Some(trailers) = frame.trailers_mut() {
            without_broken_details(trailers);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

type BoxError = Box<dyn StdError + Send + Sync>;

/// tonic panics over details that are not base64.
fn without_broken_details(headers: &mut HeaderMap) {
    const DETAILS: &str = "grpc-status-details-bin";
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, config);
    if headers.get_all(DETAILS).iter().any(|details| engine.decode(details).is_err()) {
        headers.remove(DETAILS);
    }
}

pub(super) async fn unary(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Answer>, Error> {
    let bytes = asked.bytes(exchange.endpoint.form())?;
    let passing = Arc::new(Mutex::new(Passing::new(exchange.upstream.budget.clone())));
    let mut client = client(exchange, exchange.upstream.settings.limits.reply_bytes_max, &passing);
    // The client returns when the whole message is there, which for a unary answer comes with its head.
    let taken = failure::in_time(exchange.patience.head(), async {
        let response = client.unary(request(exchange, bytes), path(exchange, asked), Bare::default()).await;
        response.map_err(|status| of_status(&status, exchange.endpoint.version, asked.rpc()))
    });
    let (metadata, message, _) = taken.await?.into_parts();
    passing.lock().expect("no code panics while holding this").arrived();
    let bytes = exchange.upstream.budget.hold(message.bytes).await.map_err(failure::of_body)?;
    let limits = &exchange.upstream.settings.limits.json;
    let content = match exchange.endpoint.version {
        Version::V1_0 => proto::read_answer(asked.rpc(), bytes, limits)?,
        Version::V0_3 => v0_3::read_answer(asked.rpc(), bytes, limits, exchange.endpoint.file_bytes())?,
    };
    Ok(Answered { content, extensions: ExtensionUri::all_in(metadata.as_ref()), attempts: 1 })
}

pub(super) async fn open(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Source>, Error> {
    let bytes = asked.bytes(exchange.endpoint.form())?;
    let passing = Arc::new(Mutex::new(Passing::new(exchange.upstream.budget.clone())));
    let mut client = client(exchange, exchange.upstream.settings.limits.event_bytes_max, &passing);
    let (version, rpc) = (exchange.endpoint.version, asked.rpc());
    let opened = client.server_streaming(request(exchange, bytes), path(exchange, asked), Bare::default()).await;
    let (metadata, events, _) = opened.map_err(|status| of_status(&status, version, rpc))?.into_parts();
    let extensions = ExtensionUri::all_in(metadata.as_ref());
    let decode = GrpcDecode { version, rpc, files: exchange.endpoint.file_bytes() };
    Ok(Answered { content: Source::grpc(events, passing, decode, exchange.upstream), extensions, attempts: 1 })
}

/// Messages of whatever type.
type Bare = EncodedCodec<Encoded<()>, Encoded<()>>;

/// How a message of a stream, and its end, is to be read.
#[derive(Clone, Copy)]
pub(super) struct GrpcDecode {
    pub(super) version: Version,
    pub(super) rpc: Rpc,
    pub(super) files: FileBytes,
}

fn path(exchange: &Exchange<'_>, asked: &Asked<'_>) -> PathAndQuery {
    let version = exchange.endpoint.version;
    let name = asked.rpc().method().rpc_name(version).expect("it was checked that the version has it");
    format!("/{}.A2AService/{name}", version.package()).parse().expect("a path")
}

/// No compression is asked for, as in the other bindings.
fn client(exchange: &Exchange<'_>, bytes_max: usize, passing: &Arc<Mutex<Passing>>) -> tonic::client::Grpc<Transport> {
    let to = exchange.endpoint.destination.clone();
    let origin: Uri = to.origin();
    let transport = Transport { outbound: Arc::clone(&exchange.upstream.outbound), to, passing: Arc::clone(passing) };
    tonic::client::Grpc::with_origin(transport, origin)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(usize::MAX)
}

fn request(exchange: &Exchange<'_>, bytes: Bytes) -> Request<Encoded<()>> {
    let metadata = MetadataMap::from_headers(exchange.headers.clone());
    let mut request = Request::from_parts(metadata, tonic::Extensions::default(), Encoded::new(bytes));
    if let Some(deadline) = exchange.call.deadline {
        request.set_timeout(deadline.saturating_duration_since(exchange.upstream.clock.instant()));
    }
    request
}

/// What a status is to us: the agent's own, or one that the client made of what went wrong on the way.
pub(super) fn of_status(status: &Status, version: Version, rpc: Rpc) -> Error {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<OutboundError>() {
            return failure::of_outbound(error.clone());
        }
        if let Some(BodyError::NoBudget) = error.downcast_ref() {
            return failure::of_body(BodyError::NoBudget);
        }
        if error.is::<hyper::Error>() {
            let message = "the connection to the agent broke; it may have the request";
            return Error::new(Kind::UpstreamUnavailable, message).sent_is(Sent::Maybe).because(status.clone());
        }
        source = error.source();
    }
    // The client has no other way to say what it found than a status in its own words.
    let is_ours = status.details().is_empty();
    let said = status.message();
    if is_ours && (said.starts_with("protocol error") || said.starts_with("Error decompressing")) {
        let message = "the agent's answer is not gRPC as it should be";
        return Error::new(Kind::InvalidAgentResponse, message).because(status.clone());
    }
    if is_ours && status.code() == Code::OutOfRange && said.starts_with("Error, decoded message length") {
        return Error::new(Kind::InvalidAgentResponse, "the agent's answer is larger than allowed")
            .because(status.clone());
    }
    if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
        let message = format!("the agent refused the gateway's credentials ({:?})", status.code());
        return Error::new(Kind::UpstreamRefused, message);
    }
    match version {
        Version::V1_0 => status::from_agent(status),
        Version::V0_3 => status::v0_3::from_agent(status, rpc),
    }
}
