//! A server process for a test: a temporary directory, free ports, and a certain end.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use timberlog_client::Client;
use timberlog_types::Tenant;

/// How long anything may take on a busy machine before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    child: Child,
    /// What it says once it is ready.
    lines: Mutex<mpsc::Receiver<String>>,
    pub http: String,
    pub grpc: String,
}

/// A data directory that goes with the test.
pub struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A data directory on another file system than that of temporary files.
    pub fn within(folder: &Path) -> Self {
        Self { folder: tempfile::tempdir_in(folder).expect("a temporary folder") }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Every file below a folder of the data directory that ends so, sorted.
    pub fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.path(), ending, &mut found);
        found.sort();
        found
    }
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copied");
        }
    }
}

/// A port that is free, for a server that comes back to it. It is below those that the kernel gives to whoever asks for
/// any, so nobody has it in between.
pub fn lasting_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).expect("below 10,000");
    let ports = std::iter::repeat_with(|| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    let mut free = ports.take(10_000).filter(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    free.next().expect("a free port")
}

/// The binary with arguments, and without settings of the environment.
pub fn timberlog(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_timberlog"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIMBERLOG_") {
            command.env_remove(name);
        }
    }
    // The keys of the S3 server of the tests.
    command.env("AWS_ACCESS_KEY_ID", "timberlog-test-key").env("AWS_SECRET_ACCESS_KEY", "timberlog-test-secret");
    command.args(arguments);
    command
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(data: &Data, flags: &[&str]) -> Self {
        Self::try_start(data, flags).unwrap_or_else(|said| panic!("the server did not start: {said}"))
    }

    /// Starts a server; if it ends instead of getting ready, what it said.
    pub fn try_start(data: &Data, flags: &[&str]) -> Result<Self, String> {
        Self::try_start_in(data, flags, &[])
    }

    /// The same with more in its environment.
    pub fn try_start_in(data: &Data, flags: &[&str], environment: &[(&str, String)]) -> Result<Self, String> {
        let path = data.path();
        let path = path.to_str().expect("a UTF-8 path");
        let mut child =
            timberlog(&["serve", "--data-dir", path, "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"])
                .args(flags)
                .envs(environment.iter().cloned())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the binary starts");
        let stderr = child.stderr.take().expect("a pipe");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody listens any more once the server is ready; the pipe must still be read.
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((http, grpc)) = addresses(&line) {
                        return Ok(Self { child, lines: Mutex::new(lines), http, grpc });
                    }
                    said.push(line);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let _ = child.wait();
                    return Err(said.join("\n"));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("not ready after {PATIENCE:?}: {}", said.join("\n")));
                }
            }
        }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.http, Tenant::default(), PATIENCE).expect("an address")
    }

    /// What it has said since it was ready, or since the last call.
    pub fn said(&self) -> String {
        let lines = self.lines.lock().expect("no thread panicked");
        lines.try_iter().collect::<Vec<_>>().join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("a running process");
        self.child.wait().expect("a process that ends");
    }

    /// SIGTERM, and the exit status.
    pub fn stop(self) -> ExitStatus {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> ExitStatus {
        self.await_end()
    }

    /// The same, and what it has said since it was ready, or since the last call of [`Server::said`].
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = self.await_end();
        let lines = self.lines.lock().expect("no thread panicked").iter().collect::<Vec<_>>();
        (status, lines.join("\n"))
    }

    fn await_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The number of records that match a filter.
    pub fn count(&self, filter: &Value) -> u64 {
        let answer = self.client().post("/api/v1/query", &json!({ "filter": filter, "aggregate": {} }));
        let answer = answer.expect("an answer");
        answer["data"][0]["count"].as_u64().or(answer["count"].as_u64()).unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `timberlog 0.1.0 is ready: HTTP on http://127.0.0.1:1234, gRPC on 127.0.0.1:2345`
fn addresses(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once("is ready: HTTP on ")?;
    let (http, grpc) = rest.split_once(", gRPC on ")?;
    Some((http.to_owned(), format!("http://{}", grpc.trim())))
}
