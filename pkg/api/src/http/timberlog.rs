//! The original TimberLog's `POST /write` and `POST /query`.

use super::answer::json;
use super::ask::{limit_within, limits};
use super::params;
use super::shape::{Shape, put_record, put_records};
use crate::body::{Encoding, MediaType};
use crate::cancel::CancelOnDrop;
use crate::error::{ApiError, ApiResult};
use crate::metrics::Protocol;
use crate::producer;
use crate::state::State;
use crate::store::{self, Incoming};
use crate::tenant::OfTenant;
use axum::body::Body;
use axum::extract::State as Of;
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::sync::Arc;
use timberlog_db::filter::Filter;
use timberlog_db::query::{Cancel, Order, Query, Record};
use timberlog_types::{Batch, Tenant, TimeRange};

/// Records of a query when nothing is said.
const LIMIT_DEFAULT: usize = 100;
const MS_NS: i64 = 1_000_000;
/// How many parts could not be read, in an answer that has no place for their names.
const MISSING_HEADER: HeaderName = HeaderName::from_static("x-timberlog-missing");

/// Stores one record and answers with it.
pub async fn write(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let database = state.database()?.clone();
    let media = MediaType::of_request(&headers)?;
    let encoding = Encoding::of_request(&headers)?;
    let producer = producer::of_headers(&headers)?;
    let incoming = Incoming { tenant: tenant.clone(), stream_labels: params::stream_labels(&headers)?, strict: true };
    // One record, so the limit is that of a record.
    let max = state.options.ingest.record_bytes_max.min(state.options.body_bytes_max);
    let body = state.bodies.collect(&headers, body, max).await?;
    let (of, of_database) = (Arc::clone(&state), database.clone());
    let bytes = body.bytes_decoded(encoding);
    let decode = move || -> ApiResult<Batch> {
        let body = of.bodies.decompress(encoding, body, max)?;
        let bytes = body.as_ref();
        store::admit(&of, &incoming.tenant, bytes.len())?;
        let decoded =
            store::decode(&of, &of_database, &incoming, bytes.len(), |decoder, options| decoder.write(bytes, options));
        of.metrics.records(Protocol::Write, usize::from(decoded.is_ok()), usize::from(decoded.is_err()), bytes.len());
        decoded.map_err(|error| media.explain(ApiError::invalid(format!("nothing was stored: {error}"))))
    };
    let batch = state.decoding.run(&tenant, bytes, decode).await??;
    let record = record_of(&batch);
    store::append(&state, &database, &tenant, batch, producer).await?;
    let mut out = Vec::with_capacity(512);
    put_record(&mut out, Shape::Timber, &record);
    let mut response = json(out);
    response.headers_mut().insert(store::DURABILITY_HEADER, store::durability(&database));
    Ok(response)
}

/// The first record of a batch, as a query would answer it.
fn record_of(batch: &Batch) -> Record {
    let level = batch.level(batch.level_id(0));
    let stream = batch.stream(batch.stream_id(0));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Record {
        timestamp: batch.timestamp(0),
        level: level.level,
        level_spelling: level.spelling.map(str::to_owned),
        service: stream.service().to_owned(),
        message: text(batch.message(0)),
        labels: stream.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        fields: batch
            .fields()
            .filter_map(|field| field.get(0).map(|value| (field.name().to_owned(), value.kind, text(value.text))))
            .collect(),
    }
}

/// A query of the original TimberLog. As Go's decoder did, it takes keys in any case, null as unsaid, and passes over
/// unknown keys.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
pub(crate) struct TimberQuery {
    #[serde(rename = "starttime")]
    start_time: i64,
    #[serde(rename = "endtime")]
    end_time: i64,
    filters: Vec<TimberFilter>,
    limit: i64,
    #[serde(rename = "sortasc")]
    sort_asc: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
struct TimberFilter {
    field: String,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    operator: String,
}

/// A body whose keys are in lower case, without those that are null.
#[derive(Debug)]
pub(crate) struct AnyCase(Map<String, Value>);

impl<'de> Deserialize<'de> for AnyCase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut query = lower_keys(Map::deserialize(deserializer)?);
        for filter in query.get_mut("filters").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::Object(members) = filter {
                *members = lower_keys(std::mem::take(members));
            }
        }
        Ok(Self(query))
    }
}

fn lower_keys(members: Map<String, Value>) -> Map<String, Value> {
    let said = members.into_iter().filter(|(_, value)| !value.is_null());
    said.map(|(key, value)| (key.to_ascii_lowercase(), value)).collect()
}

impl AnyCase {
    /// The query that it says.
    pub(crate) fn query(self) -> ApiResult<TimberQuery> {
        serde_json::from_value(Value::Object(self.0))
            .map_err(|error| ApiError::invalid(format!("the body is not what this endpoint reads: {error}")))
    }
}

impl TimberQuery {
    fn query(&self, tenant: Tenant, state: &State) -> ApiResult<Query> {
        let unbounded = |ms: i64, open: i64| if ms == 0 { open } else { ms.saturating_mul(MS_NS) };
        // The last millisecond is meant as a whole.
        let end = unbounded(self.end_time, i64::MAX).saturating_add(MS_NS - 1);
        let limit = limit_within(usize::try_from(self.limit).ok(), LIMIT_DEFAULT, &state.options)?;
        Ok(Query {
            tenant,
            range: TimeRange { start: unbounded(self.start_time, i64::MIN), end },
            filter: self.filter()?,
            order: if self.sort_asc { Order::OldestFirst } else { Order::NewestFirst },
            limit,
            cursor: None,
            limits: limits(&state.options),
            cancel: Cancel::default(),
        })
    }

    /// Joins the filters from the left: an operator joins its filter with all before it.
    pub(crate) fn filter(&self) -> ApiResult<Filter> {
        let mut joined: Option<Filter> = None;
        for part in &self.filters {
            let test = part.test();
            joined = Some(match (joined, part.operator.to_ascii_uppercase().as_str()) {
                (None, "" | "AND" | "OR") => test,
                (Some(before), "" | "AND") => before.and(test),
                (Some(Filter::Or(mut parts)), "OR") => {
                    parts.push(test);
                    Filter::Or(parts)
                }
                (Some(before), "OR") => Filter::Or(vec![before, test]),
                (_, other) => {
                    return Err(ApiError::invalid(format!(
                        "filter on `{}`: operator `{}`, expected AND or OR",
                        part.field,
                        other.escape_default()
                    )));
                }
            });
        }
        Ok(joined.unwrap_or_default())
    }
}

impl TimberFilter {
    fn test(&self) -> Filter {
        let value = match &self.value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        match self.field.to_ascii_lowercase().as_str() {
            "message" => Filter::contains(value),
            "stacktrace" => Filter::test("stacktrace", timberlog_db::filter::Op::Contains(value)),
            name @ ("level" | "service" | "host") => Filter::eq(name, value),
            _ => Filter::eq(&self.field, value),
        }
    }
}

/// Answers with an array of records.
pub async fn query(
    Of(state): Of<Arc<State>>,
    OfTenant(tenant): OfTenant,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    state.database()?;
    let asked: AnyCase = params::json(&state, &headers, body).await?;
    let query = asked.query()?.query(tenant, &state)?;
    let _guard = CancelOnDrop(query.cancel.clone());
    let tenant = query.tenant.clone();
    state
        .query(&tenant, move |database| {
            let page = database.page(&query)?;
            let mut out = Vec::with_capacity(64 + page.records.len() * 512);
            put_records(&mut out, Shape::Timber, &page.records);
            let mut response = json(out);
            if !page.missing.is_empty() {
                response.headers_mut().insert(MISSING_HEADER, page.missing.len().into());
            }
            Ok(response)
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> ApiResult<Filter> {
        serde_json::from_str::<AnyCase>(text).unwrap().query().unwrap().filter()
    }

    #[test]
    fn filters_are_joined_from_the_left() {
        let text = r#"{"Filters":[{"Field":"Level","Value":"ERROR","Operator":"AND"},
            {"Field":"message","Value":"disk","Operator":"OR"},{"Field":"Region","Value":7,"Operator":"and"}]}"#;
        let either = Filter::Or(vec![Filter::eq("level", "ERROR"), Filter::contains("disk")]);
        assert_eq!(filter(text).unwrap(), Filter::And(vec![either, Filter::eq("Region", "7")]));
        assert_eq!(filter("{}").unwrap(), Filter::All);
        assert_eq!(filter(r#"{"Filters":null}"#).unwrap(), Filter::All);
        assert_eq!(
            filter(r#"{"FILTERS":[{"field":"a","VALUE":[{"B":1}]}]}"#).unwrap(),
            Filter::eq("a", r#"[{"B":1}]"#)
        );
        assert!(filter(r#"{"Filters":[{"Field":"a","Value":"b","Operator":"XOR"}]}"#).is_err());
    }
}
