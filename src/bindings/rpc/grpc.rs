//! gRPC by tonic.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::Full;
use tonic::codec::CompressionEncoding::Gzip;

use super::service::Service;
use crate::config::Limits;
use crate::gateway::Gateway;
use crate::wire::grpc::service::a2_a_service_server::A2AServiceServer;

/// Answers are compressed for those who compress their requests: for most callers, gzip costs more than it saves.
#[derive(Clone)]
pub(super) struct Grpc {
    plain: A2AServiceServer<Service>,
    gzip: A2AServiceServer<Service>,
}

impl Grpc {
    pub(super) fn new(gateway: &Arc<Gateway>, limits: &Limits) -> Self {
        let plain = A2AServiceServer::new(Service::new(Arc::clone(gateway)))
            .max_decoding_message_size(limits.body_bytes_max)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(Gzip);
        Self { gzip: plain.clone().send_compressed(Gzip), plain }
    }

    pub(super) fn call(
        mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let compresses = request.headers().get("grpc-encoding").is_some_and(|encoding| encoding == "gzip");
        let server = if compresses { &mut self.gzip } else { &mut self.plain };
        let response = tower_service::Service::call(server, request);
        Box::pin(async move {
            let Ok::<_, Infallible>(response) = response.await;
            response.map(Body::new)
        })
    }
}
