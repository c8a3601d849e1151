//! What was seen of requests of one kind: latencies with their time, and what the server said when it did not do them.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use timberlog_types::{Error, ErrorKind};

/// Requests of one kind.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When a request ended since the start of the phase in s, and its latency in ms.
    pub requests: Vec<(f32, f32)>,
    /// How often the server said to come back later (429).
    pub put_off: u64,
    /// Everything else that is no answer, by its words.
    pub errors: BTreeMap<String, u64>,
}

/// What percentiles say of latencies in ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    pub count: usize,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// What a request that was not answered means.
pub enum Refusal {
    /// Explicit back-pressure: to be sent again then.
    Later(Duration),
    Error,
}

impl Seen {
    /// Notes an error, and says what it means.
    pub fn refused(&mut self, error: &Error) -> Refusal {
        match error.kind {
            ErrorKind::Overloaded { retry_after } => {
                self.put_off += 1;
                Refusal::Later(retry_after)
            }
            _ => {
                let words: String = error.message.chars().take(140).collect();
                *self.errors.entry(words).or_default() += 1;
                Refusal::Error
            }
        }
    }

    /// Adds what another connection saw.
    pub fn merge(&mut self, other: Self) {
        self.requests.extend(other.requests);
        self.put_off += other.put_off;
        for (words, count) in other.errors {
            *self.errors.entry(words).or_default() += count;
        }
    }

    /// Requests that ended within a time of the phase in s.
    pub fn between(&self, from: f32, to: f32) -> Latencies {
        let within = self.requests.iter().filter(|(at, _)| (from..to).contains(at));
        let mut latencies: Vec<f32> = within.map(|&(_, ms)| ms).collect();
        latencies.sort_by(f32::total_cmp);
        let at = |share: f64| {
            let index = (share * latencies.len() as f64).ceil() as usize;
            latencies.get(index.saturating_sub(1)).copied().map_or(0.0, f64::from)
        };
        Latencies { count: latencies.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }

    /// All requests.
    pub fn all(&self) -> Latencies {
        self.between(f32::MIN, f32::MAX)
    }

    /// Errors that are no back-pressure.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    pub fn json(&self) -> Value {
        let Latencies { count, p50, p99, max } = self.all();
        json!({"count": count, "p50_ms": p50, "p99_ms": p99, "max_ms": max, "put_off": self.put_off, "errors": self.errors})
    }
}
