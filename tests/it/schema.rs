//! Our schema is the published one, and our table of operations is what the schema says.

use base64::Engine as _;
use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use serde_json::json;
use switchboard::operation::METHODS;
use switchboard::proto::DESCRIPTOR_SET;

use crate::support::peers;

const FILE: &str = "lf/a2a/v1/a2a.proto";
const FILE_0_3: &str = "a2a/v1/a2a.proto";

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTOR_SET).expect("our own descriptor set")
}

/// The file with its options spelled out, and without its name, its file options and its source: what is compared.
///
/// Compilers differ in how they pack options, so both sides go through one codec that knows them.
fn comparable(pool: &DescriptorPool, encoded: &[u8]) -> Vec<u8> {
    let descriptor = pool.get_message_by_name("google.protobuf.FileDescriptorProto").expect("it is imported");
    let mut file = DynamicMessage::decode(descriptor, encoded).expect("a file descriptor");
    for field in ["name", "options", "source_code_info"] {
        file.clear_field_by_name(field);
    }
    file.encode_to_vec()
}

#[test]
fn is_byte_for_byte_the_schema_of_the_python_sdk() {
    if peers::python_is_off() {
        return;
    }
    for (version, file, package) in [("1.0", FILE, "lf.a2a.v1"), ("0.3", FILE_0_3, "a2a.v1")] {
        let answer = peers::oracle().lock().unwrap().ask(&json!({ "op": "descriptor", "version": version }));
        let published = base64::engine::general_purpose::STANDARD.decode(answer["binary"].as_str().unwrap()).unwrap();
        let set = DynamicMessage::decode(
            pool().get_message_by_name("google.protobuf.FileDescriptorSet").expect("it is imported"),
            DESCRIPTOR_SET,
        )
        .unwrap();
        let files = set.get_field_by_name("file").unwrap();
        let ours = files.as_list().unwrap().iter().find_map(|found| {
            let found = found.as_message()?;
            (found.get_field_by_name("name")?.as_str()? == file).then(|| found.encode_to_vec())
        });
        let ours = comparable(&pool(), &ours.expect("our file is in the set"));
        let theirs = comparable(&pool(), &published);
        assert!(ours.len() > 5_000, "the comparison has something to compare");
        assert!(ours == theirs, "{file} differs from the published one: {} and {} bytes", ours.len(), theirs.len());
        let published = FileDescriptorProto::decode(&published[..]).unwrap();
        assert_eq!(published.package(), package);
    }
}

#[test]
fn has_a_row_for_every_rpc_with_its_path() {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    let file = set.file.iter().find(|file| file.name() == FILE).unwrap();
    let names: Vec<_> = file.service[0].method.iter().map(|method| method.name().to_owned()).collect();
    assert_eq!(names, METHODS.iter().map(|method| method.name).collect::<Vec<_>>(), "same order, same names");
    let pool = pool();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let service = pool.get_service_by_name("lf.a2a.v1.A2AService").unwrap();
    for (rpc, row) in service.methods().zip(&METHODS) {
        let options = rpc.options();
        let Value::Message(rule) = options.get_extension(&http).into_owned() else { panic!("no http rule") };
        let (verb, path) = row.http.clone();
        let field = verb.as_str().to_ascii_lowercase();
        assert_eq!(rule.get_field_by_name(&field).unwrap().as_str(), Some(path), "{}", row.name);
        let more = rule.get_field_by_name("additional_bindings").unwrap();
        let tenant = more.as_list().unwrap()[0].as_message().unwrap().get_field_by_name(&field).unwrap().into_owned();
        assert_eq!(tenant.as_str(), Some(format!("/{{tenant}}{path}").as_str()));
        assert_eq!(rpc.is_server_streaming(), row.streams, "{}", row.name);
    }
}

#[test]
fn has_the_rpcs_and_paths_of_0_3() {
    let pool = pool();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let service = pool.get_service_by_name("a2a.v1.A2AService").unwrap();
    let mut known = 0;
    for row in METHODS.iter().filter(|row| row.rpc_0_3.is_some()) {
        let rpc = service.methods().find(|rpc| Some(rpc.name()) == row.rpc_0_3).expect("the schema has it");
        let options = rpc.options();
        let Value::Message(rule) = options.get_extension(&http).into_owned() else { panic!("no http rule") };
        let (verb, path) = row.http_0_3.clone().expect("it has a path");
        let field = verb.as_str().to_ascii_lowercase();
        assert_eq!(rule.get_field_by_name(&field).unwrap().as_str(), Some(path), "{}", row.name);
        assert_eq!(rpc.is_server_streaming(), row.streams, "{}", row.name);
        known += 1;
    }
    assert_eq!(known, service.methods().len(), "and no other");
}
