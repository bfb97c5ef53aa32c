//! What an idle stream costs in memory: two thousand of them through one gateway, over SSE and over gRPC.

use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prost::Message as _;
use switchboard::proto::{SendMessageRequest, StreamResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::machine::resident_kib;
use crate::payload::{self, Call};
use crate::process::free_port;
use crate::stage::{gateway, make_key};
use crate::{Outcome, machine};

const STREAMS: u32 = 2_000;
/// After the last stream was opened, until memory is read.
const SETTLE: Duration = Duration::from_secs(1);
const EVENT: &str = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;

/// Opens the streams, of each kind at a gateway of its own, and prints what each took.
///
/// # Errors
/// A stream did not begin.
pub fn measure() -> Outcome<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let runtime = Runtime::new()?;
    println!("\nIdle streams: {STREAMS} at once, each with one event so far.");
    println!("{:<34} {:>14} {:>14}   target", "", "KB per stream", "MB in all");
    for (name, is_grpc) in [("SSE over HTTP/1.1, both sides", false), ("gRPC, both sides", true)] {
        let (before, with) = runtime.block_on(of_kind(is_grpc))?;
        let each = (with - before) as f64 * 1024.0 / 1e3 / f64::from(STREAMS);
        println!("{name:<34} {each:>14.1} {:>14.1}   50", with as f64 * 1024.0 / 1e6);
    }
    Ok(())
}

/// Resident memory before and with the streams, in KiB.
async fn of_kind(is_grpc: bool) -> Outcome<(u64, u64)> {
    let directory = tempfile::Builder::new().prefix("switchboard-load").tempdir()?;
    let agent = if is_grpc { grpc_agent().await? } else { sse_agent().await? };
    let port = free_port()?;
    let scheme = if is_grpc { "grpc" } else { "http" };
    let config = format!(
        "listen: 127.0.0.1:{port}\nmaster_key: {}\nagents:\n\
         - {{ name: a, url: '{scheme}://127.0.0.1:{agent}', protocol_version: '1.0' }}\n",
        payload::MASTER_KEY
    );
    let command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    let mut process = gateway(directory.path(), command, &config)?;
    process.wait_for(port, "/health/ready")?;
    make_key(port)?;
    tokio::time::sleep(SETTLE).await;
    let before = resident_kib(process.id())?.0;
    let held = if is_grpc { grpc_streams(port).await? } else { sse_streams(port).await? };
    tokio::time::sleep(SETTLE).await;
    let with = resident_kib(process.id())?.0;
    machine::check(held.len() == STREAMS as usize, "every stream is open")?;
    Ok((before, with))
}

/// Streams that are kept open.
type Held = Vec<Box<dyn std::any::Any + Send>>;

async fn sse_streams(port: u16) -> Outcome<Held> {
    let body = payload::request(Call::Stream);
    let request = format!(
        "POST /a2a/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        payload::KEY,
        body.len()
    );
    let mut held: Held = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut begin = Vec::new();
        while !begin.windows(20).any(|window| window == b"\"TASK_STATE_WORKING\"") {
            if stream.read_buf(&mut begin).await? == 0 {
                return Err(format!("no stream: {}", String::from_utf8_lossy(&begin)).into());
            }
        }
        held.push(Box::new(stream));
    }
    Ok(held)
}

async fn grpc_streams(port: u16) -> Outcome<Held> {
    let params: serde_json::Value = serde_json::from_str(&payload::request(Call::Stream))?;
    let mut request: SendMessageRequest = serde_json::from_value(params["params"].clone())?;
    "a".clone_into(&mut request.tenant);
    let request = framed(&request.encode_to_vec());
    let mut held: Held = Vec::new();
    while held.len() < STREAMS as usize {
        // A connection takes 128 streams.
        let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<http_body_util::Full<Bytes>>();
        for _ in 0..100 {
            let request =
                hyper::Request::post(format!("http://127.0.0.1:{port}/lf.a2a.v1.A2AService/SendStreamingMessage"))
                    .header("authorization", format!("Bearer {}", payload::KEY))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(http_body_util::Full::new(request.clone()))?;
            let mut body = http2.request(request).await?.into_body();
            let first = body.frame().await.ok_or("no event")??;
            machine::check(first.is_data(), "a stream begins with an event")?;
            held.push(Box::new((body, http2.clone())));
        }
    }
    Ok(held)
}

/// An agent whose streams have one event and go on.
async fn sse_agent() -> Outcome<u16> {
    let body = move |id: serde_json::Value| {
        let event = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{EVENT}}}\n\n");
        Bytes::from(event)
    };
    serve(move |request: hyper::Request<Incoming>| async move {
        let whole = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let id = serde_json::from_slice::<serde_json::Value>(&whole).unwrap_or_default()["id"].clone();
        answer("text/event-stream", body(id))
    })
    .await
}

async fn grpc_agent() -> Outcome<u16> {
    let event: StreamResponse = serde_json::from_str(EVENT)?;
    let event = framed(&event.encode_to_vec());
    serve(move |_| {
        let event = event.clone();
        async move { answer("application/grpc", event) }
    })
    .await
}

type Endless = StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

fn answer(content_type: &'static str, first: Bytes) -> hyper::Response<Endless> {
    let first = futures_util::stream::iter([Ok(Frame::data(first))]);
    let body = StreamBody::new(first.chain(futures_util::stream::pending()).boxed());
    let mut response = hyper::Response::new(body);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(content_type));
    response
}

/// Serves on a port of the system's choice for as long as the runtime lives.
async fn serve<S, F>(answer: S) -> Outcome<u16>
where
    S: Fn(hyper::Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = hyper::Response<Endless>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let answer = Arc::new(answer);
    tokio::runtime::Handle::current().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            let service = hyper::service::service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            tokio::runtime::Handle::current().spawn(async move {
                let http = auto::Builder::new(TokioExecutor::new());
                drop(http.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    Ok(port)
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a small message");
    Bytes::from([&[0][..], &length.to_be_bytes(), message].concat())
}
