//! Bodies of JSON-RPC: what was read of a request is written so that it reads the same, in both versions; replies of
//! agents are read or refused.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use switchboard::operation::{Method, Version};
use switchboard::wire::{json, jsonrpc};
use switchboard_fuzz::LIMITS;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    for version in [Version::V1_0, Version::V0_3] {
        drop(jsonrpc::read_reply(&body, b"1", version));
    }
    let Ok(request) = jsonrpc::read_request(&body) else { return };
    for name in ["SendMessage", "GetTask", "message/send", &request.method] {
        let Some((method, version)) = Method::by_jsonrpc_name(name) else { continue };
        let read = json::read_request(method.rpc, version, request.params.clone(), &LIMITS);
        let Ok((operation, raw)) = read else { continue };
        if let Some(raw) = raw {
            assert!(request.params.as_ref().is_none_or(|params| *params == raw.bytes), "forwarded is what was sent");
            continue;
        }
        let Ok(written) = json::write_request(&operation, version) else { continue };
        let again = json::read_request(method.rpc, version, Some(written), &LIMITS).expect("it was written here");
        assert_eq!(again.0, operation);
    }
});
