//! From the tree of a query to nodes that can be evaluated: numbers are folded, groupings handed
//! down to the leaves, and the samples of the leaves loaded.

use std::rc::Rc;

use super::binary::BinaryNode;
use super::node::{Node, RangeNode, RangeSeries, ScalarNode};
use super::replace::ReplaceNode;
use super::run::{Failure, Run, Sample};
use super::vector::VectorNode;
use super::window::{Measure, WindowOver};
use super::{EvaluateError, LeafSeries, Samples, Steps, Windows, arithmetic, pipeline_error};
use crate::Labels;
use crate::ast::{
    BinaryExpr, BinaryOp, Grouping, MatchOp, MetricExpr, RangeAggregation, RangeOp, VectorAggregation, VectorOp,
};

/// How deep a tree may be; the parser's limit is lower.
const DEPTH_MAX: usize = 512;

/// The number that a query without vectors comes to.
pub(super) fn number(expr: &MetricExpr, depth: usize) -> Result<Option<f64>, Failure> {
    if depth > DEPTH_MAX {
        return Err(EvaluateError::TooDeep);
    }
    match expr {
        MetricExpr::Literal(value) => Ok(Some(*value)),
        MetricExpr::Binary(binary) => {
            let (left, right) = (number(&binary.left, depth + 1)?, number(&binary.right, depth + 1)?);
            if let (true, Some((side, value))) = (
                arithmetic::combines_sets(binary.op),
                left.map(|value| ("left", value)).or(right.map(|value| ("right", value))),
            ) {
                return Err(EvaluateError::LiteralInSetOperation { side, op: set_operator(binary.op), value });
            }
            Ok(left.zip(right).map(|(left, right)| arithmetic::apply(binary.op, left, right)))
        }
        _ => Ok(None),
    }
}

/// Whether the elements of the answer are in the order of a `sort` and not in that of labels.
pub(super) fn sorts(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Vector(vector) => matches!(vector.op, VectorOp::Sort | VectorOp::SortDesc) || sorts(&vector.inner),
        MetricExpr::Binary(binary) => sorts(&binary.left) || sorts(&binary.right),
        MetricExpr::LabelReplace(replace) => sorts(&replace.inner),
        MetricExpr::Range(_) | MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => false,
    }
}

/// Builds the nodes of a query.
pub(super) struct Planner<'p, 'e> {
    pub(super) steps: Steps,
    /// How many steps there are.
    pub(super) count: usize,
    /// What was loaded: leaves that differ in their operation only are loaded once.
    pub(super) loaded: Vec<Loaded<'e>>,
    pub(super) run: &'p mut Run<'e>,
}

/// A leaf whose samples were loaded.
pub(super) struct Loaded<'e> {
    leaf: &'e RangeAggregation,
    grouping: Option<Grouping>,
    series: Rc<Vec<LeafSeries>>,
}

impl<'e> Planner<'_, 'e> {
    /// The node of an expression.
    pub(super) fn node(&mut self, expr: &'e MetricExpr, depth: usize) -> Result<Node, Failure> {
        if depth > DEPTH_MAX {
            return Err(EvaluateError::TooDeep);
        }
        if number(expr, depth)?.is_some() {
            return Err(EvaluateError::NumberInsteadOfVector);
        }
        match expr {
            MetricExpr::Range(leaf) if leaf.op == RangeOp::AbsentOverTime => {
                let everything = Grouping { without: false, names: Vec::new() };
                let set = self.run.number(absent_labels(leaf))?;
                Ok(Node::Absent(self.range(leaf, Some(everything))?, set))
            }
            MetricExpr::Range(leaf) => Ok(Node::Range(self.range(leaf, leaf.grouping.clone())?)),
            MetricExpr::Vector(vector) => self.vector(vector, depth),
            MetricExpr::Binary(binary) => self.binary(binary, depth),
            MetricExpr::LabelReplace(replace) => {
                let inner = self.node(&replace.inner, depth + 1)?;
                Ok(Node::Replace(Box::new(ReplaceNode::new(inner, replace)?)))
            }
            MetricExpr::VectorLiteral(value) | MetricExpr::Literal(value) => {
                Ok(Node::Constant(Sample { set: self.run.number(Labels::default())?, value: *value }))
            }
        }
    }

    fn vector(&mut self, vector: &'e VectorAggregation, depth: usize) -> Result<Node, Failure> {
        if vector.op == VectorOp::ApproxTopk && self.steps.step_ns != 0 {
            return Err(EvaluateError::ApproxTopkInRange);
        }
        let grouping = vector.grouping.clone().unwrap_or(Grouping { without: false, names: Vec::new() });
        let inner = match &vector.inner {
            MetricExpr::Range(leaf) if vector.op == VectorOp::Sum && leaf.grouping.is_none() && adds_up(leaf.op) => {
                Node::Range(self.range(leaf, Some(grouping.clone()))?)
            }
            inner => self.node(inner, depth + 1)?,
        };
        let keep = match (vector.op, vector.parameter) {
            (VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk, None) => {
                return Err(EvaluateError::ParameterMissing { op: "topk" });
            }
            (_, parameter) => usize::try_from(parameter.unwrap_or(0)).unwrap_or(0),
        };
        Ok(Node::Vector(Box::new(VectorNode::new(inner, vector.op, keep, grouping))))
    }

    fn binary(&mut self, binary: &'e BinaryExpr, depth: usize) -> Result<Node, Failure> {
        let (left, right) = (number(&binary.left, depth + 1)?, number(&binary.right, depth + 1)?);
        let (number, inner, number_first) = match (left, right) {
            (Some(number), _) => (number, &binary.right, true),
            (None, Some(number)) => (number, &binary.left, false),
            (None, None) => {
                let left = self.node(&binary.left, depth + 1)?;
                let right = self.node(&binary.right, depth + 1)?;
                let node = BinaryNode::new(left, right, binary.op, binary.return_bool, binary.matching.clone());
                return Ok(Node::Binary(Box::new(node)));
            }
        };
        let inner = self.node(inner, depth + 1)?;
        let return_bool = binary.return_bool;
        Ok(Node::Scalar(Box::new(ScalarNode { inner, op: binary.op, number, number_first, return_bool })))
    }

    fn range(&mut self, leaf: &'e RangeAggregation, grouping: Option<Grouping>) -> Result<RangeNode, Failure> {
        let measure = Measure::new(leaf.op, leaf.parameter, leaf.unwrap.is_some(), leaf.range_ns)
            .ok_or(EvaluateError::ParameterMissing { op: "quantile_over_time" })?;
        let windows = self.windows(leaf)?;
        // Nothing is in a window without length, and nobody need look.
        let loaded = if windows.range_ns == 0 { Rc::default() } else { self.load(leaf, grouping, &windows)? };
        let mut order: Vec<usize> = (0..loaded.len()).collect();
        order.sort_by_key(|&at| loaded.get(at).map(|series| &series.labels));
        let mut series = Vec::with_capacity(loaded.len());
        for at in order {
            let Some(labels) = loaded.get(at).map(|series| &series.labels) else { continue };
            let window = WindowOver::new(&loaded, at, measure, &windows);
            self.run.work(window.len())?;
            self.run.take(size_of::<RangeSeries>() + window.extra_bytes())?;
            series.push(RangeSeries { set: self.run.number(labels.clone())?, failure: pipeline_error(labels), window });
        }
        Ok(RangeNode { windows, series })
    }

    fn windows(&self, leaf: &RangeAggregation) -> Result<Windows, Failure> {
        let window = || {
            let first_end_ns = self.steps.start_ns.checked_sub(leaf.offset_ns)?;
            first_end_ns.checked_sub(leaf.range_ns)?;
            let behind = self.steps.step_ns.checked_mul(i64::try_from(self.count.saturating_sub(1)).ok()?)?;
            first_end_ns.checked_add(behind)?;
            let range_ns = leaf.range_ns;
            (range_ns >= 0).then_some(Windows {
                first_end_ns,
                step_ns: self.steps.step_ns,
                count: self.count,
                range_ns,
            })
        };
        window().ok_or(EvaluateError::TimeOutOfRange)
    }

    fn load(
        &mut self,
        leaf: &'e RangeAggregation,
        grouping: Option<Grouping>,
        windows: &Windows,
    ) -> Result<Rc<Vec<LeafSeries>>, Failure> {
        let same = |other: &&Loaded<'e>| {
            let other_leaf = other.leaf;
            other.grouping == grouping
                && counted(other_leaf) == counted(leaf)
                && other_leaf.range_ns == leaf.range_ns
                && other_leaf.offset_ns == leaf.offset_ns
                && other_leaf.unwrap == leaf.unwrap
                && other_leaf.log == leaf.log
        };
        if let Some(known) = self.loaded.iter().find(same) {
            return Ok(Rc::clone(&known.series));
        }
        let series = self.run.load(leaf, grouping.as_ref(), windows)?;
        self.run.check()?;
        for series in &series {
            self.run.take(match &series.samples {
                Samples::Points(points) => points.capacity() * size_of::<(i64, f64)>(),
                Samples::Totals(totals) => totals.capacity() * size_of::<Option<f64>>(),
            })?;
        }
        let series = Rc::new(series);
        self.loaded.push(Loaded { leaf, grouping, series: Rc::clone(&series) });
        Ok(series)
    }
}

/// Whether the sum over series is the same when their samples are put together first.
fn adds_up(op: RangeOp) -> bool {
    matches!(
        op,
        RangeOp::BytesOverTime | RangeOp::BytesRate | RangeOp::SumOverTime | RangeOp::Rate | RangeOp::CountOverTime
    )
}

/// What the samples of a leaf are: lines, bytes or values of a label.
#[derive(PartialEq)]
enum Counted {
    Lines,
    Bytes,
    Values,
}

fn counted(leaf: &RangeAggregation) -> Counted {
    match leaf.op {
        _ if leaf.unwrap.is_some() => Counted::Values,
        RangeOp::BytesOverTime | RangeOp::BytesRate => Counted::Bytes,
        _ => Counted::Lines,
    }
}

fn set_operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        _ => "unless",
    }
}

/// The labels of what is absent: those that the selector says outright. A label that it mentions a
/// second time, or otherwise, is not among them.
fn absent_labels(leaf: &RangeAggregation) -> Labels {
    let mut labels = Labels::default();
    let mut unclear = Vec::new();
    for matcher in leaf.log.selector.iter().filter(|matcher| matcher.name != "__name__") {
        if matcher.op == MatchOp::Eq && labels.get(&matcher.name).is_empty() {
            labels.set(&matcher.name, &matcher.value);
        } else {
            unclear.push(&matcher.name);
        }
    }
    for name in unclear {
        labels.set(name, "");
    }
    labels
}
