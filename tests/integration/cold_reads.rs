//! Reading what is in an object store alone, with real servers: the same answers through the server and by
//! `timberlog query --local`, and what an outage of the store costs. In a real S3 server where there is one
//! (`TIMBERLOG_S3_TEST`, see `.ci/s3-server`), through a proxy that fails as it is told; else in a folder, which has no
//! signed URLs and no outages.

use crate::server::{Data, PATIENCE, Server, timberlog};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// What the proxy does with a connection's bytes.
const PASS: u8 = 0;
/// Connections end at once.
const REFUSE: u8 = 1;
/// Requests arrive nowhere.
const STALL: u8 = 2;

/// A way to the store that fails as it is told.
struct Proxy {
    address: String,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    fn start(endpoint: &str) -> Self {
        let to = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let mode = Arc::new(AtomicU8::new(PASS));
        let shared = Arc::clone(&mode);
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let (mode, to) = (Arc::clone(&shared), to.clone());
                std::thread::spawn(move || {
                    let Ok(upstream) = TcpStream::connect(&to) else { return };
                    let back = (upstream.try_clone(), from.try_clone(), Arc::clone(&mode));
                    if let (Ok(upstream), Ok(from), mode) = back {
                        std::thread::spawn(move || pump(upstream, from, &mode));
                    }
                    pump(from, upstream, &mode);
                });
            }
        });
        Self { address, mode }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, SeqCst);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8) {
    let mut bytes = [0; 16 << 10];
    loop {
        if mode.load(SeqCst) == REFUSE {
            break;
        }
        match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(read) => match mode.load(SeqCst) {
                REFUSE => break,
                STALL => {}
                _ if to.write_all(&bytes[..read]).is_err() => break,
                _ => {}
            },
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn flags<'a>(url: &'a str, endpoint: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut flags = vec!["--s3-endpoint", endpoint, "--s3-path-style", "--s3-region", "us-east-1", "--tier-store", url];
    flags.extend(["--tier-after", "0s", "--tier-interval", "50ms", "--flush-interval", "100ms", "--index", "trace"]);
    flags.extend(more);
    flags
}

fn send(server: &Server, first: u64, count: u64) {
    let lines: String = (first..first + count)
        .map(|id| {
            let noise = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let level = ["info", "error", "debug"][(id % 3) as usize];
            json!({
                "message": format!("record {id} took {} ms, {noise:016x}", id % 977),
                "service": format!("s{}", id % 3),
                "level": level,
                "trace": format!("{:016x}", noise ^ 0xabcd),
                "id": id,
                "share": 0.5,
            })
            .to_string()
                + "\n"
        })
        .collect();
    assert_eq!(server.client().ingest(lines.as_bytes(), None).expect("an answer").accepted, count);
}

fn wait_until_stored(server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let engine = server.client().get("/stats").expect("statistics")["engine"].clone();
        let is_stored = engine["buffer_records"] == 0 && engine["tier"]["segments_stored"] == engine["segments"];
        if is_stored && engine["segment_bytes"] == 0 {
            let loge = server.client().get("/api/v1/stats").expect("statistics");
            let places = ["segments_total", "segments_local", "segments_remote"].map(|key| &loge[key]);
            assert_eq!(places, [&engine["segments"], &Value::from(0), &engine["segments"]]);
            return;
        }
        assert!(Instant::now() < deadline, "{engine}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn query(server: &Server, body: &Value) -> Value {
    server.client().post("/api/v1/query", body).expect("an answer")
}

/// What the command line prints.
fn printed(server: &Server, arguments: &[&str]) -> String {
    let output =
        timberlog(&["query", "--addr", &server.http, "-o", "jsonl"]).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("missing"), "{said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Deletes some records. The files keep them, so whoever reads these has to leave them out.
fn delete_some(server: &Server) {
    let body = json!({"query": r#"{service="s1"} |= "took 7" | level="error""#});
    let count = |body: &Value| server.client().post("/api/v1/delete", body).expect("an answer")["data"].clone();
    let dry = count(&json!({"query": body["query"], "dry_run": true}));
    assert!(dry["records"].as_u64() > Some(0), "{dry}");
    count(&body);
}

/// By the server and by the client: byte for byte the same.
fn compare(server: &Server, first: u64) {
    let trace = format!("trace={:016x}", first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xabcd);
    let questions: [&[&str]; 6] = [
        &["-n", "0"],
        &["-n", "0", "--oldest-first"],
        &["-n", "1500", "level=error", "service=s1"],
        &["-n", "7", "id>300"],
        &["-n", "0", &trace],
        &["-n", "50", "--oldest-first", "took 7"],
    ];
    for question in questions {
        let by_server = printed(server, question);
        let by_client = printed(server, &[&["--local"], question].concat());
        assert!(!by_server.is_empty(), "{question:?}");
        assert!(by_server == by_client, "{question:?}: {} and {} bytes", by_server.len(), by_client.len());
    }
}

#[test]
fn a_client_reads_a_tier_in_a_folder_through_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", folder.path().join("store").display());
    let data = Data::new();
    let server = Server::start(&data, &flags(&url, "http://127.0.0.1:9", &["--delete-cancel-period", "1h"]));
    send(&server, 0, 900);
    wait_until_stored(&server);
    send(&server, 900, 300);
    let plan = server.client().post("/api/v1/search/plan", &json!({})).expect("a plan");
    assert_eq!(plan["segments"], json!([]), "a folder has no signed URLs");
    compare(&server, 17);
    delete_some(&server);
    compare(&server, 17);
    let tier = server.client().get("/stats").expect("statistics")["engine"]["tier"].clone();
    for cache in ["cache_index_bytes", "cache_data_bytes", "cache_memory_bytes"] {
        assert!(tier[cache].as_u64() > Some(0), "{cache}: {tier}");
    }
}

#[test]
fn a_client_reads_a_tier_in_s3_itself_and_an_outage_costs_what_is_there() {
    let Ok(endpoint) = std::env::var("TIMBERLOG_S3_TEST") else { return };
    crate::tier::make_bucket(&endpoint);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let url = format!("s3://timberlog-tests/cold-{}-{since}", std::process::id());
    let (data, proxy) = (Data::new(), Proxy::start(&endpoint));
    let server =
        Server::start(&data, &flags(&url, &proxy.address, &["--query-timeout", "6s", "--delete-cancel-period", "1h"]));
    for round in 0..4 {
        send(&server, round * 500, 500);
        std::thread::sleep(Duration::from_millis(250));
    }
    wait_until_stored(&server);

    // Nothing was read so far: all of it is in the store alone, which is gone.
    proxy.set(REFUSE);
    send(&server, 2_000, 100);
    let started = Instant::now();
    let answer = query(&server, &json!({"limit": 10_000}));
    let took = started.elapsed();
    let missing = answer["missing"].as_array().expect("a list");
    assert!(
        !missing.is_empty() && missing.iter().all(|what| what.as_str().unwrap().starts_with("partition ")),
        "{missing:?}"
    );
    let found = answer["data"].as_array().expect("records").len();
    assert!((100..2_100).contains(&found), "{found}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    send(&server, 2_100, 100);

    // It hangs: a third of the time, then the rest is the answer.
    proxy.set(STALL);
    let started = Instant::now();
    let answer = query(&server, &json!({"limit": 10_000}));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(!answer["missing"].as_array().expect("a list").is_empty());

    // It is back.
    proxy.set(PASS);
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        let answer = query(&server, &json!({"limit": 10_000}));
        if answer["missing"] == json!([]) {
            break answer;
        }
        assert!(Instant::now() < deadline, "{}", answer["missing"]);
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(answer["data"].as_array().expect("records").len(), 2_200);
    assert!(answer["statistics"]["object_gets"].as_u64() > Some(0), "{}", answer["statistics"]);
    wait_until_stored(&server);
    send(&server, 2_200, 150);
    let plan = server.client().post("/api/v1/search/plan", &json!({})).expect("a plan");
    assert!(!plan["segments"].as_array().expect("a list").is_empty());
    compare(&server, 17);
    delete_some(&server);
    compare(&server, 17);
}
