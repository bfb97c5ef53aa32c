//! What operators and their tools ask the gateway about itself.

use axum::Router;
use axum::routing::get;

use crate::bindings::{Doors, only_get};

mod litellm;

/// The routes beside the doors.
pub fn router(doors: Doors) -> Router {
    Router::new()
        .route("/v1/agents", get(litellm::agents).fallback(only_get))
        .route("/v1/agents/", get(litellm::agents).fallback(only_get))
        .with_state(doors)
}
