//! Line filters: `|=`, `!=`, `|~`, `!~`, `|>`, `!>`, with `or` and with `ip("…")`.

use super::StageError;
use super::ip::IpFilter;
use super::line_pattern::LinePattern;
use super::text::TextMatcher;
use crate::ast::{LineFilter, LineMatch, LineOp};

/// A line filter, compiled.
///
/// As in Loki, an alternative that every line passes (an empty text, `.*`) is dropped when there
/// are others: `|= "" or "a"` is `|= "a"`.
#[derive(Clone, Debug)]
pub struct LineTest {
    negated: bool,
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug)]
enum Alternative {
    Text(TextMatcher),
    Pattern(Box<LinePattern>),
    Ip(IpFilter),
}

impl LineTest {
    /// Compiles a filter.
    ///
    /// # Errors
    /// An expression, pattern or address is invalid, or `ip` is used with a filter that is neither
    /// `|=` nor `!=`.
    pub fn new(filter: &LineFilter) -> Result<Self, StageError> {
        let negated = matches!(filter.op, LineOp::NotContains | LineOp::NotRegex | LineOp::NotPattern);
        let mut alternatives = Vec::with_capacity(filter.alternatives.len());
        // Of several mistakes Loki tells the first, but of `!=` and its like the last.
        let mut in_order: Vec<&LineMatch> = filter.alternatives.iter().collect();
        if negated {
            in_order.reverse();
        }
        for alternative in in_order {
            alternatives.push(match (alternative, filter.op) {
                (LineMatch::Ip(pattern), LineOp::Contains | LineOp::NotContains) => {
                    Alternative::Ip(IpFilter::new(pattern)?)
                }
                (LineMatch::Ip(_), _) => return Err(StageError("ip: invalid operation".to_owned())),
                (LineMatch::Text(text), LineOp::Contains | LineOp::NotContains) => {
                    Alternative::Text(TextMatcher::contains(text, false))
                }
                (LineMatch::Text(text), LineOp::Regex | LineOp::NotRegex) => {
                    Alternative::Text(TextMatcher::regex(text, false)?)
                }
                (LineMatch::Text(text), LineOp::Pattern | LineOp::NotPattern) => {
                    Alternative::Pattern(Box::new(LinePattern::new(text)?))
                }
            });
        }
        let always = |alternative: &Alternative| matches!(alternative, Alternative::Text(TextMatcher::Always));
        if !negated && !alternatives.iter().all(always) {
            alternatives.retain(|alternative| !always(alternative));
        }
        Ok(Self { negated, alternatives })
    }

    /// Whether a line passes.
    pub fn passes(&self, line: &[u8]) -> bool {
        let found = self.alternatives.iter().any(|alternative| match alternative {
            Alternative::Text(matcher) => matcher.is_match(line),
            Alternative::Pattern(pattern) => pattern.is_match(line),
            Alternative::Ip(ip) => ip.is_match(line),
        });
        found != self.negated
    }
}
