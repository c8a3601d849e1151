//! Log ranges: `{…} | stages | unwrap a [5m] offset 1h`, the range before or behind the stages.

use super::{Cursor, ParseError, label_filter, selector, stage};
use crate::ast::{Conversion, LogExpr, Unwrap};
use crate::lexer::Kind;

/// What a range aggregation is computed of.
pub(super) struct LogRange {
    pub log: LogExpr,
    pub unwrap: Option<Unwrap>,
    pub range_ns: i64,
    pub offset_ns: i64,
}

/// A log range, in parentheses or not.
pub(super) fn log_range(cursor: &mut Cursor<'_>, expected: &[Kind]) -> Result<LogRange, ParseError> {
    match cursor.kind() {
        Kind::OpenBrace => plain(cursor, false),
        Kind::Open => cursor.nested(|cursor| {
            cursor.take();
            match cursor.kind() {
                Kind::OpenBrace => plain(cursor, true),
                Kind::Open => {
                    let range = log_range(cursor, &[])?;
                    cursor.expect(Kind::Close)?;
                    Ok(range)
                }
                _ => Err(cursor.unexpected(&[Kind::OpenBrace, Kind::Open])),
            }
        }),
        _ => Err(cursor.unexpected(expected)),
    }
}

/// A log range that begins with its selector; or if `opened`, that and its closing parenthesis,
/// which may come before the range or behind it.
fn plain(cursor: &mut Cursor<'_>, opened: bool) -> Result<LogRange, ParseError> {
    let mut log = LogExpr { selector: selector::selector(cursor)?, stages: Vec::new() };
    let mut unwrap = stages(cursor, &mut log)?;
    let before_range = unwrap.is_some() || !log.stages.is_empty();
    let mut closed = false;
    if opened && cursor.accept(Kind::Close) {
        closed = true;
    }
    let expected: &[Kind] = match (closed, opened, unwrap.is_some()) {
        (true, ..) => &[Kind::Range],
        (false, false, true) => &[Kind::Range, Kind::Pipe],
        (false, true, true) => &[Kind::Range, Kind::Close, Kind::Pipe],
        (false, _, false) => &[],
    };
    let range_ns = cursor.expect_among(Kind::Range, expected)?.ns;
    let mut offset_ns = 0;
    if cursor.accept(Kind::Offset) {
        offset_ns = cursor.expect(Kind::Duration)?.ns;
    }
    if closed && !before_range {
        // Behind a selector in parentheses only an unwrap may follow.
        if cursor.kind() == Kind::Pipe {
            unwrap = only_unwrap(cursor)?;
        }
    } else if !before_range {
        unwrap = stages(cursor, &mut log)?;
    }
    if opened && !closed {
        cursor.expect(Kind::Close)?;
    }
    Ok(LogRange { log, unwrap, range_ns, offset_ns })
}

/// The stages that are next, and the unwrap at their end.
fn stages(cursor: &mut Cursor<'_>, log: &mut LogExpr) -> Result<Option<Unwrap>, ParseError> {
    while stage::begins(cursor.kind()) {
        if !cursor.accept(Kind::Pipe) {
            stage::line_filter(cursor, &mut log.stages)?;
        } else if cursor.kind() == Kind::Unwrap {
            return unwrap(cursor).map(Some);
        } else {
            log.stages.push(stage::piped(cursor)?);
        }
    }
    Ok(None)
}

fn only_unwrap(cursor: &mut Cursor<'_>) -> Result<Option<Unwrap>, ParseError> {
    cursor.take();
    if cursor.kind() != Kind::Unwrap {
        return Err(cursor.unexpected(&[Kind::Unwrap]));
    }
    unwrap(cursor).map(Some)
}

/// `unwrap a`, and the filters behind it.
fn unwrap(cursor: &mut Cursor<'_>) -> Result<Unwrap, ParseError> {
    cursor.take();
    let conversion = match cursor.kind() {
        Kind::BytesConv => Conversion::Bytes,
        Kind::DurationConv => Conversion::Duration,
        Kind::DurationSecondsConv => Conversion::DurationSeconds,
        _ => Conversion::Number,
    };
    let name = if conversion == Conversion::Number {
        let expected = [Kind::Identifier, Kind::BytesConv, Kind::DurationConv, Kind::DurationSecondsConv];
        cursor.expect_among(Kind::Identifier, &expected)?.text.to_owned()
    } else {
        cursor.take();
        cursor.expect(Kind::Open)?;
        let name = cursor.expect(Kind::Identifier)?.text.to_owned();
        cursor.expect(Kind::Close)?;
        name
    };
    let mut filters = Vec::new();
    while cursor.accept(Kind::Pipe) {
        filters.push(label_filter::filter(cursor)?);
    }
    Ok(Unwrap { name, conversion, filters })
}
