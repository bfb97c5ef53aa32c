//! Cross-origin requests: off unless the operator lists the origins whose pages may call.

use http::{HeaderName, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::CorsSettings;

/// What a page may read of a response beside its body: statuses of gRPC-Web, and what A2A and HTTP say in headers.
const EXPOSED: [&str; 9] = [
    "a2a-extensions",
    "connect-content-encoding",
    "etag",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "retry-after",
    "www-authenticate",
];

/// None when no origin is allowed. Credentials travel in headers that pages set themselves, never in cookies.
pub(super) fn layer(settings: &CorsSettings) -> Option<CorsLayer> {
    let origins = match settings {
        CorsSettings { any_origin: true, .. } => AllowOrigin::any(),
        CorsSettings { origins, .. } if origins.is_empty() => return None,
        CorsSettings { origins, .. } => AllowOrigin::list(origins.clone()),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .max_age(settings.max_age);
    Some(layer)
}
