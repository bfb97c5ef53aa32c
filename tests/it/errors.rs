//! Every error that JSON-RPC can carry, in both versions, in the form that their clients read.

use serde_json::{Value, json};
use switchboard::error::{KINDS, Kind};
use switchboard::operation::Version;

use crate::support::gateway::{KEY, TestGateway, call, message_v1, message_v03};
use crate::support::{FakeAgent, FakeReply};

/// An agent whose error is the text of the message.
async fn failing(version: &str) -> (FakeAgent, TestGateway) {
    let agent = FakeAgent::start(|seen| {
        let text = seen.json()["params"]["message"]["parts"][0]["text"].as_str().unwrap_or_default().to_owned();
        FakeReply::error(&seen, &text)
    })
    .await;
    let config = format!("agents:\n- {{name: a, url: '{}', protocol_version: '{version}'}}", agent.url);
    let gateway = TestGateway::start(&config).await;
    (agent, gateway)
}

async fn told(gateway: &TestGateway, version: Version, object: &str) -> Value {
    let (method, mut params) = match version {
        Version::V1_0 => ("SendMessage", message_v1("m")),
        Version::V0_3 => ("message/send", message_v03("m")),
    };
    params["message"]["parts"][0]["text"] = json!(object);
    let answer = gateway.post("a", call(method, params)).await;
    assert_eq!(answer.status, 200, "an admitted caller's errors are HTTP 200");
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.json()["error"].clone()
}

#[tokio::test]
async fn passes_every_code_of_an_agent_on_unchanged() {
    for (version, name) in [(Version::V1_0, "1.0"), (Version::V0_3, "0.3")] {
        let (_agent, gateway) = failing(name).await;
        let codes = KINDS.iter().map(|kind| i64::from(kind.row().jsonrpc)).chain([-32050, -31999, 0, 42]);
        for code in codes {
            let object = format!(r#"{{"message":"m","code":{code},"data":[{{"x":12345678901234567890}}],"more":1.0}}"#);
            let (method, mut params) = if version == Version::V1_0 {
                ("SendMessage", message_v1("m"))
            } else {
                ("message/send", message_v03("m"))
            };
            params["message"]["parts"][0]["text"] = json!(object);
            let answer = gateway.post("a", call(method, params)).await;
            assert_eq!(answer.text(), format!(r#"{{"jsonrpc":"2.0","id":1,"error":{object}}}"#), "byte for byte");
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn translates_an_agents_error_for_the_other_version() {
    let (_old, gateway) = failing("0.3").await;
    for kind in KINDS.into_iter().filter(|kind| kind.domain() == "a2a-protocol.org") {
        let row = kind.row();
        let object = format!(r#"{{"code":{},"message":"m","data":null}}"#, row.jsonrpc);
        let error = told(&gateway, Version::V1_0, &object).await;
        assert_eq!((&error["code"], &error["message"]), (&json!(row.jsonrpc), &json!("m")), "{kind:?}");
        assert_eq!(error["data"][0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(
            (&error["data"][0]["reason"], &error["data"][0]["domain"]),
            (&json!(row.reason), &json!("a2a-protocol.org"))
        );
    }
    gateway.finish().await;
    let (_new, gateway) = failing("1.0").await;
    for kind in KINDS.into_iter().filter(|kind| kind.domain() == "a2a-protocol.org") {
        let row = kind.row();
        let object = format!(r#"{{"code":{},"message":"m","data":[{{"@type":"x"}}]}}"#, row.jsonrpc);
        let error = told(&gateway, Version::V0_3, &object).await;
        assert_eq!(error["code"], row.legacy.jsonrpc, "{kind:?}");
        assert_eq!(error["data"], json!([{ "@type": "x" }]), "the agent's data is kept");
    }
    let own = told(&gateway, Version::V0_3, r#"{"code":4711,"message":"own","data":"d"}"#).await;
    assert_eq!(own, json!({ "code": 4711, "message": "own", "data": "d" }), "a code that nobody knows stays");
    gateway.finish().await;
}

#[tokio::test]
async fn has_an_http_status_before_the_caller_is_admitted() {
    let agent = FakeAgent::start(|seen| FakeReply::result(&seen, "{}")).await;
    let gateway = TestGateway::with(&[("a", &agent.url)]).await;
    let bearer = format!("Bearer {KEY}");
    let post = async |path: &str, headers: &[(&str, &str)]| {
        let answer = gateway.request(http::Method::POST, path, headers, call("SendMessage", message_v1("m"))).await;
        assert_eq!(answer.json()["jsonrpc"], "2.0", "a JSON-RPC error object in any case");
        assert_eq!(answer.json()["id"], Value::Null);
        answer
    };
    let anonymous = post("/a2a/a", &[]).await;
    assert_eq!(anonymous.status, 401);
    assert_eq!(anonymous.headers["www-authenticate"], "Bearer realm=\"switchboard\"");
    assert_eq!(anonymous.json()["error"]["data"][0]["reason"], "UNAUTHENTICATED");
    assert_eq!(post("/a2a/a", &[("authorization", "Bearer sk-wrong")]).await.status, 401);
    assert_eq!(post("/a2a/ghost", &[("authorization", &bearer)]).await.status, 404);
    assert_eq!(post("/a2a/ghost", &[]).await.status, 401, "who nobody knows learns nothing");
    assert_eq!(post("/a2a/a", &[("authorization", &bearer), ("content-type", "text/plain")]).await.status, 415);
    assert_eq!(post("/a2a/a", &[("authorization", &bearer), ("content-encoding", "gzip")]).await.status, 415);
    assert!(agent.calls().is_empty());
    gateway.finish().await;
}

#[tokio::test]
async fn never_reads_the_body_of_somebody_it_does_not_know() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let gateway = TestGateway::with(&[("a", "http://127.0.0.1:9")]).await;
    let address = gateway.base.trim_start_matches("http://").to_owned();
    let doors = [
        ("/a2a/a", "application/json", "HTTP/1.1 401 "),
        ("/a2a/a/message:send", "application/json", "HTTP/1.1 401 "),
        ("/a2a/a/lf.a2a.v1.A2AService/SendMessage", "application/json", "HTTP/1.1 401 "),
        ("/lf.a2a.v1.A2AService/SendMessage", "application/proto", "HTTP/1.1 401 "),
        // These two say it in their own words, under HTTP 200.
        ("/a2a/a/lf.a2a.v1.A2AService/SendStreamingMessage", "application/connect+json", "unauthenticated"),
        ("/a2a/a/lf.a2a.v1.A2AService/SendMessage", "application/grpc-web+proto", "grpc-status: 16"),
    ];
    let mut connections = Vec::new();
    for (path, content_type, expected) in doors.into_iter().cycle().take(200) {
        let address = address.clone();
        let connection = tokio::spawn(async move {
            let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {content_type}\r\ncontent-length: 16777216\r\n\r\n{{"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        });
        connections.push((connection, expected));
    }
    for (connection, expected) in connections {
        let answer = connection.await.unwrap();
        assert!(answer.contains(expected), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    gateway.finish().await;
}

#[test]
fn keeps_its_reasons_in_the_specifications_words() {
    for kind in KINDS {
        let reason = kind.row().reason;
        assert!(reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{reason}");
    }
    assert_eq!(Kind::TaskNotFound.row().jsonrpc, -32001);
}
