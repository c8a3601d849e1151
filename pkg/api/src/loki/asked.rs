//! What a request asks: the parameters of its query string and, of a POST, of its form.

use super::error::LokiResult;
use super::form;
use crate::body::Encoding;
use crate::state::State;
use crate::tenant;
use axum::extract::Request;
use axum::http::{HeaderName, Method, header};
use std::sync::Arc;
use timberlog_types::Tenant;

const ENCODING_FLAGS: HeaderName = HeaderName::from_static("x-loki-response-encoding-flags");

/// How lines are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Categories {
    /// All labels of a line are labels of its stream.
    #[default]
    Merged,
    /// Structured metadata and parsed labels stand beside each line.
    Apart,
}

/// A request for something that is stored.
pub struct Asked {
    /// Whose records.
    pub tenant: Tenant,
    /// How lines are told.
    pub categories: Categories,
    pairs: Vec<(String, String)>,
}

impl Asked {
    /// Reads a request; of a form its body too, whose parameters come first.
    pub async fn of(state: &Arc<State>, request: Request) -> LokiResult<Self> {
        let (parts, body) = request.into_parts();
        let tenant = tenant::of_headers(&parts.headers)?;
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_form = text(header::CONTENT_TYPE).trim_start().starts_with("application/x-www-form-urlencoded");
        let apart = text(ENCODING_FLAGS).split(',').any(|flag| flag.trim() == "categorize-labels");
        let mut pairs = Vec::new();
        if parts.method == Method::POST && is_form {
            let max = state.options.query_body_bytes_max;
            let body = state.bodies.collect(&parts.headers, body, max).await?;
            let body = state.bodies.decompress(Encoding::of_request(&parts.headers)?, body, max)?;
            pairs.extend(form::pairs(body.as_ref())?);
        }
        pairs.extend(form::pairs(parts.uri.query().unwrap_or_default().as_bytes())?);
        let categories = if apart { Categories::Apart } else { Categories::Merged };
        Ok(Self { tenant, categories, pairs })
    }

    /// The first value of a parameter; empty if it was not sent.
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A request of which nothing but its parameters is known.
    pub(crate) fn of_pairs(pairs: Vec<(String, String)>) -> Self {
        Self { tenant: Tenant::default(), categories: Categories::Merged, pairs }
    }

    /// A request without a body, for tests.
    #[cfg(test)]
    pub fn of_query(query: &str) -> Self {
        let pairs = form::pairs(query.as_bytes()).unwrap();
        Self { tenant: Tenant::default(), categories: Categories::Merged, pairs }
    }
}
