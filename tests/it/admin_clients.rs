//! The admin API by programs that others wrote or generated: Python and TypeScript from the schema, curl's way by
//! LiteLLM's and RouteIQ's addresses, the SDKs with keys of the store, and our own commands.

use std::process::{Command, Stdio};

use http::Method;
use serde_json::{Value, json};

use crate::registry::{agent, echo, gateway};
use crate::support::gateway::{KEY, TestGateway};
use crate::support::peers::{self, Sdk};
use crate::support::{Database, tools};

#[tokio::test]
async fn a_generated_python_client_drives_it_by_grpc() {
    if peers::python_is_off() {
        return;
    }
    let fake = echo().await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    let environment = vec![
        ("SWITCHBOARD_TARGET", gateway.base.trim_start_matches("http://").to_owned()),
        ("SWITCHBOARD_KEY", KEY.to_owned()),
        ("AGENT_URL", fake.url.clone()),
    ];
    let seen = tools::grpcio("client_admin.py", &[concat!(env!("CARGO_MANIFEST_DIR"), "/proto")], environment).await;
    assert_eq!(seen["made"]["endpoints"][0]["headers"]["x-token"], "[redacted]");
    assert_eq!(
        (&seen["changed"]["description"], &seen["changed"]["provenance"]["revision"]),
        (&json!("changed"), &json!("2"))
    );
    assert_eq!((&seen["refused"], &seen["listed"]), (&json!("ABORTED"), &json!(["by-python"])));
    assert_eq!(seen["explained"]["allowed"], true);
    assert_eq!(gateway.call_as(seen["secret"].as_str().unwrap(), "by-python").await, 200);
    assert_eq!(fake.last().headers["x-token"], "hidden");
    gateway.finish().await;
}

#[tokio::test]
async fn a_generated_typescript_client_drives_it_by_connect() {
    if peers::is_off("node") {
        return;
    }
    let fake = echo().await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    let generated = tools::generated_es().await;
    let arguments = [generated.to_str().unwrap(), &gateway.base, KEY, &fake.url];
    let seen = tools::node("client_admin.mjs", &arguments).await;
    assert_eq!(
        (&seen["name"], &seen["revision"], &seen["refused"]),
        (&json!("by-es"), &json!("1"), &json!("already_exists"))
    );
    assert_eq!((&seen["isNew"], &seen["listed"][0]), (&json!(true), &seen["id"]));
    assert_eq!(gateway.call_as(seen["secret"].as_str().unwrap(), "by-es").await, 200);
    gateway.finish().await;
}

#[tokio::test]
async fn the_sdks_work_with_a_key_of_the_store_and_see_no_other_agent() {
    if peers::python_is_off() {
        return;
    }
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    let real = [
        (peers::agent(Sdk::V1, &["--no-compat", "--push", "--ext-card"]), "new"),
        (peers::agent(Sdk::V03, &["--push", "--ext-card"]), "old"),
    ];
    for (real, name) in &real {
        gateway
            .admin("AgentService/CreateAgent", json!({ "agent": { "name": name, "endpoints": [{ "url": real.url }] } }))
            .await;
    }
    let hidden = json!({ "agent": agent("hidden", "http://127.0.0.1:1") });
    gateway.admin("AgentService/CreateAgent", hidden).await;
    for (sdk, program) in [(Sdk::V1, "litellm_v1.py"), (Sdk::V03, "litellm_v03.py")] {
        for (_, name) in &real {
            let alias = format!("{program}-{name}");
            let key = gateway.new_key(json!({ "alias": alias, "grants": { "agents": [name] } })).await;
            let environment = vec![("SWITCHBOARD_URL", gateway.base.clone()), ("SWITCHBOARD_KEY", key)];
            let seen = peers::run(sdk, program, Vec::new(), environment).await;
            let names: Vec<_> = seen["agents"].as_array().unwrap().iter().map(|a| a["agent_name"].clone()).collect();
            assert_eq!(names, [*name], "{alias}");
            for way in ["send", "stream"] {
                assert!(seen[way].to_string().contains("echo: "), "{alias} {way}: {seen}");
            }
        }
    }
    gateway.finish().await;
}

async fn litellm(gateway: &TestGateway, key: &str, verb: Method, path: &str, body: Value) -> (u16, Value) {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = gateway.request(verb, path, &headers, body).await;
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// LiteLLM's AgentConfig for an agent at `url`.
fn config(name: &str, url: &str) -> Value {
    json!({
        "agent_name": name,
        "agent_card_params": { "protocolVersion": "1.0", "name": name, "description": "repeats", "url": url, "version": "1.0.0",
            "capabilities": { "streaming": true }, "defaultInputModes": ["text"], "defaultOutputModes": ["text"], "skills": [] },
        "litellm_params": { "is_public": false, "model": "a2a/x", "api_key": "sk-of-litellm", "cost_per_query": 0.01 },
        "static_headers": { "x-api-key": "hidden" },
        "rpm_limit": 60,
    })
}

#[tokio::test]
async fn litellms_agents_are_made_read_and_merged() {
    for database in Database::both() {
        let fake = echo().await;
        let gateway = gateway(&database).await;
        let (status, made) = litellm(&gateway, KEY, Method::POST, "/v1/agents", config("My agent", &fake.url)).await;
        assert_eq!(status, 200, "{made}");
        let id = made["agent_id"].as_str().unwrap().to_owned();
        assert_eq!((&made["agent_name"], &made["rpm_limit"]), (&json!("My agent"), &json!(60)));
        assert_eq!(
            (&made["litellm_params"]["api_key"], &made["static_headers"]["x-api-key"]),
            (&json!("[redacted]"), &json!("[redacted]"))
        );
        assert!(
            !made.to_string().contains("sk-of-litellm") && made["agent_card_params"]["url"] == fake.url,
            "to be written back: {made}"
        );
        assert_eq!(gateway.call_as(KEY, &id).await, 200);
        assert_eq!(gateway.call_as(KEY, "My%20agent").await, 200);
        assert_eq!(fake.last().headers["x-api-key"], "hidden");

        let (status, twice) = litellm(&gateway, KEY, Method::POST, "/v1/agents", config("My agent", &fake.url)).await;
        assert_eq!((status, &twice["detail"]), (400, &json!("Agent with name My agent already exists")));
        let path = format!("/v1/agents/{id}");
        let (status, merged) = litellm(
            &gateway,
            KEY,
            Method::PATCH,
            &path,
            json!({ "agent_card_params": { "description": "new" }, "enabled": true }),
        )
        .await;
        assert_eq!(
            (status, &merged["rpm_limit"], &merged["static_headers"]["x-api-key"]),
            (200, &json!(60), &json!("[redacted]")),
            "{merged}"
        );
        gateway.call_as(KEY, &id).await;
        assert_eq!(fake.last().headers["x-api-key"], "hidden", "what was redacted stays");
        // As it was read it can be written back.
        let (status, again) = litellm(&gateway, KEY, Method::PUT, &path, merged.clone()).await;
        assert_eq!((status, &again["agent_card_params"]), (200, &merged["agent_card_params"]), "{again}");
        gateway.call_as(KEY, &id).await;
        assert_eq!(fake.last().headers["x-api-key"], "hidden");
        // What LiteLLM cannot say stays.
        let more = json!({ "agent": { "id": id, "limits": { "callsMax": 7 }, "tags": ["t"] }, "updateMask": "limits.callsMax,tags" });
        gateway.admin("AgentService/UpdateAgent", more).await;
        litellm(&gateway, KEY, Method::PATCH, &path, json!({ "rpm_limit": 90, "enabled": null })).await;
        let kept = gateway.admin("AgentService/GetAgent", json!({ "id": id })).await["agent"].clone();
        assert_eq!(
            (&kept["limits"], &kept["tags"]),
            (&json!({ "requestsPerMinuteMax": 90, "callsMax": 7 }), &json!(["t"])),
            "{kept}"
        );
        // Nulls say nothing, and what was changed by other ways is not brought back.
        gateway.admin("AgentService/DisableAgent", json!({ "id": id })).await;
        let nulls = json!({ "enabled": null, "static_headers": null, "agent_name": null });
        assert_eq!(litellm(&gateway, KEY, Method::PATCH, &path, nulls).await.0, 200);
        assert_eq!(gateway.call_as(KEY, &id).await, 404, "it stays disabled");
        gateway.admin("AgentService/EnableAgent", json!({ "id": id })).await;
        gateway
            .admin(
                "AgentService/UpdateAgent",
                json!({ "agent": { "id": id }, "updateMask": "limits.requests_per_minute_max" }),
            )
            .await;
        let more = json!({ "agent": { "id": id, "description": "by another way", "public": true } });
        gateway.admin("AgentService/UpdateAgent", more).await;
        let (status, patched) =
            litellm(&gateway, KEY, Method::PATCH, &path, json!({ "litellm_params": { "cost_per_query": 0.5 } })).await;
        assert_eq!((status, &patched["litellm_params"]["is_public"]), (200, &json!(true)), "{patched}");
        let kept = gateway.admin("AgentService/GetAgent", json!({ "id": id })).await["agent"].clone();
        assert_eq!(
            (&kept["description"], &kept["limits"]),
            (&json!("by another way"), &json!({ "callsMax": 7 })),
            "{kept}"
        );
        assert_eq!(
            (gateway.call_as(KEY, &id).await, &fake.last().headers["x-api-key"]),
            (200, &"hidden".parse().unwrap())
        );
        gateway
            .admin(
                "AgentService/UpdateAgent",
                json!({ "agent": { "id": id, "public": false }, "updateMask": "public" }),
            )
            .await;
        gateway.finish().await;
    }
}

#[tokio::test]
async fn litellms_agents_are_replaced_published_and_deleted() {
    for database in Database::both() {
        let fake = echo().await;
        let gateway = gateway(&database).await;
        let (_, made) = litellm(&gateway, KEY, Method::POST, "/v1/agents", config("My agent", &fake.url)).await;
        let id = made["agent_id"].as_str().unwrap().to_owned();
        let path = format!("/v1/agents/{id}");
        let mut whole = config("Renamed", &fake.url);
        whole.as_object_mut().unwrap().remove("rpm_limit");
        whole.as_object_mut().unwrap().remove("static_headers");
        let (status, replaced) = litellm(&gateway, KEY, Method::PUT, &path, whole).await;
        assert_eq!(
            (status, &replaced["agent_name"], &replaced["rpm_limit"]),
            (200, &json!("Renamed"), &Value::Null),
            "{replaced}"
        );

        let hub = gateway.request(Method::GET, "/public/agent_hub", &[], "").await;
        assert_eq!(hub.text(), "[]", "nothing is public yet, and no key is needed");
        let (status, public) = litellm(&gateway, KEY, Method::POST, &format!("{path}/make_public"), Value::Null).await;
        assert_eq!((status, &public["public_agent_groups"]), (200, &json!([id])));
        assert_eq!(litellm(&gateway, KEY, Method::POST, &format!("{path}/make_public"), Value::Null).await.0, 400);
        let hub = gateway.request(Method::GET, "/public/agent_hub", &[], "").await;
        assert_eq!(hub.json()[0]["url"], format!("{}/a2a/Renamed", gateway.base));
        assert!(!hub.text().contains(&fake.url));
        let (_, none) =
            litellm(&gateway, KEY, Method::POST, "/v1/agents/make_public", json!({ "agent_ids": [] })).await;
        assert_eq!(none["public_agent_groups"], json!([]), "the list is replaced");

        let (_, healthy) = litellm(&gateway, KEY, Method::GET, "/v1/agents?health_check=true", Value::Null).await;
        assert_eq!(healthy, json!([]), "the fake has no card");
        assert_eq!(
            litellm(&gateway, KEY, Method::DELETE, &path, Value::Null).await,
            (200, json!({ "message": format!("Agent {id} deleted successfully") }))
        );
        assert_eq!(litellm(&gateway, KEY, Method::GET, &path, Value::Null).await.0, 404);
        let (status, refused) = litellm(&gateway, "sk-wrong", Method::GET, "/v1/agents", Value::Null).await;
        assert_eq!((status, &refused["error"]["type"]), (401, &json!("auth_error")));
        gateway.finish().await;
    }
}

#[tokio::test]
async fn litellms_fields_that_restrict_are_enforced_or_refused_by_name() {
    for database in Database::both() {
        let gateway = gateway(&database).await;
        let agents = [
            ("kill_switch", json!({ "url": "https://k" })),
            ("guardrails", json!(["pii"])),
            ("identity", json!({ "tenant_id": "x" })),
            ("tpm_limit", json!(5)),
            ("blocked", json!(true)),
            ("rpm_limit", json!(0)),
            ("session_rpm_limit", json!(5)),
            ("execution_mode", json!("delegated")),
            ("object_permission", json!({ "mcp_servers": ["x"] })),
        ];
        for (field, value) in agents {
            let mut body = config("a", "http://127.0.0.1:1");
            body[field] = value;
            let (status, refused) = litellm(&gateway, KEY, Method::POST, "/v1/agents", body).await;
            assert!(status == 400 && refused["error"]["param"] == *field, "{field}: {status} {refused}");
        }
        for (field, value) in
            [("max_iterations", json!(5)), ("guardrails", json!(["pii"])), ("custom_llm_provider", json!("langgraph"))]
        {
            let mut body = config("a", "http://127.0.0.1:1");
            body["litellm_params"][field] = value;
            let (status, refused) = litellm(&gateway, KEY, Method::POST, "/v1/agents", body).await;
            assert!(
                status == 400 && refused["error"]["param"] == format!("litellm_params.{field}"),
                "{field}: {refused}"
            );
        }
        for (field, value) in [
            ("max_budget", json!(5.0)),
            ("tpm_limit", json!(5)),
            ("guardrails", json!(["pii"])),
            ("allowed_routes", json!(["management_routes"])),
            ("key_type", json!("management")),
            ("auto_rotate", json!(true)),
            ("duration", json!("soon")),
            ("rpm_limit", json!("many")),
        ] {
            let (status, refused) =
                litellm(&gateway, KEY, Method::POST, "/key/generate", json!({ field: value })).await;
            assert!(status == 400 && refused["error"]["param"] == field, "{field}: {refused}");
        }
        assert_eq!(litellm(&gateway, KEY, Method::POST, "/team/new", json!({ "team_member_budget": 1 })).await.0, 400);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn litellms_keys_teams_and_groups() {
    for database in Database::both() {
        let fake = echo().await;
        let gateway = gateway(&database).await;
        for name in ["a", "b"] {
            litellm(&gateway, KEY, Method::POST, "/v1/agents", config(name, &fake.url)).await;
        }
        let post = async |path: &str, body: Value| {
            let (status, answer) = litellm(&gateway, KEY, Method::POST, path, body).await;
            assert!(status < 300, "{path}: {status} {answer}");
            answer
        };
        let team = post("/team/new", json!({ "team_alias": "red", "members_with_roles": [{ "role": "admin", "user_id": "u" }], "object_permission": { "agents": ["a"] } })).await;
        let team_id = team["team_id"].as_str().unwrap().to_owned();
        let of_team = post("/key/generate", json!({ "team_id": team_id, "key_alias": "of-team" })).await;
        let of_team_key = of_team["key"].as_str().unwrap();
        assert_eq!(
            (gateway.call_as(of_team_key, "a").await, gateway.call_as(of_team_key, "b").await),
            (200, 404),
            "what the team may"
        );
        let value = "sk-chosen-by-its-owner-0123456789abcdef";
        let made = post("/key/generate", json!({ "key": value, "key_alias": "own", "duration": "30d", "metadata": { "x": 1 }, "object_permission": { "agents": ["b"] }, "max_parallel_requests": 3 })).await;
        assert_eq!(
            (&made["key"], &made["max_parallel_requests"], &made["metadata"]["x"]),
            (&json!(value), &json!(3), &json!(1))
        );
        assert!(made["expires"].as_str().is_some_and(|time| time > "2026"), "{made}");
        assert_eq!(gateway.call_as(value, "b").await, 200);

        let (_, info) = litellm(&gateway, KEY, Method::GET, &format!("/key/info?key={value}"), Value::Null).await;
        assert_eq!((&info["key"], &info["info"]["key_alias"]), (&made["token"], &json!("own")));
        let (_, own) = litellm(&gateway, value, Method::GET, "/key/info", Value::Null).await;
        assert_eq!(own["info"]["key_alias"], "own", "a key may look at itself");
        let (_, list) =
            litellm(&gateway, KEY, Method::GET, "/key/list?size=1&page=2&return_full_object=true", Value::Null).await;
        assert_eq!(list["keys"][0]["key_alias"], "of-team");
        for (path, status) in [("/key/block", 401), ("/key/unblock", 200)] {
            post(path, json!({ "key": value })).await;
            assert_eq!(gateway.call_as(value, "b").await, status, "{path}");
        }
        post("/key/update", json!({ "key": value, "object_permission": { "agents": ["a"] } })).await;
        assert_eq!((gateway.call_as(value, "a").await, gateway.call_as(value, "b").await), (200, 404));
        let regenerated = post(&format!("/key/{}/regenerate", made["token"].as_str().unwrap()), json!({})).await;
        let new = regenerated["key"].as_str().unwrap();
        assert_eq!((gateway.call_as(value, "a").await, gateway.call_as(new, "a").await), (401, 200));

        let group = post(
            "/v1/access_group",
            json!({ "access_group_name": "g", "access_agent_ids": ["b"], "assigned_key_ids": [regenerated["token"]] }),
        )
        .await;
        assert_eq!(gateway.call_as(new, "b").await, 200);
        let path = format!("/v1/access_group/{}", group["access_group_id"].as_str().unwrap());
        assert_eq!(litellm(&gateway, KEY, Method::PUT, &path, json!({ "assigned_key_ids": [] })).await.0, 200);
        assert_eq!(gateway.call_as(new, "b").await, 404);
        assert_eq!(litellm(&gateway, KEY, Method::DELETE, &path, Value::Null).await.0, 204);

        post("/team/update", json!({ "team_id": team_id, "object_permission": { "agents": ["b"] } })).await;
        assert_eq!((gateway.call_as(of_team_key, "a").await, gateway.call_as(of_team_key, "b").await), (404, 200));
        let (_, info) =
            litellm(&gateway, KEY, Method::GET, &format!("/team/info?team_id={team_id}"), Value::Null).await;
        assert_eq!(
            (&info["team_info"]["team_alias"], &info["keys"][0]["key_alias"]),
            (&json!("red"), &json!("of-team"))
        );
        assert_eq!(litellm(&gateway, KEY, Method::GET, "/team/list", Value::Null).await.1[0]["team_id"], team_id);
        post("/key/delete", json!({ "keys": [new] })).await;
        post("/team/delete", json!({ "team_ids": [team_id] })).await;
        assert_eq!((gateway.call_as(new, "a").await, gateway.call_as(of_team_key, "b").await), (401, 401));
        let (status, refused) = litellm(&gateway, KEY, Method::DELETE, "/key/generate", Value::Null).await;
        assert_eq!(status, 405, "{refused}");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn routeiqs_registry_with_its_capability_filter() {
    let fake = echo().await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    for (name, capability) in [("one", "search"), ("two", "code")] {
        let body = json!({ "agent_id": format!("{name}-id"), "name": name, "description": "d", "url": fake.url, "capabilities": [capability], "metadata": { "k": "v" } });
        let (status, answer) = litellm(&gateway, KEY, Method::POST, "/a2a/agents", body).await;
        assert_eq!(
            (status, answer),
            (200, json!({ "status": "registered", "agent_id": format!("{name}-id"), "agent_name": name }))
        );
    }
    let (_, some) = litellm(&gateway, KEY, Method::GET, "/a2a/agents?capability=code", Value::Null).await;
    assert_eq!(
        some,
        json!({ "agents": [{ "agent_id": "two-id", "name": "two", "description": "d", "url": format!("{}/a2a/two", gateway.base), "capabilities": ["code"] }] })
    );
    assert_eq!(litellm(&gateway, KEY, Method::GET, "/a2a/agents/one-id/card", Value::Null).await.1["name"], "one");
    assert_eq!(gateway.call_as(KEY, "one-id").await, 200);
    assert_eq!(litellm(&gateway, KEY, Method::DELETE, "/a2a/agents/one-id", Value::Null).await.0, 200);
    assert_eq!(gateway.call_as(KEY, "one-id").await, 404);
    assert_eq!(litellm(&gateway, "sk-none", Method::GET, "/a2a/agents", Value::Null).await.0, 401);
    gateway.finish().await;

    let off = |name: &str| (name == "A2A_GATEWAY_ENABLED" || name == "STORE_MODEL_IN_DB").then(|| "false".to_owned());
    let settings = switchboard::config::parse(
        &format!("listen: 127.0.0.1:0\nmaster_key: {KEY}\nagents: [{{name: a, url: '{}'}}]\n", fake.url),
        &off,
    )
    .unwrap();
    assert_eq!(settings.store.database, switchboard::config::Database::Memory);
    assert!(!settings.a2a_enabled);
}

#[tokio::test]
async fn the_commands_drive_it_and_explain() {
    let fake = echo().await;
    let database = Database::sqlite();
    let gateway = gateway(&database).await;
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command
            .env_clear()
            .args(arguments)
            .env("SWITCHBOARD_URL", &gateway.base)
            .env("SWITCHBOARD_KEY", KEY)
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let made = run(&["agent", "create", "echo", &fake.url, "--tags", "demo", "--header", "x-token: hidden"]).await;
    assert_eq!(made.0, Some(0), "{}", made.2);
    assert!(made.1.contains("[redacted]") && !made.1.contains("hidden"), "{}", made.1);
    let listed = run(&["agent", "list"]).await.1;
    assert!(
        listed.starts_with("NAME  ID") && listed.contains("echo  agt_") && listed.contains("approved  store"),
        "{listed}"
    );
    run(&["team", "create", "red", "--tags", "demo"]).await;
    let team: Value = serde_json::from_str(&run(&["team", "show", "red", "--output", "json"]).await.1).unwrap();
    let team = team["team"]["id"].as_str().unwrap();
    let key = run(&[
        "key",
        "create",
        "alice",
        "--team",
        team,
        "--agents",
        "echo",
        "--data",
        r#"{"limits":{"callsMax":9}}"#,
        "--output",
        "json",
    ])
    .await
    .1;
    let key: Value = serde_json::from_str(&key).unwrap();
    assert_eq!(key["key"]["limits"]["callsMax"], 9);
    assert_eq!(gateway.call_as(key["secret"].as_str().unwrap(), "echo").await, 200);
    let explained = run(&["explain", "access", "--key", "alice", "--agent", "echo"]).await.1;
    assert!(
        explained.starts_with("allowed\n  key alice: the agent is granted\n  team red: the tag \"demo\" is granted\n"),
        "{explained}"
    );
    run(&["group", "create", "g", "--agents", "echo"]).await;
    assert!(run(&["group", "list"]).await.1.contains("g     grp_"));
    let id = key["key"]["id"].as_str().unwrap();
    run(&["key", "update", id, "--data", r#"{"grants":{}}"#]).await;
    let explained = run(&["explain", "access", "--key", "alice", "--agent", "echo"]).await.1;
    assert!(explained.starts_with("refused\n"), "{explained}");
    let refused = run(&["agent", "show", "nobody"]).await;
    assert_eq!((refused.0, refused.2.as_str()), (Some(1), "switchboard: there is no agent \"nobody\"\n"));
    let away = run(&["agent", "list", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(away.0, Some(69), "{}", away.2);
    run(&["agent", "delete", "echo"]).await;
    assert_eq!(run(&["agent", "list", "--output", "json"]).await.1, "{}\n");
    gateway.finish().await;
}
