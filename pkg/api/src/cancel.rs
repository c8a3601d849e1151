//! Ends a query when nobody waits for its answer any more.

use timberlog_db::query::Cancel;

/// Ends a query when it is dropped: held by the handler, whose future goes with its client.
pub struct CancelOnDrop(pub Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
