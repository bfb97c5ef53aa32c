//! What is asked and what is answered: the sizes of an ordinary exchange with an agent that answers in text.

use std::fmt::Write as _;

/// The id of every request, for the static agent cannot repeat another.
const ID: &str = r#""load-0001""#;
/// The key that the caller presents.
/// The administrator's, who makes [`KEY`].
pub const MASTER_KEY: &str = "sk-master-0123456789abcdef0123456789abcdef";
/// The key of the load.
pub const KEY: &str = "sk-load-0123456789abcdef0123456789abcdef";
/// What the agent answers, in either version.
pub const ANSWER: &str = "The second offer is the cheapest over two years: its price per month is higher, but it has \
    no fee at the start and the notice period is one month. The first one costs 42.50 more, the third one 118.00 more.";
const QUESTION: &str = "Please compare the offers in the list below and say which one is the cheapest over two years.";

/// The headers of every request, beside Host and Content-Length.
pub fn headers() -> [(&'static str, String); 3] {
    [
        ("Content-Type", "application/json".to_owned()),
        ("Authorization", format!("Bearer {KEY}")),
        ("A2A-Version", "1.0".to_owned()),
    ]
}

/// The two ways to send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Unary,
    Stream,
}

/// The body of a 1.0 SendMessage or SendStreamingMessage.
pub fn request(call: Call) -> String {
    let method = match call {
        Call::Unary => "SendMessage",
        Call::Stream => "SendStreamingMessage",
    };
    let offers: String = (1..=8).fold(String::new(), |mut offers, number| {
        let _ = write!(offers, " Offer {number}: a fee of {number}9.00 at the start, then {number}2.90 each month.");
        offers
    });
    let message = format!(
        r#"{{"messageId":"0b8f6c1e-53a4-4f0e-9d27-6f1a2c3b4d5e","contextId":"7d1c2b3a-9e8f-4a5b-8c6d-1e2f3a4b5c6d","role":"ROLE_USER","parts":[{{"text":"{QUESTION}{offers}"}}],"metadata":{{"channel":"web","locale":"en-GB","client":"the load bench"}}}}"#
    );
    format!(
        r#"{{"jsonrpc":"2.0","id":{ID},"method":"{method}","params":{{"message":{message},"configuration":{{"acceptedOutputModes":["text/plain"]}}}}}}"#
    )
}

/// What the 1.0 agent replies. `1.50` would come back as `1.5` if anybody printed it anew.
pub fn reply_1_0() -> String {
    reply(&format!(
        r#"{{"task":{{{IDS},"status":{{"state":"TASK_STATE_COMPLETED","timestamp":"2026-01-02T03:04:05.678Z"}},"artifacts":[{{"artifactId":"{ARTIFACT}","name":"answer","parts":[{{"text":"{ANSWER}"}}]}}],"history":[{{"messageId":"{MESSAGE}",{HISTORY},"role":"ROLE_USER","parts":[{{"text":"{QUESTION}"}}]}}],"metadata":{{"price":1.50}}}}}}"#
    ))
}

/// What the 0.3 agent replies: the same task.
pub fn reply_0_3() -> String {
    reply(&format!(
        r#"{{"kind":"task",{IDS},"status":{{"state":"completed","timestamp":"2026-01-02T03:04:05.678Z"}},"artifacts":[{{"artifactId":"{ARTIFACT}","name":"answer","parts":[{{"kind":"text","text":"{ANSWER}"}}]}}],"history":[{{"kind":"message","messageId":"{MESSAGE}",{HISTORY},"role":"user","parts":[{{"kind":"text","text":"{QUESTION}"}}]}}],"metadata":{{"price":1.50}}}}"#
    ))
}

const IDS: &str = r#""id":"c2a9d0de-7f61-4c55-a3c1-0b9e8d7c6f5a","contextId":"7d1c2b3a-9e8f-4a5b-8c6d-1e2f3a4b5c6d""#;
const ARTIFACT: &str = "5f0e4d3c-2b1a-4098-8765-43210fedcba9";
const MESSAGE: &str = "0b8f6c1e-53a4-4f0e-9d27-6f1a2c3b4d5e";
const HISTORY: &str = r#""taskId":"c2a9d0de-7f61-4c55-a3c1-0b9e8d7c6f5a""#;

fn reply(result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{ID},"result":{result}}}"#)
}

/// A stream of one event, which says the same as the reply.
pub fn stream_of(reply: &str) -> String {
    format!("data: {reply}\n\n")
}

/// The card of the agent at `url`, in the form that its version has.
pub fn card(path: &str, url: &str) -> String {
    if path.starts_with("v1_0") {
        let interface = format!(r#"{{"url":"{url}","protocolBinding":"JSONRPC","protocolVersion":"1.0"}}"#);
        format!(r#"{{{CARD},"supportedInterfaces":[{interface}]}}"#)
    } else {
        format!(r#"{{{CARD},"url":"{url}","preferredTransport":"JSONRPC","protocolVersion":"0.3.0"}}"#)
    }
}

const CARD: &str = r#""name":"static","description":"Always answers the same.","version":"1","capabilities":{"streaming":true},"defaultInputModes":["text/plain"],"defaultOutputModes":["text/plain"],"skills":[{"id":"compare","name":"Compare","description":"Compares offers.","tags":["offers"]}]"#;
