//! The deletes that hide records now: those of the manifest, and those that were published since.
//!
//! Part of the view, so one step with the records: whoever takes a snapshot sees a delete everywhere
//! or nowhere. It knows which of them the manifest does not name yet.

use super::list::Deletes;
use super::logged::{Logged, What};
use super::{Selectors, Tombstone};
use crate::hidden::{Hide, Upto};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use timberlog_types::{Result, Seq, Tenant};

/// A delete that hides records.
#[derive(Clone, Debug)]
pub(crate) struct LiveDelete {
    pub(crate) tombstone: Tombstone,
    pub(crate) hide: Arc<Hide>,
    /// Whether the manifest names it.
    pub(crate) is_committed: bool,
}

/// The deletes of a view.
#[derive(Debug, Default)]
pub(crate) struct Live {
    deletes: BTreeMap<Seq, LiveDelete>,
    /// Cancelled deletes that the manifest still names as live: the cancellation's number, and the id.
    cancelled: Vec<(Seq, String)>,
    /// What each tenant's deletes hide.
    hides: HashMap<Tenant, Arc<[Arc<Hide>]>>,
}

impl Live {
    /// The deletes of a state.
    ///
    /// # Errors
    /// If a selector is not understood: without it records that were deleted would be back.
    pub(crate) fn new(deletes: &Deletes, selectors: &Selectors) -> Result<Self> {
        let mut live = Self::default();
        for entry in deletes.live() {
            live.add(entry.tombstone.clone(), selectors, None, true)?;
        }
        Ok(live)
    }

    /// Takes over what a frame says. `deletes` is what the manifest has: a frame that is read again
    /// changes nothing.
    ///
    /// # Errors
    /// If a selector is not understood.
    pub(crate) fn publish(
        &mut self,
        (seq, tenant): (Seq, &Tenant),
        logged: &Logged,
        selectors: &Selectors,
        deletes: &Deletes,
    ) -> Result<()> {
        match logged.what() {
            What::Cancel { id } => {
                let found = self.deletes.iter().find(|(_, delete)| delete.tombstone.id == *id);
                if let Some((&of, _)) = found
                    && let Some(delete) = self.deletes.remove(&of)
                {
                    // Also where the manifest does not know it: a commit under way may name it yet.
                    self.cancelled.push((seq, id.clone()));
                    self.renew(&delete.tombstone.tenant);
                }
            }
            what @ What::Delete { id, .. } => {
                let is_known = deletes.get(id).is_some() || self.deletes.contains_key(&seq);
                if !is_known && let Some(tombstone) = what.tombstone(tenant, seq) {
                    self.add(tombstone, selectors, Some(logged), false)?;
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        tombstone: Tombstone,
        selectors: &Selectors,
        logged: Option<&Logged>,
        is_committed: bool,
    ) -> Result<()> {
        let filter = match logged.and_then(Logged::compiled) {
            Some(compiled) => Arc::clone(compiled),
            None => selectors.compile(&tombstone.selector).map_err(|error| {
                let (id, tenant) = (&tombstone.id, &tombstone.tenant);
                error.context(format!(
                    "delete `{id}` of tenant `{tenant}` is not understood, and what it deletes must not be shown"
                ))
            })?,
        };
        let name = format!("delete {}", tombstone.id);
        let (selector, upto) = (tombstone.selector.clone(), Upto::Seq(tombstone.seq));
        let hide = Arc::new(Hide { filter, selector, range: tombstone.range, name, upto });
        let tenant = tombstone.tenant.clone();
        self.deletes.insert(tombstone.seq, LiveDelete { tombstone, hide, is_committed });
        self.renew(&tenant);
        Ok(())
    }

    /// Takes over what a newer state says, whose `flushed_seq` this is.
    pub(crate) fn install(&mut self, deletes: &Deletes, flushed_seq: Seq) {
        let mut changed: Vec<Tenant> = Vec::new();
        self.deletes.retain(|seq, delete| {
            let entry = deletes.of_seq(*seq);
            let stays = match entry {
                Some(entry) => entry.is_live(),
                // One that was named and is not any more ended long ago.
                None => !delete.is_committed,
            };
            delete.is_committed |= entry.is_some();
            if !stays {
                changed.push(delete.tombstone.tenant.clone());
            }
            stays
        });
        self.cancelled.retain(|(seq, id)| deletes.get(id).map_or(*seq > flushed_seq, |entry| entry.is_live()));
        for tenant in changed {
            self.renew(&tenant);
        }
    }

    fn renew(&mut self, tenant: &Tenant) {
        let hides: Vec<_> = self.of(tenant).map(|delete| Arc::clone(&delete.hide)).collect();
        if hides.is_empty() {
            self.hides.remove(tenant);
        } else {
            self.hides.insert(tenant.clone(), hides.into());
        }
    }

    /// What the deletes of a tenant hide.
    pub(crate) fn hides(&self, tenant: &Tenant) -> Option<&Arc<[Arc<Hide>]>> {
        self.hides.get(tenant)
    }

    /// The deletes of a tenant, in the order of their numbers.
    pub(crate) fn of<'a>(&'a self, tenant: &'a Tenant) -> impl Iterator<Item = &'a LiveDelete> {
        self.deletes.values().filter(move |delete| delete.tombstone.tenant == *tenant)
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LiveDelete> {
        self.deletes.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.deletes.len()
    }

    /// Whether a delete was cancelled, though the manifest does not say so yet.
    pub(crate) fn is_cancelled(&self, id: &str) -> bool {
        self.cancelled.iter().any(|(_, cancelled)| cancelled == id)
    }

    /// What the manifest does not say yet, of the frames up to `synced_seq`: deletes, and ids of those
    /// that were cancelled.
    pub(crate) fn uncommitted(&self, synced_seq: Seq) -> (Vec<Tombstone>, Vec<String>) {
        let new = self.deletes.range(..=synced_seq).filter(|(_, delete)| !delete.is_committed);
        let cancelled = self.cancelled.iter().filter(|(seq, _)| *seq <= synced_seq);
        (new.map(|(_, delete)| delete.tombstone.clone()).collect(), cancelled.map(|(_, id)| id.clone()).collect())
    }

    /// The highest number of a frame that the manifest does not know of; 0 if there is none.
    pub(crate) fn uncommitted_seq(&self) -> Seq {
        let new = self.deletes.iter().rev().find(|(_, delete)| !delete.is_committed).map_or(0, |(seq, _)| *seq);
        self.cancelled.iter().map(|(seq, _)| *seq).fold(new, Seq::max)
    }
}
