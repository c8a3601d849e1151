//! The OpenAPI document, held against the server.

use crate::harness::start;
use serde_json::Value;
use std::collections::BTreeSet;
use timberlog_api::http::routes;

fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let mut operations = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            operations.insert((method.to_uppercase(), path.clone()));
        }
    }
    operations
}

#[test]
fn what_is_documented_is_routed_and_the_other_way_round() {
    let server = start();
    let document = server.get("/openapi.json").ok();
    let routed: BTreeSet<(String, String)> =
        routes().iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    assert_eq!(documented(&document), routed);
}

#[test]
fn every_documented_operation_answers_with_a_documented_status() {
    let server = start();
    let document = server.get("/openapi.json").ok();
    for (method, path) in documented(&document) {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let asked = path.replace("{name}", "service");
        for body in ["{}", "[", r#"{"message":"x","Message":"x"}"#] {
            let answer = server.send(&method, &asked, &[("Content-Type", "application/json")], body.as_bytes());
            let status = answer.status.to_string();
            let response = &operation["responses"][&status];
            assert!(
                response.is_object(),
                "{method} {path} answered {status}: {}",
                String::from_utf8_lossy(&answer.body)
            );
            let media = answer.header("content-type").unwrap().split(';').next().unwrap();
            let reference = response["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
            let response = reference.map_or(response, |reference| document.pointer(reference).unwrap());
            assert!(response["content"][media].is_object(), "{method} {path} answered {status} as {media}");
        }
        let methods = document["paths"][&path].as_object().unwrap();
        for other in ["PUT", "DELETE", "PATCH"].iter().filter(|other| !methods.contains_key(&other.to_lowercase())) {
            server.send(other, &asked, &[], b"").error(405);
        }
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                }
                object.values().for_each(|value| walk(value, document));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, document)),
            _ => {}
        }
    }
    let document = start().get("/openapi.json").ok();
    walk(&document, &document);
}
