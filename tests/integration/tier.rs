//! Old segments in an object store, with real servers: `kill -9` in the middle of uploads, an empty disk that takes
//! the store over, a node that follows it. In a folder, and in a real S3 server where there is one
//! (`TIMBERLOG_S3_TEST`, see `.ci/s3-server`).

use crate::server::{Data, PATIENCE, Server, timberlog};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Where the store is, as flags of `serve` and of `gc`.
struct Place {
    url: String,
    s3: Vec<String>,
}

impl Place {
    fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let quick = ["--tier-after", "0s", "--tier-interval", "50ms", "--flush-interval", "100ms"];
        let mut flags: Vec<&str> = self.s3.iter().map(String::as_str).collect();
        flags.extend(["--tier-store", &self.url]);
        flags.extend(quick);
        flags.extend(more);
        flags
    }

    fn gc(&self, more: &[&str]) -> Value {
        let mut command = timberlog(&["gc", "--store", &self.url, "-o", "json"]);
        let output = command.args(&self.s3).args(more).output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// Records of a little while ago: `--tier-after 0s` means them.
fn send(server: &Server, first: u64, count: u64) -> bool {
    let lines: String = (first..first + count)
        .map(|id| {
            let noise = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let message = format!("record {id} of the tier, {noise:016x}");
            json!({"message": message, "service": format!("s{}", id % 3), "id": id}).to_string() + "\n"
        })
        .collect();
    server.client().ingest(lines.as_bytes(), None).is_ok_and(|answer| answer.accepted == count)
}

/// How often each record is there.
fn ids(server: &Server) -> BTreeMap<u64, u64> {
    let mut ids = BTreeMap::new();
    let mut take = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let message = record["message"].as_str().unwrap_or_default();
        if let Some(id) = message.split(' ').nth(1).and_then(|id| id.parse().ok()) {
            *ids.entry(id).or_insert(0) += 1;
        }
        Ok(())
    };
    server.client().lines("/api/v1/export", &json!({}), &mut take).expect("an export");
    ids
}

fn engine(server: &Server) -> Value {
    server.client().get("/stats").expect("statistics")["engine"].clone()
}

/// Waits until all that was sent is in the store, and nowhere else.
fn wait_until_stored(server: &Server) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let engine = engine(server);
        let is_stored = engine["buffer_records"] == 0 && engine["tier"]["segments_stored"] == engine["segments"];
        if is_stored && engine["segment_bytes"] == 0 {
            return engine;
        }
        assert!(Instant::now() < deadline, "{engine}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn once(range: std::ops::Range<u64>) -> BTreeMap<u64, u64> {
    range.map(|id| (id, 1)).collect()
}

fn check(place: &Place) {
    let data = Data::new();
    let flags = place.flags(&[]);
    // Kills at any moment of uploads and commits.
    let mut sent = 0;
    for round in 0..4_u64 {
        let server = Server::start(&data, &flags);
        for _ in 0..3 {
            assert!(send(&server, sent, 200));
            sent += 200;
            std::thread::sleep(Duration::from_millis(60 + 47 * round));
        }
        server.kill();
    }
    let server = Server::start(&data, &flags);
    let stats = wait_until_stored(&server);
    assert_eq!(ids(&server), once(0..sent), "after the kills");
    assert_eq!(stats["tier"]["phase"], "writing", "{stats}");
    // Every start claims the bucket anew.
    assert!(stats["tier"]["epoch"].as_u64() >= Some(2), "{stats}");

    // A node beside it shows what is in the store, and follows.
    let beside = Data::new();
    let from = ["--from", place.url.as_str()];
    let reader_flags = [&place.flags(&[])[..], &from, &["--read-only"]].concat();
    let reader = Server::start(&beside, &reader_flags);
    assert_eq!(ids(&reader), once(0..sent), "of the reader");
    // A status that clients do not try again, and the reason.
    for refused in [
        reader.client().ingest(br#"{"message":"no"}"#, None).map(drop),
        reader
            .client()
            .loki("/loki/api/v1/delete", &[("query", r#"{service="s1"}"#), ("start", "1000000000")])
            .map(drop),
    ] {
        let said = refused.expect_err("a reader takes nothing").message;
        assert!(said.contains("the server answered 400") && said.contains("--read-only"), "{said}");
    }
    assert!(send(&server, sent, 100));
    sent += 100;
    wait_until_stored(&server);
    let deadline = Instant::now() + PATIENCE;
    while ids(&reader) != once(0..sent) {
        assert!(Instant::now() < deadline, "the reader does not follow");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(reader);

    // Nothing that is named goes.
    assert_eq!(place.gc(&[])["deleted"], false);
    assert_eq!(place.gc(&["--yes", "--gc-grace", "1h"])["deleted"], true);
    assert_eq!(ids(&server), once(0..sent), "after gc");

    // An empty disk takes the store over; whoever had it says so and goes on without.
    let other = Data::new();
    let started = Instant::now();
    let taken = Server::start(&other, &[&flags[..], &from].concat());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(ids(&taken), once(0..sent), "of the new node");
    let deadline = Instant::now() + PATIENCE;
    while engine(&server)["tier"]["phase"] != "stale" {
        send(&server, 1_000_000, 1);
        assert!(Instant::now() < deadline, "{}", engine(&server));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(send(&taken, sent, 100));
    sent += 100;
    wait_until_stored(&taken);
    taken.kill();
    let taken = Server::start(&other, &[&flags[..], &from].concat());
    assert_eq!(ids(&taken), once(0..sent), "of the new node after a kill");
    drop(taken);
    server.kill();
    let said = Server::try_start(&data, &flags).err().expect("refused");
    assert!(said.contains("belongs to another writer"), "{said}");
}

#[test]
fn a_tier_in_a_folder_survives_kills_and_moves_to_another_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", folder.path().join("store").display());
    check(&Place { url, s3: Vec::new() });
}

#[test]
fn a_tier_in_a_real_s3_server_survives_kills_and_moves_to_another_machine() {
    let Ok(endpoint) = std::env::var("TIMBERLOG_S3_TEST") else { return };
    make_bucket(&endpoint);
    let prefix = format!(
        "tier-{}-{}",
        std::process::id(),
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos())
    );
    let url = format!("s3://timberlog-tests/{prefix}");
    let s3 = ["--s3-endpoint", &endpoint, "--s3-path-style", "--s3-region", "us-east-1"];
    check(&Place { s3: s3.map(str::to_owned).to_vec(), url });
}

/// The server makes a bucket with the first object in it.
pub fn make_bucket(endpoint: &str) {
    use timberlog_objects::{Addressing, Credentials, KeyPair, S3Options, S3Store};
    use timberlog_storage::objects::ObjectStore;
    let pair = KeyPair {
        access_key_id: "timberlog-test-key".into(),
        secret_access_key: "timberlog-test-secret".into(),
        session_token: None,
    };
    let options = S3Options {
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint.to_owned()),
        addressing: Addressing::Path,
        credentials: Credentials::Fixed(pair),
        ..S3Options::default()
    };
    let store = S3Store::new("timberlog-tests", "", &options, &timberlog_db::Env::real()).expect("a store");
    store.put("made", b"by the first object").expect("a bucket");
}
