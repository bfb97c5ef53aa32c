use super::*;
use crate::proto;

const LIMITS: JsonLimits = JsonLimits { depth_max: 48, nodes_max: 1_000, parts_max: 10, digits_max: 100 };

fn found(verb: &Verb, path: &str) -> (Rpc, Vec<String>, String) {
    let route = find(verb, path).unwrap_or_else(|why| panic!("{verb} {path}: {why:?}"));
    (route.method.rpc, route.variables.into_iter().map(|(_, value)| value).collect(), route.tenant)
}

#[test]
fn finds_every_operation_with_and_without_a_tenant() {
    for method in &METHODS {
        let path = method.http.1.replace("{id=*}", "i").replace("{task_id=*}", "t");
        assert_eq!(found(&method.http.0, &path).0, method.rpc, "{path}");
        assert_eq!(found(&method.http.0, &format!("/acme{path}")).2, "acme", "{path}");
        assert_eq!(found(&method.http.0, &format!("/acme/x{path}")).2, "acme/x", "{path}");
    }
}

#[test]
fn splits_at_the_last_colon_and_decodes_afterwards() {
    let id = |verb, path: &str| found(verb, path).1.remove(0);
    assert_eq!(id(&Verb::GET, "/tasks/a:b"), "a:b");
    assert_eq!(id(&Verb::POST, "/tasks/a:b:cancel"), "a:b");
    assert_eq!(id(&Verb::GET, "/tasks/a%2Fb"), "a/b");
    assert_eq!(id(&Verb::GET, "/tasks/a%3Acancel"), "a:cancel");
    assert_eq!(found(&Verb::GET, "/tasks/tasks").0, Rpc::GetTask, "the reading without a tenant");
}

#[test]
fn refuses_paths_that_are_none_and_says_which_verbs_there_are() {
    for path in [
        "/",
        "/tasks/",
        "/tasks/..",
        "/tasks/%2e%2E",
        "/tasks/a/b",
        "/..//tasks",
        "/nothing",
        "/tasks/%FF",
        "/tasks/a%2F..%2Fb",
    ] {
        assert_eq!(find(&Verb::GET, path).unwrap_err(), NoRoute::Unknown, "{path}");
    }
    let verbs = |verb, path| match find(verb, path).unwrap_err() {
        NoRoute::Verbs(verbs) => verbs,
        NoRoute::Unknown => panic!("{path} is known"),
    };
    assert_eq!(verbs(&Verb::PUT, "/tasks/a"), [Verb::GET, Verb::HEAD]);
    assert_eq!(verbs(&Verb::GET, "/tasks/a:cancel"), [Verb::POST]);
    assert_eq!(verbs(&Verb::HEAD, "/tasks/a:subscribe"), [Verb::GET, Verb::POST]);
    assert_eq!(verbs(&Verb::GET, "/message:send"), [Verb::POST]);
}

fn list(query: &str) -> Result<proto::ListTasksRequest, Error> {
    let route = find(&Verb::GET, "/tasks").unwrap();
    match read_request(&route, Some(query), &Bytes::new(), &LIMITS)?.0 {
        Operation::ListTasks(request) => Ok(request),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_a_query_by_the_names_and_forms_of_the_schema() {
    let request = list(
        "contextId=c+1&status=TASK_STATE_WORKING&page_size=5&pageSize=7&includeArtifacts=true\
         &statusTimestampAfter=2023-11-14T22%3A13%3A20.005Z&historyLength=0&unknown=x&pageToken=",
    );
    assert!(request.unwrap_err().message().contains("pageSize"), "both spellings of one name");
    let request = list("contextId=c+1&status=TASK_STATE_WORKING&pageSize=5&pageSize=7&includeArtifacts=true&unknown=x");
    let request = request.unwrap();
    assert_eq!(
        (request.context_id.as_str(), request.page_size, request.include_artifacts),
        ("c 1", Some(7), Some(true))
    );
    assert_eq!(request.status, 2);
}

#[test]
fn names_the_parameter_that_is_wrong() {
    for (query, field) in [
        ("status=FOO", "status"),
        ("pageSize=x", "pageSize"),
        ("pageSize=0", "pageSize"),
        ("includeArtifacts=maybe", "includeArtifacts"),
        ("statusTimestampAfter=yesterday", "statusTimestampAfter"),
    ] {
        let error = list(query).unwrap_err();
        assert_eq!((error.kind(), error.violations()[0].field.as_str()), (Kind::InvalidParams, field), "{query}");
    }
    assert_eq!(list("contextId=%FF").unwrap_err().kind(), Kind::InvalidParams);
}

#[test]
fn refuses_bodies_that_are_no_json_before_anything_else_looks_at_them() {
    let whole =
        br#"{"tenant":"a","message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"\u00e9\""}]},"x":"y"}"#;
    let route = find(&Verb::POST, "/message:send").unwrap();
    let read = |body: Bytes| read_request(&route, None, &body, &LIMITS);
    assert!(read(Bytes::from_static(whole)).is_ok());
    for length in 0..whole.len() {
        let error = read(Bytes::from_static(&whole[..length])).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidRequest, "{length}");
    }
    let mut no_utf8 = whole.to_vec();
    let at = no_utf8.iter().position(|byte| *byte == b'y').unwrap();
    no_utf8[at] = 0xff;
    assert_eq!(read(no_utf8.into()).unwrap_err().kind(), Kind::InvalidRequest, "also where nobody looks");
}

#[test]
fn lets_the_path_win_over_the_body_but_not_over_another_tenant() {
    let create = |path: &str, body: &'static str| {
        let route = find(&Verb::POST, path).unwrap();
        read_request(&route, None, &Bytes::from_static(body.as_bytes()), &LIMITS)
    };
    let body = r#"{"taskId":"other","url":"https://h/w"}"#;
    match create("/tasks/t/pushNotificationConfigs", body).unwrap().0 {
        Operation::CreatePushConfig(config) => {
            assert_eq!((config.task_id.as_str(), config.url.as_str()), ("t", "https://h/w"));
        }
        other => panic!("{other:?}"),
    }
    let error =
        create("/acme/tasks/t/pushNotificationConfigs", r#"{"tenant":"other","url":"https://h/w"}"#).unwrap_err();
    assert_eq!(error.violations()[0].field, "tenant");
    assert_eq!(create("/tasks/t:cancel", "").unwrap().0.task_id(), Some("t"));
    assert_eq!(create("/message:send", "[]").unwrap_err().kind(), Kind::InvalidRequest);
    assert_eq!(create("/message:send", "").unwrap_err().kind(), Kind::InvalidRequest);
}

#[test]
fn writes_what_it_reads() {
    let request = proto::ListTasksRequest { context_id: "c 1&".into(), page_size: Some(5), ..Default::default() };
    let target = target(&Operation::ListTasks(request.clone()), "acme/x").unwrap();
    assert_eq!(
        (target.path_and_query.as_str(), target.has_body),
        ("/acme/x/tasks?contextId=c%201%26&pageSize=5", false)
    );
    let (path, query) = target.path_and_query.split_once('?').unwrap();
    let route = find(&target.verb, path).unwrap();
    let (read, _) = read_request(&route, Some(query), &Bytes::new(), &LIMITS).unwrap();
    assert_eq!(read, Operation::ListTasks(proto::ListTasksRequest { tenant: "acme/x".into(), ..request }));
    let cancel = Operation::CancelTask(proto::CancelTaskRequest { id: "a/b:c".into(), ..Default::default() });
    assert_eq!(super::target(&cancel, "").unwrap().path_and_query, "/tasks/a%2Fb%3Ac:cancel");
    for (id, tenant) in [("..", ""), ("a/../b", ""), ("", ""), ("t", "a/../b"), ("t", ".."), ("t", "a//b")] {
        let cancel = Operation::CancelTask(proto::CancelTaskRequest { id: id.into(), ..Default::default() });
        assert_eq!(super::target(&cancel, tenant).unwrap_err().kind(), Kind::InvalidParams, "{id} {tenant}");
    }
    // This would be GetTask for a task called tasks.
    let list = Operation::ListTasks(proto::ListTasksRequest::default());
    assert_eq!(super::target(&list, "acme/tasks").unwrap_err().violations()[0].field, "tenant");
}
