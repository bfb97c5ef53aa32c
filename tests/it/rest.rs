//! The HTTP+JSON door: verbs, paths, media types, queries, streams and what cannot be taken.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::gateway::{Answer, KEY, TestGateway, message_v1};
use crate::support::{FakeAgent, FakeReply};

const TASK: &str = r#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}"#;

async fn agent() -> FakeAgent {
    FakeAgent::start(|seen| match seen.json()["method"].as_str() {
        Some("SendMessage") => FakeReply::result(&seen, &format!(r#"{{"task":{TASK}}}"#)),
        Some("SendStreamingMessage" | "SubscribeToTask") => {
            FakeReply::events(&seen, &[&format!(r#"{{"task":{TASK}}}"#)])
        }
        Some("DeleteTaskPushNotificationConfig") => FakeReply::result(&seen, "null"),
        Some("GetTask" | "CancelTask") => {
            let mut task: Value = serde_json::from_str(TASK).unwrap();
            task["id"] = seen.json()["params"]["id"].clone();
            FakeReply::result(&seen, &task.to_string())
        }
        _ => FakeReply::result(&seen, r#"{"tasks":[],"nextPageToken":"","pageSize":50,"totalSize":0}"#),
    })
    .await
}

async fn gateway(agent: &FakeAgent, more: &str) -> TestGateway {
    TestGateway::start(&format!(
        "{more}\ntasks: {{scope: none}}\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}",
        agent.url
    ))
    .await
}

async fn ask(gateway: &TestGateway, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    let verb = Method::from_bytes(verb.as_bytes()).unwrap();
    gateway.request(verb, &format!("/a2a/a{path}"), &all, Bytes::from(body.to_owned())).await
}

fn send() -> String {
    message_v1("m").to_string()
}

#[tokio::test]
async fn answers_in_the_media_type_that_was_used() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    for (headers, expected) in [
        (&[("content-type", "application/json")][..], "application/json"),
        (&[("content-type", "application/a2a+json; charset=utf-8")], "application/a2a+json"),
        (
            &[("content-type", "application/json"), ("accept", "application/a2a+json, application/json")],
            "application/a2a+json",
        ),
        (&[], "application/json"),
    ] {
        let answer = ask(&gateway, "POST", "/message:send", headers, &send()).await;
        assert_eq!((answer.status.as_u16(), answer.headers["content-type"].to_str().unwrap()), (200, expected));
        assert_eq!(answer.json()["task"]["id"], "t");
    }
    let wrong = ask(&gateway, "POST", "/message:send", &[("content-type", "text/plain")], &send()).await;
    assert_eq!(
        (wrong.status.as_u16(), &wrong.json()["error"]["details"][0]["reason"]),
        (415, &json!("UNSUPPORTED_MEDIA_TYPE"))
    );
    let packed = ask(&gateway, "POST", "/message:send", &[("content-encoding", "gzip")], &send()).await;
    assert_eq!(packed.status, 415);
    gateway.finish().await;
}

#[tokio::test]
async fn serves_both_verbs_of_a_subscription_and_a_delete_with_a_body() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    for verb in ["GET", "POST"] {
        let answer = ask(&gateway, verb, "/tasks/t:subscribe", &[], "").await;
        assert_eq!(answer.headers["content-type"], "text/event-stream");
        assert_eq!(answer.events()[0]["task"]["id"], "t", "a bare event: {}", answer.text());
    }
    let deleted = ask(&gateway, "DELETE", "/tasks/t/pushNotificationConfigs/p", &[], "").await;
    assert_eq!((deleted.status.as_u16(), deleted.text().as_str()), (200, "{}"));
    // Some clients send a body with a GET, and none with a cancel.
    let got = ask(&gateway, "GET", "/tasks/t", &[("content-type", "application/json")], "null").await;
    assert_eq!(got.json()["id"], "t");
    assert_eq!(ask(&gateway, "POST", "/tasks/t:cancel", &[], "").await.json()["id"], "t");
    gateway.finish().await;
}

#[tokio::test]
async fn answers_head_and_options_and_says_which_verbs_there_are() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    let head = ask(&gateway, "HEAD", "/tasks/t", &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.headers["content-type"], "application/json");
    for (path, allowed) in [
        ("/message:send", "POST"),
        ("/tasks/t", "GET, HEAD"),
        ("/tasks/t:cancel", "POST"),
        ("/tasks/t:subscribe", "GET, POST"),
        ("/tasks/t/pushNotificationConfigs/p", "GET, HEAD, DELETE"),
        ("/lf.a2a.v1.A2AService/GetTask", "POST"),
        ("", "POST"),
    ] {
        let options = ask(&gateway, "OPTIONS", path, &[], "").await;
        assert_eq!((options.status.as_u16(), &options.headers["allow"]), (204, &allowed.parse().unwrap()), "{path}");
        let wrong = ask(&gateway, "PATCH", path, &[], "").await;
        assert_eq!((wrong.status.as_u16(), &wrong.headers["allow"]), (405, &allowed.parse().unwrap()), "{path}");
    }
    let connect_get = ask(&gateway, "GET", "/lf.a2a.v1.A2AService/GetTask?message=%7B%7D&encoding=json", &[], "").await;
    assert_eq!(connect_get.status, 405, "Connect by GET is for methods without side effects, and none is declared so");
    for path in ["/nothing", "/tasks/", "/tasks/..", "/tasks/%2e%2e", "/tasks/a/b", "//tasks"] {
        let missing = ask(&gateway, "GET", path, &[], "").await;
        assert_eq!(missing.status, 404, "{path}: {}", missing.text());
    }
    gateway.finish().await;
}

#[tokio::test]
async fn keeps_ids_as_they_are() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    for (path, id) in [
        ("/tasks/a:b", "a:b"),
        ("/tasks/ctx:run:cancel", "ctx:run"),
        ("/tasks/a%2Fb", "a/b"),
        ("/tasks/a%2Fb:cancel", "a/b"),
        ("/tasks/a%3Acancel", "a:cancel"),
        ("/tasks/%C3%A9%20%3F", "é ?"),
    ] {
        let verb = if path.ends_with(":cancel") { "POST" } else { "GET" };
        let answer = ask(&gateway, verb, path, &[], "").await;
        assert_eq!(answer.json()["id"], id, "{path}: {}", answer.text());
        assert_eq!(agent.last().json()["params"]["id"], id, "{path}");
    }
    let long = format!("/tasks/{}", "x".repeat(257));
    assert_eq!(ask(&gateway, "GET", &long, &[], "").await.status, 400);
    assert_eq!(ask(&gateway, "GET", "/tasks/a%00b", &[], "").await.status, 400, "no control characters");
    gateway.finish().await;
}

#[tokio::test]
async fn names_what_is_wrong_with_a_query_or_a_body() {
    let agent = agent().await;
    let gateway = gateway(&agent, "").await;
    for (query, field) in [
        ("status=FOO", "status"),
        ("pageSize=x", "pageSize"),
        ("pageSize=101", "pageSize"),
        ("includeArtifacts=maybe", "includeArtifacts"),
        ("statusTimestampAfter=yesterday", "statusTimestampAfter"),
        ("tenant=other", "tenant"),
    ] {
        let answer = ask(&gateway, "GET", &format!("/tasks?{query}"), &[], "").await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status.as_u16(), &error["status"]), (400, &json!("INVALID_ARGUMENT")), "{query}");
        assert_eq!(error["details"][0]["reason"], "INVALID_PARAMS", "{query}");
        assert_eq!(error["details"][1]["fieldViolations"][0]["field"], field, "{query}: {error}");
    }
    let fine = ask(
        &gateway,
        "GET",
        "/tasks?contextId=c+1&pageSize=5&pageSize=7&unknown=%5B&status=TASK_STATE_WORKING",
        &[],
        "",
    )
    .await;
    assert_eq!(fine.status, 200, "{}", fine.text());
    let params = agent.last().json()["params"].clone();
    assert_eq!(params, json!({ "contextId": "c 1", "status": "TASK_STATE_WORKING", "pageSize": 7 }));
    for (body, reason) in [
        ("", "INVALID_REQUEST"),
        ("{", "INVALID_REQUEST"),
        ("[]", "INVALID_REQUEST"),
        ("{}", "INVALID_PARAMS"),
        (r#"{"message":{"messageId":"m","role":"user","parts":[{"text":"x"}]}}"#, "INVALID_PARAMS"),
    ] {
        let answer = ask(&gateway, "POST", "/message:send", &[], body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["error"]["details"][0]["reason"], reason, "{body}: {}", answer.text());
    }
    gateway.finish().await;
}

#[tokio::test]
async fn takes_a_tenant_from_the_path_for_the_agents_own() {
    let card = |url: &str| {
        json!({
            "name": "a", "description": "d", "version": "1", "capabilities": {}, "skills": [],
            "defaultInputModes": [], "defaultOutputModes": [],
            "supportedInterfaces": [{ "url": format!("{url}/x"), "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0", "tenant": "acme" }],
        })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let card = card(&url).to_string();
    let agent = FakeAgent::on(listener, move |seen| match seen.path.as_str() {
        "/.well-known/agent-card.json" => FakeReply::json(card.clone()),
        _ => FakeReply::json(TASK),
    });
    let gateway =
        TestGateway::start(&format!("tasks: {{scope: none}}\nagents:\n- {{name: a, url: '{}'}}", agent.url)).await;
    for path in ["/acme/tasks/t:cancel", "/tasks/t:cancel", "/a/tasks/t:cancel"] {
        let answer = ask(&gateway, "POST", path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(agent.last().path, "/x/acme/tasks/t:cancel", "the tenant that the agent's card publishes");
        assert_eq!(agent.last().json()["tenant"], "acme");
    }
    let inner = ask(&gateway, "POST", "/a/inner/tasks/t:cancel", &[], "").await;
    assert_eq!((inner.status.as_u16(), agent.last().path.as_str()), (200, "/x/inner/tasks/t:cancel"));
    let foreign = ask(&gateway, "POST", "/other/tasks/t:cancel", &[], "").await;
    assert_eq!(foreign.json()["error"]["details"][1]["fieldViolations"][0]["field"], "tenant");
    let both = ask(&gateway, "POST", "/acme/tasks/t:cancel", &[], r#"{"tenant":"a"}"#).await;
    assert_eq!(both.status, 400, "two tenants: {}", both.text());
    gateway.finish().await;
}

#[tokio::test]
async fn ends_a_broken_stream_with_an_error_event() {
    let (feed, reply) = FakeReply::fed();
    let reply = std::sync::Mutex::new(Some(reply));
    let agent = FakeAgent::raw(move |seen| match seen.path.as_str() {
        "/rest/message:stream" => reply.lock().unwrap().take().expect("one call"),
        _ => FakeReply::Whole(404, "text/plain", "no".into()),
    })
    .await;
    let config = format!("agents:\n- {{name: a, url: '{}/rest', bindings: [http_json]}}", agent.url);
    let gateway = TestGateway::start(&config).await;
    let working = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;
    let error = r#"{"error":{"code":500,"status":"INTERNAL","message":"the model is gone"}}"#;
    feed.send(Ok(Bytes::from(format!("data: {working}\n\nevent: error\ndata: {error}\n\n")))).await.unwrap();
    let answer = ask(&gateway, "POST", "/message:stream", &[("content-type", "application/json")], &send()).await;
    assert_eq!(answer.text(), format!("data: {working}\n\nevent: error\ndata: {error}\n\n"), "the agent's own words");
    gateway.finish().await;
}

#[tokio::test]
async fn subscribes_by_get_where_an_agent_does_not_take_post() {
    let agent = FakeAgent::raw(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/rest/tasks/t:subscribe") => {
            FakeReply::Whole(200, "text/event-stream", format!("data: {{\"task\":{TASK}}}\n\n"))
        }
        ("POST", "/rest/tasks/t:subscribe") => FakeReply::Whole(405, "text/plain", "no".into()),
        _ => FakeReply::Whole(404, "text/plain", "no".into()),
    })
    .await;
    let gateway = TestGateway::start(&format!(
        "tasks: {{scope: none}}\nagents:\n- {{name: a, url: '{}/rest', bindings: [http_json]}}",
        agent.url
    ))
    .await;
    let answer = ask(&gateway, "GET", "/tasks/t:subscribe", &[], "").await;
    assert_eq!(answer.events()[0]["task"]["id"], "t", "{}", answer.text());
    gateway.finish().await;
}
