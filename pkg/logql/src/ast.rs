//! The tree of a LogQL query: what was asked, with nothing resolved but numbers, units and quotes.
//!
//! Follows the LogQL reference of Loki 3 (<https://grafana.com/docs/loki/latest/query/>). A tree
//! that the parser built prints as a text that parses to an equal tree, but for a query that is a
//! number which no literal says (`1/0`).

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A log query: its answer is lines.
    Log(LogExpr),
    /// A metric query: its answer is numbers.
    Metric(MetricExpr),
}

/// `{selector} stage stage …`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogExpr {
    /// Matchers of stream labels, all of which must hold, in the order written.
    pub selector: Vec<LabelMatcher>,
    /// The pipeline, in the order written.
    pub stages: Vec<Stage>,
}

/// `name="value"` in a selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelMatcher {
    /// The name of the label.
    pub name: String,
    /// How it is compared.
    pub op: MatchOp,
    /// The text, or the regular expression, which must match the whole value.
    pub value: String,
}

/// How a label is compared with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// One stage of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// `|= "text" or "other"`
    Line(LineFilter),
    /// `| json` or `| json a="b.c", d`
    Json(Vec<Extraction>),
    /// `| logfmt --strict --keep-empty a="b", d`
    Logfmt {
        /// `--strict`: the first error ends parsing.
        strict: bool,
        /// `--keep-empty`: keys without a value are labels with an empty value.
        keep_empty: bool,
        /// Which keys, under which names; all if there are none.
        extractions: Vec<Extraction>,
    },
    /// `` | regexp `(?P<name>…)` ``
    Regexp(String),
    /// `| pattern "<name> <_>"`
    Pattern(String),
    /// `| unpack`
    Unpack,
    /// `| a="b" and c > 2`
    LabelFilter(LabelFilter),
    /// `| line_format "{{.a}}"`
    LineFormat(String),
    /// `| label_format a=b,c="{{.d}}"`
    LabelFormat(Vec<LabelFormat>),
    /// `| decolorize`
    Decolorize,
    /// `| drop a, b="c"`
    Drop(Vec<LabelPick>),
    /// `| keep a, b="c"`
    Keep(Vec<LabelPick>),
}

/// A line filter and those joined to it by `or`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineFilter {
    /// How lines are compared.
    pub op: LineOp,
    /// With what; at least one. A line passes a positive filter if any matches, a negative one if
    /// none does. The parser gives a negative one a single alternative: `!= "a" or "b"` is
    /// `!= "a" != "b"`, as in Loki.
    pub alternatives: Vec<LineMatch>,
}

/// How lines are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LineOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Regex,
    /// `!~`
    NotRegex,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

/// What lines are compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LineMatch {
    /// A text, an expression or a pattern.
    Text(String),
    /// `ip("…")`: an address, a range or a CIDR.
    Ip(String),
}

/// `name="expression"` of `json` and `logfmt`; a bare `name` has itself as expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Extraction {
    /// The label that it becomes.
    pub name: String,
    /// Where the value is.
    pub expression: String,
}

/// A condition on labels.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelFilter {
    /// `a and b`, `a, b`, `a b`
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// `a or b`
    Or(Box<LabelFilter>, Box<LabelFilter>),
    /// `name="text"`
    Text(LabelMatcher),
    /// `name > 1.5`
    Number {
        /// The label.
        name: String,
        /// How it is compared.
        op: CompareOp,
        /// With what.
        value: f64,
    },
    /// `name > 1m30s`
    Duration {
        /// The label.
        name: String,
        /// How it is compared.
        op: CompareOp,
        /// With what, in ns.
        ns: i64,
    },
    /// `name > 20MB`
    Bytes {
        /// The label.
        name: String,
        /// How it is compared.
        op: CompareOp,
        /// With what.
        bytes: u64,
    },
    /// `name = ip("…")` or `name != ip("…")`
    Ip {
        /// The label.
        name: String,
        /// Whether the address must not match.
        negated: bool,
        /// An address, a range or a CIDR.
        pattern: String,
    },
}

/// How a label is compared with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==` (also `=`)
    Eq,
    /// `!=`
    Ne,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `<`
    Lt,
    /// `<=`
    Le,
}

/// One assignment of `label_format`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelFormat {
    /// The label that is set.
    pub name: String,
    /// To what.
    pub value: FormatValue,
}

/// What a label is set to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FormatValue {
    /// `a=b`: the label `b` is renamed.
    Rename(String),
    /// `a="…"`: a template.
    Template(String),
}

/// What `drop` and `keep` name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LabelPick {
    /// A label, whatever its value.
    Name(String),
    /// A label whose value matches.
    Matcher(LabelMatcher),
}

/// A metric query.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricExpr {
    /// `rate({…}[5m])`
    Range(Box<RangeAggregation>),
    /// `sum by (a) (…)`
    Vector(Box<VectorAggregation>),
    /// `a + b`
    Binary(Box<BinaryExpr>),
    /// `label_replace(v, "dst", "replacement", "src", "regex")`
    LabelReplace(Box<LabelReplace>),
    /// `1.5`
    Literal(f64),
    /// `vector(1.5)`
    VectorLiteral(f64),
}

/// A range aggregation: the leaf of every metric query.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeAggregation {
    /// What is computed.
    pub op: RangeOp,
    /// The quantile of `quantile_over_time`.
    pub parameter: Option<f64>,
    /// Of which lines.
    pub log: LogExpr,
    /// The label whose value is the sample; `None` for operations that count lines and bytes.
    pub unwrap: Option<Unwrap>,
    /// Length of the window in ns, a whole number of ms; 0 (`[0]`) is allowed, as in Loki.
    pub range_ns: i64,
    /// How far windows are moved back, in ns; negative moves them ahead.
    pub offset_ns: i64,
    /// `by (…)` or `without (…)`.
    pub grouping: Option<Grouping>,
}

/// What a range aggregation computes of the samples in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the operation of its LogQL name")]
pub enum RangeOp {
    CountOverTime,
    Rate,
    BytesOverTime,
    BytesRate,
    AbsentOverTime,
    SumOverTime,
    AvgOverTime,
    MinOverTime,
    MaxOverTime,
    FirstOverTime,
    LastOverTime,
    StddevOverTime,
    StdvarOverTime,
    QuantileOverTime,
    RateCounter,
}

impl RangeOp {
    /// Whether it may have a grouping.
    pub fn takes_grouping(self) -> bool {
        matches!(
            self,
            Self::AvgOverTime
                | Self::StddevOverTime
                | Self::StdvarOverTime
                | Self::QuantileOverTime
                | Self::MaxOverTime
                | Self::MinOverTime
                | Self::FirstOverTime
                | Self::LastOverTime
        )
    }

    /// Whether it may be of unwrapped values.
    pub fn takes_values(self) -> bool {
        !matches!(self, Self::CountOverTime | Self::BytesOverTime | Self::BytesRate)
    }

    /// Whether it may be of lines.
    pub fn takes_lines(self) -> bool {
        matches!(self, Self::CountOverTime | Self::Rate | Self::BytesOverTime | Self::BytesRate | Self::AbsentOverTime)
    }
}

/// `| unwrap duration(name) | filters`
#[derive(Clone, Debug, PartialEq)]
pub struct Unwrap {
    /// The label.
    pub name: String,
    /// How its text is read.
    pub conversion: Conversion,
    /// Filters after it, e.g. `| __error__=""`.
    pub filters: Vec<LabelFilter>,
}

/// How the text of an unwrapped label is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conversion {
    /// As a float.
    Number,
    /// `duration(…)`: as a duration, in seconds.
    Duration,
    /// `duration_seconds(…)`: the same.
    DurationSeconds,
    /// `bytes(…)`: as a size, in bytes.
    Bytes,
}

/// `by (a, b)` or `without (a, b)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grouping {
    /// Whether the names are left out rather than kept.
    pub without: bool,
    /// The names, in the order written.
    pub names: Vec<String>,
}

/// A vector aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorAggregation {
    /// What is computed.
    pub op: VectorOp,
    /// The `k` of `topk`, `bottomk` and `approx_topk`.
    pub parameter: Option<i64>,
    /// Of what.
    pub inner: MetricExpr,
    /// `by (…)` or `without (…)`; never `by ()`, which means no grouping.
    pub grouping: Option<Grouping>,
}

/// What a vector aggregation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the operation of its LogQL name")]
pub enum VectorOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    ApproxTopk,
    Sort,
    SortDesc,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// Which.
    pub op: BinaryOp,
    /// The left side.
    pub left: MetricExpr,
    /// The right side.
    pub right: MetricExpr,
    /// `bool`: a comparison gives 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How the vectors are matched; `None` if nothing was written, or `ignoring ()`.
    pub matching: Option<VectorMatching>,
}

/// A binary operator, loosest binding last in no order: see the parser for precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the operator of its name")]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

/// `on (…) group_left (…)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VectorMatching {
    /// Whether `names` are those that are compared (`on`), or those left out (`ignoring`).
    pub on: bool,
    /// The names, in the order written.
    pub names: Vec<String>,
    /// Which side may have several for one of the other.
    pub cardinality: Cardinality,
    /// The labels that `group_left(…)` or `group_right(…)` takes over from the other side.
    pub include: Vec<String>,
}

/// Which side of a binary operation may have several elements for one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// Neither.
    #[default]
    OneToOne,
    /// `group_left`: the left side.
    ManyToOne,
    /// `group_right`: the right side.
    OneToMany,
}

/// `label_replace(inner, "destination", "replacement", "source", "regex")`.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelReplace {
    /// Of what.
    pub inner: MetricExpr,
    /// The label that is set.
    pub destination: String,
    /// Its value, with `$1` for what a group matched.
    pub replacement: String,
    /// The label that is looked at.
    pub source: String,
    /// What its whole value must match.
    pub regex: String,
}
