//! A producer's name and number, and what is remembered of a batch that carried them.

use super::{PRODUCER_BYTES_MAX, REFUSED_BYTES_MAX};
use timberlog_types::{Error, Result, Seq};

/// A producer's number for a batch. Numbers of a producer increase; a gap is allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerBatch {
    /// The producer's name, 1 to 128 bytes.
    pub producer: String,
    /// The number.
    pub number: u64,
    /// What the answer said of refused records, in the words of the protocol that gave it: at most
    /// 512 bytes, repeated to duplicates, also after a restart.
    pub refused: Vec<u8>,
}

impl ProducerBatch {
    /// A producer's number; nothing refused yet.
    ///
    /// # Errors
    /// `Invalid` if the name is empty, too long, or has control characters.
    pub fn new(producer: &str, number: u64) -> Result<Self> {
        let batch = Self { producer: producer.to_owned(), number, refused: Vec::new() };
        batch.check()?;
        Ok(batch)
    }

    /// Reads `producer/number`, as the header `Idempotency-Key` has it.
    ///
    /// # Errors
    /// `Invalid` if it is not of that form.
    pub fn parse(key: &str) -> Result<Self> {
        let parts = key.rsplit_once('/').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        match parts {
            Some((producer, number)) => Self::new(producer, number),
            None => Err(Error::invalid(format!("idempotency key {key:?}, expected `producer/number`"))),
        }
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// `Invalid` if a part is too long.
    pub fn check(&self) -> Result<()> {
        let len = self.producer.len();
        if len == 0 || len > PRODUCER_BYTES_MAX {
            return Err(Error::invalid(format!("producer name has {len} bytes, expected 1 to {PRODUCER_BYTES_MAX}")));
        }
        if self.producer.contains(char::is_control) {
            return Err(Error::invalid(format!("producer name {:?} has control characters", self.producer)));
        }
        let len = self.refused.len();
        if len > REFUSED_BYTES_MAX {
            return Err(Error::invalid(format!(
                "summary of refused records has {len} bytes, expected at most {REFUSED_BYTES_MAX}"
            )));
        }
        Ok(())
    }
}

/// What is remembered of a stored batch, and answered to its duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The batch's number in the WAL.
    pub seq: Seq,
    /// When it was committed, in ns.
    pub commit_time: i64,
    /// Records that were stored.
    pub accepted: u32,
    /// [`ProducerBatch::refused`].
    pub refused: Vec<u8>,
}
