//! The one table from error kinds to HTTP statuses and gRPC codes, and the one shape of an error
//! answer: `{"error": "…"}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use timberlog_types::{Error, ErrorKind};

/// The HTTP status and the gRPC code of an error kind.
pub fn codes(kind: ErrorKind) -> (StatusCode, tonic::Code) {
    match kind {
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, tonic::Code::InvalidArgument),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, tonic::Code::NotFound),
        ErrorKind::Conflict => (StatusCode::CONFLICT, tonic::Code::FailedPrecondition),
        ErrorKind::Overloaded { .. } => (StatusCode::TOO_MANY_REQUESTS, tonic::Code::ResourceExhausted),
        ErrorKind::Unavailable | ErrorKind::Closed => (StatusCode::SERVICE_UNAVAILABLE, tonic::Code::Unavailable),
        ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, tonic::Code::DataLoss),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, tonic::Code::Internal),
    }
}

/// An error as an HTTP answer.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    retry_after_s: Option<u64>,
    more: Map<String, Value>,
}

/// A result whose error is an HTTP answer.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with a status of its own.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after_s: None, more: Map::new() }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The body is of a type that this endpoint does not read.
    pub fn media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// Something is longer than its limit.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// Too much at one time: the client should come back after a second.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// Adds a key to the answer.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.more.insert(key.to_owned(), value);
        self
    }

    /// Puts what was being done, or what to do about it, into the message.
    pub fn map_message(mut self, change: impl FnOnce(&str) -> String) -> Self {
        self.message = change(&self.message);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, and the seconds after which another try makes sense.
    pub fn into_parts(self) -> (StatusCode, String, Option<u64>) {
        (self.status, self.message, self.retry_after_s)
    }

    /// The same error in gRPC.
    pub fn into_status(self) -> tonic::Status {
        let code = match self.status {
            StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE => tonic::Code::InvalidArgument,
            StatusCode::NOT_FOUND => tonic::Code::NotFound,
            StatusCode::CONFLICT => tonic::Code::FailedPrecondition,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => tonic::Code::ResourceExhausted,
            StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
            StatusCode::REQUEST_TIMEOUT => tonic::Code::DeadlineExceeded,
            _ => tonic::Code::Internal,
        };
        let mut status = tonic::Status::new(code, self.message);
        add_retry(&mut status, self.retry_after_s.map(|seconds| seconds * 1000));
        status
    }
}

/// Milliseconds until the next try makes sense, if the kind says so.
pub fn retry_after_ms(kind: ErrorKind) -> Option<u64> {
    match kind {
        ErrorKind::Overloaded { retry_after } => Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX)),
        _ => None,
    }
}

/// A database error as a gRPC status.
pub fn status(error: Error) -> tonic::Status {
    let mut status = tonic::Status::new(codes(error.kind).1, error.message);
    add_retry(&mut status, retry_after_ms(error.kind));
    status
}

fn add_retry(status: &mut tonic::Status, retry_ms: Option<u64>) {
    let Some(ms) = retry_ms else { return };
    // The second is what gRPC clients with a retry policy obey.
    for (key, value) in [("retry-after", ms.div_ceil(1000)), ("grpc-retry-pushback-ms", ms)] {
        if let Ok(value) = value.to_string().parse() {
            status.metadata_mut().insert(key, value);
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let retry_after_s = match error.kind {
            ErrorKind::Unavailable => Some(1),
            kind => retry_after_ms(kind).map(|ms| ms.div_ceil(1000).max(1)),
        };
        Self { retry_after_s, ..Self::new(codes(error.kind).0, error.message) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        if self.status.is_server_error() && self.status != StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!(status = self.status.as_u16(), error = %self.message, "request failed");
        }
        self.more.insert("error".to_owned(), Value::String(self.message));
        let body = Value::Object(self.more).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_kind_has_its_status_and_code() {
        let overloaded = ErrorKind::Overloaded { retry_after: Duration::from_millis(1500) };
        for (kind, http, code) in [
            (ErrorKind::Invalid, 400, tonic::Code::InvalidArgument),
            (ErrorKind::NotFound, 404, tonic::Code::NotFound),
            (ErrorKind::Conflict, 409, tonic::Code::FailedPrecondition),
            (overloaded, 429, tonic::Code::ResourceExhausted),
            (ErrorKind::Unavailable, 503, tonic::Code::Unavailable),
            (ErrorKind::Closed, 503, tonic::Code::Unavailable),
            (ErrorKind::Corrupt, 500, tonic::Code::DataLoss),
            (ErrorKind::Internal, 500, tonic::Code::Internal),
        ] {
            let error = Error::new(kind, "why");
            assert_eq!(ApiError::from(error.clone()).status().as_u16(), http);
            assert_eq!(status(error).code(), code);
        }
    }

    #[test]
    fn an_overloaded_server_says_when_to_come_back() {
        let error = Error::new(ErrorKind::Overloaded { retry_after: Duration::from_millis(1500) }, "full");
        let status = status(error.clone());
        assert_eq!(status.metadata().get("retry-after").unwrap(), "2");
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1500");
        let response = ApiError::from(error).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
