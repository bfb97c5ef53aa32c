//! What the tests of notifications stand on.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::ownership::{self, Keys};
use crate::support::gateway::{Answer, TestGateway};
use crate::support::shelf::asking;
use crate::support::{Database, FakeAgent, FakeReply, Shelf};

/// A webhook that takes everything.
pub async fn webhook() -> FakeAgent {
    FakeAgent::raw(|_| FakeReply::json("{}")).await
}

/// A gateway before an agent that says what the test wants, and whose notifications the test sends.
pub struct Stand {
    pub shelf: Shelf,
    pub gateway: TestGateway,
    pub keys: Keys,
    pub webhook: FakeAgent,
    _database: Database,
}

/// What the agent was given in place of a caller's address and token.
pub struct Given {
    pub path: String,
    pub token: String,
}

impl Stand {
    pub async fn start(database: Database, more: &str) -> Self {
        let shelf = Shelf::start().await;
        let entry = format!(
            "- {{name: a, url: '{}', protocol_version: '1.0', bindings: [jsonrpc], dialect: {{waiting: native}}{more}}}\n",
            shelf.url()
        );
        let config = format!(
            "push: {{url: 'http://gateway.internal', allow: [127.0.0.0/8], timeout_ms: 3000}}\nagents:\n{entry}"
        );
        let gateway = ownership::gateway(&database, &config).await;
        let keys = Keys::make(&gateway).await;
        Self { shelf, gateway, keys, webhook: webhook().await, _database: database }
    }

    pub async fn rpc(&mut self, key: &str, method: &str, params: Value) -> Value {
        key.clone_into(&mut self.gateway.key);
        self.gateway.rpc("a", method, params).await
    }

    pub fn config(&self) -> Value {
        json!({ "url": format!("{}/hook", self.webhook.url), "token": "secret of red" })
    }

    /// Sends a message that is answered with this task, and asks for notifications about it.
    pub async fn send(&mut self, key: &str, task: &Value) -> Given {
        let mut request = asking(&json!({ "task": task }));
        request["configuration"] = json!({ "taskPushNotificationConfig": self.config() });
        let reply = self.rpc(key, "SendMessage", request).await;
        assert_eq!(reply["result"]["task"], *task, "{reply}");
        given(&self.shelf.agent.last().json()["params"]["configuration"]["taskPushNotificationConfig"])
    }

    pub async fn notify(&self, given: &Given, payload: &Value) -> Answer {
        self.post(given, payload.to_string()).await
    }

    pub async fn post(&self, given: &Given, body: impl Into<Bytes>) -> Answer {
        let headers = [("x-a2a-notification-token", given.token.as_str()), ("content-type", "application/json")];
        self.gateway.request(Method::POST, &given.path, &headers, body).await
    }
}

pub fn given(config: &Value) -> Given {
    let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
    let path = text("url").strip_prefix("http://gateway.internal").expect("an address of the gateway").to_owned();
    Given { path, token: text("token") }
}
