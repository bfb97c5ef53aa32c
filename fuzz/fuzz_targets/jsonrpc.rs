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
    let names = [("SendMessage", Version::V1_0), ("GetTask", Version::V1_0), ("message/send", Version::V0_3)];
    let known = names.into_iter().chain([(request.method.as_str(), Version::V1_0)]);
    for (name, version) in known {
        let Some(method) = Method::by_name(name) else { continue };
        let read = json::read_request(method.rpc, version, request.params.clone(), &LIMITS);
        let Ok((operation, raw)) = read else { continue };
        if let Some(raw) = raw {
            assert!(request.params.is_none_or(|params| params == raw.bytes), "forwarded is what was sent");
            return;
        }
        let Ok(written) = json::write_request(&operation, version) else { continue };
        let again = json::read_request(method.rpc, version, Some(written), &LIMITS).expect("it was written here");
        assert_eq!(again.0, operation);
    }
});
