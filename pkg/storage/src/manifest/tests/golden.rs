//! The golden directory `tests/golden/manifest-v1`, written once and read by every later version.
//! It is never regenerated in place: a new format gets a directory of its own.

use super::*;
use crate::deletes::Tombstone;
use crate::deletes::list::End;
use crate::manifest::{Depth, index_object_path, load, verify};
use std::path::PathBuf;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/manifest-v1")
}

#[test]
fn the_golden_manifest_of_version_1_is_read_as_it_was_written() {
    let env = Env::real();
    let loaded = load(&env, &golden()).unwrap().unwrap();
    let state = loaded.state;
    assert!(loaded.fallback.is_none() && loaded.chain.damage.is_empty());
    assert_eq!((state.version, state.flushed_seq, state.chain_start), (6, 5, 3));
    assert_eq!(state.database_id.len(), 32);
    let (a, b) = (tenant("a"), tenant("team-1_(x)"));
    let mut expected = vec![
        (a.clone(), DAY, entry(&a, DAY, 9, (1, 1))),
        (a.clone(), DAY, entry(&a, DAY, 4, (4, 4))),
        (a.clone(), Day(DAY.0 + 20), entry(&a, Day(DAY.0 + 20), 2, (2, 2))),
        (b.clone(), Day(-100), entry(&b, Day(-100), 3, (3, 3))),
    ];
    expected[3].2.services = None;
    let found: Vec<_> = state.segments().map(|(tenant, day, entry)| (tenant.clone(), day, (**entry).clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(state.producers.as_ref().map(|file| file.path.as_str()), Some("producers/5.producers"));
    let report = verify(&env, &golden(), Depth::Checksum).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!((report.roots, report.nodes, report.segments, report.files_whole), (4, 3, 4, 7));
}

/// Version 2: deletes that live, are processed and cancelled, a segment that was looked through for
/// them, and one that is in the object store, too.
#[test]
fn the_golden_manifest_of_version_2_is_read_as_it_was_written() {
    let env = Env::real();
    let golden = golden().with_file_name("manifest-v2");
    let loaded = load(&env, &golden).unwrap().unwrap();
    let state = loaded.state;
    assert!(loaded.fallback.is_none() && loaded.chain.damage.is_empty());
    assert_eq!((state.version, state.flushed_seq, state.chain_start), (6, 9, 5));
    let (a, b) = (tenant("a"), tenant("team-1_(x)"));
    let mut expected = [(a.clone(), entry(&a, DAY, 1, (1, 1))), (b.clone(), entry(&b, Day(-100), 3, (3, 3)))];
    expected[0].1.purged_seq = 5;
    let path = index_object_path(&b, Day(-100), &id(3));
    let index = FileRef { path, len: 7, crc32c: 7 };
    (expected[1].1.location, expected[1].1.index_object) = (Location::Both, Some(index));
    let found: Vec<_> = state.segments().map(|(tenant, _, entry)| (tenant.clone(), (**entry).clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(state.clock_ns, 1_767_225_600_000_000_000);
    let deletes: Vec<_> = state.deletes.entries.iter().map(|entry| (**entry).clone()).collect();
    let delete = |number: u64, tenant: &Tenant, seq, rows_removed, ended| crate::deletes::list::Entry {
        tombstone: Tombstone {
            id: id(number),
            tenant: tenant.clone(),
            selector: format!("{{service=\"wéb {number}\"}} |= `x`"),
            range: TimeRange { start: -5, end: i64::MAX - number as i64 },
            seq,
            created_ns: 1_767_225_600_000_000_000,
        },
        rows_removed,
        ended,
    };
    let expected = [
        delete(11, &a, 4, 0, Some((End::Cancelled, 70))),
        delete(12, &a, 5, 2, Some((End::Processed, 80))),
        delete(13, &b, 8, 0, None),
    ];
    assert_eq!(deletes, expected);
    let report = verify(&env, &golden, Depth::Checksum).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
}

/// A version that is no longer written could not be made then.
#[test]
fn every_version_has_a_golden_manifest_and_a_golden_data_directory() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    for version in 1..=crate::manifest::format::FORMAT {
        for folder in
            [format!("manifest-v{version}"), format!("data-v{version}/data"), format!("data-v{version}/expected")]
        {
            assert!(golden.join(&folder).is_dir(), "`tests/golden/{folder}` is missing");
        }
    }
}
