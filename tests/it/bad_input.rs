//! Bad input: a clear answer, nothing sent, and the process goes on.

use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, call, message_v1};
use crate::support::{FakeAgent, FakeReply};

async fn recording() -> (FakeAgent, TestGateway) {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
    })
    .await;
    let gateway =
        TestGateway::start(&format!("agents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url)).await;
    (agent, gateway)
}

#[tokio::test]
async fn says_what_is_wrong_with_a_request() {
    let (agent, gateway) = recording().await;
    let cases: &[(&[u8], i64, Value, &str)] = &[
        (b"{", -32700, Value::Null, "not valid JSON"),
        (b"", -32700, Value::Null, "not valid JSON"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", -32700, Value::Null, "not valid JSON"),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"GetTask"}]"#, -32600, Value::Null, "batch"),
        (br#"{"jsonrpc":"1.0","id":1,"method":"GetTask"}"#, -32600, json!(1), "jsonrpc"),
        (br#"{"jsonrpc":"2.0","id":"x"}"#, -32600, json!("x"), "method"),
        (br#"{"jsonrpc":"2.0","id":[1],"method":"GetTask"}"#, -32600, Value::Null, "id"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"GetTusk"}"#, -32601, json!(1), "SendMessage"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":[]}"#, -32602, json!(1), "params"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"GetTask"}"#, -32602, json!(1), "id"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":5}}"#, -32602, json!(1), "id"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"t","historyLength":-1}}"#, -32602, json!(1), "historyLength"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"pageSize":101}}"#, -32602, json!(1), "pageSize"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"status":"SHINY"}}"#, -32602, json!(1), "status"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}}"#, -32602, json!(1), "message"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[]}}}"#, -32602, json!(1), "message.parts"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"user","parts":[{"text":"x"}]}}}"#, -32602, json!(1), "message.role"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"kind":"text"}]}}}"#, -32602, json!(1), "message.parts"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"messageId":"m","parts":[{"kind":"text","text":"x"}]}}}"#, -32602, json!(1), "message.role"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tasks/pushNotificationConfig/set","params":{"taskId":"t"}}"#, -32602, json!(1), "pushNotificationConfig.url"),
    ];
    for (body, code, id, names) in cases {
        let answer = gateway.post("a", body.to_vec()).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(answer.status, 200, "{shown}");
        let reply = answer.json();
        assert_eq!(reply["error"]["code"], *code, "{shown}: {reply}");
        assert_eq!(reply["id"], *id, "{shown}");
        assert!(reply["error"].to_string().contains(names), "{shown}: {reply} does not name {names}");
    }
    assert!(agent.calls().is_empty(), "nothing was sent");
    gateway.finish().await;
}

#[tokio::test]
async fn never_repeats_secret_input_in_its_messages() {
    let (_agent, gateway) = recording().await;
    for params in [
        json!({ "message": { "messageId": { "password": "hunter2" } } }),
        json!({ "message": "hunter2" }),
        json!({ "message": { "messageId": "m", "role": "hunter2", "parts": [] } }),
    ] {
        let reply = gateway.rpc("a", "SendMessage", params.clone()).await;
        assert!(!reply.to_string().contains("hunter2"), "{reply}");
        let reply = gateway.rpc("a", "message/send", params).await;
        assert!(!reply.to_string().contains("hunter2"), "{reply}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn refuses_a_body_over_the_limit_and_takes_a_large_file() {
    let (agent, gateway) = recording().await;
    let file = |bytes: usize| {
        let mut params = message_v1("m");
        params["message"]["parts"] = json!([{ "raw": "A".repeat(bytes), "filename": "f" }]);
        call("SendMessage", params)
    };
    let answer = gateway.post("a", file(5 << 20)).await;
    assert!(answer.json().get("result").is_some(), "a 5 MB file passes");
    assert_eq!(agent.last().body.len(), file(5 << 20).len());
    let answer = gateway.post("a", file(17 << 20)).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("16777216 bytes"), "{}", answer.text());
    assert_eq!(agent.calls().len(), 1);
    assert!(gateway.rpc("a", "SendMessage", message_v1("m")).await.get("result").is_some(), "the process goes on");
    gateway.finish().await;
}

#[tokio::test]
async fn bounds_depth_parts_nodes_and_digits_before_decoding() {
    let (agent, gateway) = recording().await;
    let send = |part: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{{"message":{{"messageId":"m","role":"ROLE_USER","parts":[{part}]}}}}}}"#
        )
    };
    let deep = send(&format!(r#"{{"data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)));
    let parts = send(&vec!["{}"; 1_001].join(","));
    let nodes = send(&format!(r#"{{"data":[{}1]}}"#, "1,".repeat(200_000)));
    let digits = send(&format!(r#"{{"data":{}}}"#, "9".repeat(200)));
    // 16 MiB of empty parts would be a gigabyte when decoded.
    let bomb = send(&vec!["{}"; 4_000_000].join(","));
    for (body, words) in [
        (deep, "deeper than 48"),
        (parts, "more than 1000 parts"),
        (nodes, "more than 200000"),
        (digits, "more than 100 digits"),
        (bomb, "more than 1000 parts"),
    ] {
        let reply = gateway.post("a", body).await.json();
        assert_eq!(reply["error"]["code"], -32602, "{words}: {reply}");
        assert!(reply["error"]["message"].as_str().unwrap().contains(words), "{reply}");
    }
    assert!(agent.calls().is_empty());
    gateway.finish().await;
}

#[tokio::test]
async fn answers_unknown_paths_and_verbs() {
    let (_agent, gateway) = recording().await;
    let lost = gateway.get("/nowhere").await;
    assert_eq!((lost.status.as_u16(), lost.json()["error"]["status"].clone()), (404, json!("UNIMPLEMENTED")));
    let verb = gateway.get("/a2a/a").await;
    assert_eq!((verb.status.as_u16(), &verb.headers["allow"]), (405, &"POST".parse().unwrap()));
    let verb = gateway.request(http::Method::POST, "/a2a/a/.well-known/agent-card.json", &[], "").await;
    assert_eq!((verb.status.as_u16(), &verb.headers["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    let verb = gateway.request(http::Method::DELETE, "/v1/agents", &[], "").await;
    assert_eq!(verb.status, 405);
    gateway.finish().await;
}

#[tokio::test]
async fn survives_raw_nonsense_on_the_port() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (_agent, gateway) = recording().await;
    let address = gateway.base.trim_start_matches("http://").to_owned();
    let long = format!("GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(40_000));
    for bytes in [
        "\0\0\0".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "POST /a2a/a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello".to_owned(),
        "POST /a2a/a HTTP/1.1\r\nhost : x\r\n\r\n".to_owned(),
        long,
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        // The gateway may hang up before all is written.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut answer))
            .await
            .expect("no hang");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(gateway.get("/health/live").await.status, 200);
    gateway.finish().await;
}
