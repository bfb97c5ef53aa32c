//! What callers are promised and some agents do not keep, and how 0.3 callers reach an agent that they cannot name.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};

use crate::support::fake::{FakeAgent, FakeReply, Seen};
use crate::support::gateway::{KEY, TestGateway, call, message_v1, message_v03};
use crate::support::grpc::{FakeGrpcAgent, Said};

fn task(state: &str) -> Value {
    json!({ "id": "t", "contextId": "c", "status": { "state": format!("TASK_STATE_{state}") } })
}

/// An agent that answers at once, and whose task has ended when it was asked for so often.
async fn hasty(ends_after: usize) -> FakeAgent {
    let asked = AtomicUsize::new(0);
    FakeAgent::start(move |seen: Seen| match seen.json()["method"].as_str().unwrap() {
        "SendMessage" => FakeReply::result(&seen, &json!({ "task": task("SUBMITTED") }).to_string()),
        "GetTask" if asked.fetch_add(1, Ordering::SeqCst) + 1 < ends_after => {
            FakeReply::result(&seen, &task("WORKING").to_string())
        }
        "GetTask" => {
            let mut done = task("COMPLETED");
            done["artifacts"] = json!([{ "artifactId": "a", "parts": [{ "text": "done" }] }]);
            FakeReply::result(&seen, &done.to_string())
        }
        _ => FakeReply::error(&seen, r#"{"code":-32601,"message":"Method not found"}"#),
    })
    .await
}

async fn gateway(agent: &FakeAgent, more: &str) -> TestGateway {
    TestGateway::start(&format!("agents:\n- {{name: a, url: '{}', protocol_version: '1.0'{more}}}\n", agent.url)).await
}

fn methods(agent: &FakeAgent) -> Vec<String> {
    agent.calls().iter().map(|seen| seen.json()["method"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn waits_for_agents_that_answer_at_once() {
    let agent = hasty(3).await;
    let gateway = gateway(&agent, "").await;
    let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert_eq!(reply["result"]["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{reply}");
    assert_eq!(methods(&agent), ["SendMessage", "GetTask", "GetTask", "GetTask"]);
    // Its caller owns it all the same, and who does not wait does not.
    assert_eq!(gateway.rpc("a", "GetTask", json!({ "id": "t" })).await["result"]["id"], "t");
    let mut at_once = message_v1("m");
    at_once["configuration"] = json!({ "returnImmediately": true });
    let reply = gateway.rpc("a", "SendMessage", at_once).await;
    assert_eq!(reply["result"]["task"]["status"]["state"], "TASK_STATE_SUBMITTED", "{reply}");
    gateway.finish().await;
}

#[tokio::test]
async fn gives_the_task_as_it_is_when_the_agents_time_is_over() {
    let agent = hasty(usize::MAX).await;
    let gateway = gateway(&agent, ", timeouts: {total_ms: 700}").await;
    let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert_eq!(reply["result"]["task"]["status"]["state"], "TASK_STATE_WORKING", "{reply}");
    gateway.finish().await;
}

#[tokio::test]
async fn unfolds_a_stream_for_agents_that_do_not_stream() {
    for (more, asked) in [("", "SendStreamingMessage"), (", dialect: {streaming: unary}", "SendMessage")] {
        let agent = hasty(2).await;
        let gateway = gateway(&agent, more).await;
        let events = gateway.post("a", call("SendStreamingMessage", message_v1("m"))).await.events();
        let told: Vec<String> = events.iter().map(|event| event["result"].to_string()).collect();
        assert_eq!(events[0]["result"]["task"]["status"]["state"], "TASK_STATE_SUBMITTED", "{told:?}");
        assert!(told.iter().any(|event| event.contains("artifactUpdate") && event.contains("done")), "{told:?}");
        assert!(told.last().unwrap().contains("TASK_STATE_COMPLETED"), "{told:?}");
        assert_eq!(methods(&agent)[0], asked, "it is asked as its entry says");
        let old = gateway.post("a", call("message/stream", message_v03("m"))).await.events();
        assert_eq!(old.last().unwrap()["result"]["final"], true, "{old:?}");
        let ended = gateway.post("a", call("SubscribeToTask", json!({ "id": "t" }))).await.json();
        assert!(ended["error"]["code"] == -32004 || ended["error"]["code"] == -32601, "{ended}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn folds_a_stream_into_the_answer_and_cuts_one_that_is_too_long() {
    let update = |text: &str, append: bool| json!({ "artifactUpdate": { "taskId": "t", "contextId": "c", "append": append, "artifact": { "artifactId": "a", "parts": [{ "text": text }] } } });
    let status =
        json!({ "statusUpdate": { "taskId": "t", "contextId": "c", "status": { "state": "TASK_STATE_COMPLETED" } } });
    let events = [json!({ "task": task("WORKING") }), update("one", false), update(" two", true), status];
    let agent = FakeAgent::start(move |seen| {
        assert_eq!(seen.json()["method"], "SendStreamingMessage");
        let events: Vec<String> = events.iter().map(Value::to_string).collect();
        FakeReply::events(&seen, &events.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .await;
    let folding = ", dialect: {waiting: stream}";
    let gateway = gateway(&agent, folding).await;
    let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
    let task = &reply["result"]["task"];
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{reply}");
    assert_eq!(task["artifacts"][0]["parts"], json!([{ "text": "one" }, { "text": " two" }]));
    gateway.finish().await;

    let long = update(&"x".repeat(700), true).to_string();
    let agent = FakeAgent::start(move |seen| FakeReply::events(&seen, &[&long, &long])).await;
    let config = format!(
        "limits: {{reply_bytes_max: 1_024}}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'{folding}}}\n",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert_eq!(reply["error"]["code"], -32006, "{reply}");
    gateway.finish().await;
}

/// A card with these interfaces.
fn card(interfaces: &[(&str, &str)]) -> Value {
    let interfaces: Vec<Value> = interfaces
        .iter()
        .map(|(url, binding)| json!({ "url": url, "protocolBinding": binding, "protocolVersion": "1.0" }))
        .collect();
    json!({ "name": "a", "description": "d", "version": "1", "capabilities": { "streaming": true }, "supportedInterfaces": interfaces,
            "defaultInputModes": [], "defaultOutputModes": [], "skills": [] })
}

#[tokio::test]
async fn tries_another_interface_where_one_cannot_be_connected_to_and_never_after_something_was_sent() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let said = card(&[(&format!("{dead}/rpc"), "JSONRPC"), (&format!("{url}/rest"), "HTTP+JSON")]);
    let agent = FakeAgent::on(listener, move |seen| match seen.path.as_str() {
        "/.well-known/agent-card.json" => FakeReply::json(said.to_string()),
        "/rest/message:send" => FakeReply::json(json!({ "task": task("COMPLETED") }).to_string()),
        other => FakeReply::Whole(404, "text/plain", other.to_owned()),
    });
    let entry =
        format!("outbound: {{allow: [127.0.0.0/8]}}\nagents:\n- {{name: a, url: '{url}', trust_card_url: true}}\n");
    let mut gateway = TestGateway::start(&entry).await;
    let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert_eq!(reply["result"]["task"]["id"], "t", "{reply}");
    assert_eq!(agent.last().path, "/rest/message:send");
    assert_eq!(gateway.record().await.agent_binding, Some("http_json"), "the record says which one answered");
    gateway.finish().await;

    // What was taken and not answered is not sent again.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let said = card(&[(&format!("{url}/rpc"), "JSONRPC"), (&format!("{url}/rest"), "HTTP+JSON")]);
    let agent = FakeAgent::on(listener, move |seen| match seen.path.as_str() {
        "/.well-known/agent-card.json" => FakeReply::json(said.to_string()),
        _ => FakeReply::Whole(503, "text/plain", "no".to_owned()),
    });
    let gateway = TestGateway::start(&format!("agents:\n- {{name: a, url: '{url}'}}\n")).await;
    gateway.rpc("a", "SendMessage", message_v1("m")).await;
    assert_eq!(agent.calls().len(), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn grpc_callers_of_0_3_reach_an_agent_without_naming_it() {
    let agent = FakeGrpcAgent::start(|_| {
        Said::message(&switchboard::proto::SendMessageResponse {
            payload: Some(switchboard::proto::send_message_response::Payload::Message(switchboard::proto::Message {
                message_id: "r".into(),
                role: 2,
                parts: vec![switchboard::proto::Part {
                    content: Some(switchboard::proto::part::Content::Text("hello".into())),
                    ..Default::default()
                }],
                ..Default::default()
            })),
        })
    })
    .await;
    let config = format!(
        "grpc_default_agent: usual\nagent_domain: agents.test\nagents:\n- {{name: usual, url: '{0}'}}\n- {{name: own, url: '{0}', grpc_listen: '127.0.0.1:0'}}\n",
        agent.address()
    );
    let gateway = TestGateway::start(&config).await;
    let message = switchboard::proto::v0_3::SendMessageRequest {
        request: Some(switchboard::proto::v0_3::Message {
            message_id: "m".into(),
            role: 1,
            content: vec![switchboard::proto::v0_3::Part {
                part: Some(switchboard::proto::v0_3::part::Part::Text("hi".into())),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let bytes = bytes::Bytes::from(prost::Message::encode_to_vec(&message));
    let ask = async |base: &str, named: Option<&'static str>| {
        let mut request = tonic::Request::new(switchboard::wire::grpc::Encoded::new(bytes.clone()));
        request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
        if let Some(name) = named {
            request.metadata_mut().insert("a2a-agent", name.parse().unwrap());
        }
        crate::support::grpc::old_client(base).send_message(request).await.map(|answer| answer.into_inner().bytes)
    };
    let address = async |name: &str| {
        let card = gateway.get(&format!("/a2a/{name}/.well-known/agent-card.json")).await.json();
        let found = card["additionalInterfaces"].as_array().unwrap().iter().find(|i| i["transport"] == "GRPC").cloned();
        found.unwrap()["url"].as_str().unwrap().to_owned()
    };
    assert!(ask(&gateway.base, None).await.is_ok(), "the usual one");
    assert!(ask(&gateway.base, Some("own")).await.is_ok());
    assert_eq!(address("usual").await, format!("usual.agents.test:{}", gateway.base.rsplit_once(':').unwrap().1));
    let own = format!("http://{}", address("own").await);
    assert_ne!(own, gateway.base);
    assert!(ask(&own, None).await.is_ok(), "at its own address");
    let refused = ask(&own, Some("usual")).await.unwrap_err();
    assert!(refused.message().starts_with("InvalidParamsError: "), "all that name an agent must agree: {refused}");
    gateway.finish().await;
}

#[tokio::test]
async fn takes_every_body_that_callers_of_http_json_0_3_send() {
    let agent = FakeAgent::start(|seen| {
        let request = seen.json();
        match request["method"].as_str().unwrap() {
            "CreateTaskPushNotificationConfig" => FakeReply::result(&seen, &request["params"].to_string()),
            "CancelTask" => FakeReply::result(&seen, &task("CANCELED").to_string()),
            _ => {
                let mut done = task("COMPLETED");
                done["history"] = json!([request["params"]["message"]]);
                FakeReply::result(&seen, &json!({ "task": done }).to_string())
            }
        }
    })
    .await;
    let config = format!(
        "tasks: {{scope: none}}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0', bindings: [jsonrpc]}}\n",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    let bearer = format!("Bearer {KEY}");
    let post = async |path: &str, body: &str| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        gateway.request(Method::POST, &format!("/a2a/a/v1{path}"), &headers, body.to_owned()).await
    };
    for body in [
        r#"{"message":{"messageId":"m","role":"ROLE_USER","content":[{"text":"hi"}]},"configuration":{"blocking":true}}"#,
        r#"{"request":{"message_id":"m","role":"ROLE_USER","content":[{"text":"hi"}]},"configuration":{"blocking":true}}"#,
        r#"{"message":{"kind":"message","messageId":"m","role":"user","parts":[{"kind":"text","text":"hi"}]}}"#,
        r#"{"message":{"messageId":"m","role":"user","content":"hi"}}"#,
    ] {
        let answer = post("/message:send", body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let message = &answer.json()["task"]["history"][0];
        assert_eq!((&message["messageId"], &message["content"][0]["text"]), (&json!("m"), &json!("hi")), "{body}");
        assert_eq!(answer.json()["task"]["status"]["state"], "TASK_STATE_COMPLETED");
    }
    let config =
        r#"{"name":"tasks/t/pushNotificationConfigs/p","pushNotificationConfig":{"id":"p","url":"https://h/w"}}"#;
    for body in [
        config.to_owned(),
        format!(r#"{{"parent":"tasks/t","configId":"p","config":{config}}}"#),
        format!(r#"{{"parent":"tasks/t","config_id":"p","config":{config}}}"#),
        r#"{"pushNotificationConfig":{"id":"p","url":"https://h/w"}}"#.to_owned(),
        r#"{"taskId":"t","pushNotificationConfig":{"id":"p","url":"https://h/w"}}"#.to_owned(),
    ] {
        let answer = post("/tasks/t/pushNotificationConfigs", &body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        assert_eq!(answer.json()["name"], "tasks/t/pushNotificationConfigs/p", "{body}");
        assert_eq!(agent.last().json()["params"]["taskId"], "t");
    }
    for body in ["", r#"{"name":"tasks/t"}"#, r#"{"metadata":{"why":"x"}}"#] {
        let answer = post("/tasks/t:cancel", body).await;
        assert_eq!(answer.json()["status"]["state"], "TASK_STATE_CANCELLED", "two L: {}", answer.text());
    }
    assert_eq!(agent.last().json()["params"]["metadata"]["why"], "x");
    for (path, body, status, name) in [
        ("/message:send", "[]", 400, "InvalidRequestError"),
        ("/message:send", "{}", 422, "InvalidParamsError"),
        ("/tasks/t/pushNotificationConfigs", "{}", 422, "InvalidParamsError"),
    ] {
        let answer = post(path, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()["type"].as_str()), (status, Some(name)), "{}", answer.text());
        assert!(answer.json()["code"].is_i64() && answer.json()["message"].is_string());
    }
    gateway.finish().await;
}
