//! What operators and their tools ask the gateway about itself.

use axum::Router;
use axum::routing::get;

use crate::bindings::Doors;

mod litellm;

/// The routes beside the doors.
pub fn router(doors: Doors) -> Router {
    Router::new().route("/v1/agents", get(litellm::agents)).route("/v1/agents/", get(litellm::agents)).with_state(doors)
}
