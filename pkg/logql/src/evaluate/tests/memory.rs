//! Series in memory that leaves are read from.

use timberlog_filter::Pattern;

use crate::Labels;
use crate::ast::{Grouping, MatchOp, RangeAggregation, RangeOp};
use crate::evaluate::{LeafSeries, Leaves, Samples, Windows};

/// How counts and bytes are given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Points,
    Totals,
}

/// Stored series; what leaves are asked for is noted.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) form: Form,
    pub(super) series: Vec<(Labels, Vec<(i64, f64)>)>,
    pub(super) asked: Vec<(RangeOp, Option<Grouping>)>,
    /// After how many questions whether to go on the answer is no.
    pub(super) checks_left: Option<usize>,
}

impl Memory {
    pub(super) fn new(form: Form) -> Self {
        Self { form, series: Vec::new(), asked: Vec::new(), checks_left: None }
    }
}

impl Leaves for Memory {
    type Error = String;

    fn series(
        &mut self,
        leaf: &RangeAggregation,
        grouping: Option<&Grouping>,
        windows: &Windows,
    ) -> Result<Vec<LeafSeries>, String> {
        self.asked.push((leaf.op, grouping.cloned()));
        let mut grouped: Vec<(Labels, Vec<(i64, f64)>)> = Vec::new();
        for (labels, points) in self.series.iter().filter(|(labels, _)| matches(leaf, labels)) {
            let labels = group(labels, grouping);
            let points = points.iter().map(|&(at, value)| (at, if counts_lines(leaf) { 1.0 } else { value }));
            match grouped.iter_mut().find(|(other, _)| *other == labels) {
                Some((_, all)) => all.extend(points),
                None => grouped.push((labels, points.collect())),
            }
        }
        Ok(grouped
            .into_iter()
            .map(|(labels, mut points)| {
                points.sort_by_key(|&(at, _)| at);
                let samples = match self.form {
                    Form::Totals if leaf.unwrap.is_none() && leaf.op != RangeOp::AbsentOverTime => {
                        Samples::Totals(totals(&points, windows))
                    }
                    _ => Samples::Points(points),
                };
                LeafSeries { labels, samples }
            })
            .collect())
    }

    fn check(&mut self) -> Result<(), String> {
        match &mut self.checks_left {
            Some(0) => Err("called off".to_owned()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn counts_lines(leaf: &RangeAggregation) -> bool {
    leaf.unwrap.is_none() && !matches!(leaf.op, RangeOp::BytesOverTime | RangeOp::BytesRate)
}

fn matches(leaf: &RangeAggregation, labels: &Labels) -> bool {
    leaf.log.selector.iter().all(|matcher| {
        let value = labels.get(&matcher.name);
        let regex = || Pattern::whole(&matcher.value).to_regex().unwrap().is_match(value);
        match matcher.op {
            MatchOp::Eq => value == matcher.value,
            MatchOp::Ne => value != matcher.value,
            MatchOp::Regex => regex(),
            MatchOp::NotRegex => !regex(),
        }
    })
}

fn group(labels: &Labels, grouping: Option<&Grouping>) -> Labels {
    let mut labels = labels.clone();
    if let Some(grouping) = grouping.filter(|_| labels.get("__error__").is_empty()) {
        labels.retain(|name| grouping.names.iter().any(|other| other == name) != grouping.without);
    }
    labels
}

fn totals(points: &[(i64, f64)], windows: &Windows) -> Vec<Option<f64>> {
    (0..windows.count)
        .map(|index| {
            let end = windows.first_end_ns + windows.step_ns * index as i64;
            let within: Vec<f64> = points
                .iter()
                .filter(|&&(at, _)| at > end - windows.range_ns && at <= end)
                .map(|&(_, value)| value)
                .collect();
            (!within.is_empty()).then(|| within.iter().sum())
        })
        .collect()
}
