//! What policies ask of the queue: times, priorities, partitions, idempotency keys, destinations.

use futures_util::future::join_all;
use triplane_core::asynchronous::{Final, IdempotencyKey, KEY_KEPT_MS};
use triplane_store::calls::{Accepted, Calls, Idempotency, NewCall, Scope};
use triplane_store::{Options, Sqlite, StoreError};

use crate::support::{
    LEASE, NOW_MS, TempDir, call, end, id, lease, lease_by, ns, numbers, open, policy, rows, run,
};

#[tokio::test]
async fn a_call_with_a_delay_is_not_leased_before_its_time() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    let delayed = policy(&[("async-delay", "60000")]);
    calls.accept(NewCall { policy: delayed, ..call(1) }).await.unwrap();
    assert_eq!(rows(calls).await, [1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(lease_by(calls, LEASE, 61_000, 9).await.is_empty());
    assert_eq!(numbers(&lease_by(calls, LEASE, 61_001, 9).await), [1]);
    stores.close().await;
}

#[tokio::test]
async fn a_higher_priority_goes_first_and_the_older_of_equal_ones() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    for (number, priority) in [(1, "4"), (2, "9"), (3, "0"), (4, "9"), (5, "4")] {
        let policy = policy(&[("async-priority", priority)]);
        calls.accept(NewCall { policy, ..call(number) }).await.unwrap();
    }
    assert_eq!(numbers(&lease(calls, 9).await), [2, 4, 1, 5, 3]);
    stores.close().await;
}

fn ordered(number: u64, partition: &str) -> NewCall {
    NewCall { partition: Some(partition.into()), ..call(number) }
}

#[tokio::test]
async fn calls_of_a_partition_go_one_at_a_time_in_the_order_of_their_accepts() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    for accepted in join_all((1..=3).map(|number| calls.accept(ordered(number, "a")))).await {
        accepted.unwrap();
    }
    calls.accept(ordered(4, "b")).await.unwrap();
    calls.accept(NewCall { namespace: ns("other"), ..ordered(5, "a") }).await.unwrap();
    let mut first = numbers(&lease(calls, 9).await);
    first.sort_unstable();
    assert_eq!(first, [1, 4, 5], "another key or namespace does not wait");
    stores.close().await;
}

#[tokio::test]
async fn the_next_of_a_partition_goes_when_the_one_before_is_over_not_when_it_is_retried() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    for number in 1..=3 {
        calls.accept(ordered(number, "a")).await.unwrap();
    }
    let hold = lease(calls, 9).await[0].hold;
    calls.running(hold, id(1)).await.unwrap();
    calls.retry(hold, id(1), triplane_core::asynchronous::Failure::Lost, NOW_MS + 10).await.unwrap();
    assert!(lease(calls, 9).await.is_empty());
    let again = lease_by(calls, LEASE, NOW_MS + 10, 9).await;
    assert_eq!(numbers(&again), [1]);
    calls.running(again[0].hold, id(1)).await.unwrap();
    calls.finish(again[0].hold, id(1), end(Final::Dead)).await.unwrap();
    assert_eq!(numbers(&lease(calls, 9).await), [2]);
    stores.close().await;
}

#[tokio::test]
async fn a_call_that_is_cancelled_behind_another_leaves_the_line_and_does_not_let_the_next_go() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    for number in 1..=3 {
        calls.accept(ordered(number, "a")).await.unwrap();
    }
    let first = lease(calls, 9).await.remove(0);
    calls.cancel(Scope::All, id(2)).await.unwrap();
    let cancelled = lease(calls, 9).await.remove(0);
    assert_eq!((cancelled.call.id, cancelled.cancel_asked), (id(2), true));
    calls.finish(cancelled.hold, id(2), end(Final::Cancelled)).await.unwrap();
    assert!(lease(calls, 9).await.is_empty(), "the first still goes before the third");
    calls.finish(first.hold, id(1), end(Final::Dead)).await.unwrap();
    assert_eq!(numbers(&lease(calls, 9).await), [3]);
    stores.close().await;
}

fn keyed(number: u64, key: &str) -> NewCall {
    let idempotency = Idempotency { key: IdempotencyKey::parse(key).unwrap(), fingerprint: [1; 32] };
    NewCall { idempotency: Some(idempotency), ..call(number) }
}

async fn accept(calls: &dyn Calls, call: NewCall) -> Accepted {
    calls.accept(call).await.unwrap()
}

#[tokio::test]
async fn a_call_with_the_key_of_an_earlier_one_is_that_one() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    assert_eq!(accept(calls, keyed(1, "k")).await, Accepted::Stored);
    assert_eq!(accept(calls, keyed(1, "k")).await, Accepted::Stored, "the same accept again");
    assert_eq!(accept(calls, keyed(2, "k")).await, Accepted::Before(id(1)));
    run(calls, &call(1), Final::Done).await;
    assert_eq!(accept(calls, keyed(3, "k")).await, Accepted::Before(id(1)), "when that is over, too");
    assert_eq!(accept(calls, keyed(4, "other")).await, Accepted::Stored);
    let elsewhere = NewCall { namespace: ns("other"), ..keyed(5, "k") };
    assert_eq!(accept(calls, elsewhere).await, Accepted::Stored);
    let mut misused = keyed(6, "k");
    misused.idempotency.as_mut().unwrap().fingerprint = [2; 32];
    assert_eq!(accept(calls, misused.clone()).await, Accepted::KeyReused);
    misused.accepted_ms = call(1).accepted_ms + KEY_KEPT_MS;
    assert_eq!(accept(calls, misused).await, Accepted::Stored, "a day later the key is free");
    assert_eq!(rows(calls).await, [3, 0, 0, 0, 0, 0, 0, 0]);
    stores.close().await;
}

#[tokio::test]
async fn two_calls_with_the_same_key_at_once_are_one() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let outcomes = join_all((0..8).map(|number| accept(&*stores.calls, keyed(number, "k")))).await;
    let stored = outcomes.iter().filter(|outcome| **outcome == Accepted::Stored).count();
    assert_eq!(stored, 1, "{outcomes:?}");
    stores.close().await;
}

#[tokio::test]
async fn keys_are_bounded_and_go_after_a_day() {
    let dir = TempDir::new();
    let options = Options { keys_per_namespace_max: 2, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let calls = &*stores.calls;
    for number in 1..=3 {
        accept(calls, keyed(number, &format!("k{number}"))).await;
    }
    assert_eq!(accept(calls, keyed(4, "k1")).await, Accepted::Stored, "the oldest has gone");
    assert_eq!(accept(calls, keyed(5, "k3")).await, Accepted::Before(id(3)));
    let is_over_ms = 1_004 + KEY_KEPT_MS;
    assert_eq!(calls.expire(is_over_ms - 1).await.unwrap(), 1);
    assert_eq!(calls.expire(is_over_ms).await.unwrap(), 1);
    assert_eq!(accept(calls, keyed(6, "k3")).await, Accepted::Stored);
    stores.close().await;
}

#[tokio::test]
async fn a_refused_call_keeps_no_key() {
    let dir = TempDir::new();
    let options = Options { calls_max: 1, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let calls = &*stores.calls;
    accept(calls, call(1)).await;
    assert!(matches!(calls.accept(keyed(2, "k")).await, Err(StoreError::Full(_))));
    run(calls, &call(1), Final::Done).await;
    assert_eq!(accept(calls, keyed(3, "k")).await, Accepted::Stored);
    stores.close().await;
}

#[tokio::test]
async fn a_destination_is_accepted_with_the_end_in_the_place_that_was_kept_for_it() {
    let dir = TempDir::new();
    let options = Options { calls_max: 2, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let calls = &*stores.calls;
    let told = NewCall { policy: policy(&[("async-on-success", "/_/told")]), ..call(1) };
    accept(calls, told).await;
    assert!(matches!(calls.accept(call(2)).await, Err(StoreError::Full(_))), "a place is kept");
    let held = lease(calls, 1).await.remove(0);
    calls.running(held.hold, id(1)).await.unwrap();
    let destination = NewCall { cause: Some(id(1)), hops: 1, ..call(3) };
    let mut over = end(Final::Done);
    over.destinations.push(destination.clone());
    calls.finish(held.hold, id(1), over.clone()).await.unwrap();
    assert!(matches!(calls.finish(held.hold, id(1), over).await, Err(StoreError::Conflict)));
    let counters = calls.summary(Scope::All).await.unwrap().counters;
    assert_eq!((counters.accepted, counters.done, counters.waiting), (2, 1, 1));
    assert_eq!(lease(calls, 9).await[0].call, destination);
    stores.close().await;
}
