//! The stages of a pipeline.

use super::binary::meaning;
use super::{Cursor, ParseError, label_filter, selector};
use crate::ast::{Extraction, FormatValue, LabelFormat, LabelPick, LineFilter, LineMatch, LineOp, Stage};
use crate::lexer::Kind;
use crate::pipeline;

/// Whether a token begins a stage.
pub(super) fn begins(kind: Kind) -> bool {
    kind == Kind::Pipe || line_op(kind).is_some()
}

/// A line filter, and those joined to it by `or`. A line passes a negative filter if no
/// alternative matches, which is the same as a filter for each: so it is put into the tree.
pub(super) fn line_filter(cursor: &mut Cursor<'_>, stages: &mut Vec<Stage>) -> Result<(), ParseError> {
    let Some(op) = line_op(cursor.kind()) else { return Err(cursor.unexpected(&[])) };
    cursor.take();
    let mut alternatives = vec![line_match(cursor)?];
    while cursor.accept(Kind::Or) {
        alternatives.push(line_match(cursor)?);
    }
    match op {
        LineOp::Contains | LineOp::Regex | LineOp::Pattern => {
            stages.push(Stage::Line(LineFilter { op, alternatives }));
        }
        LineOp::NotContains | LineOp::NotRegex | LineOp::NotPattern => stages.extend(
            alternatives.into_iter().map(|alternative| Stage::Line(LineFilter { op, alternatives: vec![alternative] })),
        ),
    }
    Ok(())
}

/// What is behind a `|`.
pub(super) fn piped(cursor: &mut Cursor<'_>) -> Result<Stage, ParseError> {
    let kind = cursor.kind();
    match kind {
        Kind::Identifier | Kind::Open => return label_filter::filter(cursor).map(Stage::LabelFilter),
        Kind::Json
        | Kind::Logfmt
        | Kind::Regexp
        | Kind::Pattern
        | Kind::Unpack
        | Kind::LineFormat
        | Kind::LabelFormat
        | Kind::Decolorize
        | Kind::Drop
        | Kind::Keep => {}
        _ => return Err(cursor.unexpected(&[])),
    }
    cursor.take();
    Ok(match kind {
        Kind::Json => Stage::Json(extractions(cursor)?),
        Kind::Logfmt => logfmt(cursor)?,
        Kind::Regexp => {
            let stage = Stage::Regexp(cursor.expect(Kind::String)?.string);
            pipeline::check(&stage).map_err(|error| meaning(format!("invalid regexp parser: {error}")))?;
            stage
        }
        Kind::Pattern => {
            let stage = Stage::Pattern(cursor.expect(Kind::String)?.string);
            pipeline::check(&stage).map_err(|error| meaning(format!("invalid pattern parser: {error}")))?;
            stage
        }
        Kind::LineFormat => Stage::LineFormat(cursor.expect(Kind::String)?.string),
        Kind::LabelFormat => Stage::LabelFormat(label_formats(cursor)?),
        Kind::Decolorize => Stage::Decolorize,
        Kind::Drop => Stage::Drop(picks(cursor)?),
        Kind::Keep => Stage::Keep(picks(cursor)?),
        _ => Stage::Unpack,
    })
}

/// `("text")` behind `ip`.
pub(super) fn ip(cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
    cursor.expect(Kind::Open)?;
    let pattern = cursor.expect(Kind::String)?.string;
    cursor.expect(Kind::Close)?;
    Ok(pattern)
}

fn line_op(kind: Kind) -> Option<LineOp> {
    Some(match kind {
        Kind::PipeExact => LineOp::Contains,
        Kind::Neq => LineOp::NotContains,
        Kind::PipeMatch => LineOp::Regex,
        Kind::Nre => LineOp::NotRegex,
        Kind::PipePattern => LineOp::Pattern,
        Kind::Npa => LineOp::NotPattern,
        _ => return None,
    })
}

fn line_match(cursor: &mut Cursor<'_>) -> Result<LineMatch, ParseError> {
    match cursor.kind() {
        Kind::String => Ok(LineMatch::Text(cursor.take().string)),
        Kind::Ip => {
            cursor.take();
            Ok(LineMatch::Ip(ip(cursor)?))
        }
        _ => Err(cursor.unexpected(&[Kind::String, Kind::Ip])),
    }
}

fn logfmt(cursor: &mut Cursor<'_>) -> Result<Stage, ParseError> {
    let (mut strict, mut keep_empty) = (false, false);
    while cursor.kind() == Kind::Flag {
        match cursor.take().text {
            "--strict" => strict = true,
            _ => keep_empty = true,
        }
    }
    Ok(Stage::Logfmt { strict, keep_empty, extractions: extractions(cursor)? })
}

/// `a="b", c`, or nothing.
fn extractions(cursor: &mut Cursor<'_>) -> Result<Vec<Extraction>, ParseError> {
    let mut extractions = Vec::new();
    if cursor.kind() != Kind::Identifier {
        return Ok(extractions);
    }
    loop {
        let name = cursor.expect(Kind::Identifier)?.text.to_owned();
        let expression = if cursor.accept(Kind::Eq) { cursor.expect(Kind::String)?.string } else { name.clone() };
        extractions.push(Extraction { name, expression });
        if !cursor.accept(Kind::Comma) {
            return Ok(extractions);
        }
    }
}

fn label_formats(cursor: &mut Cursor<'_>) -> Result<Vec<LabelFormat>, ParseError> {
    let mut formats = Vec::new();
    loop {
        let name = cursor.expect(Kind::Identifier)?.text.to_owned();
        cursor.expect(Kind::Eq)?;
        let value = match cursor.kind() {
            Kind::Identifier => FormatValue::Rename(cursor.take().text.to_owned()),
            Kind::String => FormatValue::Template(cursor.take().string),
            _ => return Err(cursor.unexpected(&[Kind::Identifier, Kind::String])),
        };
        formats.push(LabelFormat { name, value });
        if !cursor.accept(Kind::Comma) {
            return Ok(formats);
        }
    }
}

fn picks(cursor: &mut Cursor<'_>) -> Result<Vec<LabelPick>, ParseError> {
    let mut picks = Vec::new();
    loop {
        let name = cursor.expect(Kind::Identifier)?.text;
        picks.push(match selector::match_op(cursor.kind()) {
            Some(op) => {
                cursor.take();
                LabelPick::Matcher(selector::matcher(cursor, name, op)?)
            }
            None => LabelPick::Name(name.to_owned()),
        });
        if !cursor.accept(Kind::Comma) {
            return Ok(picks);
        }
    }
}
