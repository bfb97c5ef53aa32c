//! gRPC in tests: an agent that answers as it is told, and a caller, both by the generated code.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use switchboard::operation::{Rpc, Version};
use switchboard::proto::{self, v0_3 as pb};
use switchboard::wire::grpc::Encoded;
use switchboard::wire::grpc::service::a2_a_service_client::A2AServiceClient;
use switchboard::wire::grpc::service::a2_a_service_server::{A2AService, A2AServiceServer};
use switchboard::wire::grpc::service_v0_3::a2_a_service_client::A2AServiceClient as OldClient;
use switchboard::wire::grpc::service_v0_3::a2_a_service_server::{
    A2AService as OldService, A2AServiceServer as OldServer,
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tower_service::Service as _;

use super::gateway::TestGateway;

/// A call as the agent got it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub version: Version,
    pub rpc: Rpc,
    pub metadata: MetadataMap,
    pub message: Bytes,
}

/// What a fake agent does.
pub enum Said {
    One(Bytes),
    Stream(BoxStream<'static, Result<Bytes, Status>>),
    Error(Status),
    /// Nothing, until the caller leaves.
    Silence,
}

impl Said {
    pub fn message(message: &impl prost::Message) -> Self {
        Self::One(message.encode_to_vec().into())
    }
}

type Script = dyn Fn(Heard) -> Said + Send + Sync;

/// An agent that speaks gRPC in both versions and answers as `script` says.
#[derive(Clone)]
pub struct FakeGrpcAgent {
    /// `http://host:port`
    pub url: String,
    shared: Arc<Shared>,
    _running: Arc<DropGuard>,
}

struct Shared {
    script: Box<Script>,
    heard: Mutex<Vec<Heard>>,
}

impl FakeGrpcAgent {
    pub async fn start(script: impl Fn(Heard) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let shared = Arc::new(Shared { script: Box::new(script), heard: Mutex::default() });
        let server = A2AServiceServer::new(Scripted(Arc::clone(&shared)));
        let old = OldServer::new(Scripted(Arc::clone(&shared)));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! {
                () = accept(listener, server, old) => {}
                () = stopped => {}
            }
        });
        Self { url, shared, _running: Arc::new(stop.drop_guard()) }
    }

    /// `grpc://host:port`, as an agent's entry has it.
    pub fn address(&self) -> String {
        self.url.replace("http://", "grpc://")
    }

    pub fn last(&self) -> Heard {
        self.calls().pop().expect("the agent was called")
    }

    pub fn calls(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, server: A2AServiceServer<Scripted>, old: OldServer<Scripted>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (server, old) = (server.clone(), old.clone());
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let (mut server, mut old) = (server.clone(), old.clone());
            async move {
                if request.uri().path().starts_with("/a2a.v1.") {
                    old.call(request).await
                } else {
                    server.call(request).await
                }
            }
        });
        tokio::spawn(async move {
            let http = auto::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

struct Scripted(Arc<Shared>);

impl Scripted {
    fn said<I>(&self, version: Version, rpc: Rpc, request: Request<Encoded<I>>) -> Said {
        let (metadata, _, message) = request.into_parts();
        let heard = Heard { version, rpc, metadata, message: message.bytes };
        self.0.heard.lock().unwrap().push(heard.clone());
        (self.0.script)(heard)
    }

    async fn one<I, O>(&self, rpc: Rpc, request: Request<Encoded<I>>) -> Result<Response<Encoded<O>>, Status> {
        self.one_in(Version::V1_0, rpc, request).await
    }

    async fn one_in<I, O>(
        &self,
        version: Version,
        rpc: Rpc,
        request: Request<Encoded<I>>,
    ) -> Result<Response<Encoded<O>>, Status> {
        match self.said(version, rpc, request) {
            Said::One(bytes) => Ok(Response::new(Encoded::new(bytes))),
            Said::Error(status) => Err(status),
            Said::Silence => std::future::pending().await,
            Said::Stream(_) => Err(Status::internal("the script streams where it must not")),
        }
    }

    async fn many<I>(&self, rpc: Rpc, request: Request<Encoded<I>>) -> Result<Response<Events>, Status> {
        self.many_in(Version::V1_0, rpc, request).await
    }

    async fn many_in<I, O: 'static>(
        &self,
        version: Version,
        rpc: Rpc,
        request: Request<Encoded<I>>,
    ) -> Result<Response<BoxStream<'static, Result<Encoded<O>, Status>>>, Status> {
        match self.said(version, rpc, request) {
            Said::Stream(events) => Ok(Response::new(events.map(|event| event.map(Encoded::new)).boxed())),
            Said::Error(status) => Err(status),
            Said::Silence => std::future::pending().await,
            Said::One(_) => Err(Status::internal("the script must stream")),
        }
    }
}

type Events = BoxStream<'static, Result<Encoded<proto::StreamResponse>, Status>>;
type Answer<T> = Result<Response<Encoded<T>>, Status>;

#[rustfmt::skip]
#[tonic::async_trait]
impl A2AService for Scripted {
    type SendStreamingMessageStream = Events;
    type SubscribeToTaskStream = Events;
    async fn send_message(&self, r: Request<Encoded<proto::SendMessageRequest>>) -> Answer<proto::SendMessageResponse> { self.one(Rpc::SendMessage, r).await }
    async fn send_streaming_message(&self, r: Request<Encoded<proto::SendMessageRequest>>) -> Result<Response<Events>, Status> { self.many(Rpc::SendStreamingMessage, r).await }
    async fn get_task(&self, r: Request<Encoded<proto::GetTaskRequest>>) -> Answer<proto::Task> { self.one(Rpc::GetTask, r).await }
    async fn list_tasks(&self, r: Request<Encoded<proto::ListTasksRequest>>) -> Answer<proto::ListTasksResponse> { self.one(Rpc::ListTasks, r).await }
    async fn cancel_task(&self, r: Request<Encoded<proto::CancelTaskRequest>>) -> Answer<proto::Task> { self.one(Rpc::CancelTask, r).await }
    async fn subscribe_to_task(&self, r: Request<Encoded<proto::SubscribeToTaskRequest>>) -> Result<Response<Events>, Status> { self.many(Rpc::SubscribeToTask, r).await }
    async fn create_task_push_notification_config(&self, r: Request<Encoded<proto::TaskPushNotificationConfig>>) -> Answer<proto::TaskPushNotificationConfig> { self.one(Rpc::CreatePushConfig, r).await }
    async fn get_task_push_notification_config(&self, r: Request<Encoded<proto::GetTaskPushNotificationConfigRequest>>) -> Answer<proto::TaskPushNotificationConfig> { self.one(Rpc::GetPushConfig, r).await }
    async fn list_task_push_notification_configs(&self, r: Request<Encoded<proto::ListTaskPushNotificationConfigsRequest>>) -> Answer<proto::ListTaskPushNotificationConfigsResponse> { self.one(Rpc::ListPushConfigs, r).await }
    async fn get_extended_agent_card(&self, r: Request<Encoded<proto::GetExtendedAgentCardRequest>>) -> Answer<proto::AgentCard> { self.one(Rpc::GetExtendedAgentCard, r).await }
    async fn delete_task_push_notification_config(&self, r: Request<Encoded<proto::DeleteTaskPushNotificationConfigRequest>>) -> Answer<()> { self.one(Rpc::DeletePushConfig, r).await }
}

type OldEvents = BoxStream<'static, Result<Encoded<pb::StreamResponse>, Status>>;
const OLD: Version = Version::V0_3;

#[rustfmt::skip]
#[tonic::async_trait]
impl OldService for Scripted {
    type SendStreamingMessageStream = OldEvents;
    type TaskSubscriptionStream = OldEvents;
    async fn send_message(&self, r: Request<Encoded<pb::SendMessageRequest>>) -> Answer<pb::SendMessageResponse> { self.one_in(OLD, Rpc::SendMessage, r).await }
    async fn send_streaming_message(&self, r: Request<Encoded<pb::SendMessageRequest>>) -> Result<Response<OldEvents>, Status> { self.many_in(OLD, Rpc::SendStreamingMessage, r).await }
    async fn get_task(&self, r: Request<Encoded<pb::GetTaskRequest>>) -> Answer<pb::Task> { self.one_in(OLD, Rpc::GetTask, r).await }
    async fn cancel_task(&self, r: Request<Encoded<pb::CancelTaskRequest>>) -> Answer<pb::Task> { self.one_in(OLD, Rpc::CancelTask, r).await }
    async fn task_subscription(&self, r: Request<Encoded<pb::TaskSubscriptionRequest>>) -> Result<Response<OldEvents>, Status> { self.many_in(OLD, Rpc::SubscribeToTask, r).await }
    async fn create_task_push_notification_config(&self, r: Request<Encoded<pb::CreateTaskPushNotificationConfigRequest>>) -> Answer<pb::TaskPushNotificationConfig> { self.one_in(OLD, Rpc::CreatePushConfig, r).await }
    async fn get_task_push_notification_config(&self, r: Request<Encoded<pb::GetTaskPushNotificationConfigRequest>>) -> Answer<pb::TaskPushNotificationConfig> { self.one_in(OLD, Rpc::GetPushConfig, r).await }
    async fn list_task_push_notification_config(&self, r: Request<Encoded<pb::ListTaskPushNotificationConfigRequest>>) -> Answer<pb::ListTaskPushNotificationConfigResponse> { self.one_in(OLD, Rpc::ListPushConfigs, r).await }
    async fn get_agent_card(&self, r: Request<Encoded<pb::GetAgentCardRequest>>) -> Answer<pb::AgentCard> { self.one_in(OLD, Rpc::GetExtendedAgentCard, r).await }
    async fn delete_task_push_notification_config(&self, r: Request<Encoded<pb::DeleteTaskPushNotificationConfigRequest>>) -> Answer<()> { self.one_in(OLD, Rpc::DeletePushConfig, r).await }
}

/// The generated client's way to a server: HTTP/2 by prior knowledge.
#[derive(Clone)]
pub struct Http2(Client<HttpConnector, tonic::body::Body>);

impl tower_service::Service<http::Request<tonic::body::Body>> for Http2 {
    type Response = http::Response<Incoming>;
    type Error = hyper_util::client::legacy::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.request(request))
    }
}

/// A generated client for the server at `base`.
pub fn client(base: &str) -> A2AServiceClient<Http2> {
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    A2AServiceClient::with_origin(Http2(http), base.parse().expect("a URI"))
}

/// The same of 0.3.
pub fn old_client(base: &str) -> OldClient<Http2> {
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    OldClient::with_origin(Http2(http), base.parse().expect("a URI"))
}

/// An exchange with the gateway over HTTP/2: status, headers, body, and trailers or what stands for them.
pub struct Raw {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    trailers: HeaderMap,
}

impl Raw {
    /// What comes of a POST of `body`.
    pub async fn at(gateway: &TestGateway, path: &str, headers: &[(&str, &str)], body: Bytes) -> Self {
        let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
        let request = http::Request::post(format!("{}{path}", gateway.base));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (head, body) = http2.request(request.body(Full::new(body)).unwrap()).await.unwrap().into_parts();
        let whole = body.collect().await.unwrap();
        let trailers = whole.trailers().cloned().unwrap_or_default();
        Self { status: head.status.as_u16(), headers: head.headers, body: whole.to_bytes(), trailers }
    }

    /// The gRPC status, wherever it stands, and its message.
    pub fn grpc(&self) -> (i32, String) {
        let all = [&self.trailers, &self.headers];
        let text = |name: &str| all.iter().find_map(|map| map.get(name)).map(|v| v.to_str().unwrap().to_owned());
        (text("grpc-status").expect("a status").parse().unwrap(), text("grpc-message").unwrap_or_default())
    }
}
