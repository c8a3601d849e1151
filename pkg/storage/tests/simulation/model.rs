//! What was sent and answered, and so what must be there, may be there, and must not.

use crate::deletes::{Deletes, IsHidden};
use crate::records::{Arrival, Place, Row};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use timberlog_storage::producers::ProducerBatch;
use timberlog_storage::{Appended, Durability};
use timberlog_types::{Batch, Result as Answer, Seq, Tenant};

/// What is known of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Handed in and not answered yet, or answered with an error: not visible in this process, and
    /// there or not there, whole, in the next.
    Open,
    /// Acknowledged under this number.
    Acknowledged(Seq),
    /// Never acknowledged, and found after a restart.
    Found,
    /// Not there after a restart: it must never come back.
    Gone,
    /// Not acknowledged, and all its records are expired: nobody knows whether it is there.
    Unknown,
}

/// A batch that was sent.
pub struct Sent {
    pub tenant: Tenant,
    pub bytes: Box<[u8]>,
    pub lines: Vec<String>,
    pub rows: Vec<Row>,
    pub producer: Option<ProducerBatch>,
    pub fate: Fate,
}

impl Sent {
    pub fn batch(&self) -> Batch {
        Batch::decode(self.bytes.clone()).unwrap()
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Closed without an error.
    Closed,
    /// Killed: what it wrote is there.
    Killed,
    /// By a power loss.
    PowerLoss,
}

/// What the storage has told, as of one process.
#[derive(Default)]
pub struct Model {
    /// By number.
    pub sent: BTreeMap<u64, Sent>,
    /// Batches that became visible in this process, with their sequence numbers.
    pub seen: BTreeMap<u64, Seq>,
    /// Batches that became visible by replay in this process: they are on disk.
    pub replayed: BTreeSet<u64>,
    /// The highest number known to be on disk, by what the storage says.
    pub synced_seq: Seq,
    /// The highest number known to be in segments.
    pub flushed_seq: Seq,
    /// What is deleted and expired.
    pub deletes: Deletes,
}

/// What was read back: lines by tenant.
pub type Contents = BTreeMap<Tenant, Vec<String>>;
/// Records that are equal in time and stream, in the order in which they were read back.
pub type Arrivals = BTreeMap<(Tenant, Place), Vec<Arrival>>;

impl Model {
    /// Takes note of an answer. `is_alive`: nothing is in the way of the right one.
    pub fn answer(&mut self, number: u64, answer: Answer<Appended>, is_alive: bool) -> Result<(), String> {
        let last_seq = self.last_seq();
        let sent = self.sent.get_mut(&number).ok_or("an answer to a batch that was not sent")?;
        let is_stored = matches!(sent.fate, Fate::Acknowledged(_) | Fate::Found);
        let Appended { seq, rows, duplicate, refused } = match answer {
            Ok(appended) => appended,
            Err(error) if is_stored && is_alive => {
                return Err(format!("batch {number}, sent again, was answered with `{error}`"));
            }
            Err(_) => return Ok(()),
        };
        if rows != sent.lines.len() as u64 {
            return Err(format!("batch {number} of {} records was answered with {rows}", sent.lines.len()));
        }
        let seen = self.seen.get(&number).copied();
        match (sent.fate, duplicate) {
            (Fate::Acknowledged(first), _) if first != seq => {
                return Err(format!("batch {number} has sequence number {first}, and then {seq}"));
            }
            (Fate::Acknowledged(_), _) => {}
            (Fate::Found, false) => return Err(format!("batch {number} was there and is stored again")),
            (Fate::Found, true) | (Fate::Unknown, _) => {}
            (Fate::Open | Fate::Gone, _) => {
                if seen != Some(seq) {
                    return Err(format!("batch {number} was answered with {seq}, published was {seen:?}"));
                }
                if seq <= last_seq {
                    return Err(format!("batch {number} got sequence number {seq}, {last_seq} was given before"));
                }
            }
        }
        if duplicate && sent.producer.as_ref().is_none_or(|producer| producer.refused != refused) {
            return Err(format!("batch {number} was sent again and answered differently"));
        }
        sent.fate = Fate::Acknowledged(seq);
        Ok(())
    }

    /// Holds what a live process shows against what it has answered.
    pub fn check_live(&self, contents: &Contents) -> Result<(), String> {
        let found = self.count(contents)?;
        for (number, sent) in &self.sent {
            let is_there = found.contains(number);
            match sent.fate {
                Fate::Acknowledged(_) | Fate::Found if !is_there && self.is_seen(*number, sent) => {
                    return Err(format!("batch {number} ({:?}) is not visible", sent.fate));
                }
                Fate::Open if is_there => return Err(format!("batch {number} is visible and was not acknowledged")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Holds what a new process finds against what was told before, and settles every batch.
    pub fn check_restart(&mut self, contents: &Contents, end: End, durability: Durability) -> Result<Settled, String> {
        let found = self.count(contents)?;
        let mut settled = Settled::default();
        let may_lose = end == End::PowerLoss && durability != Durability::Fsync;
        // The first acknowledged number that is lost, the last one that is there.
        let (mut lost_min, mut kept_max) = (Seq::MAX, 0);
        let unseen: BTreeSet<u64> =
            self.sent.iter().filter(|(number, sent)| !self.is_seen(**number, sent)).map(|(n, _)| *n).collect();
        for (&number, sent) in &mut self.sent {
            let is_there = found.contains(&number);
            let seq = match sent.fate {
                Fate::Acknowledged(seq) => Some(seq),
                _ => self.seen.get(&number).copied(),
            };
            if is_there {
                kept_max = kept_max.max(seq.unwrap_or(0));
                if matches!(sent.fate, Fate::Open | Fate::Unknown) {
                    settled.found += 1;
                    sent.fate = seq.map_or(Fate::Found, Fate::Acknowledged);
                }
                continue;
            }
            if unseen.contains(&number) {
                if !matches!(sent.fate, Fate::Acknowledged(_) | Fate::Found | Fate::Gone) || may_lose {
                    sent.fate = Fate::Unknown;
                }
                continue;
            }
            match (sent.fate, seq) {
                (Fate::Found, _) => return Err(format!("batch {number} is gone, which an earlier start had found")),
                (_, Some(seq)) if sent.fate != Fate::Gone => {
                    let is_synced = !may_lose || seq <= self.synced_seq || self.replayed.contains(&number);
                    if is_synced {
                        let what = if sent.fate == Fate::Open { "visible" } else { "acknowledged" };
                        return Err(format!("batch {number}, {what} with sequence number {seq}, is lost"));
                    }
                    lost_min = lost_min.min(seq);
                    settled.lost += 1;
                }
                _ => {}
            }
            sent.fate = Fate::Gone;
        }
        if lost_min < kept_max {
            return Err(format!("sequence number {lost_min} is lost and {kept_max} is not: no suffix"));
        }
        self.seen.clear();
        self.replayed.clear();
        Ok(settled)
    }

    /// Records that are equal in time and stream stand in the order of their arrival.
    pub fn check_order(&self, arrivals: &Arrivals) -> Result<(), String> {
        for ((tenant, (timestamp, _)), arrivals) in arrivals {
            let seq = |number: &u64| match self.sent.get(number).map(|sent| sent.fate) {
                Some(Fate::Acknowledged(seq)) => Some(seq),
                _ => self.seen.get(number).copied(),
            };
            // Of a batch that was found after a restart the number is not known.
            let known = arrivals.iter().filter_map(|(number, row)| Some((seq(number)?, *row)));
            if !known.is_sorted() {
                return Err(format!("records of {timestamp} of tenant {tenant} are not in order: {arrivals:?}"));
            }
        }
        Ok(())
    }

    /// The newest batch of a producer that was acknowledged, as it was sent.
    pub fn last_of_a_producer(&self) -> Option<(Tenant, Batch, ProducerBatch)> {
        let of_producer = |sent: &&Sent| sent.producer.is_some() && matches!(sent.fate, Fate::Acknowledged(_));
        let newest = self.sent.values().filter(of_producer).max_by_key(|sent| match sent.fate {
            Fate::Acknowledged(seq) => seq,
            _ => 0,
        });
        newest.and_then(|sent| Some((sent.tenant.clone(), sent.batch(), sent.producer.clone()?)))
    }

    fn seq_of(&self, number: u64, sent: &Sent) -> Option<Seq> {
        match sent.fate {
            Fate::Acknowledged(seq) => Some(seq),
            _ => self.seen.get(&number).copied(),
        }
    }

    /// Whether a batch that is there has a record that is surely not hidden.
    fn is_seen(&self, number: u64, sent: &Sent) -> bool {
        let seq = self.seq_of(number, sent);
        sent.rows.iter().any(|row| self.deletes.is_hidden(&sent.tenant, seq, row) == IsHidden::No)
    }

    /// The batches that are there: each whole, but for what is hidden, once, and known.
    fn count(&self, contents: &Contents) -> Result<BTreeSet<u64>, String> {
        let mut expected: HashMap<(&Tenant, &str), (u64, usize)> = HashMap::new();
        for (number, sent) in &self.sent {
            let lines = sent.lines.iter().enumerate();
            expected.extend(lines.map(|(row, line)| ((&sent.tenant, line.as_str()), (*number, row))));
        }
        let start = |line: &str| line.chars().take(80).collect::<String>();
        let mut found: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        for (tenant, lines) in contents {
            for line in lines {
                let Some((number, row)) = expected.remove(&(tenant, line.as_str())) else {
                    return Err(format!(
                        "a record that was never sent, or is there twice: tenant {tenant}, {}",
                        start(line)
                    ));
                };
                found.entry(number).or_default().insert(row);
            }
        }
        for (number, found) in &found {
            let sent = &self.sent[number];
            let seq = self.seq_of(*number, sent);
            for (place, row) in sent.rows.iter().enumerate() {
                let is_hidden = self.deletes.is_hidden(&sent.tenant, seq, row);
                let what = match (found.contains(&place), is_hidden) {
                    (true, IsHidden::Yes) => "deleted or expired, and shown",
                    (false, IsHidden::No) => "not there, unlike others of its batch",
                    _ => continue,
                };
                return Err(format!("a record is {what}: batch {number} ({seq:?}), {}", start(&sent.lines[place])));
            }
            if sent.fate == Fate::Gone {
                return Err(format!("batch {number} came back from the dead"));
            }
        }
        Ok(found.into_keys().collect())
    }

    /// The highest number of a batch that is there.
    pub fn last_seq(&self) -> Seq {
        let seq = |sent: &Sent| if let Fate::Acknowledged(seq) = sent.fate { seq } else { 0 };
        self.sent.values().map(seq).max().unwrap_or(0).max(self.deletes.last_seq())
    }
}

/// What became of the batches that nothing was promised for.
#[derive(Default)]
pub struct Settled {
    /// Not acknowledged, and there.
    pub found: u64,
    /// Acknowledged in `async` mode, not synced, and not there.
    pub lost: u64,
}
