//! The load that others may disturb: appends at a fixed rate, and dashboards.
//!
//! Append *n* is due at *n* × batch / rate whatever became of the ones before, and its latency counts from then on, until it is
//! acknowledged, back-pressure included.

use crate::dashboards::{self, PANELS};
use crate::figures::{Refusal, Seen};
use crate::process::{Process, Usage};
use crate::traffic::{Traffic, trace_of};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A disturber is at work when the others are measured.
const SETTLING: Duration = Duration::from_secs(2);

/// Appends and dashboards.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Records a second.
    pub rate: f64,
    pub dashboards: usize,
    pub connections: usize,
    /// Records a request.
    pub batch: usize,
    pub seed: u64,
}

/// What was seen of a phase.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    pub seconds: f64,
    pub appends: Seen,
    pub panels: [Seen; PANELS.len()],
    /// Records.
    pub acknowledged: u64,
    /// Each second: since the start of the phase in s, resident memory in bytes, CPU of the server so far in s.
    pub samples: Vec<(f32, u64, f64)>,
    /// What the disturber did, if there was one.
    pub disturbed: Disturbed,
}

/// What a disturber did.
#[derive(Clone, Debug, Default)]
pub struct Disturbed {
    /// For people.
    pub said: String,
    /// Records of its own that were acknowledged.
    pub acknowledged: u64,
}

/// The time of a phase.
pub struct Clock {
    started: Instant,
    length: Duration,
}

impl Clock {
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn is_over(&self) -> bool {
        self.elapsed() >= self.length
    }

    /// Sleeps, at most to the end.
    pub fn sleep(&self, time: Duration) {
        std::thread::sleep(time.min(self.length.saturating_sub(self.elapsed())));
    }
}

/// Runs until it is told to stop.
pub type Beside<'a> = &'a (dyn Fn(&AtomicBool) -> Disturbed + Sync);

impl Phase {
    /// All queries.
    pub fn queries(&self) -> Seen {
        let mut all = Seen::default();
        self.panels.iter().for_each(|panel| all.merge(panel.clone()));
        all
    }
}

/// Sets a flag when it goes: also when what it waits for has panicked.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Steady {
    /// Runs for a time, beside somebody.
    pub fn run(&self, server: &Process, length: Duration, beside: Option<Beside<'_>>) -> Phase {
        let stop = AtomicBool::new(false);
        let trace = Mutex::new(String::new());
        let (next, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut phase = Phase::default();
        let settling = if beside.is_some() { SETTLING } else { Duration::ZERO };
        let clock = Clock { started: Instant::now() + settling, length };
        std::thread::scope(|scope| {
            let stopping = Stop(&stop);
            let disturbing = beside.map(|beside| {
                let stop = &stop;
                scope.spawn(move || beside(stop))
            });
            std::thread::sleep(settling);
            let clock = &clock;
            let (next, acknowledged, trace) = (&next, &acknowledged, &trace);
            let appending: Vec<_> = (0..self.connections)
                .map(|number| scope.spawn(move || self.append(server, number, next, acknowledged, trace, clock)))
                .collect();
            let watching: Vec<_> = (0..self.dashboards)
                .map(|number| scope.spawn(move || dashboards::watch(server, number, self.dashboards, trace, clock)))
                .collect();
            while !clock.is_over() {
                let Usage { resident_bytes, cpu_seconds, .. } = server.usage();
                phase.samples.push((clock.elapsed().as_secs_f32(), resident_bytes, cpu_seconds));
                clock.sleep(Duration::from_secs(1));
            }
            for seen in appending {
                phase.appends.merge(seen.join().expect("a connection"));
            }
            for seen in watching {
                for (panel, seen) in phase.panels.iter_mut().zip(seen.join().expect("a dashboard")) {
                    panel.merge(seen);
                }
            }
            phase.seconds = clock.elapsed().as_secs_f64();
            drop(stopping);
            if let Some(disturbing) = disturbing {
                phase.disturbed = disturbing.join().expect("a disturber");
            }
        });
        phase.acknowledged = acknowledged.into_inner();
        phase
    }

    /// One connection that appends.
    fn append(
        &self,
        server: &Process,
        number: usize,
        next: &AtomicU64,
        acknowledged: &AtomicU64,
        trace: &Mutex<String>,
        clock: &Clock,
    ) -> Seen {
        let client = server.client();
        let mut traffic = Traffic::new(self.seed + 1 + number as u64, self.batch);
        let mut seen = Seen::default();
        loop {
            let body = traffic.body();
            let due = Duration::from_secs_f64(next.fetch_add(1, Relaxed) as f64 * self.batch as f64 / self.rate);
            if due >= clock.length {
                return seen;
            }
            std::thread::sleep(due.saturating_sub(clock.elapsed()));
            loop {
                match client.ingest(&body, None) {
                    Ok(answer) => {
                        acknowledged.fetch_add(answer.accepted, Relaxed);
                        let now = clock.elapsed();
                        seen.requests.push((now.as_secs_f32(), (now - due).as_secs_f32() * 1e3));
                        break;
                    }
                    Err(error) => match seen.refused(&error) {
                        Refusal::Later(time) => std::thread::sleep(time),
                        Refusal::Error => break,
                    },
                }
            }
            if let Some(id) = trace_of(&body) {
                id.clone_into(&mut trace.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}
