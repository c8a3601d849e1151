//! What Grafana's Logs Drilldown asks: which labels and fields there are, and what they look like.
//!
//! Fields are those of the newest lines that a query finds: metadata, and what the `json` or else
//! the `logfmt` stage makes of a line.

use super::answer::json_of;
use super::asked::Asked;
use super::error::{LokiError, LokiResult};
use super::index::choosy_selector;
use super::params::{self, Bounds};
use super::run::run;
use crate::state::State;
use axum::extract::{Path, Request, State as Of};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use timberlog_db::Database;
use timberlog_db::language::ast::Stage;
use timberlog_db::language::units::{parse_bytes, parse_go_duration};
use timberlog_db::language::{Origin, Pipeline, Runner, StageError, Wanted, parse_log};
use timberlog_db::query::Order;
use timberlog_db::query::logql::{Entry, LogQuery, Options};
use timberlog_types::stream::SERVICE_NAME_KEYS;
use timberlog_types::{TimeRange, level};

/// Fields of an answer when nothing is said.
const FIELDS_DEFAULT: u32 = 1_000;
/// Lines that are looked at when nothing is said.
const LINES_DEFAULT: u32 = 100;
/// Labels that count even if their values look like ids.
const ALWAYS: [&str; 4] = ["cluster", "namespace", "instance", "pod"];

/// Labels of streams and how many values each has.
pub async fn labels(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = Asked::of(&state, request).await?;
    let bounds = Bounds::forward(&asked, state.env.clock.now_ns())?;
    let query = asked.get("query");
    let matchers = if query.is_empty() { Vec::new() } else { choosy_selector(query)? };
    run(&state, &asked.tenant.clone(), move |database, options| {
        let selectors = if matchers.is_empty() { Vec::new() } else { vec![matchers] };
        let series = database.series(&asked.tenant, &selectors, bounds.streams(), options)?;
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, value) in series.iter().flat_map(timberlog_db::language::Labels::iter) {
            values.entry(name).or_default().insert(value);
        }
        let labels: Vec<Value> = values
            .iter()
            .filter(|(name, values)| ALWAYS.contains(name) || !are_ids(values))
            .map(|(name, values)| json!({"label": name, "cardinality": values.len()}))
            .collect();
        Ok(json_of(&if labels.is_empty() { json!({}) } else { json!({"detectedLabels": labels}) }))
    })
    .await
}

/// Whether all values are numbers or UUIDs, and not just 0 and 1.
fn are_ids(values: &BTreeSet<&str>) -> bool {
    let is_flag = values.len() <= 2 && values.iter().all(|value| ["0", "1"].contains(value));
    !is_flag && values.iter().all(|value| value.parse::<f64>().is_ok() || is_uuid(value))
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What `detected_fields` takes.
struct FieldsAsked {
    asked: Asked,
    range: TimeRange,
    lines: usize,
    fields: usize,
}

impl FieldsAsked {
    async fn of(state: &Arc<State>, request: Request) -> LokiResult<Self> {
        let asked = Asked::of(state, request).await?;
        let bounds = Bounds::forward(&asked, state.env.clock.now_ns())?;
        let lines = params::number(&asked, "line_limit", LINES_DEFAULT)? as usize;
        let name = if asked.get("limit").is_empty() { "field_limit" } else { "limit" };
        let fields = params::number(&asked, name, FIELDS_DEFAULT)? as usize;
        params::step(&asked, bounds, state.options.query_points_max)?;
        params::entries_within(lines, state.options.loki_entries_max)?;
        Ok(Self { range: bounds.lines(), lines, fields, asked })
    }

    fn entries(&self, database: &Database, options: &Options) -> LokiResult<Vec<Entry>> {
        let query = LogQuery {
            expr: parse_log(self.asked.get("query"))?,
            range: self.range,
            order: Order::NewestFirst,
            limit: self.lines,
            interval_ns: 0,
            options: options.clone(),
        };
        Ok(database.log_query(&self.asked.tenant, &query)?.entries)
    }
}

/// Fields of the newest lines.
pub async fn fields(Of(state): Of<Arc<State>>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = FieldsAsked::of(&state, request).await?;
    run(&state, &asked.asked.tenant.clone(), move |database, options| {
        let found = Detector::new()?.fields(&asked.entries(database, options)?, asked.fields);
        let fields: Vec<Value> = found.iter().map(|(name, field)| field.json(name)).collect();
        Ok(json_of(&if fields.is_empty() { json!({}) } else { json!({"fields": fields, "limit": asked.fields}) }))
    })
    .await
}

/// Values of a field in the newest lines.
pub async fn values(Of(state): Of<Arc<State>>, Path(name): Path<String>, request: Request) -> LokiResult<Response> {
    state.database()?;
    let asked = FieldsAsked::of(&state, request).await?;
    run(&state, &asked.asked.tenant.clone(), move |database, options| {
        let mut found = Detector::new()?.fields(&asked.entries(database, options)?, usize::MAX);
        let values: Vec<String> = found.remove(&name).into_iter().flat_map(Field::shown).take(asked.fields).collect();
        Ok(json_of(&if values.is_empty() { json!({}) } else { json!({"values": values, "limit": asked.fields}) }))
    })
    .await
}

/// A field of some lines.
#[derive(Default)]
struct Field {
    values: BTreeSet<String>,
    kind: &'static str,
    parsers: BTreeSet<&'static str>,
    path: Vec<String>,
}

impl Field {
    fn insert(&mut self, value: &str) {
        self.kind = kind(value);
        if !self.values.contains(value) {
            self.values.insert(value.to_owned());
        }
    }

    /// The values as a query can be asked for them: bytes that a parser has found are told without
    /// a blank, in units of 1,000, as Loki does.
    fn shown(self) -> BTreeSet<String> {
        if self.parsers.is_empty() {
            return self.values;
        }
        let shown = |value: String| match (kind(&value), parse_bytes(&value)) {
            ("bytes", Ok(bytes)) if !value.ends_with(|last: char| last.is_ascii_digit()) => bytes_text(bytes),
            _ => value,
        };
        self.values.into_iter().map(shown).collect()
    }

    fn json(&self, name: &str) -> Value {
        let parsers = if self.parsers.is_empty() { Value::Null } else { json!(self.parsers) };
        let mut out = json!({"label": name, "type": self.kind, "cardinality": self.values.len(), "parsers": parsers});
        if let Some(object) = out.as_object_mut().filter(|_| !self.path.is_empty()) {
            object.insert("jsonPath".to_owned(), json!(self.path));
        }
        out
    }
}

/// What a value looks like.
fn kind(value: &str) -> &'static str {
    const BOOLS: [&str; 12] = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
    if value.parse::<i64>().is_ok() {
        "int"
    } else if value.parse::<f64>().is_ok() {
        "float"
    } else if BOOLS.contains(&value) {
        "boolean"
    } else if parse_go_duration(value).is_ok() {
        "duration"
    } else if parse_bytes(value).is_ok() {
        "bytes"
    } else {
        "string"
    }
}

/// Bytes with one digit behind the point below 10, as `5.0kB`.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let power = bytes.checked_ilog(1_000).unwrap_or_default();
    let unit = UNITS.get(power as usize).copied().unwrap_or_default();
    let value = (bytes as f64 / 1e3_f64.powi(power as i32) * 10.0).round() / 10.0;
    if bytes < 10 || value >= 10.0 { format!("{value:.0}{unit}") } else { format!("{value:.1}{unit}") }
}

/// Takes lines apart.
struct Detector {
    json: Runner,
    logfmt: Runner,
}

impl Detector {
    fn new() -> LokiResult<Self> {
        let runner = |stage: Stage| -> Result<Runner, StageError> {
            Ok(Arc::new(Pipeline::new(&[stage], None, Wanted::All)?).runner())
        };
        let logfmt = Stage::Logfmt { strict: false, keep_empty: false, extractions: Vec::new() };
        let built = runner(Stage::Json(Vec::new())).and_then(|json| Ok(Self { json, logfmt: runner(logfmt)? }));
        built.map_err(|error| LokiError::invalid(error.to_string()))
    }

    /// The fields of lines, at most so many.
    fn fields(&mut self, entries: &[Entry], max: usize) -> BTreeMap<String, Field> {
        let mut fields: BTreeMap<String, Field> = BTreeMap::new();
        for entry in entries {
            for (name, value) in entry.metadata.iter() {
                if let Some(field) = field(&mut fields, name, max) {
                    field.insert(value);
                }
            }
            let labels: Vec<(&str, &str)> = entry.stream.iter().collect();
            let parser = self.parse(entry, &labels, &mut fields, max);
            for (name, value) in entry.parsed.iter().filter(|(name, _)| !is_error(name)) {
                if let Some(field) = field(&mut fields, name, max) {
                    field.insert(value);
                    field.parsers.extend(parser);
                }
            }
        }
        fields
    }

    /// The parser that takes a line; as in Loki, `logfmt` is that of plain words too.
    fn parse(
        &mut self,
        entry: &Entry,
        labels: &[(&str, &str)],
        fields: &mut BTreeMap<String, Field>,
        max: usize,
    ) -> Option<&'static str> {
        for (name, runner) in [("json", &mut self.json), ("logfmt", &mut self.logfmt)] {
            runner.set_stream(labels);
            if !runner.run(entry.timestamp, entry.line.as_bytes(), &[]) || runner.error().is_some() {
                continue;
            }
            runner.for_each_label(&mut |label| {
                if label.origin == Origin::Parsed
                    && !is_error(label.name)
                    && let Some(field) = field(fields, label.name, max)
                {
                    field.insert(label.value);
                    field.parsers.insert(name);
                }
            });
            if name == "json" {
                put_paths(&entry.line, labels, fields);
            }
            return Some(name);
        }
        None
    }
}

fn is_error(name: &str) -> bool {
    ["__error__", "__error_details__", "__preserve_error__"].contains(&name)
}

fn field<'f>(fields: &'f mut BTreeMap<String, Field>, name: &str, max: usize) -> Option<&'f mut Field> {
    if !fields.contains_key(name) && fields.len() >= max {
        return None;
    }
    Some(fields.entry(name.to_owned()).or_default())
}

/// Tells fields where in a line of JSON they come from. What is named like a label of the stream is a field under
/// another name.
fn put_paths(line: &str, labels: &[(&str, &str)], fields: &mut BTreeMap<String, Field>) {
    // Its depth is limited.
    let Ok(value) = serde_json::from_str::<Value>(line) else { return };
    let mut open = vec![(Vec::<String>::new(), value)];
    while let Some((path, value)) = open.pop() {
        if let Value::Object(members) = value {
            open.extend(members.into_iter().map(|(key, value)| ([path.clone(), vec![key]].concat(), value)));
        } else {
            let word = |char: char| if char.is_ascii_alphanumeric() || char == '_' { char } else { '_' };
            let mut name: String = path.join("_").chars().map(word).collect();
            if labels.iter().any(|(label, _)| *label == name) {
                name.push_str("_extracted");
            }
            if let Some(field) = fields.get_mut(&name).filter(|field| field.path.is_empty()) {
                field.path = path;
            }
        }
    }
}

/// Limits that the Logs Drilldown adapts to.
pub async fn limits(Of(state): Of<Arc<State>>) -> Response {
    let options = &state.options;
    let derive = options.loki_derive_labels;
    let seconds = options.query_timeout.as_secs();
    let answer = json!({
        "limits": {
            "discover_log_levels": derive, "discover_service_name": if derive { &SERVICE_NAME_KEYS[..] } else { &[] },
            "log_level_fields": level::KEYS, "max_entries_limit_per_query": options.loki_entries_max,
            "max_line_size_truncate": false, "max_query_bytes_read": "0B", "max_query_length": "0s",
            "max_query_lookback": "0s", "max_query_range": "0s", "max_query_series": options.query_series_max,
            "metric_aggregation_enabled": false, "pattern_persistence_enabled": false,
            "query_timeout": format!("{seconds}s"), "retention_period": "0s", "volume_enabled": true,
            "volume_max_series": 1000
        },
        "pattern_ingester_enabled": true,
        "version": super::status::LOKI_VERSION
    });
    ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use timberlog_db::language::Labels;

    fn line(line: &str) -> Entry {
        let labels =
            |pairs: &[(&str, &str)]| Labels::new(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        Entry {
            timestamp: 0,
            line: line.to_owned(),
            stream: labels(&[("app", "a")]),
            metadata: labels(&[("trace", "t")]),
            parsed: Labels::default(),
        }
    }

    #[test]
    fn fields_come_from_metadata_and_lines() {
        let lines =
            [line(r#"{"a":{"b":1.5},"c":true,"d":"5ms","e":"10KB","f":"x"}"#), line("f=y n=7"), line("just words")];
        let found = Detector::new().unwrap().fields(&lines, 100);
        let shown: Vec<Value> = found.iter().map(|(name, field)| field.json(name)).collect();
        let field = |name: &str, kind: &str, path: &[&str]| json!({"label": name, "type": kind, "cardinality": 1, "parsers": ["json"], "jsonPath": path});
        assert_eq!(shown[0], field("a_b", "float", &["a", "b"]));
        assert_eq!(shown[1], field("c", "boolean", &["c"]));
        assert_eq!(shown[2], field("d", "duration", &["d"]));
        assert_eq!(shown[3], field("e", "bytes", &["e"]));
        assert_eq!((&shown[4]["cardinality"], &shown[4]["parsers"]), (&json!(2), &json!(["json", "logfmt"])));
        assert_eq!(found["n"].kind, "int");
        assert_eq!(found["trace"].json("trace")["parsers"], Value::Null);
        assert_eq!(Detector::new().unwrap().fields(&lines, 2).len(), 2);
    }

    #[test]
    fn a_key_named_like_a_label_of_the_stream_has_its_path_too() {
        let found = Detector::new().unwrap().fields(&[line(r#"{"app":1,"b":{"app":2}}"#)], 100);
        assert_eq!(found["app_extracted"].path, ["app"]);
        assert_eq!(found["b_app"].path, ["b", "app"]);
    }

    #[test]
    fn bytes_are_told_as_a_query_takes_them() {
        let lines = [line("a=5KB b=10MiB c=0B d=5m e=7 f=12345678b"), line("a=12kB")];
        let mut found = Detector::new().unwrap().fields(&lines, 100);
        let mut shown = |name: &str| found.remove(name).unwrap().shown().into_iter().collect::<Vec<_>>().join(" ");
        for (name, values) in [("a", "12kB 5.0kB"), ("b", "10MB"), ("c", "0B"), ("d", "5m"), ("e", "7"), ("f", "12MB")]
        {
            assert_eq!(shown(name), values, "{name}");
        }
        assert_eq!(shown("trace"), "t");
    }

    #[test]
    fn labels_that_are_ids_do_not_count() {
        let ids = |values: &[&'static str]| are_ids(&values.iter().copied().collect());
        assert!(ids(&["1", "2", "3"]));
        assert!(ids(&["123e4567-e89b-12d3-a456-426614174000"]));
        assert!(!ids(&["0", "1"]));
        assert!(!ids(&["1", "web"]));
    }
}
