//! What policy reads, the agent reads: no spelling, doubling or misplacing of a member, no second selector and no second
//! credential makes a caller reach what is somebody else's.

use http::Method;
use serde_json::{Value, json};

use crate::ownership::{Keys, gateway};
use crate::parity::callers::frame;
use crate::support::gateway::{KEY, TestGateway, call, grpc_request_as};
use crate::support::shelf::{asking, task};
use crate::support::{Database, FakeAgent, FakeReply, Shelf};

const OWN: &str = "own-1";
const THEIRS: &str = "theirs-1";
const THEIR_CONTEXT: &str = "their-context";

/// What a caller might write into an object beside its own `name`, to name another value to somebody who reads it
/// differently.
fn tricks(name: &str, own: &str, theirs: &str) -> Vec<String> {
    let snake: String =
        name.chars().flat_map(|c| if c.is_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] }).collect();
    let escaped = name.replacen('a', "\\u0061", 1).replacen('d', "\\u0064", 1);
    let long_s = name.replacen('s', "\u{17f}", 1).replacen('k', "\u{212a}", 1);
    let others = [name.to_owned(), snake, name.to_uppercase(), name.to_lowercase(), escaped, long_s];
    let pair = |other: &String| {
        vec![
            format!(r#""{other}":"{theirs}""#),
            format!(r#""{name}":"{own}","{other}":"{theirs}""#),
            format!(r#""{other}":"{theirs}","{name}":"{own}""#),
            format!(r#""{name}":null,"{other}":"{theirs}""#),
        ]
    };
    others.iter().flat_map(pair).collect()
}

/// Requests about a message, in the members of each place.
fn messages() -> Vec<String> {
    let send = |message: &str, params: &str, configuration: &str| {
        format!(
            r#"{{"message":{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"x"}}],"metadata":{{"say":{{"task":{{"id":"own-1","contextId":"own-context","status":{{"state":"TASK_STATE_WORKING"}}}}}}}}{message}}}{params}{configuration}}}"#
        )
    };
    let mut all = Vec::new();
    for trick in tricks("taskId", OWN, THEIRS).into_iter().chain(tricks("contextId", "own-context", THEIR_CONTEXT)) {
        all.push(send(&format!(",{trick}"), "", ""));
        // Where it does not belong.
        all.push(send("", &format!(",{trick}"), ""));
        all.push(send("", "", &format!(r#","configuration":{{{trick}}}"#)));
        all.push(send(
            "",
            "",
            &format!(r#","configuration":{{"taskPushNotificationConfig":{{"url":"https://example.com",{trick}}}}}"#),
        ));
    }
    for other in ["reference_task_ids", "REFERENCETASKIDS", "referenceTaskIds"] {
        all.push(send(&format!(r#","referenceTaskIds":["{OWN}"],"{other}":["{THEIRS}"]"#), "", ""));
        all.push(send(&format!(r#","{other}":["{OWN}","{THEIRS}"]"#), "", ""));
    }
    for other in ["id", "name", "parent", "task"] {
        all.push(send("", &format!(r#","{other}":"{THEIRS}""#), ""));
    }
    // A second message, and a second envelope.
    all.push(send(
        "",
        &format!(r#","message":{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"x"}}],"taskId":"{THEIRS}"}}"#),
        "",
    ));
    all.push(send("", &format!(r#","request":{{"message":{{"taskId":"{THEIRS}"}}}}"#), ""));
    all
}

/// Requests about a task.
fn about_a_task() -> Vec<String> {
    let mut all: Vec<String> = tricks("id", OWN, THEIRS).into_iter().map(|trick| format!("{{{trick}}}")).collect();
    for other in ["taskId", "task_id", "name", "parent", "TaskId"] {
        all.push(format!(r#"{{"id":"{OWN}","{other}":"{THEIRS}"}}"#));
        all.push(format!(r#"{{"id":"{OWN}","{other}":"tasks/{THEIRS}"}}"#));
    }
    all
}

#[tokio::test]
async fn agents_never_receive_what_is_somebody_elses() {
    let database = Database::sqlite();
    let shelf = Shelf::start().await;
    let entry = format!(
        "agents: [{{name: a, url: '{}', protocol_version: '1.0', bindings: [jsonrpc], dialect: {{waiting: native}}}}]\n",
        shelf.url()
    );
    let mut gateway = gateway(&database, &entry).await;
    let keys = Keys::make(&gateway).await;
    for (key, id, context) in [(&keys.red[0], OWN, "own-context"), (&keys.blue[0], THEIRS, THEIR_CONTEXT)] {
        key.clone_into(&mut gateway.key);
        let made = gateway.rpc("a", "SendMessage", asking(&json!({ "task": task(id, context, "WORKING") }))).await;
        assert!(made["result"].is_object(), "{made}");
    }
    gateway.key.clone_from(&keys.red[0]);
    let begun = shelf.agent.calls().len();
    let (mut asked, mut answered) = (0, 0);
    let bearer = format!("Bearer {}", gateway.key);
    let post = async |path: &str, content_type: &str, body: Vec<u8>| {
        let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
        gateway.request(Method::POST, path, &headers, body).await
    };
    let rpc = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#).into_bytes()
    };
    for body in messages() {
        let old = body.replace("ROLE_USER", "user").replace(r#"{"text":"x"}"#, r#"{"kind":"text","text":"x"}"#);
        let answers = [
            post("/a2a/a", "application/json", rpc("SendMessage", &body)).await,
            post("/a2a/a", "application/json", rpc("message/send", &old)).await,
            post("/a2a/a/message:send", "application/json", body.clone().into()).await,
            post("/a2a/a/lf.a2a.v1.A2AService/SendMessage", "application/json", body.clone().into()).await,
            post(
                "/a2a/a/lf.a2a.v1.A2AService/SendStreamingMessage",
                "application/connect+json",
                frame(0, body.as_bytes()).to_vec(),
            )
            .await,
        ];
        asked += answers.len();
        answered += answers.iter().filter(|answer| answer.text().contains(OWN)).count();
    }
    for body in about_a_task() {
        let answers = [
            post("/a2a/a", "application/json", rpc("GetTask", &body)).await,
            post("/a2a/a", "application/json", rpc("tasks/get", &body)).await,
            post("/a2a/a", "application/json", rpc("CancelTask", &body)).await,
            post("/a2a/a/lf.a2a.v1.A2AService/GetTask", "application/json", body.clone().into()).await,
            post(&format!("/a2a/a/tasks/{OWN}:cancel"), "application/json", body.clone().into()).await,
        ];
        asked += answers.len();
        answered += answers.iter().filter(|answer| answer.text().contains(OWN)).count();
    }
    for path in [
        format!("/a2a/a/tasks/{OWN}?id={THEIRS}"),
        format!("/a2a/a/tasks/{OWN}?taskId={THEIRS}&task_id={THEIRS}"),
        format!("/a2a/a/tasks/{OWN}%2F..%2F{THEIRS}"),
        format!("/a2a/a/tasks/{OWN}/../{THEIRS}"),
        "/a2a/a/tasks/%74heirs-1".to_owned(),
        format!("/a2a/a/tasks?contextId=own-context&contextId={THEIR_CONTEXT}"),
        format!("/a2a/a/tasks?context_id={THEIR_CONTEXT}"),
    ] {
        gateway.request(Method::GET, &path, &[("authorization", &bearer)], "").await;
        asked += 1;
    }
    let heard = &shelf.agent.calls()[begun..];
    for seen in heard {
        let text = format!("{} {}", seen.path, String::from_utf8_lossy(&seen.body));
        let text = text.replace("\\u0064", "d");
        assert!(!text.contains(THEIRS) && !text.contains(THEIR_CONTEXT), "{text}");
    }
    println!("{asked} requests, {} reached the agent, {answered} were answered", heard.len());
    assert!(asked > 800 && heard.len() > 100 && answered > 100, "some were harmless, and were served");
    gateway.finish().await;
}

/// An agent that must not be called.
async fn untouched() -> FakeAgent {
    FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"message":{"messageId":"r","role":"ROLE_AGENT","parts":[{"text":"x"}]}}"#)
    })
    .await
}

async fn two_agents() -> (FakeAgent, TestGateway) {
    let agent = untouched().await;
    let entry = |name: &str| {
        format!(
            "- {{name: {name}, url: '{}', protocol_version: '1.0', bindings: [jsonrpc], dialect: {{waiting: native}}}}\n",
            agent.url
        )
    };
    let keys = "keys:\n- {name: other, key: sk-other, agents: '*'}\n";
    let config = format!("agent_domain: agents.test\n{keys}agents:\n{}{}", entry("a"), entry("b"));
    let gateway = TestGateway::start(&config).await;
    (agent, gateway)
}

fn message(tenant: &str) -> Value {
    let mut message = json!({ "message": { "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "x" }] } });
    if !tenant.is_empty() {
        message["tenant"] = json!(tenant);
    }
    message
}

#[tokio::test]
async fn selectors_that_disagree_are_refused_and_the_agent_is_not_called() {
    let (agent, gateway) = two_agents().await;
    let (mut refused, mut served) = (0, 0);
    // For each place the agent that it names; none where it is empty.
    for path in ["", "a"] {
        for metadata in ["", "a", "b"] {
            for host in ["", "a", "b"] {
                for tenant in ["", "a", "b", "b/inner"] {
                    let named = [path, metadata, host, tenant.split('/').next().unwrap()];
                    let named: std::collections::BTreeSet<&str> =
                        named.into_iter().filter(|name| !name.is_empty()).collect();
                    let host = if host.is_empty() { "127.0.0.1".to_owned() } else { format!("{host}.agents.test") };
                    let bearer = format!("Bearer {KEY}");
                    let mut headers =
                        vec![("authorization", bearer.as_str()), ("content-type", "application/json"), ("host", &host)];
                    if !metadata.is_empty() {
                        headers.push(("a2a-agent", metadata));
                    }
                    let base = if path.is_empty() { String::new() } else { format!("/a2a/{path}") };
                    let mut bodies =
                        vec![(format!("{base}/lf.a2a.v1.A2AService/SendMessage"), message(tenant).to_string())];
                    if !path.is_empty() {
                        bodies.push((base.clone(), call("SendMessage", message(tenant))));
                        bodies.push((format!("{base}/message:send"), message(tenant).to_string()));
                    }
                    for (at, body) in bodies {
                        let before = agent.calls().len();
                        let answer = gateway.request(Method::POST, &at, &headers, body).await;
                        let is_served = answer.text().contains("\"message\":{");
                        assert_eq!(is_served, named.len() == 1, "{at} {metadata} {host} {tenant}: {}", answer.text());
                        assert_eq!(
                            agent.calls().len() - before,
                            usize::from(is_served),
                            "{at} {metadata} {host} {tenant}"
                        );
                        if is_served { served += 1 } else { refused += 1 }
                    }
                }
            }
        }
    }
    println!("{served} served, {refused} refused");
    assert!(served >= 20 && refused >= 100, "{served} {refused}");
    // A selector that stands twice, and gRPC's own.
    let before = agent.calls().len();
    let mut request = grpc_request_as::<switchboard::proto::SendMessageRequest>(
        KEY,
        prost::Message::encode_to_vec(
            &serde_json::from_value::<switchboard::proto::SendMessageRequest>(message("a")).unwrap(),
        )
        .into(),
    );
    request.metadata_mut().append("a2a-agent", "a".parse().unwrap());
    request.metadata_mut().append("a2a-agent", "b".parse().unwrap());
    assert!(gateway.grpc().send_message(request).await.is_err());
    assert_eq!(agent.calls().len(), before);
    gateway.finish().await;
}

#[tokio::test]
async fn credentials_that_disagree_are_refused_and_the_agent_is_not_called() {
    let (agent, gateway) = two_agents().await;
    let values = ["", KEY, "sk-other", "sk-unknown"];
    let (mut refused, mut served) = (0, 0);
    for authorization in values {
        for api_key in values {
            for litellm in values {
                let bearer = format!("Bearer {authorization}");
                let all = [
                    ("authorization", authorization, bearer.as_str()),
                    ("x-api-key", api_key, api_key),
                    ("x-litellm-api-key", litellm, litellm),
                ];
                let present: std::collections::BTreeSet<&str> =
                    all.iter().map(|(_, key, _)| *key).filter(|key| !key.is_empty()).collect();
                let mut headers = vec![("content-type", "application/json")];
                headers
                    .extend(all.iter().filter(|(_, key, _)| !key.is_empty()).map(|(name, _, value)| (*name, *value)));
                for (path, body) in [
                    ("/a2a/a", call("SendMessage", message(""))),
                    ("/a2a/a/message:send", message("").to_string()),
                    ("/a2a/a/lf.a2a.v1.A2AService/SendMessage", message("").to_string()),
                ] {
                    let before = agent.calls().len();
                    let answer = gateway.request(Method::POST, path, &headers, body).await;
                    let may = present.len() == 1 && !present.contains("sk-unknown");
                    // Whoever tries too many unknown ones is held up.
                    let is_refused = [401, 429].contains(&answer.status.as_u16());
                    assert_eq!(is_refused, !may, "{headers:?}: {}", answer.text());
                    assert_eq!(agent.calls().len() - before, usize::from(may), "{headers:?}");
                    if may { served += 1 } else { refused += 1 }
                }
            }
        }
    }
    println!("{served} served, {refused} refused");
    assert!(served >= 40 && refused >= 100, "{served} {refused}");
    for name in ["authorization", "x-api-key", "x-litellm-api-key"] {
        let value = if name == "authorization" { format!("Bearer {KEY}") } else { KEY.to_owned() };
        let before = agent.calls().len();
        let twice = [(name, value.as_str()), (name, value.as_str()), ("content-type", "application/json")];
        let answer = gateway.request(Method::POST, "/a2a/a", &twice, call("SendMessage", message(""))).await;
        assert_eq!((answer.status.as_u16(), agent.calls().len()), (401, before), "{name} stands twice");
    }
    gateway.finish().await;
}
