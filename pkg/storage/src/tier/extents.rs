//! Ranges of objects that are at hand, bounded by bytes: the one that was used longest ago goes first.
//!
//! Owns which ranges there are, and nothing of where their bytes are: that is the value's business.
//! Ranges may overlap; each counts whole.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Ranges that begin before a wanted one and are looked at to find one that covers it.
const LOOK_BACK: usize = 8;

/// Ranges by object.
pub(super) struct Extents<V> {
    objects: HashMap<Arc<str>, BTreeMap<u64, Extent<V>>>,
    /// By last use.
    uses: BTreeMap<u64, (Arc<str>, u64)>,
    clock: u64,
    bytes: u64,
    bytes_max: u64,
}

struct Extent<V> {
    len: u64,
    used: u64,
    value: V,
}

/// A range that went: its object, where it began, its length and its value.
pub(super) type Gone<V> = (Arc<str>, u64, u64, V);

impl<V: Clone> Extents<V> {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { objects: HashMap::new(), uses: BTreeMap::new(), clock: 0, bytes: 0, bytes_max }
    }

    /// The bytes of all ranges.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A range that covers the wanted one: where it begins, its length and its value. It counts as used now.
    pub(super) fn find(&mut self, object: &str, range: &Range<u64>) -> Option<(u64, u64, V)> {
        let (name, _) = self.objects.get_key_value(object)?;
        let name = Arc::clone(name);
        let extents = self.objects.get_mut(object)?;
        let (&start, extent) = extents
            .range_mut(..=range.start)
            .rev()
            .take(LOOK_BACK)
            .find(|(start, extent)| *start + extent.len >= range.end)?;
        self.clock += 1;
        self.uses.remove(&extent.used);
        extent.used = self.clock;
        self.uses.insert(self.clock, (name, start));
        Some((start, extent.len, extent.value.clone()))
    }

    /// Whether a range covers the wanted one; it does not count as used.
    pub(super) fn covers(&self, object: &str, range: &Range<u64>) -> bool {
        let Some(extents) = self.objects.get(object) else { return false };
        let mut before = extents.range(..=range.start).rev().take(LOOK_BACK);
        before.any(|(start, extent)| *start + extent.len >= range.end)
    }

    /// Whether a range of this length can be there at all.
    pub(super) fn has_room_for(&self, len: u64) -> bool {
        len <= self.bytes_max
    }

    /// Adds a range, and says which ones went for it. One that is longer than all may be is the one that goes.
    pub(super) fn insert(&mut self, object: &Arc<str>, start: u64, len: u64, value: V) -> Vec<Gone<V>> {
        if !self.has_room_for(len) {
            return vec![(Arc::clone(object), start, len, value)];
        }
        let mut gone: Vec<Gone<V>> = self.remove(object, start).into_iter().collect();
        self.clock += 1;
        self.uses.insert(self.clock, (Arc::clone(object), start));
        let extent = Extent { len, used: self.clock, value };
        self.objects.entry(Arc::clone(object)).or_default().insert(start, extent);
        self.bytes += len;
        gone.append(&mut self.shed(self.bytes.saturating_sub(self.bytes_max)));
        gone
    }

    /// Removes at least so many bytes of ranges, as far as there are any: those that were used longest ago.
    pub(super) fn shed(&mut self, bytes: u64) -> Vec<Gone<V>> {
        let (mut gone, left) = (Vec::new(), self.bytes.saturating_sub(bytes));
        while self.bytes > left {
            let Some((_, (object, start))) = self.uses.first_key_value() else { break };
            let (object, start) = (Arc::clone(object), *start);
            match self.remove(&object, start) {
                Some(extent) => gone.push(extent),
                None => break,
            }
        }
        gone
    }

    /// Removes all ranges that share a byte with this one.
    pub(super) fn forget(&mut self, object: &str, range: &Range<u64>) -> Vec<Gone<V>> {
        let Some(extents) = self.objects.get(object) else { return Vec::new() };
        let touching = extents.range(..range.end).filter(|(start, extent)| **start + extent.len > range.start);
        let starts: Vec<u64> = touching.map(|(&start, _)| start).collect();
        starts.into_iter().filter_map(|start| self.remove(object, start)).collect()
    }

    /// Removes one range.
    pub(super) fn remove(&mut self, object: &str, start: u64) -> Option<Gone<V>> {
        let (name, _) = self.objects.get_key_value(object)?;
        let name = Arc::clone(name);
        let extents = self.objects.get_mut(object)?;
        let extent = extents.remove(&start)?;
        if extents.is_empty() {
            self.objects.remove(object);
        }
        self.uses.remove(&extent.used);
        self.bytes -= extent.len;
        Some((name, start, extent.len, extent.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first_and_the_bound_holds() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut extents = Extents::new(100);
        assert!(extents.insert(&a, 0, 40, 1).is_empty());
        assert!(extents.insert(&b, 10, 40, 2).is_empty());
        assert_eq!(extents.find("a", &(5..40)), Some((0, 40, 1)));
        assert_eq!(extents.find("a", &(5..41)), None);
        assert_eq!(extents.find("b", &(9..12)), None);
        assert_eq!(extents.insert(&a, 100, 30, 3), vec![(b, 10, 40, 2)], "the other one was used since");
        assert_eq!(extents.bytes(), 70);
        assert_eq!(extents.insert(&a, 0, 101, 4).len(), 1, "too long for all of it");
        assert_eq!(extents.bytes(), 70);
        assert_eq!(extents.shed(1).len(), 1);
        assert_eq!((extents.bytes(), extents.shed(u64::MAX).len(), extents.bytes()), (30, 1, 0));
    }

    #[test]
    fn ranges_that_overlap_are_found_and_forgotten() {
        let a: Arc<str> = "a".into();
        let mut extents = Extents::new(1000);
        extents.insert(&a, 0, 100, 1);
        extents.insert(&a, 20, 10, 2);
        assert_eq!(extents.find("a", &(25..60)), Some((0, 100, 1)));
        assert!(extents.covers("a", &(25..30)) && !extents.covers("a", &(95..101)));
        assert_eq!(extents.forget("a", &(29..30)).len(), 2);
        assert_eq!((extents.bytes(), extents.find("a", &(25..26))), (0, None));
        extents.insert(&a, 7, 3, 1);
        assert_eq!(extents.insert(&a, 7, 5, 2), vec![(a, 7, 3, 1)], "one range a place");
        assert_eq!(extents.bytes(), 5);
    }
}
