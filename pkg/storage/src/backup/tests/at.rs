//! The archive and restores to an instant: what is archived, what comes back, what is refused.

use super::*;
use crate::Durability;
use crate::archive::{ArchiveOptions, Lines};
use timberlog_disk::sim::{Fault, Op, Sim};

pub(super) const SECOND: i64 = 1_000_000_000;

pub(super) fn archived_options(dir: &str, store: &MemoryStore) -> Options {
    Options { archive: Some(ArchiveOptions::new(Arc::new(store.clone()))), ..options(dir) }
}

pub(super) fn open_archived(env: &Env, dir: &str, store: &MemoryStore) -> Storage {
    try_open_archived(env, dir, store).unwrap()
}

fn try_open_archived(env: &Env, dir: &str, store: &MemoryStore) -> Result<Storage> {
    Storage::open(archived_options(dir, store), env.clone(), Arc::new(Nobody), &Progress::default())
}

pub(super) fn restore_at_to(env: &Env, store: &MemoryStore, at: i64, dir: &str) -> Result<Restored> {
    let found = find_at(store, "latest", at)?;
    restore_at(env, store, &found, Path::new(dir), &Selection::default(), &silent)
}

pub(super) fn seconds(sim: &Sim, count: u64) -> i64 {
    sim.clock.advance(Duration::from_secs(count));
    sim.env().clock.now_ns()
}

/// What was there at each second.
pub(super) type History = Vec<(i64, BTreeMap<String, Vec<String>>)>;

/// One batch a second, some flushed, archived every other second; what was there at each.
pub(super) fn history(sim: &Sim, storage: &Storage, numbers: std::ops::Range<u64>) -> History {
    let mut history = Vec::new();
    for number in numbers {
        append(storage, &tenants()[number as usize % 2], batch(DAY, number * 1_000, 7), 10_000 + number);
        if number % 5 == 3 {
            storage.flush().unwrap();
        }
        history.push((sim.env().clock.now_ns(), records(storage)));
        if number % 2 == 1 {
            storage.archive().unwrap();
        }
        seconds(sim, 1);
    }
    storage.archive().unwrap();
    history
}

#[test]
fn every_second_behind_a_backup_can_be_restored() {
    let sim = Sim::new(31);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    fill(&storage);
    let record = back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    let mut history = history(&sim, &storage, 0..12);
    let second = back_up(&env, &store, &storage).unwrap();
    assert_eq!(record.line, second.line);
    seconds(&sim, 1);
    history.extend(self::history(&sim, &storage, 12..18));
    seconds(&sim, 61);
    storage.archive().unwrap();
    for (number, (at, expected)) in history.iter().enumerate() {
        for (at, dir) in [(*at, "exact"), (at + SECOND / 2, "later")] {
            let dir = format!("/to-{number}-{dir}");
            restore_at_to(&env, &store, at, &dir).unwrap_or_else(|error| panic!("{number}: {error}"));
            assert_eq!(restored(&env, &dir), *expected, "second {number}");
        }
    }
    let verified = check(&store, &record.id, Depth::Full);
    assert_eq!(verified.damage, Vec::<String>::new());
    // The first object begins before the backup.
    assert_eq!(verified.archive_batches, 28, "{verified:?}");
    // The second backup is the base of what came behind it.
    let (base, tail) = find_at(&store, "latest", history[15].0).unwrap();
    assert_eq!((base.id, tail.parts.len() < 4), (second.id, true));
}

#[test]
fn what_comes_while_the_clock_is_set_back_is_behind_what_came_before() {
    let sim = Sim::new(32);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    let put = |number: u64| append(&storage, &tenants()[0], batch(DAY, number, 1), number);
    put(1);
    back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    put(2);
    let (before, at) = (records(&storage), env.clock.now_ns());
    storage.archive().unwrap();
    sim.clock.set_wall(at - 3_600 * SECOND);
    for number in 3..6 {
        put(number);
        storage.archive().unwrap();
        let newest = reachable(&store).unwrap().pop().unwrap().to;
        let dir = format!("/to-{number}");
        restore_at_to(&env, &store, newest, &dir).unwrap();
        assert_eq!(restored(&env, &dir), records(&storage));
    }
    // A backup is no older than what it holds.
    assert!(back_up(&env, &store, &storage).unwrap().until() > at);
    restore_at_to(&env, &store, at, "/to").unwrap();
    assert_eq!(restored(&env, "/to"), before);
    // What an instant had stays so behind a restart, too: the archive knew of later than the last batch.
    sim.clock.set_wall(at + 10 * SECOND);
    put(6);
    storage.archive().unwrap();
    let newest = reachable(&store).unwrap().pop().unwrap().to;
    let had = records(&storage);
    sim.disk.crash();
    drop(storage);
    let sim = sim.recover(1);
    let env = sim.env();
    sim.clock.set_wall(at);
    let storage = open_archived(&env, "/db", &store);
    append(&storage, &tenants()[0], batch(DAY, 7, 1), 7);
    storage.archive().unwrap();
    restore_at_to(&env, &store, newest, "/again").unwrap();
    assert_eq!(restored(&env, "/again"), had);
    let newest = reachable(&store).unwrap().pop().unwrap().to;
    restore_at_to(&env, &store, newest, "/last").unwrap();
    assert_eq!(restored(&env, "/last"), records(&storage));
}

#[test]
fn a_backup_does_not_say_of_what_instant_it_has_all() {
    let sim = Sim::new(35);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    let put = |number: u64| append(&storage, &tenants()[0], batch(DAY, number, 1), number);
    put(1);
    let late = seconds(&sim, 10);
    let (backup, first) = (back_up(&env, &store, &storage).unwrap(), records(&storage));
    assert_eq!(reachable(&store).unwrap(), Vec::new());
    sim.clock.set_wall(late - 3_600 * SECOND);
    put(2);
    storage.archive().unwrap();
    let (newest, had) = (reachable(&store).unwrap().pop().unwrap().to, records(&storage));
    put(3);
    storage.archive().unwrap();
    for (at, dir, expected) in [(newest, "/to", had), (backup.until(), "/then", first)] {
        restore_at_to(&env, &store, at, dir).unwrap();
        assert_eq!(restored(&env, dir), expected);
    }
    let error = find_at(&store, "latest", late).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    // Where nothing is archived behind it, it is restored as it is.
    put(4);
    let last = back_up(&env, &store, &storage).unwrap();
    let error = find_at(&store, &last.id, last.until()).unwrap_err();
    assert!(error.message.contains("the archive does not go on from backup"), "{error}");
    // It has more than the archive.
    restore_at(
        &env,
        &store,
        &find_latest(&store, "latest").unwrap(),
        Path::new("/all"),
        &Selection::default(),
        &silent,
    )
    .unwrap();
    assert_eq!(restored(&env, "/all"), records(&storage));
    storage.archive().unwrap();
    assert_eq!(find_at(&store, &last.id, last.until()).unwrap().0, last);
}

#[test]
fn a_new_line_leaves_the_instants_of_the_old_one_as_they_are() {
    let sim = Sim::new(36);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    append(&storage, &tenants()[0], batch(DAY, 1, 1), 1);
    back_up(&env, &store, &storage).unwrap();
    let at = seconds(&sim, 1);
    storage.archive().unwrap();
    let had = records(&storage);
    drop(storage);
    // Which line it was is forgotten, and the clock is set back.
    env.disk.remove_file(Path::new("/db/archive.json")).unwrap();
    sim.clock.set_wall(at - 3_600 * SECOND);
    let storage = open_archived(&env, "/db", &store);
    for number in 2..4 {
        append(&storage, &tenants()[0], batch(DAY, number, 1), number);
        back_up(&env, &store, &storage).unwrap();
        storage.archive().unwrap();
    }
    restore_at_to(&env, &store, at, "/to").unwrap();
    assert_eq!(restored(&env, "/to"), had);
    let newest = reachable(&store).unwrap().pop().unwrap();
    assert_eq!(Some(newest.line), storage.stats().archive.map(|archive| archive.line));
    restore_at_to(&env, &store, newest.to, "/last").unwrap();
    assert_eq!(restored(&env, "/last"), records(&storage));
}

#[test]
fn on_a_full_disk_the_archive_says_no_more_than_the_wal_knows_behind_a_crash() {
    let sim = Sim::new(37);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    append(&storage, &tenants()[0], batch(DAY, 1, 1), 1);
    back_up(&env, &store, &storage).unwrap();
    storage.archive().unwrap();
    append(&storage, &tenants()[0], batch(DAY, 2, 1), 2);
    let at = env.clock.now_ns();
    seconds(&sim, 10);
    sim.disk.set_capacity(Some(0));
    storage.archive().unwrap();
    sim.disk.crash();
    drop(storage);
    let sim = sim.recover(1);
    let env = sim.env();
    sim.clock.set_wall(at + SECOND);
    sim.disk.set_capacity(None);
    let storage = open_archived(&env, "/db", &store);
    let newest = reachable(&store).unwrap().pop().unwrap().to;
    restore_at_to(&env, &store, newest, "/before").unwrap();
    append(&storage, &tenants()[0], batch(DAY, 3, 1), 3);
    storage.archive().unwrap();
    restore_at_to(&env, &store, newest, "/behind").unwrap();
    assert_eq!(restored(&env, "/behind"), restored(&env, "/before"));
    let last = reachable(&store).unwrap().pop().unwrap();
    restore_at_to(&env, &store, last.to, "/last").unwrap();
    assert_eq!((last.gap, restored(&env, "/last")), (None, records(&storage)));
}

#[test]
fn frames_that_came_twice_are_one_history() {
    let sim = Sim::new(38);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    fill(&storage);
    let record = back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    let history = history(&sim, &storage, 0..6);
    let folder = format!("archive/{}/{}/", record.database_id, record.line.as_ref().unwrap());
    // A put that came late, under the name of another time.
    for key in store.keys(&folder) {
        let (numbers, time) = (&key[..folder.len() + 42], &key[folder.len() + 42..folder.len() + 62]);
        let late = format!("{numbers}{:020}{}", time.parse::<i64>().unwrap() + 1, &key[folder.len() + 62..]);
        let object = store.get(&key).unwrap();
        store.with(|inner| inner.objects.insert(late, object));
    }
    assert_eq!(store.keys(&folder).len(), 6);
    for (number, (at, expected)) in history.iter().enumerate() {
        restore_at_to(&env, &store, *at, &format!("/to-{number}")).unwrap();
        assert_eq!(restored(&env, &format!("/to-{number}")), *expected);
    }
    assert_eq!(check(&store, &record.id, Depth::Full).damage, Vec::<String>::new());
}

#[test]
fn of_several_databases_the_latest_is_none_of_them() {
    let sim = Sim::new(39);
    let (env, store) = (sim.env(), MemoryStore::default());
    let none = find_latest(&store, "latest").unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound);
    let made = ["/one", "/other"].map(|dir| {
        let storage = open_archived(&env, dir, &store);
        fill(&storage);
        back_up(&env, &store, &storage).unwrap()
    });
    let error = find_latest(&store, "latest").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    for record in made {
        assert!(error.message.contains(&format!("`{}` of `{}`", record.id, record.database_id)), "{error}");
        assert_eq!(find_latest(&store, &record.id).unwrap().0, record);
    }
}

#[test]
fn where_a_record_is_damaged_the_error_of_an_instant_names_it() {
    let sim = Sim::new(40);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    fill(&storage);
    let record = back_up(&env, &store, &storage).unwrap();
    let at = seconds(&sim, 1);
    storage.archive().unwrap();
    find_at(&store, "latest", at).unwrap();
    let line = format!("archive/{}/{}.json", record.database_id, record.line.as_ref().unwrap());
    for key in [format!("backups/{}.json", record.id), line] {
        let harmed = store.fork();
        harmed.with(|inner| inner.objects.get_mut(&key).unwrap()[40] ^= 1);
        let error = find_at(&harmed, "latest", at).unwrap_err();
        assert!(error.message.contains(&key), "{error}");
        assert_eq!(reachable(&harmed).unwrap(), Vec::new());
        assert!(find_latest(&harmed, "latest").is_err());
    }
}

#[test]
fn an_instant_behind_a_backup_that_has_every_batch_is_reached() {
    let sim = Sim::new(33);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    back_up(&env, &store, &storage).unwrap();
    fill(&storage);
    let expected = records(&storage);
    let has_all = back_up(&env, &store, &storage).unwrap();
    let at = seconds(&sim, 3);
    // What is archived ends where the backup does, and knows of later that nothing else came. The line's record does
    // not yet: the power was lost between the two.
    seconds(&sim, 2);
    let earlier = store.fork();
    storage.archive().unwrap();
    for key in earlier.keys("archive/").into_iter().filter(|key| key.ends_with(".json")) {
        let record = earlier.get(&key).unwrap();
        store.with(|inner| assert_ne!(inner.objects.insert(key, record.clone()).unwrap(), record));
    }
    assert!(reachable(&store).unwrap().iter().any(|range| (range.from..=range.to).contains(&at)));
    assert_eq!(find_at(&store, "latest", at).unwrap().0.id, has_all.id);
    restore_at_to(&env, &store, at, "/to").unwrap();
    assert_eq!(restored(&env, "/to"), expected);
}

#[test]
fn no_archive_goes_on_from_a_backup_of_what_is_not_synced() {
    let sim = Sim::new(34);
    let (env, store) = (sim.env(), MemoryStore::default());
    let options = Options {
        durability: Durability::Async { interval: Duration::from_secs(3_600) },
        ..archived_options("/db", &store)
    };
    let storage = Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default()).unwrap();
    fill(&storage);
    assert!(back_up(&env, &store, &storage).unwrap().line.is_some());
    // The first frame of a file is synced with its header.
    (0..2).for_each(|number| append(&storage, &tenants()[0], batch(DAY, 90_000 + number * 10, 3), 20_000 + number));
    assert!(storage.stats().synced_seq < storage.stats().visible_seq);
    sim.disk.inject(Op::Sync, "wal", 0, Fault::Io);
    let record = back_up(&env, &store, &storage).unwrap();
    assert!(record.wal.is_some(), "its flush fails");
    assert_eq!(record.line, None);
    // It has more than the one that an archive goes on from.
    assert_eq!(find_latest(&store, "latest").unwrap().0, record);
}

#[test]
fn beyond_the_archive_the_newest_second_is_named_and_an_idle_database_says_that_it_is_idle() {
    let sim = Sim::new(32);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    fill(&storage);
    let record = back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    let history = history(&sim, &storage, 0..4);
    let last = history[3].0;
    let error = restore_at_to(&env, &store, last + 2 * SECOND, "/to").unwrap_err();
    // The last pass was a second later.
    let newest = timberlog_types::time::format_rfc3339((last / SECOND + 1) * SECOND);

    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.message.contains(&newest), "{error}");
    assert!(!env.disk.exists(Path::new("/to")).unwrap());
    let error = restore_at_to(&env, &store, record.until() - 1, "/to").unwrap_err();
    assert!(error.message.contains("no backup is as old"), "{error}");
    let now = seconds(&sim, 61);
    storage.archive().unwrap();
    restore_at_to(&env, &store, now, "/to").unwrap();
    assert_eq!(restored(&env, "/to"), history[3].1);
    let reach = reachable(&store).unwrap();
    assert_eq!((reach.len(), reach[0].from, &reach[0].gap), (1, record.until(), &None));
    assert!(reach[0].to >= now && reach[0].to < now + SECOND, "{reach:?}");
}

#[test]
fn a_gap_is_named_and_ends_what_can_be_reached() {
    let sim = Sim::new(33);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    let record = back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    let history = history(&sim, &storage, 0..9);
    let keys = store.keys(&format!("archive/{}/{}/", record.database_id, record.line.as_ref().unwrap()));
    assert_eq!(keys.len(), 5);
    store.with(|inner| inner.objects.remove(&keys[2]));
    let error = restore_at_to(&env, &store, history[6].0, "/to").unwrap_err();
    assert!(error.message.contains("batches 5 to 6 are missing"), "{error}");
    let newest = timberlog_types::time::format_rfc3339(history[3].0 / SECOND * SECOND);
    assert!(error.message.contains(&newest), "{error}");
    let verified = check(&store, &record.id, Depth::Quick);
    assert!(verified.damage.iter().any(|damage| damage.contains("batches 5 to 6")), "{:?}", verified.damage);
    restore_at_to(&env, &store, history[3].0, "/to").unwrap();
    assert_eq!(restored(&env, "/to"), history[3].1);
    // The last one is missed, too: the line has said how far it reached.
    store.with(|inner| inner.objects.remove(&keys[4]));
    seconds(&sim, 61);
    storage.archive().unwrap();
    let chain = Lines::read(&store, None).unwrap();
    let line = chain.of(&record.database_id).next().unwrap();
    assert!(chain.chain(line).follow(&line.id, 8).gap.is_some());
}

#[test]
fn any_damaged_byte_of_the_archive_is_found_and_nothing_of_it_is_restored() {
    let sim = Sim::new(34);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    let record = back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    let history = history(&sim, &storage, 0..3);
    let key = store.keys("archive/").into_iter().find(|key| key.ends_with(".wal")).unwrap();
    let len = store.with(|inner| inner.objects[&key].len());
    for at in (0..len).step_by(7) {
        let harmed = store.fork();
        harmed.with(|inner| inner.objects.get_mut(&key).unwrap()[at] ^= 4);
        let verified = check(&harmed, &record.id, Depth::Full);
        assert!(verified.damage.iter().any(|damage| damage.contains(&key)), "byte {at}: {:?}", verified.damage);
        let error = restore_at_to(&env, &harmed, history[2].0, &format!("/to-{at}")).unwrap_err();
        assert!(error.message.contains(&key), "byte {at}: {error}");
    }
}

#[test]
fn what_is_not_archived_stays_in_the_wal_and_beyond_the_limit_appends_are_refused() {
    let sim = Sim::new(35);
    let (env, store) = (sim.env(), MemoryStore::default());
    let mut options = archived_options("/db", &store);
    options.wal_file_bytes = 64 << 10;
    options.archive.as_mut().unwrap().backlog_bytes_max = 100 << 10;
    let storage = Storage::open(options.clone(), env.clone(), Arc::new(Nobody), &Progress::default()).unwrap();
    let record = back_up(&env, &store, &storage).unwrap();
    let [a, _] = tenants();
    store.with(|inner| inner.fail_after = Some(0));
    let mut stored = 0;
    let refused = loop {
        match storage.append(&a, batch(DAY, stored * 1_000, 100), None) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        if stored % 3 == 0 {
            storage.flush().unwrap();
            assert!(storage.archive().is_err());
        }
        assert!(stored < 1_000);
    };
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("archive `memory`") && refused.message.contains("does not answer"), "{refused}");
    let stats = storage.stats().archive.unwrap();
    assert!(stats.backlog_bytes >= 100 << 10 && stats.backlog_bytes < 130 << 10, "{stats:?}");
    assert!(stats.failures > 0 && stats.last_error.is_some(), "{stats:?}");
    // So it is behind a restart, which counts files at first.
    storage.flush().unwrap();
    drop(storage);
    let storage = Storage::open(options, env.clone(), Arc::new(Nobody), &Progress::default()).unwrap();
    assert!(storage.append(&a, batch(DAY, 0, 1), None).is_err());
    store.with(|inner| inner.fail_after = None);
    storage.archive().unwrap();
    storage.append(&a, batch(DAY, stored * 1_000, 100), None).unwrap();
    storage.archive().unwrap();
    let stats = storage.stats().archive.unwrap();
    assert_eq!((stats.backlog_bytes, stats.archived_seq, stats.last_error), (0, stored + 1, None));
    let line = record.line.clone().unwrap();
    assert_eq!(stats.line, line);
    // Nothing is missing, and what is archived goes.
    let verified = check(&store, &record.id, Depth::Full);
    assert_eq!((verified.damage, verified.archive_batches), (Vec::new(), stored + 1));
    storage.flush().unwrap();
    storage.flush().unwrap();
    let files = sim.disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "wal")).count();
    assert!(files <= 2, "{files}");
}

#[test]
fn a_restored_database_archives_in_a_line_of_its_own_and_both_histories_can_be_restored() {
    let sim = Sim::new(36);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    fill(&storage);
    let first = back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    let old = history(&sim, &storage, 0..8);
    storage.close().unwrap();
    let late = seconds(&sim, 5);
    // Restored to a second in the middle, it goes on differently.
    restore_at_to(&env, &store, old[4].0, "/again").unwrap();
    let again = open_archived(&env, "/again", &store);
    assert_eq!(records(&again), old[4].1);
    seconds(&sim, 5);
    append(&again, &tenants()[0], batch(DAY, 77_000, 9), 99_999);
    let new = (env.clock.now_ns(), records(&again));
    again.archive().unwrap();
    assert_ne!(again.stats().archive.unwrap().line, first.line.clone().unwrap());
    // No backup of the new line is needed for it.
    for (number, (at, expected)) in [&old[4], &old[7], &new].into_iter().enumerate() {
        let dir = format!("/to-{number}");
        let made = restore_at_to(&env, &store, *at, &dir).unwrap();
        assert_eq!(made.id, first.id);
        assert_eq!(restored(&env, &dir), *expected, "{number}");
    }
    // The old history ended when it was closed.
    restore_at_to(&env, &store, late, "/end").unwrap_err();
    let second = back_up(&env, &store, &again).unwrap();
    assert_eq!(second.line, Some(again.stats().archive.unwrap().line));
    seconds(&sim, 1);
    append(&again, &tenants()[1], batch(DAY, 78_000, 9), 99_999);
    let now = env.clock.now_ns();
    again.archive().unwrap();
    restore_at_to(&env, &store, now, "/last").unwrap();
    assert_eq!(restored(&env, "/last"), records(&again));
    // Between the lines nothing can be restored, and nothing else is said.
    let spans = agree(&store, first.pinned - SECOND, now + 2 * SECOND);
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert!(spans[0].to < late && late < spans[1].from && spans.iter().all(|span| span.gap.is_none()), "{spans:?}");
}

/// What is said to be restorable is what [`find_at`] takes: the edges of each span, and instants all over.
fn agree(store: &MemoryStore, from: i64, to: i64) -> Vec<Reachable> {
    let spans = reachable(store).unwrap();
    let edges = spans.iter().flat_map(|span| [span.from - 1, span.from, span.to, span.to + 1]);
    for at in (from..to).step_by(SECOND as usize / 4).chain(edges) {
        let is_said = spans.iter().any(|span| (span.from..=span.to).contains(&at));
        assert_eq!(find_at(store, "latest", at).is_ok(), is_said, "{at}: {spans:?}");
    }
    spans
}

#[test]
fn what_two_lines_and_a_gap_leave_is_what_is_said_to_be_restorable() {
    let sim = Sim::new(39);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    let first = back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    let old = history(&sim, &storage, 0..6);
    back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    history(&sim, &storage, 6..9);
    storage.close().unwrap();
    seconds(&sim, 5);
    // Before the second backup: that one is of no use behind the beginning of the new line.
    restore_at_to(&env, &store, old[2].0, "/again").unwrap();
    let again = open_archived(&env, "/again", &store);
    seconds(&sim, 1);
    history(&sim, &again, 9..15);
    let now = seconds(&sim, 61);
    again.archive().unwrap();
    assert_eq!(agree(&store, first.pinned - SECOND, now + SECOND).len(), 2);
    let line = again.stats().archive.unwrap().line;
    let keys = store.keys(&format!("archive/{}/{line}/", first.database_id));
    store.with(|inner| inner.objects.remove(&keys[1]));
    let spans = agree(&store, first.pinned - SECOND, now + SECOND);
    assert!(spans.len() == 2 && spans[0].gap.is_none() && spans[1].gap.is_some(), "{spans:?}");
    // What begins behind the gap is restorable again.
    back_up(&env, &store, &again).unwrap();
    let now = seconds(&sim, 61);
    again.archive().unwrap();
    let spans = agree(&store, first.pinned - SECOND, now + SECOND);
    assert!(spans.len() == 3 && spans[1].gap.is_some() && spans[2].gap.is_none(), "{spans:?}");
}

#[test]
fn a_copy_of_a_directory_does_not_write_into_the_line_of_the_other() {
    let sim = Sim::new(37);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    let record = back_up(&env, &store, &storage).unwrap();
    seconds(&sim, 1);
    append(&storage, &tenants()[0], batch(DAY, 0, 9), 1);
    storage.archive().unwrap();
    // A snapshot of the disk, set back: the same directory goes on in two ways.
    let copy = sim.recover(1);
    let sim = sim.recover(1);
    let env = sim.env();
    let storage = open_archived(&env, "/db", &store);
    append(&storage, &tenants()[0], batch(DAY, 1_000, 9), 2);
    seconds(&sim, 1);
    let at = (env.clock.now_ns(), records(&storage));
    storage.archive().unwrap();
    let other = open_archived(&copy.env(), "/db", &store);
    append(&other, &tenants()[0], batch(DAY, 2_000, 9), 3);
    copy.clock.advance(Duration::from_secs(60));
    let now = copy.env().clock.now_ns();
    other.archive().unwrap();
    assert_ne!(other.stats().archive.unwrap().line, record.line.clone().unwrap());
    assert_eq!(check(&store, &record.id, Depth::Full).damage, Vec::<String>::new());
    restore_at_to(&env, &store, at.0, "/one").unwrap();
    assert_eq!(restored(&env, "/one"), at.1);
    restore_at_to(&env, &store, now, "/other").unwrap();
    assert_eq!(restored(&env, "/other"), records(&other));
}

#[test]
fn a_prune_removes_what_all_kept_backups_hold_and_nothing_else() {
    let sim = Sim::new(38);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    let mut history = Vec::new();
    for round in 0..3 {
        back_up(&env, &store, &storage).unwrap();
        seconds(&sim, 1);
        history.extend(self::history(&sim, &storage, round * 6..round * 6 + 6));
    }
    let objects = || store.keys("archive/").iter().filter(|key| key.ends_with(".wal")).count();
    assert_eq!(objects(), 9);
    // Younger than the grace: they stay.
    let pruned = prune(&env, &store, 2, PLAN_KEPT, true, &silent).unwrap();
    assert_eq!(pruned.archive_objects, 0);
    let pruned = prune(&env, &store, 2, Duration::ZERO, true, &silent).unwrap();
    assert_eq!((pruned.archive_objects, objects()), (3, 9));
    let pruned = prune(&env, &store, 2, Duration::ZERO, false, &silent).unwrap();
    assert_eq!((pruned.archive_objects, objects()), (3, 6));
    for (number, (at, expected)) in history.iter().enumerate().skip(6) {
        restore_at_to(&env, &store, *at, &format!("/to-{number}")).unwrap();
        assert_eq!(restored(&env, &format!("/to-{number}")), *expected, "{number}");
    }
    assert!(restore_at_to(&env, &store, history[2].0, "/gone").is_err());
    for listed in list(&store).unwrap() {
        assert_eq!(check(&store, &listed.id, Depth::Full).damage, Vec::<String>::new());
    }
}

#[test]
fn an_object_that_comes_when_a_restart_has_sent_it_again_is_the_same_one() {
    let sim = Sim::new(61);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    let record = back_up(&env, &store, &storage).unwrap();
    append(&storage, &tenants()[0], batch(DAY, 0, 7), 1);
    storage.archive().unwrap();
    append(&storage, &tenants()[0], batch(DAY, 100, 7), 2);
    seconds(&sim, 1);
    store.with(|inner| inner.fail_once = Some(1));
    storage.archive().unwrap_err();
    let (key, late) = store.with(|inner| inner.lost.pop().unwrap());
    assert!(key.starts_with("archive/") && key.ends_with(".wal"), "{key}");
    append(&storage, &tenants()[0], batch(DAY, 200, 7), 3);
    drop(storage);
    seconds(&sim, 10);
    // The power is lost, too.
    sim.disk.crash();
    let sim = sim.recover(1);
    let env = sim.env();
    let storage = open_archived(&env, "/db", &store);
    append(&storage, &tenants()[0], batch(DAY, 300, 7), 4);
    let at = seconds(&sim, 1);
    storage.archive().unwrap();
    let expected = records(&storage);
    store.put(&key, &late).unwrap();
    let verified = check(&store, &record.id, Depth::Full);
    assert_eq!((verified.damage, verified.archive_batches), (Vec::new(), 4));
    restore_at_to(&env, &store, at, "/to").unwrap();
    assert_eq!(restored(&env, "/to"), expected);
    // The line is still the one that the backup names.
    assert_eq!(Some(storage.stats().archive.unwrap().line), record.line);
}

#[test]
fn the_first_record_of_a_line_takes_nothing_back_however_late_it_comes() {
    let sim = Sim::new(62);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    append(&storage, &tenants()[0], batch(DAY, 0, 7), 1);
    back_up(&env, &store, &storage).unwrap();
    store.with(|inner| inner.fail_once = Some(1));
    storage.archive().unwrap_err();
    storage.archive().unwrap();
    // Nothing comes, and the line says how far it has come.
    let at = seconds(&sim, 100);
    storage.archive().unwrap();
    find_at(&store, "latest", at).unwrap();
    store.arrive();
    find_at(&store, "latest", at).unwrap();
}

/// A week, at an object each ten seconds: how often objects are compared must not be the square of that.
#[test]
fn a_long_archive_is_followed_in_no_time() {
    let sim = Sim::new(40);
    let (env, store) = (sim.env(), MemoryStore::default());
    let storage = open_archived(&env, "/db", &store);
    append(&storage, &tenants()[0], batch(DAY, 0, 1), 1);
    let record = back_up(&env, &store, &storage).unwrap();
    storage.archive().unwrap();
    let folder = format!("archive/{}/{}", record.database_id, record.line.as_deref().unwrap());
    let time = |seq: i64| record.until() + seq * SECOND;
    let key = |seq: i64| format!("{folder}/{seq:020}-{seq:020}-{:020}-00000000.wal", time(seq));
    store.with(|inner| inner.objects.extend((2..60_480).map(|seq| (key(seq), Vec::new()))));
    let started = std::time::Instant::now();
    assert_eq!(reachable(&store).unwrap()[0].to, time(60_479));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
