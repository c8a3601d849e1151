//! What the nodes of one evaluation share: label sets by number, the memory that is left, and the
//! way back to the source of samples.
//!
//! Label sets are numbered because a query meets the same few at every step: what a grouping or a
//! matching makes of a set is computed once and then looked up by its number.

use std::collections::HashMap;
use std::rc::Rc;

use super::{EvaluateError, LeafSeries, Leaves, Windows};
use crate::Labels;
use crate::ast::{Grouping, RangeAggregation};

/// The number of a label set: equal sets have equal numbers.
pub(super) type SetId = u32;

/// An element of the vector at one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) set: SetId,
    pub(super) value: f64,
}

/// The source failed or called the evaluation off; it keeps why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped;

/// Errors inside the evaluation, which does not know the source's type.
pub(super) type Failure = EvaluateError<Stopped>;

/// Steps of work between two questions whether to go on.
const WORK_PER_CHECK: usize = 1 << 16;

/// [`Leaves`] without its type.
pub(super) trait Source {
    fn series(
        &mut self,
        leaf: &RangeAggregation,
        grouping: Option<&Grouping>,
        windows: &Windows,
    ) -> Result<Vec<LeafSeries>, Stopped>;
    fn check(&mut self) -> Result<(), Stopped>;
}

/// [`Leaves`] and the error with which they stopped.
pub(super) struct Guarded<'a, L: Leaves> {
    pub(super) leaves: &'a mut L,
    pub(super) error: Option<L::Error>,
}

impl<L: Leaves> Source for Guarded<'_, L> {
    fn series(
        &mut self,
        leaf: &RangeAggregation,
        grouping: Option<&Grouping>,
        windows: &Windows,
    ) -> Result<Vec<LeafSeries>, Stopped> {
        self.leaves.series(leaf, grouping, windows).map_err(|error| {
            self.error = Some(error);
            Stopped
        })
    }

    fn check(&mut self) -> Result<(), Stopped> {
        self.leaves.check().map_err(|error| {
            self.error = Some(error);
            Stopped
        })
    }
}

/// What the nodes of one evaluation share.
pub(super) struct Run<'a> {
    source: &'a mut dyn Source,
    numbers: HashMap<Rc<Labels>, SetId>,
    sets: Vec<Rc<Labels>>,
    work: usize,
    memory_bytes: u64,
    memory_max_bytes: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(source: &'a mut dyn Source, memory_max_bytes: u64) -> Self {
        Self { source, numbers: HashMap::new(), sets: Vec::new(), work: 0, memory_bytes: 0, memory_max_bytes }
    }

    /// Asks the source for the series of a leaf.
    pub(super) fn load(
        &mut self,
        leaf: &RangeAggregation,
        grouping: Option<&Grouping>,
        windows: &Windows,
    ) -> Result<Vec<LeafSeries>, Failure> {
        self.source.series(leaf, grouping, windows).map_err(EvaluateError::Leaves)
    }

    /// Counts work that was done, and asks now and then whether to go on.
    pub(super) fn work(&mut self, amount: usize) -> Result<(), Failure> {
        self.work = self.work.saturating_add(amount);
        if self.work < WORK_PER_CHECK {
            return Ok(());
        }
        self.check()
    }

    /// Asks whether to go on.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.work = 0;
        self.source.check().map_err(EvaluateError::Leaves)
    }

    /// Takes memory that the evaluation keeps until its end.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        self.memory_bytes = self.memory_bytes.saturating_add(bytes as u64);
        if self.memory_max_bytes != 0 && self.memory_bytes > self.memory_max_bytes {
            return Err(EvaluateError::Memory { max_bytes: self.memory_max_bytes });
        }
        Ok(())
    }

    /// The number of a label set.
    pub(super) fn number(&mut self, labels: Labels) -> Result<SetId, Failure> {
        if let Some(&id) = self.numbers.get(&labels) {
            return Ok(id);
        }
        self.take(labels_bytes(&labels))?;
        // A set takes more than one byte, so there is memory for fewer than 2^32 only where the
        // limit says so; without a limit the number must still not wrap.
        let id = SetId::try_from(self.sets.len())
            .ok()
            .filter(|&id| id != SetId::MAX)
            .ok_or(EvaluateError::Memory { max_bytes: self.memory_max_bytes })?;
        let labels = Rc::new(labels);
        self.sets.push(Rc::clone(&labels));
        self.numbers.insert(labels, id);
        Ok(id)
    }

    /// The label set of a number.
    pub(super) fn labels(&self, id: SetId) -> Rc<Labels> {
        self.sets.get(id as usize).map_or_else(Rc::default, Rc::clone)
    }
}

/// A function from label sets to label sets, each computed once.
#[derive(Debug, Default)]
pub(super) struct SetMap(Vec<Option<SetId>>);

impl SetMap {
    /// What `compute` makes of a set.
    pub(super) fn get(
        &mut self,
        id: SetId,
        run: &mut Run<'_>,
        compute: impl FnOnce(&mut Run<'_>, &Labels) -> Result<SetId, Failure>,
    ) -> Result<SetId, Failure> {
        let at = id as usize;
        if let Some(&Some(known)) = self.0.get(at) {
            return Ok(known);
        }
        let labels = run.labels(id);
        let made = compute(run, &labels)?;
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        if let Some(slot) = self.0.get_mut(at) {
            *slot = Some(made);
        }
        Ok(made)
    }
}

/// What was noted about label sets at the current step; the notes of a step are gone at the next.
#[derive(Debug, Default)]
pub(super) struct StepNotes {
    step: u64,
    notes: Vec<(u64, u32)>,
}

impl StepNotes {
    /// Begins a step: nothing is noted.
    pub(super) fn begin(&mut self) {
        self.step += 1;
    }

    /// What was noted about a set at this step.
    pub(super) fn get(&self, id: SetId) -> Option<usize> {
        self.notes.get(id as usize).filter(|(step, _)| *step == self.step).map(|&(_, note)| note as usize)
    }

    /// Notes something about a set.
    pub(super) fn set(&mut self, id: SetId, note: usize) {
        let at = id as usize;
        if self.notes.len() <= at {
            self.notes.resize(at + 1, (0, 0));
        }
        if let Some(slot) = self.notes.get_mut(at) {
            // A vector has no more elements than there are numbers of sets and sides.
            *slot = (self.step, u32::try_from(note).unwrap_or(u32::MAX));
        }
    }
}

/// The labels without the empty ones, which whatever builds a label set anew leaves out.
pub(super) fn without_empty(labels: &Labels) -> Labels {
    if labels.iter().all(|(_, value)| !value.is_empty()) {
        return labels.clone();
    }
    Labels::new(labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// Roughly what a label set takes.
fn labels_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>() + 64
}
