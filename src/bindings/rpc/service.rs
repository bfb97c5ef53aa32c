//! The one implementation of the A2A services of both versions, under gRPC, Connect and gRPC-Web alike: a line a
//! method.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::USER_AGENT;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::bindings::arrival::Asked;
use crate::bindings::exchange::{self, Admitted};
use crate::call::{Content, Event, EventStream, ExtensionUri, FileBytes, Form, ReplyBody};
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::operation::Rpc;
use crate::proto::{self, v0_3 as pb};
use crate::wire::grpc::Encoded;
use crate::wire::grpc::service::a2_a_service_server::A2AService;
use crate::wire::grpc::service_v0_3::a2_a_service_server::A2AService as OldService;
use crate::wire::proto::v0_3;
use crate::wire::{json, proto as protobuf, status};

/// A request on its way through the protocol's library, with which it travels to be taken once.
#[derive(Clone)]
pub(super) struct Ticket(Arc<Mutex<Option<Travelling>>>);

/// What is to be done at the other end.
pub(super) enum Travelling {
    /// An admitted request with its message, to be answered.
    Asked(Box<Admitted>, Bytes),
    /// An answer that is there already, to be written.
    Answered(Bytes),
    /// A refusal, to be written.
    Refused(Error),
}

impl Ticket {
    pub(super) fn admitted(admitted: Admitted, message: Bytes) -> Self {
        Self::to(Travelling::Asked(Box::new(admitted), message))
    }

    pub(super) fn answered(message: Bytes) -> Self {
        Self::to(Travelling::Answered(message))
    }

    pub(super) fn refused(error: Error) -> Self {
        Self::to(Travelling::Refused(error))
    }

    fn to(travelling: Travelling) -> Self {
        Self(Arc::new(Mutex::new(Some(travelling))))
    }

    pub(super) fn take(&self) -> Option<Travelling> {
        self.0.lock().expect("no code panics while holding this").take()
    }

    /// What is in the ticket among these extensions.
    pub(super) fn of(extensions: &http::Extensions) -> Travelling {
        let ticket = extensions.get::<Self>().and_then(Self::take);
        let without = || Travelling::Refused(Error::new(Kind::Internal, "the request came without its caller"));
        ticket.unwrap_or_else(without)
    }
}

/// A reply whose messages are bytes in the caller's form.
pub(super) struct Written {
    /// The extensions that the agent activated.
    pub(super) headers: HeaderMap,
    pub(super) body: WrittenBody,
}

pub(super) enum WrittenBody {
    One(Bytes),
    Stream(WrittenStream),
}

pub(super) type WrittenStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// A2A, whatever the protocol around it.
#[derive(Clone)]
pub(super) struct Service {
    gateway: Arc<Gateway>,
}

impl Service {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }

    /// Answers one request, whose message is in `form`.
    pub(super) async fn answer(&self, travelling: Travelling, rpc: Rpc, form: Form) -> Result<Written, Error> {
        let (admitted, bytes) = match travelling {
            Travelling::Asked(admitted, bytes) => (*admitted, bytes),
            Travelling::Answered(bytes) => {
                return Ok(Written { headers: HeaderMap::new(), body: WrittenBody::One(bytes) });
            }
            Travelling::Refused(error) => return Err(error),
        };
        let version = form.version();
        let form = for_peer(form, &admitted.arrival.headers);
        let reply = exchange::exchange(&self.gateway, admitted, version, |arrival| {
            let limits = &arrival.settings.limits.json;
            let (operation, raw) = match form {
                Form::Proto => protobuf::read_request(rpc, bytes, limits)?,
                Form::ProtoV0_3(_) => v0_3::read_request(rpc, bytes, limits)?,
                Form::ProtoJsonV0_3(_) => (v0_3::read_request_json(rpc, &bytes, limits)?, None),
                Form::Json(_) => {
                    // First, for the scan trusts that it reads JSON.
                    let not_json = |_| Error::new(Kind::Parse, "the message must be one JSON object");
                    json::is_object(&bytes).map_err(not_json)?;
                    json::read_request(rpc, version, Some(bytes), limits)?
                }
            };
            Ok(Asked { version, form, operation, raw, rpc_id: None })
        });
        let reply = reply.await?;
        let body = match reply.body {
            ReplyBody::One(answer) => WrittenBody::One(exchange::body(answer, form)?),
            ReplyBody::Stream(events) => WrittenBody::Stream(written(events)),
        };
        Ok(Written { headers: ExtensionUri::header(&reply.meta.extensions, version).into_iter().collect(), body })
    }

    async fn unary<I, O>(
        &self,
        rpc: Rpc,
        form: Form,
        request: Request<Encoded<I>>,
    ) -> Result<Response<Encoded<O>>, Status> {
        let travelling = Ticket::of(request.extensions());
        let failed = |error: Error| status::of_in(&error, form.version());
        match self.answer(travelling, rpc, form).await.map_err(failed)? {
            Written { headers, body: WrittenBody::One(bytes) } => Ok(response(headers, Encoded::new(bytes))),
            Written { .. } => Err(Status::internal("a stream where one answer was expected")),
        }
    }

    async fn streaming<I, O: 'static>(
        &self,
        rpc: Rpc,
        form: Form,
        request: Request<Encoded<I>>,
    ) -> Result<Response<Events<O>>, Status> {
        let travelling = Ticket::of(request.extensions());
        let failed = move |error: Error| status::of_in(&error, form.version());
        match self.answer(travelling, rpc, form).await.map_err(failed)? {
            Written { headers, body: WrittenBody::Stream(events) } => {
                let events = events.map(move |event| event.map(Encoded::new).map_err(failed));
                Ok(response(headers, events.boxed()))
            }
            Written { .. } => Err(Status::internal("one answer where a stream was expected")),
        }
    }
}

/// What the bytes of files are to this caller of 0.3: the SDKs that run on Node have them as they are, all others that
/// are known as base64.
pub(in crate::bindings) fn for_peer(form: Form, headers: &HeaderMap) -> Form {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let files =
        if agent.starts_with("grpc-node") || agent.starts_with("node") { FileBytes::Raw } else { FileBytes::Auto };
    match form {
        Form::ProtoV0_3(_) => Form::ProtoV0_3(files),
        Form::ProtoJsonV0_3(_) => Form::ProtoJsonV0_3(files),
        form => form,
    }
}

fn response<T>(headers: HeaderMap, body: T) -> Response<T> {
    Response::from_parts(MetadataMap::from_headers(headers), body, tonic::Extensions::default())
}

/// The events of a stream, which are in the caller's form already; an error is the last item.
fn written(events: EventStream) -> WrittenStream {
    let bytes = |event: Event| match event.content {
        Content::Raw(raw) => Ok(raw.bytes),
        Content::Typed(_) => Err(Error::new(Kind::Internal, "an event was not written")),
    };
    events.map(move |event| event.and_then(bytes)).boxed()
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<Encoded<T>, Status>> + Send>>;
type Answer<T> = Result<Response<Encoded<T>>, Status>;
type Stream1 = Events<proto::StreamResponse>;
type Stream03 = Events<pb::StreamResponse>;
const OLD: Form = Form::ProtoV0_3(FileBytes::Auto);

#[rustfmt::skip]
#[tonic::async_trait]
impl A2AService for Service {
    type SendStreamingMessageStream = Stream1;
    type SubscribeToTaskStream = Stream1;

    async fn send_message(&self, request: Request<Encoded<proto::SendMessageRequest>>) -> Answer<proto::SendMessageResponse> {
        self.unary(Rpc::SendMessage, Form::Proto, request).await
    }
    async fn send_streaming_message(&self, request: Request<Encoded<proto::SendMessageRequest>>) -> Result<Response<Stream1>, Status> {
        self.streaming(Rpc::SendStreamingMessage, Form::Proto, request).await
    }
    async fn get_task(&self, request: Request<Encoded<proto::GetTaskRequest>>) -> Answer<proto::Task> {
        self.unary(Rpc::GetTask, Form::Proto, request).await
    }
    async fn list_tasks(&self, request: Request<Encoded<proto::ListTasksRequest>>) -> Answer<proto::ListTasksResponse> {
        self.unary(Rpc::ListTasks, Form::Proto, request).await
    }
    async fn cancel_task(&self, request: Request<Encoded<proto::CancelTaskRequest>>) -> Answer<proto::Task> {
        self.unary(Rpc::CancelTask, Form::Proto, request).await
    }
    async fn subscribe_to_task(&self, request: Request<Encoded<proto::SubscribeToTaskRequest>>) -> Result<Response<Stream1>, Status> {
        self.streaming(Rpc::SubscribeToTask, Form::Proto, request).await
    }
    async fn create_task_push_notification_config(&self, request: Request<Encoded<proto::TaskPushNotificationConfig>>) -> Answer<proto::TaskPushNotificationConfig> {
        self.unary(Rpc::CreatePushConfig, Form::Proto, request).await
    }
    async fn get_task_push_notification_config(&self, request: Request<Encoded<proto::GetTaskPushNotificationConfigRequest>>) -> Answer<proto::TaskPushNotificationConfig> {
        self.unary(Rpc::GetPushConfig, Form::Proto, request).await
    }
    async fn list_task_push_notification_configs(&self, request: Request<Encoded<proto::ListTaskPushNotificationConfigsRequest>>) -> Answer<proto::ListTaskPushNotificationConfigsResponse> {
        self.unary(Rpc::ListPushConfigs, Form::Proto, request).await
    }
    async fn get_extended_agent_card(&self, request: Request<Encoded<proto::GetExtendedAgentCardRequest>>) -> Answer<proto::AgentCard> {
        self.unary(Rpc::GetExtendedAgentCard, Form::Proto, request).await
    }
    async fn delete_task_push_notification_config(&self, request: Request<Encoded<proto::DeleteTaskPushNotificationConfigRequest>>) -> Answer<()> {
        self.unary(Rpc::DeletePushConfig, Form::Proto, request).await
    }
}

#[rustfmt::skip]
#[tonic::async_trait]
impl OldService for Service {
    type SendStreamingMessageStream = Stream03;
    type TaskSubscriptionStream = Stream03;

    async fn send_message(&self, request: Request<Encoded<pb::SendMessageRequest>>) -> Answer<pb::SendMessageResponse> {
        self.unary(Rpc::SendMessage, OLD, request).await
    }
    async fn send_streaming_message(&self, request: Request<Encoded<pb::SendMessageRequest>>) -> Result<Response<Stream03>, Status> {
        self.streaming(Rpc::SendStreamingMessage, OLD, request).await
    }
    async fn get_task(&self, request: Request<Encoded<pb::GetTaskRequest>>) -> Answer<pb::Task> {
        self.unary(Rpc::GetTask, OLD, request).await
    }
    async fn cancel_task(&self, request: Request<Encoded<pb::CancelTaskRequest>>) -> Answer<pb::Task> {
        self.unary(Rpc::CancelTask, OLD, request).await
    }
    async fn task_subscription(&self, request: Request<Encoded<pb::TaskSubscriptionRequest>>) -> Result<Response<Stream03>, Status> {
        self.streaming(Rpc::SubscribeToTask, OLD, request).await
    }
    async fn create_task_push_notification_config(&self, request: Request<Encoded<pb::CreateTaskPushNotificationConfigRequest>>) -> Answer<pb::TaskPushNotificationConfig> {
        self.unary(Rpc::CreatePushConfig, OLD, request).await
    }
    async fn get_task_push_notification_config(&self, request: Request<Encoded<pb::GetTaskPushNotificationConfigRequest>>) -> Answer<pb::TaskPushNotificationConfig> {
        self.unary(Rpc::GetPushConfig, OLD, request).await
    }
    async fn list_task_push_notification_config(&self, request: Request<Encoded<pb::ListTaskPushNotificationConfigRequest>>) -> Answer<pb::ListTaskPushNotificationConfigResponse> {
        self.unary(Rpc::ListPushConfigs, OLD, request).await
    }
    async fn get_agent_card(&self, request: Request<Encoded<pb::GetAgentCardRequest>>) -> Answer<pb::AgentCard> {
        self.unary(Rpc::GetExtendedAgentCard, OLD, request).await
    }
    async fn delete_task_push_notification_config(&self, request: Request<Encoded<pb::DeleteTaskPushNotificationConfigRequest>>) -> Answer<()> {
        self.unary(Rpc::DeletePushConfig, OLD, request).await
    }
}
