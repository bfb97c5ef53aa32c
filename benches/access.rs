//! What it costs to know a caller, to permit a call and to take its slots, from memory: `cargo bench --bench access`.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use serde_json::json;
use switchboard::access::{Access, Permitted};
use switchboard::call::{AgentName, Call, CallId, Form, Peer, TraceContext, WorkflowHint};
use switchboard::clock::Clock;
use switchboard::limits::Limits;
use switchboard::operation::{Binding, Operation, Version};
use switchboard::ownership::Ownership;
use switchboard::proto::{GetTaskRequest, SendMessageRequest};
use switchboard::registry::Registry;
use switchboard::server::Server;
use switchboard::store::{NewOwned, OwnedRow, Store};
use switchboard::{client::Client, config};

const MASTER: &str = "sk-master";
const LIMITS: &str = r#"{"requestsPerMinuteMax":4000000000,"callsMax":1000000,"streamsMax":1000000}"#;

/// What decides.
struct Parts {
    access: Access,
    registry: Registry,
    ownership: Ownership,
    limits: Limits,
}

/// A key of the store, in a team, with limits of both and of the agent, and a task of the team's.
async fn prepared() -> (Parts, String) {
    let directory = tempfile::tempdir().expect("a directory").keep();
    let text = format!(
        "listen: 127.0.0.1:0\nmaster_key: {MASTER}\nstore: {{data_dir: '{}'}}\noutbound: {{allow: [127.0.0.0/8]}}\n",
        directory.display()
    );
    let settings = || config::parse(&text, &|_| None).expect("a right configuration");
    let server = Server::start(settings(), None).await.expect("it starts");
    let base = format!("http://{}", server.address()).parse().expect("a URL");
    let client = Client::new(base, MASTER);
    let limits: serde_json::Value = serde_json::from_str(LIMITS).expect("JSON");
    let make = async |method: &str, body| client.admin(method, &body).await.expect("it is made");
    let endpoint = json!({ "url": "http://127.0.0.1:9" });
    make("AgentService/CreateAgent", json!({ "agent": { "name": "a", "endpoints": [endpoint], "limits": limits } }))
        .await;
    make("TeamService/CreateTeam", json!({ "team": { "id": "t", "grants": { "agents": ["a"] }, "limits": limits } }))
        .await;
    let key = json!({ "key": { "teamId": "t", "grants": { "agents": ["a"] }, "limits": limits } });
    let secret = make("KeyService/CreateKey", key).await["secret"].as_str().expect("a value").to_owned();
    drop(client);
    server.stop().await;
    let settings = settings();
    let store = Arc::new(Store::open(&settings.store, Clock).await.expect("it opens"));
    let registry = Registry::new(&settings.agents);
    registry.load(&store).await.expect("it loads");
    let agent_id = registry.agents()[0].id.to_string();
    let task = OwnedRow { agent_id, id: "task".to_owned(), team_id: "t".to_owned(), ..OwnedRow::default() };
    let written = |mut tx: switchboard::store::Tx| {
        let task = task.clone();
        async move {
            tx.insert_owned(&[Arc::new(NewOwned { context: None, task: Some(task) })]).await?;
            Ok((tx, ()))
        }
    };
    store.run_tx("make a task", written).await.expect("it is written");
    let (ownership, _) = Ownership::open(Arc::clone(&store), &settings.tasks, 16).await.expect("it opens");
    let access = Access::new(&settings, store, Clock);
    access.load().await.expect("it loads");
    (Parts { access, registry, ownership, limits: Limits::new(Clock) }, secret)
}

async fn permitted<'c>(parts: &Parts, call: &'c Call) -> Permitted<'c> {
    let agent = parts.access.visible(&parts.registry, &call.caller, &call.agent).expect("it is granted");
    parts.access.permit(&parts.ownership, agent, call).await.expect("it is granted")
}

fn permit<'c>(parts: &Parts, call: &'c Call) -> Permitted<'c> {
    futures_util::FutureExt::now_or_never(permitted(parts, call)).expect("from memory")
}

fn access(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (parts, secret) = runtime.block_on(prepared());
    let Parts { access, limits, .. } = &parts;
    let source = std::net::IpAddr::from([127, 0, 0, 1]);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {secret}").parse().expect("a value"));
    let settings = Arc::new(config::parse("master_key: x", &|_| None).expect("a right configuration"));
    let caller = runtime.block_on(access.identify(&headers, source)).expect("it is known");
    let call = Call {
        id: CallId(Clock.uuid()),
        caller,
        agent: AgentName("a".into()),
        operation: Operation::SendMessage(SendMessageRequest::default()),
        raw: None,
        rpc_id: None,
        version: Version::V1_0,
        form: Form::Json(Version::V1_0),
        binding: Binding::JsonRpc,
        received: runtime.block_on(async { Clock.instant() }),
        deadline: None,
        peer: Peer { address: ([127, 0, 0, 1], 1).into() },
        forwardable: HeaderMap::new(),
        extensions: Vec::new(),
        trace: TraceContext::default(),
        workflow: WorkflowHint::default(),
        resume_after: None,
        parent: None,
        settings,
    };
    let get = Operation::GetTask(GetTaskRequest { id: "task".to_owned(), ..GetTaskRequest::default() });
    let of_task = Call { operation: get, ..call.clone() };
    // Read from the store this once.
    runtime.block_on(async { drop(permitted(&parts, &of_task).await) });
    let mut group = criterion.benchmark_group("access");
    let enter = runtime.enter();
    group.bench_function("identify", |b| {
        b.iter(|| {
            futures_util::FutureExt::now_or_never(access.identify(&headers, source))
                .expect("from memory")
                .expect("known")
        });
    });
    group.bench_function("permit", |b| b.iter(|| permit(&parts, &call)));
    group.bench_function("permit, of a task", |b| b.iter(|| permit(&parts, &of_task)));
    group.bench_function("identify, count, permit, reserve", |b| {
        b.iter(|| {
            let caller = futures_util::FutureExt::now_or_never(access.identify(&headers, source));
            let caller = caller.expect("from memory").expect("known");
            limits.count_request(&caller, access.team_rates(&caller)).expect("below the limit");
            limits.reserve(permit(&parts, &call)).expect("below the limit").into_slots()
        });
    });
    drop(enter);
    group.finish();
}

criterion_group!(benches, access);
criterion_main!(benches);
