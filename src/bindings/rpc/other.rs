//! Services that are not A2A's, and all of whose methods are unary: the same protocols, framing, limits and refusals.
//! The method runs first; the libraries only write what came of it.

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::Method;

use super::message::{self, Message};
use super::service::Ticket;
use super::{MethodPath, Protocol, framing, hand_over, refuse, unknown_type};
use crate::bindings::arrival::arrival;
use crate::bindings::respond::{self, error_response, other_verb};
use crate::bindings::{ADMIN_BODY_BYTES_MAX, Doors, closing, request};
use crate::call::{Caller, Form};
use crate::error::{Error, Kind};
use crate::operation::Version;

/// The method of A2A in whose place answers are written: any that is unary.
const IN_PLACE_OF: MethodPath<'static> = MethodPath { version: Version::V1_0, name: "SendMessage" };

/// Serves one method: `answer` is called when its caller is known and its message is read.
pub async fn serve(
    doors: &Doors,
    request: Request,
    answer: impl AsyncFnOnce(Caller, Form, Bytes) -> Result<Bytes, Error>,
) -> Response {
    if request.method() != Method::POST {
        return other_verb(request.method(), "POST");
    }
    let gateway = &doors.gateway;
    let (mut head, body) = request.into_parts();
    let Some(protocol) = Protocol::of(&head.headers).filter(|protocol| *protocol != Protocol::ConnectStream) else {
        return closing(head.version, error_response(&unknown_type()));
    };
    let form = match request::media_type(&head.headers) {
        Some(media_type) if media_type.ends_with("json") => Form::Json(Version::V1_0),
        _ => Form::Proto,
    };
    let arrival = arrival(gateway, None, protocol.binding(), &mut head);
    let mut framing = framing(&arrival.headers);
    let answered = async {
        let caller = gateway.identify(&arrival.headers, arrival.source).await?;
        let body = request::read_at_most(gateway, arrival.received, body, ADMIN_BODY_BYTES_MAX).await?;
        let body = if protocol == Protocol::WebText { super::web_text::decoded(&body)? } else { body };
        match message::read(gateway, &arrival, protocol, &framing, body).await? {
            Message::Whole(message) => answer(caller, form, message).await,
            Message::Foreign => {
                let message = "the message is compressed in a way that is not known here: use gzip, or none";
                Err(Error::new(Kind::InvalidRequest, message))
            }
        }
    };
    match answered.await {
        Ok(bytes) => {
            framing.remove("content-encoding");
            let ticket = Ticket::answered(bytes);
            let mut response = hand_over(doors, protocol, framing, IN_PLACE_OF, protocol.empty_body(), ticket).await;
            response.headers_mut().extend([respond::NOSNIFF]);
            response
        }
        Err(error) => closing(head.version, refuse(doors, protocol, framing, IN_PLACE_OF, error).await),
    }
}
