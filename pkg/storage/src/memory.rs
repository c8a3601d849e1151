//! The account of memory that batches hold, from admission until their segment is committed; and
//! the bounded line of appends that wait for room.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind};

/// An append that waits for room.
pub(crate) struct Waiting<T> {
    pub(crate) bytes: usize,
    pub(crate) deadline_ns: u64,
    pub(crate) append: T,
}

/// What became of a request for room.
pub(crate) enum Admission<T> {
    /// There is room, and it is taken: go on with the append.
    Now(T),
    /// The append waits.
    Later,
    /// No room to wait either.
    Refused(T),
}

struct Account<T> {
    used: usize,
    /// Taken off the bound for work that is no batch's.
    lent: usize,
    waiting: VecDeque<Waiting<T>>,
    /// Bytes of those that wait.
    waiting_bytes: usize,
}

/// Room that is lent until this goes.
pub(crate) struct Lent<'a, T> {
    memory: &'a Memory<T>,
    bytes: usize,
}

pub(crate) struct Memory<T> {
    account: Mutex<Account<T>>,
    bytes_max: usize,
    waiting_max: usize,
    waiting_bytes_max: usize,
}

impl<T> Account<T> {
    /// Takes the first one out of the line.
    fn next(&mut self) -> Option<T> {
        let Waiting { bytes, append, .. } = self.waiting.pop_front()?;
        self.waiting_bytes -= bytes;
        Some(append)
    }
}

impl<T> Memory<T> {
    pub(crate) fn new(bytes_max: usize, waiting_max: usize, waiting_bytes_max: usize) -> Self {
        let account = Account { used: 0, lent: 0, waiting: VecDeque::new(), waiting_bytes: 0 };
        Self { account: Mutex::new(account), bytes_max, waiting_max, waiting_bytes_max }
    }

    /// Takes room for an append, or puts it in line. A batch larger than all the room there is
    /// gets in when nothing else is there.
    pub(crate) fn admit(&self, bytes: usize, deadline_ns: u64, append: T) -> Admission<T> {
        let mut account = self.lock();
        if account.waiting.is_empty() && self.fits(&account, bytes) {
            account.used += bytes;
            return Admission::Now(append);
        }
        let bytes_then = account.waiting_bytes.saturating_add(bytes);
        let has_room = account.waiting.is_empty() || bytes_then <= self.waiting_bytes_max;
        if account.waiting.len() >= self.waiting_max || !has_room {
            return Admission::Refused(append);
        }
        account.waiting_bytes = bytes_then;
        account.waiting.push_back(Waiting { bytes, deadline_ns, append });
        Admission::Later
    }

    /// Takes room without asking: for replay, which flushes by itself.
    pub(crate) fn take(&self, bytes: usize) {
        self.lock().used += bytes;
    }

    /// Gives room back.
    pub(crate) fn release(&self, bytes: usize) {
        let mut account = self.lock();
        account.used = account.used.saturating_sub(bytes);
    }

    /// The appends that have room now, which is taken for them, and those that waited too long.
    pub(crate) fn wake(&self, now_ns: u64) -> (Vec<T>, Vec<T>) {
        let mut account = self.lock();
        let (mut admitted, mut expired) = (Vec::new(), Vec::new());
        while let Some(first) = account.waiting.front() {
            if self.fits(&account, first.bytes) {
                account.used += first.bytes;
                admitted.extend(account.next());
            } else if first.deadline_ns <= now_ns {
                expired.extend(account.next());
            } else {
                break;
            }
        }
        (admitted, expired)
    }

    /// All appends that wait, for a database that closes.
    pub(crate) fn drain(&self) -> Vec<T> {
        let mut account = self.lock();
        std::iter::from_fn(|| account.next()).collect()
    }

    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Lends room to other work, at most a quarter of all: until it is given back less is admitted. A batch that is
    /// alone gets in whatever is lent.
    pub(crate) fn lend(&self, bytes: usize) -> Lent<'_, T> {
        let bytes = bytes.min(self.bytes_max / 4);
        self.lock().lent += bytes;
        Lent { memory: self, bytes }
    }

    fn fits(&self, account: &Account<T>, bytes: usize) -> bool {
        account.used == 0 || account.used + account.lent + bytes <= self.bytes_max
    }

    fn lock(&self) -> MutexGuard<'_, Account<T>> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        self.memory.lock().lent -= self.bytes;
    }
}

/// The refusal when the buffer is full and flushing does not keep up.
pub(crate) fn overloaded() -> Error {
    let kind = ErrorKind::Overloaded { retry_after: Duration::from_secs(1) };
    Error::new(kind, "the memory buffer is full and flushing does not keep up; try again later")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_in_order_and_never_beyond_the_bound() {
        let memory = Memory::new(100, 2, usize::MAX);
        assert!(matches!(memory.admit(500, 10, 1), Admission::Now(1)));
        assert!(matches!(memory.admit(1, 10, 2), Admission::Later));
        assert!(matches!(memory.admit(100, 10, 3), Admission::Later));
        assert!(matches!(memory.admit(1, 10, 4), Admission::Refused(4)));
        assert_eq!(memory.wake(9), (vec![], vec![]));
        memory.release(450);
        assert_eq!(memory.wake(9), (vec![2], vec![]));
        assert_eq!(memory.wake(10), (vec![], vec![3]));
        assert_eq!((memory.used(), memory.waiting()), (51, 0));
    }

    #[test]
    fn room_that_is_lent_is_missing_until_it_is_back() {
        let memory = Memory::new(100, 10, usize::MAX);
        let lent = memory.lend(1_000);
        assert!(matches!(memory.admit(500, 10, 1), Admission::Now(1)), "alone");
        memory.release(450);
        assert!(matches!(memory.admit(25, 10, 2), Admission::Now(2)));
        assert!(matches!(memory.admit(1, 10, 3), Admission::Later));
        drop(lent);
        assert_eq!(memory.wake(9), (vec![3], vec![]));
        assert_eq!(memory.used(), 76);
    }

    #[test]
    fn few_bytes_wait_however_few_appends_they_are() {
        let memory = Memory::new(100, 100, 50);
        assert!(matches!(memory.admit(100, 10, 1), Admission::Now(1)));
        assert!(matches!(memory.admit(80, 10, 2), Admission::Later), "one longer one waits alone");
        assert!(matches!(memory.admit(1, 10, 3), Admission::Refused(3)));
        assert_eq!(memory.wake(10), (vec![], vec![2]));
        assert!(matches!(memory.admit(30, 20, 4), Admission::Later));
        assert!(matches!(memory.admit(20, 20, 5), Admission::Later));
        assert!(matches!(memory.admit(1, 20, 6), Admission::Refused(6)));
        assert_eq!(memory.drain(), vec![4, 5]);
        assert!(matches!(memory.admit(50, 20, 7), Admission::Later));
    }
}
