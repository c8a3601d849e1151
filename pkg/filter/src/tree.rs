//! The filter tree: what every query language is translated to.

use crate::error::{FilterError, Result};
use std::fmt;
use std::sync::Arc;
use timberlog_types::StreamRef;

/// How deep a tree may be nested.
pub const DEPTH_MAX: usize = 64;
/// How many tests a tree may have; each value of an `in` list counts.
pub const TESTS_MAX: usize = 1_000;
/// The longest text of a test, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// The longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 64 << 10;

/// A question about a record that is either true or false.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Filter {
    /// True for every record.
    #[default]
    All,
    /// True for no record.
    None,
    /// True if all are; true if there are none.
    And(Vec<Filter>),
    /// True if any is; false if there are none.
    Or(Vec<Filter>),
    /// True if the other is not.
    Not(Box<Filter>),
    /// One test of one value.
    Test(Test),
}

/// One test of one value of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Which value.
    pub target: Target,
    /// What is asked of it.
    pub op: Op,
}

/// Which value of a record a test looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The timestamp.
    Timestamp,
    /// The normalised level, whatever the case of the text it is compared with. `Eq` and `In`
    /// take any spelling that means a level (`WARNING` is `warn`); a text that means none is
    /// compared with the sender's spelling, without regard to ASCII case.
    Level,
    /// The level as it was sent, exactly; missing if none was.
    Spelling,
    /// The stream as a whole; for [`Op::Holds`] only.
    Stream,
    /// The derived service.
    Service,
    /// The message.
    Message,
    /// The stream label of this name if the record's stream has one, else the field.
    Name(String),
}

/// What is asked of a value. But for `Exists`, a missing value is the empty text.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Is exactly this text.
    Eq(String),
    /// Is exactly one of these texts.
    In(Vec<String>),
    /// Begins with this text.
    Prefix(String),
    /// Matches this regular expression.
    Regex(Pattern),
    /// Is there, and is not `null`. A message or service is there if it is not empty, a level if
    /// one was sent.
    Exists,
    /// Is a number, or text that reads as one, and compares like this. For a timestamp the
    /// number is ns since 1970; use [`Op::Time`] where an `f64` is too coarse.
    Number(Comparison, f64),
    /// The timestamp, in ns since 1970, compares like this. For no other target.
    Time(Comparison, i64),
    /// Contains this text.
    Contains(String),
    /// Contains this text, without regard to ASCII case.
    ContainsNoCase(String),
    /// Contains this text between two ends of words: what is before and after it is the end of
    /// the text or no ASCII letter or digit.
    Token(String),
    /// [`Op::Token`] without regard to ASCII case.
    TokenNoCase(String),
    /// The stream passes a test that somebody else defines. For no other target.
    Holds(StreamTest),
}

/// A test of whole streams, with the text that stands for it: two tests of one text are one test.
#[derive(Clone)]
pub struct StreamTest {
    text: String,
    test: Arc<dyn Fn(StreamRef<'_>) -> bool + Send + Sync>,
}

impl StreamTest {
    /// A test with the text that stands for it.
    pub fn new(text: impl Into<String>, test: impl Fn(StreamRef<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { text: text.into(), test: Arc::new(test) }
    }

    /// Whether a stream passes.
    pub fn holds(&self, stream: StreamRef<'_>) -> bool {
        (self.test)(stream)
    }

    /// The text that stands for it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for StreamTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamTest").field(&self.text).finish()
    }
}

impl PartialEq for StreamTest {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A regular expression as RE2 reads it: `\d \w \s \b` are ASCII, all else is Unicode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The expression.
    pub text: String,
    /// Whether it must match the whole value (as in LogQL's label matchers) or any part of it.
    pub anchored: bool,
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Less than.
    Lt,
    /// Less than or equal.
    Le,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Ge,
    /// Equal as numbers (`1.0` equals `1`).
    Eq,
}

impl Target {
    /// The target that a name stands for.
    pub fn named(name: &str) -> Self {
        match name {
            "timestamp" => Self::Timestamp,
            "level" => Self::Level,
            "service" => Self::Service,
            "message" => Self::Message,
            name => Self::Name(name.to_owned()),
        }
    }

    /// The name that stands for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Level => "level",
            Self::Spelling => "level as sent",
            Self::Stream => "stream",
            Self::Service => "service",
            Self::Message => "message",
            Self::Name(name) => name,
        }
    }
}

impl Pattern {
    /// A pattern that may match any part of the value.
    pub fn search(text: impl Into<String>) -> Self {
        Self { text: text.into(), anchored: false }
    }

    /// A pattern that must match the whole value.
    pub fn whole(text: impl Into<String>) -> Self {
        Self { text: text.into(), anchored: true }
    }
}

impl Comparison {
    /// Whether `left` compares to `right` like this; false for NaN.
    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
            Self::Eq => left == right,
        }
    }
}

impl Filter {
    /// A test of the value that `name` stands for.
    pub fn test(name: &str, op: Op) -> Self {
        Self::Test(Test { target: Target::named(name), op })
    }

    /// `name` is exactly `value`.
    pub fn eq(name: &str, value: impl Into<String>) -> Self {
        Self::test(name, Op::Eq(value.into()))
    }

    /// The message contains `text`.
    pub fn contains(text: impl Into<String>) -> Self {
        Self::Test(Test { target: Target::Message, op: Op::Contains(text.into()) })
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, filter) | (filter, Self::All) => filter,
            (Self::And(mut parts), other) => {
                parts.push(other);
                Self::And(parts)
            }
            (filter, other) => Self::And(vec![filter, other]),
        }
    }

    /// Not this.
    #[allow(clippy::should_implement_trait, reason = "reads as the operator of the tree, next to `and`")]
    pub fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Checks depth, number of tests and lengths, but compiles no regular expression.
    pub fn check(&self) -> Result<()> {
        let mut tests = 0;
        self.check_at(&mut "filter".to_owned(), 0, &mut tests)
    }

    fn check_at(&self, path: &mut String, depth: usize, tests: &mut usize) -> Result<()> {
        if depth >= DEPTH_MAX {
            return Err(FilterError::TooDeep { max: DEPTH_MAX });
        }
        let mut inside = |part: &Self, step: std::fmt::Arguments<'_>| {
            let len = path.len();
            path.push_str(&step.to_string());
            part.check_at(path, depth + 1, tests)?;
            path.truncate(len);
            Ok(())
        };
        match self {
            Self::All | Self::None => Ok(()),
            Self::And(parts) => {
                parts.iter().enumerate().try_for_each(|(i, part)| inside(part, format_args!(".and[{i}]")))
            }
            Self::Or(parts) => {
                parts.iter().enumerate().try_for_each(|(i, part)| inside(part, format_args!(".or[{i}]")))
            }
            Self::Not(part) => inside(part, format_args!(".not")),
            Self::Test(test) => {
                *tests += if let Op::In(values) = &test.op { values.len().max(1) } else { 1 };
                if *tests > TESTS_MAX {
                    return Err(FilterError::TooManyTests { max: TESTS_MAX });
                }
                test.check(path)
            }
        }
    }
}

impl Test {
    fn check(&self, path: &str) -> Result<()> {
        let limit = |text: &str, max: usize| {
            if text.len() > max {
                return Err(FilterError::TextTooLong { path: path.to_owned(), len: text.len(), max });
            }
            Ok(())
        };
        limit(self.target.name(), TEXT_BYTES_MAX)?;
        match &self.op {
            Op::Eq(text)
            | Op::Prefix(text)
            | Op::Contains(text)
            | Op::ContainsNoCase(text)
            | Op::Token(text)
            | Op::TokenNoCase(text) => limit(text, TEXT_BYTES_MAX)?,
            Op::In(texts) => texts.iter().try_for_each(|text| limit(text, TEXT_BYTES_MAX))?,
            Op::Regex(pattern) => limit(&pattern.text, PATTERN_BYTES_MAX)?,
            Op::Exists | Op::Number(..) | Op::Time(..) | Op::Holds(_) => {}
        }
        let invalid = |reason: String| Err(FilterError::Invalid { path: path.to_owned(), reason });
        match (&self.target, &self.op) {
            (Target::Stream, Op::Holds(_)) => Ok(()),
            (Target::Stream, _) | (_, Op::Holds(_)) => {
                invalid("a stream passes or fails a test of whole streams, and nothing else does".to_owned())
            }
            (_, Op::Number(_, number)) if number.is_nan() => invalid("a number is expected, not NaN".to_owned()),
            (Target::Timestamp, Op::Number(..) | Op::Time(..) | Op::Exists | Op::Eq(_) | Op::In(_)) => Ok(()),
            (Target::Timestamp, _) => {
                invalid("a timestamp can be compared (eq, in, lt, le, gt, ge), not searched as text".to_owned())
            }
            (target, Op::Time(..)) => {
                invalid(format!("`{}` is not a time; only `timestamp` can be compared with one", target.name()))
            }
            _ => Ok(()),
        }
    }
}
