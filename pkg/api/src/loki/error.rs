//! Errors as Loki tells them: a status and a line of plain text.

use crate::error::ApiError;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use timberlog_types::Error;

const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// An error of Loki's API.
#[derive(Debug)]
pub struct LokiError(ApiError);

/// A result whose error is an answer of Loki's API.
pub type LokiResult<T> = Result<T, LokiError>;

impl LokiError {
    /// An error with a status of its own.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(ApiError::new(status, message))
    }

    /// What is wrong.
    #[cfg(test)]
    pub fn message(self) -> String {
        self.0.into_parts().1
    }

    /// The same with the end of a line behind it, as Loki refuses what is pushed.
    pub fn into_line(self) -> Self {
        Self(self.0.map_message(|message| format!("{message}\n")))
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self(ApiError::invalid(message))
    }
}

impl From<ApiError> for LokiError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<Error> for LokiError {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for LokiError {
    fn into_response(self) -> Response {
        let (status, message, retry_after_s) = self.0.into_parts();
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!(status = status.as_u16(), error = %message, "request failed");
        }
        let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (status, text, message).into_response();
        response.headers_mut().insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
