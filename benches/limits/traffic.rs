//! Made-up records of now.

use std::time::{SystemTime, UNIX_EPOCH};
use timberlog_ingest::demo;

/// Makes bodies of JSON lines.
pub struct Traffic {
    traffic: demo::Traffic,
    batch: usize,
}

impl Traffic {
    /// Bodies of so many records each.
    pub fn new(seed: u64, batch: usize) -> Self {
        Self { traffic: demo::Traffic::new(seed), batch }
    }

    /// A body whose records are of about now.
    pub fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.batch * 320);
        self.traffic.records(self.batch, now_ns(), 1_000, &mut body);
        body
    }
}

/// The time in ns since 1970.
pub fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

/// The trace id of a body's first record.
pub fn trace_of(body: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"\"trace_id\":\"";
    let start = memchr::memmem::find(body, NAME)? + NAME.len();
    std::str::from_utf8(body.get(start..start + 16)?).ok()
}
