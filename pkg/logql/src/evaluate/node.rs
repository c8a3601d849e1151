//! The nodes of a query that is ready to be evaluated: each gives the vector of a step from the
//! vectors of the nodes below it.

use super::binary::BinaryNode;
use super::replace::ReplaceNode;
use super::run::{Failure, Run, Sample, SetId};
use super::vector::VectorNode;
use super::window::WindowOver;
use super::{EvaluateError, PipelineError, Windows, arithmetic};
use crate::ast::BinaryOp;

/// A node of a query. Steps are asked for one after the other, from 0.
pub(super) enum Node {
    Range(RangeNode),
    Absent(RangeNode, SetId),
    Vector(Box<VectorNode>),
    Scalar(Box<ScalarNode>),
    Binary(Box<BinaryNode>),
    Replace(Box<ReplaceNode>),
    Constant(Sample),
}

impl Node {
    /// Puts the vector of a step into `out`, in place of what is there.
    pub(super) fn step(&mut self, index: usize, run: &mut Run<'_>, out: &mut Vec<Sample>) -> Result<(), Failure> {
        out.clear();
        match self {
            Self::Range(node) => node.step(index, run, out),
            Self::Absent(node, set) => {
                node.step(index, run, out)?;
                let absent = out.is_empty();
                out.clear();
                if absent {
                    out.push(Sample { set: *set, value: 1.0 });
                }
                Ok(())
            }
            Self::Vector(node) => node.step(index, run, out),
            Self::Scalar(node) => node.step(index, run, out),
            Self::Binary(node) => node.step(index, run, out),
            Self::Replace(node) => node.step(index, run, out),
            Self::Constant(sample) => {
                out.push(*sample);
                Ok(())
            }
        }
    }
}

/// A range aggregation.
pub(super) struct RangeNode {
    pub(super) windows: Windows,
    pub(super) series: Vec<RangeSeries>,
}

/// One series of a range aggregation.
pub(super) struct RangeSeries {
    pub(super) set: SetId,
    /// The error of the query if this series has a sample in a window.
    pub(super) failure: Option<PipelineError>,
    pub(super) window: WindowOver,
}

impl RangeNode {
    fn step(&mut self, index: usize, run: &mut Run<'_>, out: &mut Vec<Sample>) -> Result<(), Failure> {
        // That the last window fits was checked before the first.
        let end_ns = self.windows.first_end_ns.saturating_add(self.windows.step_ns.saturating_mul(index as i64));
        for series in &mut self.series {
            let (value, work) = series.window.value(index, end_ns);
            run.work(work + 1)?;
            let Some(value) = value else { continue };
            if let Some(failure) = &series.failure {
                return Err(EvaluateError::Pipeline(failure.clone()));
            }
            out.push(Sample { set: series.set, value });
        }
        Ok(())
    }
}

/// A vector and a number: `v > 1`, `2 * v`.
pub(super) struct ScalarNode {
    pub(super) inner: Node,
    pub(super) op: BinaryOp,
    pub(super) number: f64,
    /// Whether the number is the left side.
    pub(super) number_first: bool,
    pub(super) return_bool: bool,
}

impl ScalarNode {
    fn step(&mut self, index: usize, run: &mut Run<'_>, out: &mut Vec<Sample>) -> Result<(), Failure> {
        self.inner.step(index, run, out)?;
        let filters = arithmetic::compares(self.op) && !self.return_bool;
        out.retain_mut(|sample| {
            let (left, right) =
                if self.number_first { (self.number, sample.value) } else { (sample.value, self.number) };
            let result = arithmetic::apply(self.op, left, right);
            if filters {
                return result == 1.0;
            }
            sample.value = result;
            true
        });
        Ok(())
    }
}
