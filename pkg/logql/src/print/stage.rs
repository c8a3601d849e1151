//! Stages as text.

use super::{Name, joined};
use crate::ast::{Extraction, FormatValue, LabelFormat, LabelPick, LineFilter, LineMatch, LineOp, Stage};
use crate::units::quote;
use std::fmt::{self, Display, Formatter};

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(filter) => filter.fmt(f),
            Self::Json(extractions) if extractions.is_empty() => f.write_str("| json"),
            Self::Json(extractions) => {
                f.write_str("| json ")?;
                joined(extractions, ",", f)
            }
            Self::Logfmt { strict, keep_empty, extractions } => {
                f.write_str("| logfmt")?;
                f.write_str(if *strict { " --strict" } else { "" })?;
                f.write_str(if *keep_empty { " --keep-empty" } else { "" })?;
                f.write_str(if extractions.is_empty() { "" } else { " " })?;
                joined(extractions, ",", f)
            }
            Self::Regexp(expression) => write!(f, "| regexp {}", quote(expression)),
            Self::Pattern(pattern) => write!(f, "| pattern {}", quote(pattern)),
            Self::Unpack => f.write_str("| unpack"),
            Self::LabelFilter(filter) => write!(f, "| {filter}"),
            Self::LineFormat(template) => write!(f, "| line_format {}", quote(template)),
            Self::LabelFormat(formats) => {
                f.write_str("| label_format ")?;
                joined(formats, ",", f)
            }
            Self::Decolorize => f.write_str("| decolorize"),
            Self::Drop(picks) => {
                f.write_str("| drop ")?;
                joined(picks, ",", f)
            }
            Self::Keep(picks) => {
                f.write_str("| keep ")?;
                joined(picks, ",", f)
            }
        }
    }
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.op)?;
        let negative = matches!(self.op, LineOp::NotContains | LineOp::NotRegex | LineOp::NotPattern);
        if negative {
            return joined(&self.alternatives, &format!(" {} ", self.op), f);
        }
        joined(&self.alternatives, " or ", f)
    }
}

impl Display for LineMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quote(text)),
            Self::Ip(pattern) => write!(f, "ip({})", quote(pattern)),
        }
    }
}

impl Display for LineOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Contains => "|=",
            Self::NotContains => "!=",
            Self::Regex => "|~",
            Self::NotRegex => "!~",
            Self::Pattern => "|>",
            Self::NotPattern => "!>",
        })
    }
}

impl Display for Extraction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", Name(&self.name), quote(&self.expression))
    }
}

impl Display for LabelFormat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.value {
            // Behind the sign this name would be the rest of an operator.
            FormatValue::Rename(from) if from == "~" => write!(f, "{}= ~", Name(&self.name)),
            FormatValue::Rename(from) => write!(f, "{}={from}", Name(&self.name)),
            FormatValue::Template(template) => write!(f, "{}={}", Name(&self.name), quote(template)),
        }
    }
}

impl Display for LabelPick {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Matcher(matcher) => matcher.fmt(f),
        }
    }
}
