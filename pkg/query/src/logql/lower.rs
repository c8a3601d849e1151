//! From a LogQL pipeline to a filter over columns and what is left of the pipeline.
//!
//! The filter takes over what the columns answer exactly: the selector, the line filters that see
//! the line as it is stored, and comparisons of stored labels with texts. What is left runs over
//! the lines that pass.

use super::names::{FieldNames, Meaning};
use super::view;
use crate::aggregate::{RowSide, StreamSide};
use crate::error::QueryError;
use timberlog_filter::{Filter, Matcher, Op, Pattern, StreamTest, Target, Test};
use timberlog_logql::ast::{
    FormatValue, LabelFilter, LabelMatcher, LineFilter, LineMatch, LineOp, LogExpr, MatchOp, Stage,
};
use timberlog_logql::pipeline::raw_line_filters;
use timberlog_logql::{Pipeline, Wanted};
use timberlog_segment::TextMatcher;
use timberlog_types::StreamRef;

/// A pipeline, cut in two.
pub(crate) struct Lowered {
    /// What the columns answer.
    pub filter: Filter,
    /// What is left, in order.
    pub stages: Vec<Stage>,
}

impl Lowered {
    /// Whether what is left can drop a line.
    pub fn drops(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::Line(_) | Stage::LabelFilter(_)))
    }

    /// The stages that decide whether a line is dropped: those up to the last that can drop one.
    pub fn deciding(&self) -> &[Stage] {
        let drops = |stage: &Stage| matches!(stage, Stage::Line(_) | Stage::LabelFilter(_));
        let count = self.stages.iter().rposition(drops).map_or(0, |last| last + 1);
        self.stages.get(..count).unwrap_or_default()
    }

    /// Whether what is left looks at the line.
    pub fn needs_line(&self) -> bool {
        let needs = |stage: &Stage| match stage {
            Stage::LabelFilter(_) | Stage::Drop(_) | Stage::Keep(_) => false,
            Stage::LabelFormat(formats) => {
                formats.iter().any(|format| matches!(format.value, FormatValue::Template(_)))
            }
            _ => true,
        };
        self.stages.iter().any(needs)
    }
}

/// Cuts a pipeline.
pub(crate) fn lower(expr: &LogExpr, names: &FieldNames<'_>, derived: bool) -> Result<Lowered, QueryError> {
    let mut filter = selector(&expr.selector, derived)?;
    let raw = raw_line_filters(&expr.stages);
    let mut labels_are_stored = true;
    let mut stages = Vec::new();
    for (index, stage) in expr.stages.iter().enumerate() {
        let taken = match stage {
            Stage::Line(line) if raw.contains(&index) => {
                if matches!(line.op, LineOp::Regex | LineOp::NotRegex) {
                    refuse_malformed(stage)?;
                }
                line_filter(line)
            }
            Stage::LabelFilter(labels) if labels_are_stored => label_filter(labels, names, derived)?,
            Stage::Line(_) | Stage::LabelFilter(_) | Stage::LineFormat(_) | Stage::Decolorize => None,
            _ => {
                labels_are_stored = false;
                None
            }
        };
        match taken {
            Some(part) => filter = filter.and(part),
            None => stages.push(stage.clone()),
        }
    }
    Ok(Lowered { filter, stages })
}

/// Which labels parsers must find so that stages decide about lines as if they found all: those that filters name if
/// one parser alone finds them. A label that a second parser or a list of expressions sets over another, or that
/// a template reads, may be missed by parsers that stop early.
pub(crate) fn needed_to_decide(stages: &[Stage]) -> Wanted {
    let is_plain = |stage: &&Stage| match stage {
        Stage::Json(extractions) | Stage::Logfmt { extractions, .. } => extractions.is_empty(),
        Stage::Regexp(_) | Stage::Pattern(_) => true,
        _ => false,
    };
    let is_neutral = |stage: &&Stage| {
        matches!(stage, Stage::Line(_) | Stage::LabelFilter(_) | Stage::Drop(_) | Stage::Keep(_) | Stage::Decolorize)
    };
    let parsers = stages.iter().filter(is_plain).count();
    let neutral = stages.iter().filter(is_neutral).count();
    if parsers <= 1 && parsers + neutral == stages.len() { Wanted::Names(Vec::new()) } else { Wanted::All }
}

/// The stages without the `line_format` whose line nobody looks at, for metric queries that do not
/// count bytes: as in Loki, such a template cannot fail either.
pub(crate) fn without_idle_formats(stages: &[Stage]) -> Vec<Stage> {
    let reads_line = |stage: &Stage| {
        matches!(
            stage,
            Stage::Line(_)
                | Stage::Json(_)
                | Stage::Logfmt { .. }
                | Stage::Regexp(_)
                | Stage::Pattern(_)
                | Stage::Unpack
        )
    };
    let last = stages.iter().rposition(reads_line).unwrap_or(0);
    let is_idle = |(index, stage): &(usize, &Stage)| matches!(stage, Stage::LineFormat(_)) && *index >= last;
    stages.iter().enumerate().filter(|stage| !is_idle(stage)).map(|(_, stage)| stage.clone()).collect()
}

/// A test of streams by the labels that LogQL sees.
pub(crate) fn selector(matchers: &[LabelMatcher], derived: bool) -> Result<Filter, QueryError> {
    if matchers.is_empty() {
        return Ok(Filter::All);
    }
    Ok(stream(format!("{matchers:?} {derived}"), selector_test(matchers, derived)?))
}

/// Whether a stream passes a selector.
pub(crate) fn selector_test(
    matchers: &[LabelMatcher],
    derived: bool,
) -> Result<impl Fn(StreamRef<'_>) -> bool + Send + Sync + use<>, QueryError> {
    let tests: Vec<LabelTest> =
        matchers.iter().map(|matcher| LabelTest::new(matcher, derived)).collect::<Result<_, _>>()?;
    Ok(move |stream: StreamRef<'_>| tests.iter().all(|test| test.passes(test.label(stream).unwrap_or_default())))
}

pub(super) fn stream(text: String, test: impl Fn(StreamRef<'_>) -> bool + Send + Sync + 'static) -> Filter {
    Filter::Test(Test { target: Target::Stream, op: Op::Holds(StreamTest::new(text, test)) })
}

/// An expression that must match a whole value; unlike in lines, `.` matches a line feed too.
fn whole(text: &str) -> Pattern {
    Pattern::whole(format!("(?s:{text})"))
}

/// One matcher, compiled.
pub(super) struct LabelTest {
    name: String,
    derived: bool,
    negated: bool,
    matcher: Matcher,
}

impl LabelTest {
    pub fn new(matcher: &LabelMatcher, derived: bool) -> Result<Self, QueryError> {
        let (negated, compiled) = match matcher.op {
            MatchOp::Eq => (false, Matcher::eq(&matcher.value)),
            MatchOp::Ne => (true, Matcher::eq(&matcher.value)),
            MatchOp::Regex => (false, Matcher::regex(&whole(&matcher.value))?),
            MatchOp::NotRegex => (true, Matcher::regex(&whole(&matcher.value))?),
        };
        Ok(Self { name: matcher.name.clone(), derived, negated, matcher: compiled })
    }

    pub fn label<'a>(&self, stream: StreamRef<'a>) -> Option<&'a str> {
        view::label(stream, &self.name, self.derived)
    }

    pub fn passes(&self, value: &str) -> bool {
        self.matcher.is_match(value.as_bytes()) != self.negated
    }
}

/// A regular expression that columns search for is compiled once more, for Loki's words if it is malformed.
pub(super) fn refuse_malformed(stage: &Stage) -> Result<(), QueryError> {
    let compiled = Pipeline::new(std::slice::from_ref(stage), None, Wanted::Names(Vec::new()));
    compiled.map(drop).map_err(|error| QueryError::Stage(error.to_string()))
}

/// An error of a stage as all stages have it: Loki tells it with the line filters around it, some of which [`lower`]
/// has taken over.
pub(super) fn in_whole(error: QueryError, expr: &LogExpr) -> QueryError {
    if !matches!(error, QueryError::Stage(_)) {
        return error;
    }
    let whole = Pipeline::new(&expr.stages, None, Wanted::Names(Vec::new()));
    whole.err().map_or(error, |error| QueryError::Stage(error.to_string()))
}

/// A line filter as tests of the message; `None` if it has to look at the line itself.
pub(super) fn line_filter(line: &LineFilter) -> Option<Filter> {
    if line.alternatives.iter().any(|alternative| is_odd(alternative, line)) {
        return None;
    }
    let mut tests = Vec::with_capacity(line.alternatives.len());
    for alternative in &line.alternatives {
        let LineMatch::Text(text) = alternative else { return None };
        let op = match line.op {
            LineOp::Contains | LineOp::NotContains => Op::Contains(text.clone()),
            LineOp::Regex | LineOp::NotRegex => Op::Regex(Pattern::search(text.as_str())),
            LineOp::Pattern | LineOp::NotPattern => return None,
        };
        tests.push(Filter::Test(Test { target: Target::Message, op }));
    }
    let any = if tests.len() == 1 { tests.pop()? } else { Filter::Or(tests) };
    Some(match line.op {
        LineOp::NotContains | LineOp::NotRegex => any.not(),
        _ => any,
    })
}

/// Whether Loki reads a line filter in a way of its own: of several alternatives it forgets those
/// that always hold.
fn is_odd(alternative: &LineMatch, line: &LineFilter) -> bool {
    let LineMatch::Text(text) = alternative else { return false };
    let is_regex = matches!(line.op, LineOp::Regex | LineOp::NotRegex);
    let always_holds = text.is_empty() || (is_regex && text.contains('*'));
    always_holds && (line.alternatives.len() > 1 || text.contains('|'))
}

/// A label filter as tests of stored labels; `None` if columns do not answer it exactly.
fn label_filter(filter: &LabelFilter, names: &FieldNames<'_>, derived: bool) -> Result<Option<Filter>, QueryError> {
    let both = |a: &LabelFilter, b: &LabelFilter| -> Result<Option<[Filter; 2]>, QueryError> {
        let (a, b) = (label_filter(a, names, derived)?, label_filter(b, names, derived)?);
        Ok(a.zip(b).map(|(a, b)| [a, b]))
    };
    match filter {
        LabelFilter::And(a, b) => Ok(both(a, b)?.map(|parts| Filter::And(parts.into()))),
        LabelFilter::Or(a, b) => Ok(both(a, b)?.map(|parts| Filter::Or(parts.into()))),
        LabelFilter::Text(matcher) => text_filter(matcher, names, derived),
        // A value that does not parse keeps its line, with an error, and the numbers of columns
        // are read otherwise than Go reads them: no test of a column is exact here.
        LabelFilter::Number { .. }
        | LabelFilter::Duration { .. }
        | LabelFilter::Bytes { .. }
        | LabelFilter::Ip { .. } => Ok(None),
    }
}

fn text_filter(matcher: &LabelMatcher, names: &FieldNames<'_>, derived: bool) -> Result<Option<Filter>, QueryError> {
    // Loki searches some expressions anywhere in the value; the pipeline knows which.
    if matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex) {
        return Ok(None);
    }
    let Meaning::Column(dimension) = names.meaning(&matcher.name) else { return Ok(None) };
    debug_assert!(matches!(dimension.stream, StreamSide::View { .. }));
    let of_row = match &dimension.row {
        RowSide::None => None,
        RowSide::Field(stored) => Some(Target::Name(stored.clone())),
        RowSide::Spelling => Some(Target::Spelling),
        RowSide::Level | RowSide::DetectedLevel | RowSide::Message => return Ok(None),
    };
    let test = LabelTest::new(matcher, derived)?;
    let text = format!("{matcher:?} {derived}");
    let Some(target) = of_row else {
        return Ok(Some(stream(text, move |stream| test.passes(test.label(stream).unwrap_or_default()))));
    };
    let (name, negated) = (matcher.name.clone(), test.negated);
    let by_stream = stream(text, move |stream| test.label(stream).is_some_and(|value| test.passes(value)));
    let has_none = stream(format!("no {name} {derived}"), move |stream| view::label(stream, &name, derived).is_none());
    let by_row = Filter::Test(Test { target, op: Op::Eq(matcher.value.clone()) });
    let by_row = if negated { by_row.not() } else { by_row };
    Ok(Some(Filter::Or(vec![by_stream, Filter::And(vec![has_none, by_row])])))
}
