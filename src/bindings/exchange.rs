//! What every door does with an admitted request: read what it asks, find its agent, make the call, and take a card
//! in the reply for ours. What the request and the reply look like is the door's business.

use bytes::Bytes;

use super::address::base_url;
use super::arrival::{Asked, call, check_version};
use super::card;
use crate::a2a::card::{Face, rewritten};
use crate::call::{AgentName, Answer, Arrival, Call, Caller, Content, Form, Reply, ReplyBody, Response as Typed};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::operation::{Rpc, Version};
use crate::wire::content;

/// A request whose caller is known.
pub(super) struct Admitted {
    pub(super) arrival: Arrival,
    pub(super) caller: Caller,
}

/// Makes the call that `read` finds in an admitted request of this version. Its refusals are recorded.
///
/// # Errors
/// Those of `read`, and why the call failed.
pub(super) async fn exchange(
    gateway: &Gateway,
    admitted: Admitted,
    version: Version,
    read: impl FnOnce(&Arrival) -> Result<Asked, Error>,
) -> Result<Reply, Error> {
    let (call, face) = asked(gateway, admitted, version, read)?;
    let mut reply = gateway.handle(&call).await?;
    if let (ReplyBody::One(answer), Some(face)) = (&mut reply.body, face) {
        ours(answer, *face, version);
    }
    Ok(reply)
}

/// What is asked, and how callers see the agent if the reply has a card. Apart from the waiting, so that nothing of the
/// way here is in memory meanwhile.
fn asked(
    gateway: &Gateway,
    admitted: Admitted,
    version: Version,
    read: impl FnOnce(&Arrival) -> Result<Asked, Error>,
) -> Result<(Call, Option<Box<Face>>), Error> {
    let Admitted { arrival, caller } = admitted;
    let asked = check_version(&arrival, version).and_then(|()| read(&arrival)).and_then(|asked| {
        let agent = gateway.addressed(&arrival, &caller, asked.operation.tenant())?;
        Ok((asked, agent))
    });
    let (asked, agent) = match asked {
        Ok(asked) => asked,
        Err(error) => return Err(gateway.refuse(&arrival, &caller, error)),
    };
    // Only a card in the reply needs to know how callers reach us.
    let is_card = asked.operation.rpc() == Rpc::GetExtendedAgentCard;
    let face = is_card.then(|| face(gateway, &arrival, &agent)).flatten();
    Ok((call(arrival, caller, agent, asked), face.map(Box::new)))
}

/// How callers see the agent.
fn face(gateway: &Gateway, arrival: &Arrival, agent: &AgentName) -> Option<Face> {
    let base = base_url(&arrival.settings, arrival.peer, &arrival.headers, &arrival.uri);
    gateway.agent(agent).map(|agent| card::face(gateway, &agent, &base))
}

/// A card in a reply is rewritten like one at a well-known path: an upstream address in it would leak. It offers the
/// version that it was asked for, even where the public card is pinned to the other.
fn ours(answer: &mut Answer, face: Face, version: Version) {
    if let Content::Typed(typed) = &mut answer.content
        && let Typed::Card(card) = &mut **typed
    {
        let pinned = face.pinned.map(|_| version);
        *card = rewritten(card, &Face { pinned, ..face });
    }
}

/// An answer as the body of a response. The empty message is an empty object in JSON, everywhere but in JSON-RPC.
///
/// # Errors
/// InvalidAgentResponse for an answer that cannot be translated.
pub(super) fn body(answer: Answer, form: Form) -> Result<Bytes, Error> {
    match (answer.rpc, form) {
        (Rpc::DeletePushConfig, Form::Json(_) | Form::ProtoJsonV0_3(_)) => Ok(Bytes::from_static(b"{}")),
        _ => content::write_answer(answer, form),
    }
}
