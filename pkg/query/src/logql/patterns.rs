//! Patterns: which forms the lines of a query have, and how many lines have each, by time.
//!
//! Every line has a shape, its static text with a mark for each word that holds a digit. Blocks
//! store the shapes of most of their rows as templates, so these are counted by template ids and
//! the lines are not read; the shapes of other rows are made of their lines. Then the shapes alone,
//! the most frequent first, are clustered ([`drain`]), and the counts of a cluster are those of
//! its shapes: no line is estimated. Which shapes become one pattern does not depend on where the
//! records are, so a flush changes nothing.

mod drain;
#[cfg(test)]
mod tests;
mod tokens;

use self::drain::Drain;
use self::tokens::Cutter;
use super::Options;
use super::feed::Residual;
use super::lower::lower;
use super::names::FieldNames;
use super::rows::{self, Need};
use super::view;
use crate::budget::Budget;
use crate::error::QueryError;
use crate::plan::fetch::Need as Fetched;
use crate::plan::{Place, Plan, Unit};
use crate::source::mixed_up;
use crate::statistics::Statistics;
use std::collections::{BTreeMap, HashMap};
use timberlog_filter::ColumnSource;
use timberlog_logql::ast::LogExpr;
use timberlog_logql::{Pipeline, Wanted};
use timberlog_segment::{Column, ColumnKey, shape};
use timberlog_storage::Snapshot;
use timberlog_types::{Error, RowSet, TimeRange};

/// Patterns of an answer, as many as Loki gives.
const PATTERNS_MAX: usize = 300;
/// Shapes that are clustered; lines of rarer ones are left out.
const SHAPES_MAX: usize = 1 << 16;
/// Bytes of a shape; what is behind them is one variable.
const SHAPE_BYTES_MAX: usize = 3_000;
/// Bytes that a count, or a shape beside its text, takes in memory, about.
const ITEM_BYTES: usize = 64;

/// The levels that patterns are told apart by, as in Loki; others are the first.
const LEVELS: [&str; 8] = ["unknown", "debug", "info", "warn", "error", "fatal", "critical", "trace"];

/// A form that lines of one level have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePattern {
    /// The text, `<_>` for what differs: a pattern that `|>` takes.
    pub pattern: String,
    /// The level of the lines.
    pub level: &'static str,
    /// When each step begins, in ns, and how many lines it has; sorted, without steps that have none.
    pub samples: Vec<(i64, u64)>,
}

/// The answer of [`patterns`].
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    /// The patterns, those with the most lines first.
    pub patterns: Vec<LinePattern>,
    /// Lines that a limit has left out.
    pub lines_left_out: u64,
    /// What the query looked at.
    pub statistics: Statistics,
    /// What could not be read, for people.
    pub missing: Vec<String>,
}

/// The patterns of the lines that a query lets through, counted by steps that begin at multiples
/// of `step_ns`.
pub(crate) fn patterns(
    snapshot: &Snapshot,
    expr: &LogExpr,
    range: TimeRange,
    step_ns: i64,
    options: &Options,
) -> Result<Patterns, QueryError> {
    let budget = Budget::new(options.limits).cancelled_by(&options.cancel);
    let names = FieldNames::of(snapshot, range, options.derived, &budget);
    let lowered = lower(expr, &names, options.derived)?;
    let mut plan = Plan::new(snapshot, &lowered.filter, range, budget)?;
    if lowered.drops() {
        let pipeline = Pipeline::new(&lowered.stages, None, Wanted::Names(Vec::new()))
            .map_err(|error| QueryError::Stage(error.to_string()))?;
        plan.residual = Some(Residual {
            pipeline: pipeline.into(),
            line: lowered.needs_line(),
            derived: options.derived,
            now_ns: options.now_ns,
        });
    }
    let counting = Counting {
        plan: &plan,
        step_ns: step_ns.max(1),
        derived: options.derived,
        level: Wanted::Names(vec![view::DETECTED_LEVEL.to_owned()]),
    };
    let mut units: Vec<Counted> = Vec::new();
    plan.fetched(&plan.units.iter().collect::<Vec<_>>(), &Fetched::Block, &mut |some| {
        units.extend(plan.budget.each(some, |unit| counting.unit(unit))?);
        Ok(())
    })?;
    let (patterns, lines_left_out) = merge(&plan, &units)?;
    Ok(Patterns { patterns, lines_left_out, statistics: plan.statistics(), missing: plan.budget.missing() })
}

/// How many lines of a unit have each shape.
#[derive(Default)]
struct Counted {
    shapes: Vec<Box<[u8]>>,
    /// By shape, level and the step's begin.
    counts: HashMap<(u32, u8, i64), u64>,
}

/// The shapes of one unit while they are gathered.
#[derive(Default)]
struct Shapes {
    numbers: HashMap<Box<[u8]>, u32>,
    scratch: Vec<u8>,
}

impl Shapes {
    /// The number of the shape in `scratch`.
    fn number(&mut self) -> u32 {
        cut_short(&mut self.scratch);
        if let Some(&number) = self.numbers.get(self.scratch.as_slice()) {
            return number;
        }
        // A unit has fewer rows than that.
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.numbers.insert(self.scratch.as_slice().into(), number);
        number
    }

    fn of_line(&mut self, line: &[u8]) -> u32 {
        shape(line, SHAPE_BYTES_MAX, &mut self.scratch);
        self.number()
    }

    fn of_template(&mut self, template: &[u8]) -> u32 {
        self.scratch.clear();
        self.scratch.extend_from_slice(template);
        self.number()
    }

    fn into_list(self) -> Vec<Box<[u8]>> {
        let mut list: Vec<(Box<[u8]>, u32)> = self.numbers.into_iter().collect();
        list.sort_unstable_by_key(|&(_, number)| number);
        list.into_iter().map(|(shape, _)| shape).collect()
    }
}

/// Makes what is behind [`SHAPE_BYTES_MAX`] one variable, between two characters.
fn cut_short(shape: &mut Vec<u8>) {
    if shape.len() <= SHAPE_BYTES_MAX {
        return;
    }
    let is_inside = |at: &usize| shape.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (0..=SHAPE_BYTES_MAX).rev().find(|at| !is_inside(at)).unwrap_or_default();
    shape.truncate(end);
    shape.push(0);
}

/// How units are counted.
struct Counting<'a> {
    plan: &'a Plan,
    step_ns: i64,
    derived: bool,
    level: Wanted,
}

impl Counting<'_> {
    fn unit(&self, unit: &Unit) -> Result<Counted, QueryError> {
        let Some(rows) = self.plan.rows(unit, self.plan.range)? else { return Ok(Counted::default()) };
        let counted = match self.count(unit, &rows) {
            Ok(counted) => counted,
            Err(QueryError::Storage(error)) => return self.plan.miss(unit, &error).map(|()| Counted::default()),
            Err(error) => return Err(error),
        };
        let texts: usize = counted.shapes.iter().map(|shape| shape.len() + ITEM_BYTES).sum();
        self.plan.budget.take_memory(texts + counted.counts.len() * ITEM_BYTES)?;
        Ok(counted)
    }

    fn count(&self, unit: &Unit, rows: &RowSet) -> Result<Counted, QueryError> {
        let mut shapes = Shapes::default();
        let numbers = match &unit.place {
            Place::Batch(batch) => {
                let mut numbers = vec![0; unit.rows];
                for row in rows.iter() {
                    if let Some(number) = numbers.get_mut(row) {
                        *number = shapes.of_line(batch.batch.message(row));
                    }
                }
                numbers
            }
            Place::Block { .. } => self.shapes_of_block(unit, rows, &mut shapes)?,
        };
        let mut counts: HashMap<(u32, u8, i64), u64> = HashMap::new();
        let need = Need { metadata: &self.level, line: false, derived: self.derived };
        rows::for_each(self.plan, unit, rows, &need, &mut |row| {
            let level = row.metadata.first().map_or(0, |&(_, level)| level_number(level));
            let begin = row.timestamp.saturating_sub(row.timestamp.rem_euclid(self.step_ns));
            let number = numbers.get(row.row).copied().unwrap_or_default();
            *counts.entry((number, level, begin)).or_default() += 1;
            Ok(())
        })?;
        Ok(Counted { shapes: shapes.into_list(), counts })
    }

    /// The numbers of the shapes of a block's rows. Only rows without a template are read.
    fn shapes_of_block(&self, unit: &Unit, rows: &RowSet, shapes: &mut Shapes) -> Result<Vec<u32>, QueryError> {
        let mut numbers = vec![0; unit.rows];
        let Some((open, block)) = self.plan.block(unit) else { return Ok(numbers) };
        let source = open.source_of_part(&self.plan.budget, rows.count(), rows.rows());
        let column = source.column(block.number, ColumnKey::Message)?;
        let Column::Message(messages) = &*column else {
            return Err(mixed_up(block.number, ColumnKey::Message).into());
        };
        let corrupt = |error| QueryError::from(Error::corrupt(format!("block {}: {error}", block.number)));
        let mut of_template: HashMap<usize, u32> = HashMap::new();
        let mut others = RowSet::none(rows.rows());
        let mut failed = None;
        let walked = messages.for_each_template(rows, &mut |row, template| {
            let Some(template) = template else { return others.insert(row) };
            let known = of_template.get(&template).copied().or_else(|| match messages.template(template) {
                Ok(text) => {
                    let number = shapes.of_template(text.unwrap_or_default());
                    of_template.insert(template, number);
                    Some(number)
                }
                Err(error) => {
                    failed = Some(error);
                    None
                }
            });
            if let (Some(known), Some(number)) = (known, numbers.get_mut(row)) {
                *number = known;
            }
        });
        walked.and(failed.map_or(Ok(()), Err)).map_err(corrupt)?;
        let read = messages.read(&others, &mut |row, line| {
            if let Some(number) = numbers.get_mut(row) {
                *number = shapes.of_line(line);
            }
        });
        read.map_err(corrupt)?;
        Ok(numbers)
    }
}

fn level_number(level: &[u8]) -> u8 {
    let known = LEVELS.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(level));
    known.and_then(|number| u8::try_from(number).ok()).unwrap_or_default()
}

/// Clusters the shapes of all units and adds up their counts; the patterns, and how many lines are
/// in none.
fn merge(plan: &Plan, units: &[Counted]) -> Result<(Vec<LinePattern>, u64), QueryError> {
    let mut totals: HashMap<&[u8], u64> = HashMap::new();
    for unit in units {
        for (&(shape, ..), count) in &unit.counts {
            let shape = unit.shapes.get(shape as usize).map_or(&b""[..], |shape| shape);
            *totals.entry(shape).or_default() += count;
        }
    }
    let mut shapes: Vec<(&[u8], u64)> = totals.into_iter().collect();
    shapes.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    shapes.truncate(SHAPES_MAX);
    let mut drain = Drain::default();
    let mut cutter = Cutter::default();
    let mut clusters: HashMap<&[u8], usize> = HashMap::with_capacity(shapes.len());
    for (index, (shape, _)) in shapes.into_iter().enumerate() {
        if index.is_multiple_of(1_024) {
            plan.budget.check()?;
        }
        if let Some(cluster) = drain.add(cutter.cut(shape)) {
            clusters.insert(shape, cluster);
        }
    }
    // Clusters of different tokens may look the same.
    let texts: Vec<String> = drain.patterns();
    let mut counts: HashMap<(&str, u8), BTreeMap<i64, u64>> = HashMap::new();
    let mut left_out = 0;
    for unit in units {
        let of_shape: Vec<Option<&str>> = (unit.shapes.iter())
            .map(|shape| clusters.get(&**shape).and_then(|&cluster| texts.get(cluster)).map(String::as_str))
            .collect();
        for (&(shape, level, begin), count) in &unit.counts {
            match of_shape.get(shape as usize).copied().flatten() {
                Some(pattern) => *counts.entry((pattern, level)).or_default().entry(begin).or_default() += count,
                None => left_out += count,
            }
        }
    }
    let mut found: Vec<(u64, LinePattern)> = counts
        .into_iter()
        .map(|((pattern, level), samples)| {
            let level = LEVELS.get(usize::from(level)).copied().unwrap_or_default();
            let total = samples.values().sum();
            (total, LinePattern { pattern: pattern.to_owned(), level, samples: samples.into_iter().collect() })
        })
        .collect();
    found.sort_unstable_by(|(a, this), (b, other)| {
        b.cmp(a).then_with(|| (&this.pattern, this.level).cmp(&(&other.pattern, other.level)))
    });
    left_out += found.iter().skip(PATTERNS_MAX).map(|(total, _)| total).sum::<u64>();
    found.truncate(PATTERNS_MAX);
    Ok((found.into_iter().map(|(_, pattern)| pattern).collect(), left_out))
}
