//! Any bytes as a gRPC message: refused, or its records are decoded, each stored or refused by its
//! index, and its filter compiled. The first byte says which message.

use crate::ingest::with_options;
use prost::Message;
use timberlog_api::requests;
use timberlog_filter::Compiled;
use timberlog_proto::v1;

/// See the module.
pub fn grpc(input: &[u8]) {
    let Some((&kind, bytes)) = input.split_first() else { return };
    match kind % 3 {
        0 => with_options(&[], |options| requests::append(bytes, options)),
        1 => with_options(&[], |options| requests::upload(bytes, options)),
        _ => {
            if let Ok(request) = v1::QueryRequest::decode(bytes)
                && let Some((filter, _)) = requests::query(&request)
            {
                let _ = Compiled::new(&filter);
            }
        }
    }
}
