//! What is wrong with a regular expression, in the words of Go's parser.

use regex_syntax::ast::{self, Ast, ErrorKind, RepetitionKind, RepetitionRange, Visitor};

/// How often Go lets something be repeated.
const REPEAT_MAX: u32 = 1000;

/// What Go refuses in an expression that is valid otherwise: an operator right behind another, and
/// high counts.
pub(super) fn refused_by_go(text: &str, tree: &Ast) -> Option<String> {
    ast::visit(tree, Refused { text }).err()
}

struct Refused<'a> {
    text: &'a str,
}

impl Visitor for Refused<'_> {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), String> {
        let Ast::Repetition(repetition) = tree else { return Ok(()) };
        let operator = &repetition.op.span;
        if let Ast::Repetition(inner) = &*repetition.ast {
            let both = self.text.get(inner.op.span.start.offset..operator.end.offset).unwrap_or_default();
            return Err(format!("invalid nested repetition operator: `{both}`"));
        }
        let count = match &repetition.op.kind {
            RepetitionKind::Range(RepetitionRange::Exactly(count) | RepetitionRange::AtLeast(count)) => *count,
            RepetitionKind::Range(RepetitionRange::Bounded(_, count)) => *count,
            _ => 0,
        };
        if count > REPEAT_MAX {
            let operator = self.text.get(operator.start.offset..operator.end.offset).unwrap_or_default();
            return Err(format!("invalid repeat count: `{operator}`"));
        }
        Ok(())
    }
}

/// An error that is not one of syntax: a class that does not exist, a limit.
pub(super) fn of_other_error(text: &str, reason: String) -> String {
    let at = reason.rsplit_once("at byte ").and_then(|(_, at)| at.parse::<usize>().ok());
    let class = at.and_then(|at| text.get(at..)).filter(|rest| rest.starts_with("\\p") || rest.starts_with("\\P"));
    match class {
        Some(rest) => {
            let end = if rest.as_bytes().get(2) == Some(&b'{') { rest.find('}').map(|end| end + 1) } else { Some(3) };
            let class = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
            format!("invalid character class range: `{class}`")
        }
        None => reason,
    }
}

/// An error of syntax.
pub(super) fn of_syntax_error(text: &str, error: &ast::Error) -> String {
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
            let operator = text.get(start..).and_then(|rest| rest.trim_start_matches(['|', '(']).get(..1));
            format!("missing argument to repetition operator: `{}`", operator.unwrap_or_default())
        }
        ErrorKind::RepetitionCountInvalid | ErrorKind::DecimalInvalid => format!("invalid repeat count: `{at}`"),
        ErrorKind::GroupNameInvalid | ErrorKind::GroupNameEmpty | ErrorKind::GroupNameUnexpectedEof => {
            let group = text.get(..end).and_then(|before| before.rfind("(?")).and_then(|open| text.get(open..));
            let group = group.unwrap_or_default();
            let length = group.find('>').map_or(group.len(), |close| close + 1);
            format!("invalid named capture: `{}`", group.get(..length).unwrap_or_default())
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
