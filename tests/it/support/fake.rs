//! An agent that records what it gets and answers as it is told: for what no well-behaved peer would do.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A request as the agent got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn json(&self) -> serde_json::Value {
        super::json(&self.body)
    }

    /// The text of `params` as it stood in the body.
    pub fn raw_params(&self) -> String {
        let text = std::str::from_utf8(&self.body).expect("JSON is UTF-8");
        let envelope: std::collections::HashMap<&str, &serde_json::value::RawValue> =
            serde_json::from_str(text).expect("an object");
        envelope["params"].get().to_owned()
    }
}

pub enum FakeReply {
    /// Status, content type, body.
    Whole(u16, &'static str, String),
    /// With more headers.
    With(u16, Vec<(&'static str, String)>, String),
    /// A body whose pieces come through a channel; an error piece breaks the connection.
    Pieces(&'static str, mpsc::Receiver<io::Result<Bytes>>),
}

impl FakeReply {
    pub fn json(body: impl Into<String>) -> Self {
        Self::Whole(200, "application/json", body.into())
    }

    /// A result under the id of the request.
    pub fn result(seen: &Seen, result: &str) -> Self {
        Self::json(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.json()["id"]))
    }

    /// An error under the id of the request.
    pub fn error(seen: &Seen, error: &str) -> Self {
        Self::json(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, seen.json()["id"]))
    }

    /// A stream of results under the id of the request.
    pub fn events(seen: &Seen, results: &[&str]) -> Self {
        let id = seen.json()["id"].clone();
        let events =
            results.iter().map(|result| format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n\n"));
        Self::Whole(200, "text/event-stream", events.collect())
    }

    /// A stream that the test feeds.
    pub fn fed() -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(64);
        (sender, Self::Pieces("text/event-stream", receiver))
    }
}

type Script = dyn Fn(Seen) -> FakeReply + Send + Sync;

pub struct FakeAgent {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _running: DropGuard,
}

#[derive(Clone)]
struct Shared {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl FakeAgent {
    /// Starts an agent that answers POSTs as `script` says and has no card.
    pub async fn start(script: impl Fn(Seen) -> FakeReply + Send + Sync + 'static) -> Self {
        let not_found = || FakeReply::Whole(404, "text/plain", "no".into());
        Self::raw(move |seen| if seen.method == Method::POST { script(seen) } else { not_found() }).await
    }

    /// Starts an agent that answers everything as `script` says.
    pub async fn raw(script: impl Fn(Seen) -> FakeReply + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free"), script)
    }

    /// Starts an agent on a port that is open already.
    pub fn on(listener: TcpListener, script: impl Fn(Seen) -> FakeReply + Send + Sync + 'static) -> Self {
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let shared = Shared { script: Arc::new(script), seen: Arc::default() };
        let seen = Arc::clone(&shared.seen);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let app = Router::new().fallback(answer).with_state(shared);
        tokio::spawn(async move {
            tokio::select! {
                _ = axum::serve(listener, app) => {}
                () = stopped => {}
            }
        });
        Self { url: format!("http://{address}"), seen, _running: stop.drop_guard() }
    }

    /// The POSTs so far.
    pub fn calls(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.method == Method::POST).cloned().collect()
    }

    pub fn last(&self) -> Seen {
        self.calls().pop().expect("the agent was called")
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let seen = Seen { method: head.method, path: head.uri.to_string(), headers: head.headers, body };
    shared.seen.lock().unwrap().push(seen.clone());
    match (shared.script)(seen) {
        FakeReply::Whole(status, content_type, body) => {
            Response::builder().status(status).header("content-type", content_type).body(Body::from(body)).unwrap()
        }
        FakeReply::With(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        FakeReply::Pieces(content_type, pieces) => {
            let pieces =
                futures_util::stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
            Response::builder().header("content-type", content_type).body(Body::from_stream(pieces)).unwrap()
        }
    }
}

/// An event as an agent frames it.
#[expect(clippy::unnecessary_wraps, reason = "what a fed stream takes")]
pub fn event(id: i64, result: &str) -> io::Result<Bytes> {
    Ok(Bytes::from(format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n\n")))
}
