//! Generates the messages and services from `proto/`, without a `protoc` on the machine.

use prost::Message;
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;
use std::path::PathBuf;

/// Not made `Vec<u8>`: a slice of the request is not copied.
const ENCODED_RECORDS: &str = ".timberlog.v1.AppendRequest.records";
const FILES: [&str; 3] = ["logapi.proto", "loge.proto", "timberlog/v1/timberlog.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(ENCODED_RECORDS)
        .compile_fds(with_encoded_records(descriptors))?;
    Ok(())
}

/// Makes `bytes` of the records of an append, which is the same on the wire: a server reads them where they stand, and
/// takes nothing apart that it would put together again.
fn with_encoded_records(mut descriptors: FileDescriptorSet) -> FileDescriptorSet {
    let messages = descriptors.file.iter_mut().filter(|file| file.package() == "timberlog.v1");
    let appends = messages.flat_map(|file| &mut file.message_type).filter(|message| message.name() == "AppendRequest");
    for field in appends.flat_map(|message| &mut message.field).filter(|field| field.name() == "records") {
        field.set_type(Type::Bytes);
        field.type_name = None;
    }
    descriptors
}
