//! What `POST /api/v1/query` and `POST /api/v1/export` can be asked: loge's keys and ours in one
//! body, and loge's selector text.

use super::params::{When, duration_ns};
use crate::error::{ApiError, ApiResult};
use crate::options::ServerOptions;
use serde::Deserialize;
use timberlog_db::filter::{Filter, Op, Pattern};
use timberlog_db::query::{Aggregation, Cursor, Order, Query, QueryLimits};
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
    /// `{name="value"} |= "text"`.
    pub query: Option<String>,
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
#[serde(untagged)]
pub enum Step {
    /// ns.
    Ns(i64),
    /// A number and one of `ns us ms s m h d w`.
    Text(String),
}

/// A condition on a label or field.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LabelMatcher {
    /// The name.
    pub name: String,
    /// The value or expression.
    pub value: String,
    /// `=`, `!=`, `=~` or `!~`.
    #[serde(rename = "type", default = "equal")]
    pub op: String,
}

fn equal() -> String {
    "=".to_owned()
}

impl LabelMatcher {
    fn filter(&self) -> ApiResult<Filter> {
        let regex = || Op::Regex(Pattern::whole(self.value.as_str()));
        Ok(match self.op.as_str() {
            "=" => Filter::eq(&self.name, self.value.as_str()),
            "!=" => Filter::eq(&self.name, self.value.as_str()).not(),
            "=~" => Filter::test(&self.name, regex()),
            "!~" => Filter::test(&self.name, regex()).not(),
            other => {
                return Err(ApiError::invalid(format!(
                    "matcher of `{}`: type `{other}`, expected =, !=, =~ or !~",
                    self.name
                )));
            }
        })
    }
}

impl Ask {
    /// The range of time.
    pub fn range(&self, now_ns: i64) -> ApiResult<TimeRange> {
        let resolve = |when: &Option<When>| when.as_ref().map_or(Ok(None), |when| when.resolve(now_ns));
        let start = resolve(&self.start)?.unwrap_or(i64::MIN);
        let end = resolve(&self.end)?.unwrap_or(i64::MAX);
        if start > end {
            return Err(ApiError::invalid("`start` is after `end`"));
        }
        Ok(TimeRange { start, end })
    }

    /// All conditions in one tree.
    pub fn filter(&self) -> ApiResult<Filter> {
        let mut filter = Filter::All;
        if let Some(text) = &self.query {
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
        if let Some((_, name)) =
            what.by.iter().enumerate().find(|&(at, name)| what.by.iter().take(at).any(|n| n == name))
        {
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
    QueryLimits { time: options.query_timeout, ..QueryLimits::default() }
}

/// Reads `{name op "value", …} |= "text"`; the block or the lines may be missing.
pub fn parse_selector(text: &str) -> ApiResult<(Vec<LabelMatcher>, Vec<Filter>)> {
    let mut reader = Reader { text, at: 0 };
    let mut matchers = Vec::new();
    if reader.take("{") {
        while !reader.take("}") {
            if !matchers.is_empty() && !reader.take(",") {
                return Err(reader.error("expected `,` or `}`"));
            }
            if matchers.last().is_some() && reader.take("}") {
                break;
            }
            let name = reader.name()?;
            let op = ["=~", "!~", "!=", "="].into_iter().find(|op| reader.take(op));
            let op = op.ok_or_else(|| reader.error("expected =, !=, =~ or !~"))?;
            matchers.push(LabelMatcher { name, op: op.to_owned(), value: reader.quoted()? });
        }
    }
    let mut lines = Vec::new();
    while let Some(op) = ["|=", "!=", "|~", "!~"].into_iter().find(|op| reader.take(op)) {
        let text = reader.quoted()?;
        let filter = match op {
            "|=" | "!=" => Filter::contains(text),
            _ => Filter::test("message", Op::Regex(Pattern::search(text))),
        };
        lines.push(if op.starts_with('!') { filter.not() } else { filter });
    }
    if !reader.rest().is_empty() {
        return Err(reader.error("expected `|= \"text\"` or the end"));
    }
    Ok((matchers, lines))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn name(&mut self) -> ApiResult<String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || "_.-/:@".contains(c);
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest.get(..len).unwrap_or_default();
        if name.is_empty() {
            return Err(self.error("expected a name"));
        }
        self.at += len;
        Ok(name.to_owned())
    }

    fn quoted(&mut self) -> ApiResult<String> {
        let rest = self.rest();
        if let Some(raw) = rest.strip_prefix('`') {
            let len = raw.find('`').ok_or_else(|| self.error("the text has no end"))?;
            self.at += len + 2;
            return Ok(raw.get(..len).unwrap_or_default().to_owned());
        }
        if !rest.starts_with('"') {
            return Err(self.error("expected a text in quotes"));
        }
        let mut out = String::new();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(c @ ('"' | '\\' | '\'')) => out.push(c),
                    // An expression's own escapes stay as they are.
                    Some(c) => out.extend(['\\', c]),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(self.error("the text has no end"))
    }

    fn error(&self, what: &str) -> ApiError {
        ApiError::invalid(format!("query at byte {}: {what}", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(name: &str, op: &str, value: &str) -> LabelMatcher {
        LabelMatcher { name: name.to_owned(), op: op.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn selectors_are_read() {
        let (matchers, lines) = parse_selector(r#" {app="web", env!~"dev|\d+",} |= "err\"or" != `x` "#).unwrap();
        assert_eq!(matchers, [matcher("app", "=", "web"), matcher("env", "!~", r"dev|\d+")]);
        assert_eq!(lines, [Filter::contains("err\"or"), Filter::contains("x").not()]);
        assert_eq!(parse_selector("{}").unwrap().0, []);
        assert_eq!(parse_selector("|= \"x\"").unwrap().1.len(), 1);
        assert!(parse_selector("").unwrap().1.is_empty());
        for wrong in
            ["{app}", "{app=web}", "{app=\"web\"", "{app=\"a\" env=\"b\"}", "{,}", "error", "|= \"x", "{a=\"\\"]
        {
            assert!(parse_selector(wrong).is_err(), "{wrong}");
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
