//! What a reader of segments has found out about one and wants to find again. Storage does not know what it is.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// A place for one thing. It goes with what it is about.
#[derive(Default)]
pub struct Notes(Mutex<Option<Arc<dyn Any + Send + Sync>>>);

impl Notes {
    /// What was put last, if it is of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let note = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        note.downcast().ok()
    }

    /// Puts something there in place of what was there.
    pub fn put<T: Any + Send + Sync>(&self, note: &Arc<T>) {
        let note: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(note);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(note);
    }
}
