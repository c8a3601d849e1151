//! One test, compiled: what it says of each kind of value, and what is known without looking.

use crate::error::{FilterError, Result};
use crate::interrupt::Interrupt;
use crate::matcher::Matcher;
use crate::tree::{Comparison, Op, StreamTest, Target, Test};
use crate::verdict::Verdict;
use timberlog_index::Tokens;
use timberlog_segment::TextMatcher;
use timberlog_types::{Level, StreamRef, TimeRange, Value, ValueKind, time};
use xxhash_rust::xxh3::xxh3_64;

/// One test, compiled.
#[derive(Debug)]
pub struct CompiledTest {
    id: usize,
    test: Test,
    negated: bool,
    check: Check,
    matches_empty: bool,
    tokens: Tokens,
}

/// How a test is carried out; negation apart.
#[derive(Debug)]
enum Check {
    Text(Box<Matcher>),
    Times(Vec<TimeRange>),
    Stream(StreamTest),
    Level {
        /// For each normalised level whether it passes.
        levels: [bool; Level::ALL.len()],
        /// Spellings that pass, compared without regard to ASCII case; `None` counts as empty.
        spellings: Vec<Box<[u8]>>,
    },
}

impl CompiledTest {
    /// Compiles a test. `path` is where it stands in the tree, for errors.
    pub(super) fn new(id: usize, test: &Test, negated: bool, path: &str, interrupt: &Interrupt) -> Result<Self> {
        let check = match test.target {
            Target::Timestamp => Check::Times(times(&test.op, path)?),
            Target::Level => level(&test.op, path)?,
            Target::Stream => match &test.op {
                Op::Holds(test) => Check::Stream(test.clone()),
                _ => {
                    return Err(FilterError::Invalid {
                        path: path.to_owned(),
                        reason: "no test of a stream".to_owned(),
                    });
                }
            },
            Target::Service | Target::Message | Target::Spelling | Target::Name(_) => {
                Check::Text(Box::new(Matcher::of(&test.op, path)?.interrupted_by(interrupt)))
            }
        };
        let matches_empty = match (&test.op, &check) {
            (Op::Exists, _) => false,
            (_, Check::Text(matcher)) => matcher.is_match(b""),
            _ => false,
        };
        let tokens = match (&check, &test.target) {
            (Check::Text(matcher), Target::Message) => matcher.tokens().clone(),
            _ => Tokens::NONE,
        };
        let mut compiled = Self { id, test: test.clone(), negated, check, matches_empty, tokens };
        if let Some(hashes) = compiled.value_hashes() {
            compiled.tokens = Tokens::any(hashes.into_iter().map(Tokens::Token).collect());
        }
        Ok(compiled)
    }

    /// The test, negation apart.
    pub(super) fn to_test(&self) -> Test {
        self.test.clone()
    }

    /// The number of the test in its filter: a key for what is remembered about it.
    pub fn id(&self) -> usize {
        self.id
    }

    /// What is tested.
    pub fn target(&self) -> &Target {
        &self.test.target
    }

    /// What is asked.
    pub fn op(&self) -> &Op {
        &self.test.op
    }

    /// Whether rows pass that fail the test. No other method of a test looks at this.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// The times that pass, for a test of the timestamp; any of the ranges.
    pub fn times(&self) -> &[TimeRange] {
        if let Check::Times(ranges) = &self.check { ranges } else { &[] }
    }

    /// The matcher, for a test of a text: a message, service, label or field.
    pub fn matcher(&self) -> Option<&Matcher> {
        if let Check::Text(matcher) = &self.check { Some(matcher) } else { None }
    }

    /// Whether a timestamp passes.
    pub fn matches_time(&self, timestamp: i64) -> bool {
        self.times().iter().any(|range| range.contains(timestamp))
    }

    /// What is known of a range of timestamps.
    pub fn judge_times(&self, range: TimeRange) -> Verdict {
        if self.times().iter().any(|passing| passing.covers(range)) {
            Verdict::Always
        } else if self.times().iter().any(|passing| passing.overlaps(range)) {
            Verdict::Maybe
        } else {
            Verdict::Never
        }
    }

    /// Whether a level passes, given as it is normalised and as it was sent.
    pub fn matches_level(&self, level: Level, spelling: Option<&[u8]>) -> bool {
        if self.test.target == Target::Spelling {
            return spelling.map_or(self.matches_empty, |text| self.matches_text(text));
        }
        let Check::Level { levels, spellings } = &self.check else { return false };
        if matches!(self.test.op, Op::Exists) {
            return spelling.is_some();
        }
        let spelling = spelling.unwrap_or_default();
        levels.get(level as usize).copied().unwrap_or_default()
            || spellings.iter().any(|passing| passing.eq_ignore_ascii_case(spelling))
    }

    /// What is known of a level if its spelling is not.
    pub fn judge_level(&self, level: Level) -> Verdict {
        let Check::Level { levels, spellings } = &self.check else { return Verdict::Never };
        if matches!(self.test.op, Op::Exists) {
            return if level == Level::Unknown { Verdict::Maybe } else { Verdict::Always };
        }
        if levels.get(level as usize).copied().unwrap_or_default() {
            Verdict::Always
        } else if level == Level::Unknown && !spellings.is_empty() {
            // Only a text that means no level is compared with spellings.
            Verdict::Maybe
        } else {
            Verdict::Never
        }
    }

    /// Whether a message or service passes.
    pub fn matches_text(&self, text: &[u8]) -> bool {
        self.matcher().is_some_and(|matcher| matcher.is_match(text))
    }

    /// Whether the value of a label or field passes.
    pub fn matches_value(&self, value: Value<'_>) -> bool {
        match self.test.op {
            Op::Exists => value.kind != ValueKind::Null,
            Op::Number(..) => {
                matches!(value.kind, ValueKind::Number | ValueKind::String) && self.matches_text(value.text)
            }
            _ => self.matches_text(value.text),
        }
    }

    /// Whether a record without such a label and field passes.
    pub fn matches_missing(&self) -> bool {
        self.matches_empty
    }

    /// Whether the records of a stream pass, where the stream decides: `None` if its records'
    /// fields do.
    pub fn decide_stream(&self, stream: StreamRef<'_>) -> Option<bool> {
        match &self.test.target {
            Target::Stream => Some(matches!(&self.check, Check::Stream(test) if test.holds(stream))),
            Target::Service => Some(self.matches_text(stream.service().as_bytes())),
            Target::Name(name) => stream
                .label(name)
                .map(|label| self.matches_value(Value { kind: ValueKind::String, text: label.as_bytes() })),
            Target::Timestamp | Target::Level | Target::Spelling | Target::Message => None,
        }
    }

    /// What the token filter of the column must hold for any row of a block to pass; of the message
    /// column for a test of the message, else of the field's.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The hashes of the values that a test for equality asks for, as user indexes and the token
    /// filters of fields have them; `None` if it asks for something else or takes a missing value.
    pub fn value_hashes(&self) -> Option<Vec<u64>> {
        let hash = |text: &String| xxh3_64(text.as_bytes());
        match (&self.test.target, &self.test.op) {
            _ if self.matches_empty => None,
            (Target::Name(_), Op::Eq(text)) => Some(vec![hash(text)]),
            (Target::Name(_), Op::In(texts)) => Some(texts.iter().map(hash).collect()),
            _ => None,
        }
    }

    pub(super) fn cost(&self) -> u32 {
        let op = match &self.test.op {
            Op::Exists | Op::Eq(_) | Op::Holds(_) => 0,
            Op::Prefix(_) | Op::Number(..) | Op::Time(..) => 1,
            Op::In(_) | Op::Contains(_) | Op::Token(_) => 2,
            Op::ContainsNoCase(_) | Op::TokenNoCase(_) => 4,
            Op::Regex(_) => 8,
        };
        op + match self.test.target {
            Target::Timestamp => 1,
            Target::Service | Target::Stream => 2,
            Target::Level | Target::Spelling => 4,
            Target::Name(_) => 16,
            Target::Message => 256,
        }
    }
}

fn times(op: &Op, path: &str) -> Result<Vec<TimeRange>> {
    let invalid = |reason: String| FilterError::Invalid { path: path.to_owned(), reason };
    let at = |text: &String| {
        time::parse(text.as_bytes())
            .map(|at| TimeRange { start: at, end: at })
            .map_err(|error| invalid(format!("`{text}` is no time: {error}")))
    };
    Ok(match op {
        Op::Exists => vec![TimeRange::ALL],
        Op::Eq(text) => vec![at(text)?],
        Op::In(texts) => texts.iter().map(at).collect::<Result<_>>()?,
        Op::Time(comparison, at) => compared(*comparison, i128::from(*at), true),
        // The conversion saturates, which is what a bound beyond all timestamps needs.
        Op::Number(comparison, at) => compared(*comparison, at.floor() as i128, at.fract() == 0.0),
        _ => return Err(invalid("a timestamp cannot be searched as text".to_owned())),
    })
}

/// The timestamps that compare so with a number: `floor`, or if not `whole` a bit more than it.
fn compared(comparison: Comparison, floor: i128, whole: bool) -> Vec<TimeRange> {
    let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
    let (start, end) = match comparison {
        Comparison::Lt => (least, if whole { floor.saturating_sub(1) } else { floor }),
        Comparison::Le => (least, floor),
        Comparison::Gt => (floor.saturating_add(1), most),
        Comparison::Ge => (if whole { floor } else { floor.saturating_add(1) }, most),
        Comparison::Eq if whole => (floor, floor),
        Comparison::Eq => return Vec::new(),
    };
    let (start, end) = (start.max(least), end.min(most));
    match (i64::try_from(start), i64::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => vec![TimeRange { start, end }],
        _ => Vec::new(),
    }
}

fn level(op: &Op, path: &str) -> Result<Check> {
    let mut levels = [false; Level::ALL.len()];
    let mut spellings: Vec<Box<[u8]>> = Vec::new();
    let mut spelled = |text: &String| match Level::parse(text) {
        Some(level) => {
            if let Some(passes) = levels.get_mut(level as usize) {
                *passes = true;
            }
        }
        None => spellings.push(text.as_bytes().into()),
    };
    match op {
        Op::Eq(text) => spelled(text),
        Op::In(texts) => texts.iter().for_each(spelled),
        Op::Exists | Op::Number(..) | Op::Time(..) | Op::Holds(_) => {}
        Op::Prefix(_) | Op::Regex(_) | Op::Contains(_) | Op::ContainsNoCase(_) | Op::Token(_) | Op::TokenNoCase(_) => {
            let matcher = Matcher::of(&without_case(op), path)?;
            for (passes, level) in levels.iter_mut().zip(Level::ALL) {
                *passes = matcher.is_match(level.as_str().as_bytes());
            }
        }
    }
    Ok(Check::Level { levels, spellings })
}

/// The same question to a lowercase text, whatever the case it was asked in.
fn without_case(op: &Op) -> Op {
    match op.clone() {
        Op::Prefix(text) => Op::Prefix(text.to_ascii_lowercase()),
        Op::Contains(text) => Op::ContainsNoCase(text),
        Op::Token(text) => Op::TokenNoCase(text),
        Op::Regex(mut pattern) => {
            pattern.text.insert_str(0, "(?i)");
            Op::Regex(pattern)
        }
        other => other,
    }
}
