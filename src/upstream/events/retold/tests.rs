use serde_json::{Value, json};

use super::*;

fn event(json: Value) -> Event {
    content::typed_event(serde_json::from_value(json).unwrap())
}

fn status(text: &str) -> Event {
    event(json!({ "statusUpdate": { "taskId": "t", "contextId": "c", "status": {
        "state": "TASK_STATE_WORKING",
        "message": { "messageId": "m", "role": "ROLE_AGENT", "parts": [{ "text": text }] },
    }}}))
}

fn piece(text: &str, append: bool, last: bool) -> Event {
    event(json!({ "artifactUpdate": { "taskId": "t", "contextId": "c", "append": append, "lastChunk": last,
        "artifact": { "artifactId": "a", "parts": [{ "text": text }] } }}))
}

/// What each event says, with a plus for what is appended.
fn told(text: Option<StreamText>, events: Vec<Event>) -> Vec<String> {
    let mut retold = Retold::new(text, 1_000);
    let said = |event: Event| {
        let event = content::typed_stream_event(retold.once(event).unwrap()).unwrap();
        match event.payload.unwrap() {
            Payload::StatusUpdate(update) => {
                update.status.unwrap().message.map_or("-".to_owned(), |message| text_of(&message.parts).unwrap())
            }
            Payload::ArtifactUpdate(update) => {
                let plus = if update.append { "+" } else { "" };
                format!("{plus}{}", text_of(&update.artifact.unwrap().parts).unwrap())
            }
            _ => String::new(),
        }
    };
    events.into_iter().map(said).collect()
}

#[test]
fn tells_cumulative_text_piece_by_piece() {
    let events = ["a", "a b", "a b", "a b c", "x"].map(status).to_vec();
    assert_eq!(told(Some(StreamText::Cumulative), events.clone()), ["a", " b", "-", " c", "x"]);
    assert_eq!(told(None, events), ["a", "a b", "a b", "a b c", "x"], "of others nothing is assumed");
}

#[test]
fn leaves_out_the_whole_after_its_pieces() {
    let events = ["a", " b", " c", "a b c", "d"].map(status).to_vec();
    assert_eq!(told(Some(StreamText::Repeated), events), ["a", " b", " c", "-", "d"]);
    let twice = ["working", "working"].map(status).to_vec();
    assert_eq!(told(Some(StreamText::Repeated), twice), ["working", "working"]);
}

#[test]
fn mends_artifacts_that_are_appended_to_nothing() {
    let fasta2a = vec![piece("a", true, false), piece(" b", true, false), piece("a b", false, true)];
    assert_eq!(told(None, fasta2a), ["a", "+ b", "+"]);
    let longer = vec![piece("a", true, false), piece("a b", false, true)];
    assert_eq!(told(None, longer), ["a", "+ b"]);
    let other = vec![piece("a", true, false), piece("x", false, true)];
    assert_eq!(told(None, other), ["a", "x"], "what differs replaces");
    let plain = vec![piece("a", false, false), piece("a", false, true)];
    assert_eq!(told(None, plain), ["a", "a"], "as A2A means it");
}
