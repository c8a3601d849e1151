//! `tail`: lines as they come, over a WebSocket.
//!
//! A thread that may block reads the subscription and writes messages into a bounded queue; a client
//! that does not read fills it, and what the subscription then misses is counted and told.

use super::asked::{Asked, Categories};
use super::error::{LokiError, LokiResult};
use super::params::{self, Bounds};
use super::result::put_streams;
use crate::state::State;
use axum::RequestExt;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Request, State as Of};
use axum::response::Response;
use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timberlog_db::language::ast::LogExpr;
use timberlog_db::language::parse_log;
use timberlog_db::query::Order;
use timberlog_db::query::logql::{self, Entry, LogQuery, Options};
use timberlog_db::{Database, Env, LogTailEvent};
use timberlog_types::Error;
use tokio::sync::mpsc;

/// The longest `delay_for`, in s.
const DELAY_MAX_S: u64 = 5;
/// Messages that may wait for a client that reads slowly.
const MESSAGES_WAITING_MAX: usize = 16;
/// Lines of one message.
const LINES_PER_MESSAGE_MAX: usize = 1_000;
/// Lines that wait for the end of `delay_for`; more leave early.
const LINES_DELAYED_MAX: usize = 100_000;
/// How often a silent tail looks whether its client is still there.
const TICK: Duration = Duration::from_millis(50);

/// What is followed.
struct Followed {
    asked: Asked,
    expr: LogExpr,
    start_ns: i64,
    limit: usize,
    delay: Duration,
}

/// Follows a log query, from `start` on.
pub async fn tail(Of(state): Of<Arc<State>>, mut request: Request) -> LokiResult<Response> {
    let database = state.database()?.clone();
    let upgrade = request.extract_parts::<WebSocketUpgrade>().await;
    let asked = Asked::of(&state, request).await?;
    let expr = parse_log(asked.get("query"))?;
    let limit = params::limit(&asked)? as usize;
    let bounds = Bounds::of(&asked, state.env.clock.now_ns())?;
    let delay = delay(&asked)?;
    params::entries_within(limit, state.options.loki_entries_max)?;
    let upgrade = upgrade.map_err(|error| LokiError::invalid(error.body_text()))?;
    let place = state.tail_turn()?;
    let followed = Followed { asked, expr, start_ns: bounds.start, limit, delay };
    Ok(upgrade.on_upgrade(move |socket| async move {
        serve(state, database, followed, socket).await;
        drop(place);
    }))
}

fn delay(asked: &Asked) -> LokiResult<Duration> {
    let text = asked.get("delay_for");
    if text.is_empty() || text == "0" {
        return Ok(Duration::ZERO);
    }
    let seconds = params::number(asked, "delay_for", 0)?;
    if u64::from(seconds) > DELAY_MAX_S {
        return Err(LokiError::invalid(format!("delay_for can't be greater than {DELAY_MAX_S}")));
    }
    Ok(Duration::from_secs(seconds.into()))
}

async fn serve(state: Arc<State>, database: Database, followed: Followed, mut socket: WebSocket) {
    let (messages, mut receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let options = state.options.logql();
    let env = state.env.clone();
    let reading = tokio::task::spawn_blocking(move || follow(&database, &followed, options, &env, &messages));
    let mut draining = state.draining();
    let reason = loop {
        tokio::select! {
            message = receiver.recv() => match message {
                Some(text) => if socket.send(Message::Text(text.into())).await.is_err() { break None },
                None => break Some(close_code::ERROR),
            },
            // Whatever a client says is passed over, but for that it goes.
            said = socket.recv() => if !matches!(said, Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_)))) { break None },
            _ = async { draining.wait_for(|&draining| draining).await.is_ok() } => break Some(close_code::AWAY),
        }
    };
    drop(receiver);
    if let Some(code) = reason {
        let why = match code {
            close_code::AWAY => "the server is stopping".to_owned(),
            _ => match reading.await {
                Ok(Err(error)) => error.to_string(),
                _ => "the tail ended".to_owned(),
            },
        };
        // A frame of control holds 125 bytes at most.
        let why: String = why.chars().take(100).filter(char::is_ascii).collect();
        let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: why.into() }))).await;
    }
}

/// Lines that wait for the end of `delay_for`.
#[derive(Default)]
struct Delayed {
    waiting: VecDeque<(Instant, Vec<Entry>)>,
    lines: usize,
}

impl Delayed {
    fn push(&mut self, entries: Vec<Entry>) {
        self.lines += entries.len();
        self.waiting.push_back((Instant::now(), entries));
    }

    /// Lines that have waited long enough, by time.
    fn due(&mut self, delay: Duration) -> Vec<Entry> {
        let mut due = Vec::new();
        while let Some((since, entries)) = self.waiting.front_mut() {
            if since.elapsed() < delay && self.lines <= LINES_DELAYED_MAX {
                break;
            }
            self.lines -= entries.len();
            due.append(entries);
            self.waiting.pop_front();
        }
        due.sort_by_key(|entry| entry.timestamp);
        due
    }
}

/// Reads until nobody listens any more.
fn follow(
    database: &Database,
    followed: &Followed,
    options: Options,
    env: &Env,
    messages: &mpsc::Sender<String>,
) -> Result<(), Error> {
    let categories = followed.asked.categories;
    let tail = database.log_tail(&followed.asked.tenant, &followed.expr, options.derived)?;
    let snapshot = database.snapshot(&followed.asked.tenant);
    let tail = tail.after(&snapshot);
    let options = Options { now_ns: env.clock.now_ns(), ..options };
    let past = LogQuery {
        expr: followed.expr.clone(),
        range: Bounds { start: followed.start_ns, end: i64::MAX }.lines(),
        order: Order::NewestFirst,
        limit: followed.limit,
        interval_ns: 0,
        options,
    };
    let mut found = logql::entries(&snapshot, &past)?;
    drop(snapshot);
    found.entries.reverse();
    if !send(messages, &found.entries, categories) {
        return Ok(());
    }
    let mut delayed = Delayed::default();
    while !messages.is_closed() {
        match tail.next(TICK, env.clock.now_ns())? {
            Some(LogTailEvent::Entries(entries)) => delayed.push(entries),
            Some(LogTailEvent::Missed(records)) => {
                let _ = messages.blocking_send(missed(records, env.clock.now_ns()));
            }
            None => {}
        }
        if !send(messages, &delayed.due(followed.delay), categories) {
            break;
        }
    }
    Ok(())
}

/// Sends lines; `false` if nobody listens any more.
fn send(messages: &mpsc::Sender<String>, entries: &[Entry], categories: Categories) -> bool {
    entries.chunks(LINES_PER_MESSAGE_MAX).all(|chunk| {
        let mut out = b"{\"streams\":".to_vec();
        put_streams(&mut out, chunk, categories);
        if categories == Categories::Apart {
            out.extend_from_slice(b",\"encodingFlags\":[\"categorize-labels\"]");
        }
        out.push(b'}');
        // JSON of texts is text.
        String::from_utf8(out).is_ok_and(|text| messages.blocking_send(text).is_ok())
    })
}

/// Which records were missed is not known, only how many: one entry stands for them.
fn missed(records: u64, now_ns: i64) -> String {
    let mut out = Vec::new();
    let _ = write!(
        out,
        "{{\"streams\":[],\"dropped_entries\":[{{\"timestamp\":\"{now_ns}\",\"labels\":{{\"dropped_records\":\"{records}\"}}}}]}}"
    );
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_db::language::Labels;

    fn line(timestamp: i64) -> Entry {
        let none = Labels::default;
        Entry { timestamp, line: String::new(), stream: none(), metadata: none(), parsed: none() }
    }

    #[test]
    fn delayed_lines_leave_by_time() {
        let mut delayed = Delayed::default();
        delayed.push(vec![line(3), line(5)]);
        delayed.push(vec![line(4)]);
        assert!(delayed.due(Duration::from_secs(3600)).is_empty());
        let times: Vec<i64> = delayed.due(Duration::ZERO).iter().map(|entry| entry.timestamp).collect();
        assert_eq!((times, delayed.lines), (vec![3, 4, 5], 0));
    }

    #[test]
    fn lines_that_wait_are_bounded() {
        let mut delayed = Delayed::default();
        delayed.push((0..LINES_DELAYED_MAX as i64).map(line).collect());
        delayed.push(vec![line(0)]);
        assert_eq!(delayed.due(Duration::from_secs(3600)).len(), LINES_DELAYED_MAX);
        assert_eq!(delayed.lines, 1);
    }

    #[test]
    fn what_was_missed_is_told_as_json() {
        let told: serde_json::Value = serde_json::from_str(&missed(7, 5)).unwrap();
        assert_eq!(told["dropped_entries"][0]["labels"]["dropped_records"], "7");
    }
}
