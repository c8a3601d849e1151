use super::*;

/// A backup of segments with and without an index, with an end of the WAL.
fn backed_up() -> (Sim, MemoryStore, BackupRecord) {
    let (sim, store) = (Sim::new(11), MemoryStore::default());
    let env = sim.env();
    let storage = open(&env, "/db");
    let [a, _] = tenants();
    let text = "x".repeat(400);
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(Some("warn")).unwrap();
    for number in 0..4_000 {
        let time = DAY.range().start + number;
        builder.finish_row(time, stream, level, format!("{number} {text}").as_bytes()).unwrap();
    }
    append(&storage, &a, builder.finish().unwrap(), 1);
    storage.flush().unwrap();
    append(&storage, &a, batch(DAY, 5, 30), 2);
    // Killed: the last batch is in the WAL only.
    let sim = sim.recover(1);
    drop(storage);
    let env = sim.env();
    let source = RestSource::open(&env, Path::new("/db")).unwrap();
    let record = create(&env, &store, &source, &silent).unwrap().record;
    drop(source);
    assert!(record.files.iter().any(|file| file.path.ends_with(".redb")) || sim.disk.steps() > 0);
    (sim, store, record)
}

#[test]
fn any_damaged_object_is_named_by_verify_and_refused_by_restore() {
    let (sim, store, record) = backed_up();
    let env = sim.env();
    let keys: Vec<String> = store.keys("").into_iter().filter(|key| !key.starts_with("backups/")).collect();
    assert!(
        keys.iter().any(|key| key.ends_with(".redb")) && keys.iter().any(|key| key.starts_with("wal/")),
        "{keys:?}"
    );
    for key in &keys {
        for harm in ["flip", "cut", "grow", "delete"] {
            let harmed = store.fork();
            harmed.with(|inner| {
                let bytes = inner.objects.get_mut(key).unwrap();
                match harm {
                    "flip" => {
                        let middle = bytes.len() / 2;
                        bytes[middle] ^= 0x10;
                    }
                    "cut" => bytes.truncate(bytes.len() - 1),
                    "grow" => bytes.push(0),
                    _ => drop(inner.objects.remove(key)),
                }
            });
            let context = format!("{harm} {key}");
            let found = check(&harmed, &record.id, Depth::Full);
            assert!(found.damage.iter().any(|damage| damage.contains(key)), "{context}: {:?}", found.damage);
            let quick = check(&harmed, &record.id, Depth::Quick);
            let is_seen = quick.damage.iter().any(|damage| damage.contains(key));
            assert!(is_seen || harm == "flip", "{context}: {:?}", quick.damage);
            let dir = format!("/to-{harm}-{}", key.replace('/', "-"));
            // An object that only grew is read up to its length.
            let refused = restore_to(&env, &harmed, &record.id, &dir, &Selection::default());
            match refused {
                Ok(_) => assert_eq!(harm, "grow", "{context}"),
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::Corrupt, "{context}: {error}");
                    assert!(error.message.contains(key), "{context}: {error}");
                    assert!(
                        Storage::open(options(&dir), env.clone(), Arc::new(Nobody), &Progress::default()).is_err()
                            || env
                                .disk
                                .list(Path::new(&dir))
                                .map_or(true, |entries| !entries.iter().any(|entry| entry.name == MARKER_FILE)),
                        "{context}: half a restore opens"
                    );
                }
            }
        }
    }
}

#[test]
fn a_damaged_record_is_listed_as_such_and_stops_a_prune() {
    let (sim, store, record) = backed_up();
    let key = store.keys("backups/")[0].clone();
    for bit in (0..store.get(&key).unwrap().len() * 8).step_by(97) {
        let harmed = store.fork();
        harmed.with(|inner| inner.objects.get_mut(&key).unwrap()[bit / 8] ^= 1 << (bit % 8));
        let listed = list(&harmed).unwrap();
        assert_eq!(listed.len(), 1);
        let Err(error) = &listed[0].record else { continue };
        assert!(matches!(error.kind, ErrorKind::Corrupt | ErrorKind::Invalid), "{error}");
        let objects = harmed.keys("files/");
        prune(&sim.env(), &harmed, 1, Duration::ZERO, false, &silent).unwrap_err();
        assert_eq!(harmed.keys("files/"), objects);
    }
    assert!(read(&store, &record.id).is_ok());
}

#[test]
fn damage_of_the_database_is_not_backed_up() {
    let (sim, store, record) = backed_up();
    let env = sim.env();
    let log = record.files.iter().find(|file| file.path.ends_with(".log")).unwrap();
    assert!(sim.disk.flip_bit(&Path::new("/db").join(&log.path), log.len * 4));
    let fresh = MemoryStore::default();
    let source = RestSource::open(&env, Path::new("/db")).unwrap();
    let error = create(&env, &fresh, &source, &silent).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.message.contains(&log.path), "{error}");
    assert_eq!(
        (fresh.keys("backups/").len(), fresh.keys("files/").iter().any(|key| key.ends_with(".log"))),
        (0, false)
    );
    // Where the store has it whole, it is not copied again, and the backup is whole.
    let again = create(&env, &store, &source, &silent).unwrap().record;
    assert!(check(&store, &again.id, Depth::Full).damage.is_empty());
}

#[test]
fn records_of_a_newer_program_are_refused() {
    let (_, store, record) = backed_up();
    let newer = BackupRecord { format: 2, ..record.clone() };
    store.put(&format!("backups/{}.json", record.id), &super::super::record::encode(&newer).unwrap()).unwrap();
    let error = find(&store, &record.id).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("newer"), "{error}");
    let formats = Formats { segment: 2, ..Formats::CURRENT };
    let newer = BackupRecord { formats, ..record.clone() };
    store.put(&format!("backups/{}.json", record.id), &super::super::record::encode(&newer).unwrap()).unwrap();
    assert_eq!(find(&store, &record.id).unwrap_err().kind, ErrorKind::Invalid);
}
