//! The subcommands, as people and scripts call them: output, exit codes, and what is on disk
//! afterwards.

use crate::server::{Data, PATIENCE, Server, lasting_port, timberlog};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::mpsc;

/// Runs to the end with an input.
pub fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = timberlog(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that reads no input may be gone already.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("the binary ends")
}

pub fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// JSON lines, of which the second, fourth and sixth are no records.
const MIXED: &str = "{\"message\":\"one\",\"service\":\"web\",\"level\":\"error\",\"n\":1}\n\
    {\"message\":\n\n[1]\n{\"message\":\"five\",\"service\":\"db\"}\n{\"message\":\"six\",\"time\":\"never\"}\n";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }
}

fn count(data: &Data, condition: &str) -> u64 {
    let path = data.path();
    let output = run(&["query", "--data-dir", text(&path), "--count", "-o", "json", condition], b"");
    assert_eq!(code(&output), 0, "{}", err(&output));
    json_of(&output)[0]["count"].as_u64().unwrap_or(0)
}

/// A directory with `records` incompressible records of one segment.
fn filled(records: u64) -> Data {
    let (data, files) = (Data::new(), Files::new());
    let lines: String = (0..records)
        .map(|id| {
            let (service, digits) = (id % 5, id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            format!("{{\"message\":\"record {digits:016x} found\",\"service\":\"s{service}\",\"level\":\"info\",\"id\":{id}}}\n")
        })
        .collect();
    let path = files.write("in.jsonl", lines.as_bytes());
    let output = run(&["ingest", "--data-dir", text(&data.path()), "--index", "id", text(&path)], b"");
    assert_eq!(code(&output), 0, "{}", err(&output));
    data
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn ingest_sends_its_stream_labels_to_a_server() {
    let (data, files) = (Data::new(), Files::new());
    let path = files.write("in.jsonl", br#"{"message":"a","service":"web","zone":"z1","host":"h1"}"#);
    let server = Server::start(&data, &[]);
    let zones = || server.client().get("/api/v1/labels").expect("labels")["CustomLabels"]["zone"].clone();
    let output = run(&["ingest", "--addr", &server.http, text(&path)], b"");
    assert_eq!((code(&output), zones()), (0, Value::Null), "{}", err(&output));
    let output = run(&["ingest", "--addr", &server.http, "--stream-labels", "service,zone", text(&path)], b"");
    assert_eq!((code(&output), zones()), (0, json!(["z1"])), "{}", err(&output));
}

#[test]
fn ingest_names_refused_lines_and_stores_the_others() {
    let (data, files) = (Data::new(), Files::new());
    let path = files.write("mixed.jsonl", MIXED.as_bytes());
    let server = Server::start(&data, &[]);
    for batch in ["1", "2", "1000"] {
        let output = run(&["ingest", "--addr", &server.http, "--batch", batch, text(&path)], b"");
        assert_eq!(code(&output), 2, "{}", err(&output));
        let said = err(&output);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        for (line, number) in lines.iter().zip([2, 4, 6]) {
            assert!(line.contains(&format!("mixed.jsonl:{number}: refused: ")), "batch {batch}: {said}");
        }
        assert!(out(&output).starts_with("stored 2 records, refused 3 in "), "{}", out(&output));
    }
    let output = run(&["ingest", "--addr", &server.http, "--allow-refused", "-o", "json", text(&path)], b"");
    assert_eq!(code(&output), 0);
    let summary = json_of(&output);
    assert_eq!((&summary["stored"], &summary["refused"]), (&json!(2), &json!(3)), "{summary}");
    assert_eq!(summary["refused_records"][2]["line"], 6);
    assert_eq!(server.count(&json!({"field": "message", "eq": "one"})), 4);
    assert_eq!(server.count(&json!({"field": "message", "eq": "six"})), 0);
}

#[test]
fn ingest_into_a_directory_does_the_same() {
    let (data, files) = (Data::new(), Files::new());
    let path = files.write("mixed.jsonl", MIXED.as_bytes());
    let output = run(&["ingest", "--data-dir", text(&data.path()), text(&path)], b"");
    assert_eq!(code(&output), 2, "{}", err(&output));
    assert!(err(&output).contains("mixed.jsonl:6: refused: `time`"), "{}", err(&output));
    assert_eq!(data.files(".log").len(), 1, "it is in a segment");
    assert_eq!((count(&data, "service=db"), count(&data, "n=1"), count(&data, "six")), (1, 1, 0));
    let server = Server::start(&data, &[]);
    let output = run(&["ingest", "--data-dir", text(&data.path()), text(&path)], b"");
    assert_eq!(code(&output), 4, "a server has it open");
    assert!(err(&output).contains("in use by another process"), "{}", err(&output));
    assert_eq!(server.count(&json!({"field": "service", "eq": "db"})), 1);
}

#[test]
fn ingest_takes_text_and_packed_files_and_standard_input() {
    use std::io::Read;
    let (data, files) = (Data::new(), Files::new());
    let server = Server::start(&data, &[]);
    let plain: String = (0..3000).map(|number| format!("line {number} of plain text\r\n")).collect();
    let packed = files.write("app.log.zst", &zstd::encode_all(plain.as_bytes(), 1).expect("packed"));
    let mut gzip = Vec::new();
    flate2::read::GzEncoder::new(plain.as_bytes(), flate2::Compression::fast()).read_to_end(&mut gzip).expect("packed");
    // Two members, one behind the other, as `cat a.gz b.gz` makes them.
    let twice = files.write("app.log", &[gzip.clone(), gzip].concat());
    let arguments = ["ingest", "--addr", &server.http, "--service", "app", text(&packed), text(&twice)];
    let output = run(&arguments, b"");
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).starts_with("stored 9,000 records in "), "{}", out(&output));
    let output = run(&["ingest", "--addr", &server.http, "-"], b"{\"message\":\"from a pipe\"}");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let output =
        run(&["ingest", "--addr", &server.http, "--format", "text", "-"], b"{\"message\":\"as text\"}\n\xff\n");
    assert_eq!(code(&output), 2, "{}", err(&output));
    assert!(err(&output).contains("standard input:2: refused: the line is not UTF-8"), "{}", err(&output));
    assert_eq!(server.count(&json!({"field": "service", "eq": "app"})), 9000);
    assert_eq!(server.count(&json!({"field": "message", "eq": "line 2999 of plain text"})), 3);
    assert_eq!(server.count(&json!({"field": "message", "eq": "from a pipe"})), 1);
    assert_eq!(server.count(&json!({"field": "message", "eq": "{\"message\":\"as text\"}"})), 1);
}

#[test]
fn ingest_sends_what_trickles_in_without_waiting_for_more() {
    let data = Data::new();
    let server = Server::start(&data, &[]);
    let mut child = timberlog(&["ingest", "--addr", &server.http, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the binary starts");
    let mut input = child.stdin.take().expect("a pipe");
    for number in 1..=2 {
        writeln!(input, "trickle {number}").expect("written");
        let deadline = std::time::Instant::now() + PATIENCE;
        while server.count(&json!({"field": "message", "contains": "trickle"})) < number {
            assert!(std::time::Instant::now() < deadline, "line {number} was not sent");
            std::thread::yield_now();
        }
    }
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(out(&output).starts_with("stored 2 records in "), "{}", out(&output));
}

#[test]
fn ingest_waits_for_a_server_that_has_no_room_and_gives_up_in_the_end() {
    let files = Files::new();
    let path = files.write("a.jsonl", MIXED.as_bytes());
    let output = run(&["ingest", "--addr", "127.0.0.1:1", "--retries-max", "1", text(&path)], b"");
    assert_eq!(code(&output), 4);
    let said = err(&output);
    assert!(said.contains("waiting 100.0 ms") && said.contains("gave up after 2 tries"), "{said}");
    let output = run(&["ingest", "--addr", "127.0.0.1:1", text(&path), "no/such/file"], b"");
    assert_eq!(code(&output), 3, "every name is looked at before anything is sent");
}

/// Answers requests one after the other with what it is told; the head of each request.
fn fake(answers: &'static [&'static str]) -> (String, mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut from = BufReader::new(stream.try_clone().expect("a socket"));
            let (mut head, mut len) = (String::new(), 0);
            while from.read_line(&mut head).expect("a line") > 2 {
                let last = head.lines().last().unwrap_or_default().to_ascii_lowercase();
                len = last.strip_prefix("content-length: ").map_or(len, |text| text.trim().parse().expect("a number"));
            }
            std::io::copy(&mut std::io::Read::take(&mut from, len), &mut std::io::sink()).expect("a body");
            sender.send(head).expect("a listener");
            // No answer: the connection breaks off, and nobody knows whether the batch was stored.
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
    (addr, requests)
}

#[test]
fn ingest_sends_a_batch_again_under_its_number_until_it_is_answered() {
    let (addr, requests) = fake(&[
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        "",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        "HTTP/1.1 503 Service Unavailable\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:40 GMT\r\n\
         content-length: 2\r\nconnection: close\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 27\r\nconnection: close\r\n\r\n{\"accepted\":1,\"refused\":[]}",
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 14\r\nconnection: close\r\n\r\n{\"error\":\"no\"}",
    ]);
    let output = run(&["ingest", "--addr", &addr, "--batch", "1", "-"], b"one\ntwo\nthree\n");
    assert_eq!(code(&output), 2, "{}", err(&output));
    assert_eq!(err(&output).matches("waiting ").count(), 5, "{}", err(&output));
    for asked in ["waiting 1.0 s", "waiting 2.0 s", "waiting 3.0 s"] {
        assert!(err(&output).contains(asked), "{asked}, as the server asked: {}", err(&output));
    }
    assert!(
        out(&output).contains("stored 1 record in") && out(&output).contains("then it broke off"),
        "{}",
        out(&output)
    );
    let key = |head: String| {
        let line =
            head.lines().find(|line| line.to_ascii_lowercase().starts_with("idempotency-key")).map(str::to_owned);
        line.expect("a key")
    };
    let keys: Vec<String> = requests.iter().map(key).collect();
    assert_eq!(keys.len(), 7);
    assert!(keys[..6].iter().all(|key| key == &keys[0] && key.ends_with("/1")), "{keys:?}");
    assert!(keys[6].ends_with("/2"), "{keys:?}");
}

#[test]
fn tail_shows_what_matches_and_comes_back_after_a_restart() {
    let data = Data::new();
    let address = format!("127.0.0.1:{}", lasting_port());
    let server = Server::start(&data, &["--grpc-addr", &address]);
    let mut child = timberlog(&["tail", "--grpc-addr", &server.grpc, "-n", "3", "-o", "jsonl", "level=error", "n>=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let said = reader(child.stderr.take().expect("a pipe"));
    let records = reader(child.stdout.take().expect("a pipe"));
    let next = |lines: &mpsc::Receiver<String>| lines.recv_timeout(PATIENCE).expect("a line");
    assert!(next(&said).starts_with("following http://127.0.0.1:"));
    let lines = "{\"message\":\"a\",\"level\":\"ERROR\",\"service\":\"web\",\"n\":1,\"ok\":true,\"tags\":[1],\"none\":null}\n\
        {\"message\":\"b\",\"level\":\"info\",\"n\":2}\n{\"message\":\"c\",\"level\":\"error\",\"n\":0}\n";
    server.client().ingest(lines.as_bytes(), None).expect("stored");
    let record: Value = serde_json::from_str(&next(&records)).expect("JSON");
    assert_eq!(
        (&record["message"], &record["level"], &record["level_text"]),
        (&json!("a"), &json!("error"), &json!("ERROR"))
    );
    assert_eq!(record["labels"], json!({"service": "web"}));
    assert_eq!(record["fields"], json!({"n": 1, "ok": true, "tags": [1], "none": null}));
    assert!(server.stop().success(), "a tail does not keep a server from stopping");
    assert!(next(&said).contains("trying again in"));
    let server = Server::start(&data, &["--grpc-addr", &address]);
    while !next(&said).ends_with("again; what was stored in between is not shown") {}
    let lines = "{\"message\":\"d\",\"level\":\"error\",\"n\":4}\n".repeat(5);
    server.client().ingest(lines.as_bytes(), None).expect("stored");
    for _ in 0..2 {
        assert!(next(&records).contains("\"message\":\"d\""));
    }
    assert!(child.wait().expect("it ends").success());
    assert!(records.recv().is_err(), "three records were asked for");
}

pub fn reader(from: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

#[test]
fn tail_refuses_what_will_never_work_at_once() {
    let data = Data::new();
    let server = Server::start(&data, &[]);
    for (arguments, expected) in [
        (vec!["tail", "--grpc-addr", "127.0.0.1:1"], 4),
        (vec!["tail", "--grpc-addr", "https://127.0.0.1:1"], 2),
        (vec!["tail", "--grpc-addr", &server.grpc, "n>=many"], 2),
        (vec!["tail", "--grpc-addr", &server.grpc, "message=~("], 2),
    ] {
        let output = run(&arguments, b"");
        assert_eq!(code(&output), expected, "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn inspect_shows_every_kind_of_file() {
    let data = filled(20_000);
    let path = data.path();
    let inspect = |what: &str, path: &Path| {
        let table = run(&["inspect", what, text(path)], b"");
        assert_eq!(code(&table), 0, "{what}: {}{}", out(&table), err(&table));
        let document = json_of(&run(&["inspect", what, text(path), "-o", "json"], b""));
        assert_eq!(document["damage"], json!([]), "{what}");
        let lines = run(&["inspect", what, text(path), "-o", "jsonl"], b"");
        let rows = out(&lines).lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
        (out(&table), document, rows)
    };
    let (table, manifest, rows) = inspect("manifest", &path);
    assert_eq!((&manifest["records"], &manifest["segment_count"], rows), (&json!(20_000), &json!(1), 1));
    assert_eq!(manifest["segments"][0]["levels"], json!({"info": 20_000}));
    assert!(table.contains("20,000"), "{table}");
    let log = &data.files(".log")[0];
    let (table, segment, rows) = inspect("segment", log);
    assert_eq!((&segment["records"], &segment["id"]), (&json!(20_000), &manifest["segments"][0]["id"]));
    assert_eq!(segment["block_count"], rows);
    assert!(table.contains("(message)") && table.contains("s0, s1, s2, s3, s4"), "{table}");
    let (table, index, _) = inspect("index", &data.files(".redb")[0]);
    assert_eq!((&index["user_indexes"], &index["services"][4]["service"]), (&json!(["id"]), &json!("s4")));
    assert!(table.contains("info"), "{table}");
    let (table, wal, rows) = inspect("wal", &path);
    assert_eq!(wal["batch_count"], rows);
    assert!(table.contains("flushed_seq"), "{table}");
    inspect("wal", &data.files(".wal")[0]);
    for (what, wrong) in [("wal", "segments"), ("manifest", "wal"), ("segment", "nothing"), ("index", "manifest.json")]
    {
        let output = run(&["inspect", what, text(&path.join(wrong))], b"");
        assert!([3, 5].contains(&code(&output)), "{what} {wrong}: {}", err(&output));
    }
}

#[test]
fn verify_says_what_is_damaged_and_repair_gives_up_no_more() {
    let data = filled(60_000);
    let path = data.path();
    let verify = || run(&["verify", "--data-dir", text(&path), "-o", "json"], b"");
    assert_eq!(code(&verify()), 0, "{}", out(&verify()));
    assert!(out(&run(&["verify", "--data-dir", text(&path)], b"")).contains("everything is whole"));
    let whole = run(&["repair", "--data-dir", text(&path), "--yes"], b"");
    assert_eq!((code(&whole), out(&whole).trim()), (0, "everything is whole: nothing to repair"));
    let log = &data.files(".log")[0];
    flip(log, 5_000);
    assert_eq!(code(&run(&["inspect", "segment", text(log)], b"")), 5);
    assert_eq!(code(&verify()), 5);
    let report = json_of(&verify());
    let blocks = report["blocks"].as_u64().expect("a number");
    assert!(blocks > 1, "{report}");
    assert_eq!((report["blocks_whole"].as_u64(), report["segments_whole"].as_u64()), (Some(blocks - 1), Some(0)));
    let left = report["records_whole"].as_u64().expect("a number");
    assert!((1..60_000).contains(&left), "{report}");
    let said = run(&["verify", "--data-dir", text(&path)], b"");
    assert!(out(&said).contains("damaged: segment `") && out(&said).contains("block 0"), "{}", out(&said));
    // Without a word of consent nothing changes.
    let before = std::fs::read(log).expect("a file");
    let dry = run(&["repair", "--data-dir", text(&path)], b"");
    assert_eq!(code(&dry), 5);
    assert!(out(&dry).contains("nothing was changed; --yes does it"), "{}", out(&dry));
    assert_eq!(std::fs::read(log).expect("a file"), before);
    let repaired = run(&["repair", "--data-dir", text(&path), "--yes", "--index", "id", "-o", "json"], b"");
    assert_eq!(code(&repaired), 0, "{}{}", out(&repaired), err(&repaired));
    assert_eq!(json_of(&repaired)["records_lost"].as_u64(), Some(60_000 - left));
    assert_eq!(code(&verify()), 0, "{}", out(&verify()));
    assert_eq!((count(&data, "found"), count(&data, "id=59999")), (left, 1));
}

#[test]
fn a_damaged_batch_of_the_wal_is_named_and_given_up_alone() {
    let data = Data::new();
    let server = Server::start(&data, &[]);
    for number in 0..5 {
        let record = json!({"message": format!("batch {number}"), "service": "web"}).to_string();
        server.client().ingest(record.as_bytes(), None).expect("stored");
    }
    server.kill();
    let path = data.path();
    let document = json_of(&run(&["inspect", "wal", text(&path), "-o", "json"], b""));
    let batch = &document["batches"][2];
    let at = batch["offset"]
        .as_u64()
        .zip(batch["bytes"].as_u64())
        .map(|(offset, bytes)| offset + bytes - 40)
        .expect("numbers");
    flip(&data.files(".wal")[0], at as usize);
    let verified = run(&["verify", "--data-dir", text(&path)], b"");
    assert_eq!(code(&verified), 5, "{}", out(&verified));
    assert!(out(&verified).contains("batch 3 is lost"), "{}", out(&verified));
    let repaired = run(&["repair", "--data-dir", text(&path), "--yes"], b"");
    assert_eq!(code(&repaired), 0, "{}{}", out(&repaired), err(&repaired));
    assert!(out(&repaired).contains("batch 3 is lost"), "{}", out(&repaired));
    assert_eq!(code(&run(&["verify", "--data-dir", text(&path)], b"")), 0);
    // What comes after a repair survives a crash like anything else.
    let server = Server::start(&data, &[]);
    server.client().ingest(b"{\"message\":\"batch 6\"}", None).expect("stored");
    server.kill();
    let server = Server::start(&data, &[]);
    assert_eq!(server.count(&json!({"field": "message", "contains": "batch"})), 5);
    assert_eq!(server.count(&json!({"field": "message", "eq": "batch 2"})), 0);
}

#[test]
fn verify_and_repair_leave_alone_what_is_no_database_or_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data::new();
    let _server = Server::start(&data, &[]);
    for command in [vec!["verify"], vec!["repair"], vec!["repair", "--yes"]] {
        let missing = run(&[&command[..], &["--data-dir", text(folder.path())]].concat(), b"");
        assert_eq!(code(&missing), 3, "{}", err(&missing));
        let in_use = run(&[&command[..], &["--data-dir", text(&data.path())]].concat(), b"");
        assert_eq!(code(&in_use), 4, "{}", err(&in_use));
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let data = filled(20_000);
    let path = data.path();
    let log = data.files(".log")[0].clone();
    let cut = |arguments: &[&str]| {
        let mut child = timberlog(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // Closed before anything was written.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{arguments:?}");
    };
    cut(&["inspect", "segment", text(&log)]);
    cut(&["verify", "--data-dir", text(&path)]);
    cut(&["query", "--data-dir", text(&path), "-n", "0"]);
    let server = Server::start(&data, &[]);
    cut(&["query", "--addr", &server.http, "-n", "0"]);
    cut(&["query", "--addr", &server.http, "--by", "service"]);
    cut(&["stats", "--addr", &server.http, "-o", "json"]);
}

#[test]
fn statistics_are_a_row_each_and_counts_a_table_with_one_rule() {
    let data = filled(100);
    let path = data.path();
    let stats = out(&run(&["stats", "--data-dir", text(&path)], b""));
    assert!(stats.lines().all(|line| line.chars().count() < 100), "{stats}");
    let server = Server::start(&data, &[]);
    let stats = out(&run(&["stats", "--addr", &server.http], b""));
    for name in ["engine.buffer_bytes ", "engine.damage ", "uptime_seconds "] {
        assert!(stats.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {stats}");
    }
    let counts = out(&run(&["query", "--addr", &server.http, "--by", "service"], b""));
    let rules = counts.lines().filter(|line| line.starts_with('─')).count();
    assert_eq!((rules, counts.lines().count()), (1, 2 + 5), "{counts}");
}

#[test]
fn records_are_printed_with_the_digits_they_were_sent_with() {
    let data = Data::new();
    let path = data.path();
    let fields = r#""fields":{"big":123456789012345678901234567890,"far":1e999,"list":[1e999,1.0],"price":1.50,"text":"1.50","zero":-0}"#;
    let input = r#"{"message":"m","text":"1.50","far":1e999,"big":123456789012345678901234567890,"price":1.50,"zero":-0,"list":[1e999,1.0]}"#;
    let check = |from: &[&str]| {
        for (form, wanted) in [
            ("jsonl", fields),
            ("json", fields),
            (
                "text",
                "  big=123456789012345678901234567890  far=1e999  list=[1e999,1.0]  price=1.50  text=1.50  zero=-0",
            ),
            ("raw", "m\n"),
        ] {
            let output = run(&[&["query", "-o", form], from].concat(), b"");
            assert_eq!((code(&output), err(&output)), (0, String::new()));
            assert!(out(&output).contains(wanted), "{form}: {}", out(&output));
        }
    };
    let server = Server::start(&data, &[]);
    assert_eq!(code(&run(&["ingest", "-", "--addr", &server.http], input.as_bytes())), 0);
    check(&["--addr", &server.http]);
    check(&["--addr", &server.http, "--local"]);
    drop(server);
    check(&["--data-dir", text(&path)]);
}
