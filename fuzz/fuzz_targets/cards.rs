//! Cards of agents: what can be read is given to callers in every form, with our addresses and none of the agent's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard::a2a::card::{self, Face};

fuzz_target!(|data: &[u8]| {
    let Ok(mut theirs) = card::read(data) else { return };
    card::clean(&mut theirs);
    let face = Face {
        url: "http://ours/a2a/a".to_owned(),
        grpc: "ours:4000".to_owned(),
        tenant: "a".to_owned(),
        grpc_v0_3: None,
        pinned: None,
        upstream: "secret.internal:9999".to_owned(),
    };
    let ours = card::rewritten(&theirs, &face);
    let written = card::write_v1(&ours);
    assert!(!String::from_utf8_lossy(&written).contains("secret.internal:9999"));
    let again = card::read(&written).expect("it was written here");
    assert_eq!(again.supported_interfaces, ours.supported_interfaces);
    assert_eq!(again.skills, ours.skills);
    for written in [card::write_hybrid(&ours).ok(), card::write_v0_3(&ours).ok()].into_iter().flatten() {
        card::read(&written).expect("it was written here");
    }
});
