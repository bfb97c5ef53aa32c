//! gRPC by tonic, in both versions.

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
use crate::operation::Version;
use crate::wire::grpc::service::a2_a_service_server::A2AServiceServer;
use crate::wire::grpc::service_v0_3::a2_a_service_server::A2AServiceServer as OldServer;

/// Answers are compressed for those who compress their requests: for most callers, gzip costs more than it saves.
#[derive(Clone)]
pub(super) struct Grpc {
    plain: A2AServiceServer<Service>,
    gzip: A2AServiceServer<Service>,
    old: OldServer<Service>,
    old_gzip: OldServer<Service>,
}

impl Grpc {
    pub(super) fn new(gateway: &Arc<Gateway>, limits: &Limits) -> Self {
        let service = Service::new(Arc::clone(gateway));
        let plain = A2AServiceServer::new(service.clone())
            .max_decoding_message_size(limits.body_bytes_max)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(Gzip);
        let old = OldServer::new(service)
            .max_decoding_message_size(limits.body_bytes_max)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(Gzip);
        Self { gzip: plain.clone().send_compressed(Gzip), plain, old_gzip: old.clone().send_compressed(Gzip), old }
    }

    pub(super) fn call(
        mut self,
        request: http::Request<Full<Bytes>>,
        version: Version,
    ) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let compresses = request.headers().get("grpc-encoding").is_some_and(|encoding| encoding == "gzip");
        let response = match (version, compresses) {
            (Version::V1_0, false) => tower_service::Service::call(&mut self.plain, request),
            (Version::V1_0, true) => tower_service::Service::call(&mut self.gzip, request),
            (Version::V0_3, false) => tower_service::Service::call(&mut self.old, request),
            (Version::V0_3, true) => tower_service::Service::call(&mut self.old_gzip, request),
        };
        Box::pin(async move {
            let Ok::<_, Infallible>(response) = response.await;
            response.map(Body::new)
        })
    }
}
