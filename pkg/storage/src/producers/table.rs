//! The table: what is in flight, what is stored, and what had to be forgotten.

use super::{
    KEPT_NS, PRODUCERS_MAX, ProducerBatch, RESULTS_MAX, Stored, TABLE_BYTES_MAX, WAITERS_MAX,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Seq, Tenant};

/// What a number means. `W` is whatever waits for an answer: it comes back with every answer that
/// does not keep it.
#[derive(Debug)]
pub enum Begin<W> {
    /// Never seen: append it, then call [`Producers::complete`] or [`Producers::abort`].
    New(W),
    /// In flight: `W` is kept until then.
    Waiting,
    /// Stored before: this is the answer.
    Done(Stored, W),
    /// `Conflict`: the number is older than what is remembered. `Overloaded`: too many duplicates
    /// wait already. `Invalid`: the name or the answer is too long.
    Refused(Error, W),
}

type Key = (Tenant, Box<str>);

/// The table of all tenants' producers.
pub struct Producers<W> {
    table: Mutex<Table<W>>,
}

struct Table<W> {
    producers: HashMap<Key, Producer<W>>,
    /// Producers by the number of their newest batch: the first is the one to forget.
    by_age: BTreeMap<Seq, Key>,
    bytes: usize,
    newest_seq: Seq,
    forgotten: u64,
}

pub(super) struct Producer<W> {
    /// Numbers up to this one that are not in `results` are unknown.
    pub(super) floor: u64,
    /// By number, ascending.
    pub(super) results: VecDeque<(u64, Stored)>,
    in_flight: BTreeMap<u64, Vec<W>>,
    /// Of the newest batch; 0 if there is none.
    newest_seq: Seq,
    newest_time: i64,
}

impl<W> Default for Producers<W> {
    fn default() -> Self {
        Self {
            table: Mutex::new(Table {
                producers: HashMap::new(),
                by_age: BTreeMap::new(),
                bytes: 0,
                newest_seq: 0,
                forgotten: 0,
            }),
        }
    }
}

impl<W> Producers<W> {
    /// Asks what a number means, and marks it as in flight if it is new.
    pub fn begin(&self, tenant: &Tenant, batch: &ProducerBatch, waiter: W) -> Begin<W> {
        if let Err(error) = batch.check() {
            return Begin::Refused(error, waiter);
        }
        let mut table = self.lock();
        let key = (tenant.clone(), Box::from(batch.producer.as_str()));
        let number = batch.number;
        let producer = table.producers.entry(key).or_insert_with(|| Producer::new(number.saturating_sub(1)));
        if let Some(stored) = producer.result(number) {
            return Begin::Done(stored.clone(), waiter);
        }
        if let Some(waiters) = producer.in_flight.get_mut(&number) {
            if waiters.len() >= WAITERS_MAX {
                return Begin::Refused(overloaded(batch), waiter);
            }
            waiters.push(waiter);
            return Begin::Waiting;
        }
        // Number 0 has a floor of 0: it is new if the producer is.
        let is_first = producer.results.is_empty() && producer.in_flight.is_empty() && producer.newest_seq == 0;
        if number <= producer.floor && !is_first {
            return Begin::Refused(too_old(batch, producer.floor), waiter);
        }
        if producer.in_flight.len() >= RESULTS_MAX {
            return Begin::Refused(overloaded(batch), waiter);
        }
        producer.in_flight.insert(number, Vec::new());
        Begin::New(waiter)
    }

    /// Remembers a stored batch, live or replayed, in order of sequence; returns who waits for the
    /// same answer.
    #[must_use = "the waiters want their answer"]
    pub fn complete(&self, tenant: &Tenant, batch: &ProducerBatch, stored: Stored) -> Vec<W> {
        let mut table = self.lock();
        let key = (tenant.clone(), Box::from(batch.producer.as_str()));
        let waiters = table.remember(key, batch.number, stored);
        table.forget();
        waiters
    }

    /// Takes back a number whose batch was not stored: it may be sent again. Returns who waits for
    /// the same answer.
    #[must_use = "the waiters want their answer"]
    pub fn abort(&self, tenant: &Tenant, batch: &ProducerBatch) -> Vec<W> {
        let mut table = self.lock();
        let key = (tenant.clone(), Box::from(batch.producer.as_str()));
        let Some(producer) = table.producers.get_mut(&key) else { return Vec::new() };
        let waiters = producer.in_flight.remove(&batch.number).unwrap_or_default();
        if producer.newest_seq == 0 && producer.in_flight.is_empty() {
            table.producers.remove(&key);
        }
        waiters
    }

    /// The newest sequence number in the table: if a root has it already, its file is still right.
    pub fn newest_seq(&self) -> Seq {
        self.lock().newest_seq
    }

    /// Producers in the table.
    pub fn len(&self) -> usize {
        self.lock().by_age.len()
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Producers forgotten for want of room since the start. Their old batches, sent again, would
    /// be stored twice.
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// Each known producer, those quiet longest first, for the codec.
    pub(super) fn for_each(&self, f: &mut dyn FnMut(&Tenant, &str, &Producer<W>)) {
        let table = self.lock();
        for key in table.by_age.values() {
            if let Some(producer) = table.producers.get(key) {
                f(&key.0, &key.1, producer);
            }
        }
    }

    /// Puts back what the codec read; `results` ascend by number.
    pub(super) fn restore(&self, tenant: Tenant, name: &str, floor: u64, newest: (Seq, i64), results: Vec<(u64, Stored)>) {
        let mut table = self.lock();
        let key = (tenant, Box::from(name));
        for (number, stored) in results {
            table.remember(key.clone(), number, stored);
        }
        table.touch(&key, newest.0, newest.1);
        if let Some(producer) = table.producers.get_mut(&key) {
            producer.floor = floor;
        }
        table.forget();
    }

    fn lock(&self) -> MutexGuard<'_, Table<W>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Table<W> {
    fn remember(&mut self, key: Key, number: u64, stored: Stored) -> Vec<W> {
        let (seq, time) = (stored.seq, stored.commit_time);
        self.touch_or_insert(&key, number, seq, time);
        let Some(producer) = self.producers.get_mut(&key) else { return Vec::new() };
        let waiters = producer.in_flight.remove(&number).unwrap_or_default();
        self.bytes += result_bytes(&stored);
        match producer.results.binary_search_by_key(&number, |(number, _)| *number) {
            // Only if a number was stored twice because it had been forgotten.
            Ok(at) => {
                self.bytes -= result_bytes(&producer.results[at].1);
                producer.results[at].1 = stored;
            }
            Err(at) => producer.results.insert(at, (number, stored)),
        }
        while producer.results.len() > RESULTS_MAX {
            if let Some((number, stored)) = producer.results.pop_front() {
                self.bytes -= result_bytes(&stored);
                producer.floor = producer.floor.max(number);
            }
        }
        waiters
    }

    fn touch_or_insert(&mut self, key: &Key, number: u64, seq: Seq, time: i64) {
        if !self.producers.contains_key(key) {
            self.producers.insert(key.clone(), Producer::new(number.saturating_sub(1)));
        }
        self.touch(key, seq, time);
    }

    /// Makes a producer the youngest, or as old as `seq` says.
    fn touch(&mut self, key: &Key, seq: Seq, time: i64) {
        if !self.producers.contains_key(key) {
            self.producers.insert(key.clone(), Producer::new(0));
        }
        let Some(producer) = self.producers.get_mut(key) else { return };
        if producer.newest_seq == 0 {
            self.bytes += producer_bytes(key);
        }
        if seq > producer.newest_seq {
            self.by_age.remove(&producer.newest_seq);
            self.by_age.insert(seq, key.clone());
            producer.newest_seq = seq;
        }
        producer.newest_time = producer.newest_time.max(time);
        self.newest_seq = self.newest_seq.max(seq);
    }

    /// Forgets producers that were quiet for too long, and the quietest ones beyond the limits.
    fn forget(&mut self) {
        let newest = self.by_age.last_key_value().and_then(|(_, key)| self.producers.get(key));
        let Some(kept_from) = newest.map(|producer| producer.newest_time.saturating_sub(KEPT_NS)) else { return };
        while let Some((&seq, key)) = self.by_age.first_key_value() {
            let Some(producer) = self.producers.get(key) else { return };
            let has_expired = producer.newest_time < kept_from;
            let is_full = self.bytes > TABLE_BYTES_MAX || self.by_age.len() > PRODUCERS_MAX;
            // One that has a batch in flight is in use; it goes the next time.
            if !(has_expired || is_full) || !producer.in_flight.is_empty() || self.by_age.len() == 1 {
                return;
            }
            if !has_expired {
                self.forgotten += 1;
                if self.forgotten.is_power_of_two() {
                    tracing::warn!(
                        forgotten = self.forgotten,
                        "more producers than are remembered: the ones quiet longest are forgotten"
                    );
                }
            }
            self.bytes -= producer_bytes(key) + producer.results.iter().map(|(_, stored)| result_bytes(stored)).sum::<usize>();
            self.producers.remove(&key.clone());
            self.by_age.remove(&seq);
        }
    }
}

impl<W> Producer<W> {
    fn new(floor: u64) -> Self {
        Self { floor, results: VecDeque::new(), in_flight: BTreeMap::new(), newest_seq: 0, newest_time: i64::MIN }
    }

    pub(super) fn newest(&self) -> (Seq, i64) {
        (self.newest_seq, self.newest_time)
    }

    fn result(&self, number: u64) -> Option<&Stored> {
        let at = self.results.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.results.get(at).map(|(_, stored)| stored)
    }
}

fn result_bytes(stored: &Stored) -> usize {
    size_of::<(u64, Stored)>() + stored.refused.len()
}

fn producer_bytes(key: &Key) -> usize {
    // The name is in both maps.
    256 + 2 * (key.0.as_str().len() + key.1.len())
}

fn too_old(batch: &ProducerBatch, floor: u64) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "number {} of producer `{}` is not among the latest ones remembered: numbers up to {floor} are taken, \
             send a larger one",
            batch.number, batch.producer
        ),
    )
}

fn overloaded(batch: &ProducerBatch) -> Error {
    Error::new(
        ErrorKind::Overloaded { retry_after: Duration::from_secs(1) },
        format!("too many requests of producer `{}` are under way", batch.producer),
    )
}
