//! Crashes at every step, and faults at every step: the state is the one before or after the
//! interrupted commit, every acknowledged commit is there, and every named file is whole.

use super::*;
use crate::manifest::{Depth, POINTER_FILE, load, verify};
use std::collections::BTreeSet;
use timberlog_disk::Disk;
use timberlog_disk::sim::{Fault, Op, Rng};
use timberlog_types::ErrorKind;

/// What a run got to know before it ended: the last acknowledged state, and the one that it was
/// committing, if any.
#[derive(Default)]
struct Progress {
    acknowledged: Option<Told>,
    attempted: Option<Told>,
}

impl Progress {
    fn allows(&self, told: &Told) -> bool {
        self.acknowledged.as_ref() == Some(told) || self.attempted.as_ref() == Some(told)
    }
}

/// The edit of a step of the workload: flushes of several tenants and months, compactions,
/// retention, producers.
fn edit(env: &Env, state: &State, rng: &mut Rng) -> std::io::Result<Edit> {
    let mut edit = Edit::default();
    let present: Vec<_> =
        state.segments().map(|(tenant, day, entry)| (tenant.clone(), day, entry.as_ref().clone())).collect();
    let flushed = state.flushed_seq;
    match rng.below(4) {
        0 if !present.is_empty() => {
            // A compaction of one segment, or its end.
            let (tenant, day, source) = &present[rng.below(present.len() as u64) as usize];
            edit.remove.push((tenant.clone(), *day, source.id.clone()));
            if rng.percent(60) {
                let number = 1_000 + state.version;
                let merged = entry(tenant, *day, number, (source.seq_min, source.seq_max));
                write_files(env, &merged, number)?;
                edit.add.push((tenant.clone(), *day, merged));
            }
        }
        _ => {
            for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
                if rng.percent(40) {
                    continue;
                }
                let (tenant, day) = (tenant(name), Day(DAY.0 + rng.below(3) as i32 * 15));
                let number = state.version * 3 + place as u64;
                let added = entry(&tenant, day, number, (flushed + 1, flushed + 5));
                write_files(env, &added, number)?;
                edit.add.push((tenant, day, added));
            }
            edit.flushed_seq = Some(flushed + 5);
        }
    }
    if rng.percent(30) {
        let path = format!("producers/{}.producers", state.version);
        env.disk.create_dir_all(&dir().join("producers"))?;
        atomic::write_new(&*env.disk, &dir().join(&path), b"data")?;
        env.disk.sync_dir(&dir().join("producers"))?;
        edit.producers = Some(FileRef { path, len: 4, crc32c: crc32c::crc32c(b"data") });
    }
    Ok(edit)
}

/// Opens and commits a few times; stops at the first error, which must be the crash.
fn run(sim: &Sim, seed: u64, progress: &mut Progress) -> Result<()> {
    let env = sim.env();
    let mut rng = Rng::new(seed);
    let fresh = progress.acknowledged.is_none();
    if fresh {
        progress.attempted = Some((1, 0, Vec::new(), None));
    }
    let (manifest, report) = open(&env, 2)?;
    assert!(!report.is_damaged(), "{report:?}");
    assert!(fresh || !report.created, "what was acknowledged is gone");
    let found = told(&manifest.state());
    assert!(progress.allows(&found), "{found:?}");
    progress.acknowledged = Some(found);
    for _ in 0..3 {
        let edit =
            edit(&env, &manifest.state(), &mut rng).map_err(|error| timberlog_types::Error::io("edit", &error))?;
        let next = crate::manifest::commit::apply(&manifest.state(), &edit, 2)?;
        progress.attempted = Some(told(&next.state));
        let state = manifest.commit(edit)?;
        assert_eq!(progress.attempted.take(), Some(told(&state)));
        progress.acknowledged = Some(told(&state));
    }
    Ok(())
}

/// The directory holds exactly what the kept roots name, whole.
fn check_directory(sim: &Sim) {
    let env = sim.env();
    let report = verify(&env, dir(), Depth::Checksum).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    let loaded = load(&env, dir()).unwrap().unwrap();
    let state = &loaded.state;
    let mut named: BTreeSet<String> = [POINTER_FILE.to_owned()].into();
    named.extend(loaded.chain.roots.iter().map(|(_, file)| file.path.clone()));
    named.extend(loaded.chain.old_files.keys().cloned());
    named.extend(state.tenants.values().flat_map(|months| months.values()).map(|node| node.file.path.clone()));
    named.extend(state.segments().flat_map(|(_, _, entry)| entry.files()).map(|file| file.path.clone()));
    named.extend(state.producers.iter().map(|file| file.path.clone()));
    assert_eq!(files(sim).into_iter().collect::<BTreeSet<_>>(), named);
}

#[test]
fn after_a_crash_at_any_step_the_state_is_the_one_before_or_after() {
    let (mut crashes, mut kept, mut lost) = (0, 0, 0);
    for seed in 0..4 {
        for step in 1.. {
            let sim = sim(seed);
            sim.disk.crash_at(step);
            let mut progress = Progress::default();
            if run(&sim, seed, &mut progress).is_ok() {
                break;
            }
            assert!(sim.disk.is_crashed(), "seed {seed} step {step}: an error without a crash");
            for outcome in 0..8 {
                let context = format!("seed {seed} step {step} outcome {outcome}");
                let after = sim.recover(outcome);
                let env = after.env();
                let (manifest, report) = open(&env, 2).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert!(!report.is_damaged(), "{context}: {report:?}");
                let found = told(&manifest.state());
                assert!(
                    progress.acknowledged.is_none() || !report.created,
                    "{context}: an acknowledged database is gone"
                );
                assert!(progress.allows(&found), "{context}: {found:?}");
                check_directory(&after);
                if progress.attempted.as_ref() == Some(&found) {
                    kept += 1
                } else {
                    lost += 1
                }
                crashes += 1;
            }
        }
    }
    assert!(crashes > 1_000 && kept > 50 && lost > 50, "{crashes} crashes, {kept} kept, {lost} lost");
}

#[test]
fn a_machine_that_keeps_crashing_never_loses_what_it_acknowledged() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let mut sim = sim(seed);
        let mut progress = Progress::default();
        for round in 0..12 {
            sim.disk.crash_at(1 + rng.below(60));
            if let Err(error) = run(&sim, rng.next(), &mut progress) {
                assert!(sim.disk.is_crashed(), "seed {seed} round {round}: {error}");
            }
            sim = sim.recover(rng.next());
        }
        run(&sim, seed, &mut progress).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        drop(open_whole(&sim.env()));
        check_directory(&sim);
    }
}

/// Runs a commit with one fault; checks that nothing is pretended, and what a crash leaves.
fn commit_with_fault(op: Op, skip: u64, fault: Fault) -> bool {
    let sim = sim(skip);
    let env = sim.env();
    let manifest = open_whole(&env);
    let (a, b) = (tenant("a"), tenant("b"));
    manifest.commit(flush(&env, &a, DAY, 1)).unwrap();
    let edit = flush(&env, &b, DAY, 2);
    let before = manifest.state();
    let attempted = told(&crate::manifest::commit::apply(&before, &edit, 3).unwrap().state);
    let last_step = sim.disk.steps();
    sim.disk.inject(op, DIR, skip, fault);
    let result = manifest.commit(edit.clone());
    let context = format!("{op:?} {skip} {fault:?}");
    let Err(error) = result else {
        // The fault came too late for the commit; it may have struck the cleaning behind it.
        assert_eq!(told(&manifest.state()), attempted, "{context}");
        return sim.disk.steps() > last_step && op == Op::Remove;
    };
    assert_eq!(manifest.state(), before, "{context}: memory changed");
    let after_error: Vec<Told> = (0..20)
        .map(|outcome| {
            let after = sim.recover(outcome);
            let (manifest, report) = open(&after.env(), 3).unwrap();
            assert!(!report.is_damaged(), "{context}: {report:?}");
            check_directory(&after);
            told(&manifest.state())
        })
        .collect();
    if error.kind == ErrorKind::Closed {
        assert!(after_error.iter().all(|found| *found == told(&before) || *found == attempted), "{context}");
    } else {
        assert!(after_error.iter().all(|found| *found == told(&before)), "{context}: it said that nothing has changed");
    }
    true
}

#[test]
fn a_commit_that_fails_has_not_happened_or_says_that_it_does_not_know() {
    for op in [Op::Open, Op::Write, Op::Sync, Op::SyncDir, Op::Rename] {
        for fault in [Fault::Io, Fault::NoSpace, Fault::DoneButError] {
            let struck = (0..20).take_while(|&skip| commit_with_fault(op, skip, fault)).count();
            assert!(struck > 0, "{op:?} {fault:?} never struck");
        }
    }
}

#[test]
fn after_a_failed_write_the_next_commit_works_and_after_an_unknown_outcome_none_does() {
    for (op, path, poisons) in [
        (Op::Write, "manifest/month-", false),
        (Op::Sync, "manifest/month-", false),
        (Op::Sync, "manifest/root-", false),
        (Op::Write, "manifest.json.tmp", false),
        (Op::Sync, "manifest.json.tmp", false),
        (Op::SyncDir, "/db/manifest", true),
        (Op::Rename, "manifest.json", true),
    ] {
        let sim = sim(5);
        let env = sim.env();
        let manifest = open_whole(&env);
        let edit = flush(&env, &tenant("a"), DAY, 1);
        sim.disk.inject(op, path, 0, Fault::Io);
        let error = manifest.commit(edit.clone()).unwrap_err();
        assert_eq!(error.kind == ErrorKind::Closed, poisons, "{op:?} {path}: {error}");
        let again = manifest.commit(edit);
        assert_eq!(again.is_err(), poisons, "{op:?} {path}");
        if !poisons {
            for outcome in 0..20 {
                let after = sim.recover(outcome);
                assert_eq!(told(&open_whole(&after.env()).state()), told(&manifest.state()), "{op:?} {path}");
                check_directory(&after);
            }
        }
    }
}

#[test]
fn a_full_disk_fails_the_commit_and_room_lets_the_next_one_through() {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    let edit = flush(&env, &tenant("a"), DAY, 1);
    let used: u64 = sim.disk.files().iter().map(|(_, len)| len).sum();
    for room in [0, 10, 900, 1_300] {
        sim.disk.set_capacity(Some(used + room));
        let error = manifest.commit(edit.clone()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{room}: {error}");
        let left: u64 = sim.disk.files().iter().map(|(_, len)| len).sum();
        assert_eq!(left, used, "{room}: leftovers fill the disk");
    }
    sim.disk.set_capacity(None);
    // Some file systems have no room for a name.
    sim.disk.inject(Op::Rename, "manifest.json", 0, Fault::NoSpace);
    assert_eq!(manifest.commit(edit.clone()).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(sim.disk.files().iter().map(|(_, len)| len).sum::<u64>(), used);
    manifest.commit(edit).unwrap();
    drop(manifest);
    assert_eq!(open_whole(&env).state().flushed_seq, 1);
}

#[test]
fn short_reads_and_writes_change_nothing() {
    let sim = sim(3);
    sim.disk.set_short_io(60);
    let mut progress = Progress::default();
    run(&sim, 3, &mut progress).unwrap();
    check_directory(&sim);
    assert!(sim.disk.exists(&dir().join(POINTER_FILE)).unwrap());
}
