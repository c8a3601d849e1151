//! Which stored fields LogQL sees under a name.

use super::view;
use crate::aggregate::{Dimension, RowSide, StreamSide};
use crate::budget::Budget;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use timberlog_storage::Snapshot;
use timberlog_storage::segment::fetch_indexes;
use timberlog_types::TimeRange;

/// The fields that records of a range of time have, by their stored names.
pub(crate) struct FieldNames<'a> {
    stored: OnceCell<BTreeSet<String>>,
    /// Where they are looked up when they are first asked for.
    place: Option<(&'a Snapshot, TimeRange, &'a Budget)>,
    derived: bool,
}

/// What a name stands for where no stage has made a label.
pub(crate) enum Meaning {
    /// The stream's label, else what each record has.
    Column(Dimension),
    /// Something that only the labels of each record tell.
    Unclear,
}

impl FieldNames<'static> {
    /// Looks at the directories of segments and the batches that overlap a range. A segment that
    /// cannot be opened has nothing to say here: the plan reports it.
    pub fn of(snapshot: &Snapshot, range: TimeRange, derived: bool, budget: &Budget) -> Self {
        Self { stored: look_up(snapshot, range, budget).into(), place: None, derived }
    }
}

impl<'a> FieldNames<'a> {
    /// The same, but looks when a name is first asked for: a query that names none opens no segment for it.
    pub fn when_asked(snapshot: &'a Snapshot, range: TimeRange, derived: bool, budget: &'a Budget) -> Self {
        Self { stored: OnceCell::new(), place: Some((snapshot, range, budget)), derived }
    }

    fn stored(&self) -> &BTreeSet<String> {
        let look = || self.place.map(|(snapshot, range, budget)| look_up(snapshot, range, budget));
        self.stored.get_or_init(|| look().unwrap_or_default())
    }

    /// What a name means.
    pub fn meaning(&self, name: &str) -> Meaning {
        // Labels that stages and collisions make.
        if name.ends_with("_extracted") || name.starts_with("__") {
            return Meaning::Unclear;
        }
        let mut fields = self.stored().iter().filter(|stored| view::is_named(stored, name));
        let row = match (fields.next(), fields.next()) {
            (Some(_), Some(_)) => return Meaning::Unclear,
            // The column that is asked is the one of that very name.
            (Some(stored), None) if name == view::DETECTED_LEVEL && self.derived && stored != name => {
                return Meaning::Unclear;
            }
            (_, None) if name == view::DETECTED_LEVEL && self.derived => RowSide::DetectedLevel,
            // Where a field tells the level, it was not sent as `level` besides.
            _ if name == view::LEVEL && self.stored().iter().any(|stored| view::is_level_key(stored)) => {
                return Meaning::Unclear;
            }
            (None, _) if name == view::LEVEL => RowSide::Spelling,
            (Some(stored), None) => RowSide::Field(stored.clone()),
            (None, _) => RowSide::None,
        };
        Meaning::Column(Dimension { stream: StreamSide::View { name: name.to_owned(), derived: self.derived }, row })
    }
}

fn look_up(snapshot: &Snapshot, range: TimeRange, budget: &Budget) -> BTreeSet<String> {
    let mut stored = BTreeSet::new();
    let mut add = |name: &str| {
        if !stored.contains(name) {
            stored.insert(name.to_owned());
        }
    };
    let near = || snapshot.segments.in_days_of(range).filter(|segment| range.overlaps(segment.entry.range));
    let _ = budget.with_demand(|demand| fetch_indexes(near().filter(|segment| segment.is_cold()), demand));
    for segment in near() {
        if let Ok(files) = budget.with_demand(|demand| segment.open_for(demand)) {
            files.reader.directory().field_names.iter().for_each(|name| add(name));
        }
    }
    for batch in snapshot.batches.iter().filter(|batch| range.overlaps(batch.range)) {
        batch.batch.fields().for_each(|field| add(field.name()));
    }
    stored
}
