//! Made-up traffic for newcomers: a few records at a time, through the same decoder and the same
//! acknowledgement as anybody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use timberlog_db::{Database, Env};
use timberlog_ingest::demo::Traffic;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, NoStreamLimit};
use timberlog_types::{Error, Result, Tenant, time};

/// How often records are written.
const TICK: Duration = Duration::from_millis(100);
/// Records of the past that are there at once, a second apart.
const PAST_RECORDS: usize = 900;

/// Traffic under way; ends when it is dropped.
pub struct Demo {
    stop: Arc<AtomicBool>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Starts to write about `rate` records a second.
pub fn start(database: Database, rate: u32) -> Demo {
    let stop = Arc::new(AtomicBool::new(false));
    let demo = Demo { stop: Arc::clone(&stop) };
    let spawned = std::thread::Builder::new().name("timberlog-demo".into()).spawn(move || {
        if let Err(error) = run(&database, rate, &stop) {
            tracing::error!(%error, "the demo traffic ended");
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "the demo traffic could not start");
    }
    demo
}

fn run(database: &Database, rate: u32, stop: &AtomicBool) -> Result<()> {
    let clock = Env::real().clock;
    let mut traffic = Traffic::new(clock.now_ns().unsigned_abs());
    let mut decoder = Decoder::new();
    let mut text = Vec::new();
    let past = clock.now_ns() - PAST_RECORDS as i64 * time::SECOND_NS;
    traffic.records(PAST_RECORDS, past, time::SECOND_NS, &mut text);
    let mut due = 0.0;
    while !stop.load(Ordering::Relaxed) {
        if !text.is_empty() {
            append(database, &mut decoder, &text, clock.now_ns())?;
            text.clear();
        }
        std::thread::sleep(TICK);
        due += f64::from(rate) * TICK.as_secs_f64();
        while due >= 1.0 {
            traffic.record(clock.now_ns(), &mut text);
            due -= 1.0;
        }
    }
    Ok(())
}

fn append(database: &Database, decoder: &mut Decoder, text: &[u8], now_ns: i64) -> Result<()> {
    let (labels, limits) = (["service".to_owned()], Limits::default());
    let options = DecodeOptions {
        now_ns,
        keep_from_ns: i64::MIN,
        stream_labels: &labels,
        default_service: "",
        strict: false,
        limits: &limits,
        streams: &NoStreamLimit,
    };
    let decoded = decoder.json(text, &options)?;
    if let Some(batch) = decoded.batch {
        match database.append(&Tenant::default(), batch, None) {
            // A demo steps back when others need the room.
            Err(Error { kind: timberlog_types::ErrorKind::Overloaded { .. }, .. }) | Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
