//! An S3 server in this process for one test, and the options to reach it or another one.

use std::net::SocketAddr;
use std::time::Duration;

use timberlog_objects::{Addressing, Credentials, KeyPair, Retries, S3Options};

use crate::in_process;
pub use crate::in_process::{BUCKET, SECRET};
use in_process::KEY;

/// The server, with a folder of its own; both end when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    _server: in_process::Server,
    _folder: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = in_process::Server::start_in(folder.path());
        Self { address: server.address, _server: server, _folder: folder }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Options with short waits between tries and small parts.
pub fn options(endpoint: &str) -> S3Options {
    options_with_secret(endpoint, SECRET)
}

pub fn options_with_secret(endpoint: &str, secret: &str) -> S3Options {
    let pair = KeyPair { access_key_id: KEY.into(), secret_access_key: secret.into(), session_token: None };
    S3Options {
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint.to_owned()),
        addressing: Addressing::Path,
        credentials: Credentials::Fixed(pair),
        part_bytes: 5 << 20,
        parts_parallel: 2,
        retries: Retries {
            backoff_first: Duration::from_millis(4),
            backoff_max: Duration::from_millis(20),
            // Nothing hangs but where a test says so; machines are busy.
            try_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(120),
            ..Retries::default()
        },
        ..S3Options::default()
    }
}

/// Makes the tests' bucket on a server that is not of this process.
pub fn make_bucket(endpoint: &str) {
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(KEY, SECRET, None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .force_path_style(true)
        .endpoint_url(endpoint)
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // It may be there from an earlier run; what follows says so if it is not.
    let _ = runtime.block_on(aws_sdk_s3::Client::from_conf(config).create_bucket().bucket(BUCKET).send());
}
