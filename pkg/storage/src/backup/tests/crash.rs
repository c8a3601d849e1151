//! Interruptions at every step: of the store while it is written, of the machine that is restored.

use super::*;

fn database(seed: u64) -> (Sim, Storage) {
    let sim = Sim::new(seed);
    let storage = open(&sim.env(), "/db");
    fill(&storage);
    (sim, storage)
}

/// Objects of which nobody has said that they are whole may be anything, in their right length.
fn harm_what_no_plan_vouches_for(store: &MemoryStore) {
    let plans = super::super::catalog::plans(store).unwrap();
    let done = plans.iter().flat_map(|(_, plan)| &plan.files[..plan.done as usize]);
    let whole: Vec<String> = done.filter_map(|file| super::super::key_of(&file.path)).collect();
    store.with(|inner| {
        let files = inner.objects.iter_mut().filter(|(key, _)| key.starts_with("files/") && !whole.contains(key));
        files.for_each(|(_, bytes)| bytes[0] ^= 1);
    });
}

#[test]
fn a_backup_that_is_interrupted_anywhere_is_invisible_and_the_next_one_copies_the_rest() {
    let (sim, storage) = database(21);
    let env = sim.env();
    let before = records(&storage);
    let whole = MemoryStore::default();
    let all = back_up(&env, &whole, &storage).unwrap();
    let (mut interrupted, mut spared) = (0, 0);
    for step in 1.. {
        let store = MemoryStore::default();
        store.with(|inner| inner.fail_after = Some(step));
        let first = back_up(&env, &store, &storage);
        store.with(|inner| inner.fail_after = None);
        let listed = list(&store).unwrap();
        if first.is_err() && listed.is_empty() {
            interrupted += 1;
        } else {
            // What was not answered may have happened: then it is whole.
            assert!(check(&store, &listed[0].id, Depth::Full).damage.is_empty(), "step {step}");
        }
        if listed.is_empty() {
            harm_what_no_plan_vouches_for(&store);
        }
        let second = back_up(&env, &store, &storage).unwrap();
        spared += all.copied_bytes - second.copied_bytes;
        assert!(check(&store, &second.id, Depth::Full).damage.is_empty(), "step {step}");
        let dir = format!("/restored-{step}");
        restore_to(&env, &store, &second.id, &dir, &Selection::default()).unwrap();
        assert_eq!(restored(&env, &dir), before, "step {step}");
        prune(&env, &store, 1, Duration::ZERO, false, &silent).unwrap();
        let named = second.files.len();
        assert_eq!((store.keys("files/").len(), store.keys("plans/").len()), (named, 0), "step {step}");
        if first.is_ok() {
            break;
        }
    }
    assert!(interrupted > 10 && spared > all.copied_bytes, "{interrupted} {spared}");
}

#[test]
fn a_backup_that_fails_at_one_object_tells_the_next_one_only_what_is_whole() {
    let (sim, storage) = database(25);
    let env = sim.env();
    let mut failed = 0;
    for step in 1.. {
        let store = MemoryStore::default();
        store.with(|inner| inner.fail_once = Some(step));
        let first = back_up(&env, &store, &storage);
        if store.with(|inner| inner.fail_once.take()).is_some() {
            break;
        }
        if first.is_err() {
            failed += 1;
            harm_what_no_plan_vouches_for(&store);
        }
        let second = back_up(&env, &store, &storage).unwrap();
        assert!(check(&store, &second.id, Depth::Full).damage.is_empty(), "step {step}");
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn a_prune_that_is_interrupted_anywhere_leaves_kept_backups_whole_and_the_next_one_finishes() {
    let (sim, storage) = database(22);
    let env = sim.env();
    let full = MemoryStore::default();
    for number in 0..3 {
        append(&storage, &tenants()[1], batch(DAY, number * 100, 10), 100 + number);
        back_up(&env, &full, &storage).unwrap();
    }
    let kept = list(&full).unwrap().pop().unwrap().id;
    let done = full.fork();
    prune(&env, &done, 1, PLAN_KEPT, false, &silent).unwrap();
    for step in 1.. {
        let store = full.fork();
        store.with(|inner| inner.fail_after = Some(step));
        let pruned = prune(&env, &store, 1, PLAN_KEPT, false, &silent);
        store.with(|inner| inner.fail_after = None);
        assert!(check(&store, &kept, Depth::Full).damage.is_empty(), "step {step}");
        for listed in list(&store).unwrap() {
            assert!(check(&store, &listed.id, Depth::Full).damage.is_empty(), "step {step}: a listed backup is whole");
        }
        sim.clock.advance(Duration::from_secs(7200));
        prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
        assert_eq!(store.keys(""), done.keys(""), "step {step}");
        if pruned.is_ok() {
            return;
        }
    }
}

/// Restores on a machine that crashes at every step, with what a crash may leave, and again.
fn crash_everywhere(selection: &Selection, store: &MemoryStore, id: &str, expected: &BTreeMap<String, Vec<String>>) {
    let mut crashes = 0;
    for step in (1..).step_by(if cfg!(debug_assertions) { 3 } else { 1 }) {
        let sim = Sim::new(step);
        sim.disk.crash_at(step);
        let first = restore_to(&sim.env(), store, id, "/to", selection);
        if first.is_ok() && !sim.disk.is_crashed() {
            assert!(crashes > 10, "{crashes}");
            return;
        }
        for outcome in 0..3 {
            let after = sim.recover(outcome);
            let env = after.env();
            let context = format!("step {step} outcome {outcome}");
            let opened = Storage::open(options("/to"), env.clone(), Arc::new(Nobody), &Progress::default());
            match opened {
                // Finished, or not begun.
                Ok(storage) => {
                    let found = records(&storage);
                    let is_empty = found.values().all(Vec::is_empty);
                    assert!(is_empty || found == *expected, "{context}: half a restore opens");
                    storage.close().unwrap();
                }
                Err(error) => {
                    assert!(error.message.contains("restore"), "{context}: {error}");
                    restore_to(&env, store, id, "/to", selection).unwrap_or_else(|error| panic!("{context}: {error}"));
                    assert_eq!(restored(&env, "/to"), *expected, "{context}");
                }
            }
            crashes += 1;
        }
    }
}

#[test]
fn a_restore_that_is_interrupted_anywhere_does_not_open_and_the_next_one_finishes() {
    let (sim, storage) = database(23);
    let store = MemoryStore::default();
    let before = records(&storage);
    let id = back_up(&sim.env(), &store, &storage).unwrap().id;
    crash_everywhere(&Selection::default(), &store, &id, &before);
}

#[test]
fn so_is_one_of_a_selection_with_the_end_of_a_wal() {
    let (sim, storage) = database(24);
    let store = MemoryStore::default();
    let [a, b] = tenants();
    append(&storage, &b, batch(DAY, 500, 20), 777);
    let mut expected = records(&storage);
    expected.insert(a.to_string(), Vec::new());
    let used: u64 = sim.disk.files().iter().map(|(_, len)| len).sum();
    sim.disk.set_capacity(Some(used));
    let id = back_up(&sim.env(), &store, &storage).unwrap().id;
    crash_everywhere(&Selection { tenant: Some(b), ..Selection::default() }, &store, &id, &expected);
}
