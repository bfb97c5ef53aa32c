//! Reflection (v1 and v1alpha), of our own services and from the compiled schema. tonic serves it by gRPC; for Connect
//! and gRPC-Web, where `buf curl` asks for it too, the same server is called from inside.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use connectrpc::dispatcher::{RequestStream, unimplemented_streaming, unimplemented_unary};
use connectrpc::{
    CodecFormat, ConnectError, ConnectRpcService, Dispatcher, EncodedBody, ErrorCode, MethodDescriptor, MethodKind,
    Payload, RequestContext, ServiceStream,
};
use futures_core::Stream;
use futures_util::StreamExt as _;
use prost::Message as _;
use tonic::Status;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::server::Builder;
use tower_service::Service as _;

use super::Protocol;
use super::infrastructure::MESSAGE_BYTES_MAX;
use crate::proto::DESCRIPTOR_SET;

const V1: &str = "/grpc.reflection.v1.ServerReflection/{method}";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/{method}";
const INFO: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

#[derive(Clone)]
struct Servers {
    grpc: Router,
    others: ConnectRpcService<Bridge>,
}

impl Servers {
    fn new() -> Self {
        let described = || {
            Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                // So that tools can read the details of statuses.
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        };
        let v1 = described().build_v1().expect("the compiled schema is whole");
        let v1alpha = described().build_v1alpha().expect("the compiled schema is whole");
        let grpc = Router::new()
            .route_service(V1, v1.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .route_service(V1_ALPHA, v1alpha.max_decoding_message_size(MESSAGE_BYTES_MAX));
        let limits = connectrpc::Limits::default()
            .with_max_request_body_size(MESSAGE_BYTES_MAX)
            .with_max_message_size(MESSAGE_BYTES_MAX);
        let others = ConnectRpcService::new(Bridge { grpc: grpc.clone() }).with_limits(limits);
        Self { grpc, others }
    }
}

/// The routes of both versions. The servers are made when they are first asked, for most gateways never are, and the
/// schemas take some megabytes.
pub(super) fn router() -> Router {
    let servers = Arc::new(OnceLock::new());
    Router::new().route(V1, any(serve)).route(V1_ALPHA, any(serve)).with_state(servers)
}

async fn serve(State(servers): State<Arc<OnceLock<Servers>>>, request: Request) -> Response {
    let mut servers = servers.get_or_init(Servers::new).clone();
    let response = match Protocol::of(request.headers()) {
        Some(Protocol::Grpc) => servers.grpc.call(request).await,
        _ => servers.others.call(request).await.map(|response| response.map(Body::new)),
    };
    let Ok::<_, std::convert::Infallible>(response) = response;
    response
}

/// Calls the gRPC server from inside.
struct Bridge {
    grpc: Router,
}

/// The gRPC server as the generated client takes it.
struct Inside(Router);

impl tower_service::Service<http::Request<tonic::body::Body>> for Inside {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.call(request.map(Body::new)))
    }
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<connectrpc::Response<T>, ConnectError>> + Send>>;
type Messages = ServiceStream<EncodedBody>;

impl Dispatcher for Bridge {
    fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
        (path.trim_start_matches('/') == INFO).then(|| MethodDescriptor::from_kind(MethodKind::BidiStreaming))
    }

    fn call_bidi_streaming(
        &self,
        path: &str,
        _: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> Pending<Messages> {
        if format != CodecFormat::Proto {
            return unimplemented_streaming(path);
        }
        Box::pin(conversation(Inside(self.grpc.clone()), requests))
    }

    fn call_unary(&self, path: &str, _: RequestContext, _: Payload, _: CodecFormat) -> Pending<EncodedBody> {
        unimplemented_unary(path)
    }

    fn call_server_streaming(&self, path: &str, _: RequestContext, _: Bytes, _: CodecFormat) -> Pending<Messages> {
        unimplemented_streaming(path)
    }

    fn call_client_streaming(
        &self,
        path: &str,
        _: RequestContext,
        _: RequestStream,
        _: CodecFormat,
    ) -> Pending<EncodedBody> {
        unimplemented_unary(path)
    }
}

/// Requests as the generated client takes them. One that cannot be read ends the conversation.
struct Requests(RequestStream);

impl Stream for Requests {
    type Item = ServerReflectionRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ServerReflectionRequest>> {
        let bytes = std::task::ready!(self.0.as_mut().poll_next(cx)).and_then(Result::ok);
        Poll::Ready(bytes.and_then(|bytes| ServerReflectionRequest::decode(bytes).ok()))
    }
}

async fn conversation(server: Inside, requests: RequestStream) -> Result<connectrpc::Response<Messages>, ConnectError> {
    let answers = ServerReflectionClient::new(server).server_reflection_info(Requests(requests)).await;
    let answers: Messages = Box::pin(answers.map_err(error)?.into_inner().map(encoded));
    Ok(connectrpc::Response::new(answers))
}

fn encoded(answer: Result<ServerReflectionResponse, Status>) -> Result<EncodedBody, ConnectError> {
    answer.map(|answer| EncodedBody::from(Bytes::from(answer.encode_to_vec()))).map_err(error)
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn error(status: Status) -> ConnectError {
    let code = ErrorCode::from_grpc_code(status.code() as u32).unwrap_or(ErrorCode::Unknown);
    ConnectError::new(code, status.message())
}
