//! Limits that the system sets for a process: how long a file may be, how many may be open, how much memory there is.
//! Each ends in explicit errors, loses nothing, and is over when the limit is.

use super::{Ledger, body, engine, limit, poll, skip, verify};
use crate::server::{Data, PATIENCE, Server};
use serde_json::json;
use std::net::TcpStream;
use timberlog_client::Client;
use timberlog_types::{ErrorKind, Tenant};

/// Small files; no merges, so that there are many.
const FLAGS: [&str; 12] = [
    "--wal-file-bytes",
    "64KiB",
    "--flush-bytes",
    "256KiB",
    "--buffer-bytes-max",
    "1MiB",
    "--waiting-bytes-max",
    "1MiB",
    "--manifest-history",
    "1",
    "--compaction",
    "off",
];

/// KiB that a load of small batches and queries may take more than an idle server has.
const MORE_KB_MAX: u64 = 96 << 10;

/// Sends until it is refused, other than for a moment.
fn load_until_refused(server: &Server, ledger: &Ledger) -> String {
    let error = poll("it is refused", || {
        let error = (0..20).find_map(|_| ledger.send(server).err())?;
        (!matches!(error.kind, ErrorKind::Overloaded { .. })).then_some(error)
    });
    assert!(error.message.contains("the server answered 503"), "{error}; it said: {}", server.said());
    error.message
}

fn check_file_size(bytes: &str) {
    let data = Data::new();
    let ledger = Ledger::default();
    let server = Server::start(&data, &FLAGS);
    for _ in 0..20 {
        ledger.send(&server).expect("stored");
    }
    if let Err(why) = limit(&server, "fsize", bytes) {
        return skip(&why);
    }
    let said = load_until_refused(&server, &ledger);
    assert!(said.contains("File too large"), "{said}");
    ledger.check(&server);
    limit(&server, "fsize", "unlimited").expect("a soft limit goes up");
    poll("it takes records again", || ledger.send(&server).ok());
    ledger.check(&server);
    server.kill();
    let server = Server::start(&data, &FLAGS);
    ledger.check(&server);
    assert!(server.stop().success());
    verify(&data.path());
}

/// Without room for another WAL file. SIGXFSZ, which a write beyond the limit sends, ends a process that does not
/// expect it.
#[test]
fn files_that_may_not_grow_are_an_error_of_the_append() {
    check_file_size("16384");
}

/// The WAL goes on until the buffer is full: segments are too long.
#[test]
fn files_that_are_too_short_for_a_segment_are_an_error_of_the_flush() {
    check_file_size("73728");
}

fn open_files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}

#[test]
fn too_few_open_files_are_an_error_and_no_damage() {
    let data = Data::new();
    let ledger = Ledger::default();
    let server = Server::start(&data, &FLAGS);
    poll("there are many segments", || {
        for _ in 0..5 {
            // A full buffer is a matter of a moment.
            let _ = ledger.send(&server);
        }
        (engine(&server)["segments"].as_u64() >= Some(16)).then_some(())
    });
    assert!(server.stop().success());

    // No segment is open yet.
    let server = Server::start(&data, &FLAGS);
    let known = Client::new(&server.http, Tenant::default(), PATIENCE).expect("an address");
    known.get("/ready").expect("a connection that stays");
    let files = open_files(&server);
    if files == 0 {
        return skip("there is no `/proc`");
    }
    if let Err(why) = limit(&server, "nofile", &(files + 12).to_string()) {
        return skip(&why);
    }
    // More connections than it can take; they wait in the kernel.
    let address = server.http.trim_start_matches("http://");
    let idle: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).expect("a place in the line")).collect();
    poll("all handles are used", || (open_files(&server) >= files + 12).then_some(()));
    let mut told = 0;
    for _ in 0..20 {
        let batch = ledger.take();
        let answer = known.ingest(&body(batch), None);
        ledger.note(batch, &answer);
        // What is counted is right, or there is an error, or the answer says what is missing.
        // Segments are to be opened for it.
        let look = json!({"filter": {"field": "message", "contains": "of the load"}, "aggregate": {}});
        let answer = known.post("/api/v1/query", &look);
        match answer {
            Ok(answer) => {
                let count = answer["data"][0]["count"].as_u64().unwrap_or_default();
                let least = ledger.acknowledged() * super::BATCH;
                let is_told = answer["missing"].as_array().is_some_and(|missing| !missing.is_empty());
                assert!(count >= least || is_told, "{count} of {least}: {answer}");
                told += u64::from(is_told);
            }
            Err(error) => {
                assert!(error.message.contains("the server answered 503"), "{error}");
                told += 1;
            }
        }
    }
    assert!(told > 0, "the limit was none");
    drop(idle);
    limit(&server, "nofile", "4096").expect("a soft limit goes up");
    poll("it takes records again", || ledger.send(&server).ok());
    ledger.check(&server);
    let stats = engine(&server);
    assert_eq!(stats["damage"].as_array().map_or(0, Vec::len), 0, "{stats}");
    assert!(server.stop().success());
    verify(&data.path());
}

/// It lives within a limit of the system, and its memory under load is what its settings say: the limit alone would not
/// tell, for it is one on the address space, of which the allocator takes a lot at once.
#[test]
fn its_memory_stays_within_its_settings() {
    let data = Data::new();
    let ledger = Ledger::default();
    let flags = ["--cache-bytes", "8MiB", "--query-memory-max", "1MiB", "--answers-bytes-max", "32MiB"];
    let server = Server::start(&data, &[&flags[..], &FLAGS].concat());
    ledger.send(&server).expect("stored");
    let kb = |what: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix(what)?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
    };
    let peak = || kb("VmHWM:");
    let (Some(before), Some(space)) = (peak(), kb("VmSize:")) else { return skip("there is no `/proc`") };
    // The system refuses what is beyond: less than a buffer without bounds would take in the end.
    if let Err(why) = limit(&server, "as", &(space * 1024 + (512 << 20)).to_string()) {
        return skip(&why);
    }
    let ask = |limit: u64| server.client().post("/api/v1/query", &json!({"limit": limit}));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..30 {
                    let _ = ledger.send(&server);
                }
            });
            scope.spawn(|| {
                for _ in 0..30 {
                    ask(500).unwrap_or_else(|error| panic!("{error}; it said: {}", server.said()));
                }
            });
        }
    });
    poll("it has taken most", || {
        let _ = ledger.send(&server);
        (ledger.acknowledged() >= 100).then_some(())
    });
    let error = ask(5_000).expect_err("more than a query may hold");
    assert!(error.message.contains("limit on memory"), "{error}");
    let more = peak().unwrap_or_default().saturating_sub(before);
    assert!(more < MORE_KB_MAX, "{more} KiB more than at the start");
    assert!(server.stop().success());
    // What reads all of it needs more.
    ledger.check(&Server::start(&data, &FLAGS));
}
