//! Callers that are programs: Node scripts around the JavaScript SDK and connect-es, buf, grpcurl, and the command
//! line of the Go SDK. Each is installed once from its lock in `tests/peers`, under `$SWITCHBOARD_CACHE`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::peers::cache;

fn locks(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(language)
}

/// Installs into `name` of the cache, unless it was done with the same lock before. One process at a time.
fn installed(name: &str, lock: &Path, install: impl FnOnce(&Path)) -> PathBuf {
    let lock = fs::read_to_string(lock).expect("the lock is in the repository");
    let home = cache().join(name);
    fs::create_dir_all(&home).expect("the cache can be made");
    let guard = File::create(cache().join(format!("{name}.lock"))).expect("a lock file can be made");
    guard.lock().expect("the lock can be taken");
    let stamp = home.join("installed-from");
    if fs::read_to_string(&stamp).is_ok_and(|known| known == lock) {
        return home;
    }
    install(&home);
    fs::write(stamp, lock).expect("the stamp can be written");
    home
}

fn must(command: &mut Command, needed: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{needed}: {error}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The folder with the Node scripts beside what they import.
fn node_home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| node_modules("js"))
}

/// The same of the SDK's last generation for 0.3.
fn old_node_home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| node_modules("js03"))
}

fn node_modules(folder: &str) -> PathBuf {
    let source = locks(folder);
    let home = installed(folder, &source.join("package-lock.json"), |home| {
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(source.join(file), home.join(file)).expect("the lock can be copied");
        }
        must(
            Command::new("npm").args(["ci", "--ignore-scripts", "--silent"]).current_dir(home),
            "npm is needed: apt-get install nodejs npm, or SWITCHBOARD_WITHOUT=node",
        );
    });
    // Scripts find what they import beside themselves.
    for entry in fs::read_dir(source).expect("the scripts are in the repository") {
        let path = entry.expect("a file").path();
        if path.extension() == Some(OsStr::new("mjs")) {
            fs::copy(&path, home.join(path.file_name().expect("a name"))).expect("a script can be copied");
        }
    }
    home
}

/// Runs a Node script and reads the one document that it prints.
pub async fn node(script: &str, arguments: &[&str]) -> Value {
    node_in(node_home(), script, arguments).await
}

/// The same with the SDK's last generation for 0.3.
pub async fn old_node(script: &str, arguments: &[&str]) -> Value {
    node_in(old_node_home(), script, arguments).await
}

/// How the agent of that generation is started.
pub fn old_node_agent(arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(old_node_home().join("agent_v03.mjs")).args(arguments);
    command
}

async fn node_in(home: &Path, script: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new("node");
    command.arg(home.join(script)).args(arguments);
    let output = run(command).await;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("{script} {arguments:?} printed no document: {text}\n{}", String::from_utf8_lossy(&output.stderr))
    })
}

/// The compiled schema as a file, for callers without reflection.
pub fn schema_file() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        let file = cache().join(format!("schema-{}.binpb", schema_digest()));
        let unfinished = file.with_extension(std::process::id().to_string());
        fs::write(&unfinished, switchboard::proto::DESCRIPTOR_SET).expect("the cache can be written");
        fs::rename(unfinished, &file).expect("the cache can be written");
        file
    };
    FILE.get_or_init(write).clone()
}

/// Names what is made of the schema, so that it is made once, and anew when the schema changes.
fn schema_digest() -> String {
    let digest = Sha256::digest(switchboard::proto::DESCRIPTOR_SET);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What protoc-gen-es makes of the schema, by `buf generate`, where Node finds what it imports.
pub async fn generated_es() -> PathBuf {
    let home = node_home();
    let out = home.join(format!("generated-{}", schema_digest()));
    let plugin = home.join("node_modules/.bin/protoc-gen-es");
    let template = serde_json::json!({ "version": "v2", "plugins": [{ "local": plugin, "out": out, "opt": ["target=js+dts", "import_extension=js"], "include_imports": true }] });
    let input = schema_file();
    let output = buf(&["generate", input.to_str().expect("a path"), "--template", &template.to_string()]).await;
    assert!(output.status.success(), "buf generate: {}", String::from_utf8_lossy(&output.stderr));
    out
}

/// Runs a Python script beside grpcio-tools, and reads the one document that it prints.
pub async fn grpcio(script: &str, arguments: &[&str], environment: Vec<(&'static str, String)>) -> Value {
    let mut command = Command::new(buf_home().join("bin/python3"));
    command.arg(locks("python").join(script)).args(arguments).envs(environment);
    let output = run(command).await;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{script} printed no document: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// The environment with buf and grpcio-tools.
fn buf_home() -> PathBuf {
    installed("buf-tools", &locks("buf").join("requirements.txt"), |home| {
        must(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(home),
            "python3 3.11 with venv is needed: apt-get install python3-venv",
        );
        let requirements = locks("buf").join("requirements.txt");
        must(
            Command::new(home.join("bin/python3"))
                .args(["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r"])
                .arg(requirements),
            "pip",
        );
    })
}

/// Runs `buf` with these arguments.
pub async fn buf(arguments: &[&str]) -> Output {
    let home = buf_home();
    let mut command = Command::new(home.join("bin/buf"));
    command.args(arguments);
    run(command).await
}

/// Runs `grpcurl`, `a2a` or `call03` with these arguments.
pub async fn go(tool: &str, arguments: &[&str]) -> Output {
    let source = locks("go");
    let home = installed("go-tools", &source.join("go.mod"), |home| {
        must(
            Command::new("go")
                .args(["install", "tool", "./call03"])
                .env("GOBIN", home)
                .env("GOFLAGS", "-mod=readonly")
                .current_dir(&source),
            "Go 1.25 or later is needed; SWITCHBOARD_WITHOUT=go leaves its tools out",
        );
    });
    let mut command = Command::new(home.join(tool));
    command.args(arguments);
    run(command).await
}

async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().expect("the program starts"));
    output.await.expect("it does not panic")
}
