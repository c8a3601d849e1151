//! The golden directory `tests/golden/manifest-v1`, written once and read by every later version.
//! It is never regenerated in place: a new format gets a directory of its own.

use super::*;
use crate::manifest::{Depth, load, verify};
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
