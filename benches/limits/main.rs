//! The benchmark of limits: a mixed load for minutes, and clients that would spoil it for the others.
//!
//!     cargo bench --bench limits                                  # ten minutes of load, then the disturbers
//!     cargo bench --bench limits -- --seconds 60 --json limits.json
//!     cargo bench --bench limits -- --help
//!
//! First the disk is measured alone, then the ceiling of ingestion is found: in a closed loop, merges included. Then four
//! fifths of it come at a fixed rate beside twenty dashboards. Then a modest load is measured alone and beside each disturber. At the end
//! every acknowledged record must be there, once. docs/benchmarks.md says what was seen.

#[path = "../core/corpus.rs"]
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod corpus;
mod dashboards;
mod disk;
mod disturbers;
mod figures;
mod idle;
#[path = "../core/load.rs"]
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod load;
#[path = "../core/machine.rs"]
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod machine;
mod options;
#[path = "../core/process.rs"]
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod process;
mod report;
mod steady;
mod traffic;
#[path = "../core/wire.rs"]
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod wire;

use clap::Parser;
use disturbers::Disturber;
use load::{Load, Protocol};
use options::{Options, Part};
use process::Process;
use report::Report;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use steady::Steady;
use timberlog_types::Tenant;
use traffic::Traffic;

/// The share of the ceiling that the mixed load sends.
const MIXED_SHARE: f64 = 0.8;
/// How often it is looked whether merges are done.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Merges that take longer than this do not end.
const PATIENCE: Duration = Duration::from_secs(1200);

fn main() -> ExitCode {
    // `cargo test --benches` runs it too, and wants to know only that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    raise_open_files();
    let machine = machine::describe();
    println!("# TimberLog {}: limits under load\n\n{machine}\n", env!("CARGO_PKG_VERSION"));
    let place = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(place).expect("a temporary folder");
    let disk = options.has(Part::Disk).then(|| disk::alone(folder.path(), Duration::from_secs(options.phase_seconds)));
    let ceiling = options.ceiling.unwrap_or_else(|| {
        let data = folder.path().join("ceiling");
        let ceiling = ceiling(&options, &Process::start(&data, &options.server_flags()));
        let _ = std::fs::remove_dir_all(data);
        ceiling
    });
    println!("The ceiling of ingestion is {ceiling:.0} records a second.");
    let server = Process::start(&folder.path().join("data"), &options.server_flags());
    let mut report = Report::new(machine, ceiling);
    if let Some(disk) = disk {
        report.disk(&disk);
    }
    let mut acknowledged = 0;
    if options.has(Part::Mixed) {
        let rate = ceiling * MIXED_SHARE;
        let steady = Steady { rate, dashboards: options.dashboards, ..steady(&options) };
        println!("\n## {rate:.0} records a second and {} dashboards\n", options.dashboards);
        let phase = steady.run(&server, Duration::from_secs(options.seconds), None);
        acknowledged += phase.acknowledged;
        report.mixed(phase);
    }
    let rate = ceiling * options.modest_share;
    let modest = Steady { rate, dashboards: options.modest_dashboards, ..steady(&options) };
    let time = Duration::from_secs(options.phase_seconds);
    let wanted: Vec<Disturber> = Disturber::all().filter(|disturber| options.has(disturber.part())).collect();
    if !wanted.is_empty() {
        println!("\n## {rate:.0} records a second and {} dashboards, alone and beside\n", modest.dashboards);
        report.begin_beside();
    }
    for disturber in wanted {
        let alone = modest.run(&server, time, None);
        let beside = modest.run(&server, time, Some(&|stop: &AtomicBool| disturber.run(&server, stop)));
        acknowledged += alone.acknowledged + beside.acknowledged;
        report.beside(disturber.name(), alone, beside);
    }
    report.check("records that were acknowledged and are there", count(&server, Tenant::default()), acknowledged);
    let flooded = report.flooded();
    if flooded > 0 {
        report.check("records of the tenant that floods", count(&server, disturbers::flooding_tenant()), flooded);
    }
    server.stop();
    report.end(options.json.as_deref())
}

/// The load that the options describe, without its rate.
fn steady(options: &Options) -> Steady {
    Steady { rate: 0.0, dashboards: 0, connections: options.connections, batch: options.batch, seed: options.seed }
}

/// Records a second that the server keeps up with: sent as fast as the answers come, over the time until nothing is left to
/// be merged. What merges leave for later counts, else it would be a rate that nobody can send for long.
fn ceiling(options: &Options, server: &Process) -> f64 {
    let start = Instant::now();
    let end = start + Duration::from_secs(options.ceiling_seconds);
    let mut traffic = Traffic::new(options.seed, options.batch);
    let bodies = std::iter::from_fn(move || (Instant::now() < end).then(|| traffic.body()));
    let load = Load { protocol: Protocol::Http, connections: options.connections, batch: options.batch, rate: None };
    let sent = load.run(server, bodies);
    // The count is that of the last look at the manifest: twice nothing is nothing.
    let mut quiet = 0;
    while quiet < 2 {
        std::thread::sleep(LOOK_EVERY);
        let waiting = server.engine()["compaction"]["segments_waiting"].as_u64();
        quiet = if waiting == Some(0) { quiet + 1 } else { 0 };
        assert!(start.elapsed() < PATIENCE, "merges do not end: {waiting:?} segments wait");
    }
    let settled = start.elapsed().as_secs_f64();
    println!(
        "In a closed loop of {:.0} s over {} connections {:.0} records a second were acknowledged; everything was merged \
         after {settled:.0} s.",
        sent.seconds,
        options.connections,
        sent.records as f64 / sent.seconds,
    );
    sent.records as f64 / settled
}

/// How many records a tenant has.
fn count(server: &Process, tenant: Tenant) -> u64 {
    let client = timberlog_client::Client::new(&server.http, tenant, Duration::from_secs(600)).expect("an address");
    let answer: Value = client.post("/api/v1/query", &json!({"aggregate": {}})).expect("a count of everything");
    answer["data"][0]["count"].as_u64().unwrap_or(0)
}

/// Thousands of connections need as many open files, here and in the server, which inherits the limit.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
