//! Where the two versions, or two forms of one, cannot say the same.

use std::collections::BTreeMap;

use serde_json::json;
use switchboard::operation::{Rpc, Version};

use super::By;
use super::callers::Caller;
use super::cases::Case;
use super::old::Old;

const NO_LIST: &str = "0.3 has no list of tasks";
const NO_HISTORY: &str = "A history length of 0 is none in 1.0 and no limit in 0.3";
const NO_CANCEL_METADATA: &str = "The protobuf form of 0.3 has no metadata in a cancellation";
const NO_PAGES: &str = "JSON-RPC 0.3 lists push configs without pages";

/// Why this case differs for this caller before this agent, if it must.
pub fn reason(case: &Case, caller: Caller, by: By) -> Option<&'static str> {
    let by_old = by.version == Version::V0_3;
    let is_old = caller.version() == Version::V0_3 || by_old;
    let is_proto = matches!(caller, Caller::Old(old) if old != Old::JsonRpc) || (by_old && by.binding != "jsonrpc");
    let is_array = caller == Caller::Old(Old::JsonRpc) || (by_old && by.binding == "jsonrpc");
    match case.rpc {
        Rpc::ListTasks if by_old => Some(NO_LIST),
        Rpc::GetTask if is_old && case.request["historyLength"] == json!(0) => Some(NO_HISTORY),
        Rpc::CancelTask if is_proto && case.request["metadata"].is_object() => Some(NO_CANCEL_METADATA),
        Rpc::ListPushConfigs if is_array => Some(NO_PAGES),
        _ => None,
    }
}

/// That `docs/fidelity.md` has every reason, with how many calls it is about, and README how many are equal.
pub fn are_told(equal: usize, listed: &BTreeMap<&str, usize>) {
    let file = |name: &str| std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let fidelity = file("docs/fidelity.md");
    for (reason, calls) in listed {
        let row = format!("| {reason} | {calls} |");
        assert!(fidelity.contains(&row), "docs/fidelity.md lacks the row {row}");
    }
    let differing: usize = listed.values().sum();
    let count = format!("{equal} of {}", equal + differing);
    for name in ["docs/fidelity.md", "README.md"] {
        assert!(file(name).contains(&count), "{name} does not say {count}");
    }
}
