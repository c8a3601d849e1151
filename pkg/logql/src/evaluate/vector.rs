//! Vector aggregations: the elements of a vector that come to the same labels become one, or the
//! largest of them stay.
//!
//! Elements come in the order of the nodes below, which is that of labels; of equal values the
//! first is the one that `topk` keeps and `sort` puts ahead.

use std::cmp::Ordering;

use super::node::Node;
use super::run::{Failure, Run, Sample, SetId, SetMap, StepNotes, without_empty};
use super::samples::keeps_infinity;
use crate::Labels;
use crate::ast::{Grouping, VectorOp};

/// The name of a metric, which no grouping but `by` keeps.
const METRIC_NAME_LABEL: &str = "__name__";

/// A vector aggregation.
pub(super) struct VectorNode {
    inner: Node,
    op: VectorOp,
    /// How many `topk` keeps.
    keep: usize,
    grouping: Grouping,
    grouped: SetMap,
    places: StepNotes,
    elements: Vec<Sample>,
    groups: Vec<Group>,
    /// Elements with the place of their group, for what keeps elements.
    members: Vec<(usize, Sample)>,
}

struct Group {
    set: SetId,
    value: f64,
    mean: f64,
    count: f64,
}

impl VectorNode {
    /// An aggregation; `keep` is the parameter of `topk`.
    pub(super) fn new(inner: Node, op: VectorOp, keep: usize, grouping: Grouping) -> Self {
        Self {
            inner,
            op,
            keep,
            grouping,
            grouped: SetMap::default(),
            places: StepNotes::default(),
            elements: Vec::new(),
            groups: Vec::new(),
            members: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, index: usize, run: &mut Run<'_>, out: &mut Vec<Sample>) -> Result<(), Failure> {
        self.inner.step(index, run, &mut self.elements)?;
        run.work(self.elements.len())?;
        self.places.begin();
        self.groups.clear();
        self.members.clear();
        let keeps_elements = keeps_elements(self.op);
        for &element in &self.elements {
            let (grouping, op) = (&self.grouping, self.op);
            let set =
                self.grouped.get(element.set, run, |run, labels| run.number(group_labels(labels, grouping, op)))?;
            let place = match self.places.get(set) {
                Some(place) => {
                    if let (false, Some(group)) = (keeps_elements, self.groups.get_mut(place)) {
                        group.add(self.op, element.value);
                    }
                    place
                }
                None => {
                    let place = self.groups.len();
                    self.places.set(set, place);
                    self.groups.push(Group::new(self.op, set, element.value));
                    place
                }
            };
            if keeps_elements {
                self.members.push((place, element));
            }
        }
        if keeps_elements {
            self.pick(out);
        } else {
            out.extend(self.groups.iter().map(|group| Sample { set: group.set, value: group.result(self.op) }));
        }
        Ok(())
    }

    /// The elements that stay, group by group, in the order of their values.
    fn pick(&mut self, out: &mut Vec<Sample>) {
        let largest_first = matches!(self.op, VectorOp::Topk | VectorOp::ApproxTopk | VectorOp::SortDesc);
        let limit = match self.op {
            VectorOp::Sort | VectorOp::SortDesc => usize::MAX,
            _ => self.keep,
        };
        self.members.sort_by(|(left_group, left), (right_group, right)| {
            left_group.cmp(right_group).then_with(|| {
                let (left, right) = (left.value, right.value);
                match (left.is_nan(), right.is_nan()) {
                    (false, false) if largest_first => right.partial_cmp(&left).unwrap_or(Ordering::Equal),
                    (false, false) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
                    // NaN comes last either way.
                    (left_is_nan, right_is_nan) => left_is_nan.cmp(&right_is_nan),
                }
            })
        });
        let (mut group, mut taken) = (usize::MAX, 0);
        for &(place, element) in &self.members {
            if place != group {
                (group, taken) = (place, 0);
            }
            if taken < limit {
                taken += 1;
                out.push(element);
            }
        }
    }
}

impl Group {
    fn new(op: VectorOp, set: SetId, first: f64) -> Self {
        let value = if matches!(op, VectorOp::Stddev | VectorOp::Stdvar) { 0.0 } else { first };
        Self { set, value, mean: first, count: 1.0 }
    }

    fn add(&mut self, op: VectorOp, value: f64) {
        self.count += 1.0;
        match op {
            VectorOp::Sum => self.value += value,
            VectorOp::Avg if keeps_infinity(self.mean, value) => {}
            VectorOp::Avg => self.mean += (value - self.mean) / self.count,
            VectorOp::Max if self.value < value || self.value.is_nan() => self.value = value,
            VectorOp::Min if self.value > value || self.value.is_nan() => self.value = value,
            VectorOp::Stddev | VectorOp::Stdvar => {
                let delta = value - self.mean;
                self.mean += delta / self.count;
                self.value += delta * (value - self.mean);
            }
            _ => {}
        }
    }

    fn result(&self, op: VectorOp) -> f64 {
        match op {
            VectorOp::Avg => self.mean,
            VectorOp::Count => self.count,
            VectorOp::Stddev => (self.value / self.count).sqrt(),
            VectorOp::Stdvar => self.value / self.count,
            _ => self.value,
        }
    }
}

/// Whether elements stay what they are.
fn keeps_elements(op: VectorOp) -> bool {
    matches!(op, VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk | VectorOp::Sort | VectorOp::SortDesc)
}

fn group_labels(labels: &Labels, grouping: &Grouping, op: VectorOp) -> Labels {
    // Loki divides a sum by a count for a mean, and a division leaves empty labels out.
    let mut labels = if op == VectorOp::Avg { without_empty(labels) } else { labels.clone() };
    let named = |name: &str| grouping.names.iter().any(|other| other == name);
    if grouping.without {
        labels = without_empty(&labels);
        labels.retain(|name| !named(name) && name != METRIC_NAME_LABEL);
    } else {
        labels.retain(named);
    }
    labels
}
