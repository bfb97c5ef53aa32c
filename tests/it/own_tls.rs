//! Our own TLS: both HTTP versions by ALPN, a certificate that changes, callers with certificates; and agents behind
//! an authority of their own.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::support::gateway::{KEY, TestGateway};
use crate::support::{FakeAgent, FakeReply};

/// An authority that issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name` with its key.
    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// Writes a certificate for localhost and its key into `folder`.
    fn write(&self, folder: &Path) -> CertificateDer<'static> {
        let (certificate, key) = self.issue("localhost");
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        certificate.der().clone()
    }
}

fn client(trusts: &Authority, protocols: &[&[u8]], identity: Option<(&Authority, &str)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.0.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((authority, name)) => {
            let (certificate, key) = authority.issue(name);
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

fn address(gateway: &TestGateway) -> String {
    gateway.base.trim_start_matches("http://").to_owned()
}

async fn connect(gateway: &TestGateway, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address(gateway)).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// The card of the agent `a`, over whatever the connection agreed on.
async fn card(stream: TlsStream<TcpStream>, host: &str) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let request = Request::get(format!("https://{host}/a2a/a/.well-known/agent-card.json"));
    let request = request.header("authorization", format!("Bearer {KEY}"));
    let response = if is_http2 {
        let (mut sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        sender.send_request(request.body(Full::new(Bytes::new()))?).await?
    } else {
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        sender.send_request(request.header("host", host).body(Full::new(Bytes::new()))?).await?
    };
    Ok(serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?)
}

fn config(folder: &TempDir, more: &str) -> String {
    let folder = folder.path().display();
    format!(
        "tls: {{cert_file: '{folder}/cert.pem', key_file: '{folder}/key.pem', reload_ms: 50{more}}}\nagents:\n- {{name: a, url: 'http://127.0.0.1:9'}}"
    )
}

#[tokio::test]
async fn serves_both_versions_of_http_and_says_so_in_cards() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(folder.path());
    let gateway = TestGateway::start(&config(&folder, "")).await;
    for protocols in [&[b"h2".as_slice()][..], &[b"http/1.1"], &[b"h2", b"http/1.1"], &[]] {
        let stream = connect(&gateway, client(&authority, protocols, None)).await.unwrap();
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed.as_deref(), protocols.first().copied(), "the first one that both speak");
        let card = card(stream, "localhost:8443").await.unwrap();
        let urls: Vec<_> =
            card["supportedInterfaces"].as_array().unwrap().iter().map(|i| i["url"].as_str().unwrap()).collect();
        let at = "https://localhost:8443/a2a/a";
        assert_eq!(urls, [at, at, "localhost:8443", at, at]);
    }
    let plain = TcpStream::connect(address(&gateway)).await.unwrap();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(plain)).await.unwrap();
    tokio::spawn(driver);
    let request = Request::get("/health/live").header("host", "x").body(Full::<Bytes>::default()).unwrap();
    assert!(sender.send_request(request).await.is_err(), "nothing is served without TLS");
    gateway.finish().await;
}

#[tokio::test]
async fn uses_a_new_certificate_for_new_connections_and_keeps_the_old_one_when_the_new_is_of_no_use() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let first = authority.write(folder.path());
    let gateway = TestGateway::start(&config(&folder, "")).await;
    let presented = async || {
        let stream = connect(&gateway, client(&authority, &[], None)).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(presented().await, first);
    let open = connect(&gateway, client(&authority, &[], None)).await.unwrap();
    let second = authority.write(folder.path());
    let mut now = presented().await;
    for _ in 0..200 {
        if now == second {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        now = presented().await;
    }
    assert_eq!(now, second);
    assert!(card(open, "localhost:1").await.is_ok(), "an open connection goes on");
    fs::write(folder.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(presented().await, second);
    gateway.finish().await;
}

#[tokio::test]
async fn takes_callers_with_a_certificate_of_its_authority_or_none() {
    let (authority, of_clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    authority.write(folder.path());
    fs::write(folder.path().join("clients.pem"), of_clients.pem()).unwrap();
    let more = format!(", client_ca_file: '{}/clients.pem'", folder.path().display());
    let gateway = TestGateway::start(&config(&folder, &more)).await;
    let called = async |identity| {
        let stream = connect(&gateway, client(&authority, &[b"http/1.1"], identity)).await?;
        card(stream, "localhost:1").await
    };
    assert!(called(None).await.is_ok());
    assert!(called(Some((&of_clients, "alice"))).await.is_ok());
    assert!(called(Some((&other, "mallory"))).await.is_err());
    gateway.finish().await;
}

#[test]
fn reports_files_that_are_of_no_use_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    authority.write(folder.path());
    let problem = |text: &str| {
        let text = format!("master_key: sk-1\n{text}");
        let problems = switchboard::config::parse(&text, &|_| None).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        format!("{}: {}", problems[0].key, problems[0].message)
    };
    fs::write(folder.path().join("key.pem"), other.issue("x").1.serialize_pem()).unwrap();
    assert!(problem(&config(&folder, "")).contains("tls.key_file: does not fit the certificate"));
    fs::write(folder.path().join("key.pem"), "nothing").unwrap();
    assert!(problem(&config(&folder, "")).contains("tls.key_file: holds no private key"));
    assert!(
        problem("tls: {cert_file: /nowhere, key_file: /nowhere}").contains("tls.cert_file: /nowhere cannot be read")
    );
    assert!(problem("tls: {cert_file: /nowhere}").contains("needs cert_file and key_file"));
    assert!(problem("agents: [{name: a, url: 'https://h', ca_file: /nowhere}]").contains("agents[0].ca_file"));
}

/// A gateway behind the gateway, as the agent: it has TLS, and every binding.
#[tokio::test]
async fn calls_agents_behind_an_authority_of_their_own() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(folder.path());
    fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"message":{"messageId":"r","role":"ROLE_AGENT","parts":[{"text":"hi"}]}}"#)
    })
    .await;
    let inner = config(&folder, "").replace("http://127.0.0.1:9'", &format!("{}', protocol_version: '1.0'", agent.url));
    let inner = TestGateway::start(&inner).await;
    let port = address(&inner).rsplit_once(':').unwrap().1.to_owned();
    let (ca, key) = (folder.path().join("ca.pem"), format!("headers: {{authorization: Bearer {KEY}}}"));
    let entry = |name: &str, url: String, more: &str| {
        format!("- {{name: {name}, url: '{url}', protocol_version: '1.0', {key}{more}}}\n")
    };
    let trusted = format!(", ca_file: '{}'", ca.display());
    let at_a = format!("https://localhost:{port}/a2a/a");
    let entries = [
        entry("jsonrpc", at_a.clone(), &format!("{trusted}, bindings: [jsonrpc]")),
        entry("rest", at_a.clone(), &format!("{trusted}, bindings: [http_json]")),
        entry(
            "grpc",
            format!("grpcs://localhost:{port}"),
            &format!("{trusted}, card_url: '{at_a}/.well-known/agent-card.json'"),
        ),
        entry("untrusted", at_a, ", bindings: [jsonrpc]"),
        entry("untrusted-grpc", format!("grpcs://localhost:{port}"), ""),
    ];
    let outer = TestGateway::start(&format!("agents:\n{}", entries.concat())).await;
    for name in ["jsonrpc", "rest", "grpc"] {
        let reply = outer.rpc(name, "SendMessage", crate::support::gateway::message_v1("m")).await;
        assert_eq!(reply["result"]["message"]["parts"][0]["text"], "hi", "{name}: {reply}");
    }
    for name in ["untrusted", "untrusted-grpc"] {
        let reply = outer.rpc(name, "SendMessage", crate::support::gateway::message_v1("m")).await;
        assert!(reply["error"]["message"].as_str().unwrap().contains("nothing was sent"), "{name}: {reply}");
    }
    outer.finish().await;
    inner.finish().await;
}
