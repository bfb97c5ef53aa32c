//! Connect, gRPC-Web, and gRPC with JSON, by connectrpc: its dispatcher takes
//! messages that are encoded already.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use connectrpc::{
    CodecFormat, CompressionPolicy, CompressionRegistry, ConnectError, ConnectRpcService, Dispatcher, EncodedBody,
    ErrorCode, ErrorDetail, GzipProvider, MethodDescriptor, Payload, RequestContext,
};
use futures_util::StreamExt as _;
use http_body_util::Full;

use super::MethodPath;
use super::service::{Service, Ticket, Travelling, Written, WrittenBody};
use crate::call::{FileBytes, Form};
use crate::config::Limits;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::operation::{Method, Rpc, Version};
use crate::wire::status;

/// Answers below this are not worth compressing.
const COMPRESSED_BYTES_MIN: usize = 1_024;

#[derive(Clone)]
pub(super) struct Connect {
    server: ConnectRpcService<Dispatch>,
}

struct Dispatch {
    service: Service,
}

impl Connect {
    pub(super) fn new(gateway: &Arc<Gateway>, limits: &Limits) -> Self {
        let message_limits = connectrpc::Limits::default()
            .with_max_request_body_size(limits.body_bytes_max)
            .with_max_message_size(limits.body_bytes_max);
        let compression = CompressionRegistry::new().register(GzipProvider::default());
        let server = ConnectRpcService::new(Dispatch { service: Service::new(Arc::clone(gateway)) })
            .with_limits(message_limits)
            .with_compression(compression)
            .with_compression_policy(CompressionPolicy::default().with_min_size(COMPRESSED_BYTES_MIN));
        Self { server }
    }

    pub(super) fn call(
        mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let response = tower_service::Service::call(&mut self.server, request);
        Box::pin(async move {
            let Ok::<_, Infallible>(response) = response.await;
            response.map(Body::new)
        })
    }
}

fn called(path: &str) -> Option<MethodPath<'_>> {
    MethodPath::of(path.trim_start_matches('/'))
}

fn method(path: &str) -> Option<&'static Method> {
    called(path)?.method()
}

/// What the library has understood of a request.
struct Asked {
    service: Service,
    ticket: Travelling,
    rpc: Option<Rpc>,
    form: Form,
}

impl Asked {
    async fn answer(self) -> Result<Written, ConnectError> {
        let Some(rpc) = self.rpc else { return Err(ConnectError::unimplemented("there is no such method")) };
        let version = self.form.version();
        self.service.answer(self.ticket, rpc, self.form).await.map_err(|error| connect_error(&error, version))
    }
}

impl Dispatch {
    fn asked(&self, path: &str, context: &RequestContext, format: CodecFormat) -> Asked {
        let version = called(path).map_or(Version::V1_0, |called| called.version);
        let form = match (version, format) {
            (Version::V1_0, CodecFormat::Proto) => Form::Proto,
            (Version::V1_0, _) => Form::Json(version),
            (Version::V0_3, CodecFormat::Proto) => Form::ProtoV0_3(FileBytes::Auto),
            (Version::V0_3, _) => Form::ProtoJsonV0_3(FileBytes::Auto),
        };
        let rpc = method(path).map(|method| method.rpc);
        Asked { service: self.service.clone(), ticket: Ticket::of(context.extensions()), rpc, form }
    }
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<connectrpc::Response<T>, ConnectError>> + Send>>;
type Messages = connectrpc::ServiceStream<EncodedBody>;

impl Dispatcher for Dispatch {
    fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
        let method = method(path)?;
        Some(if method.streams { MethodDescriptor::server_streaming() } else { MethodDescriptor::unary(false) })
    }

    fn call_unary(&self, path: &str, context: RequestContext, _: Payload, format: CodecFormat) -> Pending<EncodedBody> {
        let asked = self.asked(path, &context, format);
        Box::pin(async move {
            match asked.answer().await? {
                Written { headers, body: WrittenBody::One(bytes) } => {
                    let mut response = connectrpc::Response::new(EncodedBody::from(bytes));
                    response.headers = headers;
                    Ok(response)
                }
                Written { .. } => Err(ConnectError::internal("a stream where one answer was expected")),
            }
        })
    }

    fn call_server_streaming(
        &self,
        path: &str,
        context: RequestContext,
        _: Bytes,
        format: CodecFormat,
    ) -> Pending<Messages> {
        let asked = self.asked(path, &context, format);
        let version = asked.form.version();
        Box::pin(async move {
            match asked.answer().await? {
                Written { headers, body: WrittenBody::Stream(events) } => {
                    let failed = move |error: Error| connect_error(&error, version);
                    let events = events.map(move |event| event.map(EncodedBody::from).map_err(failed));
                    let mut response = connectrpc::Response::new(events.boxed());
                    response.headers = headers;
                    Ok(response)
                }
                Written { .. } => Err(ConnectError::internal("one answer where a stream was expected")),
            }
        })
    }

    fn call_client_streaming(
        &self,
        path: &str,
        _: RequestContext,
        _: connectrpc::dispatcher::RequestStream,
        _: CodecFormat,
    ) -> Pending<EncodedBody> {
        connectrpc::dispatcher::unimplemented_unary(path)
    }

    fn call_bidi_streaming(
        &self,
        path: &str,
        _: RequestContext,
        _: connectrpc::dispatcher::RequestStream,
        _: CodecFormat,
    ) -> Pending<Messages> {
        connectrpc::dispatcher::unimplemented_streaming(path)
    }
}

/// The same status as in gRPC, as Connect carries it.
fn connect_error(error: &Error, version: Version) -> ConnectError {
    let status = status::of_in(error, version);
    let code = ErrorCode::from_grpc_code(status.code() as u32).unwrap_or(ErrorCode::Unknown);
    let detail = |(type_url, bytes): (String, Vec<u8>)| ErrorDetail {
        type_url,
        value: Some(STANDARD_NO_PAD.encode(bytes)),
        debug: None,
    };
    let details = status::details_of(&status).into_iter().map(detail);
    let told = details.fold(ConnectError::new(code, status.message()), ConnectError::with_detail);
    let mut headers = http::HeaderMap::new();
    crate::bindings::respond::describe(&mut headers, error);
    if headers.is_empty() { told } else { told.with_headers(headers) }
}
