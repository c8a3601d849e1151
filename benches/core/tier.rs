//! Tiering: the stored segments go to an S3 server, and an empty disk answers from there.

use crate::process::{Process, keys};
use crate::queries::{ask, set};
use crate::report::Better;
use crate::{Bench, files};
use std::path::Path;
use std::time::{Duration, Instant};
use timberlog_db::Env;
use timberlog_objects::{Addressing, Credentials, KeyPair, S3Options, S3Store};
use timberlog_storage::objects::ObjectStore;

const BUCKET: &str = "timberlog-bench";
/// Uploads that take longer do not end.
const PATIENCE: Duration = Duration::from_secs(600);

pub fn measure(bench: &mut Bench<'_>) {
    let Ok(endpoint) = std::env::var("TIMBERLOG_S3_TEST") else {
        bench.scale.skip("Tiering", "TIMBERLOG_S3_TEST names no S3 server (`.ci/s3-server COMMAND…` runs one)");
        return;
    };
    make_bucket(&endpoint);
    let stored = bench.stored();
    for round in bench.rounds() {
        let data = bench.empty("tier");
        files::copy(&stored, &data);
        let prefix = format!("{}-{}-{round}", std::process::id(), bench.corpus.records);
        let url = format!("s3://{BUCKET}/{prefix}");
        let s3 = ["--s3-endpoint", &endpoint, "--s3-path-style", "--s3-region", "us-east-1", "--compaction", "off"];
        upload(bench, &data, &[&s3[..], &["--tier-store", &url]].concat());
        let beside = bench.empty("beside");
        read(bench, &beside, &[&s3[..], &["--from", &url, "--read-only"]].concat());
    }
    let _ = std::fs::remove_dir_all(bench.folder.join("tier"));
    let _ = std::fs::remove_dir_all(bench.folder.join("beside"));
}

fn upload(bench: &mut Bench<'_>, data: &Path, flags: &[&str]) {
    let quick = ["--tier-after", "0s", "--tier-interval", "50ms", "--tier-bytes-per-second", "0"];
    let started = Instant::now();
    let server = Process::start(data, &[flags, &quick].concat());
    let engine = loop {
        let engine = server.engine();
        if engine["tier"]["segments_stored"] == engine["segments"] && engine["segment_bytes"] == 0 {
            break engine;
        }
        assert!(started.elapsed() < PATIENCE, "segments do not get to the store: {engine}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let seconds = started.elapsed().as_secs_f64();
    let bytes = engine["tier"]["bytes_uploaded"].as_f64().unwrap_or(0.0);
    let (usage, part) = (server.usage(), "Tiering: to an S3 server");
    let scale = &mut bench.scale;
    scale.cost(part, "time, the start of the server included", "s", seconds);
    scale.add(part, "speed", "MB/s", Better::Higher, bytes / 1e6 / seconds);
    scale.cost(part, "the server", "s CPU", usage.cpu_seconds);
    scale.cost(part, "peak memory", "MB", usage.memory_bytes as f64 / 1e6);
    scale.cost(part, "sent for a record", "B", bytes / bench.corpus.records as f64);
    scale.disk(part, "", &usage, Some(server.fsyncs()));
}

/// A node with an empty disk that follows the store.
fn read(bench: &mut Bench<'_>, data: &Path, flags: &[&str]) {
    let part = "Tiering: queries of a node with an empty disk";
    let started = Instant::now();
    let server = Process::start(data, flags);
    let seconds = started.elapsed().as_secs_f64();
    bench.scale.cost(part, "time until ready", "ms", seconds * 1e3);
    for query in set(&bench.scale.facts) {
        for temperature in ["first", "again"] {
            let (time, found, answer) = ask(&server, &query.body);
            bench.scale.cost(part, &format!("{}, {temperature}", query.name), "ms", time);
            if let Some(expected) = query.expected {
                bench.scale.check(&format!("{}, from the store", query.name), found, expected);
            }
            if temperature == "first" {
                let of = |name: &str| answer["statistics"][name].as_f64().unwrap_or(0.0);
                let (gets, bytes) = (of("object_gets"), of("object_bytes"));
                bench.scale.cost(part, &format!("{}: GETs", query.name), "", gets);
                bench.scale.cost(part, &format!("{}: read from the store", query.name), "MB", bytes / 1e6);
            }
        }
    }
    let (usage, scale) = (server.usage(), &mut bench.scale);
    scale.cost(part, "start and all queries: CPU", "s CPU", usage.cpu_seconds);
    scale.cost(part, "start and all queries: peak memory", "MB", usage.memory_bytes as f64 / 1e6);
    scale.disk(part, "start and all queries: ", &usage, Some(server.fsyncs()));
}

/// The server makes a bucket with the first object in it.
fn make_bucket(endpoint: &str) {
    let [(_, access_key_id), (_, secret_access_key)] = keys();
    let pair = KeyPair { access_key_id, secret_access_key, session_token: None };
    let options = S3Options {
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint.to_owned()),
        addressing: Addressing::Path,
        credentials: Credentials::Fixed(pair),
        ..S3Options::default()
    };
    let store = S3Store::new(BUCKET, "", &options, &Env::real()).expect("a store");
    store.put("made", b"by the first object").expect("a bucket");
}
