use super::*;
use crate::operation::Version;

fn none(_: &str) -> Option<String> {
    None
}

fn environment(name: &str) -> Option<String> {
    (name == "KEY").then(|| "sk-from-the-environment".to_owned())
}

fn problems(text: &str) -> Vec<String> {
    let problems = read(text, &none).expect_err("the configuration is wrong");
    problems.into_iter().map(|p| format!("{}:{}: {} ({})", p.line.unwrap_or(0), p.key, p.message, p.hint)).collect()
}

const MINIMAL: &str = "master_key: sk-1234\nagents:\n  - name: echo\n    url: http://127.0.0.1:9999\n";

#[test]
fn fills_in_every_default() {
    let settings = read(MINIMAL, &none).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:4000");
    assert_eq!(settings.limits.body_bytes_max, 16 << 20);
    assert_eq!(settings.agents[0].protocol_version, None);
    assert!(settings.public_url.is_none());
}

#[test]
fn reads_the_documented_example() {
    let text = "version: 1\nlisten: 127.0.0.1:4000\npublic_url: http://127.0.0.1:4000\nmaster_key: ${KEY}\nkeys: [ { name: alice, key: sk-a$$b, agents: [echo] } ]\nagents:\n  - name: echo\n    url: http://127.0.0.1:9999\n    card_url: http://127.0.0.1:9999/.well-known/agent-card.json\n    protocol_version: 1.0\n    headers: { x-token: os.environ/KEY }\n";
    let settings = read(text, &environment).unwrap();
    assert_eq!(settings.master_key.unwrap().expose(), "sk-from-the-environment");
    assert_eq!(settings.keys[0].key.expose(), "sk-a$b");
    assert_eq!(settings.agents[0].protocol_version, Some(Version::V1_0));
    assert_eq!(settings.agents[0].headers["x-token"], "sk-from-the-environment");
}

#[test]
fn reports_everything_at_once_with_line_and_hint() {
    let found = problems(
        "listn: 1\nlisten: nowhere\nmaster_key: ${UNSET_NAME}\nkeys:\n  - name: a\n    key: sk-1\n    agents: [ghost]\nagents:\n  - name: a b\n    url: ftp://x\n  - name: echo\n    url: http://h\n    protocol_version: 2.0\n  - name: echo\n    url: http://h\nlimits:\n  body_bytes_max: lots\n",
    );
    let expect = [
        "1:listn: is not a key that exists here (did you mean listen?)",
        "2:listen: is not an address with a port",
        "3:master_key: uses the environment variable UNSET_NAME, which is not set",
        "9:agents[0].name: must be up to 63 letters",
        "10:agents[0].url: must begin with http:// or https://, not ftp:",
        "13:agents[1].protocol_version: must be auto, \"0.3\" or \"1.0\"",
        "17:limits.body_bytes_max: must be a whole number",
        "0:agents: echo names two agents",
        "0:keys: a may call ghost, which is no agent here",
    ];
    for (expected, found) in expect.iter().zip(&found) {
        assert!(found.starts_with(expected), "expected {expected}\nfound    {found}");
    }
    assert_eq!(found.len(), expect.len(), "{found:#?}");
}

#[test]
fn is_strict_off_loopback() {
    let weak = problems("listen: 0.0.0.0:4000\nmaster_key: sk-1234\n");
    assert!(weak[0].contains("fewer than 32 characters"), "{weak:?}");
}

#[test]
fn never_shows_a_secret() {
    let text =
        "master_key: sk-very-secret\nagents: [{name: a, url: https://h, headers: {authorization: Bearer hidden}}]";
    let shown = format!("{:?}", read(text, &none).unwrap());
    assert!(!shown.contains("very-secret") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn refuses_twice_written_keys_and_broken_yaml() {
    assert!(problems("master_key: a\nmaster_key: b\n")[0].contains("2:master_key: stands twice"));
    assert!(problems("master_key: [")[0].contains("is not valid YAML"));
    assert!(problems("- 1")[0].contains("must be a mapping"));
}

#[test]
fn reads_a_litellm_proxy_file_and_says_what_is_not_ours() {
    let text = "model_list:\n  - model_name: gpt\ngeneral_settings:\n  master_key: os.environ/KEY\n  database_url: x\nagents:\n  - agent_name: my agent\n    agent_card_params: {url: http://h:1/, protocolVersion: '1.0', name: x, description: does things}\n    litellm_params: {a2a_protocol_version: '0.3', cost_per_query: 0.1, is_public: false, max_iterations: null}\n    static_headers: {x-api-key: env:KEY}\n    extra_headers: [x-user-token]\n    object_permission: {agents: []}\n    rpm_limit: null\n";
    let settings = read(text, &environment).unwrap();
    let agent = &settings.agents[0];
    assert_eq!((&*agent.name, agent.url.as_str()), ("my agent", "http://h:1/"));
    assert_eq!((agent.serve_version, agent.protocol_version), (Some(Version::V1_0), Some(Version::V0_3)));
    assert_eq!(agent.headers["x-api-key"], "sk-from-the-environment");
    assert_eq!(settings.master_key.unwrap().expose(), "sk-from-the-environment");
    assert_eq!(settings.notes.len(), 3, "{:?}", settings.notes);
}

#[test]
fn refuses_by_name_what_restricts_in_litellm_and_not_here() {
    let entry = "master_key: sk-1\nagents:\n  - agent_name: a\n    agent_card_params: {url: http://h}\n";
    for field in [
        "    max_parallel_requests: 6\n",
        "    kill_switch: {url: http://k}\n",
        "    litellm_params: {max_iterations: 25}\n",
        "    litellm_params: {guardrails: [pii]}\n",
        "    object_permission: {agents: [b]}\n",
        "    litellm_params: {custom_llm_provider: langgraph}\n",
    ] {
        let found = problems(&format!("{entry}{field}"));
        assert_eq!(found.len(), 1, "{field}{found:?}");
    }
}

#[test]
fn enforces_what_it_can_of_litellms_restrictions() {
    let entry =
        "agents:\n  - agent_name: a\n    agent_card_params: {url: http://h}\n    rpm_limit: 60\n    enabled: false\n";
    let settings = read(entry, &none).unwrap();
    assert_eq!(settings.agents[0].rates.requests_per_minute_max, 60);
    assert!(!settings.agents[0].is_served);
}

#[test]
fn reads_limits_roles_and_operations() {
    let text = "keys:\n- {name: k, key: x, agents: '*', role: auditor, operations: [GetTask], limits: {calls_max: 3}}\nagents:\n- {name: a, url: http://h, tags: [t], limits: {streams_max: 2}, timeouts: {idle_ms: 7}, enabled: true, public: true}\n";
    let settings = read(text, &none).unwrap();
    let (key, agent) = (&settings.keys[0], &settings.agents[0]);
    assert_eq!((key.role, key.rates.calls_max, &key.operations[..]), (Role::Auditor, 3, &[Rpc::GetTask][..]));
    assert_eq!((agent.rates.streams_max, agent.timeouts.idle.unwrap().as_millis()), (2, 7));
    assert!(agent.is_served && agent.public && agent.tags == ["t"]);
    let wrong = problems(
        "keys:\n- {name: k, key: x, agents: '*', role: king, operations: [Nonsense], limits: {calls_max: many, calls: 1}}\nagents: [{name: agents, url: http://h}]\ndefault_access: some\nstore: {url: 'mysql://u:secret@h/d'}\nencryption_key: short\n",
    );
    assert_eq!(wrong.len(), 8, "{wrong:#?}");
    assert!(!format!("{wrong:?}").contains("secret"));
    let shared = problems("store: {url: postgres://h/d}\n");
    assert!(shared[0].contains("encryption_key: is missing"), "{shared:?}");
}
