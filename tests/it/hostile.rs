//! What protobuf can carry and JSON cannot, ids that lead elsewhere in a path, and agents that answer to do harm.

use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use serde_json::json;
use switchboard::operation::Rpc;
use switchboard::proto;
use tonic::{Code, Status};

use crate::support::gateway::{KEY, TestGateway, grpc_request, message_v1, message_v03};
use crate::support::grpc::{FakeGrpcAgent, Said};
use crate::support::{FakeAgent, FakeReply};

fn not_a_number() -> proto::Struct {
    let value = proto::Value { kind: Some(proto::value::Kind::NumberValue(f64::NAN)) };
    proto::Struct { fields: [("x".to_owned(), value)].into() }
}

fn message(tenant: &str) -> proto::SendMessageRequest {
    let part = proto::Part { content: Some(proto::part::Content::Text("hi".into())), ..Default::default() };
    let message = proto::Message { message_id: "m".into(), role: 1, parts: vec![part], ..Default::default() };
    proto::SendMessageRequest { tenant: tenant.into(), message: Some(message), ..Default::default() }
}

async fn sent(gateway: &TestGateway, request: proto::SendMessageRequest) -> Result<Bytes, Status> {
    let request = grpc_request(request.encode_to_vec().into());
    gateway.grpc().send_message(request).await.map(|answer| answer.into_inner().bytes)
}

#[tokio::test]
async fn refuses_what_an_agent_of_json_could_not_be_told() {
    let agent = FakeAgent::start(|_| panic!("it must not be called")).await;
    let url = &agent.url;
    let entries = format!(
        "agents:\n\
         - {{name: jsonrpc, url: '{url}', protocol_version: '1.0'}}\n\
         - {{name: rest, url: '{url}', protocol_version: '1.0', bindings: [http_json]}}\n\
         - {{name: old, url: '{url}', protocol_version: '0.3'}}"
    );
    let gateway = TestGateway::start(&entries).await;
    for agent in ["jsonrpc", "rest", "old"] {
        let status =
            sent(&gateway, proto::SendMessageRequest { metadata: Some(not_a_number()), ..message(agent) }).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{agent}: {status:?}");
        assert!(status.message().contains("not finite"), "{agent}: {status:?}");
    }
    for agent in ["jsonrpc", "rest"] {
        let time = Some(proto::Timestamp { seconds: 1, nanos: 2_000_000_000 });
        let list = proto::ListTasksRequest { tenant: agent.into(), status_timestamp_after: time, ..Default::default() };
        let status = gateway.grpc().list_tasks(grpc_request(list.encode_to_vec().into())).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{agent}: {status:?}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn survives_agents_whose_answers_cannot_be_told_or_read() {
    let agent = FakeGrpcAgent::start(|heard| {
        let task = proto::Task {
            id: "t".into(),
            context_id: "c".into(),
            status: Some(proto::TaskStatus { state: 3, ..Default::default() }),
            metadata: Some(not_a_number()),
            ..Default::default()
        };
        if heard.rpc == Rpc::SendMessage {
            let payload = Some(proto::send_message_response::Payload::Task(task));
            return Said::message(&proto::SendMessageResponse { payload });
        }
        let payload = Some(proto::stream_response::Payload::Task(task));
        let event = proto::StreamResponse { payload }.encode_to_vec();
        Said::Stream(futures_util::stream::iter([Ok(Bytes::from(event))]).boxed())
    })
    .await;
    let mut gateway = TestGateway::start(&format!("agents:\n- {{name: a, url: '{}'}}", agent.address())).await;
    assert!(sent(&gateway, message("a")).await.is_ok(), "who speaks protobuf gets it as it is");
    assert_eq!(gateway.record().await.error, None);
    for (method, params) in [("SendMessage", message_v1("m")), ("message/send", message_v03("m"))] {
        let reply = gateway.rpc("a", method, params).await;
        assert_eq!(reply["error"]["code"], -32006, "{method}: {reply}");
        assert_eq!(gateway.record().await.error, Some("INVALID_AGENT_RESPONSE"), "and the record says so");
    }
    let stream = gateway.post("a", crate::support::gateway::call("SendStreamingMessage", message_v1("m"))).await;
    assert!(stream.text().contains("-32006"), "{}", stream.text());
    assert_eq!(gateway.record().await.error, Some("INVALID_AGENT_RESPONSE"));
    gateway.finish().await;
}

/// A peer that answers gRPC with broken details, over the bare protocol, for no library writes such.
async fn with_details(details: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            tokio::spawn(async move {
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let in_trailers = request.uri().path().ends_with("GetTask");
                    let mut status = http::HeaderMap::new();
                    status.insert("grpc-status", http::HeaderValue::from_static("5"));
                    status.insert("grpc-status-details-bin", http::HeaderValue::from_static(details));
                    let mut head =
                        http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                    if !in_trailers {
                        head.headers_mut().extend(status.clone());
                    }
                    let mut body = respond.send_response(head, !in_trailers).unwrap();
                    if in_trailers {
                        body.send_trailers(status).unwrap();
                    }
                }
            });
        }
    });
    format!("grpc://{address}")
}

#[tokio::test]
async fn survives_statuses_whose_details_are_no_base64() {
    for details in ["!!!", "a", "=", "AAAA"] {
        let agent = with_details(details).await;
        let gateway = TestGateway::start(&format!("agents:\n- {{name: a, url: '{agent}'}}")).await;
        let status = sent(&gateway, message("a")).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{details}: {status:?}");
        let get = proto::GetTaskRequest { tenant: "a".into(), id: "t".into(), ..Default::default() };
        let status = gateway.grpc().get_task(grpc_request(get.encode_to_vec().into())).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{details}: {status:?}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn bounds_what_an_agents_error_puts_into_headers() {
    let long = "x".repeat(1 << 20);
    let agent = FakeAgent::start(move |seen| {
        let violations: Vec<_> =
            (0..200).map(|at| json!({ "field": format!("f{at}"), "description": "y".repeat(1_000) })).collect();
        let error = json!({ "code": -32602, "message": long, "data": [
            { "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations },
        ]});
        FakeReply::error(&seen, &error.to_string())
    })
    .await;
    let gateway =
        TestGateway::start(&format!("agents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url)).await;
    let status = sent(&gateway, message("a")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message().len());
    assert!(status.message().len() <= 1_024 && status.details().len() <= 4_096);
    gateway.finish().await;
}

#[tokio::test]
async fn never_leads_elsewhere_in_an_agents_address() {
    let agent = FakeAgent::start(|seen| panic!("called at {}", seen.path)).await;
    let config = format!(
        "agents:\n- {{name: a, url: '{0}/agents/a', protocol_version: '1.0', bindings: [http_json]}}\n\
         - {{name: r, url: '{0}', protocol_version: '1.0'}}",
        agent.url
    );
    let gateway = TestGateway::start(&config).await;
    for agent in ["a", "r"] {
        for (method, params) in [
            ("GetTask", json!({ "id": ".." })),
            ("GetTask", json!({ "id": "a/../b" })),
            ("GetTask", json!({ "id": "a\\..\\b" })),
            ("CancelTask", json!({ "id": "." })),
            ("SubscribeToTask", json!({ "id": "../x" })),
            ("DeleteTaskPushNotificationConfig", json!({ "taskId": "t", "id": ".." })),
            ("GetTaskPushNotificationConfig", json!({ "taskId": "..", "id": "p" })),
            ("GetTask", json!({ "id": "t", "tenant": format!("{agent}/../b") })),
            ("GetTask", json!({ "id": "t", "tenant": format!("{agent}//b") })),
            ("GetTask", json!({ "id": "t", "tenant": format!("{agent}/{}", "x".repeat(300)) })),
        ] {
            let reply = gateway.rpc(agent, method, params.clone()).await;
            assert_eq!(reply["error"]["code"], -32602, "{agent} {method} {params}: {reply}");
        }
    }
    // An old caller may leave the config's id out, which has no address in HTTP+JSON.
    let reply = gateway.rpc("a", "tasks/pushNotificationConfig/get", json!({ "id": "t" })).await;
    assert!(reply["error"].is_object(), "{reply}");
    let bearer = format!("Bearer {KEY}");
    let path = "/a2a/a/tasks/a%2F..%2Fb";
    let answer = gateway.request(http::Method::GET, path, &[("authorization", &bearer)], "").await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    gateway.finish().await;
}

#[tokio::test]
async fn sends_nothing_when_the_deadline_has_passed() {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"message":{"messageId":"r","role":"ROLE_AGENT","parts":[{"text":"x"}]}}"#)
    })
    .await;
    let mut gateway =
        TestGateway::start(&format!("agents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}", agent.url)).await;
    // So that there is a connection that could take the request at once.
    assert!(sent(&gateway, message("a")).await.is_ok());
    gateway.record().await;
    for _ in 0..20 {
        let mut request = grpc_request(message("a").encode_to_vec().into());
        request.metadata_mut().insert("grpc-timeout", "1n".parse().unwrap());
        assert_eq!(gateway.grpc().send_message(request).await.unwrap_err().code(), Code::DeadlineExceeded);
        let record = gateway.record().await;
        assert_eq!((record.error, record.sent), (Some("DEADLINE_EXCEEDED"), Some("not_sent")));
    }
    assert_eq!(agent.calls().len(), 1);
    gateway.finish().await;
}
