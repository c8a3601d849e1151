//! Backups and the archive in a folder and in a real S3 server, with the threads of a real database: made, interrupted in the middle of an
//! upload, verified, restored, carried to an instant, pruned.

use crate::server;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use timberlog_disk::{Env, File};
use timberlog_objects::{LocalStore, S3Store};
use timberlog_storage::backup::{self, ColdFiles, Depth, Event, Pinned, Selection, Source, StorageSource};
use timberlog_storage::manifest::FileRef;
use timberlog_storage::objects::ObjectStore;
use timberlog_storage::{ArchiveOptions, BufferedBatch, Options, Progress, Storage, Subscriber};
use timberlog_types::{Batch, BatchBuilder, Day, Result, Tenant};

/// 2026-11-21.
const DAY: Day = Day(20_778);

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn silent(_: Event<'_>) {}

/// Records whose text does not compress.
fn batch(first: u64, rows: u64, bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(Some("info")).unwrap();
    for number in first..first + rows {
        let noise = crate::conformance::bytes(bytes / 2, number);
        let mut text = format!("record {number} ");
        noise.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
        builder.finish_row(DAY.range().start + number as i64, stream, level, text.as_bytes()).unwrap();
    }
    builder.finish().unwrap()
}

fn open(env: &Env, dir: &Path, archive: Option<&Arc<dyn ObjectStore>>) -> Storage {
    let archive = archive
        .map(|store| ArchiveOptions { interval: Duration::from_millis(100), ..ArchiveOptions::new(Arc::clone(store)) });
    let options = Options { wal_file_bytes: 8 << 20, disk_free_bytes_min: 0, archive, ..Options::new(dir) };
    Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default()).unwrap()
}

/// Every record, in the order of answers.
fn records(storage: &Storage) -> Vec<(i64, Vec<u8>)> {
    let snapshot = storage.snapshot(&Tenant::default());
    let mut rows = Vec::new();
    let mut take =
        |batch: &Batch| rows.extend((0..batch.rows()).map(|row| (batch.timestamp(row), batch.message(row).to_vec())));
    for segment in snapshot.segments.iter() {
        let opened = segment.open().unwrap();
        for block in &opened.reader.directory().blocks {
            take(&opened.reader.read_block_as_batch(block.number).unwrap());
        }
    }
    snapshot.batches.iter().for_each(|batch| take(&batch.batch));
    rows.sort();
    rows
}

/// A source whose long files cannot be read to their end.
struct Interrupted<'a>(StorageSource<'a>, AtomicBool);

struct CutOff(Arc<dyn File>);

impl Source for Interrupted<'_> {
    fn pinned(&self) -> &Pinned {
        self.0.pinned()
    }

    fn open(&self, file: &FileRef) -> Result<Arc<dyn File>> {
        let opened = self.0.open(file)?;
        if file.len > 8 << 20 {
            self.1.store(true, Ordering::Relaxed);
            return Ok(Arc::new(CutOff(opened)));
        }
        Ok(opened)
    }

    fn wal(&self) -> Result<Vec<u8>> {
        self.0.wal()
    }

    fn renew(&self) -> Result<()> {
        self.0.renew()
    }
}

impl File for CutOff {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        // The second part, and those behind it.
        if offset >= 5 << 20 { Err(io::Error::other("the disk went away")) } else { self.0.read_at(buf, offset) }
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

fn keys(store: &dyn ObjectStore, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    store
        .list(prefix, &mut |object| {
            keys.push(object.key);
            Ok(())
        })
        .unwrap();
    keys
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// The whole life, in a store of its own.
fn check(store: &Arc<dyn ObjectStore>) {
    let env = Env::real();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let storage = open(&env, &place("db"), Some(store));
    let tenant = Tenant::default();
    storage.append(&tenant, batch(0, 600, 40 << 10), None).unwrap();
    storage.flush().unwrap();

    let interrupted = Interrupted(
        StorageSource::pin(&storage, Duration::from_secs(600), ColdFiles::Refer).unwrap(),
        AtomicBool::new(false),
    );
    assert!(backup::create(&env, &**store, &interrupted, &silent).is_err());
    assert!(interrupted.1.load(Ordering::Relaxed), "no file is long enough");
    let long = interrupted.pinned().files.iter().find(|file| file.len > 8 << 20).unwrap().clone();
    drop(interrupted);
    assert!(backup::list(&**store).unwrap().is_empty());
    assert_eq!(store.head(&backup::key_of(&long.path).unwrap()).unwrap(), None);

    let make = || {
        let source = StorageSource::pin(&storage, Duration::from_secs(600), ColdFiles::Refer).unwrap();
        backup::create(&env, &**store, &source, &silent).unwrap().record
    };
    let first = make();
    assert!(first.copied_bytes > 5 << 20);
    let before = records(&storage);
    // Written while the archiver reads.
    for number in 0..200 {
        storage.append(&tenant, batch(1_000 + number * 10, 10, 2 << 10), None).unwrap();
    }
    let (at, then) = (env.clock.now_ns(), records(&storage));
    let last = storage.stats().synced_seq;
    wait_for("the archive has it", || storage.stats().archive.is_some_and(|stats| stats.archived_seq >= last));
    storage.append(&tenant, batch(9_000, 10, 100), None).unwrap();
    let last = storage.stats().synced_seq;
    wait_for("and the next", || storage.stats().archive.is_some_and(|stats| stats.archived_seq >= last));

    let verified = backup::verify(store, &first, Depth::Full, &silent).unwrap();
    assert_eq!(verified.damage, Vec::<String>::new());
    assert!(verified.archive_batches >= 201, "{verified:?}");
    let restored = |name: &str| records(&open(&env, &place(name), None));
    backup::restore(&env, &**store, &first, &place("first"), &Selection::default(), &silent).unwrap();
    assert_eq!(restored("first"), before);
    let found = backup::find_at(&**store, "latest", at).unwrap();
    backup::restore_at(&env, &**store, &found, &place("then"), &Selection::default(), &silent).unwrap();
    assert_eq!(restored("then"), then);
    let report = timberlog_storage::verify::verify(&env, &place("then"), &|_, _| {}).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);

    let second = make();
    assert!(second.copied_bytes < first.copied_bytes / 2, "{} {}", second.copied_bytes, first.copied_bytes);
    let archived = keys(&**store, "archive/").len();
    let pruned = backup::prune(&env, &**store, 1, Duration::ZERO, false, &silent).unwrap();
    assert_eq!((pruned.kept.as_slice(), pruned.backups.as_slice()), (&[second.id.clone()][..], &[first.id][..]));
    assert!(pruned.archive_objects > 0 && keys(&**store, "archive/").len() < archived, "{pruned:?}");
    assert_eq!(keys(&**store, "files/").len(), second.files.len());
    assert_eq!(backup::verify(store, &second, Depth::Full, &silent).unwrap().damage, Vec::<String>::new());
    storage.close().unwrap();
    let end = backup::reachable(&**store).unwrap().pop().unwrap();
    let found = backup::find_at(&**store, "latest", end.to).unwrap();
    backup::restore_at(&env, &**store, &found, &place("end"), &Selection::default(), &silent).unwrap();
    assert_eq!(restored("end"), records(&storage));
}

#[test]
fn a_database_is_backed_up_and_archived_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::new(Env::real(), folder.path().join("store")));
    check(&store);
}

#[test]
fn so_it_is_in_a_real_s3_server_where_there_is_one() {
    let Ok(endpoint) = std::env::var("TIMBERLOG_S3_TEST") else { return };
    server::make_bucket(&endpoint);
    let env = Env::real();
    let prefix = format!("backups-{:016x}", env.random.next_u64());
    let store = S3Store::new(server::BUCKET, &prefix, &server::options(&endpoint), &env).unwrap();
    check(&(Arc::new(store) as Arc<dyn ObjectStore>));
}
