//! How far a long operation is: a bar with rate and time left on a terminal, JSON lines otherwise,
//! both on standard error.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use timberlog_storage::backup::Event;

/// How often a JSON line is written.
const LINE: Duration = Duration::from_secs(5);

/// What is shown.
pub struct Shown {
    is_terminal: bool,
    phase: Mutex<Option<Phase>>,
}

struct Phase {
    name: &'static str,
    files: u64,
    files_done: u64,
    bytes: u64,
    bytes_done: u64,
    started: Instant,
    told: Instant,
    bar: ProgressBar,
}

impl Shown {
    /// Shows nothing yet.
    pub fn start() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), phase: Mutex::new(None) }
    }

    /// Takes in what happened.
    pub fn event(&self, event: Event<'_>) {
        let mut shown = self.lock();
        match event {
            Event::Phase { name, files, bytes } => {
                self.end(&mut shown);
                let bar = if self.is_terminal { bar(name, bytes) } else { ProgressBar::hidden() };
                let now = Instant::now();
                let phase = Phase { name, files, files_done: 0, bytes, bytes_done: 0, started: now, told: now, bar };
                if !self.is_terminal {
                    phase.tell();
                }
                *shown = Some(phase);
            }
            Event::Bytes(bytes) => {
                let Some(phase) = &mut *shown else { return };
                phase.bytes_done += bytes;
                phase.bar.set_position(phase.bytes_done);
                if !self.is_terminal && phase.told.elapsed() >= LINE {
                    phase.told = Instant::now();
                    phase.tell();
                }
            }
            Event::File(_) => {
                if let Some(phase) = &mut *shown {
                    phase.files_done += 1;
                    phase.bar.set_message(format!("{} of {} files", phase.files_done, phase.files));
                }
            }
        }
    }

    /// Shows nothing any more.
    pub fn finish(&self) {
        self.end(&mut self.lock());
    }

    fn end(&self, shown: &mut Option<Phase>) {
        let Some(phase) = shown.take() else { return };
        phase.bar.finish_and_clear();
        if !self.is_terminal {
            phase.tell();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Phase>> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bar(name: &'static str, bytes: u64) -> ProgressBar {
    let template = "{prefix} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left, {msg}";
    let bar = ProgressBar::new(bytes).with_prefix(name);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Phase {
    fn tell(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 { self.bytes_done as f64 / seconds } else { 0.0 };
        let left = self.bytes.saturating_sub(self.bytes_done) as f64;
        let seconds_left = if rate > 0.0 { Some((left / rate).ceil() as u64) } else { None };
        let line = json!({
            "phase": self.name,
            "files": self.files,
            "files_done": self.files_done,
            "bytes": self.bytes,
            "bytes_done": self.bytes_done,
            "bytes_per_second": rate as u64,
            "seconds_left": seconds_left,
        });
        eprintln!("{line}");
    }
}
