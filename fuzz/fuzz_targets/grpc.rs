//! Messages of gRPC in both versions, from callers and from agents: what may be forwarded decodes to what policy read,
//! and what was read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard::call::FileBytes;
use switchboard::wire::{content, proto};
use switchboard_fuzz::{LIMITS, chosen};

fuzz_target!(|data: &[u8]| {
    let Some((rpc, variant, bytes)) = chosen(data) else { return };
    let files = if variant & 1 == 0 { FileBytes::Auto } else { FileBytes::Raw };
    if let Ok((operation, raw)) = proto::read_request(rpc, bytes.clone(), &LIMITS) {
        assert!(raw.is_none_or(|raw| raw.bytes == bytes), "forwarded is what was sent");
        let written = proto::write_request(&operation);
        let (again, _) = proto::read_request(rpc, written, &LIMITS).expect("it was written here");
        assert_eq!(proto::write_request(&again), proto::write_request(&operation));
    }
    if let Ok((operation, _)) = proto::v0_3::read_request(rpc, bytes.clone(), &LIMITS)
        && let Ok(written) = proto::v0_3::write_request(&operation, files)
    {
        drop(proto::v0_3::read_request(rpc, written, &LIMITS).expect("it was written here"));
    }
    if let Ok(answer) = proto::read_answer(rpc, bytes.clone(), &LIMITS) {
        drop(content::typed_answer(answer));
    }
    if let Ok(answer) = proto::v0_3::read_answer(rpc, bytes.clone(), &LIMITS, files) {
        drop(content::typed_answer(answer));
    }
    if let Ok(event) = proto::read_event(bytes.clone(), &LIMITS) {
        drop(content::typed_stream_event(event));
    }
    if let Ok(event) = proto::v0_3::read_event(bytes, &LIMITS, files) {
        drop(content::typed_stream_event(event));
    }
});
