//! Paths, queries and bodies of HTTP+JSON: what was read of them leads to an address at which the same is read.
#![no_main]

use bytes::Bytes;
use http::Method;
use libfuzzer_sys::fuzz_target;
use switchboard::operation::{Operation, Version};
use switchboard::wire::{json, rest};
use switchboard_fuzz::LIMITS;

fuzz_target!(|data: &str| {
    let mut lines = data.splitn(3, '\n');
    let (Some(target), verb) = (lines.next(), lines.next()) else { return };
    let body = Bytes::copy_from_slice(lines.next().unwrap_or_default().as_bytes());
    let verb = if verb.is_some_and(|verb| verb.starts_with('G')) { Method::GET } else { Method::POST };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    if let Ok(route) = rest::v0_3::find(&verb, path) {
        drop(rest::v0_3::read_request(&route, query, &body, &LIMITS));
    }
    let Ok(route) = rest::find(&verb, path) else { return };
    let Ok((operation, _)) = rest::read_request(&route, query, &body, &LIMITS) else { return };
    let Ok(target) = rest::target(&operation, &route.tenant) else { return };
    let (path, query) = match target.path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target.path_and_query.as_str(), None),
    };
    let body = if target.has_body { json::write_request(&operation, Version::V1_0) } else { Ok(Bytes::new()) };
    let Ok(body) = body else { return };
    let route = rest::find(&target.verb, path).expect("it leads somewhere");
    assert_eq!(route.method.rpc, operation.method().rpc);
    let (again, _) = rest::read_request(&route, query, &body, &LIMITS).expect("it was written here");
    assert_eq!(without_tenant(&again), without_tenant(&operation));
});

/// A tenant may also stand in the query or in the body; towards an agent it is always in the path.
fn without_tenant(operation: &Operation) -> String {
    let mut members = json::members(operation).expect("it was read from JSON");
    members.remove("tenant");
    format!("{members:?}")
}
