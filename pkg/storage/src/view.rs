//! The view: what exists and is visible at this instant, swapped forward under one short lock.
//!
//! Publishing a batch, freezing the buffer and committing a flush each change the view in one
//! step, so a snapshot never sees a record twice or not at all. No I/O happens under its lock.

use crate::buffer::Generation;
use crate::cache::Cache;
use crate::damage::DamageLog;
use crate::deletes::{Live, Logged, Selectors};
use crate::hidden::Hidden;
use crate::manifest::State;
use crate::retention::Rules;
use crate::segments::Segments;
use crate::snapshot::{BufferedBatch, Snapshot};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::{BatchBuilder, Result, Seq, Tenant, TimeRange};

/// Makes the segment handles that a view hands out.
pub(crate) struct Opener {
    pub(crate) env: Env,
    pub(crate) cache: Arc<Cache>,
    pub(crate) data_dir: PathBuf,
    pub(crate) damage: Arc<DamageLog>,
    /// Reads what is in the object store, if there is one.
    pub(crate) cold: Option<Arc<crate::tier::Reader>>,
}

pub(crate) struct View {
    active: Generation,
    frozen: VecDeque<Arc<Generation>>,
    state: Arc<State>,
    segments: HashMap<Tenant, Arc<Segments>>,
    /// Segments opened so far: their numbers are keys of the cache and never repeat.
    next_segment: u64,
    visible_seq: Seq,
    /// What is deleted and still there.
    deletes: Live,
    merger: BatchBuilder,
}

impl View {
    pub(crate) fn new(state: Arc<State>, opener: &Opener, selectors: &Selectors) -> Result<Self> {
        let mut view = Self {
            active: Generation::default(),
            frozen: VecDeque::new(),
            visible_seq: state.flushed_seq,
            state: Arc::clone(&state),
            segments: HashMap::new(),
            next_segment: 0,
            deletes: Live::new(&state.deletes, selectors)?,
            merger: BatchBuilder::new(),
        };
        view.refresh(None, opener)?;
        Ok(view)
    }

    /// Appends a published batch; returns the bytes that merging has saved.
    pub(crate) fn publish(
        &mut self,
        tenant: &Tenant,
        batch: Arc<BufferedBatch>,
        now_ns: u64,
        partitions_max: usize,
    ) -> usize {
        if !self.active.is_empty() && self.active.partitions_with(tenant, &batch) > partitions_max {
            self.freeze();
        }
        self.visible_seq = batch.seq_max;
        self.active.push(tenant, batch, now_ns, &mut self.merger)
    }

    /// Takes over a delete, or the cancellation of one: what came before it is frozen, so that no
    /// batch, generation or segment has records on both sides of it.
    ///
    /// # Errors
    /// If its selector is not understood.
    pub(crate) fn publish_delete(
        &mut self,
        seq: Seq,
        tenant: &Tenant,
        logged: &Logged,
        selectors: &Selectors,
    ) -> Result<()> {
        if !self.active.is_empty() {
            // Its flush covers the delete, too.
            self.active.seq_max = seq;
            self.freeze();
        }
        self.visible_seq = seq;
        self.deletes.publish((seq, tenant), logged, selectors, &self.state.deletes)
    }

    /// The numbers up to `seq` are used.
    pub(crate) fn skip_to(&mut self, seq: Seq) {
        self.freeze();
        self.visible_seq = self.visible_seq.max(seq);
    }

    /// Ends the active generation, if it has records.
    pub(crate) fn freeze(&mut self) {
        if !self.active.is_empty() {
            self.frozen.push_back(Arc::new(std::mem::take(&mut self.active)));
        }
    }

    /// The generation to flush next.
    pub(crate) fn next_frozen(&self) -> Option<Arc<Generation>> {
        self.frozen.front().cloned()
    }

    pub(crate) fn active(&self) -> &Generation {
        &self.active
    }

    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.frozen.iter().map(|generation| &**generation).chain(std::iter::once(&self.active))
    }

    /// Takes over a committed state: its segments come, and generations that are in them go. Commits
    /// are told in any order: an older state than the present one changes nothing.
    pub(crate) fn install(&mut self, state: Arc<State>, opener: &Opener) -> Result<()> {
        if state.version <= self.state.version {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.state, Arc::clone(&state));
        while self.frozen.front().is_some_and(|generation| generation.seq_max <= state.flushed_seq) {
            self.frozen.pop_front();
        }
        self.deletes.install(&state.deletes, state.flushed_seq);
        self.refresh(Some(&before), opener)
    }

    /// Takes over the next state of a bucket that is followed: deletes come with it, and nothing else.
    pub(crate) fn follow(&mut self, state: Arc<State>, opener: &Opener, selectors: &Selectors) -> Result<()> {
        self.deletes = Live::new(&state.deletes, selectors)?;
        self.visible_seq = state.flushed_seq;
        let before = std::mem::replace(&mut self.state, state);
        self.refresh(Some(&before), opener)
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    pub(crate) fn deletes(&self) -> &Live {
        &self.deletes
    }

    /// Whether every record is in a segment.
    pub(crate) fn is_flushed(&self) -> bool {
        self.active.is_empty() && self.frozen.is_empty()
    }

    pub(crate) fn visible_seq(&self) -> Seq {
        self.visible_seq
    }

    /// What of a tenant's records is hidden at a time of retention's clock.
    pub(crate) fn hidden(&self, tenant: &Tenant, rules: &Rules, clock_ns: i64) -> Arc<Hidden> {
        let deleted = self.deletes.hides(tenant);
        if rules.is_empty() {
            return deleted.map_or_else(Arc::default, |hides| Arc::new(Hidden::new(i64::MIN, Arc::clone(hides))));
        }
        let expired = rules.hides(tenant, clock_ns).map(|(_, hide)| hide);
        let hides: Vec<_> = deleted.into_iter().flat_map(|hides| hides.iter().cloned()).chain(expired).collect();
        Arc::new(Hidden::new(rules.cutoff(tenant, clock_ns).unwrap_or(i64::MIN), hides))
    }

    pub(crate) fn snapshot(&self, tenant: &Tenant, rules: &Rules, clock_ns: i64) -> Snapshot {
        let batches =
            self.generations().filter_map(|generation| generation.tenants.get(tenant)).flatten().cloned().collect();
        let unreachable = self.state.unreachable_in(tenant, TimeRange::ALL);
        Snapshot {
            batches,
            segments: self.segments.get(tenant).cloned().unwrap_or_default(),
            unreachable: unreachable.map(ToString::to_string).collect(),
            hidden: self.hidden(tenant, rules, clock_ns),
            _state: Some(Arc::clone(&self.state)),
        }
    }

    /// Follows the present state: tenants that are not as they were `before` get their segments.
    fn refresh(&mut self, before: Option<&State>, opener: &Opener) -> Result<()> {
        for (tenant, months) in &self.state.tenants {
            let old = before.and_then(|before| before.tenants.get(tenant));
            if old.is_some_and(|old| Arc::ptr_eq(old, months)) {
                continue;
            }
            let segments = Arc::make_mut(self.segments.entry(tenant.clone()).or_default());
            segments.follow(old.map(|months| &**months), months, opener, &mut self.next_segment)?;
        }
        self.segments.retain(|tenant, _| self.state.tenants.contains_key(tenant));
        Ok(())
    }
}
