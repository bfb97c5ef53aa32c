//! Which version is spoken with whom.

use serde_json::json;

use crate::support::gateway::{TestGateway, call, message_v1, message_v03};
use crate::support::{FakeAgent, FakeReply, Seen};

/// Speaks the version of the method that it is called with, and has a card that offers `versions`.
async fn bilingual(versions: &'static [&'static str]) -> FakeAgent {
    FakeAgent::raw(move |seen: Seen| {
        if seen.method == http::Method::GET {
            let host = seen.headers["host"].to_str().unwrap().to_owned();
            let interfaces: Vec<_> = versions
                .iter()
                .map(|version| json!({ "url": format!("http://{host}/"), "protocolBinding": "JSONRPC", "protocolVersion": version }))
                .collect();
            return FakeReply::json(json!({ "name": "b", "supportedInterfaces": interfaces }).to_string());
        }
        match seen.json()["method"].as_str().unwrap() {
            "SendMessage" => FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#),
            "message/send" => FakeReply::result(&seen, r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"completed"}}"#),
            _ => FakeReply::error(&seen, r#"{"code":-32601,"message":"Method not found"}"#),
        }
    })
    .await
}

#[tokio::test]
async fn speaks_the_agents_version_and_answers_in_the_callers() {
    for (offered, spoken_to_v1, spoken_to_v03) in [
        (&["1.0"][..], "SendMessage", "SendMessage"),
        (&["0.3"][..], "message/send", "message/send"),
        (&["0.3.0", "1.0.1"][..], "SendMessage", "message/send"),
    ] {
        let agent = bilingual(offered).await;
        let gateway = TestGateway::with(&[("a", &agent.url)]).await;
        let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
        assert_eq!(reply["result"]["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{offered:?}");
        assert_eq!(agent.last().json()["method"], spoken_to_v1, "{offered:?}");
        let reply = gateway.rpc("a", "message/send", message_v03("m")).await;
        assert_eq!(
            (&reply["result"]["kind"], &reply["result"]["status"]["state"]),
            (&json!("task"), &json!("completed"))
        );
        assert_eq!(agent.last().json()["method"], spoken_to_v03, "{offered:?}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn pins_what_the_agent_speaks_and_what_its_card_offers() {
    let agent = bilingual(&["1.0", "0.3"]).await;
    let config = format!(
        "agents:\n- {{name: speaks-old, url: '{0}', protocol_version: '0.3'}}\n- {{name: serves-new, url: '{0}', protocol_version: '0.3', serve_version: '1.0'}}\n- {{name: serves-old, url: '{0}', protocol_version: '1.0', serve_version: '0.3'}}",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    gateway.rpc("speaks-old", "SendMessage", message_v1("m")).await;
    assert_eq!(agent.last().json()["method"], "message/send");
    let versions = async |name: &str| {
        let card = gateway.get(&format!("/a2a/{name}/.well-known/agent-card.json")).await.json();
        let interfaces = card["supportedInterfaces"].as_array().unwrap().clone();
        (interfaces.iter().map(|i| i["protocolVersion"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), card)
    };
    let (new, card) = versions("serves-new").await;
    assert_eq!(new, ["1.0", "1.0", "1.0"]);
    assert!(card.get("url").is_none());
    assert_eq!(versions("serves-old").await.0, ["0.3", "0.3"]);
    // A pinned card does not lock out a caller who speaks the other version all the same.
    assert!(gateway.rpc("serves-new", "message/send", message_v03("m")).await.get("result").is_some());
    assert!(gateway.rpc("serves-old", "SendMessage", message_v1("m")).await.get("result").is_some());
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_versions_that_do_not_exist() {
    let agent = bilingual(&["1.0"]).await;
    let gateway = TestGateway::with(&[("a", &agent.url)]).await;
    for version in ["2.0", "0.5", "garbage", "1"] {
        let answer = gateway.post_with("a", &[("a2a-version", version)], call("SendMessage", message_v1("m"))).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].clone()), (200, json!(-32009)), "{version}");
        let answer = gateway.post_with("a", &[("a2a-version", version)], call("message/send", message_v03("m"))).await;
        assert_eq!(answer.json()["error"]["code"], -32603, "0.3 has no such code");
    }
    let answer = gateway.post("a?A2A-Version=9.9", call("SendMessage", message_v1("m"))).await;
    assert_eq!(answer.json()["error"]["code"], -32009);
    assert!(agent.calls().is_empty());
    gateway.finish().await;
}

#[tokio::test]
async fn takes_a_missing_version_by_the_method_unless_it_is_strict() {
    let agent = bilingual(&["1.0"]).await;
    let lax = TestGateway::with(&[("a", &agent.url)]).await;
    assert!(lax.rpc("a", "SendMessage", message_v1("m")).await.get("result").is_some());
    lax.finish().await;
    let strict =
        TestGateway::start(&format!("strict_version: true\nagents:\n- {{name: a, url: '{}'}}", agent.url)).await;
    assert_eq!(strict.rpc("a", "SendMessage", message_v1("m")).await["error"]["code"], -32009);
    assert!(strict.rpc("a", "message/send", message_v03("m")).await.get("result").is_some());
    let named = strict.post_with("a", &[("a2a-version", "1.0")], call("SendMessage", message_v1("m"))).await;
    assert!(named.json().get("result").is_some());
    strict.finish().await;
}

#[tokio::test]
async fn lists_tasks_under_the_old_name_where_the_agent_can() {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"tasks":[{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}],"nextPageToken":"","pageSize":50,"totalSize":1}"#)
    })
    .await;
    let config = format!(
        "tasks: {{scope: none}}\nagents:\n- {{name: new, url: '{0}', protocol_version: '1.0'}}\n- {{name: old, url: '{0}', protocol_version: '0.3'}}",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    let reply = gateway.rpc("new", "tasks/list", json!({ "contextId": "c", "status": "working" })).await;
    assert_eq!(
        (&reply["result"]["tasks"][0]["kind"], &reply["result"]["totalSize"]),
        (&json!("task"), &json!(1)),
        "{reply}"
    );
    assert_eq!(agent.last().json()["params"], json!({ "contextId": "c", "status": "TASK_STATE_WORKING" }));
    let before = agent.calls().len();
    for method in ["tasks/list", "ListTasks"] {
        assert_eq!(gateway.rpc("old", method, json!({})).await["error"]["code"], -32004);
    }
    assert_eq!(agent.calls().len(), before);
    gateway.finish().await;
}

#[tokio::test]
async fn echoes_activated_extensions_in_the_callers_spelling() {
    let agent = FakeAgent::start(|seen| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"kind":"message","messageId":"m","role":"agent","parts":[{{"kind":"text","text":"x"}}]}}}}"#, seen.json()["id"]);
        FakeReply::With(200, vec![("content-type", "application/json".into()), ("x-a2a-extensions", "https://e/x, https://e/y".into())], body)
    })
    .await;
    let config = format!("agents:\n- {{name: a, url: '{}', protocol_version: '0.3'}}", agent.url);
    let gateway = TestGateway::start(&config).await;
    let asked = [("a2a-extensions", "https://e/x,https://e/y")];
    let answer = gateway.post_with("a", &asked, call("SendMessage", message_v1("m"))).await;
    assert_eq!(answer.headers["a2a-extensions"], "https://e/x,https://e/y");
    assert_eq!(agent.last().headers["x-a2a-extensions"], "https://e/x,https://e/y", "in the agent's spelling");
    let answer = gateway.post_with("a", &asked, call("message/send", message_v03("m"))).await;
    assert_eq!(answer.headers["x-a2a-extensions"], "https://e/x,https://e/y");
    gateway.finish().await;
}

#[tokio::test]
async fn gives_a_1_0_caller_as_much_history_as_it_asked_for() {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"completed"},"history":[{"kind":"message","messageId":"1","role":"user","parts":[{"kind":"text","text":"x"}]},{"kind":"message","messageId":"2","role":"agent","parts":[{"kind":"text","text":"y"}]}]}"#)
    })
    .await;
    let config =
        format!("tasks: {{scope: none}}\nagents:\n- {{name: a, url: '{}', protocol_version: '0.3'}}", agent.url);
    let gateway = TestGateway::start(&config).await;
    for (length, expected) in [(json!(0), vec![]), (json!(1), vec!["2"]), (json!(null), vec!["1", "2"])] {
        let reply = gateway.rpc("a", "GetTask", json!({ "id": "t", "historyLength": length })).await;
        let history = reply["result"]["history"].as_array().cloned().unwrap_or_default();
        assert_eq!(history.iter().map(|m| m["messageId"].as_str().unwrap()).collect::<Vec<_>>(), expected, "{length}");
    }
    gateway.finish().await;
}
