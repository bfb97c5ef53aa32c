//! What gRPC tools expect of every server: health for anybody, reflection for those with a key.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{Protocol, reflection};
use crate::bindings::respond::error_response;
use crate::bindings::{closing, sender};
use crate::error::{Error, Kind};
use crate::gateway::Gateway;
use crate::operation::Binding;
use crate::wire::body::{self, BodyError, Pace};
use crate::wire::status;

/// The largest body of a health request, which strangers may send: it has the name of a service.
const HEALTH_BYTES_MAX: usize = 1 << 10;
/// The largest message of a reflection request.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Watchers of health at once; there is one for each load balancer and the like.
const WATCHERS_MAX: usize = 64;
/// The names under which health is asked for; the empty one is the whole process.
const SERVICES: [&str; 3] = ["", "lf.a2a.v1.A2AService", "a2a.v1.A2AService"];

/// The routes of both.
pub(in crate::bindings) fn router(gateway: &Arc<Gateway>, draining: &CancellationToken) -> Router {
    let watched = Watched { draining: draining.clone(), places: Arc::new(Semaphore::new(WATCHERS_MAX)) };
    let health = Router::new()
        .route_service("/grpc.health.v1.Health/{method}", HealthServer::new(watched))
        .route_layer(middleware::from_fn_with_state(Arc::clone(gateway), read_first));
    let for_callers = middleware::from_fn_with_state(Arc::clone(gateway), known_callers);
    reflection::router().route_layer(for_callers).merge(health)
}

/// What the schema says is for those with a key, as the list of agents is.
async fn known_callers(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let sender = sender(&gateway, &request);
    match gateway.identify(request.headers(), sender).await {
        Ok(_) => next.run(request).await,
        Err(error) if Protocol::of(request.headers()).is_none_or(|protocol| protocol.binding() != Binding::Grpc) => {
            closing(request.version(), error_response(&error))
        }
        Err(error) => status::of(&error).into_http::<tonic::body::Body>().map(Body::new),
    }
}

/// Anybody may ask, so the question is read to its end first, within a size and a time.
async fn read_first(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    if Protocol::of(request.headers()) != Some(Protocol::Grpc) {
        // A prober that speaks only HTTP must not take an answer for health.
        let message = "health is told by gRPC here: over HTTP, ask /health/ready";
        return closing(request.version(), error_response(&Error::new(Kind::UnsupportedMediaType, message)));
    }
    let (head, body) = request.into_parts();
    let pause_max = gateway.settings.timeouts.body_pause;
    let pace = Pace { bytes_max: HEALTH_BYTES_MAX, pause_max, bytes_per_second_min: 1_024 };
    match body::read(body, pace, &gateway.budget, gateway.clock.instant()).await {
        Ok(whole) => next.run(Request::from_parts(head, Body::from(whole))).await,
        Err(error) => {
            let code = match error {
                BodyError::NoBudget => Code::Unavailable,
                BodyError::TooLarge(_) => Code::ResourceExhausted,
                BodyError::TooSlow | BodyError::Broken(_) => Code::InvalidArgument,
            };
            let refused = Status::new(code, error.to_string()).into_http::<tonic::body::Body>();
            closing(head.version, refused.map(Body::new))
        }
    }
}

/// Serving until the process begins to stop.
struct Watched {
    draining: CancellationToken,
    /// For those who watch.
    places: Arc<Semaphore>,
}

impl Watched {
    fn now(&self, service: &str) -> ServingStatus {
        match (SERVICES.contains(&service), self.draining.is_cancelled()) {
            (false, _) => ServingStatus::ServiceUnknown,
            (true, false) => ServingStatus::Serving,
            (true, true) => ServingStatus::NotServing,
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Watched {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        match self.now(&request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::new(Code::NotFound, "there is no such service here")),
            status => Ok(tonic::Response::new(response(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The status now, and once more when it changes; then it is the process's end.
    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Status::new(Code::ResourceExhausted, "too many watch already: use Check"))?;
        let first = self.now(&request.get_ref().service);
        let draining = self.draining.clone();
        let at_the_end = futures_util::stream::once(async move {
            draining.cancelled_owned().await;
            drop(place);
            Ok(response(ServingStatus::NotServing))
        });
        let now = futures_util::stream::iter([Ok(response(first))]);
        Ok(tonic::Response::new(match first {
            ServingStatus::Serving => now.chain(at_the_end).boxed(),
            _ => now.boxed(),
        }))
    }
}
