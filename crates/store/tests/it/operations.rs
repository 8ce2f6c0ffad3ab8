//! What people ask for: cancelling, hastening, redriving, purging, lists, summaries; and what goes by itself.

use triplane_core::asynchronous::{CallState, Destination, Failure, Final, Operation, State};
use triplane_store::calls::{Asked, CallQuery, Calls, NewCall, Scope};
use triplane_store::{Options, Sqlite, StoreError};

use crate::support::{
    LEASE, ME, NOW_MS, TempDir, call, end, id, lease, lease_by, lease_lane, named, ns, numbers, open, policy,
    rows, run,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn of_guest() -> Scope {
    Scope::Namespace(ns("guest"))
}

fn all() -> CallQuery {
    CallQuery { scope: Scope::All, state: None, target: None, since_ms: None, upto_ms: None }
}

async fn listed(calls: &dyn Calls, query: CallQuery) -> Vec<u128> {
    let views = calls.list(query, 0, 99).await.unwrap();
    views.iter().map(|view| view.id.bits()).collect()
}

#[tokio::test]
async fn a_cancelled_call_that_waits_is_due_first_and_never_sent() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let delayed = policy(&[("async-delay", "3600000")]);
    calls.accept(NewCall { policy: delayed, ..call(2) }).await.unwrap();
    assert_eq!(calls.cancel(of_guest(), id(2)).await.unwrap(), Asked::Done(None));
    assert_eq!(calls.cancel(of_guest(), id(2)).await.unwrap(), Asked::Done(None), "asked twice");
    let leased = lease(calls, 9).await;
    assert_eq!(numbers(&leased), [2, 1]);
    assert!(leased[0].cancel_asked);
    assert!(matches!(calls.running(leased[0].hold, id(2)).await, Err(StoreError::Conflict)));
    calls.finish(leased[0].hold, id(2), end(Final::Cancelled)).await.unwrap();
    assert_eq!(rows(calls).await, [0, 1, 0, 0, 0, 0, 1, 0]);
    let Asked::NotNow(why) = calls.cancel(of_guest(), id(2)).await.unwrap() else { panic!() };
    assert_eq!(why.to_string(), "the call is cancelled, only a call that waits or runs can be cancelled");
    stores.close().await;
}

#[tokio::test]
async fn a_cancelled_call_that_runs_is_its_owners_to_stop() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let held = lease(calls, 1).await.remove(0);
    calls.running(held.hold, id(1)).await.unwrap();
    assert_eq!(calls.cancel(Scope::All, id(1)).await.unwrap(), Asked::Done(Some(ME)));
    assert!(calls.get(Scope::All, id(1)).await.unwrap().unwrap().cancel_asked);
    calls.finish(held.hold, id(1), end(Final::Cancelled)).await.unwrap();
    assert_eq!(calls.payload(Scope::All, id(1)).await.unwrap(), None);
    stores.close().await;
}

#[tokio::test]
async fn nobody_reaches_a_call_of_another_namespace() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let other = || Scope::Namespace(ns("other"));
    assert_eq!(calls.cancel(other(), id(1)).await.unwrap(), Asked::Unknown);
    assert_eq!(calls.hasten(other(), id(1)).await.unwrap(), Asked::Unknown);
    assert_eq!(calls.redrive(other(), id(1), id(2), NOW_MS).await.unwrap(), Asked::Unknown);
    assert_eq!(calls.get(other(), id(1)).await.unwrap(), None);
    assert_eq!(calls.payload(other(), id(1)).await.unwrap(), None);
    assert_eq!(listed(calls, CallQuery { scope: other(), ..all() }).await, [0; 0]);
    assert!(calls.payload(of_guest(), id(1)).await.unwrap().is_some());
    stores.close().await;
}

#[tokio::test]
async fn a_hastened_call_does_not_wait_for_its_time() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let hold = lease(calls, 1).await[0].hold;
    let Asked::NotNow(_) = calls.hasten(of_guest(), id(1)).await.unwrap() else { panic!("it is leased") };
    calls.release(hold, id(1), NOW_MS + DAY_MS).await.unwrap();
    assert!(lease(calls, 1).await.is_empty());
    assert_eq!(calls.hasten(of_guest(), id(1)).await.unwrap(), Asked::Done(None));
    assert_eq!(numbers(&lease(calls, 1).await), [1]);
    stores.close().await;
}

#[tokio::test]
async fn a_dead_letter_is_redriven_once_as_a_new_call() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let Asked::NotNow(_) = calls.redrive(of_guest(), id(1), id(2), NOW_MS).await.unwrap() else { panic!() };
    run(calls, &call(1), Final::Dead).await;
    for _ in 0..2 {
        assert_eq!(calls.redrive(of_guest(), id(1), id(2), NOW_MS).await.unwrap(), Asked::Done(None));
    }
    assert_eq!(calls.redrive(of_guest(), id(1), id(3), NOW_MS).await.unwrap(), Asked::Redriven(id(2)));
    let dead = calls.get(Scope::All, id(1)).await.unwrap().unwrap();
    assert_eq!((dead.redriven_as, dead.ended_ms), (Some(id(2)), Some(NOW_MS)));
    let again = lease(calls, 9).await.remove(0);
    assert_eq!(again.call, NewCall { id: id(2), accepted_ms: NOW_MS, ..call(1) });
    assert_eq!((again.attempts, again.hold.number), (0, 1));
    calls.running(again.hold, id(2)).await.unwrap();
    calls.finish(again.hold, id(2), end(Final::Done)).await.unwrap();
    let done = calls.get(Scope::All, id(2)).await.unwrap().unwrap();
    assert_eq!((done.state, done.redrive_of), (State::Final(Final::Done), Some(id(1))), "it is kept");
    rows(calls).await;
    stores.close().await;
}

#[tokio::test]
async fn lists_are_by_state_target_and_time_in_the_order_of_the_accepts() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    let elsewhere = Destination::Action(named("elsewhere"));
    calls.accept(call(1)).await.unwrap();
    calls.accept(NewCall { target: elsewhere.clone(), ..call(2) }).await.unwrap();
    calls.accept(NewCall { namespace: ns("other"), ..call(3) }).await.unwrap();
    calls.accept(call(4)).await.unwrap();
    calls.accept(call(5)).await.unwrap();
    run(calls, &call(1), Final::Dead).await;
    let held = lease_lane(calls, &call(4), 1).await.remove(0);
    calls.running(held.hold, id(4)).await.unwrap();
    calls.retry(held.hold, id(4), Failure::TimedOut, NOW_MS + DAY_MS).await.unwrap();
    lease_lane(calls, &call(5), 1).await;

    assert_eq!(listed(calls, all()).await, [1, 2, 3, 4, 5]);
    let guest = || CallQuery { scope: of_guest(), ..all() };
    assert_eq!(listed(calls, guest()).await, [1, 2, 4, 5]);
    for (state, expected) in [
        (CallState::Accepted, vec![2]),
        (CallState::Leased, vec![5]),
        (CallState::Running, vec![]),
        (CallState::Retry, vec![4]),
        (CallState::Final(Final::Dead), vec![1]),
        (CallState::Final(Final::Done), vec![]),
    ] {
        assert_eq!(listed(calls, CallQuery { state: Some(state), ..guest() }).await, expected, "{state:?}");
    }
    assert_eq!(listed(calls, CallQuery { target: Some(elsewhere), ..guest() }).await, [2]);
    let some = CallQuery { since_ms: Some(1_002), upto_ms: Some(1_004), ..all() };
    assert_eq!(listed(calls, some).await, [2, 3, 4]);
    let some = CallQuery { since_ms: Some(1_002), upto_ms: Some(1_004), ..guest() };
    assert_eq!(listed(calls, some).await, [2, 4]);
    for (query, expected) in [(all(), [2, 3]), (guest(), [2, 4])] {
        let page = calls.list(query, 1, 2).await.unwrap();
        assert_eq!(page.iter().map(|view| view.id.bits()).collect::<Vec<_>>(), expected);
    }
    stores.close().await;
}

#[tokio::test]
async fn a_list_is_in_the_order_of_the_accepts_whatever_goes_first() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    for number in 1..=60_u8 {
        let target = Destination::Action(named(["a", "b", "c"][usize::from(number) % 3]));
        let settings = [("async-priority", ["0", "4", "9"][usize::from(number) / 2 % 3])];
        calls.accept(NewCall { target, policy: policy(&settings), ..call(number.into()) }).await.unwrap();
    }
    let guest = || CallQuery { scope: of_guest(), ..all() };
    for (skip, limit) in [(0_u8, 7_u8), (13, 20), (55, 20), (60, 1), (0, 0)] {
        let page = calls.list(guest(), skip.into(), limit.into()).await.unwrap();
        let expected: Vec<_> = (skip + 1..=60).take(limit.into()).map(u128::from).collect();
        assert_eq!(page.iter().map(|view| view.id.bits()).collect::<Vec<_>>(), expected);
    }
    let of_c = CallQuery { target: Some(Destination::Action(named("c"))), since_ms: Some(1_030), ..guest() };
    let page = calls.list(of_c, 1, 3).await.unwrap();
    assert_eq!(page.iter().map(|view| view.id.bits()).collect::<Vec<_>>(), [35, 38, 41]);
    stores.close().await;
}

#[tokio::test]
async fn a_summary_is_of_a_namespace_or_of_all() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    calls.accept(call(2)).await.unwrap();
    calls.accept(NewCall { namespace: ns("other"), ..call(3) }).await.unwrap();
    run(calls, &call(1), Final::Dead).await;
    let guest = calls.summary(of_guest()).await.unwrap();
    assert_eq!(guest.oldest_accepted_ms, Some(1_002));
    assert_eq!((guest.lanes, guest.bytes), (1, 14), "a dead letter keeps its payload");
    let of = |state| guest.rows.iter().find(|(other, _)| *other == state).map(|(_, rows)| *rows);
    assert_eq!(of(CallState::Accepted), Some(1));
    assert_eq!(of(CallState::Final(Final::Dead)), Some(1));
    let whole = calls.summary(Scope::All).await.unwrap();
    assert_eq!((whole.counters.accepted, whole.counters.waiting, whole.lanes), (3, 2, 2));
    stores.close().await;
}

#[tokio::test]
async fn purging_removes_what_is_over_and_no_counts() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    for number in 1..=4 {
        calls.accept(call(number)).await.unwrap();
    }
    for number in 1..=3 {
        run(calls, &call(number), Final::Dead).await;
    }
    let dead = || CallQuery { scope: of_guest(), state: Some(CallState::Final(Final::Dead)), ..all() };
    assert_eq!(calls.purge(dead(), Some(NOW_MS), 9).await.unwrap(), 0, "none ended before");
    assert_eq!(calls.purge(dead(), None, 2).await.unwrap(), 2);
    assert_eq!(listed(calls, all()).await, [3, 4]);
    assert_eq!(calls.purge(all(), None, 9).await.unwrap(), 1, "never one that waits");
    assert_eq!(rows(calls).await, [1, 0, 0, 0, 0, 0, 0, 0]);
    let summary = calls.summary(Scope::All).await.unwrap();
    assert_eq!((summary.counters.dead, summary.purged), (3, 3));
    stores.close().await;
}

#[tokio::test]
async fn dead_letters_and_other_rows_are_bounded_by_number_bytes_and_time() {
    let dir = TempDir::new();
    let options = Options {
        dead_per_namespace_max: 3,
        dead_bytes_per_namespace_max: 20,
        over_per_namespace_max: 1,
        ..Options::default()
    };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let calls = &*stores.calls;
    let short = |number| NewCall { payload: b"{}".to_vec(), ..call(number) };
    for number in 1..=5 {
        calls.accept(short(number)).await.unwrap();
        run(calls, &short(number), Final::Dead).await;
    }
    assert_eq!(listed(calls, all()).await, [3, 4, 5], "the oldest have gone");
    let long = NewCall { payload: vec![b' '; 17], ..call(6) };
    calls.accept(long.clone()).await.unwrap();
    run(calls, &long, Final::Dead).await;
    assert_eq!(listed(calls, all()).await, [5, 6]);
    for number in 7..=8 {
        calls.accept(NewCall { policy: policy(&[("async-attempts", "2")]), ..call(number) }).await.unwrap();
        run(calls, &call(number), Final::Done).await;
    }
    assert_eq!(listed(calls, all()).await, [5, 6, 8]);
    assert_eq!(calls.expire(NOW_MS + 7 * DAY_MS + 1).await.unwrap(), 1);
    assert_eq!(calls.expire(NOW_MS + 14 * DAY_MS).await.unwrap(), 0);
    assert_eq!(calls.expire(NOW_MS + 14 * DAY_MS + 1).await.unwrap(), 2);
    assert_eq!(rows(calls).await, [0; 8]);
    assert_eq!(calls.summary(Scope::All).await.unwrap().lanes, 0, "an empty lane goes too");
    stores.close().await;
}

#[tokio::test]
async fn every_wish_is_checked_as_the_core_says() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let held = lease_by(calls, LEASE, NOW_MS, 1).await.remove(0);
    let state = calls.get(Scope::All, id(1)).await.unwrap().unwrap().state;
    assert_eq!(state, State::Leased(LEASE));
    let why = Operation::Redrive.check(state).unwrap_err();
    assert_eq!(calls.redrive(Scope::All, id(1), id(2), NOW_MS).await.unwrap(), Asked::NotNow(why));
    calls.finish(held.hold, id(1), end(Final::Expired)).await.unwrap();
    let why = Operation::Retry.check(State::Final(Final::Expired)).unwrap_err();
    assert_eq!(calls.hasten(Scope::All, id(1)).await.unwrap(), Asked::NotNow(why));
    stores.close().await;
}
