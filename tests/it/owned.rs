//! Agents that answer with somebody else's tasks, contexts in each of their modes, and what outlives the process. One
//! file, for all of it is told by one agent that says what the test wants.

use http::Method;
use serde_json::{Value, json};

use crate::ownership::{Keys, gateway};
use crate::support::gateway::{TestGateway, call};
use crate::support::shelf::{asking, task};
use crate::support::{Database, FakeAgent, FakeReply, Shelf};

/// The entry of an agent of 1.0 by JSON-RPC.
fn entry(name: &str, url: &str, more: &str) -> String {
    format!(
        "- {{name: {name}, url: '{url}', protocol_version: '1.0', bindings: [jsonrpc], dialect: {{waiting: native}}{more}}}\n"
    )
}

async fn shelved(database: &Database, more: &str) -> (Shelf, TestGateway, Keys) {
    let shelf = Shelf::start().await;
    let gateway = gateway(database, &format!("agents:\n{}", entry("a", shelf.url(), more))).await;
    let keys = Keys::make(&gateway).await;
    (shelf, gateway, keys)
}

async fn send(gateway: &mut TestGateway, key: &str, say: &Value) -> Value {
    key.clone_into(&mut gateway.key);
    gateway.rpc("a", "SendMessage", asking(say)).await
}

async fn rpc(gateway: &mut TestGateway, key: &str, method: &str, params: Value) -> Value {
    key.clone_into(&mut gateway.key);
    gateway.rpc("a", method, params).await
}

async fn stream(gateway: &mut TestGateway, key: &str, say: &Value) -> String {
    key.clone_into(&mut gateway.key);
    gateway.post("a", call("SendStreamingMessage", asking(say))).await.text()
}

fn code(reply: &Value) -> i64 {
    reply["error"]["code"].as_i64().unwrap_or(0)
}

/// A message in a context.
fn in_context(context: &str, say: &Value) -> Value {
    let mut request = asking(say);
    request["message"]["contextId"] = json!(context);
    request
}

const WITHHELD: i64 = -32006;

#[tokio::test]
async fn withholds_what_a_hostile_agent_says_of_others_and_changes_nothing() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        let (red, blue) = (&keys.red[0], &keys.blue[0]);
        let mut theirs = task("theirs", "their-context", "INPUT_REQUIRED");
        theirs["metadata"] = json!({ "secret": "of red" });
        assert_eq!(send(&mut gateway, red, &json!({ "task": theirs })).await["result"]["task"], theirs);
        let rows = || {
            database.query("SELECT * FROM tasks WHERE task_id = 'theirs'").concat()
                + &database.query("SELECT * FROM contexts WHERE context_id = 'their-context'").concat()
        };
        rpc(&mut gateway, red, "ListTasks", json!({})).await;
        let before = rows();
        assert!(before.contains("their-context"), "{before}");

        let own = |id: &str| task(id, "own-context", "WORKING");
        let message = |more: Value| {
            let mut message = json!({ "messageId": "r", "role": "ROLE_AGENT", "parts": [{ "text": "secret of red" }] });
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "message": message })
        };
        for lie in [
            json!({ "task": theirs }),
            json!({ "task": task("new", "their-context", "WORKING") }),
            json!({ "task": { "id": "theirs", "contextId": "own-context", "status": { "state": "TASK_STATE_COMPLETED" } } }),
            message(json!({ "taskId": "theirs" })),
            message(json!({ "contextId": "their-context" })),
        ] {
            let reply = send(&mut gateway, blue, &lie).await;
            assert_eq!(code(&reply), WITHHELD, "{lie}: {reply}");
            assert!(!reply.to_string().contains("of red"), "{reply}");
        }
        shelf.say("theirs", theirs.clone());
        for (at, lie) in [
            json!({ "task": theirs }),
            json!({ "statusUpdate": { "taskId": "theirs", "contextId": "own-context", "status": { "state": "TASK_STATE_FAILED" } } }),
            json!({ "artifactUpdate": { "taskId": "theirs", "contextId": "c", "artifact": { "artifactId": "a", "parts": [{ "text": "secret of red" }] } } }),
            json!({ "statusUpdate": { "taskId": "TASK", "contextId": "their-context", "status": { "state": "TASK_STATE_FAILED" } } }),
        ]
        .into_iter()
        .enumerate()
        {
            let id = format!("own-{at}");
            let lie: Value = serde_json::from_str(&lie.to_string().replace("TASK\"", &format!("{id}\""))).unwrap();
            for events in [json!([lie]), json!([{ "task": own(&id) }, lie])] {
                let text = stream(&mut gateway, blue, &events).await;
                assert!(text.contains("-32006") && !text.contains("of red"), "{events}: {text}");
            }
        }
        // What is asked about one's own, answered with another's.
        let mine = task("mine", "mine-too", "WORKING");
        assert_eq!(code(&send(&mut gateway, blue, &json!({ "task": mine })).await), 0);
        shelf.say("mine", theirs.clone());
        for method in ["GetTask", "CancelTask", "SubscribeToTask"] {
            gateway.key.clone_from(blue);
            let text = gateway.post("a", call(method, json!({ "id": "mine" }))).await.text();
            assert!(text.contains("-32006") && !text.contains("of red"), "{method}: {text}");
        }
        shelf.say("mine", task("mine", "their-context", "WORKING"));
        assert_eq!(code(&rpc(&mut gateway, blue, "GetTask", json!({ "id": "mine" })).await), WITHHELD);
        let list = rpc(&mut gateway, blue, "ListTasks", json!({ "contextId": "mine-too" })).await;
        assert_eq!(list["result"]["tasks"][0]["contextId"], "mine-too", "as it was last seen: {list}");
        assert!(list["result"]["tasks"][0]["metadata"]["switchboard/stale"].is_string(), "{list}");
        let config = |task: &str| json!({ "taskId": task, "id": "c", "url": "https://secret.of.red" });
        shelf.say("configs", json!({ "configs": [config("mine"), config("theirs")] }));
        let configs = rpc(&mut gateway, blue, "ListTaskPushNotificationConfigs", json!({ "taskId": "mine" })).await;
        assert_eq!(code(&configs), WITHHELD, "{configs}");
        shelf.say("configs", json!({ "configs": [config("mine")] }));
        let configs = rpc(&mut gateway, blue, "ListTaskPushNotificationConfigs", json!({ "taskId": "mine" })).await;
        assert_eq!(code(&configs), 0, "{configs}");

        assert_eq!(rows(), before, "nothing of theirs was changed");
        assert_eq!(rpc(&mut gateway, red, "GetTask", json!({ "id": "theirs" })).await["result"], theirs);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_context_is_the_first_ones_who_uses_it_and_given_back_when_nothing_was_sent() {
    for database in Database::both() {
        let (_shelf, mut gateway, keys) = shelved(&database, "").await;
        let say = json!({ "message": { "messageId": "r", "role": "ROLE_AGENT", "contextId": "mine", "parts": [{ "text": "x" }] } });
        let [red, mate] = &keys.red;
        for (key, expected) in [(red, 0), (mate, 0), (&keys.blue[0], -32602), (&keys.alone, -32602), (red, 0)] {
            let reply = rpc(&mut gateway, key, "SendMessage", in_context("mine", &say)).await;
            assert_eq!(code(&reply), expected, "{reply}");
        }
        // Of many at once who are strangers to each other, one wins.
        let strangers = [red, &keys.blue[0], &keys.alone, &keys.agents].map(|key| format!("Bearer {key}"));
        let say = json!({ "message": { "messageId": "r", "role": "ROLE_AGENT", "contextId": "raced", "parts": [{ "text": "x" }] } });
        let body = call("SendMessage", in_context("raced", &say));
        let race = strangers.iter().map(|bearer| {
            let (gateway, body) = (&gateway, body.clone());
            async move { gateway.post_with("a", &[("authorization", bearer.as_str())], body).await.json() }
        });
        let codes: Vec<i64> = futures_util::future::join_all(race).await.iter().map(code).collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
        assert!(codes.iter().all(|code| [0, -32602].contains(code)), "{codes:?}");
        gateway.finish().await;

        // An agent that cannot be reached was sent nothing, so the context is nobody's again.
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let away = format!("agents:\n{}", entry("a", &format!("http://{nowhere}"), ""));
        let mut gateway = self::gateway(&database, &away).await;
        for key in [red, &keys.blue[0], &keys.alone] {
            let reply = rpc(&mut gateway, key, "SendMessage", in_context("free", &say)).await;
            assert_eq!(reply["error"]["data"][0]["reason"], "UPSTREAM_UNAVAILABLE", "{reply}");
        }
        assert_eq!(database.query("SELECT * FROM contexts WHERE context_id = 'free'"), Vec::<String>::new());
        gateway.finish().await;
    }
}

#[tokio::test]
async fn namespaced_contexts_of_two_owners_never_meet() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, ", client_contexts: namespaced").await;
        let mut seen = Vec::new();
        for (at, key) in [&keys.red[0], &keys.red[1], &keys.blue[0]].into_iter().enumerate() {
            // The agent answers in the context in which it was asked, so it is asked first.
            let reply =
                rpc(&mut gateway, key, "SendMessage", in_context("chat", &json!({ "task": task("x", "", "WORKING") })))
                    .await;
            drop(reply);
            let name = shelf.agent.last().json()["params"]["message"]["contextId"].as_str().unwrap().to_owned();
            assert_ne!(name, "chat");
            let mut say = task(&format!("t{at}"), &name, "WORKING");
            say["history"] =
                json!([{ "messageId": "h", "role": "ROLE_USER", "parts": [{ "text": "x" }], "contextId": name }]);
            let reply = rpc(&mut gateway, key, "SendMessage", in_context("chat", &json!({ "task": say }))).await;
            let found = &reply["result"]["task"];
            assert_eq!(
                (&found["contextId"], &found["history"][0]["contextId"]),
                (&json!("chat"), &json!("chat")),
                "{reply}"
            );
            let events = json!([{ "task": say }, { "artifactUpdate": { "taskId": format!("t{at}"), "contextId": name, "artifact": { "artifactId": "a", "parts": [{ "text": "x" }] } } }, { "statusUpdate": { "taskId": format!("t{at}"), "contextId": name, "status": { "state": "TASK_STATE_COMPLETED" } } }]);
            key.clone_into(&mut gateway.key);
            let text = gateway.post("a", call("SendStreamingMessage", in_context("chat", &events))).await.text();
            assert_eq!(text.matches(r#""contextId":"chat""#).count(), 4, "{text}");
            assert!(!text.contains(&name), "{text}");
            let got = rpc(&mut gateway, key, "GetTask", json!({ "id": format!("t{at}") })).await;
            assert_eq!(got["result"]["contextId"], "chat", "{got}");
            let old = rpc(&mut gateway, key, "tasks/get", json!({ "id": format!("t{at}") })).await;
            assert_eq!(old["result"]["contextId"], "chat", "{old}");
            let list = rpc(&mut gateway, key, "ListTasks", json!({ "contextId": "chat" })).await;
            assert!(list["result"]["tasks"].as_array().unwrap().iter().any(|t| t["id"] == format!("t{at}")), "{list}");
            assert!(!list.to_string().contains(&name), "{list}");
            seen.push(name);
        }
        assert_eq!(seen[0], seen[1], "a team shares its contexts");
        assert_ne!(seen[0], seen[2], "another one has its own");
        // What the agent made keeps its name for its owner, and is another one for everybody else.
        send(&mut gateway, &keys.red[0], &json!({ "task": task("made", "made-by-agent", "WORKING") })).await;
        for (key, is_same) in [(&keys.red[1], true), (&keys.blue[0], false)] {
            rpc(
                &mut gateway,
                key,
                "SendMessage",
                in_context("made-by-agent", &json!({ "task": task("made-2", "", "WORKING") })),
            )
            .await;
            let name = shelf.agent.last().json()["params"]["message"]["contextId"].clone();
            assert_eq!(name == "made-by-agent", is_same, "{name}");
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn contexts_that_the_agent_did_not_make_are_refused_where_it_is_said_so() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, ", client_contexts: refuse").await;
        let say = json!({ "task": task("t", "made", "WORKING") });
        assert_eq!(code(&send(&mut gateway, &keys.red[0], &say).await), 0);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[1], "SendMessage", in_context("made", &say)).await), 0);
        let before = shelf.agent.calls().len();
        let theirs = rpc(&mut gateway, &keys.blue[0], "SendMessage", in_context("made", &say)).await;
        let unseen = rpc(&mut gateway, &keys.blue[0], "SendMessage", in_context("up", &say)).await;
        assert_eq!(theirs, unseen, "the same words");
        assert_eq!(code(&theirs), -32602);
        assert_eq!(shelf.agent.calls().len(), before);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn owners_outlive_the_process_a_rotation_a_move_and_a_change_of_scope() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        let made = json!({ "task": task("t", "c", "WORKING") });
        assert_eq!(code(&send(&mut gateway, &keys.red[0], &made).await), 0);
        let alone = json!({ "task": task("lonely", "c2", "WORKING") });
        assert_eq!(code(&send(&mut gateway, &keys.alone, &alone).await), 0);
        gateway.finish().await;

        let agents = |more: &str| format!("agents:\n{}", entry("a", shelf.url(), more));
        let mut gateway = self::gateway(&database, &agents("")).await;
        let get = json!({ "id": "t" });
        assert_eq!(code(&rpc(&mut gateway, &keys.red[1], "GetTask", get.clone()).await), 0);
        assert_eq!(code(&rpc(&mut gateway, &keys.blue[0], "GetTask", get.clone()).await), -32001);
        let rotated = gateway.admin("KeyService/RotateKey", json!({ "id": "red-1" })).await["secret"].clone();
        assert_eq!(code(&rpc(&mut gateway, rotated.as_str().unwrap(), "GetTask", get.clone()).await), 0);
        let moved =
            json!({ "key": { "id": id_of(&gateway, "alone").await, "teamId": "blue" }, "updateMask": "teamId" });
        gateway.admin("KeyService/UpdateKey", moved).await;
        let lonely = json!({ "id": "lonely" });
        assert_eq!(
            code(&rpc(&mut gateway, &keys.alone, "GetTask", lonely.clone()).await),
            0,
            "its own, made in no team"
        );
        assert_eq!(code(&rpc(&mut gateway, &keys.blue[0], "GetTask", lonely.clone()).await), -32001);
        let list = rpc(&mut gateway, &keys.alone, "ListTasks", json!({})).await;
        assert_eq!(list["result"]["tasks"][0]["id"], "lonely", "{list}");
        gateway.finish().await;

        let mut gateway = self::gateway(&database, &agents(", task_scope: key")).await;
        assert_eq!(code(&rpc(&mut gateway, rotated.as_str().unwrap(), "GetTask", get.clone()).await), 0);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[1], "GetTask", get.clone()).await), -32001);
        assert_eq!(rpc(&mut gateway, &keys.red[1], "ListTasks", json!({})).await["result"]["totalSize"], 0);
        gateway.finish().await;

        let mut gateway = self::gateway(&database, &agents(", task_scope: none")).await;
        assert_eq!(code(&rpc(&mut gateway, &keys.blue[0], "GetTask", get.clone()).await), 0);
        assert_eq!(
            code(&rpc(&mut gateway, &keys.blue[0], "ListTasks", json!({})).await),
            -32004,
            "the agent's own word"
        );
        gateway.finish().await;
    }
}

async fn id_of(gateway: &TestGateway, alias: &str) -> Value {
    gateway.admin("KeyService/GetKey", json!({ "id": alias })).await["key"]["id"].clone()
}

#[tokio::test]
async fn ids_of_any_kind_belong_to_their_makers_or_are_refused() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        for id in
            ["a/b", "a:b", "a b", "a%2Fb", "Ünïcödé", "任务", "a\"b\\c", "'; DROP TABLE tasks; --", &"x".repeat(256)]
        {
            let made = json!({ "task": task(id, &format!("context of {}", &id.chars().take(20).collect::<String>()), "WORKING") });
            assert_eq!(code(&send(&mut gateway, &keys.red[0], &made).await), 0, "{id}");
            assert_eq!(code(&rpc(&mut gateway, &keys.red[1], "GetTask", json!({ "id": id })).await), 0, "{id}");
            assert_eq!(code(&rpc(&mut gateway, &keys.blue[0], "GetTask", json!({ "id": id })).await), -32001, "{id}");
            let near = format!("{id} ");
            if near.len() <= 256 {
                assert_eq!(code(&rpc(&mut gateway, &keys.red[0], "GetTask", json!({ "id": near })).await), -32001);
            }
        }
        let heard = shelf.agent.calls().len();
        for id in ["..", "a/../b", ".", "a\u{0}b", "a\nb", &"x".repeat(257)] {
            let reply = rpc(&mut gateway, &keys.red[0], "GetTask", json!({ "id": id })).await;
            assert_eq!(code(&reply), -32602, "{id:?}: {reply}");
        }
        let mut many = asking(&json!({ "task": task("t", "c", "WORKING") }));
        many["message"]["referenceTaskIds"] = json!(vec!["a/b"; 65]);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[0], "SendMessage", many.clone()).await), -32602);
        assert_eq!(shelf.agent.calls().len(), heard, "nothing of it was sent");
        many["message"]["referenceTaskIds"] = json!(vec!["a/b"; 64]);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[0], "SendMessage", many.clone()).await), 0);
        many["message"]["referenceTaskIds"] = json!(["a/b", "nobody's"]);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[0], "SendMessage", many).await), -32001);
        // And from the other side.
        for id in ["..", "a\u{0}b", "a\nb", &"x".repeat(257)] {
            let reply = send(&mut gateway, &keys.red[0], &json!({ "task": task(id, "c", "WORKING") })).await;
            assert_eq!(code(&reply), WITHHELD, "{id:?}: {reply}");
            let text = stream(&mut gateway, &keys.red[0], &json!([{ "task": task(id, "c", "WORKING") }])).await;
            assert!(text.contains("-32006"), "{text}");
        }
        gateway.finish().await;
    }
}

/// Tasks that nobody follows are cancelled too, and others read so.
#[tokio::test]
async fn an_emergency_stop_cancels_what_has_not_ended() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        let endpoint = json!({ "url": shelf.url(), "protocolVersion": "1.0", "bindings": ["jsonrpc"] });
        gateway
            .admin(
                "AgentService/CreateAgent",
                json!({ "agent": { "name": "stored", "dialect": { "waiting": "native" }, "endpoints": [endpoint] } }),
            )
            .await;
        for (key, id, state) in [
            (&keys.red[0], "one", "WORKING"),
            (&keys.blue[0], "two", "INPUT_REQUIRED"),
            (&keys.alone, "three", "COMPLETED"),
        ] {
            gateway.key.clone_from(key);
            gateway.rpc("stored", "SendMessage", asking(&json!({ "task": task(id, id, state) }))).await;
            shelf.say(id, task(id, id, "CANCELED"));
        }
        let id = gateway.admin("AgentService/GetAgent", json!({ "id": "stored" })).await["agent"]["id"].clone();
        gateway.admin("AgentService/DisableAgent", json!({ "id": id, "stopRunning": true })).await;
        let calls = shelf.agent.calls();
        let canceled = calls.iter().filter(|seen| seen.json()["method"] == "CancelTask");
        let mut canceled: Vec<String> =
            canceled.map(|seen| seen.json()["params"]["id"].as_str().unwrap().to_owned()).collect();
        canceled.sort();
        assert_eq!(canceled, ["one", "two"]);
        let tasks =
            gateway.admin("TaskService/ListTasks", json!({ "agent": id, "state": "TASK_STATE_CANCELED" })).await;
        assert_eq!(tasks["tasks"].as_array().unwrap().len(), 2, "{tasks}");
        gateway.finish().await;
    }
}

/// Whatever binding asks next, a task stays where it was made.
#[tokio::test]
async fn a_task_and_a_context_stick_to_the_endpoint_that_answered_first() {
    for database in Database::both() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let interface = |path: &str, binding: &str| json!({ "url": format!("{url}{path}"), "protocolBinding": binding, "protocolVersion": "1.0" });
        let card = json!({
            "name": "two", "description": "d", "version": "1", "capabilities": {}, "defaultInputModes": [], "defaultOutputModes": [], "skills": [],
            "supportedInterfaces": [interface("/rpc", "JSONRPC"), interface("/rest", "HTTP+JSON")],
        });
        let said = task("t", "c", "WORKING");
        let agent = FakeAgent::on(listener, move |seen| match seen.path.as_str() {
            "/.well-known/agent-card.json" => FakeReply::json(card.to_string()),
            "/rpc" if seen.json()["method"] == "SendMessage" => {
                FakeReply::result(&seen, &json!({ "task": said }).to_string())
            }
            "/rpc" => FakeReply::result(&seen, &said.to_string()),
            "/rest/message:send" => FakeReply::json(json!({ "task": task("t2", "c2", "WORKING") }).to_string()),
            _ => FakeReply::json(task("t2", "c2", "WORKING").to_string()),
        });
        let gateway =
            gateway(&database, &format!("agents: [{{name: a, url: '{url}', dialect: {{waiting: native}}}}]\n")).await;
        let bearer = format!("Bearer {}", gateway.key);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let rest = async |method: Method, path: &str, body: String| {
            let answer = gateway.request(method, &format!("/a2a/a{path}"), &headers, body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            agent.calls().last().map(|seen| seen.path.clone())
        };
        gateway.rpc("a", "SendMessage", asking(&json!(null))).await;
        assert_eq!(agent.last().path, "/rpc");
        assert_eq!(rest(Method::GET, "/tasks/t", String::new()).await.unwrap(), "/rpc", "where it was made");
        assert_eq!(
            rest(Method::POST, "/message:send", in_context("c", &json!(null)).to_string()).await.unwrap(),
            "/rpc"
        );
        assert_eq!(
            rest(Method::POST, "/message:send", asking(&json!(null)).to_string()).await.unwrap(),
            "/rest/message:send"
        );
        gateway.rpc("a", "CancelTask", json!({ "id": "t2" })).await;
        assert_eq!(agent.last().path, "/rest/tasks/t2:cancel", "and by the other binding");
        gateway.finish().await;
    }
}

/// What a key made before it was in a team, and a scope that was another one then, do not stand in the way of tasks.
#[tokio::test]
async fn a_task_in_an_older_context_of_its_maker_is_the_teams() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        assert_eq!(code(&send(&mut gateway, &keys.alone, &json!({ "task": task("t1", "c", "WORKING") })).await), 0);
        let joined =
            json!({ "key": { "id": id_of(&gateway, "alone").await, "teamId": "red" }, "updateMask": "teamId" });
        gateway.admin("KeyService/UpdateKey", joined).await;
        let again = in_context("c", &json!({ "task": task("t2", "c", "WORKING") }));
        assert_eq!(code(&rpc(&mut gateway, &keys.alone, "SendMessage", again).await), 0);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[0], "GetTask", json!({ "id": "t2" })).await), 0);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[0], "GetTask", json!({ "id": "t1" })).await), -32001);
        gateway.finish().await;
        let keyed = format!("agents:\n{}", entry("a", shelf.url(), ", task_scope: key"));
        let mut gateway = self::gateway(&database, &keyed).await;
        assert_eq!(code(&rpc(&mut gateway, &keys.alone, "GetTask", json!({ "id": "t1" })).await), 0);
        gateway.finish().await;
    }
}

/// A claim that nobody settled is another call's, perhaps of another gateway: whoever uses it too makes it good.
#[tokio::test]
async fn a_claim_is_made_good_by_whoever_uses_it_and_lives_where_it_was_answered() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        let say = |context: &str| json!({ "task": task(&format!("in {context}"), context, "WORKING") });
        assert_eq!(code(&rpc(&mut gateway, &keys.red[0], "SendMessage", in_context("c1", &say("c1"))).await), 0);
        rpc(&mut gateway, &keys.red[0], "ListTasks", json!({})).await;
        let rows = database.query("SELECT context_id, claim, agent_binding, agent_version FROM contexts");
        assert_eq!(rows, ["c1||jsonrpc|1.0"]);
        gateway.finish().await;
        database.execute("UPDATE contexts SET claim = 'some call'");
        let mut gateway = self::gateway(&database, &format!("agents:\n{}", entry("a", shelf.url(), ""))).await;
        assert_eq!(code(&rpc(&mut gateway, &keys.blue[0], "SendMessage", in_context("c1", &say("c2"))).await), -32602);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[1], "SendMessage", in_context("c1", &say("c1"))).await), 0);
        assert_eq!(database.query("SELECT claim FROM contexts"), [""]);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn an_agents_clock_that_is_behind_loses_no_state() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        assert_eq!(code(&send(&mut gateway, &keys.red[0], &json!({ "task": task("t", "c", "WORKING") })).await), 0);
        let mut waits = task("t", "c", "INPUT_REQUIRED");
        waits["status"]["timestamp"] = json!("2020-01-02T03:04:05Z");
        shelf.say("t", waits);
        assert_eq!(code(&rpc(&mut gateway, &keys.red[0], "GetTask", json!({ "id": "t" })).await), 0);
        for (state, count) in [("INPUT_REQUIRED", 1), ("WORKING", 0)] {
            let filter = json!({ "status": format!("TASK_STATE_{state}") });
            let list = rpc(&mut gateway, &keys.red[0], "ListTasks", filter).await;
            assert_eq!(list["result"]["totalSize"], count, "{state}: {list}");
        }
        gateway.finish().await;
    }
}
