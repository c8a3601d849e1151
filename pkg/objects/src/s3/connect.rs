//! Makes the SDK's client: region, endpoint, credentials, TLS, with short time-outs throughout.

use aws_config::BehaviorVersion;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials as SdkCredentials, IdentityCache, Region, SharedCredentialsProvider, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use timberlog_types::{Error, Result};

use crate::options::{Addressing, Credentials, S3Options};

/// The region that stores other than AWS's sign for when nobody says one.
const REGION_OF_OTHERS: &str = "us-east-1";

/// Makes the client. Asks for the region, never for the bucket; credentials are found when they are needed.
pub(super) async fn client(options: &S3Options) -> Result<Client> {
    let tls = HttpBuilder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let provider = ProviderConfig::without_region()
        .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
        .with_http_client(tls.clone());
    let machine = imds::Client::builder()
        .configure(&provider)
        .max_attempts(1)
        .connect_timeout(options.credentials_timeout.min(std::time::Duration::from_secs(1)))
        .read_timeout(options.credentials_timeout)
        .build();
    let region = region(options, &provider, &machine).await?;
    let credentials = match &options.credentials {
        Credentials::Standard => {
            let chain = DefaultCredentialsChain::builder()
                .configure(provider)
                .region(region.clone())
                .imds_client(machine)
                .build()
                .await;
            SharedCredentialsProvider::new(chain)
        }
        Credentials::Fixed(pair) => SharedCredentialsProvider::new(SdkCredentials::new(
            pair.access_key_id.clone(),
            pair.secret_access_key.clone(),
            pair.session_token.clone(),
            None,
            "options",
        )),
    };
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(region)
        .credentials_provider(credentials)
        .identity_cache(IdentityCache::lazy().load_timeout(options.credentials_timeout).build())
        .http_client(transport(options, tls))
        .force_path_style(options.addressing == Addressing::Path)
        // Tries, time-outs and slow bodies are watched in `requests`.
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(options.retries.connect_timeout).build());
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(builder.build()))
}

/// A store without TLS needs no certificates of this machine, which a container may not have.
fn transport(options: &S3Options, tls: SharedHttpClient) -> SharedHttpClient {
    match &options.endpoint {
        Some(endpoint) if endpoint.starts_with("http://") => HttpBuilder::new().build_http(),
        _ => tls,
    }
}

async fn region(options: &S3Options, provider: &ProviderConfig, machine: &imds::Client) -> Result<Region> {
    if let Some(region) = &options.region {
        return Ok(Region::new(region.clone()));
    }
    if let Some(region) = EnvironmentVariableRegionProvider::new().region().await {
        return Ok(region);
    }
    if let Some(region) = ProfileFileRegionProvider::builder().configure(provider).build().region().await {
        return Ok(region);
    }
    if options.endpoint.is_some() {
        return Ok(Region::from_static(REGION_OF_OTHERS));
    }
    let of_machine = imds::region::ImdsRegionProvider::builder().configure(provider).imds_client(machine.clone());
    of_machine.build().region().await.ok_or_else(|| {
        Error::invalid(
            "the region of S3 is not known: set `--s3-region` or `AWS_REGION`, or `--s3-endpoint` for another store",
        )
    })
}
