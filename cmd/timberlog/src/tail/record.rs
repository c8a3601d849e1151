//! Records of gRPC in the shape of `POST /api/v1/export`.

use crate::shape::Shape;
use timberlog_db::query::Record;
use timberlog_proto::v1::{self, value::Kind};
use timberlog_types::{Level, ValueKind};

/// A record in the shape of `POST /api/v1/export`.
pub fn shape(record: v1::Record) -> Shape {
    let mut labels: Vec<(String, String)> = record.labels.into_iter().collect();
    labels.sort_unstable();
    Shape::of(&Record {
        timestamp: record.timestamp_ns.unwrap_or_default(),
        level: record.level.as_deref().map_or(Level::Unknown, Level::normalise),
        level_spelling: record.level,
        service: record.service,
        message: record.message,
        labels,
        fields: record.fields.into_iter().map(field).collect(),
    })
}

fn field(field: v1::Field) -> (String, ValueKind, String) {
    let (kind, text) = match field.value.and_then(|value| value.kind) {
        Some(Kind::Text(text)) => (ValueKind::String, text),
        Some(Kind::Number(text)) => (ValueKind::Number, text),
        Some(Kind::Boolean(flag)) => (ValueKind::Bool, flag.to_string()),
        Some(Kind::Json(text)) => (ValueKind::Json, text),
        Some(Kind::Null(_)) | None => (ValueKind::Null, String::new()),
    };
    (field.name, kind, text)
}
