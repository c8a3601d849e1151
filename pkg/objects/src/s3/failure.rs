//! What an answer of the SDK means: whether to try again, and what to tell people.
//!
//! Messages are made of what the server says about the error (its code, a short text, the request's
//! id) and of the chain of causes. Never of a request or a response: those hold signatures.

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStreamError;
use timberlog_types::{Error, ErrorKind};

/// How much of a server's message is repeated, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// There is no such object (or upload).
    NotFound,
    /// `If-None-Match` was not met: the object exists.
    Exists,
    /// Another conditional put of the same key is under way: try again.
    Conflict,
    /// The range is beyond the object's end.
    Range,
    /// The store does not know this kind of request.
    Unsupported,
    /// Credentials, permissions or settings are wrong; they will be wrong again.
    Refused,
    /// The store asks for fewer requests.
    Throttled,
    /// The store failed or did not answer. The request may have been carried out.
    Failed,
    /// What arrived, here or there, is not what was sent.
    Damaged,
}

/// A try that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub why: Why,
    pub message: String,
}

impl Failure {
    pub fn new(why: Why, message: impl Into<String>) -> Self {
        Self { why, message: message.into() }
    }

    pub fn timeout(after: Duration) -> Self {
        Self::new(Why::Failed, format!("no answer within {after:?}"))
    }

    /// Whether the same request may succeed when it is tried again.
    pub fn is_worth_a_retry(&self) -> bool {
        matches!(self.why, Why::Conflict | Why::Throttled | Why::Failed | Why::Damaged)
    }

    /// Whether the store may have done what it was asked to.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.why, Why::Failed | Why::Damaged)
    }

    /// Whether it shows a store that does not work, rather than one that says no.
    pub fn is_of_the_store(&self) -> bool {
        self.why == Why::Failed
    }

    /// The error of an operation that ended with this.
    pub fn error(&self, doing: &str) -> Error {
        let kind = match self.why {
            Why::NotFound => ErrorKind::NotFound,
            Why::Exists => ErrorKind::Conflict,
            Why::Range | Why::Damaged => ErrorKind::Corrupt,
            Why::Unsupported | Why::Refused => ErrorKind::Invalid,
            Why::Conflict | Why::Throttled | Why::Failed => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("{doing}: {}", self.message))
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        if let Some(failure) = of_credentials(&error) {
            return failure;
        }
        match &error {
            SdkError::TimeoutError(_) => Self::new(Why::Failed, "no connection in time"),
            SdkError::ServiceError(answer) => {
                let error = answer.err();
                let id = error.meta().request_id().map(short);
                of_answer(answer.raw().status().as_u16(), error.code(), error.message(), id.as_deref())
            }
            SdkError::ResponseError(_) => {
                Self::new(Why::Failed, format!("an answer that makes no sense: {}", causes(&error)))
            }
            SdkError::DispatchFailure(_) => Self::new(Why::Failed, format!("no connection: {}", causes(&error))),
            _ => Self::new(Why::Refused, format!("a request that cannot be made: {}", causes(&error))),
        }
    }
}

impl From<ByteStreamError> for Failure {
    fn from(error: ByteStreamError) -> Self {
        let causes = causes(&error);
        let why = if causes.to_ascii_lowercase().contains("checksum") { Why::Damaged } else { Why::Failed };
        Self::new(why, format!("the body did not arrive: {causes}"))
    }
}

/// What an answer of the server means, by its code and then its status.
pub(super) fn of_answer(status: u16, code: Option<&str>, message: Option<&str>, id: Option<&str>) -> Failure {
    let (why, hint) = match (code.unwrap_or(""), status) {
        ("NoSuchBucket", _) => (Why::Refused, "; does the bucket exist, in this region?"),
        ("NoSuchKey" | "NoSuchUpload" | "NotFound", _) => (Why::NotFound, ""),
        ("PreconditionFailed", _) => (Why::Exists, ""),
        ("ConditionalRequestConflict" | "OperationAborted", _) => (Why::Conflict, ""),
        ("InvalidRange", _) => (Why::Range, ""),
        ("NotImplemented" | "MethodNotAllowed", _) => (Why::Unsupported, ""),
        ("SlowDown" | "Throttling" | "ThrottlingException" | "TooManyRequests" | "RequestLimitExceeded", _) => {
            (Why::Throttled, "")
        }
        ("BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "IncompleteBody", _) => {
            (Why::Damaged, "")
        }
        ("RequestTimeout" | "InternalError" | "ServiceUnavailable", _) => (Why::Failed, ""),
        ("RequestTimeTooSkewed", _) => (Why::Refused, "; the clocks of this machine and the store differ: set them"),
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => {
            (Why::Refused, "; are the credentials those of this store?")
        }
        ("ExpiredToken" | "InvalidToken", _) => (Why::Refused, "; are the temporary credentials still valid?"),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) => {
            (Why::Refused, "; is it the bucket's region?")
        }
        (_, 404) => (Why::NotFound, ""),
        (_, 412) => (Why::Exists, ""),
        (_, 409) => (Why::Conflict, ""),
        (_, 416) => (Why::Range, ""),
        (_, 405 | 501) => (Why::Unsupported, ""),
        (_, 429) => (Why::Throttled, ""),
        (_, 301 | 307 | 308) => (Why::Refused, "; are the region and the endpoint right?"),
        (_, 401 | 403) => (Why::Refused, "; do the credentials have the permission?"),
        (_, 408 | 200..=299 | 500..) => (Why::Failed, ""),
        _ => (Why::Refused, ""),
    };
    let mut text = format!("status {status}");
    for (name, value) in [("", code), ("", message), ("request ", id)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(", ");
            text.push_str(name);
            text.push_str(&short(value));
        }
    }
    Failure::new(why, text + hint)
}

/// Credentials are looked for inside of a request; that they were not found is none of the store.
fn of_credentials(error: &(dyn StdError + 'static)) -> Option<Failure> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_)) => {
                return Some(Failure::new(
                    Why::Refused,
                    "no credentials: set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a profile, or a role of this machine",
                ));
            }
            Some(CredentialsError::InvalidConfiguration(_)) => {
                return Some(Failure::new(
                    Why::Refused,
                    "the settings of the credentials are wrong (environment, profile files)",
                ));
            }
            // Their text may repeat what a credential process printed.
            Some(_) => return Some(Failure::new(Why::Failed, "the source of the credentials failed")),
            None => cause = error.source(),
        }
    }
    None
}

/// An error's causes, innermost last.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut cause = error.source().or(Some(error));
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        cause = error.source();
    }
    short(&text)
}

/// At most so much, in one line.
fn short(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_to_try_again() {
        let why = |status, code: &str| of_answer(status, Some(code).filter(|code| !code.is_empty()), None, None).why;
        assert_eq!(why(404, ""), Why::NotFound);
        assert_eq!(why(404, "NoSuchBucket"), Why::Refused);
        assert_eq!(why(412, "PreconditionFailed"), Why::Exists);
        assert_eq!(why(409, "ConditionalRequestConflict"), Why::Conflict);
        assert_eq!(why(503, "SlowDown"), Why::Throttled);
        assert_eq!(why(503, ""), Why::Failed);
        assert_eq!(why(500, "InternalError"), Why::Failed);
        assert_eq!(why(200, "InternalError"), Why::Failed, "a multipart upload fails like this");
        assert_eq!(why(400, "BadDigest"), Why::Damaged);
        assert_eq!(why(403, "AccessDenied"), Why::Refused);
        assert_eq!(why(400, "EntityTooLarge"), Why::Refused);
        assert!(of_answer(403, Some("SignatureDoesNotMatch"), None, None).message.contains("credentials"));
        assert!(of_answer(403, None, Some(&"x".repeat(5000)), None).message.len() < 400);
    }
}
