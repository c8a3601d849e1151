//! Deletes from their answer on: hidden at once, after flushes and restarts, and only what they name.

use super::*;
use crate::deletes::{DeleteState, Selectors};
use timberlog_filter::{BatchColumns, Filter, evaluate};
use timberlog_types::{RowSet, TimeRange};

pub(super) const ALL: TimeRange = TimeRange::ALL;

/// A selector is a text that messages hold.
pub(super) fn selectors() -> Selectors {
    Selectors::new(|text| match text {
        "" => Err(Error::invalid("an empty selector")),
        text => Ok(Filter::contains(text)),
    })
}

pub(super) fn options(folder: &tempfile::TempDir) -> Options {
    Options { selectors: selectors(), ..super::options(folder) }
}

/// The messages that a tenant's snapshot shows.
pub(super) fn shown(storage: &Storage, tenant: &Tenant) -> Vec<String> {
    let snapshot = storage.snapshot(tenant);
    let mut shown = Vec::new();
    let mut note = |batch: &Batch, hides: &mut dyn Iterator<Item = &Arc<crate::Hide>>| {
        let hidden: Vec<RowSet> = hides.map(|hide| rows_of(batch, hide)).collect();
        let start = snapshot.hidden.start();
        let is_shown = |row: &usize| batch.timestamp(*row) >= start && !hidden.iter().any(|rows| rows.contains(*row));
        let text = |row| String::from_utf8_lossy(batch.message(row)).into_owned();
        shown.extend((0..batch.rows()).filter(is_shown).map(text));
    };
    for segment in snapshot.segments.iter() {
        let files = segment.open().unwrap();
        for block in &files.reader.directory().blocks {
            let batch = files.reader.read_block_as_batch(block.number).unwrap();
            note(&batch, &mut snapshot.hidden.of_segment(&segment.entry));
        }
    }
    for batch in &snapshot.batches {
        note(&batch.batch, &mut snapshot.hidden.of_batch(batch));
    }
    shown.sort();
    shown
}

fn rows_of(batch: &Batch, hide: &crate::Hide) -> RowSet {
    let within = RowSet::from_fn(batch.rows(), |row| hide.range.contains(batch.timestamp(row)));
    evaluate(&hide.filter, &BatchColumns::new(batch), within).unwrap()
}

/// Records at times 0, 1, … with these messages.
pub(super) fn messages(texts: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(Some("info")).unwrap();
    for (time, text) in texts.iter().enumerate() {
        builder.finish_row(time as i64, stream, level, text.as_bytes()).unwrap();
    }
    builder.finish().unwrap()
}

/// Opens what a crash would leave.
pub(super) fn crashed(options: &Options, copy: &std::path::Path) -> (Options, Storage) {
    copy_folder(&options.data_dir, copy);
    let options = Options { data_dir: copy.into(), ..options.clone() };
    let storage = open(&options).unwrap();
    (options, storage)
}

#[test]
fn what_a_delete_names_is_hidden_at_once_and_stays_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let (tenant, other) = (Tenant::default(), Tenant::new("other").unwrap());
    let storage = open(&options).unwrap();
    storage.append(&tenant, messages(&["a secret", "b"]), None).unwrap();
    storage.flush().unwrap();
    storage.append(&tenant, messages(&["c secret", "d", "e secret"]), None).unwrap();
    storage.append(&other, messages(&["f secret"]), None).unwrap();
    let before = storage.snapshot(&tenant);
    let range = TimeRange { start: 0, end: 1 };
    let tombstone = storage.delete(&tenant, "secret", range).unwrap();
    assert_eq!((tombstone.seq, tombstone.range), (4, range));
    assert!(before.hidden.is_empty(), "a snapshot does not change");
    assert_eq!(shown(&storage, &tenant), ["b", "d", "e secret"], "not what is outside of the range");
    assert_eq!(shown(&storage, &other), ["f secret"], "not what others have");
    storage.append(&tenant, messages(&["g secret"]), None).unwrap();
    let expected = ["b", "d", "e secret", "g secret"];
    assert_eq!(shown(&storage, &tenant), expected, "not what comes after it");
    let (_, restarted) = crashed(&options, &folder.path().join("killed"));
    assert_eq!(shown(&restarted, &tenant), expected);
    storage.flush().unwrap();
    assert_eq!(shown(&storage, &tenant), expected);
    let (_, restarted) = crashed(&options, &folder.path().join("killed later"));
    assert_eq!(shown(&restarted, &tenant), expected);
    let deletes = restarted.deletes(&tenant);
    assert_eq!((deletes.len(), &deletes[0].tombstone), (1, &tombstone));
    assert_eq!(deletes[0].state, DeleteState::Received);
    assert!(restarted.deletes(&other).is_empty());
}

#[test]
fn what_cannot_be_deleted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    assert_eq!(storage.delete(&tenant, "", ALL).unwrap_err().kind, ErrorKind::Invalid);
    let empty = TimeRange { start: 2, end: 1 };
    assert_eq!(storage.delete(&tenant, "x", empty).unwrap_err().kind, ErrorKind::Invalid);
    let long = "x".repeat(100_000);
    assert_eq!(storage.delete(&tenant, &long, ALL).unwrap_err().kind, ErrorKind::Invalid);
    assert!(storage.deletes(&tenant).is_empty());
    storage.delete(&tenant, "x", ALL).unwrap();
    storage.close().unwrap();
    drop(storage);
    let knows_nothing = Options { selectors: Selectors::default(), ..options.clone() };
    let error = open(&knows_nothing).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("is not understood"), "{error}");
}

#[test]
fn a_cancelled_delete_hides_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, messages(&["a secret", "b"]), None).unwrap();
    let id = storage.delete(&tenant, "secret", ALL).unwrap().id;
    assert_eq!(shown(&storage, &tenant), ["b"]);
    let error = storage.cancel_delete(&Tenant::new("other").unwrap(), &id).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    storage.cancel_delete(&tenant, &id).unwrap();
    assert_eq!(shown(&storage, &tenant), ["a secret", "b"]);
    assert!(storage.deletes(&tenant).is_empty());
    assert_eq!(storage.cancel_delete(&tenant, &id).unwrap_err().kind, ErrorKind::NotFound);
    let (options, restarted) = crashed(&options, &folder.path().join("killed"));
    assert_eq!(shown(&restarted, &tenant), ["a secret", "b"], "the frames are read again");
    restarted.flush().unwrap();
    let (_, restarted) = crashed(&options, &folder.path().join("killed later"));
    assert_eq!(shown(&restarted, &tenant), ["a secret", "b"]);
}

/// Deletes that follow the last batch are part of a flush: they are not read again.
#[test]
fn a_flush_covers_the_deletes_behind_the_last_batch() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, messages(&["a"]), None).unwrap();
    storage.delete(&tenant, "x", ALL).unwrap();
    storage.delete(&tenant, "y", ALL).unwrap();
    storage.flush().unwrap();
    let stats = storage.stats();
    assert_eq!((stats.flushed_seq, stats.visible_seq), (3, 3));
    assert_eq!(storage.append(&tenant, messages(&["b"]), None).unwrap().seq, 4);
}

/// The WAL's end is lost with a delete in it that the manifest names: numbers go on above it.
#[test]
fn new_records_are_never_before_a_delete() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, messages(&["a secret"]), None).unwrap();
    storage.flush().unwrap();
    storage.delete(&tenant, "secret", ALL).unwrap();
    let copy = folder.path().join("copy");
    copy_folder(&options.data_dir, &copy);
    std::fs::remove_dir_all(copy.join("wal")).unwrap();
    let options = Options { data_dir: copy, ..options.clone() };
    let storage = open(&options).unwrap();
    assert_eq!(storage.append(&tenant, messages(&["b secret"]), None).unwrap().seq, 3);
    assert_eq!(shown(&storage, &tenant), ["b secret"]);
    storage.close().unwrap();
    drop(storage);
    let storage = open(&options).unwrap();
    assert_eq!(shown(&storage, &tenant), ["b secret"]);
    assert_eq!(storage.stats().damage, Vec::<String>::new());
}

/// How many `.log` files there are.
fn logs(options: &Options) -> usize {
    let mut logs = 0;
    let mut folders = vec![options.data_dir.join("segments")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            logs += usize::from(path.extension().is_some_and(|extension| extension == "log"));
            folders.extend(path.is_dir().then_some(path));
        }
    }
    logs
}

fn rows(storage: &Storage, tenant: &Tenant) -> Vec<u64> {
    storage.snapshot(tenant).segments.iter().map(|segment| segment.entry.rows).collect()
}

#[test]
fn compaction_removes_what_is_deleted_from_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    for batch in [&["a secret", "b"][..], &["c", "d"], &["e secret", "f secret"], &["g secret", "h", "i secret"]] {
        storage.append(&tenant, messages(batch), None).unwrap();
        storage.flush().unwrap();
    }
    assert_eq!(rows(&storage, &tenant), [2, 2, 2, 3]);
    let range = TimeRange { start: 0, end: 1 };
    let id = storage.delete(&tenant, "secret", range).unwrap().id;
    storage.append(&tenant, messages(&["j secret"]), None).unwrap();
    let expected = ["b", "c", "d", "h", "i secret", "j secret"];
    let compacted = storage.compact().unwrap().unwrap();
    assert_eq!((compacted.segments, compacted.rows_removed), (4, 4));
    assert_eq!(shown(&storage, &tenant), expected);
    assert_eq!(rows(&storage, &tenant), [1, 2, 2]);
    let [status] = &storage.deletes(&tenant)[..] else { panic!("one delete") };
    assert_eq!((status.state, status.rows_removed), (DeleteState::Received, 4), "its frame may be read again");
    assert_eq!(storage.cancel_delete(&tenant, &id).unwrap_err().kind, ErrorKind::Conflict);
    storage.flush().unwrap();
    assert_eq!(storage.compact().unwrap(), None);
    let [status] = &storage.deletes(&tenant)[..] else { panic!("one delete") };
    assert_eq!((status.state, status.rows_removed), (DeleteState::Processed, 4));
    assert!(storage.snapshot(&tenant).hidden.is_empty());
    assert_eq!(shown(&storage, &tenant), expected);
    assert_eq!(logs(&options), storage.snapshot(&tenant).segments.len(), "the others are gone");
    let (_, restarted) = crashed(&options, &folder.path().join("killed"));
    assert_eq!(shown(&restarted, &tenant), expected);
    assert_eq!(restarted.stats().damage, Vec::<String>::new());
}

/// A delete that waits is a boundary: what came before it is not merged with what came after.
#[test]
fn a_merge_does_not_cross_a_delete() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    options.compaction.fan_in = 2;
    options.delete_cancel_period = Duration::from_secs(3600);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    let add = |texts: &[&str]| {
        storage.append(&tenant, messages(texts), None).unwrap();
        storage.flush().unwrap();
    };
    add(&["a secret", "b secreT"]);
    let id = storage.delete(&tenant, "secret", ALL).unwrap().id;
    add(&["c secret"]);
    assert_eq!(storage.compact().unwrap(), None, "one segment on each side");
    add(&["d secret"]);
    assert_eq!(storage.compact().unwrap().map(|compacted| compacted.segments), Some(2));
    assert_eq!(rows(&storage, &tenant), [2, 2]);
    assert_eq!(shown(&storage, &tenant), ["b secreT", "c secret", "d secret"]);
    storage.cancel_delete(&tenant, &id).unwrap();
    assert_eq!(storage.compact().unwrap().map(|compacted| compacted.segments), Some(2));
    assert_eq!(shown(&storage, &tenant), ["a secret", "b secreT", "c secret", "d secret"]);
}

/// A segment in which nothing matches is only noted: its files stay as they are.
#[test]
fn a_segment_without_a_match_is_not_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, messages(&["a", "b"]), None).unwrap();
    storage.flush().unwrap();
    let id = |storage: &Storage| storage.snapshot(&tenant).segments.iter().next().unwrap().entry.id.clone();
    let before = id(&storage);
    storage.delete(&tenant, "secret", ALL).unwrap();
    storage.flush().unwrap();
    let compacted = storage.compact().unwrap().unwrap();
    assert_eq!((compacted.rows_removed, compacted.bytes_written), (0, 0));
    assert_eq!(id(&storage), before);
    assert_eq!(storage.deletes(&tenant)[0].state, DeleteState::Processed);
    assert_eq!(shown(&storage, &tenant), ["a", "b"]);
}

/// With the threads of a server: deletes among appends, flushes and merges, and all of them end.
#[test]
fn deletes_among_appends_and_flushes_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options { background: true, ..options(&folder) };
    (options.flush_age, options.flush_bytes) = (Duration::from_millis(20), 4_000);
    options.compaction.fan_in = 2;
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (storage, tenant) = (&storage, &tenant);
            scope.spawn(move || {
                for number in 0..40 {
                    let secret = format!("secret {thread}");
                    storage.append(tenant, messages(&[&secret, "kept"]), None).unwrap();
                    if number % 8 == 7 {
                        storage.delete(tenant, &secret, ALL).unwrap();
                        let shown = shown(storage, tenant);
                        assert!(!shown.contains(&secret), "{shown:?}");
                    }
                }
            });
        }
    });
    assert_eq!(shown(&storage, &tenant), vec!["kept"; 120]);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while storage.deletes(&tenant).iter().any(|delete| delete.state == DeleteState::Received) {
        assert!(std::time::Instant::now() < deadline, "{:?}", storage.deletes(&tenant));
        std::thread::yield_now();
    }
    assert_eq!(storage.stats().segment_records, 120);
    assert_eq!(storage.stats().compaction.rows_removed, 120);
    // Those that two deletes name count for both.
    assert!(storage.deletes(&tenant).iter().map(|delete| delete.rows_removed).sum::<u64>() >= 120);
    assert!(storage.snapshot(&tenant).hidden.is_empty());
    assert_eq!(storage.stats().damage, Vec::<String>::new());
}

/// A repair knows no selectors; deletes are there afterwards, those in the WAL too.
#[test]
fn a_repair_keeps_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    storage.append(&tenant, messages(&["a secret", "b"]), None).unwrap();
    storage.flush().unwrap();
    storage.delete(&tenant, "secret", ALL).unwrap();
    storage.append(&tenant, messages(&["c secret", "d hidden"]), None).unwrap();
    storage.delete(&tenant, "hidden", ALL).unwrap();
    let copy = folder.path().join("copy");
    copy_folder(&options.data_dir, &copy);
    let options = Options { data_dir: copy, ..options.clone() };
    let unknowing = Options { selectors: Selectors::default(), ..options.clone() };
    Storage::repair(&unknowing, &Env::real()).unwrap();
    let storage = open(&options).unwrap();
    assert_eq!(shown(&storage, &tenant), ["b", "c secret"]);
    while storage.compact().unwrap().is_some() {}
    assert_eq!((shown(&storage, &tenant).len(), storage.stats().segment_records), (2, 2));
}
