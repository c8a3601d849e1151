//! Flags of `serve` that say how much a tenant may send.

use bytesize::ByteSize;
use clap::Args;
use timberlog_api::ServerOptions;

/// How much a tenant may send.
#[derive(Args)]
pub struct Rate {
    /// Bytes a second that a tenant may send, decompressed; beyond it its requests are answered with 429. 0: no limit
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_INGEST_RATE_MAX", default_value = "0")]
    ingest_rate_max: ByteSize,
    /// Bytes that a tenant may send at once when it was quiet before; 0: those of two seconds
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_INGEST_BURST_MAX", default_value = "0")]
    ingest_burst_max: ByteSize,
}

impl Rate {
    /// The server's options with these.
    pub fn apply(&self, options: ServerOptions) -> ServerOptions {
        ServerOptions {
            ingest_rate_max: self.ingest_rate_max.as_u64(),
            ingest_burst_max: self.ingest_burst_max.as_u64(),
            ..options
        }
    }
}
