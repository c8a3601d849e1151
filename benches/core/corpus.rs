//! The records: made up from a seed, or of a file of JSON lines. They are made while they are sent, and never held all at once.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use timberlog_ingest::demo::Traffic;
use timberlog_types::time::{DAY_NS, SECOND_NS, parse};

/// Where records come from.
#[derive(Clone, Debug)]
pub struct Corpus {
    source: Source,
    /// How many there are.
    pub records: u64,
}

#[derive(Clone, Debug)]
enum Source {
    /// One day of made-up traffic.
    Seed(u64),
    File(PathBuf),
}

/// Bodies of JSON lines.
pub type Bodies = Box<dyn Iterator<Item = Vec<u8>> + Send>;

impl Corpus {
    /// So many records of a seed.
    pub fn made_up(seed: u64, records: u64) -> Self {
        Self { source: Source::Seed(seed), records }
    }

    /// The lines of a file.
    pub fn file(path: &Path) -> Self {
        let records = lines(path).count() as u64;
        assert!(records > 0, "`{}` has no lines", path.display());
        Self { source: Source::File(path.to_owned()), records }
    }

    /// All records in bodies of so many, in order; every call gives the same bytes. Made-up records of a corpus of another
    /// size are the same but for their times, which spread over the day.
    pub fn bodies(&self, batch: usize) -> Bodies {
        let mut left = self.records;
        match &self.source {
            Source::Seed(seed) => {
                let mut traffic = Traffic::new(*seed);
                // Records are up to 2 s late: the first ones, too, are of this day.
                let mut time = parse(b"2026-01-01T00:00:02Z").expect("a time");
                let step = (DAY_NS - 2 * SECOND_NS) / self.records.max(1) as i64;
                Box::new(std::iter::from_fn(move || {
                    let count = left.min(batch as u64);
                    left -= count;
                    let mut body = Vec::with_capacity(count as usize * 320);
                    traffic.records(count as usize, time, step, &mut body);
                    time += count as i64 * step;
                    (count > 0).then_some(body)
                }))
            }
            Source::File(path) => {
                let mut lines = lines(path);
                Box::new(std::iter::from_fn(move || {
                    let count = left.min(batch as u64);
                    left -= count;
                    let mut body = Vec::new();
                    for line in lines.by_ref().take(count as usize) {
                        body.extend_from_slice(&line);
                        body.push(b'\n');
                    }
                    (!body.is_empty()).then_some(body)
                }))
            }
        }
    }

    /// What the records are, for people.
    pub fn describe(&self) -> String {
        match &self.source {
            Source::Seed(seed) => format!("made up, seed {seed}"),
            Source::File(path) => path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        }
    }
}

fn lines(path: &Path) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("open `{}`: {error}", path.display()));
    let lines = BufReader::with_capacity(1 << 20, file).split(b'\n');
    lines.map(|line| line.expect("a readable file")).filter(|line| !line.is_empty())
}
