//! What reading and writing costs, message by message: `cargo bench --bench codec`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use switchboard::call::Form;
use switchboard::config::JsonLimits;
use switchboard::operation::{Rpc, Version};
use switchboard::wire::content::{EventWriter, write_answer};
use switchboard::wire::json::{read_answer, read_event, read_request, write_request};
use switchboard::wire::jsonrpc;
use switchboard::wire::scan::{request_shape, scan};

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 200_000, parts_max: 1_000, digits_max: 100 };

const SEND_V1: &str = r#"{"message":{"messageId":"0d1e6e0b-8f5d-4c39-a3f7-0c9d5f6f8a11","contextId":"a9c7f0de-7d1c-4d7b-9a69-0a6b2b1d8f10","role":"ROLE_USER","parts":[{"text":"Summarise the attached quarterly report in three sentences, name the two largest risks, and say which of them the board should discuss first and why."},{"data":{"quarter":"Q3","year":2026,"figures":[1200345,998201,1100042.5],"final":true}}],"metadata":{"trace":"4bf92f3577b34da6a3ce929d0e0e4736","tags":["finance","board"]}},"configuration":{"acceptedOutputModes":["text/plain","application/json"],"historyLength":5},"metadata":{"session":"s-1"}}"#;
const TASK_V1: &str = r#"{"task":{"id":"5f0c3a86-6a44-4c1e-a9a7-66b3bd1c2f55","contextId":"a9c7f0de-7d1c-4d7b-9a69-0a6b2b1d8f10","status":{"state":"TASK_STATE_COMPLETED","timestamp":"2026-01-02T03:04:05.678Z"},"artifacts":[{"artifactId":"a-1","name":"summary","parts":[{"text":"Revenue rose by eight percent. Costs rose faster, mostly for energy. The outlook is stable if the two contracts are renewed."}]}],"history":[{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"Summarise the attached quarterly report."}]}],"metadata":{"tokens":512}}}"#;
const TASK_V03: &str = r#"{"kind":"task","id":"5f0c3a86-6a44-4c1e-a9a7-66b3bd1c2f55","contextId":"a9c7f0de-7d1c-4d7b-9a69-0a6b2b1d8f10","status":{"state":"completed","timestamp":"2026-01-02T03:04:05.678Z"},"artifacts":[{"artifactId":"a-1","name":"summary","parts":[{"kind":"text","text":"Revenue rose by eight percent. Costs rose faster, mostly for energy. The outlook is stable if the two contracts are renewed."}]}],"history":[{"kind":"message","messageId":"m-1","role":"user","parts":[{"kind":"text","text":"Summarise the attached quarterly report."}]}],"metadata":{"tokens":512}}"#;
const UPDATE_V1: &str = r#"{"artifactUpdate":{"taskId":"5f0c3a86","contextId":"a9c7f0de","artifact":{"artifactId":"a-1","parts":[{"text":"Revenue rose by eight percent."}]},"append":true}}"#;

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(SEND_V1.len() as u64));
    let envelope = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":"7","method":"SendMessage","params":{SEND_V1}}}"#));
    group.bench_function("envelope", |b| b.iter(|| jsonrpc::read_request(black_box(&envelope)).expect("a request")));
    let shape = request_shape(Rpc::SendMessage, Version::V1_0);
    group.bench_function("scan", |b| b.iter(|| scan(black_box(SEND_V1.as_bytes()), shape, &LIMITS).expect("plain")));
    let params = Bytes::from_static(SEND_V1.as_bytes());
    let read =
        |params: &Bytes| read_request(Rpc::SendMessage, Version::V1_0, Some(params.clone()), &LIMITS).expect("a send");
    group.bench_function("read_1_0", |b| b.iter(|| read(black_box(&params))));
    let (operation, _) = read(&params);
    group.bench_function("write_0_3", |b| {
        b.iter(|| write_request(black_box(&operation), Version::V0_3).expect("written"));
    });
    let old = write_request(&operation, Version::V0_3).expect("written");
    let read_old =
        |old: &Bytes| read_request(Rpc::SendMessage, Version::V0_3, Some(old.clone()), &LIMITS).expect("a send");
    group.bench_function("read_0_3", |b| b.iter(|| read_old(black_box(&old))));
    group.bench_function("write_1_0", |b| {
        b.iter(|| write_request(black_box(&operation), Version::V1_0).expect("written"));
    });
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    let relay = |version: Version, reply: &'static str, to: Version| {
        let answer =
            read_answer(Rpc::SendMessage, version, Bytes::from_static(reply.as_bytes()), &LIMITS).expect("an answer");
        write_answer(answer, Form::Json(to)).expect("written")
    };
    group.bench_function("forward_1_0", |b| b.iter(|| relay(Version::V1_0, black_box(TASK_V1), Version::V1_0)));
    group.bench_function("from_0_3_to_1_0", |b| b.iter(|| relay(Version::V0_3, black_box(TASK_V03), Version::V1_0)));
    group.bench_function("from_1_0_to_0_3", |b| b.iter(|| relay(Version::V1_0, black_box(TASK_V1), Version::V0_3)));
    for (name, to) in [("event_forward_1_0", Version::V1_0), ("event_from_1_0_to_0_3", Version::V0_3)] {
        let mut writer = EventWriter::new(Form::Json(to));
        group.bench_function(name, |b| {
            b.iter(|| {
                let data = Bytes::from_static(black_box(UPDATE_V1).as_bytes());
                writer.write(read_event(Version::V1_0, data, &LIMITS).expect("an event")).expect("written")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests, replies);
criterion_main!(benches);
