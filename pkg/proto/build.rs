//! Generates the messages and services from `proto/`, without a `protoc` on the machine.

use prost::Message;
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;
use std::path::PathBuf;

/// Not made `Vec<u8>`: a slice of the request is not copied.
const ENCODED_RECORDS: &str = ".timberlog.v1.AppendRequest.records";
/// What a server gets as it came: a few bytes of them would become much memory before anything could be counted.
const ENCODED_MESSAGES: [&str; 3] = [".logapi.LogEntry", ".logapi.LogBatch", ".timberlog.v1.AppendRequest"];
const FILES: [&str; 3] = ["logapi.proto", "loge.proto", "timberlog/v1/timberlog.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    let servers = PathBuf::from(std::env::var("OUT_DIR")?).join("servers");
    std::fs::create_dir_all(&servers)?;
    let mut generator = tonic_prost_build::configure()
        .build_transport(false)
        .build_client(false)
        .extern_path(".logapi", "crate::logapi")
        .extern_path(".timberlog.v1", "crate::v1")
        .out_dir(servers);
    for message in ENCODED_MESSAGES {
        generator = generator.extern_path(message, "crate::Encoded");
    }
    generator.compile_fds(descriptors.clone())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .build_server(false)
        .bytes(ENCODED_RECORDS)
        .compile_fds(with_encoded_records(descriptors))?;
    Ok(())
}

/// Makes `bytes` of the records of an append, which is the same on the wire: who has encoded them already hands
/// them over as they are.
fn with_encoded_records(mut descriptors: FileDescriptorSet) -> FileDescriptorSet {
    let messages = descriptors.file.iter_mut().filter(|file| file.package() == "timberlog.v1");
    let appends = messages.flat_map(|file| &mut file.message_type).filter(|message| message.name() == "AppendRequest");
    for field in appends.flat_map(|message| &mut message.field).filter(|field| field.name() == "records") {
        field.set_type(Type::Bytes);
        field.type_name = None;
    }
    descriptors
}
