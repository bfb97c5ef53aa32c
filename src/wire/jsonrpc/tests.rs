use super::*;

fn request(body: &'static str) -> Result<Request, BadEnvelope> {
    read_request(&Bytes::from_static(body.as_bytes()))
}

#[test]
fn slices_params_and_ids_out_of_the_body() {
    let body = Bytes::from_static(
        br#"{"params": {"b":1,"a":12345678901234567890} ,"id":"\u0041","method":"GetTask","jsonrpc":"2.0","x":1}"#,
    );
    let request = read_request(&body).unwrap();
    assert_eq!(request.id, r#""\u0041""#);
    assert_eq!(request.params.as_deref(), Some(&br#"{"b":1,"a":12345678901234567890}"#[..]));
    assert_eq!(body.slice_ref(request.params.as_ref().unwrap()).len(), 32, "a slice, not a copy");
}

#[test]
fn answers_notifications_and_null_ids() {
    assert_eq!(request(r#"{"jsonrpc":"2.0","method":"GetTask"}"#).unwrap().id, "null");
    assert_eq!(request(r#"{"jsonrpc":"2.0","method":"GetTask","id":null}"#).unwrap().id, "null");
    assert_eq!(request(r#"{"jsonrpc":"2.0","method":"GetTask","id":-5}"#).unwrap().id, "-5");
}

#[test]
fn says_what_is_wrong_with_an_envelope() {
    for (body, kind) in [
        ("{", Kind::Parse),
        ("", Kind::Parse),
        ("nonsense", Kind::Parse),
        (" [{}]", Kind::InvalidRequest),
        ("1", Kind::InvalidRequest),
        (r#"{"jsonrpc":"1.0","method":"GetTask"}"#, Kind::InvalidRequest),
        (r#"{"jsonrpc":"2.0"}"#, Kind::InvalidRequest),
        (r#"{"jsonrpc":"2.0","method":7}"#, Kind::InvalidRequest),
        (r#"{"jsonrpc":"2.0","method":"GetTask","method":"CancelTask"}"#, Kind::InvalidRequest),
        (r#"{"jsonrpc":"2.0","method":"GetTask","id":1.5}"#, Kind::InvalidRequest),
        (r#"{"jsonrpc":"2.0","method":"GetTask","id":true}"#, Kind::InvalidRequest),
        (r#"{"jsonrpc":"2.0","method":"GetTask","id":{}}"#, Kind::InvalidRequest),
        (r#"{"jsonrpc":"2.0","method":"GetTask","params":[1]}"#, Kind::InvalidParams),
    ] {
        assert_eq!(request(body).unwrap_err().error.kind(), kind, "{body}");
    }
    let invalid_utf8 = Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}");
    assert_eq!(read_request(&invalid_utf8).unwrap_err().error.kind(), Kind::Parse);
}

fn reply(body: &'static str) -> Result<Outcome, Error> {
    read_reply(&Bytes::from_static(body.as_bytes()), b"1", Version::V1_0)
}

#[test]
fn reads_results_and_errors_of_agents() {
    let Ok(Outcome::Result(result)) = reply(r#"{"id":1,"result":null,"jsonrpc":"2.0"}"#) else { panic!() };
    assert_eq!(result, "null");
    let Ok(Outcome::Error(error)) = reply(r#"{"id":null,"error":{"code":-32099,"message":"no","data":[1]}}"#) else {
        panic!()
    };
    let Some(AgentError::JsonRpc { code, data, .. }) = error.from_agent() else { panic!() };
    assert_eq!((*code, error.message(), data.as_deref()), (-32099, "no", Some(&b"[1]"[..])));
    for nonsense in [
        r#"{"id":2,"result":{}}"#,
        r#"{"id":1,"result":{},"error":{"code":1}}"#,
        "<html>",
        r#"{"id":1,"error":"x"}"#,
        r#"{"result":1}"#,
    ] {
        assert_eq!(reply(nonsense).unwrap_err().kind(), Kind::InvalidAgentResponse, "{nonsense}");
    }
}

#[test]
fn passes_an_agents_own_error_on_unchanged_and_translates_it_across_versions() {
    let object = r#"{"message":"gone","code":-32001,"data":{"x":12345678901234567890}}"#;
    let error = read_error(&Bytes::from_static(object.as_bytes()), Version::V0_3).unwrap();
    assert_eq!(error.kind(), Kind::TaskNotFound);
    let same = write_error(b"\"a\"", &error, Version::V0_3);
    assert_eq!(same, format!(r#"{{"jsonrpc":"2.0","id":"a","error":{object}}}"#));
    let other: serde_json::Value = serde_json::from_slice(&write_error(b"1", &error, Version::V1_0)).unwrap();
    assert_eq!(other["error"]["code"], -32001);
    assert_eq!(other["error"]["data"][0]["reason"], "TASK_NOT_FOUND");
    assert_eq!(other["error"]["data"][0]["metadata"]["agentData"], r#"{"x":12345678901234567890}"#);
    let unknown = read_error(&Bytes::from_static(br#"{"code":4711,"message":"own"}"#), Version::V0_3).unwrap();
    let other: serde_json::Value = serde_json::from_slice(&write_error(b"1", &unknown, Version::V1_0)).unwrap();
    assert_eq!((other["error"]["code"].as_i64(), other["error"]["message"].as_str()), (Some(4711), Some("own")));
}

#[test]
fn names_the_field_in_both_versions() {
    let error = Error::invalid("message.parts", "is required");
    let v1: serde_json::Value = serde_json::from_slice(&write_error(b"1", &error, Version::V1_0)).unwrap();
    assert_eq!(v1["error"]["data"][1]["fieldViolations"][0]["field"], "message.parts");
    let v03: serde_json::Value = serde_json::from_slice(&write_error(b"1", &error, Version::V0_3)).unwrap();
    assert_eq!(v03["error"]["data"][0]["field"], "message.parts");
    assert_eq!(v03["error"]["code"], -32602);
}
