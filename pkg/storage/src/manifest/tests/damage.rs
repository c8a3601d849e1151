//! Damaged files: what is whole answers, what is not is named, nothing is cleaned before a repair.

use super::*;
use crate::manifest::format::{FORMAT, MonthRef, Pointer, RootFile};
use crate::manifest::{Depth, POINTER_FILE, Unreachable, verify};
use serde_json::value::RawValue;
use timberlog_disk::sim::{Fault, Op};
use timberlog_disk::{Disk, Open};
use timberlog_types::ErrorKind;

/// Version 4: segment 1 of `a` in November, 2 of `a` in December, 3 of `b` in November.
fn prepared() -> Sim {
    let sim = sim(1);
    let env = sim.env();
    let manifest = open_whole(&env);
    let (a, b) = (tenant("a"), tenant("b"));
    manifest.commit(flush(&env, &a, DAY, 1)).unwrap();
    manifest.commit(flush(&env, &a, Day(DAY.0 + 20), 2)).unwrap();
    manifest.commit(flush(&env, &b, DAY, 3)).unwrap();
    sim
}

fn read(disk: &dyn Disk, path: &str) -> Vec<u8> {
    disk.open(&dir().join(path), Open::Read).unwrap().read_all(1 << 20).unwrap()
}

fn overwrite(disk: &dyn Disk, path: &str, bytes: &[u8]) {
    atomic::write(disk, &dir().join(path), bytes).unwrap();
}

/// The paths of what a prepared directory's current root leads to.
fn node_of(state: &State, name: &str, days_on: i32) -> String {
    let day = Day(DAY.0 + days_on);
    state.tenants[&tenant(name)][&crate::manifest::Month::of(day)].file.path.clone()
}

fn ids(state: &State) -> Vec<String> {
    let mut ids: Vec<_> = state.segments().map(|(_, _, entry)| entry.id.clone()).collect();
    ids.sort();
    ids
}

fn state_of(sim: &Sim) -> State {
    crate::manifest::load(&sim.env(), dir()).unwrap().unwrap().state
}

#[test]
fn no_damage_of_any_byte_panics_lies_or_removes_anything() {
    let sim = prepared();
    let truth = state_of(&sim);
    let names = files(&sim);
    let (mut refused, mut reported) = (0, 0);
    for path in names.iter().filter(|path| path.ends_with(".json")) {
        let whole = read(&sim.disk, path);
        for place in 0..whole.len() {
            let cut = (place % 5 == 0).then(|| whole[..place].to_vec());
            for bytes in cut.into_iter().chain([flipped(&whole, place)]) {
                overwrite(&sim.disk, path, &bytes);
                match open(&sim.env(), 3) {
                    Err(error) => {
                        assert_eq!(error.kind, ErrorKind::Corrupt, "{path} at {place}: {error}");
                        refused += 1;
                    }
                    Ok((manifest, report)) => {
                        let state = manifest.state();
                        assert!(report.is_damaged() || *state == truth, "{path} at {place}: unnoticed");
                        assert!(ids(&state).iter().all(|id| ids(&truth).contains(id)), "{path} at {place}");
                        assert!(report.removed.is_empty() && !report.created, "{path} at {place}: {report:?}");
                        let verified = verify(&sim.env(), dir(), Depth::Checksum).unwrap();
                        assert_eq!(verified.damage.is_empty(), !report.is_damaged(), "{path} at {place}");
                        reported += 1;
                    }
                }
                assert_eq!(files(&sim), names, "{path} at {place}");
            }
        }
        overwrite(&sim.disk, path, &whole);
    }
    assert!(reported > 1_000, "{reported} reported, {refused} refused");
    assert_eq!(refused, 0, "one damaged file never stops the start");
    assert_eq!(*open_whole(&sim.env()).state(), truth);
}

fn flipped(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 1 << (place % 8);
    bytes
}

#[test]
fn a_damaged_root_gives_way_to_the_one_before_and_its_segments_stay_until_repair() {
    let sim = prepared();
    let env = sim.env();
    let lost = state_of(&sim);
    assert!(sim.disk.flip_bit(&dir().join(&lost.root.path), 800));
    let (manifest, report) = open(&env, 3).unwrap();
    let fallback = report.fallback.unwrap();
    assert_eq!(fallback.lost.path, lost.root.path);
    assert_eq!((fallback.version_used, fallback.flushed_seq_used, fallback.flushed_seq_lost), (3, 2, Some(3)));
    assert_eq!(ids(&manifest.state()), [id(1), id(2)]);
    let only_there = log_path(&tenant("b"), DAY, &id(3));
    assert!(report.orphans_left.contains(&only_there));

    // Life goes on, and the loss is not forgotten.
    manifest.commit(flush(&env, &tenant("c"), DAY, 4)).unwrap();
    for _ in 0..6 {
        manifest.commit(Edit::default()).unwrap();
    }
    drop(manifest);
    let (manifest, report) = open(&env, 3).unwrap();
    assert!(report.fallback.is_none(), "the pointer leads to a whole root now");
    assert_eq!(manifest.state().lost_roots.len(), 1);
    assert!(files(&sim).contains(&only_there));
    assert!(!verify(&env, dir(), Depth::Length).unwrap().damage.is_empty());

    let report = manifest.repair().unwrap();
    assert_eq!(report.roots_lost.len(), 1);
    assert!(manifest.repair().unwrap().is_empty(), "once is enough");
    drop(manifest);
    let (manifest, report) = open(&env, 3).unwrap();
    assert!(report.removed.contains(&only_there));
    assert_eq!(ids(&manifest.state()), [id(1), id(2), id(4)]);
    assert!(verify(&env, dir(), Depth::Length).unwrap().damage.is_empty());
}

#[test]
fn a_damaged_month_hides_its_own_days_and_no_others() {
    let sim = prepared();
    let env = sim.env();
    let path = node_of(&state_of(&sim), "a", 0);
    let whole = read(&sim.disk, &path);
    overwrite(&sim.disk, &path, &flipped(&whole, 100));
    let (manifest, report) = open(&env, 3).unwrap();
    assert_eq!(report.unreachable.len(), 1);
    assert!(report.unreachable[0].contains("month 2026-11 of tenant `a`"), "{:?}", report.unreachable);
    let state = manifest.state();
    assert_eq!(ids(&state), [id(2), id(3)]);
    let lost: Vec<&Unreachable> = state.unreachable_in(&tenant("a"), DAY.range()).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(state.unreachable_in(&tenant("b"), TimeRange::ALL).count(), 0);
    assert_eq!(state.unreachable_in(&tenant("a"), Day(DAY.0 + 20).range()).count(), 0);

    // New records of the very same day find their place.
    manifest.commit(flush(&env, &tenant("a"), DAY, 5)).unwrap();
    for _ in 0..6 {
        manifest.commit(Edit::default()).unwrap();
    }
    drop(manifest);
    let (manifest, report) = open(&env, 3).unwrap();
    assert_eq!(report.unreachable.len(), 1);
    assert!(report.removed.is_empty());
    assert_eq!(ids(&manifest.state()), [id(2), id(3), id(5)]);

    // The file comes back from a backup: a repair finds it.
    overwrite(&sim.disk, &path, &whole);
    let report = manifest.repair().unwrap();
    assert_eq!((report.recovered.len(), report.months_lost.len()), (1, 0));
    drop(manifest);
    let manifest = open_whole(&env);
    assert_eq!(ids(&manifest.state()), [id(1), id(2), id(3), id(5)]);
    assert_eq!(manifest.state().partition(&tenant("a"), DAY).unwrap().segments.len(), 2);
}

#[test]
fn a_repair_gives_up_what_stays_unreadable_and_says_so() {
    let sim = prepared();
    let env = sim.env();
    let path = node_of(&state_of(&sim), "a", 0);
    env.disk.remove_file(&dir().join(&path)).unwrap();
    let (manifest, _) = open(&env, 3).unwrap();
    let report = manifest.repair().unwrap();
    assert!(report.months_lost[0].contains("missing"), "{report:?}");
    drop(manifest);
    let (manifest, report) = open(&env, 3).unwrap();
    assert!(!report.is_damaged(), "{report:?}");
    assert!(report.removed.contains(&log_path(&tenant("a"), DAY, &id(1))));
    assert_eq!(ids(&manifest.state()), [id(2), id(3)]);
}

#[test]
fn a_damaged_old_root_stops_the_cleaning_and_nothing_else() {
    let sim = prepared();
    let env = sim.env();
    let old = files(&sim).into_iter().find(|path| path.contains("root-00000000000000000002")).unwrap();
    assert!(sim.disk.flip_bit(&dir().join(&old), 80));
    write_files(&env, &entry(&tenant("a"), DAY, 9, (9, 9)), 9).unwrap();
    let (manifest, report) = open(&env, 3).unwrap();
    assert_eq!(report.history_damage.len(), 1);
    assert!(report.fallback.is_none() && report.removed.is_empty() && report.orphans_left.len() > 1);
    let before = files(&sim).len();
    for _ in 0..3 {
        manifest.commit(Edit::default()).unwrap();
    }
    assert_eq!(files(&sim).len(), before + 3);
    assert!(manifest.repair().unwrap().history_cut);
    drop(manifest);
    let (manifest, report) = open(&env, 3).unwrap();
    assert!(!report.is_damaged());
    assert_eq!(ids(&manifest.state()), [id(1), id(2), id(3)]);
}

#[test]
fn a_lost_pointer_is_replaced_by_the_newest_whole_root() {
    let sim = prepared();
    let env = sim.env();
    let truth = state_of(&sim);
    env.disk.remove_file(&dir().join(POINTER_FILE)).unwrap();
    let (manifest, report) = open(&env, 3).unwrap();
    assert!(!report.created);
    assert_eq!(report.fallback.unwrap().version_used, truth.version);
    assert_eq!(ids(&manifest.state()), ids(&truth));
    manifest.repair().unwrap();
    drop(manifest);
    assert_eq!(ids(&open_whole(&env).state()), ids(&truth));
}

#[test]
fn the_newest_whole_root_is_used_however_many_are_damaged() {
    let sim = prepared();
    let truth = state_of(&sim);
    let root = |version: u64| {
        let start = format!("manifest/root-{version:020}");
        files(&sim).into_iter().find(|path| path.starts_with(&start)).unwrap()
    };
    assert!(sim.disk.flip_bit(&dir().join(root(4)), 900));
    // Only the commit time, so that what it says is still consistent.
    let third = String::from_utf8(read(&sim.disk, &root(3))).unwrap();
    let rotten = third.replacen("\"commit_time\":1", "\"commit_time\":3", 1);
    assert_ne!(third, rotten);
    overwrite(&sim.disk, &root(3), rotten.as_bytes());
    let names = files(&sim);
    let (manifest, report) = open(&sim.env(), 3).unwrap();
    assert_eq!(report.fallback.unwrap().version_used, 2);
    assert_eq!(ids(&manifest.state()), [id(1)]);
    assert_eq!(files(&sim), names);
    assert_eq!(ids(&truth).len(), 3);
}

/// Writes a root under the name that it would have.
fn write_root(sim: &Sim, root: &RootFile) -> FileRef {
    let bytes = crate::manifest::format::encode(root).unwrap();
    let crc32c = crc32c::crc32c(&bytes);
    let path = format!("manifest/root-{:020}-{crc32c:08x}.json", root.version);
    overwrite(&sim.disk, &path, &bytes);
    FileRef { path, len: bytes.len() as u64, crc32c }
}

#[test]
fn a_root_that_was_never_committed_replaces_no_damaged_one() {
    let sim = prepared();
    let truth = state_of(&sim);
    let mut root = RootFile::decode(&read(&sim.disk, &truth.root.path)).unwrap();
    root.version += 1;
    root.flushed_seq += 1;
    write_root(&sim, &root);
    assert!(sim.disk.flip_bit(&dir().join(&truth.root.path), 900));
    let (_, report) = open(&sim.env(), 3).unwrap();
    assert_eq!(report.fallback.unwrap().version_used, 3);
}

#[test]
fn a_pointer_and_a_chain_that_lead_to_the_wrong_version_are_damaged() {
    let sim = prepared();
    let truth = state_of(&sim);
    let whole = Pointer::decode(&read(&sim.disk, POINTER_FILE)).unwrap();
    for pointer in [Pointer { version: 9, ..whole.clone() }, Pointer { flushed_seq: 9, ..whole.clone() }] {
        overwrite(&sim.disk, POINTER_FILE, &pointer.encode().unwrap());
        let (_, report) = open(&sim.env(), 3).unwrap();
        assert_eq!(report.fallback.unwrap().flushed_seq_lost, Some(pointer.flushed_seq));
    }
    let mut root = RootFile::decode(&read(&sim.disk, &truth.root.path)).unwrap();
    let previous = RootFile::decode(&read(&sim.disk, &root.previous.unwrap().path)).unwrap();
    root.previous = previous.previous;
    let pointer = Pointer { root: write_root(&sim, &root), ..whole };
    overwrite(&sim.disk, POINTER_FILE, &pointer.encode().unwrap());
    let (_, report) = open(&sim.env(), 3).unwrap();
    assert_eq!(report.history_damage.len(), 1);
    assert!(report.history_damage[0].reason.contains("is version 2, expected 3"), "{report:?}");
}

#[test]
fn without_any_root_the_start_is_refused_and_nothing_is_touched() {
    let sim = prepared();
    for path in files(&sim).iter().filter(|path| path.contains("root-") || *path == POINTER_FILE) {
        sim.disk.remove_file(&dir().join(path)).unwrap();
    }
    let left = files(&sim);
    let error = open(&sim.env(), 3).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert_eq!(files(&sim), left);
}

/// A root in the words of version 1, which names each node by a file of any path.
fn as_version_1(root: &[u8]) -> String {
    let months = RootFile::decode(root).unwrap().months;
    let months: Vec<String> = months
        .iter()
        .map(|MonthRef { tenant, month, file }| {
            let file = serde_json::to_string(file).unwrap();
            format!(r#"{{"tenant":"{tenant}","month":"{month}","file":{file}}}"#)
        })
        .collect();
    let months = format!("[{}]", months.join(","));
    let mut root: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(root).unwrap();
    root.insert("format".to_owned(), RawValue::from_string("1".to_owned()).unwrap());
    root.insert("months".to_owned(), RawValue::from_string(months).unwrap());
    serde_json::to_string(&root).unwrap()
}

#[test]
fn a_newer_format_is_refused_wherever_it_stands() {
    let newer = |bytes: &[u8]| {
        let old = format!("\"format\":{FORMAT},");
        String::from_utf8(bytes.to_vec()).unwrap().replacen(&old, "\"format\":7,\"shape\":\"new\",", 1).into_bytes()
    };
    let sim = prepared();
    let truth = state_of(&sim);
    let node = read(&sim.disk, &node_of(&truth, "a", 0));
    let root = read(&sim.disk, &truth.root.path);
    let pointer = Pointer::decode(&read(&sim.disk, POINTER_FILE)).unwrap();
    let file = |path: &str, bytes: &[u8]| {
        overwrite(&sim.disk, path, bytes);
        FileRef { path: path.to_owned(), len: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) }
    };
    // A newer pointer, a newer root, a newer node in a root of this version.
    let new_root = file("manifest/new-root.json", &newer(&root));
    let new_node = file("manifest/new-node.json", &newer(&node));
    let old_node = &truth.tenants[&tenant("a")].values().next().unwrap().file;
    let node_json = |file: &FileRef| serde_json::to_string(file).unwrap();
    let with_new_node = as_version_1(&root).replace(&node_json(old_node), &node_json(&new_node));
    let with_new_node = file("manifest/mixed-root.json", with_new_node.as_bytes());
    let pointers = [
        Pointer { format: 7, ..pointer.clone() },
        Pointer { root: new_root, ..pointer.clone() },
        Pointer { root: with_new_node, ..pointer },
    ];
    for pointer in pointers {
        overwrite(&sim.disk, POINTER_FILE, &pointer.encode().unwrap());
        let names = files(&sim);
        let error = open(&sim.env(), 3).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert!(error.message.contains("format version 7 is newer"), "{error}");
        assert_eq!(files(&sim), names);
    }
}

#[test]
fn a_node_that_names_files_elsewhere_is_damaged() {
    let sim = prepared();
    let truth = state_of(&sim);
    let old_node = &truth.tenants[&tenant("a")].values().next().unwrap().file;
    let root = as_version_1(&read(&sim.disk, &truth.root.path));
    let node = String::from_utf8(read(&sim.disk, &old_node.path)).unwrap();
    let log = log_path(&tenant("a"), DAY, &id(1));
    let mut pointer = Pointer::decode(&read(&sim.disk, POINTER_FILE)).unwrap();
    for hostile in ["/etc/passwd", "../../x.log", "segments/b/../../../x"] {
        let hostile_node = node.replace(&log, hostile).into_bytes();
        overwrite(&sim.disk, "manifest/month-x.json", &hostile_node);
        let by_node = FileRef {
            path: "manifest/month-x.json".to_owned(),
            len: hostile_node.len() as u64,
            crc32c: crc32c::crc32c(&hostile_node),
        };
        let by_root = FileRef { path: hostile.to_owned(), ..old_node.clone() };
        for file in [by_node, by_root] {
            let json = |file: &FileRef| serde_json::to_string(file).unwrap();
            let root = root.replace(&json(old_node), &json(&file)).into_bytes();
            overwrite(&sim.disk, "manifest/root-x.json", &root);
            pointer.root = FileRef {
                path: "manifest/root-x.json".to_owned(),
                len: root.len() as u64,
                crc32c: crc32c::crc32c(&root),
            };
            overwrite(&sim.disk, POINTER_FILE, &pointer.encode().unwrap());
            let (manifest, report) = open(&sim.env(), 3).unwrap();
            assert_eq!(report.unreachable.len(), 1, "{hostile}: {report:?}");
            assert_eq!(ids(&manifest.state()), [id(2), id(3)]);
        }
    }
}

#[test]
fn an_error_that_may_pass_stops_the_start_and_names_the_file() {
    let sim = prepared();
    let env = sim.env();
    let truth = state_of(&sim);
    let node = node_of(&truth, "a", 0);
    sim.disk.inject(Op::Open, &node, 0, Fault::NoSpace);
    assert_eq!(open(&env, 3).err().unwrap().kind, ErrorKind::Unavailable);
    // A read that fails is no checksum mismatch: neither a month nor a root is given up for it.
    for file in [POINTER_FILE, truth.root.path.as_str(), node.as_str()] {
        sim.disk.inject(Op::Read, file, 0, Fault::Io);
        let error = open(&env, 3).err().unwrap();
        assert!(error.message.contains(file) && error.message.contains("move it away"), "{error}");
        assert_eq!(*open_whole(&env).state(), truth, "{file}");
    }
}

#[test]
fn verify_finds_missing_short_and_rotten_files() {
    let sim = prepared();
    let env = sim.env();
    let log = |name: &str, days: i32, number| log_path(&tenant(name), Day(DAY.0 + days), &id(number));
    env.disk.remove_file(&dir().join(log("a", 0, 1))).unwrap();
    overwrite(&sim.disk, &log("a", 20, 2), b"short");
    assert!(sim.disk.flip_bit(&dir().join(log("b", 0, 3)), 17));
    let reasons = |depth| -> Vec<String> {
        verify(&env, dir(), depth).unwrap().damage.iter().map(|damage| damage.reason.clone()).collect()
    };
    assert_eq!(reasons(Depth::Length), ["missing", "has 5 bytes, expected 20"]);
    assert_eq!(reasons(Depth::Checksum), ["missing", "has 5 bytes, expected 20", "checksum mismatch"]);
    assert_eq!(verify(&env, Path::new("/nowhere"), Depth::Length).unwrap_err().kind, ErrorKind::NotFound);
}
