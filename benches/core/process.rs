//! The server as a process, its CPU time and memory from `/proc`, and the load on it.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_timberlog");

pub struct Process {
    child: Child,
    pub http: String,
}

impl Process {
    pub fn start(data: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            .args([
                "serve",
                "--http-addr",
                "127.0.0.1:0",
                "--grpc-addr",
                "127.0.0.1:0",
                "--max-future",
                "10000d",
                "--log",
                "warn",
            ])
            .arg("--data-dir")
            .arg(data)
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let http = loop {
            let line = lines.next().expect("the server gets ready").expect("UTF-8");
            if let Some((_, rest)) = line.split_once("is ready: HTTP on ") {
                break rest.split(',').next().unwrap_or_default().to_owned();
            }
        };
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Self { child, http }
    }

    /// User and system CPU time so far.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id()).expect("a running process")
    }

    /// Peak of resident memory so far.
    pub fn resident_peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("a running process");
        self.child.wait().expect("a process that ends");
    }

    /// SIGTERM; returns the CPU time until the end, as last seen a few milliseconds before.
    pub fn stop(mut self) -> f64 {
        let id = self.child.id();
        Command::new("kill").args(["-TERM", &id.to_string()]).status().expect("kill runs");
        let mut last = 0.0;
        while self.child.try_wait().expect("a child").is_none() {
            last = cpu_seconds(id).unwrap_or(last).max(last);
            std::thread::sleep(Duration::from_millis(2));
        }
        last
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Source: proc(5), fields 14 and 15 of `/proc/[pid]/stat`, in ticks of 10 ms.
fn cpu_seconds(id: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

/// Sends a file over 4 connections, 1,000 records a request.
pub fn loadgen(server: &Process, corpus: &Path) -> Value {
    let output = Command::new(BINARY)
        .args(["loadgen", "--connections", "4", "--batch", "1000", "--addr", &server.http, "--file"])
        .arg(corpus)
        .stderr(Stdio::inherit())
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "loadgen failed");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Bytes of all files but the WAL.
pub fn bytes_of(data: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(data).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "wal") {
            bytes += bytes_of(&path);
        } else if path.is_file() {
            bytes += entry.metadata().expect("a file").len();
        }
    }
    bytes
}
