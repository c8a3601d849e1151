//! A small client of TimberLog's HTTP API: blocking, one connection per [`Client`] and thread.
//!
//! It knows the wire and nothing of the engine. Errors carry the server's words and the kind that
//! says what to do.

mod retry_after;

use serde::Deserialize;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Result, Tenant};

/// The longest answer that is read whole.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// A client of one server, for one tenant.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    tenant: Tenant,
    stream_labels: Option<String>,
}

/// What the server said of a batch.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Ingested {
    /// Records stored.
    #[serde(default)]
    pub accepted: u64,
    /// Records refused.
    #[serde(default)]
    pub refused: Vec<Refused>,
}

/// A record that was not stored.
#[derive(Clone, Debug, Deserialize)]
pub struct Refused {
    /// Its place in the batch, from 0.
    pub index: u64,
    /// Why.
    pub reason: String,
}

impl Client {
    /// A client of `http://host:port`.
    ///
    /// # Errors
    /// `Invalid` if the address is not one.
    pub fn new(addr: &str, tenant: Tenant, timeout: Duration) -> Result<Self> {
        let base = addr.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        if !base.starts_with("http://") {
            return Err(Error::invalid(format!("address `{addr}`: expected http://host:port")));
        }
        let agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(timeout)).build().new_agent();
        Ok(Self { agent, base, tenant, stream_labels: None })
    }

    /// Records that are sent from now on have these keys as stream labels, whatever the server's
    /// setting; with no name at all they have none.
    ///
    /// # Errors
    /// `Invalid` if a name cannot stand in a header.
    pub fn with_stream_labels(self, names: &[String]) -> Result<Self> {
        if let Some(name) = names.iter().find(|name| name.contains(|c: char| c == ',' || c.is_control())) {
            return Err(Error::invalid(format!("stream label {name:?} has a comma or a control character")));
        }
        Ok(Self { stream_labels: Some(names.join(",")), ..self })
    }

    /// Sends JSON records: one object, an array, or JSON lines. Records that were refused are in
    /// the answer, also when nothing was stored.
    ///
    /// # Errors
    /// What the server says: [`Error::retry_after`] when it asks to come back later, which is for the caller to do.
    pub fn ingest(&self, body: &[u8], producer: Option<(&str, u64)>) -> Result<Ingested> {
        let mut request = self
            .agent
            .post(format!("{}/ingest", self.base))
            .header("x-scope-orgid", self.tenant.as_str())
            .content_type("application/x-ndjson");
        if let Some((producer, number)) = producer {
            request = request.header("idempotency-key", format!("{producer}/{number}"));
        }
        if let Some(names) = &self.stream_labels {
            request = request.header("x-timberlog-stream-labels", names);
        }
        let response = request.send(body).map_err(|error| self.unreachable(&error))?;
        let (status, retry_after, body) = self.read(response)?;
        let answer: Ingested = serde_json::from_slice(&body).unwrap_or_default();
        if status == 200 || (status == 400 && !answer.refused.is_empty()) {
            return Ok(answer);
        }
        Err(refusal(status, retry_after, &body))
    }

    /// Posts JSON and reads JSON.
    ///
    /// # Errors
    /// What the server says.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("x-scope-orgid", self.tenant.as_str());
        let request = request.content_type("application/json");
        self.json(request.send(body.to_string().as_bytes()))
    }

    /// Posts a form to Loki's API and reads JSON; structured metadata and parsed labels stand beside
    /// each line.
    ///
    /// # Errors
    /// What the server says.
    pub fn loki(&self, path: &str, form: &[(&str, &str)]) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("x-scope-orgid", self.tenant.as_str());
        let request = request.header("x-loki-response-encoding-flags", "categorize-labels");
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.json(request.content_type("application/x-www-form-urlencoded").send(body.as_bytes()))
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// What the server says.
    pub fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("x-scope-orgid", self.tenant.as_str());
        self.json(request.call())
    }

    /// Asks for something to be removed, named by parameters, and reads JSON.
    ///
    /// # Errors
    /// What the server says.
    pub fn delete(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let parameters = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = self.agent.delete(format!("{}{path}?{parameters}", self.base));
        self.json(request.header("x-scope-orgid", self.tenant.as_str()).call())
    }

    /// Posts JSON and reads bytes.
    ///
    /// # Errors
    /// What the server says.
    pub fn bytes(&self, path: &str, body: &Value) -> Result<Vec<u8>> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("x-scope-orgid", self.tenant.as_str());
        let request = request.content_type("application/json");
        let response = request.send(body.to_string().as_bytes()).map_err(|error| self.unreachable(&error))?;
        let (status, retry_after, body) = self.read(response)?;
        if status != 200 {
            return Err(refusal(status, retry_after, &body));
        }
        Ok(body)
    }

    /// Posts JSON and hands over each line of the answer as it comes.
    ///
    /// # Errors
    /// What the server says, and what `line` says.
    pub fn lines(&self, path: &str, body: &Value, line: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("x-scope-orgid", self.tenant.as_str());
        let response = request
            .config()
            .timeout_global(None)
            .build()
            .content_type("application/json")
            .send(body.to_string().as_bytes())
            .map_err(|error| self.unreachable(&error))?;
        if response.status() != 200 {
            let (status, retry_after, body) = self.read(response)?;
            return Err(refusal(status, retry_after, &body));
        }
        let reader = BufReader::new(response.into_body().into_reader());
        for text in reader.lines() {
            let text =
                text.map_err(|error| Error::new(ErrorKind::Unavailable, format!("the answer broke off: {error}")))?;
            line(&text)?;
        }
        Ok(())
    }

    fn json(&self, response: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
        let (status, retry_after, body) = self.read(response.map_err(|error| self.unreachable(&error))?)?;
        if status != 200 {
            return Err(refusal(status, retry_after, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|error| Error::internal(format!("the server's answer is not JSON: {error}")))
    }

    fn read(&self, response: ureq::http::Response<ureq::Body>) -> Result<(u16, Option<Duration>, Vec<u8>)> {
        let status = response.status().as_u16();
        let retry_after = retry_after::of(response.headers());
        let mut body = Vec::new();
        let reader = response.into_body().into_reader();
        reader.take(ANSWER_BYTES_MAX).read_to_end(&mut body).map_err(|error| Error::io("read the answer", &error))?;
        Ok((status, retry_after, body))
    }

    fn unreachable(&self, error: &ureq::Error) -> Error {
        Error::new(ErrorKind::Unavailable, format!("`{}` does not answer: {error}", self.base))
    }
}

fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
    let kind = match status {
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        429 => ErrorKind::Overloaded { retry_after: retry_after.unwrap_or(Duration::from_secs(1)) },
        503 => ErrorKind::Unavailable,
        400..500 => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    };
    let message = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|answer| answer.get("error")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(2_000)]).trim_end().to_owned());
    let error = Error::new(kind, format!("the server answered {status}: {message}"));
    match retry_after {
        Some(wait) if matches!(status, 429 | 503) => error.after(wait),
        _ => error,
    }
}
