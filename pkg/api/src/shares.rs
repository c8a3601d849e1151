//! What tenants have under way of appends, and the pace of one that has more than its share while others are there.
//!
//! Turns alone leave the machine to whoever sends most: its next body is always there, and what the body makes of work later
//! (the WAL, flushes, merges) comes before everybody's queries. So a tenant with more under way than there are cores for a second,
//! while others send or ask something, is decoded on threads of a low priority; and if these have to wait for a core, which says
//! that the machine has more to do than it can, it goes on at a pace that leaves others their part of it. What is measured there
//! is progress against wall time: Douceur and Bolosky, "Progress-based regulation of low-importance processes", SOSP 1999.
//! While a query of another tenant is under way it goes on at the slowest pace in any case: a query is worked on for longer than
//! a body is decoded, and waits for what reading and answering many short requests takes, too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use timberlog_types::Tenant;

/// So long others are taken to be there after they sent or asked something.
const THERE: Duration = Duration::from_secs(10);
/// A tenant has more than its share after it had more for so long: one whose requests pile up behind a flush or an fsync has not.
const FOR: Duration = Duration::from_secs(1);
/// A shorter break does not count: one fsync acknowledges all that are under way, and the next ones are on their way then.
const BREAK: Duration = Duration::from_millis(20);
/// So many tenants are kept before those that have nothing under way are forgotten.
const KEPT: usize = 1024;
/// Who waited for a core rests so many times as long,
const RESTS_PER_WAIT: u32 = 8;
/// but at most so many times as long as it worked: a sixth of all cores decodes for a tenant at least. That is some two fifths of
/// the machine, as decoding is less than half of what a body costs.
const RESTS_PER_WORK: u32 = 5;
/// What a request costs besides, however short it is: it is read, put into the WAL and answered.
const REQUEST: Duration = Duration::from_micros(100);
/// No request waits longer than this for its pace: clients that give up and come again would push it out for ever.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The pace follows the last few requests.
const SMOOTHING: u32 = 8;

/// What all tenants have under way.
#[derive(Debug)]
pub struct Shares {
    cores: u32,
    tenants: Mutex<Tenants>,
    beyond: AtomicU64,
}

#[derive(Debug, Default)]
struct Tenants {
    under_way: HashMap<Tenant, UnderWay>,
    /// When there are so many, those that have nothing under way go.
    cleaned_at: usize,
    /// How many questions each has under way.
    asking: HashMap<Tenant, usize>,
    /// The two that were there last, the last one first, and when.
    last: [Option<(Tenant, Instant)>; 2],
}

/// One tenant's.
#[derive(Debug, Default)]
struct UnderWay {
    requests: u32,
    /// Since when there are more of them than cores, breaks aside.
    since: Option<Instant>,
    /// Since when there are not.
    break_since: Option<Instant>,
    /// For so long one has had a core, and for so long it has waited for one, lately.
    worked: Duration,
    waited: Duration,
    next: Option<Instant>,
}

/// One request under way, until it is dropped.
#[derive(Debug)]
pub struct Request {
    shares: Arc<Shares>,
    tenant: Tenant,
}

/// One question under way, until it is dropped.
#[derive(Debug)]
pub struct Question {
    shares: Arc<Shares>,
    tenant: Tenant,
}

impl Shares {
    /// The shares of a machine with so many cores.
    pub fn new(cores: usize) -> Self {
        Self { cores: u32::try_from(cores).unwrap_or(u32::MAX).max(1), tenants: Mutex::default(), beyond: 0.into() }
    }

    /// A tenant sends something.
    pub fn enter(self: &Arc<Self>, tenant: &Tenant) -> Request {
        self.enter_at(tenant, Instant::now())
    }

    fn enter_at(self: &Arc<Self>, tenant: &Tenant, now: Instant) -> Request {
        let mut tenants = self.lock();
        tenants.notice(tenant, now);
        let under_way = tenants.under_way(tenant);
        under_way.requests += 1;
        if under_way.requests > self.cores {
            if under_way.has_paused(now) || under_way.since.is_none() {
                under_way.since = Some(now);
            }
            under_way.break_since = None;
        }
        Request { shares: Arc::clone(self), tenant: tenant.clone() }
    }

    /// A tenant has a question that is worked on.
    pub fn ask(self: &Arc<Self>, tenant: &Tenant) -> Question {
        *self.lock().asking.entry(tenant.clone()).or_default() += 1;
        Question { shares: Arc::clone(self), tenant: tenant.clone() }
    }

    /// A tenant is there.
    pub fn notice(&self, tenant: &Tenant) {
        self.lock().notice(tenant, Instant::now());
    }

    /// Requests so far that were beyond the share of their tenant.
    pub fn beyond(&self) -> u64 {
        self.beyond.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenants {
    fn under_way(&mut self, tenant: &Tenant) -> &mut UnderWay {
        if self.under_way.len() >= self.cleaned_at.max(KEPT) {
            self.under_way.retain(|_, under_way| under_way.requests > 0);
            self.cleaned_at = self.under_way.len() * 2;
        }
        self.under_way.entry(tenant.clone()).or_default()
    }

    fn notice(&mut self, tenant: &Tenant, now: Instant) {
        match &mut self.last {
            [Some((last, at)), _] if last == tenant => *at = now,
            last => {
                last.swap(0, 1);
                last[0] = Some((tenant.clone(), now));
            }
        }
    }

    /// One request of a tenant has ended.
    fn end(&mut self, tenant: &Tenant, cores: u32, now: Instant) {
        if let Some(under_way) = self.under_way.get_mut(tenant) {
            under_way.requests = under_way.requests.saturating_sub(1);
            if under_way.requests == cores {
                under_way.break_since = Some(now);
            }
        }
    }

    fn has_question_of_other(&self, tenant: &Tenant) -> bool {
        self.asking.len() > usize::from(self.asking.contains_key(tenant))
    }

    fn has_other(&self, tenant: &Tenant, now: Instant) -> bool {
        self.last.iter().flatten().any(|(other, at)| other != tenant && now.saturating_duration_since(*at) < THERE)
    }
}

impl Request {
    /// Whether the tenant has more than its share, and when this one may go on then.
    pub fn beyond_share(&self) -> Option<Instant> {
        self.beyond_share_at(Instant::now())
    }

    fn beyond_share_at(&self, now: Instant) -> Option<Instant> {
        let mut tenants = self.shares.lock();
        if !tenants.has_other(&self.tenant, now) {
            return None;
        }
        let is_waited_for = tenants.has_question_of_other(&self.tenant);
        let under_way = tenants.under_way.get_mut(&self.tenant)?;
        if under_way.has_paused(now) || now.saturating_duration_since(under_way.since?) < FOR {
            return None;
        }
        let at = under_way.next.map_or(now, |next| next.clamp(now, now + WAIT_MAX));
        self.shares.beyond.fetch_add(1, Relaxed);
        under_way.next = Some(at + under_way.each(is_waited_for) / self.shares.cores);
        Some(at)
    }

    /// One beyond its share was decoded: for so long it had a core, and for so long it waited for one.
    pub fn took(&self, worked: Duration, waited: Duration) {
        let mut tenants = self.shares.lock();
        if let Some(under_way) = tenants.under_way.get_mut(&self.tenant) {
            let smooth = |mean: Duration, last: Duration| (mean * (SMOOTHING - 1) + last) / SMOOTHING;
            under_way.worked = smooth(under_way.worked, worked + REQUEST);
            under_way.waited = smooth(under_way.waited, waited);
        }
    }
}

impl UnderWay {
    fn has_paused(&self, now: Instant) -> bool {
        self.break_since.is_some_and(|at| now.saturating_duration_since(at) > BREAK)
    }

    /// How much of a core's time one request is to take, rests included.
    fn each(&self, is_waited_for: bool) -> Duration {
        let most = self.worked * RESTS_PER_WORK;
        self.worked + if is_waited_for { most } else { most.min(self.waited * RESTS_PER_WAIT) }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.shares.lock().end(&self.tenant, self.shares.cores, Instant::now());
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut tenants = self.shares.lock();
        if let Some(questions) = tenants.asking.get_mut(&self.tenant) {
            *questions = questions.saturating_sub(1);
            if *questions == 0 {
                tenants.asking.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    fn requests(shares: &Arc<Shares>, name: &str, count: usize, now: Instant) -> Vec<Request> {
        (0..count).map(|_| shares.enter_at(&tenant(name), now)).collect()
    }

    #[test]
    fn alone_a_tenant_may_have_all() {
        let (shares, now) = (Arc::new(Shares::new(2)), Instant::now());
        let all = requests(&shares, "a", 100, now);
        assert!(all.iter().all(|request| request.beyond_share_at(now + FOR).is_none()));
        assert_eq!(shares.beyond(), 0);
    }

    #[test]
    fn beside_another_one_it_has_its_share() {
        let (shares, now) = (Arc::new(Shares::new(2)), Instant::now());
        let (a, b) = (requests(&shares, "a", 3, now), requests(&shares, "b", 2, now));
        assert!(a.iter().all(|request| request.beyond_share_at(now + FOR - MS).is_none()));
        assert!(a.iter().all(|request| request.beyond_share_at(now + FOR).is_some()));
        assert!(b.iter().all(|request| request.beyond_share_at(now + FOR).is_none()));
        assert_eq!(shares.beyond(), 3);
    }

    #[test]
    fn the_time_begins_anew_after_a_break() {
        let (shares, now) = (Arc::new(Shares::new(2)), Instant::now());
        shares.lock().notice(&tenant("other"), now);
        let all = requests(&shares, "a", 9, now);
        let end = |at| (0..9).for_each(|_| shares.lock().end(&tenant("a"), 2, at));
        let is_beyond = |at: Instant| all[0].beyond_share_at(at).is_some();
        assert!(is_beyond(now + FOR));
        // One fsync acknowledges all, and as many come again.
        end(now + FOR);
        let more = requests(&shares, "a", 9, now + FOR + BREAK);
        assert!(is_beyond(now + FOR + BREAK));
        let later = now + FOR * 2;
        end(later);
        assert!(is_beyond(later));
        assert!(!is_beyond(later + BREAK + MS));
        let again = requests(&shares, "a", 9, later + BREAK + MS);
        assert!(!is_beyond(later + FOR));
        assert!(is_beyond(later + BREAK + MS + FOR));
        drop((more, again));
    }

    #[test]
    fn tenants_that_are_gone_are_forgotten() {
        let (shares, now) = (Arc::new(Shares::new(2)), Instant::now());
        let stays = shares.enter_at(&tenant("stays"), now);
        for number in 0..10 * KEPT {
            drop(shares.enter_at(&tenant(&format!("goes-{number}")), now));
        }
        assert!(shares.lock().under_way.len() <= KEPT);
        assert_eq!(shares.lock().under_way[&stays.tenant].requests, 1);
    }

    #[test]
    fn who_asks_is_there_too_and_after_a_time_no_more() {
        let (shares, now) = (Arc::new(Shares::new(1)), Instant::now());
        let a = requests(&shares, "a", 2, now);
        shares.lock().notice(&tenant("b"), now);
        // The other one stays known however often this one comes.
        let more = requests(&shares, "a", 5, now);
        assert!(a[0].beyond_share_at(now + FOR).is_some());
        assert!(more[0].beyond_share_at(now + THERE).is_none());
    }

    /// A tenant on so many cores that has been beyond its share for long enough now.
    fn flood(cores: usize) -> (Arc<Shares>, Vec<Request>, Instant) {
        let (shares, now) = (Arc::new(Shares::new(cores)), Instant::now());
        let flood = requests(&shares, "flood", 10, now);
        shares.lock().notice(&tenant("other"), now);
        (shares, flood, now + FOR)
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (_shares, flood, now) = flood(1);
        flood[0].took(WAIT_MAX, Duration::ZERO);
        let at = |request: &Request| request.beyond_share_at(now).unwrap() - now;
        let longest = flood.iter().cycle().take(100).map(at).max();
        assert_eq!(longest, Some(WAIT_MAX));
        // Nor does whoever comes later.
        let later = flood[0].beyond_share_at(now + WAIT_MAX * 2).unwrap();
        assert_eq!(later - now, WAIT_MAX * 2);
    }

    /// From one to the next, for a tenant on two cores whose requests take so long.
    fn pace(worked: Duration, waited: Duration) -> Duration {
        let (_shares, flood, now) = flood(2);
        flood.iter().cycle().take(200).for_each(|request| request.took(worked, waited));
        let at: Vec<_> = flood.iter().map(|request| request.beyond_share_at(now).unwrap() - now).collect();
        assert_eq!(at[0], Duration::ZERO);
        at[9] / 9
    }

    #[test]
    fn it_goes_on_as_fast_as_all_cores_do_until_it_has_to_wait_for_one() {
        let near = |pace: Duration, expected: Duration| {
            assert!(pace.abs_diff(expected) < expected / 50, "{pace:?}, expected {expected:?}");
        };
        let worked = MS * 2;
        let all = worked + REQUEST;
        near(pace(worked, Duration::ZERO), all / 2);
        near(pace(worked, MS / 4), (all + MS * 2) / 2);
        // However long it has to wait, others have no more than five times as much.
        near(pace(worked, MS * 50), all * 6 / 2);
        near(pace(Duration::ZERO, MS * 50), REQUEST * 6 / 2);
    }

    #[test]
    fn while_others_have_a_question_it_goes_on_at_the_slowest_pace() {
        let (shares, flood, now) = flood(1);
        let until_next = |at: Instant| {
            let next = flood[0].beyond_share_at(at).unwrap() - at;
            assert_eq!(next, Duration::ZERO);
            flood[1].beyond_share_at(at).unwrap() - at
        };
        flood.iter().cycle().take(200).for_each(|request| request.took(MS, Duration::ZERO));
        let alone = until_next(now);
        let own = shares.ask(&tenant("flood"));
        assert_eq!(until_next(now + MS * 100), alone);
        let others = [(); 2].map(|()| shares.ask(&tenant("other")));
        assert_eq!(until_next(now + MS * 200), alone * (1 + RESTS_PER_WORK));
        let [one, another] = others;
        drop(one);
        assert_eq!(until_next(now + MS * 300), alone * (1 + RESTS_PER_WORK));
        drop(another);
        assert_eq!(until_next(now + MS * 400), alone);
        drop(own);
        assert!(shares.lock().asking.is_empty());
    }
}
