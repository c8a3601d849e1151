//! S3 in this process: `s3s` with a folder behind it, and the options to reach it or another one.

use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use timberlog_objects::{Addressing, Credentials, KeyPair, Retries, S3Options};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub const BUCKET: &str = "timberlog-tests";
const KEY: &str = "timberlog-test-key";
pub const SECRET: &str = "timberlog-test-secret";

/// The server; it ends when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that goes away is no failure of the server.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, _runtime: runtime, _folder: folder }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Options with short waits and small parts.
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
