//! The command line: what is measured, on what, and where the figures go.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Measures TimberLog as a whole: a real server process, real sockets, real files, an fsync before every answer.
///
/// Prints Markdown tables. Every figure is the median of several rounds, with the smallest and the largest beside it. CPU
/// stands also in Z, the CPU time of `zstd -1` over the same bytes in the same run, so that machines can be compared.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo bench --bench core --", version, max_term_width = 110)]
pub struct Options {
    /// How many records to make up; several numbers measure each of them, and how every figure grows
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000000")]
    pub records: Vec<u64>,
    /// Seed of the records
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// A file of JSON lines (timestamp, level, service, host, trace_id, message) instead of made-up records
    #[arg(long, value_name = "FILE", conflicts_with = "records")]
    pub corpus: Option<PathBuf>,
    /// What to measure; all without it
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    pub parts: Vec<Part>,
    /// Rounds of each measure: their spread is the noise
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Connections of the load
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub connections: usize,
    /// Records a request
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub batch: usize,
    /// Records a second of the open loop
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub rate: u32,
    /// The longest open loop in seconds
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub open_seconds: u32,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Compare with the JSON of an earlier run, and say what moved by more than the noise of both
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Where the data directories are made; they are removed at the end
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Measure VictoriaLogs beside us on the same records: the path of its binary
    #[arg(long, value_name = "PATH")]
    pub peer_victorialogs: Option<PathBuf>,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Allocations of the decoder, of appends and flushes, in this process
    Allocations,
    /// Closed loop over HTTP and gRPC: as fast as the answers come
    Ingest,
    /// Open loop over HTTP and gRPC: a fixed rate, latency from when a request was due
    Open,
    /// The query set, cold and warm
    Queries,
    /// LogQL in turn with the native query of the same meaning
    Logql,
    /// The query of one trace with an index of its own
    Indexed,
    /// Sixteen segments become one
    Compaction,
    /// Segments go to an S3 server (where TIMBERLOG_S3_TEST names one), and are read there
    Tier,
    /// Backup, its verification, restore
    Backup,
    /// Replay of the WAL after `kill -9`, and a start with many segments
    Recovery,
    /// The peer, where one is named
    Peer,
}

impl Options {
    /// Whether a part is to be measured.
    pub fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}
