//! Turns by tenant, without a server.

use super::*;
use futures_util::FutureExt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Turn, Full>> + 'a>>;

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

/// Enters the line, or runs.
fn enter<'a>(turns: &'a Arc<Turns>, tenant: &'a Tenant) -> Waiting<'a> {
    let mut waiting: Waiting<'a> = Box::pin(async move { turns.take(tenant).await });
    match poll(&mut waiting) {
        Poll::Ready(done) => Box::pin(async move { done }),
        Poll::Pending => waiting,
    }
}

fn poll(waiting: &mut Waiting<'_>) -> Poll<Result<Turn, Full>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn tenants_take_turns() {
    let (a, b, c) = (tenant("a"), tenant("b"), tenant("c"));
    let turns = Arc::new(Turns::new(1, 100, 0));
    let mut turn = turns.take(&a).now_or_never().unwrap().unwrap();
    let mut line: Vec<(&str, Waiting<'_>)> = Vec::new();
    for (name, tenant) in [("a1", &a), ("a2", &a), ("a3", &a), ("b1", &b), ("b2", &b), ("c1", &c)] {
        line.push((name, enter(&turns, tenant)));
    }
    assert_eq!((turns.running(), turns.waiting()), (1, 6));
    let mut order = Vec::new();
    while !line.is_empty() {
        drop(turn);
        let ready: Vec<(usize, Turn)> =
            line.iter_mut().enumerate().filter_map(|(at, (_, place))| Some((at, now(place)?))).collect();
        let [(at, next)] = <[_; 1]>::try_from(ready).unwrap();
        order.push(line.remove(at).0);
        turn = next;
    }
    assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    drop(turn);
    assert_eq!((turns.running(), turns.waiting()), (0, 0));
}

fn now(place: &mut Waiting<'_>) -> Option<Turn> {
    match poll(place) {
        Poll::Ready(turn) => Some(turn.unwrap()),
        Poll::Pending => None,
    }
}

#[test]
fn who_goes_leaves_no_turn_and_no_place_behind() {
    let names: Vec<Tenant> = ["a", "b", "c"].map(tenant).into();
    let turns = Arc::new(Turns::new(2, 50, 0));
    let mut random = 1_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut line: Vec<Waiting<'_>> = Vec::new();
    let mut running: Vec<Turn> = Vec::new();
    for _ in 0..20_000 {
        match next(4) {
            0 | 1 => line.push(enter(&turns, &names[next(3)])),
            // Who goes may have a turn that it has not seen yet.
            2 if !line.is_empty() => drop(line.swap_remove(next(line.len()))),
            _ => {
                if !running.is_empty() {
                    drop(running.swap_remove(next(running.len())));
                }
                line.retain_mut(|place| match poll(place) {
                    Poll::Ready(turn) => {
                        running.extend(turn);
                        false
                    }
                    Poll::Pending => true,
                });
            }
        }
        assert!(turns.running() <= 2 && turns.waiting() <= 50 && turns.waiting() <= line.len());
        assert!(turns.waiting() == 0 || turns.running() == 2, "somebody waits while there is room");
    }
    drop((line, running));
    assert_eq!((turns.running(), turns.waiting()), (0, 0));
    assert!(turns.lock().fresh.is_empty());
}

#[test]
fn a_full_line_has_room_for_those_who_have_less_in_it() {
    let (a, b) = (tenant("a"), tenant("b"));
    let turns = Arc::new(Turns::new(1, 4, 0));
    let _turn = turns.take(&a).now_or_never().unwrap().unwrap();
    let mut of_a: Vec<Waiting<'_>> = (0..4).map(|_| enter(&turns, &a)).collect();
    assert_eq!(turns.take(&a).now_or_never().unwrap().unwrap_err(), Full);
    let mut of_b: Vec<Waiting<'_>> = (0..2).map(|_| enter(&turns, &b)).collect();
    // The last of those who came first made room.
    for (at, place) in of_a.iter_mut().enumerate() {
        assert_eq!(matches!(poll(place), Poll::Ready(Err(Full))), at >= 2, "{at}");
    }
    assert!(of_b.iter_mut().all(|place| poll(place).is_pending()));
    assert_eq!(turns.waiting(), 4);
    assert_eq!(turns.take(&b).now_or_never().unwrap().unwrap_err(), Full);
}

#[test]
fn nobody_waits_where_nobody_may() {
    let a = tenant("a");
    let turns = Arc::new(Turns::new(0, 0, 0));
    let turn = turns.take(&a).now_or_never().unwrap().unwrap();
    assert_eq!(turns.take(&a).now_or_never().unwrap().unwrap_err(), Full);
    drop(turn);
    assert!(turns.take(&a).now_or_never().unwrap().is_ok());
}

/// Makes a turn as old as a long query's.
fn age(turn: &mut Turn) {
    turn.since = Instant::now().checked_sub(SLICE * 2).unwrap();
}

#[test]
fn long_ones_rest_and_leave_a_turn_to_those_that_are_not_long() {
    let (a, b) = (tenant("a"), tenant("b"));
    let turns = Arc::new(Turns::new(2, 100, 1));
    let take = || turns.take(&a).now_or_never().unwrap().unwrap();
    let (mut first, mut second) = (take(), take());
    // Not long, however long the machine lets this wait.
    first.since = Instant::now() + Duration::from_secs(3_600);
    let mut short = enter(&turns, &b);
    first.rest();
    assert!(now(&mut short).is_none(), "it is not long yet");
    age(&mut first);
    first.rest();
    assert!(now(&mut short).is_none(), "one long one may run");
    age(&mut second);
    let resting = std::thread::spawn(move || {
        second.rest();
        second
    });
    let short = poll_until(&mut short);
    assert_eq!((turns.running(), turns.resting()), (2, 1));
    // Its turn comes when the other long one rests, or ends.
    drop(short);
    assert_eq!(turns.resting(), 1, "the free turn is not for a second long one");
    drop(first);
    let second = resting.join().unwrap();
    assert!(second.is_long);
    drop(second);
    assert_eq!((turns.running(), turns.resting(), turns.lock().long), (0, 0, 0));
}

#[test]
fn where_one_runs_long_ones_and_others_alternate() {
    let (a, b) = (tenant("a"), tenant("b"));
    let turns = Arc::new(Turns::new(1, 100, 4));
    let mut long = turns.take(&a).now_or_never().unwrap().unwrap();
    let (mut one, mut other) = (enter(&turns, &b), enter(&turns, &b));
    age(&mut long);
    let resting = std::thread::spawn(move || {
        long.rest();
        long
    });
    let one = poll_until(&mut one);
    drop(one);
    let long = resting.join().unwrap();
    assert!(now(&mut other).is_none());
    drop(long);
    assert!(now(&mut other).is_some());
}

fn poll_until(place: &mut Waiting<'_>) -> Turn {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(turn) = now(place) {
            return turn;
        }
        assert!(Instant::now() < end, "no turn comes");
        std::thread::yield_now();
    }
}
