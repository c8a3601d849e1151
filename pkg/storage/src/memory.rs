//! The account of memory that batches hold, from admission until their segment is committed; and
//! the bounded line of appends that wait for room.
//!
//! Where several tenants write, none may take all: the more of the room is taken, the less of it one
//! tenant may have, so that there is always some for another. Those that wait take turns by tenant, and
//! when the line is full, whoever has most in it makes room for those who have less.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Tenant};

/// One of several tenants may hold so many times what is left for all.
const SHARE_OF_FREE: usize = 8;

/// An append that waits for room.
struct Waiting<T> {
    bytes: usize,
    deadline_ns: u64,
    append: T,
}

/// What became of a request for room.
pub(crate) enum Admission<T> {
    /// There is room, and it is taken: go on with the append.
    Now(T),
    /// The append waits; these had to leave the line for it.
    Later(Vec<T>),
    /// No room to wait either.
    Refused(T),
}

struct Account<T> {
    used: usize,
    /// Taken off the bound for work that is no batch's.
    lent: usize,
    /// Those that hold room or wait for it.
    shares: HashMap<Tenant, Share<T>>,
    /// Those that wait, the one whose turn is next first.
    turns: VecDeque<Tenant>,
    waiting: usize,
    /// Bytes of those that wait.
    waiting_bytes: usize,
}

/// What is one tenant's.
struct Share<T> {
    used: usize,
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
}

/// Whether an append gets in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Fits,
    /// There is too little room for it, whosever it were.
    Full,
    /// Its tenant has too much of the room.
    Share,
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

impl<T> Share<T> {
    fn new() -> Self {
        Self { used: 0, waiting: VecDeque::new(), waiting_bytes: 0 }
    }
}

impl<T> Account<T> {
    /// A tenant's share, made if it has none.
    fn share(&mut self, tenant: &Tenant) -> &mut Share<T> {
        self.shares.entry(tenant.clone()).or_insert_with(Share::new)
    }

    fn take(&mut self, tenant: &Tenant, bytes: usize) {
        self.used += bytes;
        self.share(tenant).used += bytes;
    }

    fn release(&mut self, tenant: &Tenant, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        if let Some(share) = self.shares.get_mut(tenant) {
            share.used = share.used.saturating_sub(bytes);
        }
        self.forget(tenant);
    }

    /// Forgets a tenant that has and wants nothing.
    fn forget(&mut self, tenant: &Tenant) {
        if self.shares.get(tenant).is_some_and(|share| share.used == 0 && share.waiting.is_empty()) {
            self.shares.remove(tenant);
        }
    }

    /// Takes a tenant's first or last one out of the line.
    fn leave(
        &mut self,
        tenant: &Tenant,
        which: impl FnOnce(&mut VecDeque<Waiting<T>>) -> Option<Waiting<T>>,
    ) -> Option<Waiting<T>> {
        let share = self.shares.get_mut(tenant)?;
        let left = which(&mut share.waiting)?;
        share.waiting_bytes -= left.bytes;
        self.waiting_bytes -= left.bytes;
        self.waiting -= 1;
        if share.waiting.is_empty() {
            self.turns.retain(|other| other != tenant);
        }
        self.forget(tenant);
        Some(left)
    }

    fn enter(&mut self, tenant: &Tenant, waiting: Waiting<T>) {
        self.waiting += 1;
        self.waiting_bytes += waiting.bytes;
        let share = self.share(tenant);
        let is_first = share.waiting.is_empty();
        share.waiting_bytes += waiting.bytes;
        share.waiting.push_back(waiting);
        if is_first {
            self.turns.push_back(tenant.clone());
        }
    }

    /// Whether an append of a tenant fits. One that is larger than all the room there is does when nothing else is there.
    fn fit(&self, bytes_max: usize, tenant: &Tenant, bytes: usize) -> Fit {
        let own = self.shares.get(tenant).map_or(0, |share| share.used);
        let alone = self.shares.keys().all(|other| other == tenant);
        let free = bytes_max.saturating_sub(self.used.saturating_add(self.lent).saturating_add(bytes));
        if !alone && own > 0 && own.saturating_add(bytes) > free.saturating_mul(SHARE_OF_FREE) {
            return Fit::Share;
        }
        let fits = self.used == 0 || self.used.saturating_add(self.lent).saturating_add(bytes) <= bytes_max;
        if fits { Fit::Fits } else { Fit::Full }
    }

    /// Whether one that waits only lacks room: then nobody may take what becomes free before it.
    fn is_somebody_next(&self, bytes_max: usize) -> bool {
        self.turns.iter().any(|tenant| {
            let first = self.shares.get(tenant).and_then(|share| share.waiting.front());
            first.is_some_and(|first| self.fit(bytes_max, tenant, first.bytes) != Fit::Share)
        })
    }
}

impl<T> Memory<T> {
    pub(crate) fn new(bytes_max: usize, waiting_max: usize, waiting_bytes_max: usize) -> Self {
        let account =
            Account { used: 0, lent: 0, shares: HashMap::new(), turns: VecDeque::new(), waiting: 0, waiting_bytes: 0 };
        Self { account: Mutex::new(account), bytes_max, waiting_max, waiting_bytes_max }
    }

    /// Takes room for an append, or puts it in line.
    pub(crate) fn admit(&self, tenant: &Tenant, bytes: usize, deadline_ns: u64, append: T) -> Admission<T> {
        let mut account = self.lock();
        let waits = account.shares.get(tenant).is_some_and(|share| !share.waiting.is_empty());
        if !waits
            && account.fit(self.bytes_max, tenant, bytes) == Fit::Fits
            && !account.is_somebody_next(self.bytes_max)
        {
            account.take(tenant, bytes);
            return Admission::Now(append);
        }
        let Some(left) = self.make_room_in_line(&mut account, tenant, bytes) else { return Admission::Refused(append) };
        account.enter(tenant, Waiting { bytes, deadline_ns, append });
        Admission::Later(left)
    }

    /// Sends those away who came last of whoever has most in line, if that leaves them as much as `tenant` then has. `None`,
    /// and nobody is sent away, if that does not make room.
    fn make_room_in_line(&self, account: &mut Account<T>, tenant: &Tenant, bytes: usize) -> Option<Vec<T>> {
        let places = (account.waiting + 1).saturating_sub(self.waiting_max);
        let over = account.waiting_bytes.saturating_add(bytes).saturating_sub(self.waiting_bytes_max);
        let room = if account.waiting == 0 { 0 } else { over };
        if places == 0 && room == 0 {
            return Some(Vec::new());
        }
        let own = account.shares.get(tenant).map_or((0, 0), |share| (share.waiting.len(), share.waiting_bytes));
        let size = |share: &Share<T>| if room > 0 { share.waiting_bytes } else { share.waiting.len() };
        let others = account.shares.iter().filter(|(other, _)| *other != tenant);
        let (largest, share) = others.max_by_key(|(_, share)| size(share))?;
        let (mut gone, mut freed) = (0, 0);
        for last in share.waiting.iter().rev() {
            if gone >= places && freed >= room {
                break;
            }
            (gone, freed) = (gone + 1, freed + last.bytes);
        }
        let is_enough = gone >= places && freed >= room;
        let is_fair = (places == 0 || share.waiting.len() - gone > own.0)
            && (room == 0 || share.waiting_bytes - freed >= own.1.saturating_add(bytes));
        let largest = (is_enough && is_fair).then(|| largest.clone())?;
        let away = (0..gone).filter_map(|_| account.leave(&largest, VecDeque::pop_back));
        Some(away.map(|waiting| waiting.append).collect())
    }

    /// Takes room without asking: for replay, which flushes by itself.
    pub(crate) fn take(&self, tenant: &Tenant, bytes: usize) {
        self.lock().take(tenant, bytes);
    }

    /// Gives room of a tenant back.
    pub(crate) fn release(&self, tenant: &Tenant, bytes: usize) {
        self.lock().release(tenant, bytes);
    }

    /// The appends that have room now, which is taken for them, and those that waited too long.
    pub(crate) fn wake(&self, now_ns: u64) -> (Vec<T>, Vec<T>) {
        let mut account = self.lock();
        let (mut admitted, mut expired) = (Vec::new(), Vec::new());
        let mut passed = 0;
        while passed < account.turns.len() {
            let Some(tenant) = account.turns.front().cloned() else { break };
            let first = account.shares.get(&tenant).and_then(|share| share.waiting.front());
            let Some((bytes, deadline_ns)) = first.map(|first| (first.bytes, first.deadline_ns)) else { break };
            match account.fit(self.bytes_max, &tenant, bytes) {
                Fit::Fits => {
                    // The turn is taken: its tenant goes to the end.
                    admitted.extend(account.leave(&tenant, VecDeque::pop_front).map(|waiting| waiting.append));
                    account.take(&tenant, bytes);
                    if account.turns.front() == Some(&tenant) {
                        account.turns.rotate_left(1);
                    }
                    passed = 0;
                }
                _ if deadline_ns <= now_ns => {
                    expired.extend(account.leave(&tenant, VecDeque::pop_front).map(|waiting| waiting.append));
                }
                Fit::Share => {
                    account.turns.rotate_left(1);
                    passed += 1;
                }
                Fit::Full => break,
            }
        }
        // Those behind the one that lacks room may have waited too long, too.
        for tenant in Vec::from(account.turns.clone()) {
            let is_late = |waiting: &mut VecDeque<Waiting<T>>| {
                waiting.front().is_some_and(|first| first.deadline_ns <= now_ns).then(|| waiting.pop_front()).flatten()
            };
            while let Some(waiting) = account.leave(&tenant, is_late) {
                expired.push(waiting.append);
            }
        }
        (admitted, expired)
    }

    /// All appends that wait, for a database that closes.
    pub(crate) fn drain(&self) -> Vec<T> {
        let mut account = self.lock();
        let mut all = Vec::new();
        while let Some(tenant) = account.turns.front().cloned() {
            all.extend(account.leave(&tenant, VecDeque::pop_front).map(|waiting| waiting.append));
        }
        all
    }

    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Lends room to other work, at most a quarter of all: until it is given back less is admitted. A batch that is
    /// alone gets in whatever is lent.
    pub(crate) fn lend(&self, bytes: usize) -> Lent<'_, T> {
        let bytes = bytes.min(self.bytes_max / 4);
        self.lock().lent += bytes;
        Lent { memory: self, bytes }
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

    fn one() -> Tenant {
        Tenant::new("one").unwrap()
    }

    fn other() -> Tenant {
        Tenant::new("other").unwrap()
    }

    #[test]
    fn room_is_given_in_order_and_never_beyond_the_bound() {
        let memory = Memory::new(100, 2, usize::MAX);
        assert!(matches!(memory.admit(&one(), 500, 10, 1), Admission::Now(1)));
        assert!(matches!(memory.admit(&one(), 1, 10, 2), Admission::Later(_)));
        assert!(matches!(memory.admit(&one(), 100, 10, 3), Admission::Later(_)));
        assert!(matches!(memory.admit(&one(), 1, 10, 4), Admission::Refused(4)));
        assert_eq!(memory.wake(9), (vec![], vec![]));
        memory.release(&one(), 450);
        assert_eq!(memory.wake(9), (vec![2], vec![]));
        assert_eq!(memory.wake(10), (vec![], vec![3]));
        assert_eq!((memory.used(), memory.waiting()), (51, 0));
    }

    #[test]
    fn room_that_is_lent_is_missing_until_it_is_back() {
        let memory = Memory::new(100, 10, usize::MAX);
        let lent = memory.lend(1_000);
        assert!(matches!(memory.admit(&one(), 500, 10, 1), Admission::Now(1)), "alone");
        memory.release(&one(), 450);
        assert!(matches!(memory.admit(&one(), 25, 10, 2), Admission::Now(2)));
        assert!(matches!(memory.admit(&one(), 1, 10, 3), Admission::Later(_)));
        drop(lent);
        assert_eq!(memory.wake(9), (vec![3], vec![]));
        assert_eq!(memory.used(), 76);
    }

    #[test]
    fn few_bytes_wait_however_few_appends_they_are() {
        let memory = Memory::new(100, 100, 50);
        assert!(matches!(memory.admit(&one(), 100, 10, 1), Admission::Now(1)));
        assert!(matches!(memory.admit(&one(), 80, 10, 2), Admission::Later(_)), "one longer one waits alone");
        assert!(matches!(memory.admit(&one(), 1, 10, 3), Admission::Refused(3)));
        assert_eq!(memory.wake(10), (vec![], vec![2]));
        assert!(matches!(memory.admit(&one(), 30, 20, 4), Admission::Later(_)));
        assert!(matches!(memory.admit(&one(), 20, 20, 5), Admission::Later(_)));
        assert!(matches!(memory.admit(&one(), 1, 20, 6), Admission::Refused(6)));
        assert_eq!(memory.drain(), vec![4, 5]);
        assert!(matches!(memory.admit(&one(), 50, 20, 7), Admission::Later(_)));
    }

    #[test]
    fn one_of_several_tenants_leaves_room_for_the_others() {
        let memory = Memory::new(900, 10, usize::MAX);
        assert!(matches!(memory.admit(&one(), 850, 10, 1), Admission::Now(1)), "alone it may have all");
        memory.release(&one(), 850);
        assert!(matches!(memory.admit(&other(), 10, 10, 2), Admission::Now(2)));
        for number in 3..11 {
            assert!(matches!(memory.admit(&one(), 98, 10, number), Admission::Now(_)), "{number}");
        }
        assert!(matches!(memory.admit(&one(), 98, 10, 11), Admission::Later(_)));
        // It waits for its own share, and nobody for it.
        assert!(matches!(memory.admit(&other(), 10, 10, 12), Admission::Now(12)));
        assert_eq!(memory.wake(9), (vec![], vec![]));
        memory.release(&one(), 196);
        assert_eq!(memory.wake(9), (vec![11], vec![]));
        memory.release(&other(), 20);
        memory.release(&one(), 686);
        assert!(memory.lock().shares.is_empty());
    }

    #[test]
    fn those_that_wait_take_turns_by_tenant() {
        let memory = Memory::new(100, 10, usize::MAX);
        assert!(matches!(memory.admit(&one(), 100, 10, 1), Admission::Now(1)));
        for number in 2..5 {
            assert!(matches!(memory.admit(&one(), 10, 10, number), Admission::Later(_)));
        }
        assert!(matches!(memory.admit(&other(), 60, 10, 5), Admission::Later(_)), "it could pass only if it fitted");
        memory.release(&one(), 30);
        // Then the other one's turn has come, and it is waited for.
        assert_eq!(memory.wake(9), (vec![2], vec![]));
        memory.release(&one(), 70);
        assert_eq!(memory.wake(9), (vec![5, 3, 4], vec![]));
        assert_eq!((memory.used(), memory.waiting()), (90, 0));
    }

    #[test]
    fn whoever_has_most_in_line_makes_room_for_those_who_have_less() {
        let memory = Memory::new(100, 4, 100);
        assert!(matches!(memory.admit(&one(), 100, 10, 1), Admission::Now(1)));
        for number in 2..6 {
            assert!(matches!(memory.admit(&one(), 20, 10, number), Admission::Later(_)));
        }
        assert!(matches!(memory.admit(&one(), 20, 10, 6), Admission::Refused(6)), "its own line is full");
        let Admission::Later(away) = memory.admit(&other(), 30, 10, 7) else { panic!("a place") };
        assert_eq!(away, vec![5], "the last that came");
        assert!(
            matches!(memory.admit(&other(), 60, 10, 8), Admission::Refused(8)),
            "it would have more than the first one"
        );
        assert_eq!(memory.wake(10), (vec![], vec![2, 3, 4, 7]));
        assert_eq!(memory.waiting(), 0);
    }
}
