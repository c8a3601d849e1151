//! What a scan of the corpus says: the answers that every query must give, and what `zstd -1` makes of the same bytes.

use crate::corpus::Corpus;
use crate::machine::thread_cpu_seconds;
use memchr::memmem::Finder;
use serde::Deserialize;
use std::borrow::Cow;
use std::io::Write;
use timberlog_types::time::parse;

/// The regular expression of the query set.
pub const REGEX: &str = "[0-9]{3} ?ms|timed? ?out";
/// The literals of the query set.
pub const LITERALS: [&str; 2] = ["authentication failure", "error"];

/// What is known of a corpus.
#[derive(Clone, Debug)]
pub struct Facts {
    pub records: u64,
    pub bytes: u64,
    /// The times of the oldest and the newest record in ns.
    pub oldest: i64,
    pub newest: i64,
    /// The trace id and the service of a record in the middle.
    pub trace: String,
    pub service: String,
    /// A few characters of an id in a message, from the middle on.
    pub rare: String,
    /// Records with each of [`LITERALS`], with `rare`, with [`REGEX`], and of the trace.
    pub literals: [u64; 2],
    pub rares: u64,
    pub regexes: u64,
    pub traces: u64,
    /// What `zstd -1` makes of it, and its CPU seconds in each round: the least is Z.
    pub zstd_bytes: u64,
    pub zstd_seconds: Vec<f64>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    service: Cow<'a, str>,
    trace_id: Cow<'a, str>,
    message: Cow<'a, str>,
}

impl Facts {
    /// Scans a corpus.
    pub fn of(corpus: &Corpus, rounds: u32) -> Self {
        let mut facts = Self::middle(corpus);
        let literals = LITERALS.map(Finder::new);
        let rare = Finder::new(&facts.rare).into_owned();
        let regex = regex::bytes::Regex::new(REGEX).expect("a regular expression");
        each(corpus, |_, line| {
            let message = line.message.as_bytes();
            let time = parse(line.timestamp.as_bytes()).expect("a time");
            facts.oldest = facts.oldest.min(time);
            facts.newest = facts.newest.max(time);
            for (found, finder) in facts.literals.iter_mut().zip(&literals) {
                *found += u64::from(finder.find(message).is_some());
            }
            facts.rares += u64::from(rare.find(message).is_some());
            facts.regexes += u64::from(regex.is_match(message));
            facts.traces += u64::from(line.trace_id == facts.trace);
            true
        });
        for _ in 0..rounds {
            facts.compress(corpus);
        }
        facts
    }

    /// The CPU seconds of `zstd -1`: the unit of CPU time.
    pub fn z(&self) -> f64 {
        self.zstd_seconds.iter().copied().fold(f64::MAX, f64::min).max(1e-9)
    }

    /// What is taken from a record in the middle, and the first id from there on.
    fn middle(corpus: &Corpus) -> Self {
        let id = regex::Regex::new("[0-9a-f]{8}").expect("a regular expression");
        let mut facts = Self {
            records: corpus.records,
            bytes: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
            trace: String::new(),
            service: String::new(),
            rare: String::new(),
            literals: [0; 2],
            rares: 0,
            regexes: 0,
            traces: 0,
            zstd_bytes: 0,
            zstd_seconds: Vec::new(),
        };
        each(corpus, |at, line| {
            if at < corpus.records / 2 {
                return true;
            }
            if facts.trace.is_empty() {
                (facts.trace, facts.service) = (line.trace_id.into_owned(), line.service.into_owned());
            }
            let mixed =
                |id: &&str| id.bytes().any(|b| b.is_ascii_digit()) && id.bytes().any(|b| b.is_ascii_alphabetic());
            if let Some(id) = id.find_iter(&line.message).map(|found| found.as_str()).find(mixed) {
                facts.rare = id.to_owned();
            }
            facts.rare.is_empty()
        });
        assert!(!facts.rare.is_empty(), "no message behind the middle of the corpus has an id of 8 hex digits");
        facts
    }

    fn compress(&mut self, corpus: &Corpus) {
        let mut seconds = 0.0;
        (self.bytes, self.zstd_bytes) = (0, 0);
        let sink = Counted(&mut self.zstd_bytes);
        let mut encoder = zstd::stream::write::Encoder::new(sink, 1).expect("a zstd context");
        for body in corpus.bodies(1000) {
            self.bytes += body.len() as u64;
            let before = thread_cpu_seconds();
            encoder.write_all(&body).expect("a sink takes all");
            seconds += thread_cpu_seconds() - before;
        }
        let before = thread_cpu_seconds();
        encoder.finish().expect("a sink takes all");
        self.zstd_seconds.push(seconds + thread_cpu_seconds() - before);
    }
}

/// Counts what is written to it.
struct Counted<'a>(&'a mut u64);

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        *self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Hands over each record and its place until told to stop.
fn each(corpus: &Corpus, mut take: impl FnMut(u64, Line<'_>) -> bool) {
    let mut at = 0;
    for body in corpus.bodies(1000) {
        for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let line = serde_json::from_slice(line).expect("a JSON line of timestamp, service, trace_id and message");
            if !take(at, line) {
                return;
            }
            at += 1;
        }
    }
}
