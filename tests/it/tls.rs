//! Agents behind TLS: verified against the system's authorities, over HTTP/1.1 and HTTP/2.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::json;

/// A 1.0 agent on `localhost` that speaks `protocol` only and says which HTTP version it was called in. Its own
/// certificate, as PEM, and its address.
async fn agent(protocol: &'static [u8]) -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(answer);
                drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (cert.pem(), url)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let version = request.version();
    let body = request.into_body().collect().await?.to_bytes();
    let id = json(&body)["id"].clone();
    let result = format!(r#"{{"message":{{"messageId":"m","role":"ROLE_AGENT","parts":[{{"text":"{version:?}"}}]}}}}"#);
    let reply = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    Ok(Response::builder().header("content-type", "application/json").body(Full::new(Bytes::from(reply))).unwrap())
}

/// Serves `url` with these authorities and calls it once: exit code, and what was printed.
async fn called(url: &str, authorities: &str) -> (Option<i32>, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut pem = tempfile::NamedTempFile::new().unwrap();
    pem.write_all(authorities.as_bytes()).unwrap();
    let mut config = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "listen: {address}\nmaster_key: sk-1\nstore: {{url: memory}}\nagents:\n- {{name: a, url: '{url}', protocol_version: '1.0'}}\n"
    );
    config.write_all(text.as_bytes()).unwrap();
    let url = format!("http://{address}");
    tokio::task::spawn_blocking(move || {
        let binary = env!("CARGO_BIN_EXE_switchboard");
        let mut server = Command::new(binary)
            .args(["serve", "--config"])
            .arg(config.path())
            .env("SSL_CERT_FILE", pem.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = loop {
            let output =
                Command::new(binary).args(["call", "a", "hi", "--key", "sk-1", "--url", &url]).output().unwrap();
            // 69: it does not listen yet.
            if output.status.code() != Some(69) {
                break output;
            }
        };
        server.kill().unwrap();
        server.wait().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn calls_agents_over_tls_in_the_http_version_that_they_speak() {
    for (protocol, version) in [(&b"http/1.1"[..], "HTTP/1.1"), (b"h2", "HTTP/2.0")] {
        let (certificate, url) = agent(protocol).await;
        let (code, printed) = called(&url, &certificate).await;
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains(version), "{printed}");
    }
}

#[tokio::test]
async fn refuses_an_agent_that_it_cannot_verify() {
    let (_, url) = agent(b"http/1.1").await;
    let (other, _) = agent(b"http/1.1").await;
    let (code, printed) = called(&url, &other).await;
    assert_eq!(code, Some(1));
    assert!(printed.contains("the agent cannot be reached; nothing was sent"), "{printed}");
    assert!(!printed.contains("localhost"), "no upstream address: {printed}");
}
