//! What the server counts, and how Prometheus reads it.
//!
//! Counters of the engine are the engine's; this registry has the server's own: requests by route
//! and status, their time, and records by protocol. Every label has a bounded set of values.

mod engine;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The upper bounds of the time buckets, in µs, with their text in seconds.
const BUCKETS: [(u64, &str); 13] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (30_000_000, "30"),
];

/// The ways by which records come in.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// `POST /ingest`.
    Ingest,
    /// `POST /write`.
    Write,
    /// `POST /simulate`.
    Simulate,
    /// `POST /loki/api/v1/push` and `/api/prom/push`.
    Loki,
    /// `POST /api/v1/push`.
    Push,
    /// `logapi.LogIngestor`.
    LogIngestor,
    /// `timberlog.v1.TimberLog/Append`.
    Append,
}

const PROTOCOLS: [(Protocol, &str); 7] = [
    (Protocol::Ingest, "ingest"),
    (Protocol::Write, "write"),
    (Protocol::Simulate, "simulate"),
    (Protocol::Loki, "loki"),
    (Protocol::Push, "push"),
    (Protocol::LogIngestor, "log_ingestor"),
    (Protocol::Append, "append"),
];

/// Counters of records of one protocol.
#[derive(Default)]
struct Records {
    accepted: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

/// The server's counters.
#[derive(Default)]
pub struct Metrics {
    records: [Records; PROTOCOLS.len()],
    /// By route and status; both are bounded sets.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    durations: Mutex<BTreeMap<&'static str, std::sync::Arc<Histogram>>>,
    deletes_received: AtomicU64,
    deletes_cancelled: AtomicU64,
}

impl Metrics {
    /// Counts the records of a request.
    pub fn records(&self, protocol: Protocol, accepted: usize, refused: usize, bytes: usize) {
        let Some(records) = self.records.get(protocol as usize) else { return };
        records.accepted.fetch_add(accepted as u64, Relaxed);
        records.refused.fetch_add(refused as u64, Relaxed);
        records.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a request. `route` is the route's pattern, never the path that was asked for.
    pub fn request(&self, route: &'static str, status: u16, elapsed: Duration) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((route, status)).or_default() += 1;
        let histogram = {
            let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
            std::sync::Arc::clone(durations.entry(route).or_default())
        };
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        if let Some(index) = BUCKETS.iter().position(|&(bound, _)| us <= bound)
            && let Some(bucket) = histogram.buckets.get(index)
        {
            bucket.fetch_add(1, Relaxed);
        }
        histogram.count.fetch_add(1, Relaxed);
        histogram.sum_us.fetch_add(us, Relaxed);
    }

    /// Counts a delete that was taken in.
    pub fn delete_received(&self) {
        self.deletes_received.fetch_add(1, Relaxed);
    }

    /// Counts a delete that was cancelled.
    pub fn delete_cancelled(&self) {
        self.deletes_cancelled.fetch_add(1, Relaxed);
    }

    /// Records accepted and refused since the start, by all protocols.
    pub fn totals(&self) -> (u64, u64) {
        self.records.iter().fold((0, 0), |(accepted, refused), records| {
            (accepted + records.accepted.load(Relaxed), refused + records.refused.load(Relaxed))
        })
    }

    /// Writes the server's own metrics in the text format of Prometheus.
    pub fn write(&self, out: &mut Exposition) {
        for (name, help, value) in [
            ("timberlog_records_accepted_total", "Records stored, by protocol.", 0),
            ("timberlog_records_refused_total", "Records refused in answers, by protocol.", 1),
            ("timberlog_received_bytes_total", "Bytes of ingestion requests after decompression, by protocol.", 2),
        ] {
            out.head(name, "counter", help);
            for (records, (_, protocol)) in self.records.iter().zip(PROTOCOLS) {
                let value =
                    [&records.accepted, &records.refused, &records.bytes].map(|value| value.load(Relaxed))[value];
                out.line(name, &[("protocol", protocol)], value);
            }
        }
        let received = self.deletes_received.load(Relaxed);
        out.single("timberlog_deletes_received_total", "counter", "Deletes taken in.", received);
        let cancelled = self.deletes_cancelled.load(Relaxed);
        out.single("timberlog_deletes_cancelled_total", "counter", "Deletes cancelled.", cancelled);
        let name = "timberlog_http_requests_total";
        out.head(name, "counter", "HTTP requests, by route and status.");
        for (&(route, status), &count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            out.line(name, &[("route", route), ("status", &status.to_string())], count);
        }
        let name = "timberlog_http_request_duration_seconds";
        out.head(name, "histogram", "Time from the head of a request to the head of its answer, by route.");
        for (route, histogram) in &*self.durations.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut sum = 0;
            for (bucket, (_, bound)) in histogram.buckets.iter().zip(BUCKETS) {
                sum += bucket.load(Relaxed);
                out.line(&format!("{name}_bucket"), &[("route", route), ("le", bound)], sum);
            }
            let count = histogram.count.load(Relaxed).max(sum);
            out.line(&format!("{name}_bucket"), &[("route", route), ("le", "+Inf")], count);
            out.line(&format!("{name}_sum"), &[("route", route)], histogram.sum_us.load(Relaxed) as f64 / 1e6);
            out.line(&format!("{name}_count"), &[("route", route)], count);
        }
    }
}

/// The text format of Prometheus, version 0.0.4.
#[derive(Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a metric.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Writes a value.
    pub fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{escaped}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// Writes a metric of one value.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.records(Protocol::Ingest, 3, 1, 100);
        metrics.request("/ingest", 200, Duration::from_millis(2));
        metrics.request("/ingest", 200, Duration::from_secs(60));
        let mut out = Exposition::default();
        metrics.write(&mut out);
        let text = out.into_text();
        for line in [
            "timberlog_records_accepted_total{protocol=\"ingest\"} 3",
            "timberlog_http_requests_total{route=\"/ingest\",status=\"200\"} 2",
            "timberlog_http_request_duration_seconds_bucket{route=\"/ingest\",le=\"0.001\"} 0",
            "timberlog_http_request_duration_seconds_bucket{route=\"/ingest\",le=\"0.0025\"} 1",
            "timberlog_http_request_duration_seconds_bucket{route=\"/ingest\",le=\"+Inf\"} 2",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert_eq!(metrics.totals(), (3, 1));
    }
}
