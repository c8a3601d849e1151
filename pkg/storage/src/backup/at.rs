//! Restores to an instant: the newest backup at or before it, and the archived frames behind that
//! backup that were committed by then.

use super::record::BackupRecord;
use super::{catalog, copy};
use crate::archive::{self, Chain, ChainPart, FRAMES_BYTES_MAX, Followed, Gap, LineRecord, Lines, Parent};
use crate::objects::ObjectStore;
use crate::tier;
use crate::wal;
use timberlog_types::{Error, ErrorKind, Result, Seq, time};

/// Archived frames that a restore adds to a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Everything that was committed up to this time, in ns since 1970 UTC.
    pub at: i64,
    /// The objects, in order.
    pub parts: Vec<ChainPart>,
    /// Frames behind this number.
    pub after: Seq,
    /// The lines of its history: each with the number behind which its frames begin.
    lines: Vec<(String, Seq)>,
}

impl Tail {
    /// A backup by itself.
    fn none(record: &BackupRecord) -> Self {
        Self { at: record.until(), parts: Vec::new(), after: record.seq, lines: Vec::new() }
    }

    /// Where the restored history parts from the archived one.
    pub(super) fn parent(&self, seq: Seq) -> Option<Parent> {
        let line = self.lines.iter().rfind(|(_, since)| *since <= seq)?;
        Some(Parent { line: line.0.clone(), seq })
    }
}

/// The backup and the frames that make up the state of an instant.
///
/// # Errors
/// `NotFound` if there is none, with the newest instant that can be reached.
pub fn find_at(store: &dyn ObjectStore, backup: &str, at: i64) -> Result<(BackupRecord, Tail)> {
    found_at(store, backup, at).map_err(|error| match error.kind {
        // It may begin with one of those.
        ErrorKind::NotFound => Error::new(error.kind, error.message + &unreadable(store)),
        _ => error,
    })
}

fn found_at(store: &dyn ObjectStore, backup: &str, at: i64) -> Result<(BackupRecord, Tail)> {
    let records = chosen(store, backup)?;
    let Some(newest) = records.iter().rfind(|record| record.until() <= at) else {
        let first = records.iter().map(BackupRecord::until).min();
        let text = time::format_rfc3339;
        let hint = first.map_or_else(String::new, |first| format!("; the oldest instant is `{}`", text(first)));
        let message = format!("no backup is as old as `{}`{hint}", text(at));
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    state_at(&records, newest, &whole_lines(store, &newest.database_id)?, at)
}

/// The state of an instant, in the history of the newest backup that is not later.
fn state_at(records: &[BackupRecord], newest: &BackupRecord, lines: &Lines, at: i64) -> Result<(BackupRecord, Tail)> {
    let database = newest.database_id.as_str();
    let history = lines.at(database, at).and_then(|leaf| {
        let chain = lines.chain(leaf);
        let is_base = |record: &&BackupRecord| record.until() <= at && is_of(record, database, &chain);
        records.iter().rfind(is_base).map(|base| (chain, base))
    });
    let span = || {
        let spans = spans(records, lines, database);
        spans.iter().rfind(|span| span.from <= at).map(|span| (span.from, span.to))
    };
    let Some((chain, base)) = history else {
        // By itself it is one instant.
        let alone = (newest.until(), newest.until());
        if alone.1 < at {
            return Err(beyond(at, newest, None, span().filter(|span| span.1 > alone.1).or(Some(alone))));
        }
        return Ok((newest.clone(), Tail::none(newest)));
    };
    let followed = follow(&chain, base);
    if at > followed.time {
        return Err(beyond(at, base, followed.gap.as_ref(), span()));
    }
    let mut parts = followed.parts;
    // Behind the first one that reaches it, nothing was committed by then.
    let needed = parts.iter().position(|part| part.part.time >= at).map_or(parts.len(), |index| index + 1);
    parts.truncate(needed);
    Ok((base.clone(), Tail { at, parts, after: base.seq, lines: chain.lines() }))
}

/// The last state that is known: the end of the archive, or the newest backup where that is not archived yet.
///
/// # Errors
/// `NotFound` if there is no backup, or none that belongs to an archive; `Conflict` if they are of several databases.
pub fn find_latest(store: &dyn ObjectStore, backup: &str) -> Result<(BackupRecord, Tail)> {
    let records = chosen(store, backup)?;
    let has_archive = records.iter().any(|record| record.line.is_some());
    let Some(newest) = records.last().filter(|_| has_archive) else {
        return Err(Error::new(ErrorKind::NotFound, format!("no backup in `{}` has an archive", store.describe())));
    };
    let database = newest.database_id.as_str();
    if let Some(other) = records.iter().rfind(|record| record.database_id != database) {
        let message = format!(
            "`{}` holds backups of several databases: name one, as `{}` of `{database}` or `{}` of `{}`",
            store.describe(),
            newest.id,
            other.id,
            other.database_id
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    let lines = whole_lines(store, database)?;
    match spans(&records, &lines, database).last().map(|span| span.to).filter(|to| *to >= newest.until()) {
        Some(at) => state_at(&records, newest, &lines, at),
        None => Ok((newest.clone(), Tail::none(newest))),
    }
}

/// The lines of a database. One that cannot be read may be the one in which it lived at an instant, so all must be.
fn whole_lines(store: &dyn ObjectStore, database: &str) -> Result<Lines> {
    let lines = Lines::read(store, Some(database))?;
    match lines.damage.first() {
        None => Ok(lines),
        Some((_, what)) => Err(Error::corrupt(format!("{what}: no instant is known, only backups by themselves"))),
    }
}

/// The backups that a restore may begin with: the one of this id, or with `latest` all of them.
fn chosen(store: &dyn ObjectStore, backup: &str) -> Result<Vec<BackupRecord>> {
    let mut records = readable(store)?;
    records.retain(|record| backup == "latest" || record.id == backup);
    Ok(records)
}

/// The error of a restore to an instant that is not known, from an older backup, with the last ones before it that are.
fn beyond(at: i64, backup: &BackupRecord, gap: Option<&Gap>, known: Option<(i64, i64)>) -> Error {
    let text = time::format_rfc3339;
    let why = gap.map_or_else(String::new, |gap| format!("{}: ", gap.what));
    let instead = known.map_or_else(
        || format!("the archive does not go on from backup `{}` yet, which can be restored by itself", backup.id),
        |(from, to)| {
            let second = to.div_euclid(1_000_000_000) * 1_000_000_000;
            format!("the newest second that can is `{}`", text(if second >= from { second } else { to }))
        },
    );
    Error::new(ErrorKind::NotFound, format!("{why}`{}` cannot be restored, {instead}", text(at)))
}

/// Whether a backup belongs to a history.
fn is_of(record: &BackupRecord, database: &str, chain: &Chain<'_>) -> bool {
    record.database_id == database && record.line.as_deref().is_some_and(|line| chain.has(line, record.seq))
}

/// What the archive adds to a backup.
fn follow(chain: &Chain<'_>, record: &BackupRecord) -> Followed {
    chain.follow(record.line.as_deref().unwrap_or_default(), record.seq)
}

/// The backups whose records can be read, by their instants.
fn readable(store: &dyn ObjectStore) -> Result<Vec<BackupRecord>> {
    let mut records: Vec<BackupRecord> =
        catalog::list(store)?.into_iter().filter_map(|listed| listed.record.ok()).collect();
    records.sort_by_key(|record| (record.until(), record.seq));
    Ok(records)
}

/// The backups whose records cannot be read, to be said behind an error.
fn unreadable(store: &dyn ObjectStore) -> String {
    let errors = catalog::list(store).into_iter().flatten().filter_map(|listed| listed.record.err());
    errors.map(|error| format!("; {error}")).collect()
}

/// Gets an object of the archive: the run of frames that its name says.
pub(super) fn read_part(store: &dyn ObjectStore, database_id: &str, part: &ChainPart) -> Result<wal::Run> {
    let named = |error: Error| error.context(format!("object `{}`", part.key));
    let limit = FRAMES_BYTES_MAX as u64 * 2;
    if part.size > limit {
        return Err(named(Error::corrupt(format!("it has {} bytes, at most {limit} make sense", part.size))));
    }
    let mut bytes = Vec::new();
    copy::sum(store, &part.key, part.size, &mut |some| {
        bytes.extend_from_slice(some);
        Ok(())
    })?;
    let id = u128::from_str_radix(database_id, 16).map_err(|_| Error::corrupt("the database id is no number"))?;
    let run = archive::decode(id.to_be_bytes(), &bytes).map_err(named)?;
    let is_right = (run.first_seq, run.last_seq) == (part.part.first_seq, part.part.last_seq);
    if !is_right || crc32c::crc32c(&run.bytes) != part.part.crc32c {
        return Err(named(Error::corrupt("it holds other frames than its name says")));
    }
    Ok(run)
}

/// Gives the frames of an object, in order.
pub(super) fn read_frames(
    part: &ChainPart,
    run: wal::Run,
    found: &mut dyn FnMut(wal::Frame) -> Result<()>,
) -> Result<()> {
    let numbers = (run.first_seq, run.last_seq);
    wal::read_run(tier::file_of_bytes(run.bytes), numbers, found)
        .map_err(|error| error.context(format!("object `{}`", part.key)))
}

impl Tail {
    /// Gives the frames that belong to the instant, in order; returns the last number.
    pub(super) fn frames(
        &self,
        store: &dyn ObjectStore,
        database_id: &str,
        found: &mut dyn FnMut(wal::Frame) -> Result<()>,
    ) -> Result<Seq> {
        let mut last = self.after;
        for part in &self.parts {
            let run = read_part(store, database_id, part)?;
            let mut is_over = false;
            read_frames(part, run, &mut |frame| {
                is_over |= frame.commit_time > self.at;
                if is_over || frame.seq <= last || frame.seq > part.until {
                    return Ok(());
                }
                last = frame.seq;
                found(frame)
            })?;
            if is_over {
                break;
            }
        }
        Ok(last)
    }
}

/// What can be restored of a database: from an instant to another, every one between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// The database.
    pub database_id: String,
    /// The line, of the last instant.
    pub line: String,
    /// The first instant.
    pub from: i64,
    /// The last one.
    pub to: i64,
    /// Why it ends there, if there is more behind.
    pub gap: Option<String>,
}

impl Reachable {
    /// Whether a backup is within it: from its instant on every one up to the end can be restored.
    pub fn has(&self, record: &BackupRecord) -> bool {
        self.database_id == record.database_id && (self.from..=self.to).contains(&record.until())
    }
}

/// Which instants the archive makes restorable, of each database in order: those that [`find_at`] takes.
///
/// # Errors
/// Of the store.
pub fn reachable(store: &dyn ObjectStore) -> Result<Vec<Reachable>> {
    let records = readable(store)?;
    let lines = Lines::read(store, None)?;
    let mut all = Vec::new();
    let mut databases: Vec<&str> = records.iter().map(|record| record.database_id.as_str()).collect();
    databases.sort_unstable();
    databases.dedup();
    let is_whole = |database: &&str| lines.damage.iter().all(|(damaged, _)| damaged != database);
    for database in databases.into_iter().filter(is_whole) {
        all.extend(spans(&records, &lines, database));
    }
    Ok(all)
}

/// An instant belongs to the newest line that had begun: behind the end of one nothing is known until the next begins.
fn spans(records: &[BackupRecord], lines: &Lines, database: &str) -> Vec<Reachable> {
    let mut spans: Vec<Reachable> = Vec::new();
    let leaves: Vec<&LineRecord> = lines.of(database).collect();
    for (index, leaf) in leaves.iter().enumerate() {
        let end = leaves.get(index + 1).map_or(i64::MAX, |next| next.created.saturating_sub(1));
        for range in ranges(records, lines, leaf) {
            let next = within(range, leaf.created, end);
            match spans.last_mut() {
                _ if next.from > next.to => {}
                Some(last) if next.from <= last.to.saturating_add(1) => *last = Reachable { from: last.from, ..next },
                _ => spans.push(next),
            }
        }
    }
    spans
}

/// The part of a range that belongs to its line; what cuts it off is no gap.
fn within(range: Reachable, start: i64, end: i64) -> Reachable {
    let gap = range.gap.filter(|_| range.to <= end);
    Reachable { from: range.from.max(start), to: range.to.min(end), gap, ..range }
}

fn ranges(records: &[BackupRecord], lines: &Lines, leaf: &LineRecord) -> Vec<Reachable> {
    let chain = lines.chain(leaf);
    let mut found: Vec<Reachable> = Vec::new();
    for record in records.iter().filter(|record| is_of(record, &leaf.database_id, &chain)) {
        let from = record.until();
        if found.last().is_some_and(|last| from <= last.to) {
            continue;
        }
        let followed = follow(&chain, record);
        found.push(Reachable {
            database_id: leaf.database_id.clone(),
            line: leaf.id.clone(),
            from,
            to: followed.time,
            gap: followed.gap.map(|gap| gap.what),
        });
    }
    found
}
