//! The server as a process, and what the kernel and the server itself say of its use of the machine.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use timberlog_client::Client;
use timberlog_types::Tenant;

const BINARY: &str = env!("CARGO_BIN_EXE_timberlog");
/// Names another binary to measure: that of an earlier build, say.
const OTHER_BINARY: &str = "TIMBERLOG_BENCH_BINARY";

/// The binary with arguments.
pub fn timberlog<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(std::env::var_os(OTHER_BINARY).unwrap_or_else(|| BINARY.into()));
    command.args(arguments).envs(keys());
    command
}

/// The keys of the S3 server: those of the environment, or those of `.ci/s3-server`.
pub fn keys() -> [(&'static str, String); 2] {
    [("AWS_ACCESS_KEY_ID", "timberlog-test-key"), ("AWS_SECRET_ACCESS_KEY", "timberlog-test-secret")]
        .map(|(name, ours)| (name, std::env::var(name).unwrap_or_else(|_| ours.to_owned())))
}

/// A server of this benchmark; ended by SIGKILL when it is dropped.
pub struct Process {
    child: Child,
    /// `http://host:port`
    pub http: String,
    /// `host:port`
    pub grpc: String,
}

/// What a process has used since it began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system.
    pub cpu_seconds: f64,
    /// Bytes that came from and went to a disk, as the kernel counts them.
    pub read_bytes: u64,
    pub written_bytes: u64,
    /// The peak of resident memory.
    pub memory_bytes: u64,
    /// Resident memory now.
    #[allow(dead_code, reason = "the benchmark of limits watches it")]
    pub resident_bytes: u64,
}

impl Usage {
    /// What was used since an earlier look; peaks stay what they are.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            read_bytes: self.read_bytes - before.read_bytes,
            written_bytes: self.written_bytes - before.written_bytes,
            ..*self
        }
    }
}

impl Process {
    /// Starts a server, and waits until it is ready.
    pub fn start(data: &Path, flags: &[&str]) -> Self {
        let common = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--max-future", "10000d"];
        let mut child = timberlog(&["serve", "--log", "warn", "--data-dir"])
            .arg(data)
            .args(common)
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let (http, grpc) = loop {
            let line = lines.next().expect("the server gets ready").expect("UTF-8");
            let addresses = line.split_once("is ready: HTTP on ").and_then(|(_, rest)| rest.split_once(", gRPC on "));
            match addresses {
                Some((http, grpc)) => break (http.to_owned(), grpc.trim().to_owned()),
                None => eprintln!("{line}"),
            }
        };
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Self { child, http, grpc }
    }

    /// A client: a connection of its own.
    pub fn client(&self) -> Client {
        Client::new(&self.http, Tenant::default(), Duration::from_secs(600)).expect("an address")
    }

    /// What the engine says of itself.
    pub fn engine(&self) -> serde_json::Value {
        self.client().get("/stats").expect("statistics")["engine"].take()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        usage(self.child.id())
    }

    /// CPU time of its threads in seconds, to the nanosecond; threads that have ended are missing.
    pub fn threads_seconds(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
        let of = |path: std::path::PathBuf| -> Option<f64> {
            std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
        };
        tasks.flatten().filter_map(|task| of(task.path())).sum::<f64>() / 1e9
    }

    /// Calls of fsync so far, as the server counts them.
    pub fn fsyncs(&self) -> u64 {
        let metrics = ureq::get(format!("{}/metrics", self.http)).call().expect("metrics").into_body();
        let metrics = metrics.into_with_config().read_to_string().expect("text");
        let value = metrics.lines().find_map(|line| line.strip_prefix("timberlog_fsyncs_total "));
        value.and_then(|value| value.parse().ok()).expect("a server that counts its fsyncs")
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("a running process");
        self.child.wait().expect("a process that ends");
    }

    /// SIGTERM: the buffer is sealed. What it had used in the end.
    pub fn stop(self) -> Usage {
        stop(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that has ended well.
pub struct Ended {
    pub usage: Usage,
    pub seconds: f64,
    /// What it printed.
    pub stdout: String,
}

/// Runs a command to its end. It must succeed.
pub fn run(command: &mut Command) -> Ended {
    let started = std::time::Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let (stdout, stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let [stdout, stderr] = [read(stdout), read(stderr)];
    let usage = ended(child.id());
    let seconds = started.elapsed().as_secs_f64();
    let [stdout, stderr] = [stdout, stderr].map(|read| read.join().expect("a thread that reads").expect("UTF-8"));
    assert!(child.wait().expect("a child").success(), "{command:?}: {stderr}");
    Ended { usage, seconds, stdout }
}

/// Reads a pipe to its end, in a thread.
fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<std::io::Result<String>> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    })
}

/// SIGTERM; what a child had used in the end.
pub fn stop(child: &Child) -> Usage {
    let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a running process");
    ended(child.id())
}

/// Waits for the end of a child, and reads what it used before it is forgotten.
fn ended(id: u32) -> Usage {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let pid = Pid::from_raw(id as i32).expect("a process");
    let mut last = usage(id);
    // The peak of memory goes with the last thread: watch it until then.
    while matches!(
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG),
        Ok(None)
    ) {
        let now = usage(id);
        last.memory_bytes = last.memory_bytes.max(now.memory_bytes);
        std::thread::sleep(Duration::from_millis(2));
    }
    Usage { memory_bytes: last.memory_bytes, ..usage(id) }
}

/// Source: proc(5), fields 14 and 15 of `stat` in ticks of 10 ms, `io`, and `VmHWM` and `VmRSS` of `status`.
fn usage(id: u32) -> Usage {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
    };
    let stat = read("stat");
    let ticks = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let (io, status) = (read("io"), read("status"));
    Usage {
        cpu_seconds: ticks as f64 / 100.0,
        read_bytes: field(&io, "read_bytes"),
        written_bytes: field(&io, "write_bytes"),
        memory_bytes: field(&status, "VmHWM") * 1024,
        resident_bytes: field(&status, "VmRSS") * 1024,
    }
}
