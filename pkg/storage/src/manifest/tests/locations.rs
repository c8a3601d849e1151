//! Segments that go to an object store: what a move may change, and when local files go.

use super::*;
use crate::manifest::{Depth, Location, index_object_path, verify};

/// The entry at another location.
fn at(tenant: &Tenant, entry: &SegmentEntry, location: Location) -> SegmentEntry {
    let object = FileRef { path: index_object_path(tenant, DAY, &entry.id), len: 7, crc32c: 7 };
    SegmentEntry { location, index_object: location.is_stored().then_some(object), ..entry.clone() }
}

fn only(manifest: &Manifest) -> SegmentEntry {
    let state = manifest.state();
    let mut segments = state.segments();
    let (_, _, entry) = segments.next().unwrap();
    assert!(segments.next().is_none());
    (**entry).clone()
}

#[test]
fn a_segment_goes_to_the_store_step_by_step_and_its_local_files_with_the_last_root_that_names_them() {
    let sim = Sim::new(1);
    let env = sim.env();
    let a = tenant("a");
    let manifest = open_whole(&env);
    manifest.commit(flush(&env, &a, DAY, 2)).unwrap();
    let local = only(&manifest);
    let step = |location| Edit::move_to(vec![(a.clone(), DAY, at(&a, &local, location))]);
    assert!(manifest.commit(step(Location::Cold)).unwrap_err().message.contains("goes from Local to Cold"));
    manifest.commit(step(Location::Both)).unwrap();
    manifest.commit(step(Location::Cold)).unwrap();
    assert_eq!(only(&manifest), at(&a, &local, Location::Cold));
    assert!(files(&sim).contains(&local.log.path), "an older root names it");
    assert!(verify(&env, dir(), Depth::Checksum).unwrap().damage.is_empty());
    drop(manifest);
    let manifest = open_whole(&env);
    for seq in 3..7 {
        assert!(files(&sim).contains(&local.log.path) || seq > 5, "{seq}");
        manifest.commit(flush(&env, &tenant("b"), DAY, seq)).unwrap();
    }
    assert!(!files(&sim).contains(&local.log.path) && !files(&sim).contains(&local.redb.unwrap().path));
    drop(manifest);
    let (manifest, report) = open(&env, 3).unwrap();
    assert!(!report.is_damaged() && report.removed.is_empty(), "{report:?}");
    assert_eq!(manifest.state().segments().next().unwrap().2.location, Location::Cold);
}

#[test]
fn a_move_that_changes_anything_else_is_refused() {
    let sim = Sim::new(1);
    let env = sim.env();
    let a = tenant("a");
    let manifest = open_whole(&env);
    manifest.commit(flush(&env, &a, DAY, 2)).unwrap();
    let local = only(&manifest);
    let both = at(&a, &local, Location::Both);
    let refused = |edit: Edit, reason: &str| {
        let error = manifest.commit(edit).unwrap_err();
        assert!(error.message.contains(reason), "{error}");
    };
    let of = |entry: SegmentEntry| Edit::move_to(vec![(a.clone(), DAY, entry)]);
    refused(of(SegmentEntry { rows: 11, ..both.clone() }), "counts by");
    refused(of(SegmentEntry { raw_bytes: 1, ..both.clone() }), "is another one");
    refused(of(SegmentEntry { index_object: None, ..both.clone() }), "index object");
    refused(of(SegmentEntry { index_object: both.index_object.clone(), ..local.clone() }), "index object");
    refused(of(local.clone()), "goes from Local to Local");
    refused(Edit { flushed_seq: Some(9), ..of(both.clone()) }, "more than segments");
    refused(Edit { remove: Vec::new(), ..of(both.clone()) }, "");
    let new = at(&a, &segment(&env, &a, DAY, 5, (5, 5)), Location::Both);
    refused(of(new.clone()), "not in partition");
    let add = vec![(a.clone(), DAY, new)];
    refused(Edit { add, flushed_seq: Some(5), ..Edit::default() }, "is in the data directory");
    assert_eq!(only(&manifest), local);
}
