//! How much each tenant may send a second: buckets of bytes that fill at one rate, and are emptied by what is sent.
//!
//! What counts is the body as it is decoded, so compression helps nobody. A body that is longer than a whole bucket
//! is taken when the bucket is full, and owes the rest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Result, Tenant};

/// Buckets from which on full ones are forgotten now and then: they say nothing.
const BUCKETS_KEPT: usize = 1_024;
const SECOND_NS: f64 = 1e9;

/// The rates of all tenants.
pub struct Rates {
    bytes_per_second: u64,
    burst_bytes: u64,
    buckets: Mutex<Buckets>,
    refused: AtomicU64,
    refused_bytes: AtomicU64,
}

struct Buckets {
    of: HashMap<Tenant, Bucket>,
    /// When there are so many, full ones go.
    cleaned_at: usize,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// Bytes that may come at `at_ns`; below 0 they are owed.
    room: f64,
    at_ns: u64,
}

impl Rates {
    /// Each tenant may send so many bytes a second, 0 for as many as it likes, and so many at once; 0 for what comes
    /// in two seconds.
    pub fn new(bytes_per_second: u64, burst_bytes: u64) -> Self {
        let burst_bytes = if burst_bytes == 0 { bytes_per_second.saturating_mul(2) } else { burst_bytes };
        let buckets = Mutex::new(Buckets { of: HashMap::new(), cleaned_at: BUCKETS_KEPT });
        Self { bytes_per_second, burst_bytes, buckets, refused: 0.into(), refused_bytes: 0.into() }
    }

    /// Takes `bytes` of a tenant at a time of a monotonic clock.
    ///
    /// # Errors
    /// `Overloaded` with the time after which they may come.
    pub fn take(&self, tenant: &Tenant, bytes: usize, now_ns: u64) -> Result<()> {
        if self.bytes_per_second == 0 {
            return Ok(());
        }
        let (rate, burst, bytes) = (self.bytes_per_second as f64, self.burst_bytes as f64, bytes as f64);
        let needed = bytes.min(burst);
        let missing = {
            let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            let bucket = buckets.bucket(tenant, self, now_ns);
            bucket.fill(rate, burst, now_ns);
            if bucket.room >= needed {
                bucket.room -= bytes;
                return Ok(());
            }
            needed - bucket.room
        };
        self.refused.fetch_add(1, Relaxed);
        self.refused_bytes.fetch_add(bytes as u64, Relaxed);
        let retry_after = Duration::try_from_secs_f64(missing / rate).unwrap_or(Duration::MAX);
        let message = format!(
            "tenant `{}` sends more than {} bytes a second (limit `--ingest-rate-max`): {bytes} bytes must wait for {:.1} s",
            tenant.as_str(),
            self.bytes_per_second,
            retry_after.as_secs_f64(),
        );
        Err(Error::new(ErrorKind::Overloaded { retry_after }, message))
    }

    /// Requests that had to wait, and their bytes.
    pub fn refused(&self) -> (u64, u64) {
        (self.refused.load(Relaxed), self.refused_bytes.load(Relaxed))
    }
}

impl Buckets {
    fn bucket(&mut self, tenant: &Tenant, rates: &Rates, now_ns: u64) -> &mut Bucket {
        let (rate, burst) = (rates.bytes_per_second as f64, rates.burst_bytes as f64);
        if self.of.len() >= self.cleaned_at && !self.of.contains_key(tenant) {
            self.of.retain(|_, bucket| {
                bucket.fill(rate, burst, now_ns);
                bucket.room < burst
            });
            self.cleaned_at = BUCKETS_KEPT.max(2 * self.of.len());
        }
        self.of.entry(tenant.clone()).or_insert(Bucket { room: burst, at_ns: now_ns })
    }
}

impl Bucket {
    fn fill(&mut self, rate: f64, burst: f64, now_ns: u64) {
        let came = now_ns.saturating_sub(self.at_ns) as f64 / SECOND_NS * rate;
        self.room = (self.room + came).min(burst);
        self.at_ns = self.at_ns.max(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn wait(taken: Result<()>) -> Option<Duration> {
        taken.err().and_then(|error| error.retry_after())
    }

    #[test]
    fn a_tenant_waits_for_itself() {
        let rates = Rates::new(1_000, 3_000);
        let (one, other) = (Tenant::new("one").unwrap(), Tenant::new("other").unwrap());
        assert_eq!(wait(rates.take(&one, 2_000, 0)), None);
        assert_eq!(wait(rates.take(&one, 2_000, 0)), Some(Duration::from_secs(1)));
        let error = rates.take(&one, 2_000, SECOND / 2).unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_millis(500)));
        assert!(error.message.contains("tenant `one`") && error.message.contains("--ingest-rate-max"), "{error}");
        assert_eq!(wait(rates.take(&other, 3_000, SECOND / 2)), None);
        assert_eq!(wait(rates.take(&one, 2_000, SECOND)), None);
        // A clock that stands still, or goes back, gives nothing.
        assert_eq!(wait(rates.take(&one, 1, SECOND / 2)), Some(Duration::from_millis(1)));
        assert_eq!(rates.refused(), (3, 4_001));
        // However long it was quiet, it may not send more than a burst.
        assert_eq!(wait(rates.take(&one, 3_000, 100 * SECOND)), None);
        assert!(wait(rates.take(&one, 1, 100 * SECOND)).is_some());
        assert_eq!(wait(Rates::new(0, 0).take(&one, usize::MAX, 0)), None);
    }

    #[test]
    fn what_is_longer_than_a_burst_is_taken_alone_and_owed() {
        let rates = Rates::new(1_000, 0);
        let tenant = Tenant::default();
        assert_eq!(wait(rates.take(&tenant, 12_000, 0)), None);
        assert_eq!(wait(rates.take(&tenant, 1, 10 * SECOND)), Some(Duration::from_millis(1)));
        assert_eq!(wait(rates.take(&tenant, 12_000, 11 * SECOND)), Some(Duration::from_secs(1)));
        assert_eq!(wait(rates.take(&tenant, 12_000, 12 * SECOND)), None);
    }

    #[test]
    fn tenants_that_are_quiet_are_forgotten() {
        let rates = Rates::new(1_000, 1_000);
        for number in 0..10 * BUCKETS_KEPT {
            // Each is full again when the tenth behind it comes.
            let tenant = Tenant::new(&format!("t{number}")).unwrap();
            rates.take(&tenant, 1_000, number as u64 * SECOND / 10).unwrap();
        }
        assert!(rates.buckets.lock().unwrap().of.len() <= BUCKETS_KEPT);
    }
}
