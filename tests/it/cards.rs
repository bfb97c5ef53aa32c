//! Cards: the agent's words, our address.

use serde_json::{Value, json};

use crate::support::gateway::{KEY, TestGateway, message_v1};
use crate::support::{FakeAgent, FakeReply, Seen};

const CARD: &str = r#"{"name":"Weather","description":"knows","version":"3","supportedInterfaces":[{"url":"URL/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"},{"url":"http://10.9.8.7/grpc","protocolBinding":"GRPC","protocolVersion":"1.0"}],
    "capabilities":{"streaming":true},"defaultInputModes":["text/plain"],"defaultOutputModes":["text/plain"],"skills":[{"id":"s","name":"s","description":"d","tags":["t"]}],
    "securitySchemes":{"x":{"apiKeySecurityScheme":{"location":"header","name":"internal"}}},"signatures":[{"protected":"p","signature":"s"}]}"#;

/// An agent with a card at `path`, whose RPC is at `/rpc`.
async fn with_card(path: &'static str, card: &'static str) -> FakeAgent {
    FakeAgent::raw(move |seen: Seen| {
        let host = seen.headers["host"].to_str().unwrap().to_owned();
        match seen.method.as_str() {
            "GET" if seen.path == path => FakeReply::json(card.replace("URL", &format!("http://{host}"))),
            "POST" if seen.path == "/rpc" => FakeReply::result(
                &seen,
                r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#,
            ),
            _ => FakeReply::Whole(404, "text/plain", "no".into()),
        }
    })
    .await
}

#[tokio::test]
async fn serves_the_agents_card_with_its_own_address() {
    let agent = with_card("/.well-known/agent-card.json", CARD).await;
    let gateway = TestGateway::with(&[("weather", &agent.url)]).await;
    for path in [
        "/a2a/weather/.well-known/agent-card.json",
        "/a2a/weather/.well-known/agent.json",
        "/v1/a2a/weather/.well-known/agent-card.json",
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["vary"]),
            (200, &"A2A-Version, Authorization".parse().unwrap())
        );
        let card = answer.json();
        assert_eq!((&card["name"], &card["skills"][0]["id"]), (&json!("Weather"), &json!("s")));
        assert_eq!(card["url"], format!("{}/a2a/weather", gateway.base), "0.3 clients read this");
        let interfaces = card["supportedInterfaces"].as_array().unwrap();
        let text = |i: &Value, name: &str| i[name].as_str().unwrap_or_default().to_owned();
        let offered: Vec<_> = interfaces
            .iter()
            .map(|i| ["protocolBinding", "protocolVersion", "url", "tenant"].map(|name| text(i, name)).join(" "))
            .collect();
        let (base, host) = (&gateway.base, gateway.base.trim_start_matches("http://"));
        let expected = [
            format!("JSONRPC 1.0 {base}/a2a/weather "),
            format!("HTTP+JSON 1.0 {base}/a2a/weather "),
            format!("GRPC 1.0 {host} weather"),
            format!("JSONRPC 0.3 {base}/a2a/weather "),
            format!("HTTP+JSON 0.3 {base}/a2a/weather "),
        ];
        assert_eq!(offered, expected);
        for leak in ["10.9.8.7", "internal", "signature", agent.url.trim_start_matches("http://")] {
            assert!(!answer.text().contains(leak), "{leak} in {}", answer.text());
        }
    }
    gateway.finish().await;
}

#[tokio::test]
async fn serves_pure_1_0_to_those_who_name_it_and_refuses_other_versions() {
    let agent = with_card("/.well-known/agent-card.json", CARD).await;
    let gateway = TestGateway::with(&[("weather", &agent.url)]).await;
    let bearer = format!("Bearer {KEY}");
    let get = async |version: &str| {
        let headers = [("authorization", bearer.as_str()), ("a2a-version", version)];
        gateway.request(http::Method::GET, "/a2a/weather/.well-known/agent-card.json", &headers, "").await
    };
    let pure = get("1.0").await.json();
    assert!(pure.get("url").is_none() && pure.get("protocolVersion").is_none(), "{pure}");
    assert!(get("0.3").await.json().get("url").is_some());
    assert_eq!(get("7.0").await.status, 400);
    let head = gateway
        .request(http::Method::HEAD, "/a2a/weather/.well-known/agent-card.json", &[("x-api-key", KEY)], "")
        .await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    gateway.finish().await;
}

#[tokio::test]
async fn calls_the_agent_where_its_card_says_at_the_same_origin() {
    let agent = with_card("/.well-known/agent-card.json", CARD).await;
    // The card is at the origin, the registered address is a path.
    let gateway = TestGateway::with(&[("weather", &format!("{}/some/base", agent.url))]).await;
    assert!(gateway.rpc("weather", "SendMessage", message_v1("m")).await.get("result").is_some());
    assert_eq!(agent.last().path, "/rpc");
    gateway.finish().await;
}

#[tokio::test]
async fn reads_a_legacy_card_at_the_legacy_path() {
    let old = r#"{"name":"Old","description":"d","url":"URL/rpc","version":"1","capabilities":{},"defaultInputModes":[],"defaultOutputModes":[],"skills":[]}"#;
    let agent = with_card("/.well-known/agent.json", old).await;
    let mut gateway = TestGateway::with(&[("old", &agent.url)]).await;
    let reply = gateway.rpc("old", "SendMessage", message_v1("m")).await;
    // It answers in 1.0, which its card denies, and is understood all the same.
    assert_eq!(reply["result"]["task"]["id"], "t", "{reply}");
    assert_eq!(agent.last().json()["method"], "message/send");
    assert_eq!(gateway.record().await.agent_version, Some("0.3"));
    gateway.finish().await;
}

#[tokio::test]
async fn makes_up_a_card_when_there_is_none_that_can_be_read() {
    let bad: &[(u16, &str, &str)] = &[
        (404, "", "no"),
        (500, "", "oops"),
        (200, "", "{not json"),
        (200, "", r#"{"name":7}"#),
        (304, "", ""),
        (200, "gzip", "\u{1f}"),
        (302, "", ""),
    ];
    for &(status, encoding, body) in bad {
        let agent = FakeAgent::raw(move |seen: Seen| match seen.method.as_str() {
            "GET" => FakeReply::With(
                status,
                vec![("content-encoding", encoding.to_owned()), ("location", "http://203.0.113.1/".into())],
                body.into(),
            ),
            _ => FakeReply::result(&seen, r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"completed"}}"#),
        })
        .await;
        let gateway =
            TestGateway::start(&format!("agents:\n- {{name: a, url: '{}', description: 'from the entry'}}", agent.url))
                .await;
        let card = gateway.get("/a2a/a/.well-known/agent-card.json").await;
        assert_eq!(card.status, 200, "{status}: {}", card.text());
        assert_eq!((&card.json()["name"], &card.json()["description"]), (&json!("a"), &json!("from the entry")));
        let reply = gateway.rpc("a", "SendMessage", message_v1("m")).await;
        assert_eq!(reply["result"]["task"]["status"]["state"], "TASK_STATE_COMPLETED", "it is called as 0.3: {reply}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn reads_a_card_once_however_many_ask() {
    let reads = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&reads);
    let agent = FakeAgent::raw(move |seen: Seen| {
        if seen.method == http::Method::GET {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        FakeReply::json(CARD.replace("URL", "http://127.0.0.1:1"))
    })
    .await;
    let gateway = TestGateway::with(&[("a", &agent.url)]).await;
    let asked = (0..20).map(|_| gateway.get("/a2a/a/.well-known/agent-card.json"));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(reads.load(std::sync::atomic::Ordering::SeqCst), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn rewrites_the_extended_card_too() {
    let agent =
        FakeAgent::start(|seen| FakeReply::result(&seen, &CARD.replace("URL", "http://10.1.1.1").replace('\n', " ")))
            .await;
    let config = format!("agents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url);
    let gateway = TestGateway::start(&config).await;
    for (method, url) in
        [("GetExtendedAgentCard", "/supportedInterfaces/0/url"), ("agent/getAuthenticatedExtendedCard", "/url")]
    {
        let reply = gateway.rpc("a", method, json!({})).await;
        assert_eq!(reply["result"].pointer(url), Some(&json!(format!("{}/a2a/a", gateway.base))), "{reply}");
        assert!(!reply.to_string().contains("10.1.1.1") && !reply.to_string().contains("10.9.8.7"), "{reply}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn sends_the_agents_credentials_to_its_own_origin_only() {
    let other = FakeAgent::raw(|_| FakeReply::json(CARD.replace("URL", "http://127.0.0.1:1"))).await;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&seen);
    let elsewhere = FakeAgent::raw(move |request: Seen| {
        log.lock().unwrap().push(request.headers.contains_key("x-secret"));
        FakeReply::json(CARD.replace("URL", "http://127.0.0.1:1"))
    })
    .await;
    let config = format!(
        "agents:\n- {{name: a, url: '{}', card_url: '{}/card', headers: {{x-secret: s}}}}",
        other.url, elsewhere.url
    );
    let gateway = TestGateway::start(&config).await;
    assert_eq!(gateway.get("/a2a/a/.well-known/agent-card.json").await.json()["name"], "Weather");
    assert_eq!(*seen.lock().unwrap(), [false]);
    gateway.finish().await;
}

#[tokio::test]
async fn answers_conditional_requests_by_tag_and_by_time() {
    let agent = with_card("/.well-known/agent-card.json", CARD).await;
    let gateway = TestGateway::with(&[("weather", &agent.url)]).await;
    let bearer = format!("Bearer {KEY}");
    let get = async |headers: &[(&str, &str)]| {
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        gateway.request(http::Method::GET, "/a2a/weather/.well-known/agent-card.json", &all, "").await
    };
    let text = |answer: &crate::support::gateway::Answer, name: &str| answer.headers[name].to_str().unwrap().to_owned();
    let hybrid = get(&[]).await;
    assert_eq!(text(&hybrid, "cache-control"), "private, max-age=60");
    let (tag, time) = (text(&hybrid, "etag"), text(&hybrid, "last-modified"));
    for known in [
        &[("if-none-match", tag.as_str())][..],
        &[("if-none-match", &format!("\"x\", W/{tag}"))],
        &[("if-none-match", "*")],
        &[("if-modified-since", &time)],
    ] {
        let unchanged = get(known).await;
        assert_eq!(
            (unchanged.status.as_u16(), unchanged.body.len(), text(&unchanged, "etag")),
            (304, 0, tag.clone()),
            "{known:?}"
        );
    }
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for unknown in [
        &[("if-none-match", "\"x\"")][..],
        &[("if-modified-since", old)],
        &[("if-none-match", "\"x\""), ("if-modified-since", &time)],
    ] {
        assert_eq!(get(unknown).await.status, 200, "{unknown:?}");
    }
    let pure = get(&[("a2a-version", "1.0"), ("if-none-match", &tag)]).await;
    assert_eq!(pure.status, 200, "another version is another card");
    let head = gateway
        .request(http::Method::HEAD, "/a2a/weather/.well-known/agent-card.json", &[("authorization", &bearer)], "")
        .await;
    assert_eq!((head.status.as_u16(), head.body.len(), text(&head, "etag")), (200, 0, tag));
    gateway.finish().await;
}
