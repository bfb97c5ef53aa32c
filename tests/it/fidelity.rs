//! Same version on both sides and nothing to rewrite: `params`, `result` and each event go on byte for byte.

use serde_json::json;

use crate::support::gateway::{KEY, TestGateway, message_v1};
use crate::support::{FakeAgent, FakeReply};

/// Unknown members, integers beyond 2^53, `1.0` and `1`, odd spacing and key order: all that a typed relay loses.
const PARAMS_V1: &str = r#"{ "z":[1,1.0,12345678901234567890,-0.10e+2], "message":{"role":"ROLE_USER","messageId":"m","futureMember":{"b":1,"a":2},"parts":[{"text":"ü\u00fc\/","x":null}]},"configuration":{} }"#;
const PARAMS_V03: &str = r#"{"message":{"kind":"message","role":"user","messageId":"m","parts":[{"kind":"text","text":"hi","x":9007199254740993}]} ,"later":true}"#;
const RESULT_V1: &str = r#"{"task":{"status":{"state":"TASK_STATE_COMPLETED","new":1},"id":"t","contextId":"c","metadata":{"big":12345678901234567890,"one":1,"float":1.0},"zzz":[]} }"#;
const RESULT_V03: &str = r#"{"status":{"state":"completed"},"id":"t","contextId":"c","kind":"task","metadata":{"big":12345678901234567890,"float":1.0}}"#;

async fn echo_with(result: &'static str, events: &'static [&'static str]) -> FakeAgent {
    FakeAgent::start(move |seen| match seen.json()["method"].as_str() {
        Some("SendStreamingMessage" | "message/stream") => FakeReply::events(&seen, events),
        _ => FakeReply::result(&seen, result),
    })
    .await
}

async fn gateway(agent: &FakeAgent, version: &str) -> TestGateway {
    TestGateway::start(&format!(
        "tasks: {{scope: none}}\nagents:\n- {{name: a, url: '{}', protocol_version: '{version}'}}",
        agent.url
    ))
    .await
}

#[tokio::test]
async fn forwards_a_unary_call_untouched_in_both_versions() {
    for (version, method, params, result) in
        [("1.0", "SendMessage", PARAMS_V1, RESULT_V1), ("0.3", "message/send", PARAMS_V03, RESULT_V03)]
    {
        let agent = echo_with(result, &[]).await;
        let gateway = gateway(&agent, version).await;
        for id in [r#""ab""#, "1", "-7", r#""1""#] {
            let body = format!(r#"{{"params":{params},"jsonrpc":"2.0","method":"{method}","id":{id}}}"#);
            let answer = gateway.post("a", body).await;
            assert_eq!(answer.text(), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
            let seen = agent.last();
            assert_eq!(seen.raw_params(), params);
            assert!(
                seen.body.windows(id.len() + 5).any(|part| part == format!(r#""id":{id}"#).as_bytes()),
                "the id too"
            );
            assert_eq!(seen.headers["a2a-version"], version);
        }
        // Ids that an agent could echo in other bytes are the caller's alone; the agent gets one of ours.
        for id in [r#""caf\u00e9""#, "\"caf\u{e9}\"", "12345678901234567890", "null", "-0"] {
            let body = format!(r#"{{"params":{params},"jsonrpc":"2.0","method":"{method}","id":{id}}}"#);
            let answer = gateway.post("a", body).await;
            assert_eq!(answer.text(), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn forwards_every_event_untouched() {
    const EVENTS: &[&str] = &[
        r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"},"n":12345678901234567890}}"#,
        RESULT_V1,
    ];
    let agent = echo_with(RESULT_V1, EVENTS).await;
    let gateway = gateway(&agent, "1.0").await;
    let answer = gateway
        .post("a", format!(r#"{{"jsonrpc":"2.0","method":"SendStreamingMessage","id":"s","params":{PARAMS_V1}}}"#))
        .await;
    let expected: String = EVENTS
        .iter()
        .map(|event| format!("data: {{\"jsonrpc\":\"2.0\",\"id\":\"s\",\"result\":{event}}}\n\n"))
        .collect();
    assert_eq!(answer.text(), expected);
    assert_eq!(agent.last().raw_params(), PARAMS_V1);
    gateway.finish().await;
}

#[tokio::test]
async fn never_forwards_what_an_agent_could_read_differently() {
    const MINE: &str = r#"{"task":{"id":"mine","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#;
    let agent = echo_with(MINE, &[]).await;
    let gateway = gateway(&agent, "1.0").await;
    for params in [
        "{\"message\":{\"messageId\":\"m\",\"role\":\"ROLE_USER\",\"parts\":[{\"text\":\"x\"}],\"taskId\":\"mine\",\"ta\u{17f}kId\":\"theirs\"}}",
        r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],"taskId":"mine"},"configuration":{"pushNotificationConfig":{"url":"http://theirs/"}}}"#,
        r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],"task_id":"mine"}}"#,
        r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],"taskId":"mine","TASKID":"theirs"}}"#,
        r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],"task\u0049d":"mine"}}"#,
    ] {
        let answer =
            gateway.post("a", format!(r#"{{"jsonrpc":"2.0","method":"SendMessage","id":1,"params":{params}}}"#)).await;
        assert!(answer.json().get("result").is_some(), "{}", answer.text());
        let forwarded = agent.last().raw_params();
        assert!(
            !forwarded.contains("task_id") && !forwarded.contains("theirs") && !forwarded.contains('\\'),
            "{forwarded}"
        );
        assert!(forwarded.contains("\"taskId\":\"mine\""), "{forwarded}");
    }
    let before = agent.calls().len();
    let nested = r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]},"configuration":{"taskPushNotificationConfig":{"url":"https://h","taskId":"theirs"}}}"#;
    let answer =
        gateway.post("a", format!(r#"{{"jsonrpc":"2.0","method":"SendMessage","id":1,"params":{nested}}}"#)).await;
    assert_eq!(answer.json()["error"]["code"], -32602, "{}", answer.text());
    let twice = r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],"taskId":"a","taskId":"b"}}"#;
    let answer =
        gateway.post("a", format!(r#"{{"jsonrpc":"2.0","method":"SendMessage","id":1,"params":{twice}}}"#)).await;
    assert_eq!(answer.json()["error"]["code"], -32602, "{}", answer.text());
    assert_eq!(agent.calls().len(), before, "nothing was sent");
    gateway.finish().await;
}

#[tokio::test]
async fn lets_a_tenant_through_only_where_it_names_nobody_else() {
    let agent = echo_with(RESULT_V1, &[]).await;
    let gateway = gateway(&agent, "1.0").await;
    let mut params = message_v1("m");
    for (tenant, reaches) in [("a", None), ("a/inner", Some("inner")), ("", None)] {
        params["tenant"] = json!(tenant);
        assert!(gateway.rpc("a", "SendMessage", params.clone()).await.get("result").is_some(), "{tenant}");
        let seen = agent.last().json()["params"]["tenant"].clone();
        assert_eq!(seen.as_str().filter(|tenant| !tenant.is_empty()), reaches, "{tenant}");
    }
    let before = agent.calls().len();
    for tenant in ["b", "b/a", "a/", "A"] {
        params["tenant"] = json!(tenant);
        let reply = gateway.rpc("a", "SendMessage", params.clone()).await;
        assert_eq!(reply["error"]["code"], -32602, "{tenant}: {reply}");
        assert_eq!(reply["error"]["data"][1]["fieldViolations"][0]["field"], "tenant");
    }
    assert_eq!(agent.calls().len(), before);
    gateway.finish().await;
}

#[tokio::test]
async fn passes_on_only_the_headers_that_it_should() {
    let agent = echo_with(RESULT_V1, &[]).await;
    let config = format!(
        "agents:\n- {{name: a, url: '{}', protocol_version: '1.0', headers: {{x-secret: s3, x-user: configured}}, forward_headers: [x-user, x-tenant]}}",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    let bearer = format!("Bearer {KEY}");
    let sent = [
        ("authorization", bearer.as_str()),
        ("cookie", "a=b"),
        ("x-api-key", KEY),
        ("x-user", "from caller"),
        ("x-tenant", "t1"),
        ("x-other", "o"),
        ("x-forwarded-for", "1.2.3.4"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("a2a-extensions", "https://e/x, https://e/y"),
    ];
    gateway.post_with("a", &sent, crate::support::gateway::call("SendMessage", message_v1("m"))).await;
    let seen = agent.last().headers;
    for gone in ["authorization", "cookie", "x-api-key", "x-other", "x-forwarded-for"] {
        assert!(!seen.contains_key(gone), "{gone}");
    }
    assert_eq!(seen["x-user"], "configured", "the operator's word is the last");
    assert_eq!(
        (&seen["x-secret"], &seen["x-tenant"]),
        (&"s3".parse().unwrap(), &"t1".parse::<http::HeaderValue>().unwrap())
    );
    assert_eq!(seen["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(seen["a2a-extensions"], "https://e/x,https://e/y");
    gateway.finish().await;
}
