//! Backups and prunes that did not go on for too long, and what of them turns up late.

use super::super::record::{self, PlanRecord, VoidRecord};
use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const DAY_LONG: Duration = Duration::from_secs(24 * 3600);

/// A backup whose last put was not done yet: its plan is there, and the record to come is returned.
fn all_but_its_record(env: &Env, store: &MemoryStore, storage: &Storage) -> (BackupRecord, Vec<u8>) {
    let made = back_up(env, store, storage).unwrap();
    let key = format!("backups/{}.json", made.id);
    let bytes = store.get(&key).unwrap();
    store.delete(&[key]).unwrap();
    let (id, database_id, files) = (made.id.clone(), made.database_id.clone(), made.files.clone());
    let done = files.len() as u64;
    let plan = PlanRecord { format: 1, id, database_id, updated: env.clock.now_ns(), files, done };
    store.put(&format!("plans/{}.json", made.id), &record::encode(&plan).unwrap()).unwrap();
    (made, bytes)
}

fn ids(store: &MemoryStore) -> Vec<String> {
    list(store).unwrap().into_iter().map(|one| one.id).collect()
}

#[test]
fn a_record_that_comes_when_its_files_are_gone_makes_no_backup() {
    let (sim, store) = (Sim::new(31), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let (late, bytes) = all_but_its_record(&env, &store, &storage);
    sim.clock.advance(DAY_LONG + MINUTE);
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    assert!(store.keys("files/").is_empty() && store.keys("plans/").is_empty());
    let key = format!("backups/{}.json", late.id);
    store.put(&key, &bytes).unwrap();
    assert_eq!(ids(&store), Vec::<String>::new());
    for id in [late.id.as_str(), "latest"] {
        assert_eq!(find(&store, id).unwrap_err().kind, ErrorKind::NotFound);
    }
    // It is worth nothing to the next one, and goes with the next prune.
    let next = back_up(&env, &store, &storage).unwrap();
    assert_eq!(ids(&store), [next.id.as_str()]);
    assert!(check(&store, "latest", Depth::Full).damage.is_empty());
    let pruned = prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    assert_eq!((pruned.kept.len(), pruned.backups.len()), (1, 0));
    assert_eq!(store.keys("backups/"), [format!("backups/{}.json", next.id)]);
    // It may come again for a month.
    assert_eq!(store.keys("void/"), [format!("void/{}.json", late.id)]);
    sim.clock.advance(DAY_LONG * 31);
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    assert_eq!(store.keys("void/"), Vec::<String>::new());
    assert!(check(&store, "latest", Depth::Full).damage.is_empty());
}

#[test]
fn a_record_that_comes_when_a_newer_backup_has_given_it_up_makes_no_backup() {
    let (sim, store) = (Sim::new(32), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let (late, bytes) = all_but_its_record(&env, &store, &storage);
    append(&storage, &tenants()[0], batch(DAY, 40_000, 30), 8_000);
    sim.clock.advance(MINUTE * 16);
    let next = back_up(&env, &store, &storage).unwrap();
    assert!(store.keys("plans/").is_empty());
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    store.put(&format!("backups/{}.json", late.id), &bytes).unwrap();
    assert_eq!(ids(&store), [next.id]);
}

#[test]
fn a_plan_that_a_finished_backup_has_left_voids_nothing() {
    let (sim, store) = (Sim::new(33), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let (made, bytes) = all_but_its_record(&env, &store, &storage);
    store.put(&format!("backups/{}.json", made.id), &bytes).unwrap();
    sim.clock.advance(DAY_LONG + MINUTE);
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    assert!(store.keys("plans/").is_empty() && store.keys("void/").is_empty());
    assert!(check(&store, &made.id, Depth::Full).damage.is_empty());
}

#[test]
fn a_backup_that_was_given_up_while_it_slept_fails_when_it_wakes() {
    let (sim, store) = (Sim::new(34), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let source = StorageSource::pin(&storage, TTL, ColdFiles::Refer).unwrap();
    let sleep = |event: Event<'_>| {
        if let Event::Phase { name: "copy", .. } = event {
            sim.clock.advance(MINUTE * 16);
            prune(&env, &store, 1, MINUTE * 15, false, &silent).unwrap();
        }
    };
    let error = create(&env, &store, &source, &sleep).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains("begin again"), "{error}");
    assert!(store.keys("backups/").is_empty() && store.keys("plans/").is_empty());
    drop(source);
    let next = back_up(&env, &store, &storage).unwrap();
    assert!(check(&store, &next.id, Depth::Full).damage.is_empty());
}

#[test]
fn an_interrupted_prune_stands_in_the_way_of_a_backup_for_minutes_that_it_names() {
    let (sim, store) = (Sim::new(35), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    // Files that are needed, and that nothing in the store names.
    let (late, _) = all_but_its_record(&env, &store, &storage);
    store.delete(&[format!("plans/{}.json", late.id)]).unwrap();
    store.with(|inner| inner.fail_after = Some(3));
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap_err();
    store.with(|inner| inner.fail_after = None);
    let interrupted = store.keys("prunes/");
    assert_eq!(interrupted.len(), 1);
    let error = back_up(&env, &store, &storage).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    let until = timberlog_types::time::format_rfc3339(env.clock.now_ns() + 15 * MINUTE.as_nanos() as i64);
    assert!(error.message.contains(&until[..16]), "{error} {until}");
    // Another one cannot know yet whether it goes on.
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    assert_eq!(store.keys("prunes/"), interrupted);
    assert_eq!(back_up(&env, &store, &storage).unwrap_err().kind, ErrorKind::Conflict);
    sim.clock.advance(MINUTE * 15);
    let made = back_up(&env, &store, &storage).unwrap();
    assert!(check(&store, &made.id, Depth::Full).damage.is_empty());
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    assert!(store.keys("prunes/").is_empty());
    assert!(check(&store, &made.id, Depth::Full).damage.is_empty());
}

#[test]
fn a_prune_that_slept_does_not_go_on() {
    let (sim, store) = (Sim::new(36), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let (late, _) = all_but_its_record(&env, &store, &storage);
    store.delete(&[format!("plans/{}.json", late.id)]).unwrap();
    let sleep = |event: Event<'_>| {
        if let Event::Phase { name: "delete", .. } = event {
            sim.clock.advance(MINUTE * 16);
            back_up(&env, &store, &storage).unwrap();
        }
    };
    let error = prune(&env, &store, 1, PLAN_KEPT, false, &sleep).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(check(&store, "latest", Depth::Full).damage.is_empty());
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    assert!(check(&store, "latest", Depth::Full).damage.is_empty());
}

#[test]
fn the_golden_word_of_a_backup_that_was_given_up_holds() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/backup-v1-void");
    let (sim, store) = (Sim::new(37), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let made = back_up(&env, &store, &storage).unwrap();
    let id = "20261121T101500123456Z-0a1b2c3d";
    // Its record is there, whatever is in it.
    store.put(&format!("backups/{id}.json"), b"late").unwrap();
    assert_eq!(ids(&store), [made.id.as_str(), id]);
    let bytes = std::fs::read(golden.join(format!("{id}.json"))).unwrap();
    store.put(&format!("void/{id}.json"), &bytes).unwrap();
    assert_eq!(ids(&store), [made.id]);
    let record: VoidRecord = record::decode(&bytes).unwrap();
    assert_eq!((record.format, record.id.as_str(), record.given_up), (1, id, 1_795_256_160_123_456_789));
    assert_eq!(record::encode(&record).unwrap(), bytes);
}
