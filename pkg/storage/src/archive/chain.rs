//! What an archive holds: its lines, the objects of each, and how far a backup can be carried by them.
//!
//! Names say it all, so one listing is enough: nothing here reads an object.

use super::PREFIX;
use super::line::{self, LineRecord};
use super::object::Part;
use crate::backup::is_id;
use crate::objects::ObjectStore;
use std::collections::BTreeMap;
use timberlog_types::{Result, Seq};

/// Lines that came from each other, at most: a restore adds one.
const CHAIN_MAX: usize = 1_000;

/// An object of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPart {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// What its name says.
    pub part: Part,
    /// Only frames up to this number count.
    pub until: Seq,
}

/// Batches that are not in the archive though later ones are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first one.
    pub first: Seq,
    /// The last one.
    pub last: Seq,
    /// What to say.
    pub what: String,
}

/// The archives of a store.
#[derive(Debug, Default)]
pub struct Lines {
    lines: BTreeMap<(String, String), Line>,
    /// Lines whose record cannot be read: the database, and what to say.
    pub damage: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Line {
    record: Option<LineRecord>,
    /// With size, by first number.
    parts: Vec<(Part, u64)>,
}

impl Lines {
    /// Lists what is there, of all databases or of one.
    ///
    /// # Errors
    /// Of the store; what is damaged is in `damage`.
    pub fn read(store: &dyn ObjectStore, database_id: Option<&str>) -> Result<Self> {
        let mut found = Self::default();
        let prefix = database_id.map_or_else(|| PREFIX.to_owned(), |id| format!("{PREFIX}{id}/"));
        let mut records = Vec::new();
        store.list(&prefix, &mut |object| {
            let mut parts = object.key.strip_prefix(PREFIX).unwrap_or_default().split('/');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(database), Some(record), None, None) => {
                    let id = record.strip_suffix(".json").filter(|id| is_id(id));
                    records.extend(id.map(|id| (database.to_owned(), id.to_owned())));
                }
                (Some(database), Some(line), Some(name), None) if is_id(line) => {
                    if let Some(part) = Part::parse(name) {
                        let line = found.lines.entry((database.to_owned(), line.to_owned())).or_default();
                        line.parts.push((part, object.size));
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        for (database, id) in records {
            match LineRecord::get(store, &database, &id) {
                Ok(record) => found.lines.entry((database, id)).or_default().record = record,
                Err(error) if crate::backup::is_of_store(&error) => return Err(error),
                Err(error) => found.damage.push((database, error.to_string())),
            }
        }
        for line in found.lines.values_mut() {
            line.parts.sort();
        }
        Ok(found)
    }

    /// The lines of a database whose record is there, oldest first.
    pub fn of<'a>(&'a self, database_id: &'a str) -> impl Iterator<Item = &'a LineRecord> {
        let lines = self.lines.iter().filter(move |((database, _), _)| database == database_id);
        let mut records: Vec<&LineRecord> = lines.filter_map(|(_, line)| line.record.as_ref()).collect();
        records.sort_by_key(|record| (record.created, &record.id));
        records.into_iter()
    }

    /// The line in which a database lived at a time: the newest one that had begun.
    pub fn at<'a>(&'a self, database_id: &'a str, time: i64) -> Option<&'a LineRecord> {
        self.of(database_id).filter(|record| record.created <= time).last()
    }

    /// The last instant that a line says to know, in ns since 1970 UTC.
    pub(crate) fn last_time(&self) -> Option<i64> {
        let of = |line: &Line| {
            let parts = line.parts.iter().map(|(part, _)| part.time);
            parts.chain(line.record.as_ref().map(|record| record.reached.time)).max()
        };
        self.lines.values().filter_map(of).max()
    }

    /// All objects of a line, with their sizes.
    pub(crate) fn parts<'a>(
        &'a self,
        database_id: &'a str,
        line: &'a str,
    ) -> impl Iterator<Item = (String, &'a Part, u64)> {
        let found = self.lines.get(&(database_id.to_owned(), line.to_owned()));
        found
            .into_iter()
            .flat_map(|line| &line.parts)
            .map(move |(part, size)| (line::key(database_id, line, part), part, *size))
    }

    /// A line and those that it came from.
    pub fn chain(&self, leaf: &LineRecord) -> Chain<'_> {
        let mut links = Vec::new();
        let (mut id, mut until) = (Some(leaf.id.clone()), Seq::MAX);
        while let Some(line) = id.take().filter(|_| links.len() < CHAIN_MAX) {
            let Some(Line { record: Some(record), parts }) = self.lines.get(&(leaf.database_id.clone(), line)) else {
                break;
            };
            links.push(Link { record, parts, until });
            if let Some(parent) = &record.parent {
                until = until.min(parent.seq);
                id = Some(parent.line.clone());
            }
        }
        links.reverse();
        Chain { links }
    }
}

#[derive(Debug)]
struct Link<'a> {
    record: &'a LineRecord,
    parts: &'a [(Part, u64)],
    /// The next line goes on behind this number.
    until: Seq,
}

/// A line and those that it came from, oldest first.
#[derive(Debug)]
pub struct Chain<'a> {
    links: Vec<Link<'a>>,
}

/// How far the archive carries a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The objects, in order.
    pub parts: Vec<ChainPart>,
    /// The last number.
    pub last_seq: Seq,
    /// The state of every instant up to this one is known, in ns since 1970 UTC; `i64::MIN` if of none.
    pub time: i64,
    /// Why it ends there, if there is more behind.
    pub gap: Option<Gap>,
}

impl Chain<'_> {
    /// Whether a backup that holds everything up to `seq` of a line is part of this history.
    pub fn has(&self, line: &str, seq: Seq) -> bool {
        self.links.iter().any(|link| link.record.id == line && seq <= link.until)
    }

    /// Its lines, oldest first: each with the number behind which its frames begin.
    pub fn lines(&self) -> Vec<(String, Seq)> {
        self.links.iter().map(|link| (link.record.id.clone(), link.record.since)).collect()
    }

    /// What follows a state that holds everything up to `seq` of a line. That it is all of some instant only the archive
    /// says: what was committed while it was pinned may have come behind it.
    pub fn follow(&self, line: &str, seq: Seq) -> Followed {
        let mut followed = Followed { parts: Vec::new(), last_seq: seq, time: i64::MIN, gap: None };
        let begin = self.links.iter().position(|link| link.record.id == line).unwrap_or(self.links.len());
        for (index, link) in self.links.iter().enumerate().skip(begin) {
            if index > begin {
                // Nothing was committed between what it came from and its beginning.
                followed.time = followed.time.max(link.record.created);
            }
            if link.parts_behind(&mut followed).is_some() {
                return followed;
            }
            let is_last = index + 1 == self.links.len();
            if !is_last && followed.last_seq < link.until {
                followed.gap = Some(followed.missing(link.until, &link.record.id));
                return followed;
            }
            if is_last && link.record.reached.seq >= followed.last_seq {
                if link.record.reached.seq > followed.last_seq {
                    followed.gap = Some(followed.missing(link.record.reached.seq, &link.record.id));
                    return followed;
                }
                followed.time = followed.time.max(link.record.reached.time);
            }
        }
        followed
    }
}

impl Followed {
    fn missing(&self, last: Seq, line: &str) -> Gap {
        let first = self.last_seq + 1;
        let what = format!("batches {first} to {last} are missing in line `{line}` of the archive");
        Gap { first, last, what }
    }
}

impl Link<'_> {
    /// Adds the objects of this line; what is returned has ended it.
    fn parts_behind(&self, followed: &mut Followed) -> Option<()> {
        for (index, (part, size)) in self.parts.iter().enumerate() {
            let next = followed.last_seq + 1;
            if next > self.until {
                return None;
            }
            if part.last_seq < next {
                // It ends with what is there already, and may know of later that nothing else came.
                if part.last_seq == followed.last_seq {
                    followed.time = followed.time.max(part.time);
                }
                continue;
            }
            if part.first_seq > next {
                followed.gap = Some(followed.missing(part.first_seq - 1, &self.record.id));
                return Some(());
            }
            // They are in order: if the next one does not begin within it, none does. The same frames may have come twice.
            let mut others = self.parts.iter().skip(index + 1);
            let twin =
                others.find(|(other, _)| !other.is_same(part)).filter(|(other, _)| other.first_seq <= part.last_seq);
            if let Some((twin, _)) = twin {
                let (one, other) = (part.name(), twin.name());
                let what = format!(
                    "two histories are in line `{}` of the archive: `{one}` and `{other}` hold the same numbers",
                    self.record.id
                );
                followed.gap = Some(Gap { first: next, last: part.last_seq.min(twin.last_seq), what });
                return Some(());
            }
            let key = line::key(&self.record.database_id, &self.record.id, part);
            followed.parts.push(ChainPart { key, size: *size, part: part.clone(), until: self.until });
            followed.last_seq = part.last_seq.min(self.until);
            followed.time = followed.time.max(part.time);
        }
        None
    }
}
