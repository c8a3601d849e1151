//! What tokens there are, and what Loki's errors call them.

/// A token and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// As it was written; of numbers, names and flags.
    pub text: &'a str,
    /// What a quoted text says.
    pub string: String,
    /// A duration or range.
    pub ns: i64,
    /// A size.
    pub bytes: u64,
    /// The line from 1, or 0 (see [`super::Lexer`]).
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Token<'_> {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, text: "", string: String::new(), ns: 0, bytes: 0, line: 0, column: 0 }
    }
}

macro_rules! kinds {
    ($($kind:ident $name:literal)*) => {
        /// What a token is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $(#[doc = $name] $kind,)*
        }

        impl Kind {
            /// What Loki's errors call it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    End "$end"
    Bytes "BYTES"
    Identifier "IDENTIFIER"
    String "STRING"
    Number "NUMBER"
    Flag "FUNCTION_FLAG"
    Duration "DURATION"
    Range "RANGE"
    Eq "="
    Re "=~"
    Nre "!~"
    Npa "!>"
    OpenBrace "{"
    CloseBrace "}"
    CloseBracket "]"
    Comma ","
    Dot "."
    PipeMatch "|~"
    PipeExact "|="
    PipePattern "|>"
    Open "("
    Close ")"
    By "by"
    Without "without"
    CountOverTime "COUNT_OVER_TIME"
    Rate "RATE"
    RateCounter "RATE_COUNTER"
    Sum "SUM"
    Sort "SORT"
    SortDesc "SORT_DESC"
    Avg "AVG"
    Max "MAX"
    Min "MIN"
    Count "COUNT"
    Stddev "STDDEV"
    Stdvar "STDVAR"
    Bottomk "BOTTOMK"
    Topk "TOPK"
    ApproxTopk "APPROX_TOPK"
    BytesOverTime "BYTES_OVER_TIME"
    BytesRate "BYTES_RATE"
    Bool "bool"
    Json "json"
    Regexp "regexp"
    Logfmt "logfmt"
    Pipe "|"
    LineFormat "line_format"
    LabelFormat "label_format"
    Unwrap "unwrap"
    AvgOverTime "AVG_OVER_TIME"
    SumOverTime "SUM_OVER_TIME"
    MinOverTime "MIN_OVER_TIME"
    MaxOverTime "MAX_OVER_TIME"
    StdvarOverTime "STDVAR_OVER_TIME"
    StddevOverTime "STDDEV_OVER_TIME"
    QuantileOverTime "QUANTILE_OVER_TIME"
    BytesConv "BYTES_CONV"
    DurationConv "DURATION_CONV"
    DurationSecondsConv "DURATION_SECONDS_CONV"
    FirstOverTime "FIRST_OVER_TIME"
    LastOverTime "LAST_OVER_TIME"
    AbsentOverTime "ABSENT_OVER_TIME"
    Vector "VECTOR"
    LabelReplace "label_replace"
    Unpack "unpack"
    Offset "offset"
    Pattern "pattern"
    Ip "ip"
    On "on"
    Ignoring "ignoring"
    GroupLeft "group_left"
    GroupRight "group_right"
    Decolorize "decolorize"
    Drop "drop"
    Keep "keep"
    Or "or"
    And "and"
    Unless "unless"
    CmpEq "=="
    Neq "!="
    Lt "<"
    Lte "<="
    Gt ">"
    Gte ">="
    Add "+"
    Sub "-"
    Mul "*"
    Div "/"
    Mod "%"
    Pow "^"
}

impl Kind {
    /// What a name means before a parenthesis or a grouping; it is in lower case.
    pub(super) fn function(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "rate_counter" => Self::RateCounter,
            "count_over_time" => Self::CountOverTime,
            "bytes_rate" => Self::BytesRate,
            "bytes_over_time" => Self::BytesOverTime,
            "avg_over_time" => Self::AvgOverTime,
            "sum_over_time" => Self::SumOverTime,
            "min_over_time" => Self::MinOverTime,
            "max_over_time" => Self::MaxOverTime,
            "stdvar_over_time" => Self::StdvarOverTime,
            "stddev_over_time" => Self::StddevOverTime,
            "quantile_over_time" => Self::QuantileOverTime,
            "first_over_time" => Self::FirstOverTime,
            "last_over_time" => Self::LastOverTime,
            "absent_over_time" => Self::AbsentOverTime,
            "vector" => Self::Vector,
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "max" => Self::Max,
            "min" => Self::Min,
            "count" => Self::Count,
            "stddev" => Self::Stddev,
            "stdvar" => Self::Stdvar,
            "bottomk" => Self::Bottomk,
            "topk" => Self::Topk,
            "approx_topk" => Self::ApproxTopk,
            "sort" => Self::Sort,
            "sort_desc" => Self::SortDesc,
            "label_replace" => Self::LabelReplace,
            "ip" => Self::Ip,
            "bytes" => Self::BytesConv,
            "duration" => Self::DurationConv,
            "duration_seconds" => Self::DurationSecondsConv,
            _ => return None,
        })
    }

    /// What a name or a character means wherever it stands; it is in lower case.
    pub(super) fn word(text: &str) -> Option<Self> {
        Some(match text {
            "," => Self::Comma,
            "." => Self::Dot,
            "{" => Self::OpenBrace,
            "}" => Self::CloseBrace,
            "=" => Self::Eq,
            "|" => Self::Pipe,
            "(" => Self::Open,
            ")" => Self::Close,
            "]" => Self::CloseBracket,
            ">" => Self::Gt,
            "<" => Self::Lt,
            "+" => Self::Add,
            "-" => Self::Sub,
            "*" => Self::Mul,
            "/" => Self::Div,
            "%" => Self::Mod,
            "^" => Self::Pow,
            "unwrap" => Self::Unwrap,
            "by" => Self::By,
            "without" => Self::Without,
            "bool" => Self::Bool,
            "offset" => Self::Offset,
            "on" => Self::On,
            "ignoring" => Self::Ignoring,
            "group_left" => Self::GroupLeft,
            "group_right" => Self::GroupRight,
            "or" => Self::Or,
            "and" => Self::And,
            "unless" => Self::Unless,
            "json" => Self::Json,
            "regexp" => Self::Regexp,
            "logfmt" => Self::Logfmt,
            "unpack" => Self::Unpack,
            "pattern" => Self::Pattern,
            "label_format" => Self::LabelFormat,
            "line_format" => Self::LineFormat,
            "ip" => Self::Ip,
            "decolorize" => Self::Decolorize,
            "drop" => Self::Drop,
            "keep" => Self::Keep,
            _ => return None,
        })
    }

    /// What two characters mean together.
    pub(super) fn operator_of_two(first: &str, second: char) -> Option<Self> {
        Some(match (first, second) {
            ("=", '~') => Self::Re,
            ("=", '=') => Self::CmpEq,
            ("!", '=') => Self::Neq,
            ("!", '~') => Self::Nre,
            ("!", '>') => Self::Npa,
            ("|", '=') => Self::PipeExact,
            ("|", '~') => Self::PipeMatch,
            ("|", '>') => Self::PipePattern,
            (">", '=') => Self::Gte,
            ("<", '=') => Self::Lte,
            _ => return None,
        })
    }
}
