//! Lines of a LogQL log query, from Loki's tail.

use super::{Arguments, CONNECT_TIMEOUT, Shown, WAIT_MAX, WAIT_MIN, causes, with_scheme};
use crate::query::Line;
use anyhow::Result;
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use timberlog_db::language::ast::Expr;
use timberlog_types::{Error, ErrorKind, Tenant, time};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Lines that the server may tell of the time between two connections.
const CAUGHT_UP_MAX: &str = "5000";

/// How far back a new connection asks for lines that came late.
const OVERLAP_NS: i64 = 10_000_000_000;
/// Lines of that time that are remembered.
const REMEMBERED_MAX: usize = 100_000;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection ended.
enum End {
    Done,
    /// The server is gone or stopping: it may come back.
    Lost(String),
}

/// Follows and prints. After a lost connection it asks for what came since, [`OVERLAP_NS`] before
/// the newest line included, and leaves out what was shown. A record that is later than that, and
/// more than [`CAUGHT_UP_MAX`] lines, are not made up for.
pub async fn run(arguments: &Arguments, text: &str, expr: &Expr, shown: &mut Shown) -> Result<()> {
    if matches!(expr, Expr::Metric(_)) {
        return Err(Error::invalid("a metric query has no lines to follow").into());
    }
    let base = with_scheme(&arguments.addr)?;
    let tenant = Tenant::new(&arguments.tenant)?;
    let mut recent = Recent::since(now_ns());
    let (mut wait, mut was_connected) = (WAIT_MIN, false);
    loop {
        let lost = match connect(&base, &tenant, text, recent.start_ns()).await {
            Ok(mut socket) => {
                eprintln!("following {base}{}", if was_connected { " again" } else { "" });
                (wait, was_connected) = (WAIT_MIN, true);
                match print(&mut socket, shown, &mut recent).await? {
                    End::Done => return Ok(()),
                    End::Lost(why) => why,
                }
            }
            Err(error) if !was_connected || error.kind != ErrorKind::Unavailable => return Err(error.into()),
            Err(error) => error.message,
        };
        eprintln!("{lost}; trying again in {wait:?}");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

async fn connect(base: &str, tenant: &Tenant, text: &str, start_ns: i64) -> Result<Socket, Error> {
    let start = time::format_rfc3339(start_ns);
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("query", text), ("start", &start), ("limit", CAUGHT_UP_MAX)])
        .finish();
    let url = format!("ws{}/loki/api/v1/tail?{query}", base.trim_start_matches("http"));
    let wrong = |error: &dyn std::fmt::Display| Error::invalid(format!("address `{base}`: {error}"));
    let mut request = url.into_client_request().map_err(|error| wrong(&error))?;
    let value = HeaderValue::from_str(tenant.as_str()).map_err(|error| wrong(&error))?;
    request.headers_mut().insert("x-scope-orgid", value);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, tokio_tungstenite::connect_async(request)).await;
    let gone = |why: String| Error::new(ErrorKind::Unavailable, format!("`{base}`: {why}"));
    match connected {
        Err(_) => Err(gone(format!("no answer for {}", crate::units::duration(CONNECT_TIMEOUT)))),
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(answer))) => {
            let why = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).trim().to_owned();
            let kind = match answer.status().as_u16() {
                404 => ErrorKind::NotFound,
                429 | 503 => ErrorKind::Unavailable,
                400..500 => ErrorKind::Invalid,
                _ => ErrorKind::Internal,
            };
            Err(Error::new(kind, format!("the server answered {}: {why}", answer.status().as_u16())))
        }
        Ok(Err(error)) => Err(gone(causes(&error))),
    }
}

/// The lines that were shown last, for a connection after this one.
struct Recent {
    /// Nothing older is asked for.
    since_ns: i64,
    newest_ns: i64,
    /// Time and hash.
    lines: VecDeque<(i64, u64)>,
    /// Lines that were shown and may come again, with their number.
    again: HashMap<u64, usize>,
}

impl Recent {
    fn since(now_ns: i64) -> Self {
        Self { since_ns: now_ns, newest_ns: now_ns, lines: VecDeque::new(), again: HashMap::new() }
    }

    fn start_ns(&self) -> i64 {
        self.newest_ns.saturating_sub(OVERLAP_NS).max(self.since_ns)
    }

    /// A connection begins: what was shown since its start comes again.
    fn connected(&mut self) {
        let start = self.start_ns();
        self.again.clear();
        for (_, hash) in self.lines.iter().filter(|(time, _)| *time >= start) {
            *self.again.entry(*hash).or_default() += 1;
        }
    }

    /// Whether a line is one that was not shown yet; remembers it.
    fn is_new(&mut self, time: i64, hash: u64) -> bool {
        if let Some(count) = self.again.get_mut(&hash).filter(|count| **count > 0) {
            *count -= 1;
            return false;
        }
        // A line from the future must not hide those that come before its time.
        self.newest_ns = self.newest_ns.max(time.min(now_ns()));
        self.lines.push_back((time, hash));
        let start = self.start_ns();
        while self.lines.len() > REMEMBERED_MAX || self.lines.front().is_some_and(|(time, _)| *time < start) {
            self.lines.pop_front();
        }
        true
    }
}

fn now_ns() -> i64 {
    timberlog_disk::Env::real().clock.now_ns()
}

async fn print(socket: &mut Socket, shown: &mut Shown, recent: &mut Recent) -> Result<End> {
    recent.connected();
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                let why = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                return Ok(End::Lost(if why.is_empty() { "the server ended the tail".to_owned() } else { why }));
            }
            // Pings are answered below us.
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Ok(End::Lost(causes(&error))),
            None => return Ok(End::Lost("the server ended the tail".to_owned())),
        };
        let message: Value = serde_json::from_str(&text)
            .map_err(|error| Error::internal(format!("the server's message is not JSON: {error}")))?;
        tell_dropped(&message);
        let mut lines = lines(message);
        lines.retain(|&(time, hash, _)| recent.is_new(time, hash));
        if shown.print(lines.iter().map(|(.., line)| line.shape()))? {
            return Ok(End::Done);
        }
    }
}

fn tell_dropped(message: &Value) {
    for dropped in message["dropped_entries"].as_array().into_iter().flatten() {
        let records = dropped["labels"]["dropped_records"].as_str().unwrap_or("some");
        eprintln!("{records} records passed by unread: the output is too slow");
    }
}

/// The lines of a message by time: time, hash of all of it, line.
fn lines(mut message: Value) -> Vec<(i64, u64, Line)> {
    let mut lines = Vec::new();
    for stream in message["streams"].as_array_mut().into_iter().flatten() {
        let labels = stream["stream"].as_object().cloned().unwrap_or_default();
        for value in stream["values"].as_array().into_iter().flatten() {
            if let (Some(timestamp), Some(text)) =
                (value[0].as_str().and_then(|text| text.parse().ok()), value[1].as_str())
            {
                let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((
                    timestamp,
                    text,
                    stream["stream"].to_string(),
                ));
                lines.push((timestamp, hash, Line::of_tail(timestamp, text.to_owned(), labels.clone())));
            }
        }
    }
    lines.sort_by_key(|&(timestamp, ..)| timestamp);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_shows_what_was_not_shown() {
        let now = now_ns();
        let mut recent = Recent::since(now - 100 * OVERLAP_NS);
        recent.connected();
        assert!(recent.is_new(now - 20, 1) && recent.is_new(now - 10, 2) && recent.is_new(now - 10, 2));
        // A line from the future does not hide what comes before its time.
        assert!(recent.is_new(now + 50 * OVERLAP_NS, 3) && recent.start_ns() <= now);
        recent.connected();
        assert_eq!([1, 2, 2, 2, 4].map(|hash| recent.is_new(now - 10, hash)), [false, false, false, true, true]);
    }
}
