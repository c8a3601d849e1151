//! The stores as their callers see them: one conformance suite for all of them, and S3 through a
//! proxy that injects faults.
//!
//! S3 is `s3s` in this process; with `TIMBERLOG_S3_TEST=http://host:port` (see `.ci/s3-server`) the
//! suite runs against that server too.

mod backups;
mod conformance;
mod faults;
mod folder;
mod in_process;
mod proxy;
mod server;
mod tier;

use timberlog_disk::Env;
use timberlog_objects::{S3Options, S3Store};

/// What the suite may expect of a store.
#[derive(Clone, Copy, PartialEq)]
enum Quirks {
    None,
    /// `s3s-fs` lets two racing conditional puts win now and then, and fails when it is asked for a
    /// folder or something below a file.
    OfTestServer,
}

#[test]
fn an_s3_server_in_this_process_conforms() {
    let server = server::Server::start();
    let store =
        S3Store::new(server::BUCKET, "some/prefix", &server::options(&server.endpoint()), &Env::real()).unwrap();
    assert!(store.probe().unwrap());
    conformance::check(&store, Quirks::OfTestServer);
    conformance::check_listing(&store);
}

#[test]
fn a_real_s3_server_conforms_where_there_is_one() {
    let Ok(endpoint) = std::env::var("TIMBERLOG_S3_TEST") else { return };
    let env = Env::real();
    let prefix = format!("run-{:016x}", env.random.next_u64());
    server::make_bucket(&endpoint);
    for prefix in ["", prefix.as_str()] {
        let store = S3Store::new(server::BUCKET, prefix, &server::options(&endpoint), &env).unwrap();
        assert!(store.probe().unwrap());
        conformance::check(&store, Quirks::None);
        conformance::check_listing(&store);
    }
    let wrong = |options: S3Options| S3Store::new(server::BUCKET, "", &options, &env).unwrap().probe().unwrap_err();
    let error = wrong(server::options_with_secret(&endpoint, "not-this-one"));
    assert_eq!(error.kind, timberlog_types::ErrorKind::Invalid, "{error}");
}
