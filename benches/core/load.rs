//! The load: records over HTTP or gRPC, as fast as the answers come (closed loop) or at a fixed rate (open loop).
//!
//! In an open loop request *n* is due at *n* × batch / rate whatever became of the ones before, and its latency counts from
//! then on: a server that stalls pays for every request that had to wait, so nothing is omitted.

use crate::machine::own_cpu_seconds;
use crate::process::Process;
use crate::wire;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use timberlog_types::{Error, ErrorKind};

/// By which protocol records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Grpc,
}

/// How records are sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub protocol: Protocol,
    pub connections: usize,
    /// Records a request.
    pub batch: usize,
    /// Records a second; `None` is a closed loop.
    pub rate: Option<u32>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Sent {
    pub records: u64,
    /// Requests that the server asked to send later.
    pub retries: u64,
    pub seconds: f64,
    /// CPU of making and sending the load.
    pub own_cpu_seconds: f64,
    /// Of each request in ms, ascending.
    pub latencies: Vec<f64>,
}

impl Sent {
    /// The latency below which so much of the requests is.
    pub fn percentile(&self, share: f64) -> f64 {
        let index = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

/// Bodies that are ready beforehand: enough for every connection, and never the whole corpus.
const READY: usize = 64;
/// Tries of one request that the server asks to send later.
const TRIES: usize = 600;

/// One connection.
pub trait Connection {
    /// A request of a body of JSON lines, made before its time counts.
    type Request;
    fn prepare(&self, body: Vec<u8>) -> Self::Request;
    /// The records that were stored.
    ///
    /// # Errors
    /// `Overloaded` when it should be tried again; what else the server says.
    fn send(&mut self, request: &Self::Request) -> Result<u64, Error>;
}

type Queue = Mutex<Receiver<(usize, Vec<u8>)>>;

impl Load {
    /// Sends bodies of JSON lines to a server, to the last.
    pub fn run(&self, server: &Process, source: impl Iterator<Item = Vec<u8>> + Send) -> Sent {
        match self.protocol {
            Protocol::Http => self.run_over(&|| server.client(), source),
            Protocol::Grpc => self.run_over(&|| wire::Stream::open(&server.grpc), source),
        }
    }

    /// Sends them over connections of any kind.
    pub fn run_over<C: Connection>(
        &self,
        open: &(impl Fn() -> C + Sync),
        source: impl Iterator<Item = Vec<u8>> + Send,
    ) -> Sent {
        let (ready, bodies) = sync_channel(READY);
        let bodies = Mutex::new(bodies);
        let mut source = source.enumerate();
        // Filled before the clock starts, as in the long run.
        let first: Vec<_> = source.by_ref().take(READY).collect();
        let cpu = own_cpu_seconds();
        let started = Instant::now();
        let sent = Mutex::new(Sent::default());
        std::thread::scope(|scope| {
            scope.spawn(move || first.into_iter().chain(source).try_for_each(|body| ready.send(body)));
            for _ in 0..self.connections {
                scope.spawn(|| {
                    let seen = self.connection(open(), &bodies, started);
                    let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                    sent.records += seen.records;
                    sent.retries += seen.retries;
                    sent.latencies.extend(seen.latencies);
                });
            }
        });
        let mut sent = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
        sent.seconds = started.elapsed().as_secs_f64();
        sent.own_cpu_seconds = own_cpu_seconds() - cpu;
        sent.latencies.sort_by(f64::total_cmp);
        sent
    }

    fn connection<C: Connection>(&self, mut connection: C, bodies: &Queue, started: Instant) -> Sent {
        let mut sent = Sent::default();
        loop {
            let next = bodies.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((index, body)) = next else { return sent };
            let request = connection.prepare(body);
            let due = match self.rate {
                None => Instant::now(),
                Some(rate) => {
                    let due = started + Duration::from_secs_f64((index * self.batch) as f64 / f64::from(rate.max(1)));
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    due
                }
            };
            sent.records += stored(&mut connection, &request, &mut sent.retries);
            sent.latencies.push(due.elapsed().as_secs_f64() * 1e3);
        }
    }
}

fn stored<C: Connection>(connection: &mut C, request: &C::Request, retries: &mut u64) -> u64 {
    for _ in 0..TRIES {
        match connection.send(request) {
            Ok(accepted) => return accepted,
            Err(Error { kind: ErrorKind::Overloaded { retry_after }, .. }) => {
                *retries += 1;
                std::thread::sleep(retry_after);
            }
            Err(error) => panic!("the server refused a request: {error}"),
        }
    }
    panic!("the server was overloaded {TRIES} times")
}
