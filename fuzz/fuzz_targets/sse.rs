//! Event streams of agents: whatever the pieces in which they arrive, the events are the same, and none is larger than
//! allowed.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use switchboard::wire::sse::SseReader;

const EVENT_BYTES_MAX: usize = 64;

fn events(pieces: impl Iterator<Item = Bytes>) -> (Vec<Bytes>, bool) {
    let mut reader = SseReader::new(EVENT_BYTES_MAX);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_data() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, false),
            }
        }
    }
    match reader.finish() {
        Ok(last) => (events.into_iter().chain(last).collect(), true),
        Err(_) => (events, false),
    }
}

fuzz_target!(|data: &[u8]| {
    let [size, stream @ ..] = data else { return };
    let whole = events(std::iter::once(Bytes::copy_from_slice(stream)));
    assert!(whole.0.iter().all(|event| event.len() <= EVENT_BYTES_MAX));
    let pieces = stream.chunks(usize::from(*size).max(1)).map(Bytes::copy_from_slice);
    assert_eq!(events(pieces), whole);
});
