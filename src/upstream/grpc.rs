//! Agents that speak gRPC 1.0 (A2A 10), by the generated client.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use hyper::body::Frame;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

use super::events::Source;
use super::exchange::{Answered, Asked, Exchange};
use super::failure;
use crate::call::{Answer, ExtensionUri, Form};
use crate::error::{Error, Kind, Sent};
use crate::operation::Rpc;
use crate::outbound::{Destination, Http2Body, Outbound, OutboundError};
use crate::proto::StreamResponse;
use crate::wire::body::{BodyError, Passing};
use crate::wire::grpc::Encoded;
use crate::wire::grpc::service::a2_a_service_client::A2AServiceClient;
use crate::wire::{proto, status};

/// The way of the generated client to one endpoint.
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
    let bytes = asked.bytes(Form::Proto)?;
    let passing = Arc::new(Mutex::new(Passing::new(exchange.upstream.budget.clone())));
    let mut client = client(exchange, exchange.upstream.settings.limits.reply_bytes_max, &passing);
    // The client returns when the whole message is there, which for a unary answer comes with its head.
    let taken = failure::in_time(exchange.patience.head(), async {
        match asked.rpc() {
            Rpc::SendMessage => taken(client.send_message(request(exchange, bytes)).await),
            Rpc::GetTask => taken(client.get_task(request(exchange, bytes)).await),
            Rpc::ListTasks => taken(client.list_tasks(request(exchange, bytes)).await),
            Rpc::CancelTask => taken(client.cancel_task(request(exchange, bytes)).await),
            Rpc::CreatePushConfig => taken(client.create_task_push_notification_config(request(exchange, bytes)).await),
            Rpc::GetPushConfig => taken(client.get_task_push_notification_config(request(exchange, bytes)).await),
            Rpc::ListPushConfigs => taken(client.list_task_push_notification_configs(request(exchange, bytes)).await),
            Rpc::GetExtendedAgentCard => taken(client.get_extended_agent_card(request(exchange, bytes)).await),
            Rpc::DeletePushConfig => taken(client.delete_task_push_notification_config(request(exchange, bytes)).await),
            Rpc::SendStreamingMessage | Rpc::SubscribeToTask => unreachable!("streams are opened"),
        }
    });
    let (bytes, metadata) = taken.await?;
    passing.lock().expect("no code panics while holding this").arrived();
    let bytes = exchange.upstream.budget.hold(bytes).await.map_err(failure::of_body)?;
    let content = proto::read_answer(asked.rpc(), bytes, &exchange.upstream.settings.limits.json)?;
    Ok(Answered { content, extensions: ExtensionUri::all_in(metadata.as_ref()), attempts: 1 })
}

pub(super) async fn open(exchange: &Exchange<'_>, asked: &Asked<'_>) -> Result<Answered<Source>, Error> {
    let bytes = asked.bytes(Form::Proto)?;
    let passing = Arc::new(Mutex::new(Passing::new(exchange.upstream.budget.clone())));
    let mut client = client(exchange, exchange.upstream.settings.limits.event_bytes_max, &passing);
    let response: Response<Streaming<Encoded<StreamResponse>>> = match asked.rpc() {
        Rpc::SubscribeToTask => client.subscribe_to_task(request(exchange, bytes)).await,
        _ => client.send_streaming_message(request(exchange, bytes)).await,
    }
    .map_err(|status| of_status(&status))?;
    let (metadata, events, _) = response.into_parts();
    let extensions = ExtensionUri::all_in(metadata.as_ref());
    Ok(Answered { content: Source::grpc(events, passing, exchange.upstream), extensions, attempts: 1 })
}

/// No compression is asked for, as in the other bindings.
fn client(exchange: &Exchange<'_>, bytes_max: usize, passing: &Arc<Mutex<Passing>>) -> A2AServiceClient<Transport> {
    let to = exchange.endpoint.destination.clone();
    let origin: Uri = to.origin();
    let transport = Transport { outbound: Arc::clone(&exchange.upstream.outbound), to, passing: Arc::clone(passing) };
    A2AServiceClient::with_origin(transport, origin)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(usize::MAX)
}

fn request<T>(exchange: &Exchange<'_>, bytes: Bytes) -> Request<Encoded<T>> {
    let metadata = MetadataMap::from_headers(exchange.headers.clone());
    let mut request = Request::from_parts(metadata, tonic::Extensions::default(), Encoded::new(bytes));
    if let Some(deadline) = exchange.call.deadline {
        request.set_timeout(deadline.saturating_duration_since(exchange.upstream.clock.instant()));
    }
    request
}

fn taken<T>(response: Result<Response<Encoded<T>>, Status>) -> Result<(Bytes, MetadataMap), Error> {
    let (metadata, message, _) = response.map_err(|status| of_status(&status))?.into_parts();
    Ok((message.bytes, metadata))
}

/// What a status is to us: the agent's own, or one that the client made of what went wrong on the way.
pub(super) fn of_status(status: &Status) -> Error {
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
    status::from_agent(status)
}
