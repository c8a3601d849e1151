//! Binary operations between two vectors: which elements belong together, and what labels the
//! results have.

use std::collections::{HashMap, HashSet};

use super::node::Node;
use super::run::{Failure, Run, Sample, SetId, SetMap, StepNotes, without_empty};
use super::{EvaluateError, arithmetic};
use crate::Labels;
use crate::ast::{BinaryOp, Cardinality, VectorMatching};

/// A binary operation between two vectors.
pub(super) struct BinaryNode {
    left: Node,
    right: Node,
    op: BinaryOp,
    return_bool: bool,
    matching: VectorMatching,
    signatures: SetMap,
    /// The labels of results where they depend on one side only.
    results: SetMap,
    /// The labels of results that take over labels from the other side.
    results_of_pairs: HashMap<(SetId, SetId), SetId>,
    left_elements: Vec<Sample>,
    right_elements: Vec<Sample>,
    /// By signature: the place of the element on the side that must be unique.
    places: StepNotes,
    /// By signature: whether an element of the other side was matched.
    matched: StepNotes,
    /// Signature and labels of the results on the side with several.
    inserted: HashSet<(SetId, SetId)>,
}

impl BinaryNode {
    /// An operation; without `matching`, elements with equal labels belong together.
    pub(super) fn new(
        left: Node,
        right: Node,
        op: BinaryOp,
        return_bool: bool,
        matching: Option<VectorMatching>,
    ) -> Self {
        let matching = matching.unwrap_or_else(|| VectorMatching {
            on: false,
            names: Vec::new(),
            cardinality: Cardinality::OneToOne,
            include: Vec::new(),
        });
        Self {
            left,
            right,
            op,
            return_bool,
            matching,
            signatures: SetMap::default(),
            results: SetMap::default(),
            results_of_pairs: HashMap::new(),
            left_elements: Vec::new(),
            right_elements: Vec::new(),
            places: StepNotes::default(),
            matched: StepNotes::default(),
            inserted: HashSet::new(),
        }
    }

    pub(super) fn step(&mut self, index: usize, run: &mut Run<'_>, out: &mut Vec<Sample>) -> Result<(), Failure> {
        // The right side first: if both fail, its error is the one that Loki reports.
        self.right.step(index, run, &mut self.right_elements)?;
        self.left.step(index, run, &mut self.left_elements)?;
        run.work(self.left_elements.len() + self.right_elements.len())?;
        self.places.begin();
        match self.op {
            BinaryOp::And => self.keep_left(run, out, |matches| matches),
            BinaryOp::Unless => self.keep_left(run, out, |matches| !matches),
            BinaryOp::Or => self.either(run, out),
            _ => self.pairs(run, out),
        }
    }

    /// `and`, `unless`: the left elements that match any of the right side, or none.
    fn keep_left(&mut self, run: &mut Run<'_>, out: &mut Vec<Sample>, keeps: fn(bool) -> bool) -> Result<(), Failure> {
        for right in &self.right_elements {
            self.places.set(signature(&mut self.signatures, &self.matching, right.set, run)?, 0);
        }
        for left in &self.left_elements {
            let signature = signature(&mut self.signatures, &self.matching, left.set, run)?;
            if keeps(self.places.get(signature).is_some()) {
                out.push(*left);
            }
        }
        Ok(())
    }

    /// `or`: the left elements, and those of the right side that match none of them.
    fn either(&mut self, run: &mut Run<'_>, out: &mut Vec<Sample>) -> Result<(), Failure> {
        for left in &self.left_elements {
            self.places.set(signature(&mut self.signatures, &self.matching, left.set, run)?, 0);
        }
        out.extend_from_slice(&self.left_elements);
        for right in &self.right_elements {
            let signature = signature(&mut self.signatures, &self.matching, right.set, run)?;
            if self.places.get(signature).is_none() {
                out.push(*right);
            }
        }
        Ok(())
    }

    /// Arithmetic and comparisons: element by element.
    fn pairs(&mut self, run: &mut Run<'_>, out: &mut Vec<Sample>) -> Result<(), Failure> {
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped {
            (&self.right_elements, &self.left_elements)
        } else {
            (&self.left_elements, &self.right_elements)
        };
        for (place, element) in one.iter().enumerate() {
            let signature = signature(&mut self.signatures, &self.matching, element.set, run)?;
            if self.places.get(signature).is_some() {
                return Err(EvaluateError::ManyToMany { side: if swapped { "left" } else { "right" } });
            }
            self.places.set(signature, place);
        }
        self.matched.begin();
        self.inserted.clear();
        let filters = arithmetic::compares(self.op) && !self.return_bool;
        for element in many {
            let signature = signature(&mut self.signatures, &self.matching, element.set, run)?;
            let Some(&partner) = self.places.get(signature).and_then(|place| one.get(place)) else { continue };
            let set = if self.matching.include.is_empty() {
                let matching = &self.matching;
                self.results.get(element.set, run, |run, labels| run.number(result_labels(labels, None, matching)))?
            } else {
                match self.results_of_pairs.get(&(element.set, partner.set)) {
                    Some(&set) => set,
                    None => {
                        let (many, one) = (run.labels(element.set), run.labels(partner.set));
                        let set = run.number(result_labels(&many, Some(&one), &self.matching))?;
                        run.take(size_of::<(SetId, SetId, SetId)>() * 2)?;
                        self.results_of_pairs.insert((element.set, partner.set), set);
                        set
                    }
                }
            };
            if self.matching.cardinality == Cardinality::OneToOne {
                if self.matched.get(signature).is_some() {
                    return Err(EvaluateError::ManyToOne);
                }
                self.matched.set(signature, 0);
            } else if !self.inserted.insert((signature, set)) {
                return Err(EvaluateError::NotUnique);
            }
            let (left, right) = if swapped { (partner.value, element.value) } else { (element.value, partner.value) };
            let result = arithmetic::apply(self.op, left, right);
            if !filters {
                out.push(Sample { set, value: result });
            } else if result == 1.0 {
                out.push(Sample { set, value: left });
            }
        }
        Ok(())
    }
}

/// The labels by which elements are matched.
fn signature(
    signatures: &mut SetMap,
    matching: &VectorMatching,
    set: SetId,
    run: &mut Run<'_>,
) -> Result<SetId, Failure> {
    signatures.get(set, run, |run, labels| {
        let mut labels = without_empty(labels);
        labels.retain(|name| matching.names.iter().any(|other| other == name) == matching.on);
        run.number(labels)
    })
}

/// The labels of a result: those of the side with several, or if there is none, those that are
/// matched; and those taken over from the other side.
fn result_labels(many: &Labels, one: Option<&Labels>, matching: &VectorMatching) -> Labels {
    let mut labels = without_empty(many);
    if matching.cardinality == Cardinality::OneToOne {
        labels.retain(|name| matching.names.iter().any(|other| other == name) == matching.on);
    }
    if let Some(one) = one {
        for name in &matching.include {
            labels.set(name, one.get(name));
        }
    }
    labels
}
