//! Accepts that share a commit: each is stored, refused or repeated as if it were alone.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::Connection as _;
use triplane_core::asynchronous::Final;
use triplane_store::calls::{Accepted, Calls, NewCall, Scope};
use triplane_store::{Options, Sqlite, StoreError};

use crate::support::{TempDir, call, id, lease, numbers, open, policy, raw, rows, run};

/// Accepts calls at once: on the one thread of a test they are one batch of the writer.
async fn accept_at_once(
    calls: &dyn Calls,
    new: impl IntoIterator<Item = NewCall>,
) -> Vec<Result<Accepted, StoreError>> {
    join_all(new.into_iter().map(|call| calls.accept(call))).await
}

async fn stored(calls: &dyn Calls, new: impl IntoIterator<Item = NewCall>) {
    for outcome in accept_at_once(calls, new).await {
        assert_eq!(outcome.unwrap(), Accepted::Stored);
    }
}

#[tokio::test]
async fn calls_of_all_kinds_are_stored_together_as_they_came() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    stored(&*stores.calls, [call(1)]).await;
    let large = |call| NewCall { payload: vec![b'x'; 5_000], ..call };
    let delayed = |call: NewCall| NewCall { policy: policy(&[("async-delay", "1000")]), ..call };
    let new = [call(2), delayed(call(3)), large(call(4)), large(delayed(call(5))), call(6)];
    stored(&*stores.calls, new.clone()).await;
    stores.close().await;

    let stores = open(dir.path()).await;
    assert_eq!(rows(&*stores.calls).await[0], 6);
    let leased = lease(&*stores.calls, 10).await;
    for new in new {
        assert_eq!(leased.iter().find(|leased| leased.call.id == new.id).unwrap().call, new);
    }
    stores.close().await;
}

#[tokio::test]
async fn any_number_of_calls_is_stored_in_the_order_of_their_accepts() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    stored(&*stores.calls, [call(0)]).await;
    let mut next = 1;
    for count in [1, 2, 7, 8, 9, 63, 64, 65, 200] {
        stores.calls.accept_all((next..next + count).map(call).collect()).await.unwrap();
        next += count;
    }
    assert_eq!(numbers(&lease(&*stores.calls, 1_000).await), (0..u128::from(next)).collect::<Vec<_>>());
    stores.close().await;
}

#[tokio::test]
async fn one_that_is_there_already_does_not_keep_the_others_out() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    stored(&*stores.calls, [call(1), call(2)]).await;
    stored(&*stores.calls, [call(3), call(2), call(4), call(4)]).await;
    stored(&*stores.calls, [call(5)]).await;
    assert_eq!(rows(&*stores.calls).await[0], 5);
    stores.close().await;

    let stores = open(dir.path()).await;
    assert_eq!(rows(&*stores.calls).await[0], 5, "and is not counted again");
    assert_eq!(numbers(&lease(&*stores.calls, 10).await), [1, 2, 3, 4, 5]);
    stores.close().await;
}

#[tokio::test]
async fn those_for_which_there_is_no_room_are_refused_and_the_others_stored() {
    let dir = TempDir::new();
    let options = Options { calls_per_namespace_max: 3, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    stored(&*stores.calls, [call(1)]).await;
    let outcomes = accept_at_once(&*stores.calls, (2..6).map(call)).await;
    assert!(matches!(outcomes[..], [Ok(_), Ok(_), Err(StoreError::Full(_)), Err(StoreError::Full(_))]));
    let outcomes = accept_at_once(&*stores.calls, [call(6)]).await;
    assert!(matches!(outcomes[..], [Err(StoreError::Full(_))]));
    run(&*stores.calls, &call(1), Final::Done).await;
    stored(&*stores.calls, [call(7)]).await;
    assert_eq!(numbers(&lease(&*stores.calls, 10).await), [2, 3, 7]);
    stores.close().await;
}

#[tokio::test]
async fn a_file_that_another_program_holds_takes_none_until_it_is_free() {
    let dir = TempDir::new();
    let options = Options { wait_max: Duration::from_millis(200), ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    stored(&*stores.calls, [call(1)]).await;
    let mut other = raw(&dir.join("queue.db")).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    for outcome in accept_at_once(&*stores.calls, [call(2), call(3)]).await {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    }
    other.close().await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while stores.calls.accept(call(4)).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(rows(&*stores.calls).await[0], 2);
    assert!(stores.calls.get(Scope::All, id(2)).await.unwrap().is_none());
    stores.close().await;
}
