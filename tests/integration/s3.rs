//! An object store that fails: S3 in the process of the test, with a folder behind it that outlives it, and in front of
//! it the proxy of `pkg/objects/tests/stores`. Each request has a connection of its own.

#[path = "../../pkg/objects/tests/stores/in_process.rs"]
mod in_process;
#[expect(dead_code, reason = "single faults are told to it there, storms here")]
#[path = "../../pkg/objects/tests/stores/proxy.rs"]
mod proxy;

use std::path::Path;

/// The store; it ends when it is dropped, what it holds stays in its folder.
pub struct S3 {
    proxy: proxy::Proxy,
    endpoint: String,
    _server: in_process::Server,
}

impl S3 {
    pub fn start_in(folder: &Path) -> Self {
        let server = in_process::Server::start_in(folder);
        let proxy = proxy::Proxy::start(server.address);
        Self { endpoint: proxy.endpoint(), proxy, _server: server }
    }

    /// So many of a hundred requests go wrong, each in one of many ways.
    pub fn storm(&self, percent: u64, seed: u64) {
        self.proxy.storm(percent, seed);
    }

    /// All requests go well.
    pub fn heal(&self) {
        self.proxy.heal();
    }

    pub fn port(&self) -> u16 {
        self.endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// What tells a command the way to it.
    pub fn flags(&self) -> [&str; 5] {
        ["--s3-endpoint", &self.endpoint, "--s3-path-style", "--s3-region", "us-east-1"]
    }

    /// A place in it.
    pub fn url(prefix: &str) -> String {
        format!("s3://{}/{prefix}", in_process::BUCKET)
    }
}
