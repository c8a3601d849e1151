//! The walks of what uses an object store, with one that fails: S3 behind a proxy that makes a share of the requests go
//! wrong (500, 503, resets before, behind and within answers, bodies that end half way or are damaged, slow answers)
//! while the process is killed and when it is started again. Each request is a step, too. Only the last look at the
//! store is undisturbed.

use super::walk::{Kill, beside, walk_some};
use super::{
    PLAIN, QUICK, QUIET, Segments, filled, is_kept, is_tiered, once, serve, try_ids, verify, wait, wait_for_files,
};
use crate::cli::{code, err, json_of, run, text};
use crate::s3::S3;
use crate::server::{Data, PATIENCE, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// How many steps of a command are walked without `TIMBERLOG_KILL_STEPS=all`: each takes seconds.
const SAMPLES: u64 = 4;
/// Of a hundred requests so many go wrong. A request is tried five times.
const STORM_PERCENT: u64 = 20;

fn calm(place: &Data) -> S3 {
    S3::start_in(&beside(place, "s3"))
}

/// A store that fails; not twice in the same way.
fn stormy(place: &Data, kill: Option<&Kill>) -> S3 {
    let s3 = calm(place);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    s3.storm(STORM_PERCENT, since.map_or(1, |since| u64::from(since.subsec_nanos())));
    if let Some(kill) = kill {
        kill.count_requests(s3.port());
    }
    s3
}

fn tier_url() -> String {
    S3::url("node")
}

fn backup_url() -> String {
    S3::url("backups")
}

/// Flags of a server that moves all segments to the store at once.
fn with_tier<'a>(s3: &'a S3, url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let tier = ["--tier-store", url, "--tier-after", "0s", "--tier-interval", "50ms"];
    [&PLAIN[..], &QUICK, &tier, &s3.flags(), more].concat()
}

/// What is there, once the store has let it be read. What an export gives without an error is all there is.
fn check_ids(server: &Server, expected: &BTreeMap<u64, u64>, when: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_ids(server) {
            Ok(found) => return assert_eq!(&found, expected, "{when}"),
            Err(error) => assert!(Instant::now() < deadline, "{when}: {error}; it said: {}", server.said()),
        }
    }
}

fn finished(arguments: &[&str]) -> Value {
    let output = run(arguments, b"");
    assert_eq!(code(&output), 0, "{arguments:?}: {}", err(&output));
    json_of(&output)
}

/// Nothing of the store is left that no root names, and what is named is there.
fn check_store(place: &Data, s3: &S3, expected: &BTreeMap<u64, u64>) {
    let url = tier_url();
    let gc = |more: &[&str]| {
        finished(&[&["gc", "--store", &url, "--gc-grace", "0s", "-o", "json"], &s3.flags()[..], more].concat())
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert_eq!(gc(&["--yes"])["deleted"], true);
        let left = gc(&[]);
        if left["objects"] == json!([]) {
            break;
        }
        // S3 tells times in seconds: what was dropped in this one may still be in use.
        assert!(Instant::now() < deadline, "{left}");
    }
    let server = Server::start(place, &with_tier(s3, &url, &QUIET));
    check_ids(&server, expected, "after gc");
    server.kill();
    verify(place);
    // Whoever has no copies of what was read before sees whether all is there.
    let server = Server::start(&Data::new(), &with_tier(s3, &url, &["--from", &url, "--read-only"]));
    check_ids(&server, expected, "of the store alone");
}

#[test]
fn a_pass_of_the_tier() {
    let url = tier_url();
    let work = |place: &Data, kill: &Kill| {
        let s3 = stormy(place, Some(kill));
        serve(place, &with_tier(&s3, &url, &QUIET), kill, |_| (), is_tiered);
    };
    walk_some(SAMPLES, "tier, with faults", &filled(), work, |place, ()| {
        verify(place);
        let s3 = stormy(place, None);
        let server = Server::start(place, &with_tier(&s3, &url, &QUIET));
        check_ids(&server, &once(|_| true), "after the kill");
        wait(&server, "tiered", is_tiered);
        wait_for_files(place, &server, Segments::Cold);
        check_ids(&server, &once(|_| true), "when all is stored");
        server.kill();
        s3.heal();
        verify(place);
        check_store(place, &s3, &once(|_| true));
    });
}

/// A database that is in a store alone.
fn stored() -> Data {
    let (base, url) = (filled(), tier_url());
    let s3 = calm(&base);
    let server = Server::start(&base, &with_tier(&s3, &url, &QUIET));
    wait(&server, "tiered", is_tiered);
    server.kill();
    base
}

#[test]
fn a_start_from_the_store_alone() {
    let (base, url) = (stored(), tier_url());
    std::fs::remove_dir_all(base.path()).expect("removed");
    let more = [&QUIET[..], &["--from", &url]].concat();
    let work = |place: &Data, kill: &Kill| {
        let s3 = stormy(place, Some(kill));
        for _ in 0..10 {
            // A store that fails at the wrong moment is a start that fails.
            match Server::try_start_in(place, &with_tier(&s3, &url, &more), &kill.environment()) {
                Ok(server) => {
                    return check_unless_killed(&server, kill);
                }
                Err(said) => assert!(kill.has_killed() || said.contains("s3://"), "{said}"),
            }
            if kill.has_killed() {
                return;
            }
        }
        panic!("it never starts");
    };
    walk_some(SAMPLES, "--from, with faults", &base, work, |place, ()| {
        let s3 = stormy(place, None);
        let started = (0..10).find_map(|_| Server::try_start(place, &with_tier(&s3, &url, &more)).ok());
        let server = started.expect("it starts one time of ten");
        check_ids(&server, &once(|_| true), "after the kill");
        wait(&server, "in step", is_tiered);
        server.kill();
        s3.heal();
        verify(place);
        check_store(place, &s3, &once(|_| true));
    });
}

/// Reads all until it is there or the process is not.
fn check_unless_killed(server: &Server, kill: &Kill) {
    let deadline = Instant::now() + PATIENCE;
    while !kill.has_killed() {
        match try_ids(server) {
            Ok(found) => return assert_eq!(found, once(|_| true)),
            Err(error) => assert!(Instant::now() < deadline || kill.has_killed(), "{error}"),
        }
    }
}

#[test]
fn a_collection_of_garbage() {
    let (base, url) = (stored(), tier_url());
    {
        let s3 = calm(&base);
        // What a purge replaces is garbage.
        let server = Server::start(&base, &with_tier(&s3, &url, &[]));
        assert!(super::delete(&server));
        let kept = once(is_kept).len();
        wait(&server, "purged", |engine| engine["segment_records"] == kept && is_tiered(engine));
        server.kill();
    }
    let work = |place: &Data, kill: &Kill| {
        let s3 = stormy(place, Some(kill));
        let gc = ["gc", "--store", &url, "--gc-grace", "0s", "--yes"];
        kill.run_again(&[&gc[..], &s3.flags()].concat());
    };
    walk_some(SAMPLES, "gc, with faults", &base, work, |place, ()| {
        let s3 = stormy(place, None);
        let server = Server::start(place, &with_tier(&s3, &url, &QUIET));
        check_ids(&server, &once(is_kept), "after the kill");
        server.kill();
        s3.heal();
        check_store(place, &s3, &once(is_kept));
    });
}

/// Runs a command of `backup`, until it ended well or the deadline has come.
fn backup(s3: &S3, arguments: &[&str]) -> Value {
    let url = backup_url();
    let all = [&["backup"], arguments, &["--store", &url, "-o", "json"], &s3.flags()].concat();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = run(&all, b"");
        if code(&output) == 0 {
            return json_of(&output);
        }
        assert!(err(&output).contains("s3://") && Instant::now() < deadline, "{all:?}: {}", err(&output));
    }
}

fn restored(s3: &S3, to: &Data) {
    backup(s3, &["restore", "--data-dir", text(&to.path())]);
    verify(to);
    let server = Server::start(to, &[&PLAIN[..], &QUIET].concat());
    check_ids(&server, &once(|_| true), "restored");
}

#[test]
fn a_backup() {
    let url = backup_url();
    let work = |place: &Data, kill: &Kill| {
        let (s3, dir) = (stormy(place, Some(kill)), place.path());
        let create = ["backup", "create", "--store", &url, "--data-dir", text(&dir)];
        kill.run_again(&[&create[..], &s3.flags()].concat());
    };
    walk_some(SAMPLES, "backup, with faults", &filled(), work, |place, ()| {
        verify(place);
        let (s3, dir) = (stormy(place, None), place.path());
        backup(&s3, &["create", "--data-dir", text(&dir)]);
        s3.heal();
        assert_eq!(backup(&s3, &["verify"])["damage"], json!([]));
        restored(&s3, &Data::new());
        let server = Server::start(place, &[&PLAIN[..], &QUIET].concat());
        check_ids(&server, &once(|_| true), "what was backed up");
    });
}

#[test]
fn a_restore() {
    let (base, url) = (filled(), backup_url());
    backup(&calm(&base), &["create", "--data-dir", text(&base.path())]);
    std::fs::remove_dir_all(base.path()).expect("removed");
    let work = |place: &Data, kill: &Kill| {
        let (s3, dir) = (stormy(place, Some(kill)), place.path());
        let restore = ["backup", "restore", "--store", &url, "--data-dir", text(&dir)];
        kill.run_again(&[&restore[..], &s3.flags()].concat())
    };
    walk_some(SAMPLES, "restore, with faults", &base, work, |place, is_over| {
        // Half of it is no database.
        let (s3, dir) = (stormy(place, None), place.path());
        let is_database = code(&run(&["verify", "--data-dir", text(&dir)], b"")) == 0;
        assert!(is_database || !is_over, "restored, and no database");
        if is_database {
            let server = Server::start(place, &[&PLAIN[..], &QUIET].concat());
            check_ids(&server, &once(|_| true), "what is a database is the whole one");
        } else {
            restored(&s3, place);
        }
        s3.heal();
        assert_eq!(backup(&s3, &["verify"])["damage"], json!([]));
    });
}
