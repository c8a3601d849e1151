//! Clients that would spoil it for the others.

use crate::figures::{Refusal, Seen};
use crate::idle;
use crate::options::Part;
use crate::process::Process;
use crate::steady::Disturbed;
use crate::traffic::{Traffic, now_ns};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use timberlog_client::Client;
use timberlog_types::Tenant;

const SLOW_CLIENTS: usize = 100;
const IDLE_HTTP1: usize = 4000;
const IDLE_HTTP2: usize = 1000;
const FLOOD_CONNECTIONS: usize = 64;
const FLOOD_BATCH: usize = 1000;
const READERS: usize = 4;
/// No literal in it that an index or a token filter could help with.
const REGEX: &str = "[aeiou][0-9]+[^ ]*[a-z]{3}.*[0-9]{2}$";

/// One kind of them.
#[derive(Clone, Copy, Debug)]
pub struct Disturber {
    part: Part,
    name: &'static str,
    run: fn(&Process, &AtomicBool) -> Disturbed,
}

impl Disturber {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [
            Self { part: Part::Slow, name: "100 clients that send a byte a second", run: slow },
            Self { part: Part::Idle, name: "5,000 idle connections (4,000 HTTP/1.1, 1,000 HTTP/2)", run: idle },
            Self { part: Part::Flood, name: "a tenant that floods, 64 connections", run: flood },
            Self { part: Part::Flood, name: "a tenant that floods with single records", run: flood_of_single_records },
            Self { part: Part::Everything, name: "4 queries at a time that read everything", run: everything },
        ]
        .into_iter()
    }

    pub fn part(self) -> Part {
        self.part
    }

    pub fn name(self) -> &'static str {
        self.name
    }

    /// Runs until it is told to stop.
    pub fn run(self, server: &Process, stop: &AtomicBool) -> Disturbed {
        (self.run)(server, stop)
    }
}

/// The tenant that floods.
pub fn flooding_tenant() -> Tenant {
    Tenant::new("flood").expect("a name")
}

fn slow(server: &Process, stop: &AtomicBool) -> Disturbed {
    let let_go = idle::drip(address(server), SLOW_CLIENTS, stop);
    Disturbed { said: format!("{let_go} of them were let go"), acknowledged: 0 }
}

fn idle(server: &Process, stop: &AtomicBool) -> Disturbed {
    let before = server.usage().resident_bytes;
    let watching = AtomicBool::new(false);
    let idle = std::thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak = before;
            while !watching.load(Relaxed) {
                peak = peak.max(server.usage().resident_bytes);
                std::thread::sleep(Duration::from_millis(100));
            }
            peak
        });
        let idle = idle::hold(address(server), IDLE_HTTP1, &server.grpc, IDLE_HTTP2, stop);
        watching.store(true, Relaxed);
        (idle, peak.join().expect("a thread that looks"))
    });
    let (idle::Idle { opened, refused, let_go }, peak) = idle;
    let more = peak.saturating_sub(before) as f64 / 1e6;
    let said = format!("{opened} got in, {refused} did not, {let_go} were let go; memory rose by {more:.0} MB at most");
    Disturbed { said, acknowledged: 0 }
}

fn flood(server: &Process, stop: &AtomicBool) -> Disturbed {
    flood_of(FLOOD_BATCH, server, stop)
}

fn flood_of_single_records(server: &Process, stop: &AtomicBool) -> Disturbed {
    flood_of(1, server, stop)
}

/// Requests of so many records.
fn flood_of(batch: usize, server: &Process, stop: &AtomicBool) -> Disturbed {
    let started = Instant::now();
    // Made beforehand, so that the flood costs the machine little but what the server makes of it.
    let body = Traffic::new(99, batch).body();
    let (acknowledged, seen) = std::thread::scope(|scope| {
        let connection = || {
            let client = Client::new(&server.http, flooding_tenant(), Duration::from_secs(600)).expect("an address");
            let (mut acknowledged, mut seen) = (0, Seen::default());
            while !stop.load(Relaxed) {
                let asked = started.elapsed();
                match client.ingest(&body, None) {
                    Ok(answer) => {
                        acknowledged += answer.accepted;
                        let now = started.elapsed();
                        seen.requests.push((now.as_secs_f32(), (now - asked).as_secs_f32() * 1e3));
                    }
                    // It floods: it comes back at once, but for the CPU that the client itself would take of this machine.
                    Err(error) => {
                        seen.refused(&error);
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            }
            (acknowledged, seen)
        };
        let connections: Vec<_> = (0..FLOOD_CONNECTIONS).map(|_| scope.spawn(connection)).collect();
        let mut all = (0, Seen::default());
        for connection in connections {
            let (acknowledged, seen) = connection.join().expect("a connection");
            all.0 += acknowledged;
            all.1.merge(seen);
        }
        all
    });
    let rate = acknowledged as f64 / started.elapsed().as_secs_f64();
    Disturbed { said: format!("{rate:.0} records a second got in; {}", words(&seen)), acknowledged }
}

fn everything(server: &Process, stop: &AtomicBool) -> Disturbed {
    let seen = std::thread::scope(|scope| {
        let reader = |number: usize| {
            let client = server.client();
            let mut seen = Seen::default();
            let started = Instant::now();
            while !stop.load(Relaxed) {
                let asked = started.elapsed();
                // Half by Loki's API, half by ours.
                let answer = if number.is_multiple_of(2) {
                    let query = format!("sum(count_over_time({{service=~\".+\"}} |~ \"{REGEX}\" [24h]))");
                    client.loki("/loki/api/v1/query", &[("query", &query), ("time", &now_ns().to_string())])
                } else {
                    let filter = json!({"field": "message", "regex": REGEX});
                    client.post("/api/v1/query", &json!({"filter": filter, "aggregate": {}}))
                };
                match answer {
                    Ok(_) => {
                        let now = started.elapsed();
                        seen.requests.push((now.as_secs_f32(), (now - asked).as_secs_f32() * 1e3));
                    }
                    Err(error) => match seen.refused(&error) {
                        Refusal::Later(time) => std::thread::sleep(time),
                        Refusal::Error => {}
                    },
                }
            }
            seen
        };
        let readers: Vec<_> = (0..READERS).map(|number| scope.spawn(move || reader(number))).collect();
        let mut all = Seen::default();
        readers.into_iter().for_each(|reader| all.merge(reader.join().expect("a reader")));
        all
    });
    Disturbed { said: words(&seen), acknowledged: 0 }
}

fn words(seen: &Seen) -> String {
    let all = seen.all();
    let errors: String = seen.errors.iter().map(|(words, count)| format!("; {count} × {words}")).collect();
    let (count, put_off) = (all.count, seen.put_off);
    format!("{count} answers, p50 {:.0} ms, max {:.0} ms; {put_off} put off{errors}", all.p50, all.max)
}

fn address(server: &Process) -> &str {
    server.http.strip_prefix("http://").unwrap_or(&server.http)
}
