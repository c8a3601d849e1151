//! The benchmark of the whole: a real server process, real sockets, real files.
//!
//!     cargo bench --bench core                                           # 1,000,000 made-up records
//!     cargo bench --bench core -- --records 1000000,10000000 --json figures.json
//!     cargo bench --bench core -- --compare figures.json
//!     cargo bench --bench core -- --help
//!
//! Each part of the run is a file that ends in figures of [`report`]; what a query finds is held against a scan of the
//! same records. docs/benchmarks.md says what was seen.

mod allocations;
mod backup;
mod compaction;
mod compare;
mod corpus;
mod facts;
mod files;
mod ingest;
mod load;
mod logql;
mod machine;
mod options;
mod peer;
mod process;
mod queries;
mod recovery;
mod report;
mod tier;
mod wire;

use clap::Parser;
use corpus::Corpus;
use facts::Facts;
use options::{Options, Part};
use report::{Scale, number};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One number of records: what is measured, on what, where, and what was seen so far.
struct Bench<'a> {
    options: &'a Options,
    corpus: &'a Corpus,
    folder: &'a Path,
    scale: Scale,
    /// The records, stored once with default settings, when a part has asked for them.
    stored: Option<PathBuf>,
}

/// Measures a part.
type Measure = fn(&mut Bench<'_>);

fn main() -> ExitCode {
    // `cargo test --benches` runs it too, and wants to know only that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let earlier = options.compare.as_deref().map(compare::read);
    let machine = machine::describe();
    println!("# TimberLog {}\n\n{machine}", env!("CARGO_PKG_VERSION"));
    let corpora = match &options.corpus {
        Some(path) => vec![Corpus::file(path)],
        None => options.records.iter().map(|&records| Corpus::made_up(options.seed, records)).collect(),
    };
    let scales: Vec<Scale> = corpora.iter().map(|corpus| measure(&options, corpus)).collect();
    report::print_growth(&scales);
    if let Some(path) = &options.json {
        let of_scales: Vec<_> = scales.iter().map(Scale::json).collect();
        let all = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "rounds": options.rounds,
            "connections": options.connections, "batch": options.batch, "rate": options.rate, "scales": of_scales});
        let text = serde_json::to_string_pretty(&all).expect("JSON");
        std::fs::write(path, text + "\n").unwrap_or_else(|error| panic!("write `{}`: {error}", path.display()));
    }
    if let Some(earlier) = earlier {
        earlier.print(&scales);
    }
    let wrong: Vec<_> = scales.iter().flat_map(|scale| &scale.wrong).collect();
    wrong.iter().for_each(|what| println!("\nWRONG: {what}"));
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(options: &Options, corpus: &Corpus) -> Scale {
    let facts = Facts::of(corpus, options.rounds);
    let megabytes = number(facts.bytes as f64 / 1e6);
    let (z, ratio) = (number(facts.z()), number(facts.bytes as f64 / facts.zstd_bytes.max(1) as f64));
    println!("\n## {} records, {}\n", corpus.records, corpus.describe());
    println!("{megabytes} MB; `zstd -1` takes Z = {z} s, and makes it {ratio} times smaller.");
    let place = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(place).expect("a temporary folder");
    let mut bench = Bench { options, corpus, folder: folder.path(), scale: Scale::new(facts), stored: None };
    let parts: [(Part, Measure); 11] = [
        (Part::Allocations, allocations::measure),
        (Part::Ingest, ingest::closed),
        (Part::Open, ingest::open),
        (Part::Queries, queries::all),
        (Part::Logql, logql::all),
        (Part::Indexed, queries::indexed),
        (Part::Compaction, compaction::measure),
        (Part::Tier, tier::measure),
        (Part::Backup, backup::measure),
        (Part::Recovery, recovery::measure),
        (Part::Peer, peer::measure),
    ];
    for (part, measure) in parts {
        if options.has(part) {
            measure(&mut bench);
            bench.scale.print();
        }
    }
    bench.scale
}

impl Bench<'_> {
    /// Rounds of a measure.
    pub fn rounds(&self) -> std::ops::Range<u32> {
        0..self.options.rounds
    }

    /// A folder that is not there yet.
    pub fn empty(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    /// The records, stored with default settings: what the queries ask.
    pub fn stored(&mut self) -> PathBuf {
        match &self.stored {
            Some(path) => path.clone(),
            None => {
                let path = self.empty("stored");
                ingest::store(self, &path, &[]);
                self.stored.insert(path).clone()
            }
        }
    }
}
