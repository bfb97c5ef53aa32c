//! The commands, as processes: what they print and with which code they end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Output, Stdio};

use crate::support::gateway::{KEY, TestGateway};
use crate::support::{FakeAgent, FakeReply};

fn switchboard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn check_and_serve_list_every_problem_and_end_with_64() {
    let config = file("master_key: ${NOT_SET}\nlissten: x\nagents:\n- {name: a}\n");
    for subcommand in ["check", "serve"] {
        let mut command = switchboard();
        command.args([subcommand, "--config"]).arg(config.path());
        let output = run(command).await;
        assert_eq!(output.status.code(), Some(64));
        let said = text(&output.stderr);
        for problem in [
            ":1: master_key: uses the environment variable NOT_SET",
            ":2: lissten: is not a key",
            "hint: did you mean listen?",
            ":4: agents[0]: url is missing",
            "3 problems",
        ] {
            assert!(said.contains(problem), "{problem} in\n{said}");
        }
    }
    let mut command = switchboard();
    command.args(["check", "--config", "no-such-file.yaml"]);
    assert_eq!(run(command).await.status.code(), Some(64));
    let mut command = switchboard();
    command.args(["check", "--config"]).arg(file("").path());
    assert_eq!(run(command).await.status.code(), Some(64), "no keys, no start");
}

#[tokio::test]
async fn check_accepts_a_correct_file_and_tells_what_is_not_ours() {
    let config = file(
        "model_list: []\ngeneral_settings: {master_key: sk-1}\nagents:\n- agent_name: a\n  agent_card_params: {url: 'http://h'}\n",
    );
    let mut command = switchboard();
    command.args(["check", "--config"]).arg(config.path());
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("model_list is LiteLLM's and not ours") && said.contains("correct; agents: 1"), "{said}");
}

#[tokio::test]
async fn the_example_file_of_the_defaults_is_documented_and_complete() {
    let mut command = switchboard();
    command.args(["check", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/switchboard.default.yaml")]);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[tokio::test]
async fn serve_serves_records_and_drains() {
    let agent = FakeAgent::start(|seen| {
        FakeReply::result(&seen, r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#)
    })
    .await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = file(&format!(
        "listen: 127.0.0.1:{port}\nstore: {{url: memory}}\nmaster_key: sk-serve\nagents:\n- {{name: a, url: '{}', protocol_version: '1.0'}}\n",
        agent.url
    ));
    let mut command = switchboard();
    command.args(["serve", "--config"]).arg(config.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it says that it serves");
    }
    let mut command = switchboard();
    command.args(["call", "a", "hello", "--url", &format!("http://127.0.0.1:{port}"), "--key", "sk-serve"]);
    let called = run(command).await;
    assert_eq!(called.status.code(), Some(0), "{}", text(&called.stderr));
    assert!(text(&called.stdout).contains("TASK_STATE_COMPLETED"));
    let killed = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = tokio::task::spawn_blocking(move || server.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "SIGTERM ends it in order");
    let record: serde_json::Value =
        serde_json::from_str(text(&output.stdout).lines().next().expect("a record")).unwrap();
    assert_eq!(
        (record["caller"].as_str(), record["agent"].as_str(), record["outcome"].as_str()),
        (Some("master"), Some("a"), Some("answered"))
    );
    assert_eq!((record["operation"].as_str(), record["task_id"].as_str()), (Some("SendMessage"), Some("t")));
    assert!(
        !record.to_string().contains("sk-serve") && !record.to_string().contains("hello"),
        "no key and no body: {record}"
    );
}

#[tokio::test]
async fn serve_says_when_its_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = file(&format!("listen: {}\nmaster_key: sk-1\nstore: {{url: memory}}\n", taken.local_addr().unwrap()));
    let mut command = switchboard();
    command.args(["serve", "--config"]).arg(config.path());
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("Is another process there?"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn call_streams_and_tells_errors() {
    let agent = FakeAgent::start(|seen| match seen.json()["method"].as_str().unwrap() {
        "message/stream" => FakeReply::events(
            &seen,
            &[r#"{"kind":"status-update","taskId":"t","contextId":"c","status":{"state":"completed"},"final":true}"#],
        ),
        _ => FakeReply::error(&seen, r#"{"code":-32004,"message":"not me"}"#),
    })
    .await;
    let gateway =
        TestGateway::start(&format!("agents:\n- {{name: a, url: '{}', protocol_version: '0.3'}}", agent.url)).await;
    let call = |arguments: &[&str], key: &str| {
        let mut command = switchboard();
        command.args(["call", "a", "hi", "--url", &gateway.base]).args(arguments).env("SWITCHBOARD_KEY", key);
        run(command)
    };
    let streamed = call(&["--stream", "--version", "0.3"], KEY).await;
    assert_eq!(streamed.status.code(), Some(0), "{}", text(&streamed.stderr));
    assert!(text(&streamed.stdout).contains("status-update"));
    let refused = call(&[], KEY).await;
    assert_eq!((refused.status.code(), text(&refused.stderr)), (Some(1), "switchboard: not me (code -32004)\n".into()));
    let anonymous = call(&[], "sk-wrong").await;
    assert_eq!(anonymous.status.code(), Some(1));
    assert!(text(&anonymous.stderr).contains("the key is not known here"));
    gateway.finish().await;
}

#[tokio::test]
async fn demo_shows_every_way_and_succeeds() {
    let mut command = switchboard();
    command.args(["demo", "--once", "--listen", "127.0.0.1:0"]);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for part in [
        "Agent `newer` (speaks 1.0), called in A2A 0.3",
        "Agent `older` (speaks 0.3), called in A2A 1.0",
        "You said: Hello!",
        "canceled",
        "TASK_STATE_CANCELED",
        "no such task",
        "curl -s",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}
