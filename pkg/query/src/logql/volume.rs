//! How many bytes streams hold, by their labels and by steps of time, as Loki's index answers it.
//!
//! Bytes are an estimate, that of [`super::stats`]: of each block the share that its matching
//! records have of its records.

use super::listing::{each_tally, label_names, share};
use super::{Options, lower};
use crate::aggregate::{Buckets, Dimension, Question, RowSide, StreamSide, Weight};
use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::Plan;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use timberlog_logql::Labels;
use timberlog_logql::ast::{LabelMatcher, MatchOp};
use timberlog_storage::Snapshot;
use timberlog_types::TimeRange;

/// What a step's time is told before the next one begins, in ns.
const STEP_GAP_NS: i64 = 1_000_000;

/// What volumes are summed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeBy {
    /// The labels of the streams.
    #[default]
    Series,
    /// Each label name alone.
    Labels,
}

/// What is asked of volumes.
#[derive(Clone, Debug)]
pub struct VolumeQuery {
    /// Which streams count; empty: all.
    pub selector: Vec<LabelMatcher>,
    /// The labels that are told apart; a stream without one of them does not count. Empty: by
    /// series those that the selector names, or all if it names none; by labels all.
    pub targets: Vec<String>,
    /// What is summed by.
    pub by: VolumeBy,
    /// From when to when, both included.
    pub range: TimeRange,
    /// Between the begins of two steps, which are multiples of it; none: the range is one step.
    pub step_ns: Option<i64>,
    /// Volumes of a step at most: the largest.
    pub limit: usize,
}

/// Bytes of some streams, by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// For [`VolumeBy::Labels`] the name of the label.
    pub name: String,
    /// The labels.
    pub labels: Labels,
    /// By step, without those that have none: a time in ns and bytes. The time is that of Loki: 1 ms
    /// before the next step begins, and of the last step the end of the range.
    pub bytes: Vec<(i64, u64)>,
}

/// Volumes; those that are the largest in their first step come first.
pub(crate) fn volume(snapshot: &Snapshot, query: &VolumeQuery, options: &Options) -> Result<Vec<Volume>, QueryError> {
    let mut selector = query.selector.clone();
    let is_named = |name: &String| query.selector.iter().any(|matcher| matcher.name == *name);
    selector.extend(query.targets.iter().filter(|name| !is_named(name)).map(|name| LabelMatcher {
        name: name.clone(),
        op: MatchOp::Regex,
        value: ".+".to_owned(),
    }));
    let filter = lower::selector(&selector, options.derived)?;
    let plan = Plan::new(snapshot, &filter, query.range, Budget::new(options.limits).cancelled_by(&options.cancel))?;
    let named: Vec<String> = query.selector.iter().map(|matcher| matcher.name.clone()).collect();
    let mut names = match query.by {
        _ if !query.targets.is_empty() => query.targets.clone(),
        VolumeBy::Series if !named.is_empty() => named,
        _ => label_names(snapshot, &selector, query.range, options)?,
    };
    names.sort_unstable();
    names.dedup();
    let dimension = |name: &String| Dimension {
        stream: StreamSide::View { name: name.clone(), derived: options.derived },
        row: RowSide::None,
    };
    let question = Question {
        dimensions: names.iter().map(dimension).collect(),
        step: query.step_ns.map(|step| Buckets::Aligned(step.max(1))),
        weight: Weight::Rows,
        groups_max: options.series_max,
    };
    let mut steps: BTreeMap<i64, HashMap<(String, Labels), u64>> = BTreeMap::new();
    each_tally(&plan, &question, &mut |unit_bytes, unit_rows, tally| {
        for group in tally.groups(true) {
            let bytes = share(unit_bytes, group.count, unit_rows);
            let volumes = steps.entry(told(query, group.bucket)).or_default();
            let pairs = names.iter().zip(group.key).filter_map(|(name, value)| Some((name.clone(), value?)));
            let labels = Labels::new(pairs);
            match query.by {
                VolumeBy::Series => *volumes.entry((String::new(), labels)).or_default() += bytes,
                VolumeBy::Labels => {
                    for (name, _) in labels.iter() {
                        *volumes.entry((name.to_owned(), Labels::default())).or_default() += bytes;
                    }
                }
            }
        }
    })?;
    Ok(sorted(steps, query.limit))
}

/// The time that is told for the step that begins at `begin`.
fn told(query: &VolumeQuery, begin: Option<i64>) -> i64 {
    let next = begin.zip(query.step_ns).map_or(i64::MAX, |(begin, step)| begin.saturating_add(step));
    if next < query.range.end { next.saturating_sub(STEP_GAP_NS) } else { query.range.end }
}

fn sorted(steps: BTreeMap<i64, HashMap<(String, Labels), u64>>, limit: usize) -> Vec<Volume> {
    let mut volumes: BTreeMap<(String, String), Volume> = BTreeMap::new();
    for (time, found) in steps {
        let named = found.into_iter().map(|((name, labels), bytes)| ((name, labels.to_string()), labels, bytes));
        let mut found: Vec<((String, String), Labels, u64)> = named.collect();
        found.sort_unstable_by(|(one, _, a), (other, _, b)| b.cmp(a).then_with(|| one.cmp(other)));
        for (key, labels, bytes) in found.into_iter().take(limit) {
            let name = key.0.clone();
            volumes.entry(key).or_insert(Volume { name, labels, bytes: Vec::new() }).bytes.push((time, bytes));
        }
    }
    let mut volumes: Vec<Volume> = volumes.into_values().collect();
    // Stable: of equals those whose name comes first.
    volumes.sort_by_key(|volume| Reverse(volume.bytes.first().map(|&(_, bytes)| bytes)));
    volumes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Plain, START, World};
    use timberlog_types::time::SECOND_NS;

    fn record(second: i64, service: &'static str, host: Option<&'static str>, message: &str) -> Plain {
        Plain {
            timestamp: START + second * SECOND_NS,
            level: None,
            service,
            label: host,
            host: None,
            size: None,
            trace: 0,
            message: message.to_owned(),
        }
    }

    fn shown(world: &World, query: &VolumeQuery) -> Vec<String> {
        let found = volume(&world.snapshot(), query, &Options::default()).unwrap();
        let times = |volume: &Volume| {
            let times = volume.bytes.iter().map(|&(time, bytes)| (time as f64 / 1e9 - START as f64 / 1e9, bytes > 0));
            times.map(|(time, has)| format!("{time:.3}{}", if has { "" } else { "!" })).collect::<Vec<_>>().join(" ")
        };
        found.iter().map(|volume| format!("{}{} {}", volume.name, volume.labels, times(volume))).collect()
    }

    #[test]
    fn volumes_are_told_by_the_labels_that_were_asked_for() {
        let long = "x".repeat(400);
        let flushed = [record(0, "web", Some("h1"), &long), record(7, "web", Some("h1"), "b")];
        let mut world = World::new();
        world.append(&flushed);
        world.storage.flush().unwrap();
        world.append(&[record(12, "db", Some("h2"), "c"), record(20, "db", None, "c")]);
        let selector = |text: &str| timberlog_logql::parse_selector(text).unwrap();
        let query = VolumeQuery {
            selector: selector(r#"{host=~".+"}"#),
            targets: Vec::new(),
            by: VolumeBy::Series,
            range: TimeRange { start: START, end: START + 20 * SECOND_NS },
            step_ns: None,
            limit: 100,
        };
        let (h1, h2) = (r#"{host="h1"}"#, r#"{host="h2"}"#);
        assert_eq!(shown(&world, &query), [format!("{h1} 20.000"), format!("{h2} 20.000")]);
        let all = VolumeQuery { selector: Vec::new(), ..query.clone() };
        let full = shown(&world, &all);
        assert_eq!(full[0], r#"{host="h1", service_name="unknown_service"} 20.000"#);
        assert_eq!(full.len(), 3, "{full:?}");
        let services = VolumeQuery { selector: selector(r#"{service_name=~".+"}"#), ..query.clone() };
        assert_eq!(shown(&world, &services), [r#"{service_name="unknown_service"} 20.000"#]);
        let targets = VolumeQuery { targets: vec!["host".to_owned()], ..services.clone() };
        assert_eq!(shown(&world, &targets), [format!("{h1} 20.000"), format!("{h2} 20.000")]);
        let labels = VolumeQuery { by: VolumeBy::Labels, ..services };
        assert_eq!(shown(&world, &labels), ["service_name{} 20.000", "host{} 20.000"]);
        let steps = VolumeQuery { step_ns: Some(10 * SECOND_NS), ..query.clone() };
        assert_eq!(shown(&world, &steps), [format!("{h1} 9.999"), format!("{h2} 20.000")]);
        let few = VolumeQuery { limit: 1, ..all };
        assert_eq!(shown(&world, &few), [r#"{host="h1", service_name="unknown_service"} 20.000"#]);
        let none = VolumeQuery { targets: vec!["nope".to_owned()], ..query };
        assert_eq!(shown(&world, &none), [""; 0]);
    }
}
