//! Callers by keys of the store: what they may, how their keys live and die, and who may make them.

use http::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::registry::{agent, echo, gateway};
use crate::support::gateway::{KEY, TestGateway, call, grpc_request, message_v1};
use crate::support::{Database, FakeAgent};

/// A gateway with the agents `a`, `b` and `c`, all at one fake; `b` has the tag `red`.
async fn three(database: &Database) -> (FakeAgent, TestGateway) {
    let fake = echo().await;
    let gateway = gateway(database).await;
    for name in ["a", "b", "c"] {
        let mut wanted = agent(name, &fake.url);
        // They answer with the same task whoever asks.
        wanted["taskScope"] = json!("none");
        if name == "b" {
            wanted["tags"] = json!(["red"]);
        }
        gateway.admin("AgentService/CreateAgent", json!({ "agent": wanted })).await;
    }
    (fake, gateway)
}

/// Which of the three a key may call.
async fn may(gateway: &TestGateway, key: &str) -> String {
    let mut may = String::new();
    for name in ["a", "b", "c"] {
        match gateway.call_as(key, name).await {
            200 => may.push_str(name),
            404 => {}
            other => panic!("{name}: {other}"),
        }
    }
    may
}

#[tokio::test]
async fn grants_are_agents_groups_and_tags_and_those_of_the_team_bound_them() {
    for database in Database::both() {
        let (_fake, gateway) = three(&database).await;
        let key = async |key: Value| gateway.new_key(key).await;
        let nothing = key(json!({ "alias": "nothing" })).await;
        assert_eq!(may(&gateway, &nothing).await, "", "closed when nothing is granted");
        let named = key(json!({ "alias": "named", "grants": { "agents": ["a"] } })).await;
        assert_eq!(may(&gateway, &named).await, "a");
        let tagged = key(json!({ "alias": "tagged", "grants": { "tags": ["red"] } })).await;
        assert_eq!(may(&gateway, &tagged).await, "b");
        let all = key(json!({ "alias": "all", "grants": { "allAgents": true } })).await;
        assert_eq!(may(&gateway, &all).await, "abc");

        let group = json!({ "accessGroup": { "name": "g", "agents": ["a", "c"] } });
        let group = gateway.admin("AccessGroupService/CreateAccessGroup", group).await["accessGroup"]["id"].clone();
        let grouped = key(json!({ "alias": "grouped", "grants": { "accessGroups": ["g"] } })).await;
        assert_eq!(may(&gateway, &grouped).await, "ac");
        let change = json!({ "accessGroup": { "id": group, "agents": ["c"], "keys": ["nothing"] }, "updateMask": "agents,keys" });
        gateway.admin("AccessGroupService/UpdateAccessGroup", change).await;
        assert_eq!((may(&gateway, &grouped).await, may(&gateway, &nothing).await), ("c".into(), "c".into()));

        let team = json!({ "team": { "name": "t", "grants": { "agents": ["a", "b"] } } });
        let team = gateway.admin("TeamService/CreateTeam", team).await["team"]["id"].clone();
        let member = key(json!({ "alias": "member", "teamId": team, "grants": { "allAgents": true } })).await;
        assert_eq!(may(&gateway, &member).await, "ab", "what both may");
        let other = key(json!({ "alias": "other", "teamId": "t", "grants": { "agents": ["c"] } })).await;
        assert_eq!(may(&gateway, &other).await, "");
        let blocked = json!({ "team": { "id": team, "blocked": true }, "updateMask": "blocked" });
        gateway.admin("TeamService/UpdateTeam", blocked).await;
        assert_eq!(gateway.call_as(&member, "a").await, 401);
        gateway.admin("AccessGroupService/DeleteAccessGroup", json!({ "id": group })).await;
        assert_eq!(may(&gateway, &grouped).await, "");
        gateway.admin("TeamService/DeleteTeam", json!({ "id": team })).await;
        assert_eq!(gateway.call_as(&member, "a").await, 401);
        assert_eq!(gateway.admin_as(KEY, "KeyService/GetKey", json!({ "id": "member" })).await.status, 404);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn says_which_grant_decides() {
    for database in Database::both() {
        let (_fake, gateway) = three(&database).await;
        gateway
            .admin("TeamService/CreateTeam", json!({ "team": { "name": "t", "grants": { "tags": ["red"] } } }))
            .await;
        gateway
            .new_key(
                json!({ "alias": "k", "teamId": "t", "grants": { "agents": ["a", "b"], "operations": ["GetTask"] } }),
            )
            .await;
        let explain =
            async |agent: &str| gateway.admin("KeyService/ExplainAccess", json!({ "key": "k", "agent": agent })).await;
        let yes = explain("b").await;
        assert_eq!(
            yes,
            json!({ "allowed": true, "reasons": ["key k: the agent is granted", "team t: the tag \"red\" is granted"], "operations": ["GetTask"] })
        );
        assert_eq!(explain("a").await["reasons"][1], "team t: none of its grants reaches the agent");
        assert_eq!(explain("c").await, json!({ "reasons": ["key k: none of its grants reaches the agent"] }));
        gateway.admin("KeyService/BlockKey", json!({ "id": "k" })).await;
        assert!(explain("b").await["reasons"][0].as_str().unwrap().contains("blocked"));
        let master = gateway.admin("KeyService/ExplainAccess", json!({ "key": "master", "agent": "a" })).await;
        assert_eq!(master["reasons"][0], "key master: all agents are granted");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_key_sees_lists_and_calls_only_its_agents_in_every_door() {
    for database in Database::both() {
        let (fake, gateway) = three(&database).await;
        let key = gateway.new_key(json!({ "alias": "k", "grants": { "agents": ["a"] } })).await;
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let message = message_v1("m").to_string();
        for (agent, status) in [("a", 200), ("b", 404), ("nothere", 404)] {
            for path in ["message:send", "lf.a2a.v1.A2AService/SendMessage"] {
                let answer =
                    gateway.request(Method::POST, &format!("/a2a/{agent}/{path}"), &headers, message.clone()).await;
                assert_eq!(answer.status, status, "{agent} {path} {}", answer.text());
            }
            let card =
                gateway.request(Method::GET, &format!("/a2a/{agent}/.well-known/agent-card.json"), &headers, "").await;
            assert_eq!(card.status, status);
            let mut request: switchboard::proto::SendMessageRequest = serde_json::from_value(message_v1("m")).unwrap();
            request.tenant = agent.to_owned();
            let mut request = grpc_request(prost::Message::encode_to_vec(&request).into());
            request.metadata_mut().insert("authorization", bearer.parse().unwrap());
            let answered = gateway.grpc().send_message(request).await.map(drop).map_err(|status| status.code());
            assert_eq!(answered, if agent == "a" { Ok(()) } else { Err(tonic::Code::NotFound) }, "{agent}");
        }
        let names = async |path: &str, member: &str| {
            let list = gateway.request(Method::GET, path, &headers, "").await.json();
            let list = list.get("agents").cloned().unwrap_or(list);
            list.as_array().unwrap().iter().map(|a| a[member].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("/v1/agents", "agent_name").await, ["a"]);
        assert_eq!(names("/a2a/agents", "name").await, ["a"]);
        let own = gateway.admin_as(&key, "AgentService/ListAgents", json!({})).await;
        assert_eq!(own.json()["agents"].as_array().unwrap().len(), 1);
        assert!(!own.text().contains(&fake.url) && !own.text().contains("endpoints"), "{}", own.text());
        let hidden = gateway.admin_as(&key, "AgentService/GetAgent", json!({ "id": "b" })).await;
        let absent = gateway.admin_as(&key, "AgentService/GetAgent", json!({ "id": "x" })).await;
        assert_eq!(hidden.text().replace("\\\"b\\\"", "\\\"x\\\""), absent.text(), "the same words");
        gateway.finish().await;
    }
}

#[tokio::test]
async fn an_operation_that_is_not_granted_is_refused() {
    for database in Database::both() {
        let (fake, gateway) = three(&database).await;
        let key = gateway
            .new_key(json!({ "alias": "reader", "grants": { "allAgents": true, "operations": ["GetTask"] } }))
            .await;
        let bearer = format!("Bearer {key}");
        let refused =
            gateway.post_with("a", &[("authorization", &bearer)], call("SendMessage", message_v1("m"))).await.json();
        assert_eq!(refused["error"]["data"][0]["reason"], "PERMISSION_DENIED", "{refused}");
        assert!(fake.calls().is_empty());
        gateway.post_with("a", &[("authorization", &bearer)], call("GetTask", json!({ "id": "t" }))).await;
        assert_eq!(fake.calls().len(), 1);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn keeps_nothing_of_a_key_but_its_hash() {
    for database in Database::both() {
        let gateway = gateway(&database).await;
        let made = gateway.admin("KeyService/CreateKey", json!({ "key": { "alias": "k" } })).await;
        let secret = made["secret"].as_str().unwrap();
        assert!(secret.starts_with("sk-") && secret.len() >= 45, "{secret}");
        let hash: String = Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(made["key"]["hash"], hash);
        let kept = database.query("SELECT * FROM keys").concat() + &database.query("SELECT * FROM audit").concat();
        assert!(kept.contains(&hash) && !kept.contains(&secret[3..]), "{kept}");
        for shown in [
            gateway.admin("KeyService/ListKeys", json!({})).await,
            gateway.admin("KeyService/GetKey", json!({ "id": hash })).await,
        ] {
            assert!(!shown.to_string().contains(secret));
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_key_lives_from_its_making_to_its_expiry_block_rotation_or_deletion() {
    for database in Database::both() {
        let (_fake, gateway) = three(&database).await;
        let own = "sk-own-value-0123456789-abcdefghijklmnop";
        let wanted = json!({ "key": { "alias": "k", "grants": { "agents": ["a"] } }, "secret": own });
        gateway.admin("KeyService/CreateKey", wanted).await;
        assert_eq!(gateway.call_as(own, "a").await, 200);
        for (method, status) in [("BlockKey", 401), ("UnblockKey", 200)] {
            gateway.admin(&format!("KeyService/{method}"), json!({ "id": "k" })).await;
            assert_eq!(gateway.call_as(own, "a").await, status, "{method}");
        }
        let rotated = gateway.admin("KeyService/RotateKey", json!({ "id": "k", "overlapMs": 600_000 })).await;
        let new = rotated["secret"].as_str().unwrap().to_owned();
        assert_eq!(
            (gateway.call_as(own, "a").await, gateway.call_as(&new, "a").await),
            (200, 200),
            "both, for a while"
        );
        let last =
            gateway.admin("KeyService/RotateKey", json!({ "id": "k" })).await["secret"].as_str().unwrap().to_owned();
        let statuses =
            (gateway.call_as(own, "a").await, gateway.call_as(&new, "a").await, gateway.call_as(&last, "a").await);
        assert_eq!(statuses, (401, 401, 200));

        let truncated = &last[..last.len() - 1];
        assert_eq!(gateway.call_as(truncated, "a").await, 401);
        let past = json!({ "key": { "id": rotated["key"]["id"], "expireTime": "2020-01-01T00:00:00Z" } });
        gateway.admin("KeyService/UpdateKey", past).await;
        assert_eq!(gateway.call_as(&last, "a").await, 401);
        let never = json!({ "key": { "id": rotated["key"]["id"] }, "updateMask": "expireTime" });
        gateway.admin("KeyService/UpdateKey", never).await;
        assert_eq!(gateway.call_as(&last, "a").await, 200);
        gateway.admin("KeyService/DeleteKey", json!({ "id": rotated["key"]["id"] })).await;
        assert_eq!(gateway.call_as(&last, "a").await, 401);

        // The same words for all of them, and for one that never was.
        let bearer = |key: &str| format!("Bearer {key}");
        let (gone, never) = (bearer(&last), bearer("sk-never"));
        let gone = gateway.post_with("a", &[("authorization", &gone)], "{}").await;
        let never = gateway.post_with("a", &[("authorization", &never)], "{}").await;
        assert_eq!(gone.text(), never.text());
        // A value that was used once is never free again.
        let again = json!({ "key": { "alias": "thief" }, "secret": last });
        let refused = gateway.admin_as(KEY, "KeyService/CreateKey", again).await;
        assert_eq!(refused.status, 409, "{}", refused.text());
        gateway.finish().await;
    }
}

#[tokio::test]
async fn roles_rule_what_the_table_says() {
    for database in Database::both() {
        let (fake, gateway) = three(&database).await;
        for team in ["red", "blue"] {
            gateway
                .admin(
                    "TeamService/CreateTeam",
                    json!({ "team": { "id": team, "name": team, "grants": { "allAgents": true } } }),
                )
                .await;
        }
        let key = async |alias: &str, role: &str, team: &str| {
            gateway
                .new_key(json!({ "alias": alias, "role": role, "teamId": team, "grants": { "agents": ["a"] } }))
                .await
        };
        let caller = key("caller", "ROLE_CALLER", "red").await;
        let auditor = key("auditor", "ROLE_AUDITOR", "").await;
        let publisher = key("publisher", "ROLE_PUBLISHER", "red").await;
        let team_admin = key("team-admin", "ROLE_TEAM_ADMIN", "red").await;
        let admin = key("admin", "ROLE_ADMIN", "").await;
        key("of-blue", "ROLE_CALLER", "blue").await;
        let status =
            async |key: &str, method: &str, body: Value| gateway.admin_as(key, method, body).await.status.as_u16();

        let draft = json!({ "agent": agent("draft", &fake.url) });
        for (key, expected) in [(&caller, 403), (&auditor, 403), (&publisher, 200)] {
            assert_eq!(status(key, "AgentService/CreateAgent", draft.clone()).await, expected);
        }
        assert_eq!(gateway.call_as(KEY, "draft").await, 404, "a publisher's agent is a draft");
        let approve = json!({ "agent": { "id": "draft", "state": "AGENT_STATE_APPROVED" } });
        assert_eq!(status(&publisher, "AgentService/UpdateAgent", approve.clone()).await, 403);
        let tag = json!({ "agent": { "id": "draft", "tags": ["red"] } });
        assert_eq!(status(&team_admin, "AgentService/UpdateAgent", tag.clone()).await, 403, "tags are administrators'");
        assert_eq!(status(&team_admin, "AgentService/UpdateAgent", approve).await, 200);
        assert_eq!(gateway.call_as(KEY, "draft").await, 200);
        assert_eq!(
            status(&publisher, "AgentService/UpdateAgent", json!({ "agent": { "id": "draft", "description": "x" } }))
                .await,
            403
        );
        assert_eq!(status(&team_admin, "AgentService/DeleteAgent", json!({ "id": "a" })).await, 403, "not its team's");
        assert_eq!(status(&admin, "AgentService/UpdateAgent", tag).await, 200);

        let make = |role: &str, team: &str| json!({ "key": { "role": role, "teamId": team } });
        assert_eq!(status(&team_admin, "KeyService/CreateKey", make("ROLE_CALLER", "")).await, 200, "of its own team");
        assert_eq!(status(&team_admin, "KeyService/CreateKey", make("ROLE_CALLER", "blue")).await, 403);
        assert_eq!(status(&team_admin, "KeyService/CreateKey", make("ROLE_AUDITOR", "red")).await, 403);
        assert_eq!(status(&admin, "KeyService/CreateKey", make("ROLE_TEAM_ADMIN", "blue")).await, 200);
        assert_eq!(
            status(&admin, "KeyService/CreateKey", make("ROLE_ADMIN", "")).await,
            403,
            "only the master key makes administrators"
        );
        assert_eq!(status(KEY, "KeyService/CreateKey", make("ROLE_OPERATOR", "")).await, 403);
        assert_eq!(status(&admin, "KeyService/RotateKey", json!({ "id": "admin" })).await, 403, "nor changes them");
        assert_eq!(
            status(&team_admin, "KeyService/GetKey", json!({ "id": "of-blue" })).await,
            404,
            "it does not exist for them"
        );
        assert_eq!(status(&caller, "KeyService/GetKey", json!({ "id": "caller" })).await, 200, "its own");
        assert_eq!(status(&caller, "KeyService/GetKey", json!({ "id": "publisher" })).await, 404, "and no other");
        let listed = gateway.admin_as(&team_admin, "KeyService/ListKeys", json!({})).await.json();
        assert!(listed["keys"].as_array().unwrap().iter().all(|key| key["teamId"] == "red"), "{listed}");
        assert_eq!(status(&auditor, "KeyService/ListKeys", json!({})).await, 200);
        for method in ["TeamService/CreateTeam", "KeyService/DeleteKey", "AccessGroupService/CreateAccessGroup"] {
            assert_eq!(status(&auditor, method, json!({})).await, 403, "{method}");
            assert_eq!(
                status(&team_admin, method, json!({ "id": "of-blue" })).await,
                if method == "KeyService/DeleteKey" { 404 } else { 403 },
                "{method}"
            );
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn every_method_of_the_schema_is_in_the_table_of_roles_and_closed_to_strangers() {
    let pool = prost_reflect::DescriptorPool::decode(switchboard::proto::DESCRIPTOR_SET).unwrap();
    let gateway = TestGateway::start("").await;
    let mut walked = 0;
    for service in pool.services().filter(|service| service.parent_file().package_name() == "switchboard.v1") {
        for method in service.methods() {
            let name = format!("{}/{}", service.name(), method.name());
            let known = gateway.admin_as(KEY, &name, json!({})).await;
            assert_ne!(known.status, 501, "{name} is in the table");
            for spelling in ["/switchboard.v1.", "/switchboard.v1./"] {
                let path = format!("{spelling}{name}");
                for content_type in ["application/json", "application/proto", "application/grpc-web+proto"] {
                    let answer = gateway.request(Method::POST, &path, &[("content-type", content_type)], "{}").await;
                    let is_refused = answer.status == 401
                        || (spelling.ends_with('/') && answer.status == 404)
                        || answer.headers.get("grpc-status").is_some_and(|s| s == "16")
                        || answer.text().contains("grpc-status: 16");
                    assert!(is_refused, "{path} {content_type} {} {}", answer.status, answer.text());
                }
            }
            walked += 1;
        }
    }
    assert!(walked >= 28, "{walked}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_flood_of_wrong_keys_is_held_up_and_right_ones_in_memory_go_on() {
    for database in Database::both() {
        let fake = echo().await;
        let gateway = TestGateway::start(&format!(
            "{}outbound: {{allow: [127.0.0.0/8]}}\nlimits: {{failed_keys_per_minute_max: 5}}\n",
            database.yaml
        ))
        .await;
        gateway.admin("AgentService/CreateAgent", json!({ "agent": agent("a", &fake.url) })).await;
        let right = gateway.new_key(json!({ "alias": "k", "grants": { "allAgents": true } })).await;
        assert_eq!(gateway.call_as(&right, "a").await, 200);
        for at in 0..5 {
            assert_eq!(gateway.call_as(&format!("sk-wrong-{at}"), "a").await, 401);
        }
        let bearer = "Bearer sk-wrong-6";
        let held = gateway.post_with("a", &[("authorization", bearer)], "{}").await;
        assert_eq!(held.status, 429, "{}", held.text());
        assert!(held.headers.contains_key("retry-after"));
        assert_eq!(gateway.call_as(&right, "a").await, 200);
        assert_eq!(gateway.call_as(KEY, "a").await, 200);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_team_sees_its_agents_by_grants_and_only_those_who_rule_them_see_how_they_are_reached() {
    for database in Database::both() {
        let (fake, gateway) = three(&database).await;
        gateway
            .admin("TeamService/CreateTeam", json!({ "team": { "id": "red", "grants": { "allAgents": true } } }))
            .await;
        let mut own = agent("own", &fake.url);
        own["teamId"] = json!("red");
        own["state"] = json!("AGENT_STATE_DRAFT");
        gateway.admin("AgentService/CreateAgent", json!({ "agent": own })).await;
        let key = async |alias: &str, role: &str| {
            gateway.new_key(json!({ "alias": alias, "role": role, "teamId": "red" })).await
        };
        let (caller, admin) = (key("caller", "ROLE_CALLER").await, key("admin", "ROLE_TEAM_ADMIN").await);
        assert_eq!(gateway.admin_as(&caller, "AgentService/GetAgent", json!({ "id": "own" })).await.status, 404);
        let whole = gateway.admin_as(&admin, "AgentService/GetAgent", json!({ "id": "own" })).await;
        assert!(whole.text().contains(&fake.url), "{}", whole.text());
        let bearer = format!("Bearer {admin}");
        let listed = gateway.request(Method::GET, "/v1/agents", &[("authorization", &bearer)], "").await.json();
        let names: Vec<_> = listed.as_array().unwrap().iter().map(|a| a["agent_name"].clone()).collect();
        assert_eq!(names, ["own"], "nobody else's, and nothing that it may not call");
        // What it does not see it can neither grant nor have explained.
        for (method, body, status) in [
            ("KeyService/CreateKey", json!({ "key": { "grants": { "agents": ["a"] } } }), 400),
            ("KeyService/CreateKey", json!({ "key": { "agentId": "a" } }), 400),
            ("KeyService/CreateKey", json!({ "key": { "grants": { "accessGroups": ["g"] } } }), 403),
            ("KeyService/CreateKey", json!({ "key": { "teamId": "nobody" } }), 403),
            ("KeyService/ExplainAccess", json!({ "key": "caller", "agent": "a" }), 404),
            ("KeyService/CreateKey", json!({ "key": { "grants": { "agents": ["own"] } } }), 200),
        ] {
            let answer = gateway.admin_as(&admin, method, body.clone()).await;
            assert_eq!(answer.status, status, "{method} {body} {}", answer.text());
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn an_emergency_is_not_held_up_by_what_others_deleted() {
    for database in Database::both() {
        let (_fake, gateway) = three(&database).await;
        gateway.admin("TeamService/CreateTeam", json!({ "team": { "id": "t", "grants": { "agents": ["a"] } } })).await;
        let key = gateway.new_key(json!({ "alias": "k", "teamId": "t", "grants": { "agents": ["a"] } })).await;
        gateway.admin("AgentService/UpdateAgent", json!({ "agent": { "id": "b", "teamId": "t" } })).await;
        let id = gateway.admin("AgentService/GetAgent", json!({ "id": "a" })).await["agent"]["id"].clone();
        gateway.admin("AgentService/DeleteAgent", json!({ "id": id })).await;
        gateway.admin("TeamService/UpdateTeam", json!({ "team": { "id": "t", "blocked": true } })).await;
        assert_eq!(gateway.call_as(&key, "b").await, 401);
        gateway.admin("TeamService/DeleteTeam", json!({ "id": "t" })).await;
        gateway.admin("AgentService/DisableAgent", json!({ "id": "b" })).await;
        assert_eq!(gateway.call_as(KEY, "b").await, 404);
        gateway.finish().await;
    }
}

#[tokio::test]
async fn ids_that_no_row_can_have_find_nothing_on_either_database() {
    for database in Database::both() {
        let gateway = gateway(&database).await;
        for id in ["\u{0}", "key_\u{0}", &"x".repeat(10_000), "' OR 1=1 --", "\u{202e}"] {
            let answer = gateway.admin_as(KEY, "KeyService/GetKey", json!({ "id": id })).await;
            assert_eq!(answer.status, 404, "{id:?} {}", answer.text());
        }
        let listed = gateway.admin("KeyService/ListKeys", json!({ "userId": "\u{0}" })).await;
        assert_eq!(listed, json!({}));
        gateway.finish().await;
    }
}

#[tokio::test]
async fn credentials_in_several_headers_must_be_one_callers() {
    for database in Database::both() {
        let (_fake, gateway) = three(&database).await;
        let key = async |alias: &str| gateway.new_key(json!({ "alias": alias, "grants": { "agents": ["a"] } })).await;
        let (one, two) = (key("one").await, key("two").await);
        let status = async |bearer: &str, other: &str| {
            let bearer = format!("Bearer {bearer}");
            let headers = [("authorization", bearer.as_str()), ("x-litellm-api-key", other)];
            gateway.post_with("a", &headers, call("SendMessage", message_v1("m"))).await.status.as_u16()
        };
        assert_eq!(
            (status(&one, &one).await, status(&one, &two).await, status(&one, "sk-nobody").await),
            (200, 401, 401)
        );
        // Two values of one key, for as long as both are its own.
        let rotated = gateway.admin("KeyService/RotateKey", json!({ "id": "one", "overlapMs": 60_000 })).await;
        assert_eq!(status(&one, rotated["secret"].as_str().unwrap()).await, 200);
        gateway.finish().await;
    }
}
