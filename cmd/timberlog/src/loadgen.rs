//! `timberlog loadgen`: load over HTTP, closed loop (as fast as the answers come) or open loop (a
//! fixed rate, latency counted from when a request was due), with latency percentiles.

use crate::output::say;
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use timberlog_client::Client;
use timberlog_types::{Error, ErrorKind, Tenant};

/// Flags of `loadgen`.
#[derive(Args)]
pub struct Arguments {
    /// The server
    #[arg(long, value_name = "URL", env = "TIMBERLOG_ADDR", default_value = "http://127.0.0.1:3100")]
    addr: String,
    /// The tenant
    #[arg(long, value_name = "NAME", env = "TIMBERLOG_TENANT", default_value = "default")]
    tenant: String,
    /// JSON lines to send; without it, made-up traffic
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Records to send; of a file, all by default
    #[arg(long, value_name = "N")]
    records: Option<usize>,
    /// Records a request
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Records a second (open loop); without it, as fast as the answers come (closed loop)
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Seed of the made-up traffic
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Give up after so many tries of a request that the server asked to send later
    #[arg(long, value_name = "N", default_value_t = 60)]
    retries_max: u32,
}

/// Made-up records when nothing else is said.
const RECORDS_DEFAULT: usize = 100_000;

/// The longest wait that a server may ask for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Serialize)]
struct Report {
    records: u64,
    refused: u64,
    requests: u64,
    retries: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    latency_ms: Percentiles,
}

#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// Sends the load and prints what was measured as JSON.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = text(arguments)?;
    let bodies = bodies(&text, arguments.batch as usize, arguments.records);
    let tenant = Tenant::new(&arguments.tenant)?;
    let client = Client::new(&arguments.addr, tenant, Duration::from_secs(60))?;
    let load = Load {
        arguments,
        bodies: &bodies,
        next: AtomicUsize::new(0),
        started: Instant::now(),
        retries: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        records: AtomicU64::new(0),
        latencies: Mutex::new(Vec::with_capacity(bodies.len())),
    };
    std::thread::scope(|scope| {
        let connections: Vec<_> = (0..arguments.connections)
            .map(|_| {
                // An agent of its own: a connection of its own.
                let client = Client::new(&arguments.addr, Tenant::new(&arguments.tenant)?, Duration::from_secs(60))?;
                Ok(scope.spawn({
                    let load = &load;
                    move || load.run(&client)
                }))
            })
            .collect::<Result<_>>()?;
        connections.into_iter().try_for_each(|connection| {
            connection.join().unwrap_or_else(|_| Err(Error::internal("a connection's thread panicked").into()))
        })
    })?;
    drop(client);
    let seconds = load.started.elapsed().as_secs_f64();
    let mut latencies = load.latencies.into_inner().unwrap_or_default();
    latencies.sort_by(f64::total_cmp);
    let records = load.records.into_inner();
    let report = Report {
        records,
        refused: load.refused.into_inner(),
        requests: latencies.len() as u64,
        retries: load.retries.into_inner(),
        bytes: bodies.iter().map(|body| body.len() as u64).sum(),
        seconds,
        records_per_second: records as f64 / seconds,
        latency_ms: percentiles(&latencies),
    };
    say!("{}", serde_json::to_string_pretty(&report)?);
    Ok(ExitCode::SUCCESS)
}

struct Load<'a> {
    arguments: &'a Arguments,
    bodies: &'a [&'a [u8]],
    next: AtomicUsize,
    started: Instant,
    retries: AtomicU64,
    refused: AtomicU64,
    records: AtomicU64,
    latencies: Mutex<Vec<f64>>,
}

impl Load<'_> {
    fn run(&self, client: &Client) -> Result<()> {
        let mut latencies = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(body) = self.bodies.get(index) else { break };
            let due = self.due(index);
            self.send(client, body)?;
            latencies.push(due.elapsed().as_secs_f64() * 1e3);
        }
        self.latencies.lock().map_err(|_| Error::internal("a connection's thread panicked"))?.extend(latencies);
        Ok(())
    }

    /// When a request is due: now, or by the rate; waits until then.
    fn due(&self, index: usize) -> Instant {
        let Some(rate) = self.arguments.rate else { return Instant::now() };
        let due =
            self.started + Duration::from_secs_f64(index as f64 * f64::from(self.arguments.batch) / rate.max(1e-3));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due
    }

    fn send(&self, client: &Client, body: &[u8]) -> Result<()> {
        for _ in 0..=self.arguments.retries_max {
            match client.ingest(body, None) {
                Ok(answer) => {
                    self.records.fetch_add(answer.accepted, Ordering::Relaxed);
                    self.refused.fetch_add(answer.refused.len() as u64, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Error { kind: ErrorKind::Overloaded { retry_after }, .. }) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(retry_after.min(WAIT_MAX));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let kind = ErrorKind::Overloaded { retry_after: Duration::from_secs(1) };
        Err(Error::new(kind, format!("the server was overloaded {} times", self.arguments.retries_max + 1)).into())
    }
}

fn text(arguments: &Arguments) -> Result<Vec<u8>> {
    match &arguments.file {
        Some(path) => {
            let read = std::fs::read(path).map_err(|error| Error::io(format!("read `{}`", path.display()), &error));
            read.map_err(Into::into)
        }
        None => {
            let records = arguments.records.unwrap_or(RECORDS_DEFAULT);
            made_up(arguments.seed, records).context("make up traffic")
        }
    }
}

fn made_up(seed: u64, records: usize) -> Result<Vec<u8>> {
    let now_ns = timberlog_disk::Env::real().clock.now_ns();
    let mut text = Vec::with_capacity(records * 300);
    timberlog_ingest::demo::Traffic::new(seed).records(records, now_ns, 1_000_000, &mut text);
    Ok(text)
}

/// Cuts JSON lines into bodies of `batch` lines.
fn bodies(text: &[u8], batch: usize, records_max: Option<usize>) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    let (mut start, mut lines, mut left) = (0, 0, records_max.unwrap_or(usize::MAX));
    for (at, _) in text.iter().enumerate().filter(|&(_, &byte)| byte == b'\n') {
        if left == 0 {
            break;
        }
        lines += 1;
        left -= 1;
        if lines == batch || left == 0 {
            bodies.push(&text[start..=at]);
            (start, lines) = (at + 1, 0);
        }
    }
    if left > 0 && start < text.len() {
        bodies.push(&text[start..]);
    }
    bodies
}

fn percentiles(sorted: &[f64]) -> Percentiles {
    let at = |share: f64| {
        let index = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(index.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0.0)
    };
    Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) }
}
