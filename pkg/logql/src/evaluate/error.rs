//! Why a metric query has no answer. Texts that Loki has too are Loki's, to the letter: clients
//! look for them.

use super::run::Stopped;
use crate::Labels;
use timberlog_types::Error;

/// The label that says that a line could not be processed.
const ERROR_LABEL: &str = "__error__";
/// The label that says that a line with an error counts nevertheless.
const PRESERVE_ERROR_LABEL: &str = "__preserve_error__";

/// Why a metric query has no answer. `E` is the error of the samples' source.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum EvaluateError<E> {
    /// The samples could not be had, or the evaluation was called off.
    #[error("{0}")]
    Leaves(E),
    /// A line in a window could not be processed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The step of a range query is 0 or negative.
    #[error("zero or negative query resolution step widths are not accepted. Try a positive integer")]
    Step,
    /// The end is before the start.
    #[error("end timestamp must not be before or equal to start time")]
    EndBeforeStart,
    /// A time in the query is beyond what 64 bits of ns hold.
    #[error("a time of the query is out of range")]
    TimeOutOfRange,
    /// More steps than are allowed.
    #[error(
        "exceeded maximum resolution of {} points per time series. Try increasing the value of the step parameter",
        with_commas(*.max)
    )]
    TooManyPoints {
        /// How many are allowed.
        max: u64,
    },
    /// More series than are allowed.
    #[error(
        "maximum number of series ({max}) reached for a single query; consider reducing query cardinality by adding \
         more specific stream selectors, reducing the time range, or aggregating results with functions like sum(), \
         count() or topk()"
    )]
    TooManySeries {
        /// How many are allowed.
        max: usize,
    },
    /// The evaluation holds more than it may.
    #[error("the query needs more than `{max_bytes}` bytes of memory for its samples and its answer")]
    Memory {
        /// How much is allowed.
        max_bytes: u64,
    },
    /// Two elements of the side that must be unique match.
    #[error(
        "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching labels must be \
         unique on one side"
    )]
    ManyToMany {
        /// `left` or `right`.
        side: &'static str,
    },
    /// Several elements of the left side match one of the right, and nothing says that they may.
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ManyToOne,
    /// Two elements of the side with several come to the same labels.
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    NotUnique,
    /// `approx_topk` in a range query.
    #[error("count min sketches are only supported on instant queries")]
    ApproxTopkInRange,
    /// A number where `and`, `or` or `unless` need a vector.
    #[error("unexpected literal for {side} leg of logical/set binary operation ({op}): {value:.6}")]
    LiteralInSetOperation {
        /// `left` or `right`.
        side: &'static str,
        /// The operation.
        op: &'static str,
        /// The number.
        value: f64,
    },
    /// A number where a vector is needed, e.g. `sum(1)`.
    #[error("unexpected expr type (*syntax.LiteralExpr) for Evaluator type (*logql.DefaultEvaluator) ")]
    NumberInsteadOfVector,
    /// The expression of `label_replace` does not compile.
    #[error("invalid regex in label_replace: {message}")]
    Regex {
        /// What is wrong with it.
        message: String,
    },
    /// `quantile_over_time` or `topk` without its parameter.
    #[error("parameter required for operation {op}")]
    ParameterMissing {
        /// The operation.
        op: &'static str,
    },
    /// The tree of the query is too deep.
    #[error("the query is nested too deeply")]
    TooDeep,
}

impl<E> EvaluateError<E> {
    /// Whether the query is to blame. For the others Loki says that it failed itself (status 500),
    /// though they would fail again too; `None` for an error of the source.
    pub fn blames_query(&self) -> Option<bool> {
        match self {
            Self::Leaves(_) => None,
            Self::ManyToMany { .. }
            | Self::ManyToOne
            | Self::NotUnique
            | Self::ApproxTopkInRange
            | Self::NumberInsteadOfVector => Some(false),
            Self::Pipeline(_)
            | Self::Step
            | Self::EndBeforeStart
            | Self::TimeOutOfRange
            | Self::TooManyPoints { .. }
            | Self::TooManySeries { .. }
            | Self::Memory { .. }
            | Self::LiteralInSetOperation { .. }
            | Self::Regex { .. }
            | Self::ParameterMissing { .. }
            | Self::TooDeep => Some(true),
        }
    }
}

/// All are of the kind "invalid", since asking again does not help, but for those of the source.
impl<E: Into<Error>> From<EvaluateError<E>> for Error {
    fn from(error: EvaluateError<E>) -> Self {
        match error {
            EvaluateError::Leaves(error) => error.into(),
            error => Self::invalid(error.without_leaves::<Self>().map_or_else(String::new, |error| error.to_string())),
        }
    }
}

impl<E> EvaluateError<E> {
    /// The same error for another source, unless it is one of the source.
    fn without_leaves<F>(self) -> Option<EvaluateError<F>> {
        Some(match self {
            Self::Leaves(_) => return None,
            Self::Pipeline(error) => EvaluateError::Pipeline(error),
            Self::Step => EvaluateError::Step,
            Self::EndBeforeStart => EvaluateError::EndBeforeStart,
            Self::TimeOutOfRange => EvaluateError::TimeOutOfRange,
            Self::TooManyPoints { max } => EvaluateError::TooManyPoints { max },
            Self::TooManySeries { max } => EvaluateError::TooManySeries { max },
            Self::Memory { max_bytes } => EvaluateError::Memory { max_bytes },
            Self::ManyToMany { side } => EvaluateError::ManyToMany { side },
            Self::ManyToOne => EvaluateError::ManyToOne,
            Self::NotUnique => EvaluateError::NotUnique,
            Self::ApproxTopkInRange => EvaluateError::ApproxTopkInRange,
            Self::LiteralInSetOperation { side, op, value } => EvaluateError::LiteralInSetOperation { side, op, value },
            Self::NumberInsteadOfVector => EvaluateError::NumberInsteadOfVector,
            Self::Regex { message } => EvaluateError::Regex { message },
            Self::ParameterMissing { op } => EvaluateError::ParameterMissing { op },
            Self::TooDeep => EvaluateError::TooDeep,
        })
    }
}

impl EvaluateError<Stopped> {
    /// The same error for the caller, with what stopped the source.
    pub(super) fn outside<E>(self, stopped: Option<E>) -> EvaluateError<E> {
        match (self, stopped) {
            (Self::Leaves(Stopped), Some(error)) => EvaluateError::Leaves(error),
            // Whoever stops leaves an error behind, so the text is never seen.
            (error, _) => error.without_leaves().unwrap_or(EvaluateError::TooDeep),
        }
    }
}

/// A line in a window could not be processed, and the query does not say that this is fine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "pipeline error: '{kind}' for series: '{series}'.\n\
     Use a label filter to intentionally skip this error. (e.g | __error__!=\"{kind}\").\n\
     To skip all potential errors you can match empty errors.(e.g __error__=\"\")\n\
     The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
)]
pub struct PipelineError {
    /// The value of `__error__`.
    pub kind: String,
    /// The labels of the series, as text.
    pub series: String,
}

/// The error that a series with these labels makes of a metric query: if it has `__error__`, and
/// not `__preserve_error__="true"`.
pub fn pipeline_error(labels: &Labels) -> Option<PipelineError> {
    let kind = labels.get(ERROR_LABEL);
    (!kind.is_empty() && labels.get(PRESERVE_ERROR_LABEL) != "true")
        .then(|| PipelineError { kind: kind.to_owned(), series: labels.to_string() })
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
