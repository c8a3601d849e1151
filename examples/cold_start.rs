//! Measures how soon a server on an empty disk is ready that starts from an object store alone (`serve --from`): fills
//! a store with as many segments as days, one each, then starts the given binary from it, several times, as a node that
//! only reads and as the new writer, and asks it for the newest records and for all counts by level.
//!
//!     cargo build --release
//!     .ci/s3-server cargo run --example cold_start -- target/release/timberlog [segments]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use timberlog_client::Client;
use timberlog_db::Env;
use timberlog_objects::{Addressing, Credentials, KeyPair, S3Options, S3Store};
use timberlog_storage::objects::ObjectStore;
use timberlog_types::{Tenant, time};

const BUCKET: &str = "timberlog-tests";
/// Of the server of `.ci/s3-server`.
const KEY: &str = "timberlog-test-key";
const SECRET: &str = "timberlog-test-secret";
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;
const RECORDS_PER_DAY: u64 = 50;
const DAYS_PER_BATCH: u64 = 20;
const STARTS: usize = 5;

struct Server {
    child: Child,
    client: Client,
    /// From the start of the process until it said that it was ready.
    ready: Duration,
}

impl Server {
    fn start(binary: &str, dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut child = Command::new(binary)
            .args(["serve", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .args(flags)
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or_else(|| anyhow::anyhow!("no pipe"))?).lines();
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line?;
            if let Some((_, rest)) = line.split_once("is ready: HTTP on ") {
                let ready = began.elapsed();
                let addr = rest.split(',').next().unwrap_or_default().to_owned();
                std::thread::spawn(move || lines.for_each(drop));
                let client = Client::new(&addr, Tenant::default(), Duration::from_secs(120))?;
                return Ok(Self { child, client, ready });
            }
            said += &(line + "\n");
        }
        let _ = child.wait();
        anyhow::bail!("the server did not start: {said}")
    }

    fn engine(&self) -> anyhow::Result<Value> {
        Ok(self.client.get("/stats")?["engine"].clone())
    }

    fn ask(&self, body: &Value) -> anyhow::Result<(Duration, Value)> {
        let began = Instant::now();
        let answer = self.client.post("/api/v1/query", body)?;
        Ok((began.elapsed(), answer))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_bucket(endpoint: &str) -> anyhow::Result<()> {
    let pair = KeyPair { access_key_id: KEY.into(), secret_access_key: SECRET.into(), session_token: None };
    let options = S3Options {
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint.to_owned()),
        addressing: Addressing::Path,
        credentials: Credentials::Fixed(pair),
        ..S3Options::default()
    };
    // The server makes it with the first object.
    Ok(S3Store::new(BUCKET, "", &options, &Env::real())?.put("made", b"by the first object")?)
}

/// A segment for each day, all of them in the store.
fn fill(server: &Server, segments: u64) -> anyhow::Result<()> {
    let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?;
    for first in (0..segments).step_by(DAYS_PER_BATCH as usize) {
        let mut body = String::new();
        for day in first..segments.min(first + DAYS_PER_BATCH) {
            for number in 0..RECORDS_PER_DAY {
                let at = now - DAY_NS * (1 + i64::try_from(day)?) + i64::try_from(number)?;
                let level = ["info", "info", "warn", "error"][(number % 4) as usize];
                let message = format!("request {number} of day {day} took {} ms", number * 7 % 31);
                let at = time::format_rfc3339(at);
                let record = json!({"timestamp": at, "level": level, "service": "web", "message": message});
                body += &(record.to_string() + "\n");
            }
        }
        server.client.ingest(body.as_bytes(), None)?;
    }
    loop {
        let engine = server.engine()?;
        let is_stored = engine["tier"]["segments_stored"] == engine["segments"] && engine["segment_bytes"] == 0;
        if engine["buffer_records"] == 0 && is_stored {
            println!("{} segments, {} bytes in the store", engine["segments"], engine["tier"]["bytes_stored"]);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().ok_or_else(|| anyhow::anyhow!("which binary?"))?;
    let segments = arguments.next().map_or(Ok(1_000), |text| text.parse::<u64>())?;
    let endpoint = std::env::var("TIMBERLOG_S3_TEST").map_err(|_| anyhow::anyhow!("run it by .ci/s3-server"))?;
    make_bucket(&endpoint)?;
    let url = format!("s3://{BUCKET}/cold-start-{}", std::process::id());
    let s3 = ["--s3-endpoint", &endpoint, "--s3-path-style", "--s3-region", "us-east-1", "--tier-store", &url];
    let folder = tempfile::tempdir()?;
    let tier = ["--tier-after", "0s", "--tier-interval", "1s", "--compaction", "off", "--flush-interval", "1s"];
    let writer = Server::start(&binary, &folder.path().join("first"), &[&s3[..], &tier].concat())?;
    fill(&writer, segments)?;
    drop(writer);
    for (what, more) in [("only reads", &["--from", &url, "--read-only"][..]), ("new writer", &["--from", &url])] {
        for round in 0..STARTS {
            let server =
                Server::start(&binary, &folder.path().join(format!("{what} {round}")), &[&s3[..], more].concat())?;
            let (newest, answer) = server.ask(&json!({"limit": 100}))?;
            let found = answer["data"].as_array().map_or(0, Vec::len);
            let (counted, answer) = server.ask(&json!({"aggregate": {"by": ["level"]}}))?;
            let rows = answer["data"].as_array().into_iter().flatten();
            let records: u64 = rows.filter_map(|row| row["count"].as_u64()).sum();
            anyhow::ensure!(found == 100 && records == segments * RECORDS_PER_DAY, "{found} and {records} records");
            println!(
                "{what}: ready after {:.2?}, newest 100 in {newest:.2?}, {records} counted by level in {counted:.2?}",
                server.ready
            );
        }
    }
    Ok(())
}
