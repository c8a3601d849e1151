//! The tenant of a request: `X-Scope-OrgID` in HTTP headers and gRPC metadata alike.

use crate::error::ApiError;
use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, request::Parts};
use timberlog_types::{Result, Tenant};

/// The name of the header, and of the metadata key.
pub const TENANT_HEADER: &str = "x-scope-orgid";

/// The tenant that headers name; `default` if they name none.
///
/// # Errors
/// `Invalid` for a name outside the alphabet, and for more than one name.
pub fn of_headers(headers: &HeaderMap) -> Result<Tenant> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(Tenant::default()) };
    if values.next().is_some() {
        return Err(timberlog_types::Error::invalid("the header `X-Scope-OrgID` was sent more than once"));
    }
    let invalid = || timberlog_types::Error::invalid("the header `X-Scope-OrgID` is not ASCII text");
    Tenant::new(value.to_str().map_err(|_| invalid())?)
}

/// Extracts the tenant of a request.
pub struct OfTenant(pub Tenant);

impl<S: Send + Sync> FromRequestParts<S> for OfTenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(of_headers(&parts.headers)?))
    }
}
