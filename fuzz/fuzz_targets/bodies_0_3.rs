//! Bodies of 0.3, in the JSON of JSON-RPC and in that of its protobuf, from callers and from agents: what is understood
//! is written in 0.3 and understood again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use switchboard::a2a::lenient;
use switchboard::call::FileBytes;
use switchboard::operation::{Rpc, Version};
use switchboard::wire::content;
use switchboard::wire::json;
use switchboard::wire::proto::v0_3;
use switchboard_fuzz::{LIMITS, chosen};

const OLD: Version = Version::V0_3;

fuzz_target!(|data: &[u8]| {
    let Some((rpc, variant, body)) = chosen(data) else { return };
    let files = if variant & 1 == 0 { FileBytes::Auto } else { FileBytes::Raw };
    drop(lenient::response(rpc, &body, files));
    drop(lenient::event(&body, files));
    drop(lenient::push_config_v0_3(&body));
    // As the doors do: what JSON-RPC's envelope held is JSON already.
    if json::is_object(&body).is_ok() {
        jsonrpc(rpc, &body);
    }
    if let Ok(operation) = v0_3::read_request_json(rpc, &body, &LIMITS)
        && let Ok(written) = v0_3::write_request_json(&operation, files)
    {
        drop(v0_3::read_request_json(rpc, &written, &LIMITS).expect("it was written here"));
    }
    if let Ok(answer) = v0_3::read_answer_json(rpc, &body, &LIMITS, files) {
        drop(content::typed_answer(answer).and_then(|response| v0_3::write_response_json(&response, files)));
    }
    if let Ok(event) = v0_3::read_event_json(&body, &LIMITS, files) {
        drop(content::typed_stream_event(event));
    }
});

fn jsonrpc(rpc: Rpc, body: &Bytes) {
    if let Ok((operation, _)) = json::read_request(rpc, OLD, Some(body.clone()), &LIMITS)
        && let Ok(written) = json::write_request(&operation, OLD)
    {
        drop(json::read_request(rpc, OLD, Some(written), &LIMITS).expect("it was written here"));
    }
    if let Ok(answer) = json::read_answer(rpc, OLD, body.clone(), &LIMITS)
        && let Ok(response) = content::typed_answer(answer)
        && let Ok(written) = json::write_response(&response, OLD)
    {
        let again = json::read_answer(rpc, OLD, written, &LIMITS).and_then(content::typed_answer);
        drop(again.expect("it was written here"));
    }
    if let Ok(event) = json::read_event(OLD, body.clone(), &LIMITS) {
        drop(content::typed_stream_event(event));
    }
}
