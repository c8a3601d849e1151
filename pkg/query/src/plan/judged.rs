//! What is found out once about deletes and retention in a segment, and used by every query after that: which of them
//! may hide rows of it, and of which blocks. A database may have hundreds of live deletes, and hardly any of them is about
//! a given block.
//!
//! It is kept beside the segment and its opened files, as long as these are, and depends on nothing of a query.

use crate::source::Known;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use timberlog_filter::Verdict;
use timberlog_segment::BlockMeta;
use timberlog_storage::hidden::{Hidden, Hide};
use timberlog_storage::{Opened, Segment};

/// What more hides than this say of one segment is not kept: that would take too much memory.
const KEPT_MAX: usize = 1024;

type Hides = Arc<[Arc<Hide>]>;

/// What the manifest entry of a segment tells of hides.
pub(super) struct OfEntry {
    list: Hides,
    /// Those that may hide rows of it, by number, and what is known of all rows.
    pub(super) touching: Vec<(u32, Verdict)>,
}

/// What the files of a segment tell of hides.
pub(crate) struct OfFiles {
    list: Hides,
    /// By number, ascending: those that may hide rows of some block.
    judged: Vec<(u32, Arc<Judged>)>,
    /// By number: those that hide no row of it, though its manifest entry does not say so.
    never: Vec<u32>,
    /// By block: places in `judged` of those that may hide rows of it.
    blocks: Vec<Vec<u32>>,
}

/// What the files of a segment tell of one hide.
pub(crate) struct Judged {
    pub(crate) known: Known,
    /// By block.
    verdicts: Vec<AtomicU8>,
}

const NEVER: u8 = 0;
const MAYBE: u8 = 1;
const ALWAYS: u8 = 2;
/// Perhaps, and token filters were not asked yet.
const UNASKED: u8 = 3;

impl OfEntry {
    /// Of a segment; found out anew when the hides have changed.
    pub(super) fn of(segment: &Segment, hidden: &Hidden) -> Arc<Self> {
        let list = hidden.list();
        if let Some(kept) = segment.notes.get::<Self>().filter(|kept| is_same(&kept.list, list)) {
            return kept;
        }
        let entry = &segment.entry;
        let touching = (0_u32..)
            .zip(list.iter())
            .filter(|(_, hide)| hide.touches(entry))
            .map(|(number, hide)| (number, super::entry_verdict(&hide.filter, entry).0))
            .filter(|(_, verdict)| *verdict != Verdict::Never)
            .collect();
        let new = Arc::new(Self { list: Arc::clone(list), touching });
        if new.touching.len() <= KEPT_MAX {
            segment.notes.put(&new);
        }
        new
    }
}

impl OfFiles {
    /// Of opened files; only what is new among the hides is found out anew.
    pub(crate) fn of(segment: &Segment, files: &Opened, hidden: &Hidden) -> Arc<Self> {
        let list = hidden.list();
        let kept = files.notes.get::<Self>();
        if let Some(kept) = kept.as_ref().filter(|kept| is_same(&kept.list, list)) {
            return Arc::clone(kept);
        }
        let mut old: HashMap<*const Hide, Option<&Arc<Judged>>> = HashMap::new();
        if let Some(kept) = &kept {
            let hide = |number: u32| kept.list.get(number as usize).map(Arc::as_ptr);
            old.extend(kept.judged.iter().filter_map(|(number, judged)| Some((hide(*number)?, Some(judged)))));
            old.extend(kept.never.iter().filter_map(|&number| Some((hide(number)?, None))));
        }
        let (mut judged, mut never) = (Vec::new(), Vec::new());
        let mut blocks = vec![Vec::new(); files.reader.directory().blocks.len()];
        for &(number, _) in &OfEntry::of(segment, hidden).touching {
            let Some(hide) = list.get(number as usize) else { continue };
            let found = match old.get(&Arc::as_ptr(hide)) {
                Some(Some(known)) => Arc::clone(known),
                Some(None) => {
                    never.push(number);
                    continue;
                }
                None => Arc::new(Judged::new(files, hide)),
            };
            if !found.is_near() {
                never.push(number);
                continue;
            }
            let place = judged.len() as u32;
            for (verdict, of_block) in found.verdicts.iter().zip(&mut blocks) {
                if verdict.load(Relaxed) != NEVER {
                    of_block.push(place);
                }
            }
            judged.push((number, found));
        }
        let new = Arc::new(Self { list: Arc::clone(list), judged, never, blocks });
        if new.judged.len() <= KEPT_MAX {
            files.notes.put(&new);
        }
        new
    }

    /// Those that may hide rows of a block, by number, with what is known of it.
    pub(crate) fn of_block(&self, block: &BlockMeta) -> impl Iterator<Item = (u32, &Judged, Verdict)> {
        let places = self.blocks.get(block.number as usize).into_iter().flatten();
        let judged = places.filter_map(|&place| self.judged.get(place as usize));
        let judged = judged.map(|(number, judged)| (*number, &**judged, judged.verdict(block)));
        judged.filter(|(.., verdict)| *verdict != Verdict::Never)
    }

    /// What is known of one of them.
    pub(crate) fn judged(&self, number: u32) -> Option<&Judged> {
        let place = self.judged.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.judged.get(place).map(|(_, judged)| &**judged)
    }

    /// The numbers of those that may hide rows of some block.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.judged.iter().filter(|(_, judged)| judged.is_near()).map(|(number, _)| *number)
    }
}

impl Judged {
    fn new(files: &Opened, hide: &Hide) -> Self {
        let known = Known::new(files, &hide.filter);
        let blocks = &files.reader.directory().blocks;
        let verdict = |block| match known.judge(&hide.filter, block) {
            Verdict::Never => NEVER,
            Verdict::Maybe => UNASKED,
            Verdict::Always => ALWAYS,
        };
        let verdicts = blocks.iter().map(|block| AtomicU8::new(verdict(block))).collect();
        Self { known, verdicts }
    }

    /// Whether it may hide rows of some block.
    fn is_near(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.load(Relaxed) != NEVER)
    }

    /// What is known of a block.
    pub(crate) fn verdict(&self, block: &BlockMeta) -> Verdict {
        self.asked(block).unwrap_or(Verdict::Maybe)
    }

    /// The same; `None` if token filters may know more.
    pub(crate) fn asked(&self, block: &BlockMeta) -> Option<Verdict> {
        match self.verdicts.get(block.number as usize)?.load(Relaxed) {
            NEVER => Some(Verdict::Never),
            MAYBE => Some(Verdict::Maybe),
            ALWAYS => Some(Verdict::Always),
            _ => None,
        }
    }

    /// Notes what token filters know of a block.
    pub(crate) fn note(&self, block: &BlockMeta, verdict: Verdict) {
        if let Some(of_block) = self.verdicts.get(block.number as usize) {
            let verdict = match verdict {
                Verdict::Never => NEVER,
                Verdict::Maybe => MAYBE,
                Verdict::Always => ALWAYS,
            };
            of_block.store(verdict, Relaxed);
        }
    }
}

/// Whether two lists have the same hides.
fn is_same(a: &Hides, b: &Hides) -> bool {
    Arc::ptr_eq(a, b) || (a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| Arc::ptr_eq(a, b)))
}
