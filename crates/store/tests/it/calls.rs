//! The queue: transitions, holds, bounds.

use futures_util::future::join_all;
use triplane_core::asynchronous::{CallState, Destination, Failure, Final, Hold, Lease, Owner, Stop};
use triplane_store::calls::{Accepted, CallQuery, NewCall, Scope};
use triplane_store::{Options, Sqlite, StoreError};

use crate::support::{
    LEASE, ME, NOW_MS, TempDir, call, end, id, lease, lease_by, lease_lane, named, ns, numbers, open, policy,
    raw, rows, run,
};

fn is_refused<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Conflict))
}

#[tokio::test]
async fn a_call_is_accepted_leased_run_and_done() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    calls.accept(call(2)).await.unwrap();
    assert_eq!(rows(calls).await, [2, 0, 0, 0, 0, 0, 0, 0]);
    let leased = lease(calls, 10).await;
    assert_eq!(numbers(&leased), [1, 2]);
    assert_eq!(rows(calls).await, [0, 2, 0, 0, 0, 0, 0, 0]);
    calls.running(leased[0].hold, id(1)).await.unwrap();
    assert_eq!(rows(calls).await, [0, 1, 1, 0, 0, 0, 0, 0]);
    calls.finish(leased[0].hold, id(1), end(Final::Done)).await.unwrap();
    assert_eq!(rows(calls).await, [0, 1, 0, 0, 0, 0, 0, 0], "its record says how it ended");
    assert_eq!(calls.get(Scope::All, id(1)).await.unwrap(), None);
    assert_eq!(calls.summary(Scope::All).await.unwrap().counters.done, 1);
    stores.close().await;
}

#[tokio::test]
async fn a_call_is_leased_as_it_was_accepted() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let accepted = NewCall {
        traceparent: Some("00-trace".into()),
        partition: Some("orders".into()),
        payload: vec![0, 159, 146, 150],
        target: Destination::Callback("https://example.com/hook?a=b".into()),
        policy: crate::support::policy(&[("async-attempts", "3"), ("async-on-failure", "/_/report")]),
        cause: Some(id(77)),
        hops: 3,
        ..call(1)
    };
    stores.calls.accept(accepted.clone()).await.unwrap();
    stores.close().await;
    let stores = open(dir.path()).await;
    let owner = Owner(u64::MAX);
    let leased = lease_by(&*stores.calls, Lease { owner, ..LEASE }, NOW_MS, 1).await.remove(0);
    assert_eq!(leased.call, accepted);
    assert_eq!(leased.hold, Hold { owner, number: 1 });
    stores.calls.running(leased.hold, id(1)).await.unwrap();
    stores.close().await;
}

#[tokio::test]
async fn a_call_with_nothing_special_is_leased_as_it_was_accepted_and_due_since() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let traced = NewCall { traceparent: Some("00-trace".into()), payload: vec![7; 5_000], ..call(2) };
    for accepted in [call(1), traced] {
        stores.calls.accept(accepted.clone()).await.unwrap();
        let view = stores.calls.get(Scope::All, accepted.id).await.unwrap().unwrap();
        assert_eq!((view.due_ms, view.priority, view.attempts_max), (Some(accepted.accepted_ms), 4, 1));
        let leased = lease(&*stores.calls, 1).await.remove(0);
        assert_eq!(leased.call, accepted);
        assert_eq!((leased.hold.number, leased.attempts, leased.cancel_asked), (1, 0, false));
    }
    stores.close().await;
}

#[tokio::test]
async fn a_call_is_leased_to_one_of_many_dispatchers() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    for accepted in join_all((0..100).map(|number| stores.calls.accept(call(number)))).await {
        accepted.unwrap();
    }
    let leases = (0..20).map(|owner| {
        let lease = Lease { owner: Owner(owner), ..LEASE };
        lease_by(&*stores.calls, lease, NOW_MS, 7)
    });
    let leases = join_all(leases).await;
    let mut leased: Vec<u128> = leases.iter().flat_map(|lease| numbers(lease)).collect();
    leased.sort_unstable();
    assert_eq!(leased, (0..100).collect::<Vec<_>>());
    stores.close().await;
}

#[tokio::test]
async fn who_does_not_hold_a_call_changes_nothing() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let hold = Hold { owner: ME, number: 1 };
    assert!(is_refused(&calls.running(hold, id(1)).await), "nobody leased it");
    assert_eq!(lease(calls, 1).await[0].hold, hold);
    let other = Hold { owner: Owner(8), number: 1 };
    let earlier = Hold { owner: ME, number: 0 };
    for wrong in [other, earlier] {
        assert!(is_refused(&calls.running(wrong, id(1)).await));
        assert!(is_refused(&calls.release(wrong, id(1), 0).await));
        assert!(is_refused(&calls.retry(wrong, id(1), Failure::TimedOut, 0).await));
        assert!(is_refused(&calls.finish(wrong, id(1), end(Final::Dead)).await));
    }
    assert!(is_refused(&calls.finish(hold, id(1), end(Final::Done)).await), "it was not sent");
    calls.running(hold, id(1)).await.unwrap();
    assert!(is_refused(&calls.running(hold, id(1)).await), "it runs already");
    assert!(is_refused(&calls.finish(hold, id(1), end(Final::Expired)).await), "it was sent");
    assert!(is_refused(&calls.finish(hold, id(1), end(Final::Cancelled)).await), "nobody asked");
    assert!(lease(calls, 9).await.is_empty());
    assert_eq!(rows(calls).await, [0, 0, 1, 0, 0, 0, 0, 0]);
    stores.close().await;
}

#[tokio::test]
async fn a_released_call_waits_for_its_time_and_counts_no_attempt() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let hold = lease(calls, 1).await[0].hold;
    calls.running(hold, id(1)).await.unwrap();
    calls.release(hold, id(1), NOW_MS + 10).await.unwrap();
    assert!(lease_by(calls, LEASE, NOW_MS + 9, 1).await.is_empty());
    let again = lease_by(calls, LEASE, NOW_MS + 10, 1).await.remove(0);
    assert_eq!((again.hold.number, again.attempts), (2, 0));
    assert!(is_refused(&calls.running(hold, id(1)).await), "the first hold is over");
    stores.close().await;
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_in_its_time() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let hold = lease(calls, 1).await[0].hold;
    calls.running(hold, id(1)).await.unwrap();
    calls.retry(hold, id(1), Failure::TimedOut, NOW_MS + 10).await.unwrap();
    assert_eq!(rows(calls).await, [0, 0, 0, 1, 0, 0, 0, 0]);
    let view = calls.get(Scope::All, id(1)).await.unwrap().unwrap();
    assert_eq!((view.due_ms, view.last_failure), (Some(NOW_MS + 10), Some(Failure::TimedOut)));
    let again = lease_by(calls, LEASE, NOW_MS + 10, 1).await.remove(0);
    assert_eq!((again.hold.number, again.attempts), (2, 1));
    assert_eq!(again.last_failure, Some(Failure::TimedOut));
    stores.close().await;
}

#[tokio::test]
async fn renewing_tells_what_to_stop() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    for number in 1..=3 {
        calls.accept(call(number)).await.unwrap();
    }
    lease(calls, 3).await;
    calls.cancel(Scope::All, id(2)).await.unwrap();
    let later = Lease { until_ms: 90_000, ..LEASE };
    let stops = calls.renew(later, vec![(id(1), 1), (id(2), 1), (id(3), 2), (id(4), 1)]).await.unwrap();
    assert_eq!(stops, [Stop::Cancelled(id(2)), Stop::NotHeld(id(3)), Stop::NotHeld(id(4))]);
    assert!(calls.adopt(later, 60_000, vec![ME], 9).await.unwrap().is_empty());
    assert_eq!(rows(calls).await[1], 3, "none has lapsed");
    calls.adopt(later, 60_001, vec![ME], 9).await.unwrap();
    assert_eq!(rows(calls).await[1], 2, "the one that was not renewed has");
    stores.close().await;
}

#[tokio::test]
async fn what_a_dead_owner_held_goes_back_or_is_adopted() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    for number in 1..=4 {
        calls.accept(call(number)).await.unwrap();
    }
    for held in lease(calls, 4).await.iter().skip(1) {
        calls.running(held.hold, held.call.id).await.unwrap();
    }
    stores.close().await;
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    let heir = Lease { owner: Owner(8), ..LEASE };
    let adopted = calls.adopt(heir, NOW_MS, vec![heir.owner], 2).await.unwrap();
    assert_eq!(numbers(&adopted), [2, 3], "as many as were asked for");
    assert_eq!(adopted[0].hold, Hold { owner: heir.owner, number: 2 });
    assert_eq!((adopted[0].attempts, &adopted[0].call), (1, &call(2)));
    assert_eq!(rows(calls).await, [1, 0, 3, 0, 0, 0, 0, 0], "what was not sent is back in the line");
    assert!(is_refused(&calls.finish(Hold { owner: ME, number: 1 }, id(2), end(Final::Done)).await));
    calls.finish(adopted[0].hold, id(2), end(Final::Done)).await.unwrap();
    assert_eq!(numbers(&calls.adopt(heir, NOW_MS, vec![heir.owner], 9).await.unwrap()), [4]);
    stores.close().await;
}

#[tokio::test]
async fn an_accept_that_is_repeated_changes_nothing() {
    let dir = TempDir::new();
    let options = Options { calls_max: 2, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let calls = &*stores.calls;
    for accepted in join_all([0, 0].map(|number| calls.accept(call(number)))).await {
        assert_eq!(accepted.unwrap(), Accepted::Stored);
    }
    calls.accept(NewCall { payload: b"other".to_vec(), ..call(0) }).await.unwrap();
    calls.accept(call(1)).await.unwrap();
    assert_eq!(rows(calls).await[0], 2);
    let leased = lease(calls, 9).await;
    assert_eq!(numbers(&leased), [0, 1], "and it does not count against the bound");
    assert_eq!(leased[0].call.payload, call(0).payload);
    stores.close().await;
}

#[tokio::test]
async fn the_queue_is_bounded_and_has_room_again_when_calls_are_done() {
    let dir = TempDir::new();
    let options = Options { calls_per_namespace_max: 2, calls_max: 3, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options.clone()).await.unwrap();
    let of = |number, namespace| NewCall { namespace: ns(namespace), ..call(number) };
    let outcomes = join_all((0..3).map(|number| stores.calls.accept(call(number)))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2, "the namespace has two");
    assert!(matches!(outcomes[2], Err(StoreError::Full(_))));
    stores.calls.accept(of(10, "other")).await.unwrap();
    assert!(matches!(stores.calls.accept(of(11, "third")).await, Err(StoreError::Full(_))), "all have three");
    stores.close().await;

    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    assert!(matches!(stores.calls.accept(call(20)).await, Err(StoreError::Full(_))), "after a restart too");
    run(&*stores.calls, &call(0), Final::Done).await;
    stores.calls.accept(call(20)).await.unwrap();
    stores.close().await;
}

#[tokio::test]
async fn the_bytes_of_the_queue_are_bounded() {
    let dir = TempDir::new();
    let options = Options { calls_bytes_max: 100, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let of = |number, bytes| NewCall { payload: vec![b'x'; bytes], ..call(number) };
    stores.calls.accept(of(1, 60)).await.unwrap();
    assert!(matches!(stores.calls.accept(of(2, 41)).await, Err(StoreError::Full(_))));
    stores.calls.accept(of(3, 40)).await.unwrap();
    assert_eq!(stores.calls.summary(Scope::All).await.unwrap().bytes, 100);
    stores.close().await;
}

#[tokio::test]
async fn a_call_that_cannot_be_read_is_given_up_and_does_not_hold_up_the_others() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    let special = |number| NewCall { policy: policy(&[("async-attempts", "2")]), ..call(number) };
    for call in [special(1), call(2), special(3), special(4), call(5), special(6)] {
        calls.accept(call).await.unwrap();
    }
    let mut file = raw(&dir.join("queue.db")).await;
    for spoil in [
        "UPDATE calls SET policy = 'nonsense' WHERE place = 1",
        "UPDATE fresh SET transaction_id = CAST(x'ff' AS TEXT) WHERE place = 2",
        "UPDATE calls SET payload = NULL WHERE place = 3",
        "UPDATE calls SET transaction_id = CAST(x'ff' AS TEXT) WHERE place = 4",
    ] {
        sqlx::query(spoil).execute(&mut file).await.unwrap();
    }
    assert_eq!(numbers(&lease(calls, 9).await), [5, 6]);
    assert_eq!(rows(calls).await, [0, 2, 0, 0, 0, 4, 0, 0]);
    stores.close().await;
}

#[tokio::test]
async fn calls_that_came_back_and_new_ones_are_leased_and_listed_in_the_order_of_their_accepts() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    let urgent = NewCall { policy: policy(&[("async-priority", "7")]), ..call(5) };
    for call in [call(1), call(2), call(3), call(4), urgent, call(6)] {
        calls.accept(call).await.unwrap();
    }
    let held = lease(calls, 4).await;
    assert_eq!(numbers(&held), [5, 1, 2, 3], "the urgent one first");
    for held in &held[2..] {
        calls.release(held.hold, held.call.id, 0).await.unwrap();
    }
    let waiting = |scope| CallQuery {
        scope,
        state: Some(CallState::Accepted),
        target: None,
        since_ms: None,
        upto_ms: None,
    };
    for scope in [Scope::All, Scope::Namespace(ns("guest"))] {
        for (skip, limit, expected) in [(0, 9, vec![2, 3, 4, 6]), (1, 2, vec![3, 4]), (3, 9, vec![6])] {
            let page = calls.list(waiting(scope.clone()), skip, limit).await.unwrap();
            assert_eq!(page.iter().map(|call| call.id.bits()).collect::<Vec<_>>(), expected);
        }
    }
    assert_eq!(numbers(&lease(calls, 3).await), [2, 3, 4]);
    assert_eq!(numbers(&lease(calls, 3).await), [6]);
    stores.close().await;
}

#[tokio::test]
async fn lanes_are_apart_and_those_of_others_come_last() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    let of =
        |number: u64| NewCall { target: Destination::Action(named(&format!("a{number}"))), ..call(number) };
    for number in 0..40 {
        calls.accept(of(number)).await.unwrap();
    }
    let living = vec![ME, Owner(8)];
    let all = calls.lanes(ME, living.clone(), NOW_MS, 40).await.unwrap();
    assert_eq!(all.len(), 40);
    let mine = calls.lanes(ME, living.clone(), NOW_MS, 10).await.unwrap();
    let others = calls.lanes(Owner(8), living, NOW_MS, 10).await.unwrap();
    assert!(mine.iter().all(|lane| !others.contains(lane)), "each has its own first");
    assert_eq!(numbers(&lease_lane(calls, &of(5), 9).await), [5]);
    assert_eq!(calls.lanes(ME, vec![ME], NOW_MS, 99).await.unwrap().len(), 39);
    stores.close().await;
}

#[tokio::test]
async fn dispatchers_live_as_long_as_they_say_so() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let lease = |owner, until_ms| Lease { owner: Owner(owner), until_ms };
    assert_eq!(stores.calls.alive(lease(1, 100), 50).await.unwrap(), [Owner(1)]);
    let mut both = stores.calls.alive(lease(2, 200), 100).await.unwrap();
    both.sort_unstable();
    assert_eq!(both, [Owner(1), Owner(2)]);
    assert_eq!(stores.calls.alive(lease(2, 300), 101).await.unwrap(), [Owner(2)]);
    stores.close().await;
}

#[tokio::test]
async fn calls_of_the_first_schema_are_carried_over() {
    let dir = TempDir::new();
    let mut file = raw_new(&dir).await;
    let old = include_str!("../../migrations/queue/0001.sql");
    sqlx::raw_sql(old).execute(&mut file).await.unwrap();
    let rows_of_old = "PRAGMA application_id = 0x54525051; PRAGMA user_version = 1;
        INSERT INTO calls VALUES (1, x'00000000000000000000000000000001', 'guest', 'guest/hello', 0, NULL, NULL, 2, 500, 700, NULL,
                                  'tid-1', NULL, 7);
        INSERT INTO calls VALUES (2, x'00000000000000000000000000000002', 'guest', 'guest/p/a', 2, 3, 900, 1, 600, 600, NULL,
                                  'tid-2', 'trace', 2);
        INSERT INTO payloads VALUES (1, CAST('{\"n\":1}' AS BLOB)), (2, x'7b7d');";
    sqlx::raw_sql(rows_of_old).execute(&mut file).await.unwrap();
    sqlx::Connection::close(file).await.unwrap();

    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    assert_eq!(rows(calls).await, [1, 0, 1, 0, 0, 0, 0, 0]);
    assert!(lease_by(calls, LEASE, 699, 9).await.is_empty(), "it is not due yet");
    let leased = lease_by(calls, LEASE, 700, 9).await.remove(0);
    assert_eq!(leased.call, NewCall { accepted_ms: 500, ..call(1) });
    assert_eq!((leased.hold.number, leased.attempts), (3, 0));
    let adopted = calls.adopt(LEASE, NOW_MS, vec![ME], 9).await.unwrap().remove(0);
    assert_eq!((adopted.hold.number, adopted.attempts), (2, 1));
    assert_eq!(adopted.call.target.to_string(), "/guest/p/a");
    stores.close().await;
}

#[tokio::test]
async fn calls_and_counts_of_the_second_schema_are_carried_over() {
    let dir = TempDir::new();
    let mut file = raw_new(&dir).await;
    for old in
        [include_str!("../../migrations/queue/0001.sql"), include_str!("../../migrations/queue/0002.sql")]
    {
        sqlx::raw_sql(old).execute(&mut file).await.unwrap();
    }
    let rows_of_old = "PRAGMA application_id = 0x54525051; PRAGMA user_version = 2;
        INSERT INTO lanes VALUES (1, 'guest', '/guest/hello');
        INSERT INTO calls (place, id, lane, namespace, state, priority, leases, attempts, cancel, accepted_ms, due_ms, hops, places,
                           bytes, transaction_id, payload)
        VALUES (4, x'00000000000000000000000000000001', 1, 'guest', 0, 4, 0, 0, 0, 1001, 1001, 0, 1, 7, 'tid-1', CAST('{\"n\":1}' AS BLOB)),
               (6, x'00000000000000000000000000000002', 1, 'guest', 3, 4, 0, 0, 0, 1002, 49000, 0, 1, 7, 'tid-2', CAST('{\"n\":2}' AS BLOB));
        UPDATE totals SET accepted = 6, done = 4;";
    sqlx::raw_sql(rows_of_old).execute(&mut file).await.unwrap();
    sqlx::Connection::close(file).await.unwrap();

    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    assert_eq!(rows(calls).await, [2, 0, 0, 0, 0, 0, 0, 0]);
    calls.accept(call(3)).await.unwrap();
    assert_eq!(rows(calls).await, [3, 0, 0, 0, 0, 0, 0, 0]);
    let leased: Vec<_> = lease(calls, 9).await.into_iter().map(|held| held.call).collect();
    assert_eq!(leased, [call(1), call(2), call(3)]);
    assert_eq!(calls.summary(Scope::All).await.unwrap().counters.accepted, 7);
    stores.close().await;
}

#[tokio::test]
async fn what_was_ever_accepted_is_counted_over_restarts() {
    let dir = TempDir::new();
    for round in 1..=3 {
        let stores = open(dir.path()).await;
        let calls = &*stores.calls;
        for number in [round * 10, round * 10 + 1] {
            calls.accept(call(number)).await.unwrap();
            calls.accept(call(number)).await.unwrap();
        }
        // The last of all that are there goes, and leaves its place free.
        run(calls, &call(round * 10), Final::Done).await;
        run(calls, &call(round * 10 + 1), Final::Done).await;
        calls.accept(call(round * 10 + 2)).await.unwrap();
        stores.close().await;
        let stores = open(dir.path()).await;
        let calls = &*stores.calls;
        let counters = calls.summary(Scope::All).await.unwrap().counters;
        assert_eq!((counters.accepted, counters.drift()), (3 * round, 0));
        run(calls, &call(round * 10 + 2), Final::Done).await;
        stores.close().await;
    }
}

async fn raw_new(dir: &TempDir) -> sqlx::SqliteConnection {
    std::fs::write(dir.join("queue.db"), b"").unwrap();
    raw(&dir.join("queue.db")).await
}

#[tokio::test]
async fn calls_that_belong_together_are_accepted_all_or_none() {
    let dir = TempDir::new();
    let options = Options { calls_per_namespace_max: 3, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let calls = &*stores.calls;
    calls.accept_all(vec![call(1), call(2)]).await.unwrap();
    let beyond = calls.accept_all(vec![call(3), call(4)]).await;
    assert!(matches!(beyond, Err(StoreError::Full(_))), "{beyond:?}");
    assert_eq!(rows(calls).await[0], 2);
    calls.accept_all(vec![call(3)]).await.unwrap();
    calls.accept_all(Vec::new()).await.unwrap();
    assert_eq!(numbers(&lease(calls, 10).await), [1, 2, 3]);
    stores.close().await;
}

#[tokio::test]
async fn a_fire_that_is_repeated_accepts_what_is_there_already_once() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    let caused = |number| NewCall { cause: Some(id(9)), hops: 1, ..call(number) };
    calls.accept_all(vec![caused(1), caused(2)]).await.unwrap();
    run(calls, &caused(1), Final::Done).await;
    calls.accept_all(vec![caused(1), caused(2)]).await.unwrap();
    assert_eq!(numbers(&lease(calls, 10).await), [2], "the first was run, and left a row");
    stores.close().await;
}

#[tokio::test]
async fn what_is_written_down_of_a_call_comes_with_it_until_its_end() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    calls.accept(call(1)).await.unwrap();
    let held = lease(calls, 1).await.remove(0);
    assert_eq!(held.progress, None);
    calls.progress(held.hold, id(1), b"one".to_vec()).await.unwrap();
    calls.progress(held.hold, id(1), b"two".to_vec()).await.unwrap();
    let earlier = Hold { owner: ME, number: 0 };
    assert!(is_refused(&calls.progress(earlier, id(1), b"x".to_vec()).await));
    calls.running(held.hold, id(1)).await.unwrap();
    stores.close().await;

    let stores = open(dir.path()).await;
    let calls = &*stores.calls;
    let lease_of_other = Lease { owner: Owner(8), ..LEASE };
    let adopted = calls.adopt(lease_of_other, NOW_MS, vec![Owner(8)], 10).await.unwrap().remove(0);
    assert_eq!(adopted.progress.as_deref(), Some(&b"two"[..]));
    calls.release(adopted.hold, id(1), 0).await.unwrap();
    let held = lease(calls, 1).await.remove(0);
    assert_eq!(held.progress.as_deref(), Some(&b"two"[..]));
    calls.running(held.hold, id(1)).await.unwrap();
    calls.finish(held.hold, id(1), end(Final::Done)).await.unwrap();
    assert!(is_refused(&calls.progress(held.hold, id(1), b"x".to_vec()).await), "it is over");
    stores.close().await;
    let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM progress");
    let mut file = raw(&dir.join("queue.db")).await;
    assert_eq!(count.fetch_one(&mut file).await.unwrap(), 0);
}
