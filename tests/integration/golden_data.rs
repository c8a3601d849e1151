//! Data directories that released formats were written in open for ever: each was left behind by a server that was
//! killed, with segments, the end of a WAL, and, in version 2, a delete.
//!
//! A directory of a new version is made by a server of that time and never changed: `expected/<tenant>.jsonl` is what its
//! `timberlog query --data-dir … --tenant … --oldest-first --limit 0 --output jsonl` printed.

use crate::server::{Data, PATIENCE, Server, copy, timberlog};
use std::path::{Path, PathBuf};
use timberlog_client::Client;
use timberlog_types::Tenant;

const TENANTS: [&str; 2] = ["acme", "default"];

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn records(data: &Data, tenant: &str) -> String {
    let folder = data.path();
    let folder = folder.to_str().expect("UTF-8");
    let flags = ["--oldest-first", "--limit", "0", "--output", "jsonl"];
    let arguments = [&["query", "--data-dir", folder, "--tenant", tenant], &flags[..]].concat();
    let output = timberlog(&arguments).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn check(version: &str) {
    let data = Data::new();
    copy(&golden(version).join("data"), &data.path());
    let all_is_there = |when: &str| {
        for tenant in TENANTS {
            let expected = golden(version).join("expected").join(format!("{tenant}.jsonl"));
            let expected = std::fs::read_to_string(expected).expect("what it held");
            assert!(records(&data, tenant) == expected, "{version}, {tenant}, {when}: other records than were stored");
        }
    };
    all_is_there("as it was left");
    // A batch that was stored then is a duplicate now.
    let server = Server::start(&data, &["--index", "trace_id"]);
    let acme = Client::new(&server.http, Tenant::new("acme").expect("a name"), PATIENCE).expect("an address");
    let again = acme.ingest(b"{\"message\":\"twice\"}", Some(("p1", 3)));
    assert_eq!(again.expect("known").accepted, 40);
    assert!(server.stop().success());
    all_is_there("after a start, a flush and a stop");
    let folder = data.path();
    let verified = timberlog(&["verify", "--data-dir", folder.to_str().expect("UTF-8")]).output().expect("it runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_directory_of_version_1_opens() {
    check("data-v1");
}

#[test]
fn a_directory_of_version_2_opens() {
    check("data-v2");
}
