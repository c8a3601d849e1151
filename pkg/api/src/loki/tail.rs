//! `tail`: lines as they come, over a WebSocket.
//!
//! A thread that may block reads the subscription and writes messages into a bounded queue; a client
//! that does not read fills it, and what the subscription then misses is counted and told. One that
//! has read nothing for the time that answers may take (`write_timeout`), or answers no ping so
//! long, is gone and gives its place back.

use super::asked::{Asked, Categories};
use super::error::{LokiError, LokiResult};
use super::params::{self, Bounds};
use super::result::put_runs;
use crate::cancel::CancelOnDrop;
use crate::state::State;
use crate::turns::Turn;
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
use timberlog_db::query::logql::{self, Entry, LogQuery, Options, TailFilter};
use timberlog_db::query::{Cancel, Order};
use timberlog_db::{Database, Env, LogTailEvent};
use timberlog_types::{Error, ErrorKind};
use tokio::sync::mpsc;

/// The longest `delay_for`, in s.
const DELAY_MAX_S: u64 = 5;
/// Messages that may wait for a client that reads slowly.
const MESSAGES_WAITING_MAX: usize = 4;
/// Lines of one message.
const LINES_PER_MESSAGE_MAX: usize = 1_000;
/// Bytes of the lines and labels of one message, about; one longer line may go alone.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Lines that wait for the end of `delay_for`; more leave early.
const LINES_DELAYED_MAX: usize = 100_000;
/// Bytes of the lines that wait for it; more leave early.
const BYTES_DELAYED_MAX: usize = 8 << 20;
/// Pings in the time after which a client that does not answer is taken to be gone.
const PINGS_PER_PATIENCE: u32 = 3;
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
    let (of_check, derived) = (expr.clone(), state.options.logql().derived);
    // A stage that is malformed has a status, too. Expressions take long to compile.
    state.blocking(move |_| TailFilter::new(&of_check, derived).map(drop)).await??;
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
    if text.starts_with('-') {
        return Err(LokiError::invalid(format!("delay_for value {text} is out of range [0, {}]", u32::MAX)));
    }
    let seconds = params::number(asked, "delay_for", 0)?;
    if u64::from(seconds) > DELAY_MAX_S {
        return Err(LokiError::invalid(format!("delay_for can't be greater than {DELAY_MAX_S}")));
    }
    Ok(Duration::from_secs(seconds.into()))
}

async fn serve(state: Arc<State>, database: Database, followed: Followed, mut socket: WebSocket) {
    let (messages, mut receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let cancel = Cancel::default();
    let _guard = CancelOnDrop(cancel.clone());
    let options = Options { cancel, ..state.options.logql() };
    let env = state.env.clone();
    let patience = state.options.write_timeout;
    let mut pings = tokio::time::interval(patience / PINGS_PER_PATIENCE);
    let mut heard = Instant::now();
    let of = Arc::clone(&state);
    let reading = tokio::spawn(async move {
        // What was there is asked for as any query is.
        let turn = tokio::select! {
            turn = of.query_turn(&followed.asked.tenant) => turn,
            () = messages.closed() => return Ok(()),
        };
        let turn = turn.map_err(|error| Error::new(ErrorKind::Unavailable, error.into_parts().1))?;
        let follow = move || follow(&database, &followed, options, &env, &messages, turn);
        let ended = of.query_threads.spawn(follow).await;
        ended.unwrap_or_else(|_| Err(Error::internal("the tail ended by a defect; see the log")))
    });
    let mut draining = state.draining();
    let has_failed = loop {
        tokio::select! {
            message = receiver.recv() => match message {
                Some(text) => match give(&mut socket, Message::Text(text.into()), patience).await {
                    Ok(()) => heard = Instant::now(),
                    Err(Gone) => break false,
                },
                None => break true,
            },
            // Whatever a client says is passed over, but for that it is there, or goes.
            said = socket.recv() => match said {
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => heard = Instant::now(),
                _ => break false,
            },
            _ = pings.tick() => {
                let ping = Message::Ping(Vec::new().into());
                if heard.elapsed() > patience || give(&mut socket, ping, patience).await.is_err() { break false }
            }
            // Without a close frame: Grafana and logcli come back behind none, and end at any.
            _ = async { draining.wait_for(|&draining| draining).await.is_ok() } => break false,
        }
    };
    drop(receiver);
    if has_failed {
        let why = match reading.await {
            Ok(Err(error)) => error.to_string(),
            _ => "the tail ended".to_owned(),
        };
        // A frame of control holds 125 bytes at most.
        let why: String = why.chars().take(100).filter(char::is_ascii).collect();
        let frame = CloseFrame { code: close_code::ERROR, reason: why.into() };
        let _ = give(&mut socket, Message::Close(Some(frame)), patience).await;
    }
}

/// A client that is no longer there, or does not read.
struct Gone;

async fn give(socket: &mut WebSocket, message: Message, patience: Duration) -> Result<(), Gone> {
    match tokio::time::timeout(patience, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}

/// Lines that wait for the end of `delay_for`.
#[derive(Default)]
struct Delayed {
    waiting: VecDeque<(Instant, Vec<Entry>)>,
    lines: usize,
    bytes: usize,
}

impl Delayed {
    fn push(&mut self, entries: Vec<Entry>) {
        self.lines += entries.len();
        self.bytes += bytes_of(&entries);
        self.waiting.push_back((Instant::now(), entries));
    }

    /// Lines that have waited long enough, by time.
    fn due(&mut self, delay: Duration) -> Vec<Entry> {
        let mut due = Vec::new();
        while let Some((since, entries)) = self.waiting.front_mut() {
            let has_room = self.lines <= LINES_DELAYED_MAX && self.bytes <= BYTES_DELAYED_MAX;
            if since.elapsed() < delay && has_room {
                break;
            }
            self.lines -= entries.len();
            self.bytes -= bytes_of(entries);
            due.append(entries);
            self.waiting.pop_front();
        }
        due.sort_by_key(|entry| entry.timestamp);
        due
    }
}

fn bytes_of(entries: &[Entry]) -> usize {
    entries.iter().map(Entry::memory_bytes).sum()
}

/// Reads until nobody listens any more.
fn follow(
    database: &Database,
    followed: &Followed,
    options: Options,
    env: &Env,
    messages: &mpsc::Sender<String>,
    turn: Turn,
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
    drop((snapshot, turn));
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
    chunks(entries).all(|chunk| {
        let mut out = b"{\"streams\":".to_vec();
        put_runs(&mut out, chunk, categories);
        if categories == Categories::Apart {
            out.extend_from_slice(b",\"encodingFlags\":[\"categorize-labels\"]");
        }
        out.push(b'}');
        // JSON of texts is text.
        String::from_utf8(out).is_ok_and(|text| messages.blocking_send(text).is_ok())
    })
}

/// Lines as they go into messages.
fn chunks(mut entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes += entry.memory_bytes();
            is_first || bytes <= MESSAGE_BYTES_MAX
        };
        let count = entries.iter().take(LINES_PER_MESSAGE_MAX).take_while(fits).count();
        let (chunk, rest) = entries.split_at_checked(count).filter(|(chunk, _)| !chunk.is_empty())?;
        entries = rest;
        Some(chunk)
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
        long_line(timestamp, 0)
    }

    fn long_line(timestamp: i64, bytes: usize) -> Entry {
        let none = Labels::default;
        Entry { timestamp, line: "x".repeat(bytes), stream: none(), metadata: none(), parsed: none() }
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
        assert_eq!((delayed.lines, delayed.bytes), (1, line(0).memory_bytes()));
        delayed.push(vec![long_line(0, BYTES_DELAYED_MAX)]);
        delayed.push(vec![line(0)]);
        assert_eq!(delayed.due(Duration::from_secs(3600)).len(), 2);
        assert_eq!((delayed.lines, delayed.bytes), (1, line(0).memory_bytes()));
    }

    #[test]
    fn messages_are_bounded() {
        let lengths = |entries: &[Entry]| chunks(entries).map(<[Entry]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[]), [0_usize; 0]);
        let short: Vec<Entry> = (0..2_500).map(line).collect();
        assert_eq!(lengths(&short), [1_000, 1_000, 500]);
        let long: Vec<Entry> = [0, 400_000, 400_000, 400_000, 3_000_000, 0].map(|bytes| long_line(0, bytes)).into();
        assert_eq!(lengths(&long), [3, 1, 1, 1]);
    }

    #[test]
    fn what_was_missed_is_told_as_json() {
        let told: serde_json::Value = serde_json::from_str(&missed(7, 5)).unwrap();
        assert_eq!(told["dropped_entries"][0]["labels"]["dropped_records"], "7");
    }
}
