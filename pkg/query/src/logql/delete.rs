//! What a delete may name: log queries that are wholly a filter over columns.
//!
//! The filter of a delete is made without a snapshot, since it outlives every one: it must hold for
//! records whose fields nobody has seen yet. So it takes what needs no parser and no look at which
//! fields there are, and refuses the rest: a delete that removed more or less than its text says
//! would be worse than none. It hides what a query of the same text shows.

use super::lower::{self, LabelTest};
use super::view;
use crate::error::QueryError;
use timberlog_filter::{Compiled, Filter, Op, Pattern, Target, Test};
use timberlog_logql::ast::{LabelFilter, LabelMatcher, LineOp, LogExpr, MatchOp, Stage};
use timberlog_logql::parse_log;
use timberlog_types::{Level, Result, level};

/// `_` of a name up to which every way to store the name is looked for.
const ALL_SPELLINGS_MAX: usize = 3;
/// `_` of a name up to which `_` and `.` in every mixture are looked for.
const DOTTED_MAX: usize = 7;
/// Characters of stored names that LogQL sees as `_`, the usual ones.
const SEPARATORS: [char; 3] = ['_', '.', '-'];

/// The filter of a delete: a stream selector with line filters and comparisons of structured metadata with
/// texts, in LogQL. Labels that Loki derives (`service_name`, `detected_level`) can be named too.
///
/// Metadata of a name with `_` is looked for under the names that LogQL sees so: with `_`, `.` or `-` in
/// its place, for up to three of them in every mixture; beyond, `_` and `.` in every mixture up to seven.
///
/// # Errors
/// `Invalid` if the text is no log query, selects no stream (`{}`), or has a part that does not come to a
/// filter alone: parsers, formats, regular expressions and numbers of metadata, patterns, addresses.
pub fn delete_filter(text: &str) -> Result<Filter> {
    Ok(filter(&delete_expr(text)?)?)
}

/// The text of a delete's selector as it is kept and shown: the same for selectors that differ in
/// white space or quotes only.
///
/// # Errors
/// Those of [`delete_filter`].
pub fn delete_text(text: &str) -> Result<String> {
    let expr = delete_expr(text)?;
    filter(&expr)?;
    Ok(expr.to_string())
}

fn delete_expr(text: &str) -> Result<LogExpr, QueryError> {
    parse_log(text).map_err(|error| QueryError::Invalid(error.to_string()))
}

fn filter(expr: &LogExpr) -> Result<Filter, QueryError> {
    let mut filter = lower::selector(&expr.selector, true)?;
    for stage in &expr.stages {
        let part = match stage {
            Stage::Line(line) => {
                if matches!(line.op, LineOp::Regex | LineOp::NotRegex) {
                    lower::refuse_malformed(stage)?;
                }
                lower::line_filter(line).ok_or_else(|| refused(stage))?
            }
            Stage::LabelFilter(labels) => label_filter(labels, stage)?,
            _ => return Err(refused(stage)),
        };
        filter = filter.and(part);
    }
    // Compiled here, its limits are told to who asks and not found when it is applied.
    Compiled::new(&filter)?;
    Ok(filter)
}

fn refused(stage: &Stage) -> QueryError {
    QueryError::Invalid(format!(
        "a delete takes a stream selector, line filters (`|=`, `!=`, `|~`, `!~`) and comparisons of structured \
         metadata with texts (`name=\"value\"`, `name!=\"value\"`); `{stage}` is none of these"
    ))
}

fn label_filter(filter: &LabelFilter, stage: &Stage) -> Result<Filter, QueryError> {
    Ok(match filter {
        LabelFilter::And(a, b) => Filter::And(vec![label_filter(a, stage)?, label_filter(b, stage)?]),
        LabelFilter::Or(a, b) => Filter::Or(vec![label_filter(a, stage)?, label_filter(b, stage)?]),
        LabelFilter::Text(matcher) => text_filter(matcher, stage)?,
        LabelFilter::Number { .. }
        | LabelFilter::Duration { .. }
        | LabelFilter::Bytes { .. }
        | LabelFilter::Ip { .. } => return Err(refused(stage)),
    })
}

/// A comparison of a label with a text: of the stream's label if it has one, else of the record's
/// metadata.
fn text_filter(matcher: &LabelMatcher, stage: &Stage) -> Result<Filter, QueryError> {
    let name = &matcher.name;
    // Labels that stages and collisions make.
    if matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex)
        || name.ends_with("_extracted")
        || name.starts_with("__")
    {
        return Err(refused(stage));
    }
    let value = &matcher.value;
    let by_row = match name.as_str() {
        view::DETECTED_LEVEL => detected(value),
        view::LEVEL if value.is_empty() => {
            return Err(QueryError::Invalid(format!(
                "a delete compares `level` with a level; `{stage}` asks whether there is one"
            )));
        }
        view::LEVEL => sent_level(value),
        view::SERVICE_NAME => Filter::None,
        name => field(name, value),
    };
    let by_row = if matcher.op == MatchOp::Ne { by_row.not() } else { by_row };
    let test = LabelTest::new(matcher, true)?;
    let text = format!("{matcher:?} stream");
    let by_stream = lower::stream(text, move |stream| test.label(stream).is_some_and(|value| test.passes(value)));
    let wanted = name.clone();
    let has_none =
        lower::stream(format!("no {name} stream"), move |stream| view::label(stream, &wanted, true).is_none());
    Ok(Filter::Or(vec![by_stream, Filter::And(vec![has_none, by_row])]))
}

/// Metadata of a name as LogQL sees it is this text; no metadata is the empty text.
fn field(name: &str, value: &str) -> Filter {
    let tests = stored_names(name).into_iter().map(|name| {
        let op = Op::Eq(value.to_owned());
        Filter::Test(Test { target: Target::Name(name), op })
    });
    any(tests.collect(), value)
}

/// One of several tests of equality with a value; where the value is empty, all of them.
fn any(mut tests: Vec<Filter>, value: &str) -> Filter {
    match (tests.len(), value.is_empty()) {
        (1, _) => tests.pop().unwrap_or_default(),
        (_, true) => Filter::And(tests),
        (_, false) => Filter::Or(tests),
    }
}

/// The names under which a field may be stored that LogQL sees as `name`: with `_` or what it replaces.
fn stored_names(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('_').collect();
    let gaps = parts.len() - 1;
    // Of several in a row LogQL makes one, so such a name was stored as it is.
    if gaps == 0 || parts.iter().any(|part| part.is_empty()) {
        return vec![name.to_owned()];
    }
    let mixed: &[char] = if gaps <= ALL_SPELLINGS_MAX {
        &SEPARATORS
    } else if gaps <= DOTTED_MAX {
        &['_', '.']
    } else {
        &[]
    };
    let mut names = vec![String::new()];
    for (index, part) in parts.iter().enumerate() {
        let separators = if index == 0 { &[][..] } else { mixed };
        if index > 0 && !separators.is_empty() {
            let longer =
                |name: &String| separators.iter().map(|separator| format!("{name}{separator}")).collect::<Vec<_>>();
            names = names.iter().flat_map(longer).collect();
        }
        names.iter_mut().for_each(|name| name.push_str(part));
    }
    if mixed.is_empty() {
        names.clear();
    }
    for separator in SEPARATORS.map(|separator| parts.join(&separator.to_string())) {
        if !names.contains(&separator) {
            names.push(separator);
        }
    }
    names
}

/// The level as it was sent, where LogQL shows it as `level`: not if a field tells the same.
fn sent_level(value: &str) -> Filter {
    let is = |target| Filter::Test(Test { target, op: Op::Eq(value.to_owned()) });
    let told = level::KEYS.iter().map(|key| is(Target::Name((*key).to_owned())));
    let sent = Filter::And(vec![is(Target::Spelling), Filter::Or(told.collect()).not()]);
    Filter::Or(vec![is(Target::Name(view::LEVEL.to_owned())), sent])
}

/// The level that Loki detects: that of the record's own field, else made of the level.
fn detected(value: &str) -> Filter {
    let own = stored_names(view::DETECTED_LEVEL);
    let has = own.into_iter().map(|name| Filter::Test(Test { target: Target::Name(name), op: Op::Exists }));
    let has = Filter::Or(has.collect());
    if value.is_empty() {
        // A level is detected of every record that does not bring an empty one.
        return Filter::And(vec![has, field(view::DETECTED_LEVEL, "")]);
    }
    let mut made = Vec::new();
    let known: Vec<&str> = level::detected_spellings(value).collect();
    if !known.is_empty() {
        let pattern = Pattern::whole(format!("(?i:{})", known.join("|")));
        made.push(Filter::Test(Test { target: Target::Spelling, op: Op::Regex(pattern) }));
    } else if view::detected_level(Level::Unknown, Some(value)) == value {
        made.push(Filter::Test(Test { target: Target::Spelling, op: Op::Eq(value.to_owned()) }));
    }
    if Level::ALL.iter().any(|level| level.as_str() == value) {
        let is_sent = Filter::Test(Test { target: Target::Spelling, op: Op::Exists });
        let level = Filter::Test(Test { target: Target::Level, op: Op::Eq(value.to_owned()) });
        made.push(Filter::And(vec![is_sent.not(), level]));
    }
    Filter::Or(vec![field(view::DETECTED_LEVEL, value), Filter::And(vec![has.not(), Filter::Or(made)])])
}

#[cfg(test)]
mod tests;
