//! A proxy in front of an S3 server that makes chosen requests go wrong.
//!
//! One request a connection, forwarded whole and byte for byte but for `Connection` and `Expect`
//! (neither is signed), so faults can be put at either end of it.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The proxy answers, the server never sees the request.
    Answer(u16, &'static str),
    /// The server carries it out, the connection is reset instead of an answer.
    AnswerLost,
    /// The connection is reset, the server never sees the request.
    Reset,
    /// The answer's body ends half way.
    Truncated,
    /// The connection is reset half way through the answer's body.
    ResetInBody,
    /// A bit of the answer's body is wrong.
    DamagedAnswer,
    /// A bit of the request's body is wrong.
    DamagedRequest,
    /// There is no answer, for as long as the client waits.
    Hang,
    /// Half of the body comes, then nothing for as long as the client waits.
    HangInBody,
    /// The answer takes so long.
    Slow(Duration),
}

impl Fault {
    /// What a storm makes of a request: every fault that ends by itself. A bit that is wrong only where a checksum
    /// covers it: in what is put, and in objects that are read.
    fn of_a_storm(line: &str, random: u64) -> Self {
        let is_object = line.starts_with("PUT ") || (line.starts_with("GET ") && !line.contains("list-type"));
        match random % 9 {
            0 => Self::Answer(500, "InternalError"),
            1 => Self::Answer(503, "SlowDown"),
            2 => Self::Reset,
            3 => Self::AnswerLost,
            4 => Self::Truncated,
            5 => Self::ResetInBody,
            6 if is_object => Self::DamagedAnswer,
            7 if is_object => Self::DamagedRequest,
            _ => Self::Slow(Duration::from_millis(random / 9 % 200)),
        }
    }
}

struct Rule {
    method: &'static str,
    path_part: String,
    fault: Fault,
    times: usize,
}

#[derive(Default)]
struct Script {
    rules: VecDeque<Rule>,
    requests: Vec<String>,
    /// Of a hundred requests that no rule is for, how many go wrong.
    storm_percent: u64,
    random: u64,
    /// The last answer to each list, by the request's first line; while lists are frozen, all there is.
    lists: HashMap<String, Vec<u8>>,
    is_frozen: bool,
}

/// The proxy; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    _runtime: Runtime,
}

impl Proxy {
    pub fn start(server: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Either end may go away at any time: that is what this is for.
                    let _ = serve(client, server, &script).await;
                });
            }
        });
        Self { address, script, _runtime: runtime }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes the next `times` requests with this method whose path and query contain a part go wrong.
    pub fn fault(&self, method: &'static str, path_part: &str, fault: Fault, times: usize) {
        let rule = Rule { method, path_part: path_part.to_owned(), fault, times };
        self.script.lock().unwrap().rules.push_back(rule);
    }

    /// Makes so many of a hundred requests go wrong, each in one of many ways, until it is [healed](Self::heal).
    #[allow(dead_code, reason = "the tests of the binary do, which have this file too")]
    pub fn storm(&self, percent: u64, seed: u64) {
        let mut script = self.script.lock().unwrap();
        script.storm_percent = percent;
        script.random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }

    /// From now on a list that was asked for before is answered as it was then.
    pub fn freeze_lists(&self, is_frozen: bool) {
        self.script.lock().unwrap().is_frozen = is_frozen;
    }

    /// Ends all faults.
    pub fn heal(&self) {
        let mut script = self.script.lock().unwrap();
        script.rules.clear();
        script.storm_percent = 0;
    }

    /// The first lines of the requests so far that contain a part.
    pub fn requests(&self, part: &str) -> Vec<String> {
        let script = self.script.lock().unwrap();
        script.requests.iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

impl Script {
    fn strike(&mut self, line: &str) -> Option<Fault> {
        self.requests.push(line.to_owned());
        self.strike_by_rule(line).or_else(|| {
            for shift in [13, -7, 17_i32] {
                let moved = if shift > 0 { self.random << shift } else { self.random >> -shift };
                self.random ^= moved;
            }
            let is_hit = self.random % 100 < self.storm_percent;
            is_hit.then(|| Fault::of_a_storm(line, self.random / 100))
        })
    }

    fn strike_by_rule(&mut self, line: &str) -> Option<Fault> {
        let place = self.rules.iter().position(|rule| {
            line.strip_prefix(rule.method).is_some_and(|rest| rest.starts_with(' ') && rest.contains(&rule.path_part))
        })?;
        let rule = &mut self.rules[place];
        rule.times -= 1;
        let fault = rule.fault.clone();
        if rule.times == 0 {
            self.rules.remove(place);
        }
        Some(fault)
    }
}

async fn serve(mut client: TcpStream, server: SocketAddr, script: &Mutex<Script>) -> std::io::Result<()> {
    let Some((head, mut body)) = read_request(&mut client).await? else { return Ok(()) };
    let line = head.lines().next().unwrap_or("");
    let (fault, old) = {
        let mut script = script.lock().unwrap();
        (script.strike(line), script.lists.get(line).filter(|_| script.is_frozen).cloned())
    };
    match fault {
        Some(Fault::Answer(status, code)) => {
            let body = match status {
                200 => String::new(),
                _ => format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>made up</Message></Error>"),
            };
            let len = body.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
            client.write_all((head + &body).as_bytes()).await?;
            return client.shutdown().await;
        }
        Some(Fault::Reset) => return client.set_zero_linger(),
        Some(Fault::Hang) => return until_gone(&mut client).await,
        Some(Fault::DamagedRequest) => flip_a_bit(&mut body),
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(head.as_bytes()).await?;
    upstream.write_all(&body).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if line.starts_with("GET ") && line.contains("list-type") {
        match old {
            Some(old) => answer = old,
            None => drop(script.lock().unwrap().lists.insert(line.to_owned(), answer.clone())),
        }
    }
    let head_len = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(answer.len(), |place| place + 4);
    let half = head_len + (answer.len() - head_len) / 2;
    match fault {
        Some(Fault::AnswerLost) => return client.set_zero_linger(),
        Some(Fault::Truncated) => answer.truncate(half),
        Some(Fault::DamagedAnswer) => flip_a_bit(&mut answer[head_len..]),
        Some(Fault::ResetInBody) => {
            client.write_all(&answer[..half]).await?;
            return client.set_zero_linger();
        }
        Some(Fault::HangInBody) => {
            client.write_all(&answer[..half]).await?;
            return until_gone(&mut client).await;
        }
        _ => {}
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}

fn flip_a_bit(body: &mut [u8]) {
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 0x10;
    }
}

async fn until_gone(client: &mut TcpStream) -> std::io::Result<()> {
    let mut sink = Vec::new();
    client.read_to_end(&mut sink).await.map(|_| ())
}

/// The head as it is forwarded, and the body.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(place) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break place + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_len - 4]).into_owned();
    let mut body = bytes.split_off(head_len);
    let mut len = 0;
    let mut kept = Vec::new();
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => len = value.trim().parse().unwrap_or(0),
            "expect" => client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?,
            _ => {}
        }
        if !matches!(name.to_ascii_lowercase().as_str(), "expect" | "connection") {
            kept.push(line);
        }
    }
    while body.len() < len {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((kept.join("\r\n") + "\r\nConnection: close\r\n\r\n", body)))
}
