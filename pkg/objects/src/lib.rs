//! Object stores: a folder ([`LocalStore`]) and S3 with what speaks its protocol ([`S3Store`]).
//!
//! Owns how the trait [`timberlog_storage::objects::ObjectStore`] is kept: atomic files, requests
//! with retries, time-outs and a circuit breaker, the probe for conditional puts. The AWS SDK and its
//! async runtime stay in here: nothing above sees a type of theirs. Must never know what is stored,
//! and never print a credential.

mod local;
mod options;
mod s3;
mod signed;
mod url;

use std::sync::Arc;

use timberlog_disk::Env;
use timberlog_storage::objects::ObjectStore;
use timberlog_types::Result;

pub use local::LocalStore;
pub use options::{Addressing, Credentials, Encryption, KeyPair, Retries, S3Options};
pub use s3::S3Store;
pub use signed::SignedStore;
pub use url::Location;

/// The store at `file:///path` or `s3://bucket/prefix`, which is not asked anything yet: it may be away. Until it is
/// probed, it counts as one without atomic conditional puts.
pub fn connect(url: &str, options: &S3Options, env: &Env) -> Result<Arc<dyn ObjectStore>> {
    match Location::parse(url)? {
        Location::Folder { dir } => Ok(Arc::new(LocalStore::new(env.clone(), dir))),
        Location::S3 { bucket, prefix } => Ok(Arc::new(S3Store::new(&bucket, &prefix, options, env)?)),
    }
}

/// Opens the store at `file:///path` or `s3://bucket/prefix`. S3 is asked whether it has atomic
/// conditional puts, so it must answer; see [`S3Store::new`] for where it need not.
pub fn open(url: &str, options: &S3Options, env: &Env) -> Result<Arc<dyn ObjectStore>> {
    let store = connect(url, options, env)?;
    store.probe()?;
    Ok(store)
}
