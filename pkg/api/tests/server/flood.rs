//! A tenant that sends more than the machine can take, beside one that does not.

use crate::harness::{Running, start};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
/// Many times what it takes.
const TIME_MAX: Duration = Duration::from_secs(60);

fn send(server: &Running, tenant: &str) {
    let headers = [("Content-Type", "application/json"), ("X-Scope-OrgID", tenant)];
    server.send("POST", "/ingest", &headers, json!({"message": "x"}).to_string().as_bytes()).ok();
}

fn stored(server: &Running, tenant: &str) -> u64 {
    let body = json!({"aggregate": {}}).to_string();
    let answer = server.send("POST", "/api/v1/query", &[("X-Scope-OrgID", tenant)], body.as_bytes()).ok();
    answer["data"][0]["count"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

fn beyond_share(server: &Running) -> u64 {
    let metrics = server.get("/metrics").text().to_owned();
    let name = "\ntimberlog_appends_beyond_share_total ";
    let (_, value) = metrics.split_once(name).unwrap_or_else(|| panic!("{metrics}"));
    value.lines().next().unwrap().parse().unwrap()
}

/// Ends the flood, also when an assertion has failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn who_floods_gives_way_to_others_and_loses_nothing() {
    let server = start();
    let (ended, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut of_other = 0;
    std::thread::scope(|scope| {
        let end = End(&ended);
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while !ended.load(Relaxed) {
                    send(&server, "flood");
                    acknowledged.fetch_add(1, Relaxed);
                }
            });
        }
        // Alone it may have all of the machine.
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(beyond_share(&server), 0);
        let began = Instant::now();
        while beyond_share(&server) == 0 && began.elapsed() < TIME_MAX {
            send(&server, "other");
            of_other += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(end);
    });
    assert!(beyond_share(&server) > 0, "{of_other} of the other tenant");
    assert_eq!(stored(&server, "flood"), acknowledged.into_inner());
    assert_eq!(stored(&server, "other"), of_other);
}
