//! The lock of the view. A thread holds it once at a time: who reads it a second time waits for a writer that came in
//! between, which waits for the first read, for ever. Builds with debug assertions refuse the second one, in whatever
//! order threads run.

use crate::view::View;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The view, and the lock around it.
pub(super) struct Viewing(RwLock<View>);

/// The view, held until this goes.
pub(super) struct Held<Guard> {
    guard: Guard,
    _once: once::Once,
}

impl Viewing {
    pub(super) fn new(view: View) -> Self {
        Self(RwLock::new(view))
    }

    /// # Panics
    /// With debug assertions, if this thread holds it already.
    pub(super) fn read(&self) -> Held<RwLockReadGuard<'_, View>> {
        let _once = once::take(self);
        Held { guard: self.0.read().unwrap_or_else(PoisonError::into_inner), _once }
    }

    /// # Panics
    /// With debug assertions, if this thread holds it already.
    pub(super) fn write(&self) -> Held<RwLockWriteGuard<'_, View>> {
        let _once = once::take(self);
        Held { guard: self.0.write().unwrap_or_else(PoisonError::into_inner), _once }
    }
}

impl<Guard: Deref<Target = View>> Deref for Held<Guard> {
    type Target = View;

    fn deref(&self) -> &View {
        &self.guard
    }
}

impl<Guard: DerefMut<Target = View>> DerefMut for Held<Guard> {
    fn deref_mut(&mut self) -> &mut View {
        &mut self.guard
    }
}

#[cfg(debug_assertions)]
mod once {
    use super::Viewing;
    use std::cell::RefCell;

    thread_local! {
        /// The addresses of the locks that this thread holds: one for each storage.
        static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    /// Goes with the guard.
    pub(super) struct Once(usize);

    pub(super) fn take(viewing: &Viewing) -> Once {
        let at = std::ptr::from_ref(viewing).addr();
        HELD.with_borrow_mut(|held| {
            assert!(!held.contains(&at), "the view is locked twice by one thread: a writer in between blocks both");
            held.push(at);
        });
        Once(at)
    }

    impl Drop for Once {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| held.retain(|at| *at != self.0));
        }
    }
}

#[cfg(not(debug_assertions))]
mod once {
    /// Nothing: see above.
    pub(super) struct Once;

    pub(super) fn take(_: &super::Viewing) -> Once {
        Once
    }
}
