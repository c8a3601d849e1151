//! What `POST /api/v1/query` and `POST /api/v1/export` can be asked: loge's keys and ours in one
//! body, and queries as text.
//!
//! A text of matchers and line filters alone is a filter like all others: it joins them, and has
//! pages and counts. LogQL with more in it goes its own way ([`super::logql`]).

use super::params::{When, duration_ns, range};
use super::selector::{LabelMatcher, parse_selector};
use crate::error::{ApiError, ApiResult};
use crate::options::ServerOptions;
use serde::Deserialize;
use std::collections::HashSet;
use timberlog_db::filter::Filter;
use timberlog_db::language::ast::{Expr, LogExpr};
use timberlog_db::language::{parse, parse_short};
use timberlog_db::query::{Aggregation, Cancel, Cursor, Order, Query, QueryLimits};
use timberlog_types::{Tenant, TimeRange};

/// Records in an answer when nothing is said.
const LIMIT_DEFAULT: usize = 100;
/// Groups in an answer when nothing is said.
const GROUPS_DEFAULT: usize = 10_000;

/// A question.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ask {
    /// The first time; 0 or absent is open.
    pub start: Option<When>,
    /// The last time, included; 0 or absent is open.
    pub end: Option<When>,
    /// Conditions on labels and fields, all of which must hold.
    pub matchers: Vec<LabelMatcher>,
    /// Text that the message contains.
    pub line: Option<String>,
    /// A query as text.
    pub query: Option<String>,
    /// The language of `query`; without it, LogQL whose plain selectors find fields too.
    pub lang: Option<Language>,
    /// A filter tree.
    pub filter: Option<Filter>,
    /// The most records.
    pub limit: Option<usize>,
    /// `newest_first` or `oldest_first`.
    pub order: Order,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Counts instead of records.
    pub aggregate: Option<Aggregate>,
    /// What would be read, instead of reading it.
    pub explain: bool,
    /// The ids of the segments that whoever asks reads himself; of a plan alone.
    pub cold: Option<Vec<String>>,
}

/// What is counted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aggregate {
    /// By the values of these names.
    pub by: Vec<String>,
    /// By steps of time: ns, or a span such as `10m`.
    pub step: Option<Step>,
    /// The most groups.
    pub groups_max: Option<usize>,
}

/// A step of time.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a step: a number of ns, or a text such as `10m`")]
pub enum Step {
    /// ns.
    Ns(i64),
    /// A number and one of `ns us ms s m h d w`.
    Text(String),
}

/// A query language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// LogQL as Loki has it: labels in a selector are those of streams.
    Logql,
    /// `service=web & level=warn`.
    Short,
}

impl Ask {
    /// The range of time.
    pub fn range(&self, now_ns: i64) -> ApiResult<TimeRange> {
        let resolve = |when: &Option<When>| when.as_ref().map_or(Ok(None), |when| when.resolve(now_ns));
        range([("start", resolve(&self.start)?), ("end", resolve(&self.end)?)])
    }

    /// The LogQL that is asked, if it is more than a filter.
    pub fn logql(&self) -> ApiResult<Option<LogExpr>> {
        let Some(text) = &self.query else { return Ok(None) };
        let is_filter = match self.lang {
            Some(Language::Short) => true,
            Some(Language::Logql) => false,
            None => parse_selector(text).is_ok_and(|(matchers, _)| !matchers.iter().any(LabelMatcher::is_derived)),
        };
        if is_filter {
            return Ok(None);
        }
        match parse(text) {
            Ok(Expr::Log(expr)) => Ok(Some(expr)),
            Ok(Expr::Metric(_)) => Err(ApiError::invalid(
                "a metric query has numbers for an answer, not records; ask /loki/api/v1/query or \
                 /loki/api/v1/query_range",
            )),
            Err(error) => Err(ApiError::invalid(format!("`query`: {error}"))),
        }
    }

    /// All conditions in one tree.
    pub fn filter(&self) -> ApiResult<Filter> {
        let mut filter = Filter::All;
        if let Some(text) = &self.query
            && self.lang == Some(Language::Short)
        {
            filter = parse_short(text).map_err(timberlog_types::Error::from)?;
        } else if let Some(text) = &self.query {
            let (matchers, lines) = parse_selector(text)?;
            for matcher in &matchers {
                filter = filter.and(matcher.filter()?);
            }
            for line in lines {
                filter = filter.and(line);
            }
        }
        for matcher in &self.matchers {
            filter = filter.and(matcher.filter()?);
        }
        if let Some(line) = self.line.as_deref().filter(|line| !line.is_empty()) {
            filter = filter.and(Filter::contains(line));
        }
        if let Some(tree) = &self.filter {
            filter = filter.and(tree.clone());
        }
        Ok(filter)
    }

    /// The question for records.
    pub fn records(&self, tenant: Tenant, now_ns: i64, options: &ServerOptions) -> ApiResult<Query> {
        let cursor = match self.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
            Some(cursor) => Some(Cursor::parse(cursor).map_err(timberlog_types::Error::from)?),
            None => None,
        };
        let limit = match self.limit {
            None | Some(0) => LIMIT_DEFAULT,
            Some(limit) => limit.min(options.page_records_max),
        };
        Ok(Query {
            tenant,
            range: self.range(now_ns)?,
            filter: self.filter()?,
            order: self.order,
            limit,
            cursor,
            limits: limits(options),
            cancel: Cancel::default(),
        })
    }

    /// The question for counts.
    pub fn counts(
        &self,
        tenant: Tenant,
        now_ns: i64,
        options: &ServerOptions,
        what: &Aggregate,
    ) -> ApiResult<Aggregation> {
        let step = match &what.step {
            None => None,
            Some(Step::Ns(ns)) => Some(*ns),
            Some(Step::Text(text)) => Some(duration_ns(text).ok_or_else(|| {
                ApiError::invalid(format!("step `{}`, expected a span such as `10m`", text.escape_default()))
            })?),
        };
        if step.is_some_and(|step| step <= 0) {
            return Err(ApiError::invalid("`step` is not more than 0"));
        }
        if self.cursor.as_deref().is_some_and(|cursor| !cursor.is_empty()) {
            return Err(ApiError::invalid("counts have no pages: leave `cursor` or `aggregate` out"));
        }
        // An answer has one key for each name.
        let mut seen = HashSet::new();
        if let Some(name) = what.by.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(ApiError::invalid(format!("`by` names `{}` twice", name.escape_default())));
        }
        let mut aggregation = Aggregation::new(tenant);
        let groups_max = aggregation.groups_max;
        aggregation.range = self.range(now_ns)?;
        aggregation.filter = self.filter()?;
        aggregation.by.clone_from(&what.by);
        aggregation.step = step;
        aggregation.groups_max = what.groups_max.unwrap_or(GROUPS_DEFAULT).min(groups_max);
        aggregation.limits = limits(options);
        Ok(aggregation)
    }
}

/// The limit that a request without pages asks for. Nothing would tell a cut answer from a whole one,
/// so more than the server allows is refused.
pub fn limit_within(asked: Option<usize>, default: usize, options: &ServerOptions) -> ApiResult<usize> {
    let max = options.page_records_max;
    match asked.filter(|&limit| limit > 0) {
        None => Ok(default.min(max)),
        Some(limit) if limit <= max => Ok(limit),
        Some(limit) => Err(ApiError::invalid(format!(
            "limit {limit}, expected at most {max} (`page_records_max`); `POST /api/v1/query` has pages and \
             `POST /api/v1/export` has all records"
        ))),
    }
}

/// What a query of this server may use.
pub fn limits(options: &ServerOptions) -> QueryLimits {
    options.query_limits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_more_than_a_filter_goes_its_own_way() {
        let asked = |body: serde_json::Value| serde_json::from_value::<Ask>(body).unwrap().logql();
        let text = |text: &str| asked(serde_json::json!({ "query": text }));
        for filter in [r#"{app="web", host.name!="x"} |= "a" != "b""#, r#"|~ "x""#, "{}", ""] {
            assert_eq!(text(filter).unwrap(), None, "{filter}");
        }
        for logql in [r#"{app="web"} | json"#, r#"{app="web"} |= "a" or "b""#, r#"{service_name="web"}"#] {
            assert!(text(logql).unwrap().is_some(), "{logql}");
        }
        let body = |lang: &str| serde_json::json!({"query": "{app=\"web\"}", "lang": lang});
        assert!(asked(body("logql")).unwrap().is_some());
        assert!(asked(body("short")).unwrap().is_none());
        for (wrong, expected) in [
            (r#"{app="web"} | jsn"#, "`query`: "),
            (r#"sum(rate({app="web"}[5m]))"#, "/loki/api/v1/query"),
            ("| json", "`query`: "),
        ] {
            assert!(format!("{:?}", text(wrong).unwrap_err()).contains(expected), "{wrong}");
        }
    }

    #[test]
    fn unknown_keys_and_matchers_are_refused() {
        assert!(serde_json::from_str::<Ask>(r#"{"limt":5}"#).is_err());
        let ask: Ask = serde_json::from_str(r#"{"matchers":[{"name":"a","value":"b","type":"~"}]}"#).unwrap();
        assert!(ask.filter().is_err());
        let ask: Ask = serde_json::from_str(r#"{"start":2,"end":1}"#).unwrap();
        assert!(ask.range(0).is_err());
    }

    #[test]
    fn a_body_full_of_names_costs_no_more_than_reading_it() {
        let counts = |by: Vec<String>| {
            let what = Aggregate { by, ..Aggregate::default() };
            Ask::default().counts(Tenant::default(), 0, &ServerOptions::default(), &what)
        };
        let names: Vec<String> = (0..150_000).map(|n| format!("{n:x}")).collect();
        let begun = std::time::Instant::now();
        assert!(counts(names).is_ok());
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(counts(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]).is_err());
    }

    #[test]
    fn all_conditions_must_hold() {
        let ask: Ask = serde_json::from_str(
            r#"{"matchers":[{"name":"app","value":"web"}],"line":"x","query":"{env=\"p\"}","start":0,"end":5}"#,
        )
        .unwrap();
        let expected = Filter::And(vec![Filter::eq("env", "p"), Filter::eq("app", "web"), Filter::contains("x")]);
        assert_eq!(ask.filter().unwrap(), expected);
        assert_eq!(ask.range(9).unwrap(), TimeRange { start: i64::MIN, end: 5 });
    }
}
