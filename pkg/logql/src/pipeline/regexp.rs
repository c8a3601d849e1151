//! Regular expressions: compiled with the meaning that they have in Go, refused in Go's words.

mod words;

use regex_automata::meta::Regex;
use regex_syntax::ast::{self, ErrorKind};
use std::borrow::Cow;
use timberlog_filter::{FilterError, Pattern};

use super::StageError;

/// How deep an expression may be nested.
const NEST_MAX: u32 = 100;

/// What is wrong with a valid expression that Go refuses all the same.
pub(crate) fn refused(expression: &str) -> Option<String> {
    let reason = words::refused_by_go(expression, &parse(expression).ok()?)?;
    Some(format!("error parsing regexp: {reason}"))
}

/// Compiles an expression that is searched for.
pub(crate) fn search(expression: &str) -> Result<Regex, StageError> {
    compile(&Pattern::search(expression))
}

/// Compiles an expression that must match the whole text.
pub(super) fn whole(expression: &str) -> Result<Regex, StageError> {
    compile(&Pattern::whole(expression))
}

fn compile(pattern: &Pattern) -> Result<Regex, StageError> {
    let text = pattern.text.as_str();
    if let Some(reason) = refused(text) {
        return Err(StageError(reason));
    }
    let without_names = Pattern { text: each_name_once(text).into_owned(), anchored: pattern.anchored };
    without_names.to_regex().map_err(|error| {
        let reason = match (parse(text), error) {
            (Err(error), _) => words::of_syntax_error(text, &error),
            (Ok(_), FilterError::Regex { reason, .. }) => words::of_other_error(text, reason),
            (Ok(_), error) => error.to_string(),
        };
        StageError(format!("error parsing regexp: {reason}"))
    })
}

/// The expression without the names of groups that have one in use: Go allows that.
fn each_name_once(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    while let Some((start, end)) = repeated_name(&text) {
        let before = text.get(..start).unwrap_or_default();
        let open = before.rfind('(').map_or(0, |open| open + 1);
        text = Cow::Owned(text.get(..open).unwrap_or_default().to_owned() + text.get(end + 1..).unwrap_or_default());
    }
    text
}

/// The first name of a group that is in use already, and what stands between `<` and `>` there.
fn repeated_name(text: &str) -> Option<(usize, usize)> {
    let error = parse(text).err()?;
    let is_repeated = matches!(error.kind(), ErrorKind::GroupNameDuplicate { .. });
    is_repeated.then(|| (error.span().start.offset, error.span().end.offset))
}

/// A name that two groups of an expression have.
pub(super) fn duplicate_name(text: &str) -> Option<&str> {
    let (start, end) = repeated_name(text)?;
    text.get(start..end)
}

/// The tree of an expression.
pub(super) fn parse(expression: &str) -> Result<ast::Ast, Box<ast::Error>> {
    ast::parse::ParserBuilder::new().nest_limit(NEST_MAX).build().parse(expression).map_err(Box::new)
}
