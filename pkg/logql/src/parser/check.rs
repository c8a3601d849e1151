//! Checks of what was read: regular expressions, numbers, selectors that select nothing.

use super::binary::meaning;
use super::{Cursor, ParseError};
use crate::ast::{LabelFilter, LabelMatcher, MatchOp, Stage};
use crate::pipeline;
use crate::units::parse_float;
use timberlog_filter::Pattern;

/// A number of the text.
pub(super) fn number(text: &str) -> Result<f64, ParseError> {
    parse_float(text).map_err(|error| meaning(format!("unable to parse literal as a float: {error}")))
}

/// Go's `%f`.
pub(super) fn fixed(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { crate::units::print_float(value) }
}

/// Refuses a selector all of whose matchers take streams without the label, since it would read
/// everything.
pub(super) fn selects(matchers: &[LabelMatcher]) -> Result<(), ParseError> {
    if matchers.iter().any(|matcher| !matches_empty(matcher)) {
        return Ok(());
    }
    Err(meaning(
        "queries require at least one regexp or equality matcher that does not have an empty-compatible value. \
         For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will"
            .to_owned(),
    ))
}

fn matches_empty(matcher: &LabelMatcher) -> bool {
    let regex_matches = || Pattern::whole(matcher.value.as_str()).to_regex().is_ok_and(|regex| regex.is_match(""));
    match matcher.op {
        MatchOp::Eq => matcher.value.is_empty(),
        MatchOp::Ne => !matcher.value.is_empty(),
        MatchOp::Regex => regex_matches(),
        MatchOp::NotRegex => !regex_matches(),
    }
}

/// Refuses a matcher whose regular expression is malformed, or explodes.
pub(super) fn matcher(cursor: &mut Cursor<'_>, matcher: &LabelMatcher) -> Result<(), ParseError> {
    if matches!(matcher.op, MatchOp::Eq | MatchOp::Ne) {
        return Ok(());
    }
    regex(cursor, &matcher.value)?.map_err(meaning)
}

/// Whether a regular expression can be compiled. Those of a query share a budget.
pub(super) fn regex(cursor: &mut Cursor<'_>, text: &str) -> Result<Result<(), String>, ParseError> {
    if let Some(reason) = pipeline::regexp::refused(text) {
        return Ok(Err(reason));
    }
    let error = match Pattern::whole(text).to_regex() {
        Ok(regex) => return cursor.spend(regex.memory_usage()).map(Ok),
        Err(error) => error,
    };
    let matcher = LabelMatcher { name: "a".to_owned(), op: MatchOp::Regex, value: text.to_owned() };
    // The pipeline knows Go's words for it.
    let stage = Stage::LabelFilter(LabelFilter::Text(matcher));
    Ok(Err(pipeline::check(&stage).err().unwrap_or_else(|| error.to_string())))
}
