//! The rules of `docs/ingest.md` once more, slowly, over a tree; the decoder must agree with them.

use super::{NOW, answer, show, with_options};
use crate::Decoder;
use proptest::prelude::*;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;
use timberlog_types::time;

/// JSON that keeps the order and the repeats of its keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Members),
}

type Members = Vec<(String, Json)>;

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Array(values) => values.serialize(serializer),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl Json {
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap()
    }

    /// What it says where a text is wanted.
    fn text(&self) -> String {
        if let Self::Text(text) = self { text.clone() } else { self.json() }
    }

    fn field(&self) -> (char, String) {
        match self {
            Self::Null => ('0', String::new()),
            Self::Bool(_) => ('b', self.json()),
            Self::Integer(_) | Self::Float(_) => ('n', self.json()),
            Self::Text(text) => ('s', text.clone()),
            Self::Array(_) | Self::Object(_) => ('j', self.json()),
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    let keys = crate::roles::KEYS.iter().chain(&["a", "b", "a.b", "x", "host", "env", "name", "", "ä\"\n"]);
    prop_oneof![
        4 => prop::sample::select(keys.map(ToString::to_string).collect::<Vec<_>>()),
        1 => "[a-c.]{0,3}",
    ]
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Integer),
        (0..NOW).prop_map(Json::Integer),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Json::Float),
        any::<String>().prop_map(Json::Text),
        Just(Json::Text(String::new())),
        Just(Json::Text("info".into())),
        (0..NOW).prop_map(|ns| Json::Text(time::format_rfc3339(ns))),
    ]
}

/// Any value, nested a few levels.
pub(crate) fn value() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((key(), inner), 0..6).prop_map(Json::Object),
        ]
    })
}

fn object() -> impl Strategy<Value = Members> {
    let time = prop_oneof![3 => Just(None), 1 => (0..NOW).prop_map(Some)];
    (prop::collection::vec((key(), value()), 0..10), time).prop_map(|(mut members, time)| {
        if let Some(time) = time {
            members.retain(|(key, _)| key != "timestamp");
            members.push(("timestamp".into(), Json::Text(time::format_rfc3339(time))));
        }
        members
    })
}

/// The record that an object stands for, as [`show`] writes it; `Err` if it is refused.
fn model(members: &[(String, Json)], labels: &[&str]) -> Result<String, ()> {
    if members.is_empty() {
        return Err(());
    }
    // The last of each name, after flattening; what is merged stays apart.
    let mut values: BTreeMap<String, &Json> = BTreeMap::new();
    let mut merged: BTreeMap<&str, &Members> = BTreeMap::new();
    for (key, value) in members {
        match value {
            Json::Object(inner) if key == "metadata" || key == "Properties" => {
                merged.insert(key, inner);
            }
            Json::Object(_) if key == "timestamp" => {
                values.insert(key.clone(), value);
            }
            _ => flatten(key.clone(), value, &mut |name, value| {
                values.insert(name, value);
            }),
        }
    }
    let role = |keys: &[&'static str], may_be_empty: bool| {
        let says = |value: &Json| match value {
            Json::Null => false,
            Json::Text(text) => may_be_empty || !text.is_empty(),
            Json::Object(_) => false,
            _ => true,
        };
        keys.iter().find(|key| values.get(**key).is_some_and(|value| says(value) || is_object(key, value))).copied()
    };
    let time = role(&["timestamp", "time", "ts", "@timestamp", "_time"], true);
    let message = role(&["message", "msg", "_msg", "body", "log", "line"], true);
    let level = role(&["level", "severity", "severity_text", "lvl"], false).map(|key| values[key].text());
    let service = role(&["service", "service.name", "service_name", "app", "job"], false).map(|key| values[key].text());
    let timestamp = match time.map(|key| values[key]) {
        None => NOW,
        Some(Json::Text(text)) => time::parse(text.as_bytes()).map_err(|_| ())?,
        Some(number @ (Json::Integer(_) | Json::Float(_))) => {
            time::parse_unix(number.json().as_bytes()).map_err(|_| ())?
        }
        Some(_) => return Err(()),
    };
    if timestamp > NOW + time::DAY_NS {
        return Err(());
    }
    let text = message.map(|key| values[key].text()).unwrap_or_default();
    for key in ["timestamp", "message", "level", "service"].into_iter().chain(time).chain(message) {
        values.remove(key);
    }
    for (prefix, inner) in ["metadata", "Properties"].iter().filter_map(|key| merged.get_key_value(key)) {
        let mut members = Vec::new();
        for (key, value) in *inner {
            flatten(key.clone(), value, &mut |name, value| members.push((name, value)));
        }
        let taken = values.clone();
        for (name, value) in members {
            let reserved = ["timestamp", "message", "level", "service"].contains(&&*name);
            let clashes = reserved || taken.contains_key(&name);
            values.insert(if clashes { format!("{prefix}.{name}") } else { name }, value);
        }
    }
    let mut stream: BTreeMap<&str, String> = BTreeMap::new();
    for &label in labels {
        let value = match label {
            "service" => service.clone(),
            "level" => level.clone(),
            _ => match values.get(label) {
                None | Some(Json::Null | Json::Array(_) | Json::Object(_)) => None,
                Some(Json::Text(text)) if text.is_empty() => None,
                Some(_) => values.remove(label).map(Json::text),
            },
        };
        stream.extend(value.map(|value| (label, value)));
    }
    let mut line = format!(
        "{} {}={} {:?} {:?} {{",
        i128::from(timestamp) - i128::from(NOW),
        level.as_deref().unwrap_or("-"),
        level.as_deref().map_or(timberlog_types::Level::Unknown, timberlog_types::Level::normalise),
        service.unwrap_or_default(),
        text
    );
    line += &stream.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    line += "}";
    for (name, value) in values {
        let (kind, text) = value.field();
        line += &format!(" {name}:{kind}:{text}");
    }
    Ok(line)
}

/// A `timestamp` that is an object wins, to be refused.
fn is_object(key: &str, value: &Json) -> bool {
    key == "timestamp" && matches!(value, Json::Object(_))
}

fn flatten<'a>(path: String, value: &'a Json, leaf: &mut dyn FnMut(String, &'a Json)) {
    match value {
        Json::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                flatten(format!("{path}.{key}"), value, leaf);
            }
        }
        _ => leaf(path, value),
    }
}

const LABELS: [&[&str]; 4] = [&["service"], &[], &["env", "host", "level", "service"], &["a.b", "app", "msg"]];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_record_is_what_the_rules_say(members in object(), labels in prop::sample::select(LABELS.to_vec())) {
        let body = Json::Object(members.clone()).json();
        let decoded = with_options(labels, |options| Decoder::new().json(body.as_bytes(), options)).unwrap();
        let found = decoded.batch.as_ref().map(|batch| show(batch, 0)).ok_or(());
        prop_assert_eq!(found, model(&members, labels), "{} {:?}", body, decoded.refused);
    }

    #[test]
    fn the_framing_of_a_body_does_not_matter(
        records in prop::collection::vec(object(), 1..6),
        framing in 0..5,
    ) {
        let texts: Vec<String> = records.iter().map(|members| Json::Object(members.clone()).json()).collect();
        let pretty = records.iter().map(|members| serde_json::to_string_pretty(&Json::Object(members.clone())).unwrap());
        let body = match framing {
            0 => texts.join("\n"),
            1 => texts.concat(),
            2 => format!("[{}]", texts.join(",")),
            3 => texts.join("\r\n\n \t") + "\n",
            // Arrays inside keep their spaces, so only without them.
            _ if !body_has_array(&records) => pretty.collect::<Vec<_>>().join("\n"),
            _ => texts.join(" "),
        };
        let found = with_options(&["service"], |options| Decoder::new().json(body.as_bytes(), options)).unwrap();
        let expected: Vec<_> = records.iter().map(|members| model(members, &["service"])).collect();
        let refused: Vec<usize> = (0..expected.len()).filter(|&index| expected[index].is_err()).collect();
        let rows: Vec<&String> = expected.iter().flatten().collect();
        let answer = answer(&found);
        prop_assert_eq!(answer.iter().take(rows.len()).collect::<Vec<_>>(), rows);
        prop_assert_eq!(found.refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), refused);
    }
}

fn body_has_array(records: &[Members]) -> bool {
    fn has(value: &Json) -> bool {
        match value {
            Json::Array(_) => true,
            Json::Object(members) => members.iter().any(|(_, value)| has(value)),
            _ => false,
        }
    }
    records.iter().flatten().any(|(_, value)| has(value))
}
