//! Compiles the schemas without a protoc binary: messages by prost, their ProtoJSON form by pbjson, the gRPC
//! service by tonic-build, and the shapes by which protobuf bytes are scanned.

use std::path::PathBuf;
use std::{env, error, fs};

use prost::Message;
use prost_reflect::DescriptorPool;

#[path = "build/exact_json.rs"]
mod exact_json;
#[path = "build/service.rs"]
mod service;
#[path = "build/shapes.rs"]
mod shapes;

const PACKAGE: &str = "lf.a2a.v1";
const A2A: &str = "lf/a2a/v1/a2a.proto";
/// A2A 0.3 as gRPC and HTTP+JSON have it.
const PACKAGE_0_3: &str = "a2a.v1";
const A2A_0_3: &str = "a2a/v1/a2a.proto";
/// The admin API; each file imports what it needs.
const ADMIN: [&str; 6] = [
    "switchboard/v1/access_group.proto",
    "switchboard/v1/agent.proto",
    "switchboard/v1/key.proto",
    "switchboard/v1/limits.proto",
    "switchboard/v1/task.proto",
    "switchboard/v1/team.proto",
];
const WELL_KNOWN: [&str; 3] =
    ["google/protobuf/field_mask.proto", "google/protobuf/struct.proto", "google/protobuf/timestamp.proto"];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files([&[A2A, A2A_0_3][..], &ADMIN].concat())?;

    // The encoded set keeps the options of extensions (google.api.http); prost's own types would drop them.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("schema.fds"), &encoded)?;
    let pool = DescriptorPool::decode(&encoded[..])?;
    let service = pool.get_service_by_name("lf.a2a.v1.A2AService").ok_or("the schema has no service")?;
    let service_0_3 = pool.get_service_by_name("a2a.v1.A2AService").ok_or("the schema of 0.3 has no service")?;
    fs::write(out.join("shapes.rs"), shapes::table(&pool, &[&service, &service_0_3]))?;
    service::generate(&service);
    service::generate(&service_0_3);

    let mut files = compiler.file_descriptor_set();
    files.file.retain(|file| [&[A2A, A2A_0_3][..], &ADMIN, &WELL_KNOWN].concat().contains(&file.name()));
    pbjson_build::Builder::new()
        .register_descriptors(&files.encode_to_vec())?
        .out_dir(&out)
        // Of an admin request they are refused where it is read; in the store they are a later release's.
        .ignore_unknown_fields()
        .btree_map(["."])
        .build(&[".lf.a2a.v1", ".switchboard.v1"])?;
    // What is unknown here is refused, and then read by a reader that knows other spellings.
    pbjson_build::Builder::new()
        .register_descriptors(&files.encode_to_vec())?
        .out_dir(&out)
        .btree_map(["."])
        .build(&[".a2a.v1"])?;
    let json = out.join("lf.a2a.v1.serde.rs");
    let exact = exact_json::exact_json(&fs::read_to_string(&json)?, &exact_json::required_fields(&pool)?);
    fs::write(&json, exact)?;

    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .compile_well_known_types(true)
        .btree_map(".")
        .bytes(".lf.a2a.v1.Part.raw")
        .bytes(".a2a.v1.FilePart.file_with_bytes")
        .compile_fds(files)?;
    Ok(())
}
