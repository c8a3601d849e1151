//! A server on free ports, and an HTTP client that is simple enough to send wrong requests.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use timberlog_api::{Opening, Server, ServerOptions};
use timberlog_db::{Database, Env, Options, Progress};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A running server; stops when dropped.
pub struct Running {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub runtime: Runtime,
    pub opening: Opening,
    pub progress: Arc<Progress>,
    pub database: Option<Database>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    _dir: tempfile::TempDir,
}

/// A server with the default settings.
pub fn start() -> Running {
    start_with(|_| ())
}

/// A server with settings of its own.
pub fn start_with(change: impl FnOnce(&mut ServerOptions)) -> Running {
    start_options(|options| options, change)
}

/// A server and a database with settings of their own.
pub fn start_options(storage: impl FnOnce(Options) -> Options, change: impl FnOnce(&mut ServerOptions)) -> Running {
    let mut running = start_unopened(change);
    let options = storage(Options::new(running._dir.path()));
    let database = Database::open(options, Env::real(), &running.progress).unwrap();
    running.opening.opened(Ok(database.clone()));
    running.database = Some(database);
    running
}

/// A server whose database has a disk and a clock of its own. It cannot be read as a directory.
pub fn start_in(env: Env) -> Running {
    let mut running = start_unopened(|_| ());
    let options = Options { disk_free_bytes_min: 0, ..Options::new("/data") };
    let database = Database::open(options, env, &running.progress).unwrap();
    running.opening.opened(Ok(database.clone()));
    running.database = Some(database);
    running
}

/// A server whose database is not open.
pub fn start_unopened(change: impl FnOnce(&mut ServerOptions)) -> Running {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut options = ServerOptions { http_addr: free, grpc_addr: free, ..ServerOptions::default() };
    change(&mut options);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let progress = Arc::new(Progress::default());
    let server = runtime.block_on(Server::bind(options, Env::real(), Arc::clone(&progress))).unwrap();
    let (http, grpc, opening) = (server.http_addr().unwrap(), server.grpc_addr().unwrap(), server.opening());
    let (stop, stopped) = oneshot::channel();
    let served = runtime.spawn(server.serve(async move {
        let _ = stopped.await;
    }));
    Running {
        http,
        grpc,
        runtime,
        opening,
        progress,
        database: None,
        stop: Some(stop),
        served: Some(served),
        _dir: tempfile::tempdir().unwrap(),
    }
}

impl Running {
    /// Tells the server to stop, without waiting.
    pub fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Where the database is.
    pub fn data_dir(&self) -> &std::path::Path {
        self._dir.path()
    }

    /// Waits until the server has stopped.
    pub fn join(&mut self) {
        if let Some(served) = self.served.take() {
            self.runtime.block_on(served).unwrap().unwrap();
        }
    }

    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.send("POST", path, &[("Content-Type", "application/json")], body.as_ref())
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes)
    }

    /// Sends bytes and reads the answer to its end. The server may answer before it has read all.
    pub fn raw(&self, bytes: &[u8]) -> Response {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let sent = bytes.to_vec();
        let writing = std::thread::spawn(move || {
            let _ = writer.write_all(&sent);
        });
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => answer.extend_from_slice(&chunk[..read]),
                // An answer came and the rest of the request was not wanted.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset && !answer.is_empty() => break,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answer)),
            }
        }
        drop(stream);
        writing.join().unwrap();
        Response::parse(&answer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell_to_stop();
        if !std::thread::panicking() {
            self.join();
        }
        if let Some(database) = self.database.take() {
            let _ = database.close();
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the head of an answer");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            body = unchunk(&body);
        }
        Self { status, headers, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The JSON of an answer with status 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The text of an error with a status.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()["error"].as_str().expect("the key `error`").to_owned()
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n").expect("a chunk");
        let len = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if len == 0 {
            return out;
        }
        out.extend_from_slice(&bytes[line + 2..line + 2 + len]);
        bytes = &bytes[line + 4 + len..];
    }
}
