//! The services beside A2A: health for balancers, and reflection for tools.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::parity::callers::frame;
use crate::support::gateway::{KEY, TestGateway};
use crate::support::grpc::Raw;

const GRPC: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

async fn gateway() -> TestGateway {
    TestGateway::start("timeouts: {drain_ms: 2000}\nagents: [{name: a, url: 'grpc://127.0.0.1:9'}]").await
}

#[tokio::test]
async fn tells_its_health_to_anybody_and_watchers_of_its_end() {
    let mut gateway = gateway().await;
    let health = async |service: &str, gateway: &TestGateway| {
        let body = frame(0, &tonic_health::pb::HealthCheckRequest { service: service.into() }.encode_to_vec());
        Raw::at(gateway, "/grpc.health.v1.Health/Check", &GRPC, body).await
    };
    for (service, status) in [("", 0), ("lf.a2a.v1.A2AService", 0), ("nothing", 5)] {
        assert_eq!(health(service, &gateway).await.grpc().0, status, "{service}");
    }
    assert_eq!(&health("", &gateway).await.body[5..], [0x08, 0x01], "SERVING");
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let watch = Request::post(format!("{}/grpc.health.v1.Health/Watch", gateway.base))
        .header("content-type", "application/grpc");
    let mut watched = http2.request(watch.body(Full::new(frame(0, b""))).unwrap()).await.unwrap().into_body();
    let mut next = async || watched.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(next().await[5..], [0x08, 0x01]);
    let (said, ()) = tokio::join!(next(), gateway.stop_now());
    assert_eq!(said[5..], [0x08, 0x02], "NOT_SERVING");
}

#[tokio::test]
async fn tells_its_schema_to_callers_only_in_both_versions_of_reflection() {
    let gateway = gateway().await;
    let bearer = format!("Bearer {KEY}");
    // Both versions have the same messages.
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let ask = async |headers: &[(&str, &str)], what: MessageRequest| {
            let request = ServerReflectionRequest { host: String::new(), message_request: Some(what) };
            let headers = [&GRPC[..], headers].concat();
            Raw::at(&gateway, &path, &headers, frame(0, &request.encode_to_vec())).await
        };
        let key = [("authorization", bearer.as_str())];
        assert_eq!(ask(&[], MessageRequest::ListServices(String::new())).await.grpc().0, 16, "{version}");
        let said = ask(&key, MessageRequest::ListServices(String::new())).await;
        assert_eq!(said.grpc().0, 0, "{version}");
        let said = ServerReflectionResponse::decode(&said.body[5..]).unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = said else { panic!("{version}: {said:?}") };
        let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        assert!(names.contains(&"lf.a2a.v1.A2AService") && names.contains(&"grpc.health.v1.Health"), "{names:?}");
        let said = ask(&key, MessageRequest::FileContainingSymbol("lf.a2a.v1.A2AService.SendMessage".into())).await;
        let said = ServerReflectionResponse::decode(&said.body[5..]).unwrap().message_response;
        let Some(MessageResponse::FileDescriptorResponse(files)) = said else { panic!("{version}: {said:?}") };
        let has_it = |file: &Vec<u8>| file.windows(11).any(|name| name == b"SendMessage");
        assert!(files.file_descriptor_proto.iter().any(has_it), "{version}");
    }
    gateway.finish().await;
}
