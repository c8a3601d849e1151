//! Made-up traffic: log records that look real, as JSON lines, the same for the same seed.
//!
//! 24 services of a web shop with Zipf-like shares, 50 hosts, 300 kinds of messages, trace ids
//! that 1 to 40 records of a service share, levels as logs have them (debug 10 %, info 70 %, warn
//! 14 %, error 6 %), 2 % of the records up to 2 s late. What it makes for a seed may change between
//! releases. It takes the time from its caller and looks at no clock.

mod message;
mod random;
mod templates;

use message::{Piece, compile};
use random::Random;
use templates::FAMILIES;
use timberlog_types::time::{SECOND_NS, format_rfc3339};

/// The services of the traffic.
const SERVICES: usize = 24;
const HOSTS: u64 = 50;
const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];
/// The shares of the levels in percent.
const LEVEL_SHARES: [usize; 4] = [10, 70, 14, 6];
/// Records per thousand that come late, and by how much at most.
const LATE_PER_MILLE: u64 = 20;
const LATE_NS_MAX: u64 = 2 * SECOND_NS as u64;
const TRACE_RECORDS_MAX: u64 = 40;
/// Entries of the table that services are drawn from.
const DRAWS: usize = 4096;

/// Makes records, one after the other.
pub struct Traffic {
    random: Random,
    services: Vec<Service>,
    draws: Vec<u8>,
    levels: Vec<u8>,
    second: i64,
    second_text: String,
}

struct Service {
    name: &'static str,
    /// Pieces of the messages by level.
    messages: [Vec<Vec<Piece>>; 4],
    fields: Fields,
    trace: u64,
    left: u64,
}

/// What a service's records have besides the usual fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    None,
    Http,
    Payment,
}

impl Traffic {
    /// Traffic that is determined by a seed.
    pub fn new(seed: u64) -> Self {
        let service = |place: usize| {
            // One of each family first, then the other ones: neighbours in the ranking differ.
            let family = &FAMILIES[place % FAMILIES.len()];
            let fields = match place % FAMILIES.len() {
                0 | 1 => Fields::Http,
                2 => Fields::Payment,
                _ => Fields::None,
            };
            let name = family.services[place / FAMILIES.len()];
            Service { name, messages: compile(family.templates), fields, trace: 0, left: 0 }
        };
        let levels = (0..4u8).flat_map(|level| std::iter::repeat_n(level, LEVEL_SHARES[usize::from(level)]));
        Self {
            random: Random::new(seed),
            services: (0..SERVICES).map(service).collect(),
            draws: draws(),
            levels: levels.collect(),
            second: i64::MIN,
            second_text: String::new(),
        }
    }

    /// Appends a record of about this time as one line of JSON.
    pub fn record(&mut self, time_ns: i64, out: &mut Vec<u8>) {
        let Self { random, services, draws, levels, .. } = self;
        let service = &mut services[usize::from(draws[random.below(DRAWS as u64) as usize])];
        let level = usize::from(levels[random.below(100) as usize]);
        if service.left == 0 {
            service.trace = random.next();
            service.left = 1 + random.below(TRACE_RECORDS_MAX);
        }
        service.left -= 1;
        let late = if random.below(1000) < LATE_PER_MILLE { random.below(LATE_NS_MAX) } else { 0 };
        let time_ns = time_ns.saturating_sub(late as i64);
        out.extend_from_slice(b"{\"timestamp\":\"");
        write_time(time_ns, &mut self.second, &mut self.second_text, out);
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(LEVELS[level].as_bytes());
        out.extend_from_slice(b"\",\"service\":\"");
        out.extend_from_slice(service.name.as_bytes());
        out.extend_from_slice(b"\",\"host\":\"node-");
        message::digits(random.below(HOSTS), 2, out);
        out.extend_from_slice(b".example.net\",\"trace_id\":\"");
        message::hex(service.trace, 16, out);
        out.push(b'"');
        write_fields(service.fields, level, random, out);
        out.extend_from_slice(b",\"message\":\"");
        let messages = &service.messages[level];
        for piece in &messages[random.below(messages.len() as u64) as usize] {
            piece.write(random, out);
        }
        out.extend_from_slice(b"\"}\n");
    }

    /// Appends records, the first of about `start_ns`, each `step_ns` behind the one before.
    pub fn records(&mut self, count: usize, start_ns: i64, step_ns: i64, out: &mut Vec<u8>) {
        let mut time_ns = start_ns;
        for _ in 0..count {
            self.record(time_ns, out);
            time_ns = time_ns.saturating_add(step_ns);
        }
    }
}

fn write_fields(fields: Fields, level: usize, random: &mut Random, out: &mut Vec<u8>) {
    match fields {
        Fields::None => {}
        Fields::Http => {
            out.extend_from_slice(b",\"status\":");
            let status: &[u8] = [b"200".as_slice(), b"200", b"404", b"502"][level];
            out.extend_from_slice(status);
            out.extend_from_slice(b",\"duration_ms\":");
            message::number(1 + random.skewed(3000), out);
        }
        Fields::Payment => {
            out.extend_from_slice(b",\"customer\":");
            message::number(10_000 + random.below(20_000), out);
            out.extend_from_slice(b",\"test\":false");
        }
    }
}

/// Appends RFC 3339 with nanoseconds; the text of the second is made once a second.
fn write_time(time_ns: i64, second: &mut i64, text: &mut String, out: &mut Vec<u8>) {
    let (this, ns) = (time_ns.div_euclid(SECOND_NS), time_ns.rem_euclid(SECOND_NS));
    if this != *second {
        *second = this;
        *text = format_rfc3339(time_ns);
        text.truncate("2026-01-01T00:00:00.".len());
    }
    out.extend_from_slice(text.as_bytes());
    message::digits(ns as u64, 9, out);
    out.push(b'Z');
}

/// A table in which service `n` stands as often as 1 / (n + 1)^0.7 says.
fn draws() -> Vec<u8> {
    let weight = |place: usize| 1.0 / (place as f64 + 1.0).powf(0.7);
    let total: f64 = (0..SERVICES).map(weight).sum();
    let mut draws = Vec::with_capacity(DRAWS);
    let mut sum = 0.0;
    for place in 0..SERVICES {
        sum += weight(place) / total * DRAWS as f64;
        draws.resize((sum.round() as usize).min(DRAWS), place as u8);
    }
    draws.resize(DRAWS, 0);
    draws
}

#[cfg(test)]
mod tests;
