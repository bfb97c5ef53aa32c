//! ListTasks from what the gateway knows, with the agent's word on what is in the tasks.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use switchboard::operation::Rpc;

use crate::ownership::{Keys, gateway};
use crate::parity::callers::{CALLERS, Outcome, call as call_by};
use crate::support::gateway::TestGateway;
use crate::support::shelf::{asking, task};
use crate::support::{Database, Shelf};

async fn shelved(database: &Database, more: &str) -> (Shelf, TestGateway, Keys) {
    let shelf = Shelf::start().await;
    let entry = format!(
        "{{name: a, url: '{}', protocol_version: '1.0', bindings: [jsonrpc], dialect: {{waiting: native}}}}",
        shelf.url()
    );
    let gateway =
        gateway(database, &format!("{more}agents: [{entry}, {}]\n", entry.replace("name: a", "name: b"))).await;
    let keys = Keys::make(&gateway).await;
    (shelf, gateway, keys)
}

/// A task whose state is of this second of an hour of 2026.
fn at(id: &str, context: &str, state: &str, second: usize) -> Value {
    let mut task = task(id, context, state);
    task["status"]["timestamp"] = json!(format!("2026-01-02T03:{:02}:{:02}Z", second / 60, second % 60));
    task
}

async fn make(gateway: &mut TestGateway, key: &str, task: &Value) {
    key.clone_into(&mut gateway.key);
    let reply = gateway.rpc("a", "SendMessage", asking(&json!({ "task": task }))).await;
    assert!(reply["result"].is_object(), "{reply}");
}

async fn list(gateway: &TestGateway, params: Value) -> Value {
    gateway.rpc("a", "ListTasks", params).await
}

fn ids(list: &Value) -> Vec<String> {
    let tasks = list["result"]["tasks"].as_array().unwrap_or_else(|| panic!("{list}"));
    tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn is_ordered_filtered_counted_and_paged_exactly() {
    for database in Database::both() {
        let (_shelf, mut gateway, keys) = shelved(&database, "").await;
        for n in 0..25_usize {
            let (context, state) = (format!("c{}", n % 3), ["COMPLETED", "FAILED", "INPUT_REQUIRED"][n % 3]);
            // Two of each moment, and not in the order of time.
            make(&mut gateway, &keys.red[n % 2], &at(&format!("t{n:02}"), &context, state, (n * 7 % 25) / 2)).await;
        }
        make(&mut gateway, &keys.blue[0], &at("foreign", "c-blue", "COMPLETED", 1)).await;
        gateway.key.clone_from(&keys.red[1]);
        let mut expected: Vec<(usize, String)> =
            (0..25).map(|n: usize| ((n * 7 % 25) / 2, format!("t{n:02}"))).collect();
        expected.sort_by(|a, b| b.cmp(a));
        let expected: Vec<String> = expected.into_iter().map(|(_, id)| id).collect();
        let whole = list(&gateway, json!({})).await;
        assert_eq!(ids(&whole), expected);
        assert_eq!((&whole["result"]["totalSize"], &whole["result"]["nextPageToken"]), (&json!(25), &json!("")));
        assert_eq!(whole["result"]["pageSize"], 50);
        for size in [1, 7, 24, 25, 100] {
            let (mut token, mut found) = (String::new(), Vec::new());
            loop {
                let page = list(&gateway, json!({ "pageSize": size, "pageToken": token })).await;
                assert_eq!((&page["result"]["totalSize"], &page["result"]["pageSize"]), (&json!(25), &json!(size)));
                assert!(ids(&page).len() <= size, "{page}");
                found.extend(ids(&page));
                page["result"]["nextPageToken"].as_str().unwrap().clone_into(&mut token);
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(found, expected, "in pages of {size}");
        }
        let of_one = list(&gateway, json!({ "contextId": "c1" })).await;
        assert_eq!((of_one["result"]["totalSize"].as_i64(), ids(&of_one).len()), (Some(8), 8));
        let failed = list(&gateway, json!({ "status": "TASK_STATE_FAILED" })).await;
        assert_eq!(ids(&failed).into_iter().collect::<BTreeSet<_>>(), ids(&of_one).into_iter().collect());
        let since = list(&gateway, json!({ "statusTimestampAfter": "2026-01-02T03:00:11Z" })).await;
        assert_eq!(ids(&since), expected[..3], "inclusive: {since}");
        let none = list(&gateway, json!({ "contextId": "c1", "status": "TASK_STATE_COMPLETED" })).await;
        assert_eq!((ids(&none), none["result"]["totalSize"].as_i64()), (Vec::new(), Some(0)));
        for size in [0, 101, -1] {
            assert_eq!(list(&gateway, json!({ "pageSize": size })).await["error"]["code"], -32602, "{size}");
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_page_token_goes_with_its_caller_agent_and_filters() {
    for database in Database::both() {
        let (_shelf, mut gateway, keys) = shelved(&database, "").await;
        for n in 0..3 {
            make(&mut gateway, &keys.red[0], &at(&format!("t{n}"), "c", "COMPLETED", n)).await;
        }
        let token =
            list(&gateway, json!({ "pageSize": 1 })).await["result"]["nextPageToken"].as_str().unwrap().to_owned();
        assert!(
            token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
            "it stands in a query: {token}"
        );
        let refused = |reply: &Value| reply["error"]["data"].to_string().contains("pageToken");
        for other in [
            json!({ "contextId": "c" }),
            json!({ "status": "TASK_STATE_COMPLETED" }),
            json!({ "statusTimestampAfter": "2020-01-01T00:00:00Z" }),
        ] {
            let mut params = other.clone();
            params["pageToken"] = json!(token);
            assert!(refused(&list(&gateway, params).await), "{other}");
        }
        let with = json!({ "pageToken": token });
        assert!(refused(&gateway.rpc("b", "ListTasks", with.clone()).await), "of another agent");
        let mut altered = token.clone().into_bytes();
        let last = altered.last_mut().unwrap();
        *last = if *last == b'A' { b'B' } else { b'A' };
        for wrong in [String::from_utf8(altered).unwrap(), "x".into(), "0".repeat(10_000), "1.2.3".into()] {
            assert!(refused(&list(&gateway, json!({ "pageToken": wrong })).await), "{wrong}");
        }
        assert_eq!(ids(&list(&gateway, json!({ "pageSize": 2, "pageToken": token })).await), ["t1", "t0"]);
        for key in [&keys.red[1], &keys.blue[0], &keys.alone] {
            gateway.key.clone_from(key);
            assert!(refused(&list(&gateway, with.clone()).await), "of another caller");
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn asks_the_agent_what_has_gone_on_and_what_is_in_the_tasks() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "tasks: {list_ms: 700}\n").await;
        let message = |id: &str| json!({ "messageId": id, "role": "ROLE_USER", "parts": [{ "text": "x" }] });
        for n in 0..20 {
            make(&mut gateway, &keys.red[0], &at(&format!("t{n:02}"), "c", "WORKING", n)).await;
        }
        let mut done = at("t05", "c", "COMPLETED", 60);
        done["artifacts"] = json!([{ "artifactId": "a", "parts": [{ "text": "the result" }] }]);
        done["history"] = json!([message("m1"), message("m2"), message("m3")]);
        shelf.say("t05", done.clone());
        let filter = json!({ "status": "TASK_STATE_COMPLETED", "includeArtifacts": true, "historyLength": 2 });
        let found = list(&gateway, filter).await;
        assert_eq!((ids(&found), found["result"]["totalSize"].as_i64()), (vec!["t05".to_owned()], Some(1)), "{found}");
        let task = &found["result"]["tasks"][0];
        assert_eq!(task["artifacts"], done["artifacts"]);
        assert_eq!(task["history"], json!([message("m2"), message("m3")]));
        assert_eq!(ids(&list(&gateway, json!({})).await)[0], "t05", "what changed last is first");
        let plain = list(&gateway, json!({ "status": "TASK_STATE_COMPLETED", "historyLength": 0 })).await;
        let task = &plain["result"]["tasks"][0];
        assert!(task.get("artifacts").is_none() && task.get("history").is_none(), "{plain}");

        // What has ended is not asked about again but for what is in it.
        let before = shelf.heard("GetTask");
        list(&gateway, json!({ "status": "TASK_STATE_COMPLETED" })).await;
        assert_eq!(shelf.heard("GetTask") - before, 20, "19 that may go on, and one that is shown");

        // One that the agent forgot, one that it does not answer for, and what was last seen of them.
        shelf.tasks.lock().unwrap().remove("t07");
        shelf.say("t08", Value::Null);
        let begun = std::time::Instant::now();
        let found = list(&gateway, json!({})).await;
        assert!(begun.elapsed().as_secs() < 5, "it waits for nobody: {:?}", begun.elapsed());
        let tasks = found["result"]["tasks"].as_array().unwrap();
        assert_eq!((tasks.len(), found["result"]["totalSize"].as_i64()), (20, Some(20)), "{found}");
        let stale = |id: &str| {
            let task = tasks.iter().find(|task| task["id"] == id).unwrap();
            assert_eq!(task["status"]["state"], "TASK_STATE_WORKING");
            task["metadata"]["switchboard/stale"].as_str().unwrap_or_default().to_owned()
        };
        assert!(stale("t07").contains("does not know the task any more"), "{}", stale("t07"));
        assert!(stale("t08").contains("does not answer"), "{}", stale("t08"));
        assert_eq!(
            tasks.iter().find(|task| task["id"] == "t08").unwrap()["status"]["timestamp"],
            "2026-01-02T03:00:08Z"
        );
        gateway.finish().await;
    }
}

#[tokio::test]
async fn counts_what_it_asks_the_agent_against_the_limits() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        for n in 0..10 {
            make(&mut gateway, &keys.red[0], &at(&format!("t{n}"), "c", "COMPLETED", n)).await;
        }
        let limited = json!({ "key": { "alias": "limited", "teamId": "red", "grants": { "allAgents": true, "operations": ["ListTasks"] }, "limits": { "requestsPerMinuteMax": 5 } } });
        let made = gateway.admin("KeyService/CreateKey", limited).await;
        made["secret"].as_str().unwrap().clone_into(&mut gateway.key);
        let before = shelf.heard("GetTask");
        let found = list(&gateway, json!({})).await;
        assert_eq!(ids(&found).len(), 10, "{found}");
        assert_eq!(shelf.heard("GetTask") - before, 4, "the list is one itself");
        assert_eq!(found.to_string().matches("a limit was reached").count(), 6, "{found}");
        let get = gateway.post("a", crate::support::gateway::call("GetTask", json!({ "id": "t1" }))).await;
        assert_eq!(get.status, 429);
        // One call at once is enough: the parts of a list have its slot.
        let narrow =
            json!({ "alias": "narrow", "teamId": "red", "grants": { "allAgents": true }, "limits": { "callsMax": 1 } });
        gateway.key = gateway.new_key(narrow).await;
        let found = list(&gateway, json!({})).await;
        assert!(ids(&found).len() == 10 && !found.to_string().contains("switchboard/stale"), "{found}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn looks_the_same_in_every_door_and_to_callers_of_0_3() {
    for database in Database::both() {
        let (_shelf, mut gateway, keys) = shelved(&database, "").await;
        for n in 0..3 {
            make(&mut gateway, &keys.red[0], &at(&format!("t{n}"), "c", "COMPLETED", n)).await;
        }
        let first = json!({ "pageSize": 2, "contextId": "c" });
        for caller in CALLERS.into_iter().filter(|caller| caller.lists_tasks()) {
            let Outcome::One(page) = call_by(caller, &gateway, "a", Rpc::ListTasks, &first).await else {
                panic!("{caller:?}")
            };
            let listed: Vec<_> = page["tasks"].as_array().unwrap().iter().map(|task| task["id"].clone()).collect();
            assert_eq!((listed, page["totalSize"].as_i64()), (vec![json!("t2"), json!("t1")], Some(3)), "{caller:?}");
            let mut next = first.clone();
            next["pageToken"] = page["nextPageToken"].clone();
            let Outcome::One(page) = call_by(caller, &gateway, "a", Rpc::ListTasks, &next).await else {
                panic!("{caller:?}")
            };
            assert_eq!((&page["tasks"][0]["id"], &page["tasks"][1]), (&json!("t0"), &Value::Null), "{caller:?}");
        }
        let old = gateway.rpc("a", "tasks/list", json!({ "contextId": "c", "status": "completed" })).await;
        let kinds: Vec<_> = old["result"]["tasks"].as_array().unwrap().iter().map(|task| &task["kind"]).collect();
        assert_eq!(kinds, ["task"; 3], "{old}");
        // A tenant that is nobody's is refused, though the agent is not asked.
        let bearer = format!("Bearer {}", gateway.key);
        let answer = gateway.request(Method::GET, "/a2a/a/tasks?tenant=other", &[("authorization", &bearer)], "").await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        gateway.finish().await;
    }
}

#[tokio::test]
async fn administrators_see_whose_tasks_are_and_others_their_own() {
    for database in Database::both() {
        let (shelf, mut gateway, keys) = shelved(&database, "").await;
        for (n, key) in [&keys.red[0], &keys.red[1], &keys.blue[0], &keys.alone].into_iter().enumerate() {
            make(&mut gateway, key, &at(&format!("t{n}"), &format!("c{n}"), "COMPLETED", n)).await;
        }
        let found = async |key: &str, body: Value| {
            let answer = gateway.admin_as(key, "TaskService/ListTasks", body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let tasks = answer.json()["tasks"].as_array().cloned().unwrap_or_default();
            tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let all = json!({ "agent": "a" });
        let master = crate::support::gateway::KEY;
        assert_eq!(found(master, all.clone()).await, "t3 t2 t1 t0");
        assert_eq!(found(master, json!({ "agent": "a", "teamId": "red" })).await, "t1 t0");
        assert_eq!(
            found(master, json!({ "agent": "a", "contextId": "c2", "state": "TASK_STATE_COMPLETED" })).await,
            "t2"
        );
        assert_eq!(found(&keys.red[0], all.clone()).await, "t1 t0");
        assert_eq!(found(&keys.alone, all.clone()).await, "t3");
        assert_eq!(
            gateway
                .admin_as(&keys.alone, "TaskService/ListTasks", json!({ "agent": "a", "teamId": "red" }))
                .await
                .status,
            403
        );
        assert_eq!(gateway.admin_as(master, "TaskService/ListTasks", json!({})).await.status, 400);
        let page = gateway.admin("TaskService/ListTasks", json!({ "agent": "a", "pageSize": 3 })).await;
        let next = json!({ "agent": "a", "pageSize": 3, "pageToken": page["nextPageToken"] });
        assert_eq!(found(master, next).await, "t0");
        let shown = gateway.admin("TaskService/GetTask", json!({ "agent": "a", "id": "t2" })).await["task"].clone();
        assert_eq!(
            (&shown["teamId"], &shown["agent"], &shown["callerVersion"]),
            (&json!("blue"), &json!("a"), &json!("1.0"))
        );
        assert_eq!((&shown["agentBinding"], &shown["stateTime"]), (&json!("jsonrpc"), &json!("2026-01-02T03:00:02Z")));
        assert!(shown["endTime"].is_string(), "{shown}");
        let get = async |key: &str, id: &str| {
            gateway.admin_as(key, "TaskService/GetTask", json!({ "agent": "a", "id": id })).await
        };
        let (theirs, never) = (get(&keys.red[0], "t2").await, get(&keys.red[0], "never").await);
        assert_eq!((theirs.status.as_u16(), &theirs.body), (404, &never.body), "the same words");
        assert_eq!(
            get(&keys.blue[1], "t2").await.json()["task"]["endpoint"],
            Value::Null,
            "how it is reached is not theirs"
        );
        // Where everybody may use every task, nobody is shown whose they are.
        let endpoint = json!({ "url": shelf.url(), "protocolVersion": "1.0", "bindings": ["jsonrpc"] });
        let open =
            json!({ "name": "open", "taskScope": "none", "dialect": { "waiting": "native" }, "endpoints": [endpoint] });
        gateway.admin("AgentService/CreateAgent", json!({ "agent": open })).await;
        for (key, id) in [(&keys.red[0], "n1"), (&keys.blue[0], "n2")] {
            let bearer = format!("Bearer {key}");
            let body =
                crate::support::gateway::call("SendMessage", asking(&json!({ "task": task(id, id, "WORKING") })));
            gateway.post_with("open", &[("authorization", &bearer)], body).await;
        }
        let found = gateway.admin_as(&keys.red[0], "TaskService/ListTasks", json!({ "agent": "open" })).await.json();
        assert_eq!((&found["tasks"][0]["id"], &found["tasks"][1]), (&json!("n1"), &Value::Null), "its own: {found}");
        gateway.finish().await;
    }
}
