//! Deletes and retention in a history: what was asked for, what became of it, and so which records
//! must be hidden, must not be, or may be either.

use crate::evictions::Evictions;
use crate::records::{Row, rows_of_block};
use std::collections::BTreeMap;
use timberlog_disk::sim::Rng;
use timberlog_filter::Filter;
use timberlog_storage::{DeleteState, Selectors, Storage, Tombstone};
use timberlog_types::{Day, Error, ErrorKind, Result as Answer, Seq, Tenant, TimeRange};

/// What selectors mean here: `row=<number>`, and perhaps `,service=<name>`. The first record of a
/// batch (row 0) is never named, so that every batch can be seen.
pub fn selectors() -> Selectors {
    Selectors::new(|text| {
        let selector = Selector::parse(text).ok_or_else(|| Error::invalid(format!("selector `{text}`")))?;
        let row = Filter::contains(format!(" row {}:", selector.row));
        Ok(match selector.service {
            Some(service) => row.and(Filter::eq("service", service)),
            None => row,
        })
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    row: u64,
    service: Option<String>,
}

impl Selector {
    pub fn random(rng: &mut Rng) -> Self {
        let service = rng.percent(40).then(|| ["web", "db"][rng.below(2) as usize].to_owned());
        Self { row: 1 + rng.below(4), service }
    }

    fn parse(text: &str) -> Option<Self> {
        let (row, service) = match text.split_once(",service=") {
            Some((row, service)) => (row, Some(service.to_owned())),
            None => (text, None),
        };
        Some(Self { row: row.strip_prefix("row=")?.parse().ok()?, service })
    }

    pub fn text(&self) -> String {
        let service = self.service.iter().map(|service| format!(",service={service}"));
        format!("row={}{}", self.row, service.collect::<String>())
    }

    fn names(&self, row: &Row) -> bool {
        row.number == self.row && self.service.as_ref().is_none_or(|service| *service == row.service)
    }
}

/// What is known of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Answered with an error: it may be effective, now or after the next start.
    Open,
    /// It hides what it names.
    Effective(Seq),
    /// Its cancellation was answered with an error.
    CancelOpen(Seq),
    /// It hides nothing, and never will.
    Gone,
}

#[derive(Clone, Debug)]
struct Delete {
    tenant: Tenant,
    selector: Selector,
    range: TimeRange,
    id: Option<String>,
    fate: Fate,
}

/// Whether a record is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IsHidden {
    No,
    Maybe,
    Yes,
}

/// What was deleted, and what is expired.
#[derive(Default)]
pub struct Deletes {
    deletes: Vec<Delete>,
    /// The cutoffs of tenants, as read last and at most.
    cutoffs: BTreeMap<Tenant, (i64, i64)>,
    /// A rule with a selector: for it too the cutoff as read last, and at most.
    pub rule: Option<(Selector, std::time::Duration)>,
    rule_cutoff: (i64, i64),
    /// A time of retention's clock that a commit has written down.
    pub clock_ns: i64,
    /// What a limit on bytes has removed.
    pub evictions: Evictions,
}

impl Deletes {
    /// The number of a delete that was acknowledged, at most.
    pub fn last_seq(&self) -> Seq {
        let seq = |delete: &Delete| if let Fate::Effective(seq) = delete.fate { seq } else { 0 };
        self.deletes.iter().map(seq).max().unwrap_or(0)
    }

    /// Makes up a delete: everything, or some days.
    pub fn random(&mut self, tenant: &Tenant, first_day: i32, rng: &mut Rng) -> (String, TimeRange) {
        let selector = Selector::random(rng);
        // No two have the same range: they are known by it.
        let number = self.deletes.len() as i64;
        let range = if rng.percent(40) {
            TimeRange { start: i64::MIN + number, end: i64::MAX }
        } else {
            let day = |rng: &mut Rng| Day(first_day + rng.below(5) as i32);
            let (a, b) = (day(rng), day(rng));
            TimeRange { start: a.min(b).range().start + number, end: a.max(b).range().end }
        };
        let text = selector.text();
        self.deletes.push(Delete { tenant: tenant.clone(), selector, range, id: None, fate: Fate::Open });
        (text, range)
    }

    /// Takes note of what became of the delete that was made up last.
    pub fn answer(&mut self, answer: &Answer<Tombstone>, last_seq: Seq) -> Result<(), String> {
        let Some(delete) = self.deletes.last_mut() else { return Ok(()) };
        if let Ok(tombstone) = answer {
            if tombstone.seq <= last_seq {
                return Err(format!("a delete got sequence number {}, {last_seq} was given before", tombstone.seq));
            }
            (delete.id, delete.fate) = (Some(tombstone.id.clone()), Fate::Effective(tombstone.seq));
        }
        Ok(())
    }

    /// A delete that may be cancelled: its place, tenant and id.
    pub fn pick(&self, rng: &mut Rng) -> Option<(usize, Tenant, String)> {
        let live: Vec<usize> =
            (0..self.deletes.len()).filter(|&place| matches!(self.deletes[place].fate, Fate::Effective(_))).collect();
        let place = *live.get(rng.below(live.len() as u64) as usize)?;
        let delete = &self.deletes[place];
        Some((place, delete.tenant.clone(), delete.id.clone()?))
    }

    /// Takes note of what became of a cancellation.
    pub fn cancelled(&mut self, place: usize, answer: &Answer<()>, storage: &Storage) -> Result<(), String> {
        let delete = &mut self.deletes[place];
        let Fate::Effective(seq) = delete.fate else { return Ok(()) };
        match answer {
            Ok(()) => delete.fate = Fate::Gone,
            Err(error) if error.kind == ErrorKind::Conflict => {
                let status = storage.deletes(&delete.tenant).into_iter().find(|status| status.tombstone.seq == seq);
                if status.is_none_or(|status| status.state == DeleteState::Received && status.rows_removed == 0) {
                    return Err(format!("delete {seq} has removed nothing and is not cancelled: {error}"));
                }
            }
            Err(_) => delete.fate = Fate::CancelOpen(seq),
        }
        Ok(())
    }

    /// Holds what a start lists against what was answered, and settles every delete.
    pub fn check_restart(&mut self, storage: &Storage) -> Result<(), String> {
        for delete in &mut self.deletes {
            let listed = storage.deletes(&delete.tenant);
            let listed = listed.into_iter().map(|status| status.tombstone).find(|found| found.range == delete.range);
            delete.fate = match (delete.fate, listed) {
                (Fate::Gone, Some(found)) => return Err(format!("delete {} came back from the dead", found.seq)),
                (Fate::Effective(seq), None) => return Err(format!("delete {seq} is forgotten")),
                (Fate::Effective(seq), Some(found)) if found.seq != seq => {
                    return Err(format!("delete {seq} has number {} now", found.seq));
                }
                (_, Some(found)) => {
                    delete.id = Some(found.id);
                    Fate::Effective(found.seq)
                }
                (_, None) => Fate::Gone,
            };
        }
        Ok(())
    }

    /// The clock of retention goes on from where a commit has seen it: what has expired does not come back.
    pub fn check_clock(&self, storage: &Storage) -> Result<(), String> {
        let has_retention = !storage.options().retention.is_empty() || storage.options().retention_bytes.is_some();
        let clock_ns = storage.retention_status().clock_ns;
        if has_retention && clock_ns < self.clock_ns {
            return Err(format!("the clock of retention is {clock_ns}, {} was committed", self.clock_ns));
        }
        Ok(())
    }

    /// Where compaction has nothing left to do, no segment whose records are all old enough has one that the rule names.
    pub fn check_rule(&self, storage: &Storage, tenants: &[Tenant]) -> Answer<Result<(), String>> {
        let Some((selector, age)) = &self.rule else { return Ok(Ok(())) };
        let status = storage.retention_status();
        let cutoff = self.rule_cutoff.0.min(status.clock_ns - age.as_nanos() as i64);
        for segment in
            tenants.iter().flat_map(|tenant| storage.snapshot(tenant).segments.iter().cloned().collect::<Vec<_>>())
        {
            if segment.entry.range.end >= cutoff || status.paused.is_some() {
                continue;
            }
            let files = segment.open()?;
            for block in &files.reader.directory().blocks {
                let batch = files.reader.read_block_as_batch(block.number).map_err(Error::from)?;
                if rows_of_block(&batch).any(|row| selector.names(&row)) {
                    let id = &segment.entry.id;
                    return Ok(Err(format!(
                        "segment {id} has records that have expired, and compaction has nothing to do"
                    )));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Takes note of where retention stands. `jumped`: the wall clock is not to be believed.
    pub fn look_at_retention(&mut self, storage: &Storage, tenants: &[Tenant], jumped: bool) -> Result<(), String> {
        let note = |(last, most): &mut (i64, i64), now: i64, what: &str| {
            if jumped && *most != 0 && now > *most + 60_000_000_000 {
                return Err(format!("{what} expires up to {now}, {most} was before the clock jumped"));
            }
            (*last, *most) = (now, now.max(*most));
            Ok(())
        };
        for tenant in tenants {
            if let Some(cutoff) = storage.retention_cutoff(tenant) {
                note(self.cutoffs.entry(tenant.clone()).or_default(), cutoff, tenant.as_str())?;
            }
        }
        if let Some((_, age)) = &self.rule {
            let cutoff = storage.retention_status().clock_ns - age.as_nanos() as i64;
            note(&mut self.rule_cutoff, cutoff, "the rule")?;
        }
        Ok(())
    }

    /// Whether a record of a batch, with its number if that is known, is hidden.
    pub fn is_hidden(&self, tenant: &Tenant, seq: Option<Seq>, row: &Row) -> IsHidden {
        let expired = |(last, most): &(i64, i64)| match row.timestamp {
            time if time < *last => IsHidden::Yes,
            time if time < *most => IsHidden::Maybe,
            _ => IsHidden::No,
        };
        let by_age = self.cutoffs.get(tenant).map_or(IsHidden::No, expired);
        let by_rule = self.rule.as_ref().filter(|(selector, _)| selector.names(row));
        let by_rule = by_rule.map_or(IsHidden::No, |_| expired(&self.rule_cutoff));
        let names = |delete: &&Delete| {
            delete.tenant == *tenant && delete.range.contains(row.timestamp) && delete.selector.names(row)
        };
        let deleted = self.deletes.iter().filter(names).map(|delete| match (delete.fate, seq) {
            (Fate::Gone, _) => IsHidden::No,
            (Fate::Effective(of) | Fate::CancelOpen(of), Some(seq)) if seq > of => IsHidden::No,
            (Fate::Effective(_), Some(_)) => IsHidden::Yes,
            _ => IsHidden::Maybe,
        });
        let evicted = self.evictions.is_hidden(tenant, seq, row);
        deleted.chain([by_age, by_rule, evicted]).max().unwrap_or(IsHidden::No)
    }
}
