//! Folders as stores: they conform on a real and on a simulated disk, and a crash leaves no part of
//! an object.

use std::path::Path;

use timberlog_disk::sim::{Fault, Op, Sim};
use timberlog_disk::{Disk, Env};
use timberlog_objects::{LocalStore, S3Options, open};
use timberlog_storage::objects::ObjectStore;

use crate::{Quirks, conformance};

#[test]
fn a_real_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/not/there yet", folder.path().display());
    let store = open(&url, &S3Options::default(), &Env::real()).unwrap();
    assert_eq!(store.describe(), url);
    assert_eq!(conformance::keys(&*store, ""), Vec::<String>::new());
    conformance::check(&*store, Quirks::None);
    conformance::check_listing(&*store);
}

#[test]
fn a_simulated_folder_conforms() {
    let sim = Sim::new(1);
    sim.disk.set_short_io(20);
    let store = LocalStore::new(sim.env(), "/store");
    conformance::check(&store, Quirks::None);
    conformance::check_listing(&store);
}

/// What a program does with a store: replace, put once, put a file, delete.
fn work(store: &LocalStore) -> Vec<&'static str> {
    let mut done = Vec::new();
    let mut step = |name: &'static str, result: timberlog_types::Result<()>| {
        if result.is_ok() {
            done.push(name);
        }
    };
    step("old", store.put("a/replaced", b"old"));
    step("new", store.put("a/replaced", b"new content"));
    step("once", store.put_if_absent("b/once", b"only this").map(|won| assert!(won)));
    step("file", store.put_file("c/file", &*conformance::file_of(&[7; 3000]), 3000, &|_| ()));
    step("gone", store.delete(&["a/replaced".into()]));
    done
}

#[test]
fn a_crash_at_any_step_leaves_whole_objects_and_what_was_confirmed() {
    let run = Sim::new(1);
    assert_eq!(work(&LocalStore::new(run.env(), "/store")).len(), 5);
    for crash in 1..=run.disk.steps() {
        for seed in 0..8 {
            let sim = Sim::new(1);
            sim.disk.crash_at(crash);
            let done = work(&LocalStore::new(sim.env(), "/store"));
            // Another seed than the first machine had: a writer must not draw the same id again.
            let after = sim.recover(seed + 1000);
            let store = LocalStore::new(after.env(), "/store");
            let content = |key: &str| store.get(key).ok();
            let context = format!("crash at step {crash}, seed {seed}, done {done:?}");
            let has = |name| done.contains(&name);
            match content("a/replaced").as_deref() {
                Some(b"old") => assert!(!has("new"), "{context}"),
                Some(b"new content") => assert!(has("old") && !has("gone"), "{context}"),
                None => assert!(!has("old") || has("file"), "{context}"),
                Some(other) => panic!("{context}: a part of an object: {other:?}"),
            }
            let whole = |key: &str, name, bytes: &[u8]| match content(key) {
                Some(present) => assert_eq!(present, bytes, "{context}"),
                None => assert!(!has(name), "{context}"),
            };
            whole("b/once", "once", b"only this");
            whole("c/file", "file", &[7; 3000]);
            // The next writer removes what the crash left behind.
            store.put("d", b"after").unwrap();
            let names: Vec<String> =
                after.disk.files().iter().map(|(path, _)| path.file_name().unwrap().to_string_lossy().into()).collect();
            let temporary = names.iter().filter(|name| name.starts_with(".timberlog-")).count();
            assert_eq!(temporary, 0, "{context}: {names:?}");
        }
    }
}

#[test]
fn a_conditional_put_whose_answer_was_lost_knows_its_own_bytes() {
    let sim = Sim::new(1);
    let store = LocalStore::new(sim.env(), "/store");
    sim.disk.inject(Op::Rename, "once", 0, Fault::DoneButError);
    assert!(store.put_if_absent("once", b"mine").unwrap());
    sim.disk.inject(Op::Rename, "other", 0, Fault::Io);
    assert!(store.put_if_absent("other", b"mine").is_err());
    assert!(store.put_if_absent("other", b"mine").unwrap(), "nothing was left behind");
    // What a failed sync did not confirm may be lost in a crash: it is no success.
    sim.disk.inject(Op::SyncDir, "store", 0, Fault::Io);
    assert!(store.put_if_absent("third", b"mine").is_err());
}

#[test]
fn a_living_writer_keeps_its_temporary_files() {
    let sim = Sim::new(1);
    let (one, other) = (LocalStore::new(sim.env(), "/store"), LocalStore::new(sim.env(), "/store"));
    let started = std::cell::Cell::new(false);
    let interrupt = |_| {
        if !started.replace(true) {
            other.put("x/other", b"other").unwrap();
        }
    };
    one.put_file("x/long", &*conformance::file_of(&vec![1; 3 << 20]), 3 << 20, &interrupt).unwrap();
    assert_eq!(conformance::keys(&one, ""), ["x/long", "x/other"]);
    drop((one, other));
    assert_eq!(sim.disk.list(Path::new("/store/.timberlog-tmp")).unwrap(), []);
}

#[test]
fn a_store_that_cannot_be_written_can_be_read() {
    let sim = Sim::new(1);
    LocalStore::new(sim.env(), "/store").put("a", b"content").unwrap();
    sim.disk.set_capacity(Some(0));
    let store = LocalStore::new(sim.env(), "/store");
    let steps = sim.disk.steps();
    assert_eq!(store.get("a").unwrap(), b"content");
    assert_eq!(conformance::keys(&store, ""), ["a"]);
    assert_eq!(sim.disk.steps(), steps, "reading changes nothing");
    assert_eq!(store.put("b", b"content").unwrap_err().kind, timberlog_types::ErrorKind::Unavailable);
}
