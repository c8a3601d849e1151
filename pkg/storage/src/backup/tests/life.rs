use super::*;

#[test]
fn what_was_acknowledged_before_comes_back_as_it_was() {
    let (sim, store) = (Sim::new(1), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let before = records(&storage);
    let record = back_up(&env, &store, &storage).unwrap();
    assert!(record.wal.is_none());
    append(&storage, &tenants()[0], batch(DAY, 50_000, 9), 5_000);
    for depth in [Depth::Quick, Depth::Full] {
        let verified = check(&store, &record.id, depth);
        assert_eq!((verified.files, verified.damage), (verified.files_whole, Vec::<String>::new()));
        assert_eq!(verified.records, record.records);
    }
    let told = restore_to(&env, &store, "latest", "/restored", &Selection::default()).unwrap();
    assert_eq!(told.records, record.records);
    assert_eq!(restored(&env, "/restored"), before);
    // It is the same database, and goes on: numbers of producers are known.
    let again = open(&env, "/restored");
    let producer = ProducerBatch::new("shipper", 1_000).unwrap();
    assert!(again.append(&tenants()[0], batch(DAY, 9_000, 5), Some(producer)).unwrap().duplicate);
    append(&again, &tenants()[0], batch(DAY, 9_100, 5), 1_001);
    back_up(&env, &store, &again).unwrap();
    assert_eq!(store.keys("plans/"), Vec::<String>::new());
}

#[test]
fn the_next_backup_copies_what_is_new_and_nothing_else() {
    let (sim, store) = (Sim::new(2), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let first = back_up(&env, &store, &storage).unwrap();
    let after_first = records(&storage);
    append(&storage, &tenants()[1], batch(DAY, 70_000, 50), 7_000);
    let second_records = records(&storage);
    let second = back_up(&env, &store, &storage).unwrap();
    let new: Vec<_> = second.files.iter().filter(|file| !first.files.contains(file)).collect();
    // A root, the month of the tenant, producers, one segment.
    assert_eq!(second.copied_files, 4, "{new:?}");
    assert_eq!(second.copied_bytes, new.iter().map(|file| file.len).sum::<u64>());
    let before = store.with(|inner| std::mem::take(&mut inner.bytes_put));
    assert!(before > 0);
    let third = back_up(&env, &store, &storage).unwrap();
    assert_eq!((third.copied_files, third.copied_bytes, &third.files), (0, 0, &second.files));
    for (id, expected) in [(&first.id, after_first), (&second.id, second_records.clone()), (&third.id, second_records)]
    {
        let dir = format!("/restored-{id}");
        restore_to(&env, &store, id, &dir, &Selection::default()).unwrap();
        assert_eq!(restored(&env, &dir), expected);
    }
}

#[test]
fn a_flush_that_cannot_run_brings_the_wal_along() {
    let (sim, store) = (Sim::new(3), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let [a, b] = tenants();
    append(&storage, &b, batch(Day(DAY.0 + 3), 5, 300), 2_000);
    let before = records(&storage);
    let used: u64 = sim.disk.files().iter().map(|(_, len)| len).sum();
    sim.disk.set_capacity(Some(used));
    let record = back_up(&env, &store, &storage).unwrap();
    let tail = record.wal.clone().expect("the end of the WAL");
    assert_eq!(
        (tail.first_seq, tail.last_seq, record.seq),
        (record.flushed_seq + 1, record.seq, record.flushed_seq + 2)
    );
    sim.disk.set_capacity(None);
    assert_eq!(check(&store, &record.id, Depth::Full).wal_batches, 2);
    let told = restore_to(&env, &store, &record.id, "/restored", &Selection::default()).unwrap();
    assert_eq!(told.wal_batches, 2);
    assert_eq!(restored(&env, "/restored"), before);
    let only_b = Selection { tenant: Some(b.clone()), from: Some(Day(DAY.0 + 1)), to: None };
    restore_to(&env, &store, &record.id, "/selected", &only_b).unwrap();
    let found = restored(&env, "/selected");
    let late = Day(DAY.0 + 3).range().start.to_string();
    let expected: Vec<String> = before[b.as_str()].iter().filter(|row| row[..12] == late[..12]).cloned().collect();
    assert_eq!((found[a.as_str()].len(), &found[b.as_str()]), (0, &expected));
    assert_eq!(expected.len(), 300);
    // Numbers of producers in the WAL's end are known, too.
    let again = open(&env, "/restored");
    let producer = ProducerBatch::new("shipper", 2_000).unwrap();
    assert!(again.append(&b, batch(DAY, 1, 300), Some(producer)).unwrap().duplicate);
}

#[test]
fn a_directory_at_rest_is_backed_up_and_not_changed() {
    let (sim, store) = (Sim::new(4), MemoryStore::default());
    let storage = open(&sim.env(), "/db");
    fill(&storage);
    let before = records(&storage);
    // Killed: the buffer is in the WAL only.
    let sim = sim.recover(1);
    let env = sim.env();
    let files = sim.disk.files();
    let source = RestSource::open(&env, Path::new("/db")).unwrap();
    assert_eq!(RestSource::open(&env, Path::new("/db")).err().unwrap().kind, ErrorKind::Conflict);
    let record = create(&env, &store, &source, &silent).unwrap().record;
    drop(source);
    assert_eq!(record.wal.as_ref().map(|tail| tail.last_seq), Some(record.seq));
    let ours = |files: Vec<(std::path::PathBuf, u64)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect()
    };
    assert_eq!(ours(sim.disk.files()), ours(files));
    restore_to(&env, &store, "latest", "/restored", &Selection::default()).unwrap();
    assert_eq!(restored(&env, "/restored"), before);
    assert_eq!(RestSource::open(&env, Path::new("/nothing")).err().unwrap().kind, ErrorKind::NotFound);
}

#[test]
fn a_tenant_and_a_range_of_days_are_restored_alone() {
    let (sim, store) = (Sim::new(5), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let before = records(&storage);
    let record = back_up(&env, &store, &storage).unwrap();
    let [a, b] = tenants();
    let of = |tenant: &Tenant, from, to| Selection { tenant: Some(tenant.clone()), from, to };
    restore_to(&env, &store, &record.id, "/b", &of(&b, None, None)).unwrap();
    let found = restored(&env, "/b");
    assert_eq!((found["a"].len(), &found["b"]), (0, &before["b"]));
    restore_to(&env, &store, &record.id, "/day", &of(&a, Some(DAY), Some(DAY))).unwrap();
    let found = restored(&env, "/day");
    assert_eq!((found["a"].len(), found["b"].len()), (3 * 40 + 5, 0));
    assert!(found["a"].iter().all(|row| before["a"].contains(row)));
    let error = restore_to(&env, &store, &record.id, "/none", &of(&Tenant::new("none").unwrap(), None, None));
    assert_eq!(error.unwrap_err().kind, ErrorKind::NotFound);
    assert!(env.disk.list(Path::new("/none")).is_err(), "a refusal leaves nothing");
}

#[test]
fn only_an_empty_directory_is_restored_to() {
    let (sim, store) = (Sim::new(6), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    let record = back_up(&env, &store, &storage).unwrap();
    storage.close().unwrap();
    drop(storage);
    let error = restore_to(&env, &store, &record.id, "/db", &Selection::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("not empty"), "{error}");
    assert_eq!(find(&store, "nonesuch").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(find(&store, "../x").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_prune_deletes_only_what_no_kept_backup_names() {
    let (sim, store) = (Sim::new(7), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    let mut kept = Vec::new();
    for number in 0..5 {
        append(&storage, &tenants()[0], batch(DAY, number * 100, 30), number + 1);
        let record = back_up(&env, &store, &storage).unwrap();
        kept.push((record.id, records(&storage)));
    }
    let objects = store.keys("");
    let told = prune(&env, &store, 2, PLAN_KEPT, true, &silent).unwrap();
    assert_eq!(store.keys(""), objects, "a dry run deletes nothing");
    let done = prune(&env, &store, 2, PLAN_KEPT, false, &silent).unwrap();
    assert_eq!(told, done);
    assert_eq!((done.backups.len(), done.kept.len()), (3, 2));
    // Three roots, three months, three producers; every segment is still needed.
    assert_eq!((done.objects, store.keys("prunes/").len()), (9, 0));
    for (id, expected) in &kept[3..] {
        assert!(check(&store, id, Depth::Full).damage.is_empty());
        restore_to(&env, &store, id, &format!("/{id}"), &Selection::default()).unwrap();
        assert_eq!(restored(&env, &format!("/{id}")), *expected);
    }
    assert_eq!(list(&store).unwrap().len(), 2);
    assert_eq!(prune(&env, &store, 0, PLAN_KEPT, false, &silent).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn a_prune_leaves_what_a_running_backup_needs_and_stops_one_that_comes_too_late() {
    let (sim, store) = (Sim::new(8), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    fill(&storage);
    back_up(&env, &store, &storage).unwrap();
    append(&storage, &tenants()[0], batch(DAY, 40_000, 30), 8_000);
    // A second backup gets stuck behind its first copies.
    store.with(|inner| inner.fail_after = Some(3));
    back_up(&env, &store, &storage).unwrap_err();
    store.with(|inner| inner.fail_after = None);
    let copied = store.keys("files/");
    prune(&env, &store, 1, PLAN_KEPT, false, &silent).unwrap();
    assert_eq!(store.keys("files/"), copied, "a plan keeps its files");
    // When the plan is old, they go.
    prune(&env, &store, 1, Duration::ZERO, false, &silent).unwrap();
    assert!(store.keys("files/").len() < copied.len() && store.keys("plans/").is_empty());
    // A prune that says it deletes what the next backup needs.
    let needed = store.keys("files/").into_iter().find(|key| key.ends_with(".log")).unwrap();
    let now = env.clock.now_ns();
    let prune = super::super::record::PruneRecord { format: 1, id: "x".into(), updated: now, keys: vec![needed] };
    store.put("prunes/x.json", &super::super::record::encode(&prune).unwrap()).unwrap();
    let error = back_up(&env, &store, &storage).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(store.keys("plans/").is_empty());
    store.delete(&["prunes/x.json".to_owned()]).unwrap();
    back_up(&env, &store, &storage).unwrap();
}

#[test]
fn a_pin_keeps_its_files_across_a_restart_until_it_ends() {
    let (sim, store) = (Sim::new(9), MemoryStore::default());
    let env = sim.env();
    let storage = Storage::open(
        Options { manifest_history: 1, ..options("/db") },
        env.clone(),
        Arc::new(Nobody),
        &Progress::default(),
    )
    .unwrap();
    fill(&storage);
    let pinned = storage.pin_backup(TTL, ColdFiles::Refer).unwrap();
    assert!(pinned.durable);
    // Its root, its nodes and its producers would go.
    let commits = |storage: &Storage, from: u64| {
        for number in from..from + 5 {
            append(storage, &tenants()[0], batch(DAY, number, 3), 10_000 + number);
            storage.flush().unwrap();
        }
    };
    commits(&storage, 0);
    drop(storage);
    let sim = sim.recover(3);
    let env = sim.env();
    let again = open(&env, "/db");
    commits(&again, 10);
    again.renew_pin(&pinned.id, TTL).unwrap();
    for file in &pinned.files {
        let open = again.open_pinned(&pinned.id, &file.path).unwrap();
        assert_eq!(crc32c::crc32c(&open.read_all(1 << 30).unwrap()), file.crc32c, "{}", file.path);
    }
    assert_eq!(again.open_pinned(&pinned.id, "wal/wal.meta").err().unwrap().kind, ErrorKind::Invalid);
    assert_eq!(again.open_pinned(&pinned.id, "segments/../../LOCK/x.log").err().unwrap().kind, ErrorKind::Invalid);
    sim.clock.advance(TTL * 2);
    commits(&again, 20);
    assert_eq!(again.renew_pin(&pinned.id, TTL).unwrap_err().kind, ErrorKind::Unavailable);
    let root = Path::new("/db").join(&pinned.root.path);
    assert!(!env.disk.exists(&root).unwrap(), "what it held has gone");
    assert!(env.disk.list(Path::new("/db/pins")).unwrap().is_empty());
    drop(store);
}
