//! Regular expressions: compiled with the meaning that they have in Go, refused in Go's words.

use regex_automata::meta::Regex;
use regex_syntax::ast::{self, ErrorKind};
use timberlog_filter::{FilterError, Pattern};

use super::StageError;

/// How deep an expression may be nested.
const NEST_MAX: u32 = 100;

/// Compiles an expression that is searched for.
pub(super) fn search(expression: &str) -> Result<Regex, StageError> {
    compile(&Pattern::search(expression))
}

/// Compiles an expression that must match the whole text.
pub(super) fn whole(expression: &str) -> Result<Regex, StageError> {
    compile(&Pattern::whole(expression))
}

fn compile(pattern: &Pattern) -> Result<Regex, StageError> {
    let text = pattern.text.as_str();
    pattern.to_regex().map_err(|error| {
        let reason = match (parse(text), error) {
            (Err(error), _) => in_words_of_go(text, &error),
            (Ok(_), FilterError::Regex { reason, .. }) => reason,
            (Ok(_), error) => error.to_string(),
        };
        StageError(format!("error parsing regexp: {reason}"))
    })
}

/// The tree of an expression.
pub(super) fn parse(expression: &str) -> Result<ast::Ast, ast::Error> {
    ast::parse::ParserBuilder::new().nest_limit(NEST_MAX).build().parse(expression)
}

fn in_words_of_go(text: &str, error: &ast::Error) -> String {
    let (start, end) = (error.span().start.offset, error.span().end.offset);
    let at = text.get(start..end).unwrap_or_default();
    let from = text.get(start..).unwrap_or_default();
    match error.kind() {
        ErrorKind::GroupUnclosed => format!("missing closing ): `{text}`"),
        ErrorKind::GroupUnopened => format!("unexpected ): `{text}`"),
        ErrorKind::ClassUnclosed => format!("missing closing ]: `{from}`"),
        ErrorKind::ClassRangeInvalid => format!("invalid character class range: `{at}`"),
        ErrorKind::EscapeUnexpectedEof => "trailing backslash at end of expression: ``".to_owned(),
        ErrorKind::EscapeUnrecognized | ErrorKind::UnsupportedBackreference => {
            format!("invalid escape sequence: `{at}`")
        }
        ErrorKind::RepetitionMissing => {
            let operator = text.get(end.saturating_sub(1)..end).unwrap_or_default();
            format!("missing argument to repetition operator: `{operator}`")
        }
        ErrorKind::RepetitionCountInvalid | ErrorKind::DecimalInvalid => format!("invalid repeat count: `{at}`"),
        ErrorKind::GroupNameDuplicate { .. } => format!("duplicate capture group name: `{at}`"),
        ErrorKind::GroupNameInvalid | ErrorKind::GroupNameEmpty | ErrorKind::GroupNameUnexpectedEof => {
            format!("invalid named capture: `{at}`")
        }
        ErrorKind::FlagUnrecognized
        | ErrorKind::FlagDanglingNegation
        | ErrorKind::FlagDuplicate { .. }
        | ErrorKind::FlagRepeatedNegation { .. }
        | ErrorKind::FlagUnexpectedEof
        | ErrorKind::UnsupportedLookAround => {
            let open = text.get(..end).and_then(|before| before.rfind("(?")).unwrap_or(start);
            format!("invalid or unsupported Perl syntax: `{}`", text.get(open..end).unwrap_or_default())
        }
        ErrorKind::NestLimitExceeded(_) => format!("expression nests too deeply: `{text}`"),
        other => format!("{other}: `{at}`"),
    }
}
