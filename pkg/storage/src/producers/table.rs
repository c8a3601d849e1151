//! The table: what is in flight, what is stored, and what had to be forgotten.

use super::{KEPT_NS, PRODUCERS_MAX, ProducerBatch, RESULTS_MAX, Stored, TABLE_BYTES_MAX, WAITERS_MAX};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
    /// `Conflict`: the number is older than what is remembered. `Overloaded`: too many batches of
    /// this producer are under way. `Invalid`: the name or the answer is too long.
    Refused(Error, W),
}

/// Whose numbers: tenant and producer.
pub(super) type Key = (Tenant, Box<str>);

/// The table of all tenants' producers. `W` is whatever waits for an answer.
pub struct Producers<W> {
    table: Mutex<Table<W>>,
}

struct Table<W> {
    producers: HashMap<Key, Producer<W>>,
    /// Those with a stored batch, by the sequence number of the newest one: the first is the one
    /// to forget.
    by_age: BTreeSet<(Seq, Key)>,
    bytes: usize,
    newest_seq: Seq,
    forgotten: u64,
}

struct Producer<W> {
    known: Known,
    in_flight: BTreeMap<u64, Vec<W>>,
}

/// What is remembered of a producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Numbers up to this one that are not in `results` are taken or unknown.
    pub(super) floor: u64,
    /// Of its first batch; 0 if none is stored yet.
    pub(super) first_seq: Seq,
    /// Of its newest batch.
    pub(super) newest_seq: Seq,
    pub(super) newest_time: i64,
    /// By number, ascending.
    pub(super) results: VecDeque<(u64, Stored)>,
}

impl<W> Default for Producers<W> {
    fn default() -> Self {
        let table = Table { producers: HashMap::new(), by_age: BTreeSet::new(), bytes: 0, newest_seq: 0, forgotten: 0 };
        Self { table: Mutex::new(table) }
    }
}

impl<W> Producers<W> {
    /// Asks what a number means, and marks it as in flight if it is new.
    pub fn begin(&self, tenant: &Tenant, batch: &ProducerBatch, waiter: W) -> Begin<W> {
        if let Err(error) = batch.check() {
            return Begin::Refused(error, waiter);
        }
        let number = batch.number;
        let mut table = self.lock();
        let Producer { known, in_flight } = match table.producers.entry(key(tenant, batch)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let mut producer = Producer::new(number);
                producer.in_flight.insert(number, Vec::new());
                entry.insert(producer);
                return Begin::New(waiter);
            }
        };
        if let Some(stored) = known.result(number) {
            return Begin::Done(stored.clone(), waiter);
        }
        if let Some(waiters) = in_flight.get_mut(&number) {
            if waiters.len() >= WAITERS_MAX {
                return Begin::Refused(overloaded(batch), waiter);
            }
            waiters.push(waiter);
            return Begin::Waiting;
        }
        if number <= known.floor {
            return Begin::Refused(too_old(batch, known.floor), waiter);
        }
        if in_flight.len() >= RESULTS_MAX {
            return Begin::Refused(overloaded(batch), waiter);
        }
        in_flight.insert(number, Vec::new());
        Begin::New(waiter)
    }

    /// Remembers a stored batch, live or replayed, in order of sequence; returns who waits for the
    /// same answer.
    #[must_use = "the waiters want their answer"]
    pub fn complete(&self, tenant: &Tenant, batch: &ProducerBatch, stored: Stored) -> Vec<W> {
        self.lock().complete(key(tenant, batch), batch.number, stored)
    }

    /// Takes back a number whose batch was not stored: it may be sent again. Returns who waits for
    /// the same answer.
    #[must_use = "the waiters want their answer"]
    pub fn abort(&self, tenant: &Tenant, batch: &ProducerBatch) -> Vec<W> {
        let mut table = self.lock();
        let key = key(tenant, batch);
        let Some(producer) = table.producers.get_mut(&key) else { return Vec::new() };
        let waiters = producer.in_flight.remove(&batch.number).unwrap_or_default();
        if producer.known.first_seq == 0 && producer.in_flight.is_empty() {
            table.producers.remove(&key);
        }
        waiters
    }

    /// The newest sequence number in the table: where a root has it already, its file is still
    /// right.
    pub fn newest_seq(&self) -> Seq {
        self.lock().newest_seq
    }

    /// Producers with a stored batch.
    pub fn len(&self) -> usize {
        self.lock().by_age.len()
    }

    /// Whether no batch of any producer is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Producers forgotten for want of room since the start. Their batches, sent again, would be
    /// stored twice.
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// Each producer with a stored batch, those quiet longest first.
    pub(super) fn for_each(&self, f: &mut dyn FnMut(&Key, &Known)) {
        let table = self.lock();
        for (_, key) in &table.by_age {
            if let Some(producer) = table.producers.get(key) {
                f(key, &producer.known);
            }
        }
    }

    /// Puts back what [`Producers::for_each`] told.
    pub(super) fn restore(&self, key: Key, known: Known) {
        let mut table = self.lock();
        table.remove(&key);
        table.newest_seq = table.newest_seq.max(known.newest_seq);
        table.bytes += bytes_of(&key, &known);
        table.by_age.insert((known.newest_seq, key.clone()));
        table.producers.insert(key, Producer { known, in_flight: BTreeMap::new() });
        table.forget();
    }

    fn lock(&self) -> MutexGuard<'_, Table<W>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Table<W> {
    fn complete(&mut self, key: Key, number: u64, stored: Stored) -> Vec<W> {
        let seq = stored.seq;
        let Producer { known, in_flight } = self.producers.entry(key.clone()).or_insert_with(|| Producer::new(number));
        if known.first_seq == 0 {
            known.first_seq = seq;
        } else {
            self.bytes -= bytes_of(&key, known);
            self.by_age.remove(&(known.newest_seq, key.clone()));
        }
        known.newest_seq = known.newest_seq.max(seq);
        known.newest_time = known.newest_time.max(stored.commit_time);
        known.remember(number, stored);
        let waiters = in_flight.remove(&number).unwrap_or_default();
        self.newest_seq = self.newest_seq.max(seq);
        self.bytes += bytes_of(&key, known);
        self.by_age.insert((known.newest_seq, key));
        self.forget();
        waiters
    }

    /// Forgets producers that were quiet for too long, and the quietest ones beyond the limits.
    fn forget(&mut self) {
        let newest = self.by_age.last().and_then(|(_, key)| self.producers.get(key));
        let kept_from = newest.map_or(i64::MIN, |producer| producer.known.newest_time.saturating_sub(KEPT_NS));
        while let Some((_, key)) = self.by_age.first() {
            let Some(producer) = self.producers.get(key) else { return };
            let has_expired = producer.known.newest_time < kept_from;
            let is_full = self.bytes > TABLE_BYTES_MAX || self.by_age.len() > PRODUCERS_MAX;
            // One that has a batch in flight is in use; it goes the next time.
            if !(has_expired || is_full) || !producer.in_flight.is_empty() || self.by_age.len() == 1 {
                return;
            }
            if !has_expired {
                self.forgotten += 1;
                if self.forgotten.is_power_of_two() {
                    let forgotten = self.forgotten;
                    tracing::warn!(forgotten, "too many producers to remember: those quiet longest are forgotten");
                }
            }
            let key = key.clone();
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(Producer { known, .. }) = self.producers.remove(key)
            && self.by_age.remove(&(known.newest_seq, key.clone()))
        {
            self.bytes -= bytes_of(key, &known);
        }
    }
}

impl<W> Producer<W> {
    /// A producer that begins with this number: smaller ones would not increase.
    fn new(first_number: u64) -> Self {
        let known = Known { floor: first_number.saturating_sub(1), newest_time: i64::MIN, ..Known::default() };
        Self { known, in_flight: BTreeMap::new() }
    }
}

impl Known {
    fn result(&self, number: u64) -> Option<&Stored> {
        let at = self.results.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.results.get(at).map(|(_, stored)| stored)
    }

    fn remember(&mut self, number: u64, stored: Stored) {
        match self.results.binary_search_by_key(&number, |(number, _)| *number) {
            // Only if it was stored twice because it had been forgotten.
            Ok(at) => self.results[at].1 = stored,
            Err(at) => self.results.insert(at, (number, stored)),
        }
        while self.results.len() > RESULTS_MAX {
            if let Some((number, _)) = self.results.pop_front() {
                self.floor = self.floor.max(number);
            }
        }
    }
}

fn key(tenant: &Tenant, batch: &ProducerBatch) -> Key {
    (tenant.clone(), Box::from(batch.producer.as_str()))
}

/// An estimate: names stand in two maps, and maps have overhead.
fn bytes_of((tenant, name): &Key, known: &Known) -> usize {
    let results = known.results.iter().map(|(_, stored)| size_of::<(u64, Stored)>() + stored.refused.len());
    256 + 2 * (tenant.as_str().len() + name.len()) + results.sum::<usize>()
}

fn too_old(batch: &ProducerBatch, floor: u64) -> Error {
    let ProducerBatch { producer, number, .. } = batch;
    let message = format!(
        "number {number} of producer `{producer}` comes too late: the numbers up to {floor} are taken or no longer \
         remembered, send larger ones"
    );
    Error::new(ErrorKind::Conflict, message)
}

fn overloaded(batch: &ProducerBatch) -> Error {
    let message = format!("too many batches of producer `{}` are under way", batch.producer);
    Error::new(ErrorKind::Overloaded { retry_after: Duration::from_secs(1) }, message)
}
