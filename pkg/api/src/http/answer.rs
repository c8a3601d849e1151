//! Answers in JSON, written straight into their buffer.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

/// A JSON answer with status 200.
pub fn json(body: Vec<u8>) -> Response {
    json_with(StatusCode::OK, body)
}

/// A JSON answer.
pub fn json_with(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON answer of a value.
pub fn json_of(value: &impl Serialize) -> Response {
    let mut body = Vec::with_capacity(1024);
    put(&mut body, value);
    json(body)
}

/// Appends a value as JSON.
pub fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Writing to memory does not fail, and the values that are written have text keys.
    let _ = serde_json::to_writer(out, value);
}
