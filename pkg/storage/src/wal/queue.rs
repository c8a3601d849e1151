//! The bounded queue before the writer, and the thread that empties it.
use super::types::{Append, WalOptions};
use super::writer::WalWriter;
use std::thread::JoinHandle;
use timberlog_types::{Error, Result, Seq};
pub(super) struct Queue;
impl Queue {
    pub(super) fn new(_: &WalOptions) -> Self { Self }
    pub(super) fn spawn(&self, _: WalWriter) -> Result<JoinHandle<()>> { Err(Error::internal("not built yet")) }
    pub(super) fn push(&self, _: Append) -> Result<()> { Ok(()) }
    pub(super) fn sync(&self) -> Result<Seq> { Ok(0) }
    pub(super) fn step(&self, _: &mut WalWriter) -> usize { 0 }
    pub(super) fn queued(&self) -> (usize, usize) { (0, 0) }
    pub(super) fn close(&self) -> Result<()> { Ok(()) }
}
