//! The writer.
use super::types::{Append, Frame, Publish, ReplayReport, WalOptions};
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::{Error, Result, Seq};
/// Writes groups of frames; one at a time, driven by a thread or by a simulation.
pub struct WalWriter { shared: Arc<Shared> }
/// What the writer and the handle share.
pub(super) struct Shared;
impl WalWriter {
    /// See [`crate::wal::Wal::open`].
    ///
    /// # Errors
    /// See there.
    pub fn open(_: &Env, _: WalOptions, _: Seq, _: Arc<dyn Publish>, _: &mut dyn FnMut(Frame) -> Result<()>, _: &dyn Fn(u64, u64)) -> Result<(Self, ReplayReport)> { Err(Error::internal("not built yet")) }
    pub(super) fn shared(&self) -> &Arc<Shared> { &self.shared }
    /// Writes, syncs and publishes a group, and calls each `done`.
    pub fn commit_group(&mut self, _: Vec<Append>) {}
    /// Makes everything written durable.
    ///
    /// # Errors
    /// `Closed` after a failed fsync.
    pub fn sync(&mut self) -> Result<Seq> { Ok(0) }
}
impl Shared {
    pub(super) fn check_alive(&self) -> Result<()> { Ok(()) }
    pub(super) fn last_seq(&self) -> Seq { 0 }
    pub(super) fn synced_seq(&self) -> Seq { 0 }
    pub(super) fn poisoned(&self) -> Option<String> { None }
    pub(super) fn truncate(&self, _: Seq) -> Result<()> { Ok(()) }
    pub(super) fn close(&self) {}
}
