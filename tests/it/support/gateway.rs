//! The real server on port 0, with a caller.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use switchboard::config;
use switchboard::ledger::{Entry, Sink};
use switchboard::server::Server;
use switchboard::wire::grpc::Encoded;
use switchboard::wire::grpc::service::a2_a_service_client::A2AServiceClient;
use switchboard::wire::grpc::service_v0_3::a2_a_service_client::A2AServiceClient as OldClient;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::grpc::{self, Http2};
use super::json;

/// The key that may call every agent of a test gateway.
pub const KEY: &str = "sk-test";

pub struct TestGateway {
    server: Option<Server>,
    pub base: String,
    /// Whose calls are made where none is named.
    pub key: String,
    records: UnboundedReceiver<Box<Entry>>,
    http: Client<HttpConnector, Full<Bytes>>,
    grpc: A2AServiceClient<Http2>,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        json(&self.body)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The data of each event in it.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| json(data.as_bytes())).collect()
    }
}

/// A port that nobody else gets as long as this lives: bound without listening, it keeps away everybody but a listener that
/// asks for this port.
pub struct Port(tokio::net::TcpSocket);

impl Port {
    pub fn reserve() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of sockets");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        Self(socket)
    }

    pub fn address(&self) -> String {
        self.0.local_addr().expect("it is bound").to_string()
    }
}

impl TestGateway {
    /// Starts a gateway with `agents`, given as `(name, url)`.
    pub async fn with(agents: &[(&str, &str)]) -> Self {
        let entries: String = agents.iter().map(|(name, url)| format!("- {{name: {name}, url: '{url}'}}\n")).collect();
        Self::start(&format!("agents:\n{entries}")).await
    }

    /// Starts a gateway with this configuration; port and master key are the test's.
    pub async fn start(config: &str) -> Self {
        Self::start_at("127.0.0.1:0", config).await
    }

    /// The same at an address that is known before it starts, for agents that call it: see [`Port`].
    pub async fn start_at(listen: &str, config: &str) -> Self {
        let store =
            if config.contains("\nstore:") || config.starts_with("store:") { "" } else { "store: {url: memory}\n" };
        let config = format!("listen: {listen}\nmaster_key: {KEY}\n{store}{config}");
        let settings = config::parse(&config, &|_| None).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let (sink, records) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(settings, Some(Sink::Channel(sink))).await.expect("port 0 is free");
        let base = format!("http://{}", server.address());
        let http = Client::builder(TokioExecutor::new()).build_http();
        let grpc = grpc::client(&base);
        Self { server: Some(server), base, key: KEY.to_owned(), records, http, grpc }
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (head, body) = self.open(method, path, headers, body).await.into_parts();
        let body =
            timeout(Duration::from_secs(20), body.collect()).await.expect("the response ends").expect("it is whole");
        Answer { status: head.status, headers: head.headers, body: body.to_bytes() }
    }

    /// A response whose body is still to come.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a well-formed request");
        timeout(Duration::from_secs(20), self.http.request(request))
            .await
            .expect("a response in time")
            .expect("a response")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[("authorization", &format!("Bearer {}", self.key))], Bytes::new()).await
    }

    /// Calls a method of the admin API, such as `KeyService/CreateKey`, with this key.
    pub async fn admin_as(&self, key: &str, method: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.request(Method::POST, &format!("/switchboard.v1.{method}"), &headers, body.to_string()).await
    }

    /// Calls a method of the admin API with the master key; it must be answered.
    pub async fn admin(&self, method: &str, body: Value) -> Value {
        let answer = self.admin_as(KEY, method, body).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        answer.json()
    }

    /// Makes a key that is `key`, and returns its value.
    pub async fn new_key(&self, key: Value) -> String {
        self.admin("KeyService/CreateKey", json!({ "key": key })).await["secret"].as_str().expect("a value").to_owned()
    }

    /// The status of a call of an agent with this key.
    pub async fn call_as(&self, key: &str, agent: &str) -> u16 {
        let bearer = format!("Bearer {key}");
        let body = call("SendMessage", message_v1("m"));
        self.post_with(agent, &[("authorization", &bearer)], body).await.status.as_u16()
    }

    /// Posts a body to an agent as an admitted caller.
    pub async fn post(&self, agent: &str, body: impl Into<Bytes>) -> Answer {
        self.post_with(agent, &[], body).await
    }

    pub async fn post_with(&self, agent: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut all = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        all.retain(|(name, _)| !headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
        all.extend_from_slice(headers);
        self.request(Method::POST, &format!("/a2a/{agent}"), &all, body).await
    }

    /// Makes a JSON-RPC call with id 1; the whole reply.
    pub async fn rpc(&self, agent: &str, method: &str, params: Value) -> Value {
        let answer = self.post(agent, call(method, params)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// A caller that can be used while the gateway is being stopped: posts a body and returns the text of the answer.
    pub fn caller(
        &self,
    ) -> impl Fn(&'static str, String) -> futures_util::future::BoxFuture<'static, String> + Send + Sync + use<> {
        let (base, http) = (self.base.clone(), self.http.clone());
        move |agent, body| {
            let request = Request::post(format!("{base}/a2a/{agent}"))
                .header("authorization", format!("Bearer {KEY}"))
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)))
                .expect("a well-formed request");
            let response = http.request(request);
            Box::pin(async move {
                let body = response.await.expect("a response").into_body().collect().await.expect("a whole body");
                String::from_utf8_lossy(&body.to_bytes()).into_owned()
            })
        }
    }

    /// Opens a stream.
    pub async fn stream(&self, agent: &str, method: &str, params: Value) -> http::Response<Incoming> {
        let bearer = format!("Bearer {KEY}");
        let headers =
            [("authorization", bearer.as_str()), ("content-type", "application/json"), ("accept", "text/event-stream")];
        self.open(Method::POST, &format!("/a2a/{agent}"), &headers, call(method, params)).await
    }

    /// A generated gRPC client of this gateway.
    pub fn grpc(&self) -> A2AServiceClient<Http2> {
        self.grpc.clone()
    }

    /// A generated client of 0.3.
    pub fn old_grpc(&self) -> OldClient<Http2> {
        super::grpc::old_client(&self.base)
    }

    /// The next record of a call.
    pub async fn record(&mut self) -> Box<Entry> {
        timeout(Duration::from_secs(5), self.records.recv()).await.expect("a record in time").expect("the ledger runs")
    }

    pub fn open_calls(&self) -> usize {
        self.server.as_ref().expect("it runs").open_calls()
    }

    /// Stops the gateway with whatever is under way; its records can still be read.
    pub async fn stop_now(&mut self) {
        self.http = Client::builder(TokioExecutor::new()).build_http();
        self.grpc = grpc::client(&self.base);
        self.server.take().expect("it runs").stop().await;
    }

    /// Stops the gateway and checks that nothing is left open.
    pub async fn finish(mut self) {
        // Idle connections of the test's own would be waited for.
        self.http = Client::builder(TokioExecutor::new()).build_http();
        self.grpc = grpc::client(&self.base);
        let server = self.server.take().expect("it runs");
        let open = server.open_calls();
        timeout(Duration::from_secs(30), server.stop()).await.expect("the server stops");
        assert_eq!(open, 0, "every call was closed");
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        assert!(self.server.is_none() || std::thread::panicking(), "end the test with gateway.finish().await");
    }
}

/// A gRPC request of an admitted caller.
pub fn grpc_request<T>(bytes: Bytes) -> tonic::Request<Encoded<T>> {
    grpc_request_as(KEY, bytes)
}

/// A gRPC request with this key.
pub fn grpc_request_as<T>(key: &str, bytes: Bytes) -> tonic::Request<Encoded<T>> {
    let mut request = tonic::Request::new(Encoded::new(bytes));
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {key}").parse().expect("a value"));
    metadata.insert("a2a-version", "1.0".parse().expect("a value"));
    request
}

/// A JSON-RPC request with id 1.
#[expect(clippy::needless_pass_by_value, reason = "callers make the params in place")]
pub fn call(method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

/// The params of a 1.0 send.
pub fn message_v1(id: &str) -> Value {
    json!({ "message": { "messageId": id, "role": "ROLE_USER", "parts": [{ "text": "hi" }] } })
}

/// The params of a 0.3 send.
pub fn message_v03(id: &str) -> Value {
    json!({ "message": { "kind": "message", "messageId": id, "role": "user", "parts": [{ "kind": "text", "text": "hi" }] } })
}
