//! Push notifications: real agents notify callers of either version through the gateway, and nobody else is told, nor told
//! of what is not theirs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::gateway::{Answer, Port, TestGateway, message_v1, message_v03};
use crate::support::peers::{self, Sdk};
use crate::support::process::until;
use crate::support::shelf::{asking, task};
use crate::support::{Database, FakeAgent, FakeReply, Shelf, json as parsed};

mod stand;

use stand::{Given, Stand, given, webhook};

const LIMIT: Duration = Duration::from_secs(20);

/// What the webhook has got at this path.
fn got(webhook: &FakeAgent, path: &str) -> Vec<Value> {
    webhook.calls().iter().filter(|seen| seen.path == path).map(|seen| parsed(&seen.body)).collect()
}

fn state(payload: &Value) -> &str {
    let status = [&payload["status"], &payload["task"]["status"], &payload["statusUpdate"]["status"]];
    status.iter().find_map(|status| status["state"].as_str()).unwrap_or_default()
}

#[tokio::test]
async fn real_agents_notify_callers_in_the_version_in_which_they_asked() {
    if peers::python_is_off() || peers::is_off("node") {
        return;
    }
    let new = peers::agent(Sdk::V1, &["--push"]);
    let old = peers::agent(Sdk::V03, &["--push", "--ext-card"]);
    let js = peers::js_agent();
    let webhook = webhook().await;
    let port = Port::reserve();
    let entry = |name: &str, url: &str| format!("- {{name: {name}, url: '{url}', trust_card_url: true}}\n");
    let agents = [entry("new", &new.url), entry("old", &old.url), entry("js", &js.url)].concat();
    let config = format!(
        "push: {{url: 'http://{}', allow: [127.0.0.0/8]}}\noutbound: {{allow: [127.0.0.0/8]}}\nagents:\n{agents}",
        port.address()
    );
    let gateway = TestGateway::start_at(&port.address(), &config).await;
    for agent in ["new", "old", "js"] {
        let path = format!("/{agent}-1.0");
        let mut request = message_v1(&format!("chunks-2-5-20-{agent}"));
        let config = json!({ "url": format!("{}{path}", webhook.url), "token": "of the caller" });
        request["configuration"] = json!({ "returnImmediately": true, "taskPushNotificationConfig": config });
        let reply = gateway.rpc(agent, "SendMessage", request).await;
        assert!(reply["result"]["task"]["id"].is_string(), "{agent}: {reply}");
        let is_done = || got(&webhook, &path).last().map(state) == Some("TASK_STATE_COMPLETED");
        until(LIMIT, async || is_done()).await;
        for payload in got(&webhook, &path) {
            let members = payload.as_object().unwrap();
            assert_eq!(members.len(), 1, "{agent}: one of 1.0's payloads, not {payload}");
        }

        let path = format!("/{agent}-0.3");
        let mut request = message_v03(&format!("chunks-2-5-20-{agent}-old"));
        let config = json!({ "url": format!("{}{path}", webhook.url), "token": "of the caller" });
        request["configuration"] = json!({ "blocking": false, "pushNotificationConfig": config });
        let reply = gateway.rpc(agent, "message/send", request).await;
        assert_eq!(reply["result"]["kind"], "task", "{agent}: {reply}");
        let is_done = || got(&webhook, &path).last().map(state) == Some("completed");
        until(LIMIT, async || is_done()).await;
        let payloads = got(&webhook, &path);
        assert!(payloads.iter().all(|payload| payload["kind"] == "task"), "{agent}: {payloads:?}");
        assert_eq!(payloads.last().unwrap()["artifacts"][0]["artifactId"], "a1", "the whole task: {payloads:?}");
    }
    until(LIMIT, async || gateway.open_calls() == 0).await;
    assert!(webhook.calls().iter().all(|seen| seen.headers["x-a2a-notification-token"] == "of the caller"));

    gateway.finish().await;

    // Where agents are given the callers' own addresses, one of 1.0 that also speaks 0.3 notifies in 1.0 whoever asks.
    let agents = format!("agents:\n- {{name: new, url: '{}', protocol_version: '0.3'}}\n", new.url);
    let gateway = TestGateway::start(&agents).await;
    let mut request = message_v03("direct-1");
    let config = json!({ "url": format!("{}/direct", webhook.url) });
    request["configuration"] = json!({ "blocking": false, "pushNotificationConfig": config });
    assert_eq!(gateway.rpc("new", "message/send", request).await["result"]["kind"], "task");
    until(LIMIT, async || got(&webhook, "/direct").last().map(state) == Some("TASK_STATE_COMPLETED")).await;
    assert!(got(&webhook, "/direct").iter().all(|payload| payload["kind"].is_null()), "not as 0.3 has it");
    gateway.finish().await;
}

fn reason(answer: &Answer) -> (u16, String) {
    let error = &answer.json()["error"];
    (answer.status.as_u16(), error["details"][0]["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn only_the_token_of_a_configuration_opens_its_address_and_only_for_what_is_its_makers() {
    for database in Database::both() {
        let mut stand = Stand::start(database, "").await;
        let (red, mate, blue) = (stand.keys.red[0].clone(), stand.keys.red[1].clone(), stand.keys.blue[0].clone());
        let theirs = task("theirs", "their-context", "WORKING");
        stand.send(&blue, &theirs).await;
        let mine = task("mine", "my-context", "WORKING");
        let sent = stand.send(&red, &mine).await;
        assert!(!sent.token.contains("secret") && !sent.path.contains("secret"));

        // What it is, once and nowhere else.
        let of_mine = json!({ "task": mine });
        let other = stand.send(&red, &task("more", "my-context", "WORKING")).await;
        for wrong in [
            Given { path: sent.path.clone(), token: String::new() },
            Given { path: sent.path.clone(), token: other.token.clone() },
            Given { path: other.path.clone(), token: sent.token.clone() },
            Given { path: sent.path.clone(), token: format!("{}x", sent.token) },
            Given { path: sent.path.clone(), token: "secret of red".to_owned() },
        ] {
            let answer = stand.notify(&wrong, &of_mine).await;
            assert_eq!(reason(&answer), (401, "UNAUTHENTICATED".to_owned()), "{}", answer.text());
        }
        let twice = [("x-a2a-notification-token", sent.token.as_str()); 2];
        let answer = stand.gateway.request(Method::POST, &sent.path, &twice, of_mine.to_string()).await;
        assert_eq!(answer.status, 401);
        assert_eq!(stand.gateway.request(Method::GET, &sent.path, &[], "").await.status, 405);

        // What is somebody else's, or nothing at all.
        let theirs_in = |context: &str| task("mine", context, "WORKING");
        let update = json!({ "taskId": "theirs", "contextId": "c", "status": { "state": "TASK_STATE_FAILED" } });
        for lie in [
            json!({ "task": theirs }),
            json!({ "task": theirs_in("their-context") }),
            json!({ "statusUpdate": update }),
            json!({ "task": {} }),
            json!({}),
            json!([]),
        ] {
            let answer = stand.notify(&sent, &lie).await;
            assert_eq!(reason(&answer).1, "INVALID_AGENT_RESPONSE", "{lie}: {}", answer.text());
        }
        let whole = of_mine.to_string().into_bytes();
        let no_text = of_mine.to_string().replace("my-context", "?").into_bytes();
        let no_text: Vec<u8> = no_text.iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect();
        for broken in [
            b"{\"".to_vec(),
            whole[..whole.len() - 1].to_vec(),
            [&whole[..], b"}"].concat(),
            no_text,
            b"\"x\"".to_vec(),
            Vec::new(),
        ] {
            let answer = stand.post(&sent, broken.clone()).await;
            assert_eq!(reason(&answer).1, "INVALID_AGENT_RESPONSE", "{broken:?}: {}", answer.text());
        }
        assert_eq!(stand.webhook.calls().len(), 0, "nobody was told");
        let list = stand.rpc(&blue, "ListTasks", json!({ "status": "TASK_STATE_FAILED" })).await;
        assert_eq!(list["result"]["tasks"], json!([]), "a lie changes no state");

        // The maker's and its team's; and one for a task is for that task alone.
        assert_eq!(stand.notify(&sent, &of_mine).await.status, 200);
        let mut config = stand.config();
        config["taskId"] = json!("mine");
        config["id"] = json!("c");
        config["authentication"] = json!({ "scheme": "Bearer", "credentials": "secret too" });
        let created = stand.rpc(&red, "CreateTaskPushNotificationConfig", config.clone()).await;
        assert_eq!(created["result"], config, "the caller reads what it wrote");
        let of_task = given(&stand.shelf.agent.last().json()["params"]);
        assert_eq!(stand.notify(&of_task, &of_mine).await.status, 200);
        assert_eq!(stand.webhook.last().headers["authorization"], "Bearer secret too");
        let answer = stand.notify(&of_task, &json!({ "task": task("more", "my-context", "WORKING") })).await;
        assert_eq!(reason(&answer).1, "INVALID_AGENT_RESPONSE", "another task of the same caller: {}", answer.text());
        let named = json!({ "taskId": "mine", "id": "c" });
        assert_eq!(stand.rpc(&red, "GetTaskPushNotificationConfig", named.clone()).await["result"], config);
        let colleague = stand.rpc(&mate, "GetTaskPushNotificationConfig", named).await;
        assert_eq!(colleague["result"]["url"], config["url"]);
        assert!(!colleague.to_string().contains("secret"), "a colleague's: {colleague}");
        stand.shelf.say("configs", json!({ "configs": [stand.shelf.tasks.lock().unwrap()["config"]] }));
        let list = stand.rpc(&red, "ListTaskPushNotificationConfigs", json!({ "taskId": "mine" })).await;
        assert_eq!(list["result"]["configs"], json!([config]), "{list}");
        let unbound = json!({ "message": { "messageId": "r", "role": "ROLE_AGENT", "parts": [{ "text": "x" }] } });
        let answer = stand.notify(&of_task, &unbound).await;
        assert_eq!(reason(&answer).1, "INVALID_AGENT_RESPONSE", "of no task at all: {}", answer.text());

        // An agent that gives one caller's configuration to another gives away nothing of it.
        let mut given_away = stand.shelf.tasks.lock().unwrap()["config"].clone();
        given_away["taskId"] = json!("theirs");
        stand.shelf.say("config", given_away);
        let named = json!({ "taskId": "theirs", "id": "c" });
        let stranger = stand.rpc(&blue, "GetTaskPushNotificationConfig", named).await;
        assert!(stranger["result"]["taskId"] == "theirs" && stranger["result"]["url"] == "", "{stranger}");
        assert!(
            !stranger.to_string().contains("secret") && !stranger.to_string().contains(&of_task.token),
            "{stranger}"
        );

        // Whoever may not call is not told either.
        let keys = stand.gateway.admin("KeyService/ListKeys", json!({})).await;
        let key = keys["keys"].as_array().unwrap().iter().find(|key| key["alias"] == "red-1").unwrap();
        let blocked = json!({ "id": key["id"] });
        stand.gateway.admin("KeyService/BlockKey", blocked).await;
        until(LIMIT, async || stand.notify(&sent, &of_mine).await.status == 403).await;
        assert_eq!(reason(&stand.notify(&of_task, &of_mine).await), (403, "PERMISSION_DENIED".to_owned()));
        let told = stand.webhook.calls().len();
        stand.notify(&sent, &of_mine).await;
        assert_eq!(stand.webhook.calls().len(), told);
        stand.gateway.finish().await;
    }
}

#[tokio::test]
async fn a_webhook_is_tried_again_while_it_asks_for_patience_and_each_notification_is_recorded() {
    let mut stand = Stand::start(Database::sqlite(), "").await;
    let red = stand.keys.red[0].clone();
    let count = AtomicUsize::new(0);
    stand.webhook = FakeAgent::raw(move |seen| match (seen.path.as_str(), count.fetch_add(1, Ordering::Relaxed)) {
        ("/hook", 0) => FakeReply::Whole(503, "text/plain", "busy".into()),
        ("/hook", 2) => FakeReply::Whole(404, "text/plain", "gone".into()),
        _ => FakeReply::json("{}"),
    })
    .await;
    let mine = task("mine", "my-context", "WORKING");
    let sent = stand.send(&red, &mine).await;
    while stand.gateway.record().await.operation != Some("SendMessage") {}
    let done = json!({ "statusUpdate": { "taskId": "mine", "contextId": "my-context", "status": { "state": "TASK_STATE_COMPLETED" } } });
    assert_eq!(stand.notify(&sent, &done).await.status, 200);
    let record = stand.gateway.record().await;
    let told = (record.operation, record.task_id.as_deref(), record.state, record.attempts);
    assert_eq!(told, (Some("PushNotification"), Some("mine"), Some("TASK_STATE_COMPLETED"), 2));
    assert_eq!(
        (record.agent.as_deref(), record.caller.as_ref(), record.caller_version),
        (Some("a"), "red-1", Some("1.0"))
    );
    assert_eq!(record.endpoint.as_deref(), Some(stand.webhook.url.as_str()), "where it went, without the path");

    // What will not do better the next time is not tried again, and the agent is told.
    let answer = stand.notify(&sent, &done).await;
    assert_eq!(reason(&answer).1, "UPSTREAM_UNAVAILABLE", "{}", answer.text());
    assert!(answer.text().contains("the webhook answered HTTP 404"), "{}", answer.text());
    assert_eq!(stand.webhook.calls().len(), 3);
    let record = stand.gateway.record().await;
    assert_eq!((record.error, record.fault, record.sent), (Some("UPSTREAM_UNAVAILABLE"), Some("caller"), Some("sent")));
    assert_eq!(record.attempts, 1);

    // What an agent says of a task counts, also when nobody asked.
    let list = stand.rpc(&red, "ListTasks", json!({ "status": "TASK_STATE_COMPLETED" })).await;
    assert_eq!(list["result"]["totalSize"], 1, "{list}");
    stand.gateway.finish().await;
}

#[tokio::test]
async fn a_webhook_must_be_an_address_that_may_be_called() {
    let agent = Shelf::start().await;
    let gateway = TestGateway::start(&format!(
        "public_url: https://gateway.example\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}\n",
        agent.url()
    ))
    .await;
    let new = "configuration.taskPushNotificationConfig";
    let old = "configuration.pushNotificationConfig";
    for (url, token, member) in [
        ("http://127.0.0.1:9/x", "", "url"),
        ("http://[::ffff:169.254.169.254]/latest", "", "url"),
        ("ftp://example.com/x", "", "url"),
        ("https://user:pass@example.com/x", "", "url"),
        ("hook", "", "url"),
        (&format!("https://example.com/{}", "x".repeat(4_096)), "", "url"),
        ("https://example.com/x", "two\nlines", "token"),
    ] {
        let config = json!({ "url": url, "token": token });
        let mut request = message_v1("m");
        request["configuration"] = json!({ "taskPushNotificationConfig": config });
        let reply = gateway.rpc("a", "SendMessage", request).await;
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(&format!("{new}.{member}: ")), "{url}: {reply}");
        let mut request = message_v03("m");
        request["configuration"] = json!({ "pushNotificationConfig": config });
        let reply = gateway.rpc("a", "message/send", request).await;
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(&format!("{old}.{member}: ")), "{url}: {reply}");
    }
    assert_eq!(agent.agent.calls().len(), 0, "nothing was sent");
    gateway.finish().await;
}

#[tokio::test]
async fn a_context_that_the_agent_knows_by_another_name_has_its_own_in_notifications() {
    let mut stand = Stand::start(Database::sqlite(), ", client_contexts: namespaced").await;
    let red = stand.keys.red[0].clone();
    let config = stand.config();
    let mut request =
        asking(&json!({ "message": { "messageId": "r", "role": "ROLE_AGENT", "parts": [{ "text": "x" }] } }));
    request["message"]["contextId"] = json!("my own");
    request["configuration"] = json!({ "taskPushNotificationConfig": config });
    let reply = stand.rpc(&red, "SendMessage", request).await;
    assert!(reply["result"]["message"].is_object(), "{reply}");
    let asked = stand.shelf.agent.last().json()["params"].clone();
    // By a stream it is the same.
    let mut streamed = asking(&json!({ "task": task("s", "c", "COMPLETED") }));
    streamed["configuration"] = json!({ "taskPushNotificationConfig": stand.config() });
    stand.gateway.stream("a", "SendStreamingMessage", streamed).await.into_body().collect().await.unwrap();
    let in_stream = stand.shelf.agent.last().json()["params"]["configuration"]["taskPushNotificationConfig"].clone();
    assert!(given(&in_stream).path.starts_with("/push/"), "{in_stream}");
    let theirs = asked["message"]["contextId"].as_str().unwrap();
    assert_ne!(theirs, "my own");
    let given = given(&asked["configuration"]["taskPushNotificationConfig"]);
    assert_eq!(stand.notify(&given, &json!({ "task": task("t", theirs, "WORKING") })).await.status, 200);
    assert_eq!(parsed(&stand.webhook.last().body), json!({ "task": task("t", "my own", "WORKING") }));
    stand.gateway.finish().await;
}

#[tokio::test]
async fn what_changed_is_not_told_a_caller_of_0_3_when_the_agent_does_not_say_how_the_task_is() {
    let mut stand = Stand::start(Database::sqlite(), "").await;
    let red = stand.keys.red[0].clone();
    let mut request = message_v03("m");
    request["message"]["metadata"] = json!({ "say": { "task": task("mine", "c", "WORKING") } });
    request["configuration"] = json!({ "blocking": false, "pushNotificationConfig": stand.config() });
    stand.rpc(&red, "message/send", request).await;
    let given = given(&stand.shelf.agent.last().json()["params"]["configuration"]["taskPushNotificationConfig"]);
    let update = json!({ "taskId": "mine", "contextId": "c", "status": { "state": "TASK_STATE_COMPLETED" } });
    let update = json!({ "statusUpdate": update });
    assert_eq!(stand.notify(&given, &update).await.status, 200);
    let told = parsed(&stand.webhook.last().body);
    assert_eq!((&told["kind"], &told["status"]["state"]), (&json!("task"), &json!("working")), "as the agent has it");
    stand.shelf.say("mine", Value::Null);
    let answer = stand.notify(&given, &update).await;
    assert_eq!(reason(&answer), (503, "UPSTREAM_UNAVAILABLE".to_owned()), "{}", answer.text());
    assert_eq!(stand.webhook.calls().len(), 1);
    let message = json!({ "messageId": "r", "role": "ROLE_AGENT", "contextId": "c", "parts": [{ "text": "x" }] });
    assert_eq!(stand.notify(&given, &json!({ "message": message })).await.status, 200);
    assert_eq!(parsed(&stand.webhook.last().body)["kind"], "message");
    stand.gateway.finish().await;
}

#[tokio::test]
async fn a_webhook_that_never_answers_is_waited_for_within_the_agents_slots_and_the_time_for_one_notification() {
    // The system accepts for it, and nobody reads.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stand = Stand::start(Database::sqlite(), ", limits: {calls_max: 1}").await;
    let red = stand.keys.red[0].clone();
    let mine = task("mine", "c", "WORKING");
    let mut request = asking(&json!({ "task": mine }));
    let config = json!({ "url": format!("http://{}/hook", silent.local_addr().unwrap()) });
    request["configuration"] = json!({ "taskPushNotificationConfig": config });
    stand.rpc(&red, "SendMessage", request).await;
    let given = given(&stand.shelf.agent.last().json()["params"]["configuration"]["taskPushNotificationConfig"]);
    let payload = json!({ "task": mine });
    let later = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let call = stand.gateway.rpc("a", "GetTask", json!({ "id": "mine" })).await;
        (stand.notify(&given, &payload).await, call)
    };
    let (first, (second, call)) = tokio::join!(stand.notify(&given, &payload), later);
    assert_eq!(reason(&first), (503, "UPSTREAM_UNAVAILABLE".to_owned()), "{}", first.text());
    assert!(first.text().contains("not handed on in time"), "{}", first.text());
    assert_eq!(reason(&second), (429, "RATE_LIMITED".to_owned()), "{}", second.text());
    assert_eq!(call["result"], mine, "a call beside it: {call}");
    stand.gateway.finish().await;
}
