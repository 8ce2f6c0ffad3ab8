//! The queue: transitions, owners, bounds.

use crate::support::{TempDir, call, id, numbers, open};

#[tokio::test]
async fn a_call_is_accepted_leased_run_and_done() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &stores.calls;
    calls.accept(call(1)).await.unwrap();
    calls.accept(call(2)).await.unwrap();
    let leased = calls.lease(7, 5_000, 6_000, 10).await.unwrap();
    assert_eq!(numbers(&leased), [1, 2]);
    assert_eq!((leased[0].attempt, &leased[0].payload), (1, &call(1).payload));
    assert_eq!(calls.depth().await.unwrap(), [0, 2, 0]);
    calls.running(7, id(1)).await.unwrap();
    assert_eq!(calls.depth().await.unwrap(), [0, 1, 1]);
    calls.done(id(1)).await.unwrap();
    calls.done(id(2)).await.unwrap();
    assert_eq!(calls.depth().await.unwrap(), [0, 0, 0]);
    stores.close().await;
}
