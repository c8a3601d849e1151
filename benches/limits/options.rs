//! The command line: how long, how much, and which disturbers.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Measures what a mixed load, and clients that would spoil it for the others, do to latencies, memory and errors.
///
/// Prints Markdown tables. Latencies of appends count from when a request was due.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo bench --bench limits --", version, max_term_width = 110)]
pub struct Options {
    /// How long the mixed load runs
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub seconds: u64,
    /// How long the disk is measured, and the modest load runs, alone and beside each disturber
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub phase_seconds: u64,
    /// What to measure; all without it
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    pub parts: Vec<Part>,
    /// How long the closed loop runs that finds the ceiling; it counts over the time until everything is merged
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub ceiling_seconds: u64,
    /// Records a second that count as the ceiling, instead of finding it
    #[arg(long, value_name = "N")]
    pub ceiling: Option<f64>,
    /// Dashboards beside the mixed load
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub dashboards: usize,
    /// Dashboards of the modest load
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub modest_dashboards: usize,
    /// The share of the ceiling that the modest load sends
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub modest_share: f64,
    /// Connections that append: so many that a slow answer does not keep others from being sent when they are due
    #[arg(long, value_name = "N", default_value_t = 48)]
    pub connections: usize,
    /// Records a request
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub batch: usize,
    /// Seed of the records
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Flags of the server, separated by spaces
    #[arg(long, value_name = "FLAGS", default_value = "", allow_hyphen_values = true)]
    pub serve: String,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the data directories are made; they are removed at the end
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The disk alone, written and synced as a WAL does
    Disk,
    /// Four fifths of the ceiling, and dashboards
    Mixed,
    /// A hundred clients that send a byte a second
    Slow,
    /// 4,000 connections over HTTP/1.1 and 1,000 over HTTP/2 that do nothing
    Idle,
    /// Another tenant that sends as much as it can over 64 connections
    Flood,
    /// Queries that read everything, several at once
    Everything,
}

impl Options {
    /// Whether a part is to be measured.
    pub fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    /// Flags of the server.
    pub fn server_flags(&self) -> Vec<&str> {
        self.serve.split_whitespace().collect()
    }
}
