//! The gRPC service: trait, server and client, over messages that keep their bytes.
//!
//! tonic's usual codec decodes a message and drops its bytes, and with them every field that this build does not
//! know. So each method's types are `Encoded<T>`, the bytes of a `T`, and the codec only hands them over.

use prost_reflect::{MessageDescriptor, ServiceDescriptor};
use tonic_build::manual::{Builder, Method, Service};

pub fn generate(service: &ServiceDescriptor) {
    let mut generated = Service::builder().name(service.name()).package(service.package_name());
    for method in service.methods() {
        let generated_method = Method::builder()
            .name(snake_case(method.name()))
            .route_name(method.name())
            .input_type(encoded(&method.input()))
            .output_type(encoded(&method.output()))
            .codec_path("crate::wire::grpc::EncodedCodec");
        let generated_method =
            if method.is_server_streaming() { generated_method.server_streaming() } else { generated_method };
        generated = generated.method(generated_method.build());
    }
    // The way to agents is our own, so nothing of tonic's transport is needed.
    Builder::new().build_transport(false).compile(&[generated.build()]);
}

fn encoded(message: &MessageDescriptor) -> String {
    let name = match message.full_name() {
        "google.protobuf.Empty" => "()".to_owned(),
        _ if message.package_name() == crate::PACKAGE_0_3 => format!("crate::proto::v0_3::{}", message.name()),
        _ => format!("crate::proto::{}", message.name()),
    };
    format!("crate::wire::grpc::Encoded<{name}>")
}

fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
