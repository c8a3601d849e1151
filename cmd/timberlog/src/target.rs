//! Where a subcommand looks: a server, or a data directory at rest.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use timberlog_client::Client;
use timberlog_db::{Database, Env, Options, Progress};
use timberlog_types::Tenant;

/// The flags that say where to look.
#[derive(Args)]
pub struct Target {
    /// The server; not asked with `--data-dir`
    #[arg(long, value_name = "URL", env = "TIMBERLOG_ADDR", default_value = "http://127.0.0.1:3100")]
    addr: String,
    /// A data directory that no server has open, instead of a server
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The tenant
    #[arg(long, value_name = "NAME", env = "TIMBERLOG_TENANT", default_value = "default")]
    tenant: String,
    /// How long a request may take
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: humantime::Duration,
}

impl Target {
    /// The tenant.
    pub fn tenant(&self) -> Result<Tenant> {
        Ok(Tenant::new(&self.tenant)?)
    }

    /// The server.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.addr, self.tenant()?, Duration::from(self.timeout))?)
    }

    /// The database of the data directory, if one was named; it must exist.
    pub fn database(&self) -> Result<Option<Database>> {
        let Some(data_dir) = &self.data_dir else { return Ok(None) };
        let mut options = Options::new(data_dir);
        // A command that looks something up does not begin to merge segments.
        options.compaction.enabled = false;
        Ok(Some(Database::open(options, Env::real(), &Progress::default())?))
    }
}
