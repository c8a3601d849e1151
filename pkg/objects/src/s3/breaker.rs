//! The circuit breaker: a store that failed often in a row is left alone, then probed by one request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lets requests through, or not.
pub(super) struct Breaker {
    failures_max: u32,
    pause_ns: u64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// While open: when the next request may probe. A probe moves it on, so that one that never
    /// reports does not keep the store shut.
    next_probe_ns: Option<u64>,
    opened: u64,
}

/// It is open: so long nobody asks the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub wait: Duration,
    pub failures: u32,
}

impl Breaker {
    pub fn new(failures_max: u32, pause: Duration) -> Self {
        let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        Self { failures_max, pause_ns, state: Mutex::new(State { failures: 0, next_probe_ns: None, opened: 0 }) }
    }

    /// Asks whether a try may begin; one that may must be reported.
    pub fn admit(&self, now_ns: u64) -> Result<(), Refused> {
        let mut state = self.state();
        match state.next_probe_ns {
            Some(probe_ns) if now_ns < probe_ns => {
                Err(Refused { wait: Duration::from_nanos(probe_ns - now_ns), failures: state.failures })
            }
            Some(_) => {
                state.next_probe_ns = Some(now_ns.saturating_add(self.pause_ns));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The store answered, whatever it said.
    pub fn succeeded(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.next_probe_ns = None;
    }

    /// The store did not answer, or could not do what it should.
    pub fn failed(&self, now_ns: u64) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.failures_max {
            state.opened += u64::from(state.next_probe_ns.is_none());
            state.next_probe_ns = Some(now_ns.saturating_add(self.pause_ns));
        }
    }

    /// Whether it is open, and how often it opened.
    pub fn figures(&self) -> (bool, u64) {
        let state = self.state();
        (state.next_probe_ns.is_some(), state.opened)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_one_probe() {
        let breaker = Breaker::new(3, Duration::from_nanos(100));
        for now in 0..2 {
            breaker.failed(now);
        }
        breaker.succeeded();
        for now in 0..2 {
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now);
        }
        assert_eq!(breaker.figures(), (false, 0));
        breaker.failed(10);
        assert_eq!(breaker.figures(), (true, 1));
        assert_eq!(breaker.admit(60), Err(Refused { wait: Duration::from_nanos(50), failures: 3 }));
        assert_eq!(breaker.admit(110), Ok(()), "one may probe");
        assert!(breaker.admit(120).is_err(), "and no other one");
        breaker.failed(130);
        assert!(breaker.admit(220).is_err());
        assert_eq!(breaker.admit(230), Ok(()));
        assert_eq!(breaker.admit(330), Ok(()), "a probe that never reports is replaced");
        breaker.succeeded();
        assert_eq!((breaker.admit(331), breaker.admit(331)), (Ok(()), Ok(())));
        assert_eq!(breaker.figures(), (false, 1));
    }
}
