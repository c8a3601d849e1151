//! How S3 is reached, and every bound on the way.

use std::fmt;
use std::time::Duration;

use timberlog_types::{Error, Result};

/// S3 takes no smaller parts than these, but for the last one.
pub(crate) const PART_BYTES_MIN: u64 = 5 << 20;
/// And no more parts than these.
pub(crate) const PARTS_MAX: u64 = 10_000;

/// How S3 is reached.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The region; without one the standard chain is asked (environment, profile, the machine).
    pub region: Option<String>,
    /// The server of a store that is not AWS's: `https://host:port`.
    pub endpoint: Option<String>,
    /// Where a request names its bucket.
    pub addressing: Addressing,
    /// The storage class of what is put, as S3 names it (`STANDARD_IA`); the bucket's own without one.
    pub storage_class: Option<String>,
    /// Who encrypts what is stored.
    pub encryption: Encryption,
    /// Where the credentials are from.
    pub credentials: Credentials,
    /// How long finding credentials may take, and each question to the machine's metadata service.
    pub credentials_timeout: Duration,
    /// How many bytes a part of a file has; at least 5 MiB, more where a file needs too many parts.
    pub part_bytes: u64,
    /// How many parts of a file are on the way at once; each is in memory.
    pub parts_parallel: usize,
    /// Tries and time-outs.
    pub retries: Retries,
}

/// Where a request names its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// In the host's name: AWS.
    Host,
    /// In the path: most other stores.
    Path,
}

/// Who encrypts what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket is set up.
    Bucket,
    /// The store, with its keys (SSE-S3).
    S3,
    /// The store, with a key of KMS (SSE-KMS); the account's default key without an id.
    Kms {
        /// The key's id, ARN or alias.
        key_id: Option<String>,
    },
}

/// Where credentials are from.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The standard chain of AWS: environment, profile files, web identity, container, machine.
    Standard,
    /// These.
    Fixed(KeyPair),
}

/// Credentials. Not shown by `Debug`.
#[derive(Clone)]
pub struct KeyPair {
    /// The id of the access key.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(redacted)")
    }
}

/// Tries and time-outs of a request.
#[derive(Clone, Debug)]
pub struct Retries {
    /// How often a request is tried.
    pub tries: u32,
    /// The longest wait before the second try; doubled before each further one. Waits are random
    /// between half of that and all of it.
    pub backoff_first: Duration,
    /// The longest wait between tries.
    pub backoff_max: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a try may take beside its bytes.
    pub try_timeout: Duration,
    /// How slowly bytes may come or go: a try of n bytes has n / this more time.
    pub bytes_per_second_min: u64,
    /// No try begins later than this after the first one.
    pub total_timeout: Duration,
    /// How many tries in a row must find the store failing for it to be left alone.
    pub breaker_failures: u32,
    /// How long it is left alone before one request probes it.
    pub breaker_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            tries: 5,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            try_timeout: Duration::from_secs(15),
            bytes_per_second_min: 256 << 10,
            total_timeout: Duration::from_secs(60),
            breaker_failures: 10,
            breaker_pause: Duration::from_secs(5),
        }
    }
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            addressing: Addressing::Host,
            storage_class: None,
            encryption: Encryption::Bucket,
            credentials: Credentials::Standard,
            credentials_timeout: Duration::from_secs(5),
            part_bytes: 8 << 20,
            parts_parallel: 4,
            retries: Retries::default(),
        }
    }
}

impl S3Options {
    /// Refuses what cannot work, and an endpoint that would put a password into messages.
    pub fn check(&self) -> Result<()> {
        if let Some(endpoint) = &self.endpoint {
            let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
            let plain = |host: &str| !host.is_empty() && !host.contains(['@', '?', '#', ' ']);
            if !host.is_some_and(plain) {
                return Err(Error::invalid(
                    "an S3 endpoint is `http://host:port` or `https://host:port`, without a user",
                ));
            }
        }
        for (name, zero) in [
            ("parts_parallel", self.parts_parallel == 0),
            ("tries", self.retries.tries == 0),
            ("bytes_per_second_min", self.retries.bytes_per_second_min == 0),
            ("breaker_failures", self.retries.breaker_failures == 0),
        ] {
            if zero {
                return Err(Error::invalid(format!("`{name}` of S3 must be at least 1")));
            }
        }
        if self.part_bytes < PART_BYTES_MIN {
            return Err(Error::invalid(format!("a part of an upload to S3 has at least {PART_BYTES_MIN} bytes")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_no_debug_line_and_in_no_error() {
        let pair = KeyPair {
            access_key_id: "AKIAEXAMPLE".into(),
            secret_access_key: "hush".into(),
            session_token: Some("token".into()),
        };
        let mut options = S3Options { credentials: Credentials::Fixed(pair), ..S3Options::default() };
        options.endpoint = Some("http://user:hush@host".into());
        let error = options.check().unwrap_err().to_string();
        options.endpoint = None;
        let shown = format!("{options:?} {error}");
        for secret in ["AKIAEXAMPLE", "hush", "token\""] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
