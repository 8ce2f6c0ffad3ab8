//! What waits costs those that come and go nothing: with 50,000 calls each write touches as many pages as with a few thousand. (With
//! none it touches three or four less in a commit, because trees of one page have no parents; what that means in time is measured
//! by `./dev bench async`.)

use futures_util::future::join_all;
use triplane_core::asynchronous::Final;
use triplane_store::Stores;
use triplane_store::calls::NewCall;

use crate::support::{TempDir, call, end, id, lease_lane, open};

/// Calls that wait; a million in the long form.
const WAITING: u64 = 50_000;
const WAITING_LONG: u64 = 1_000_000;
/// Calls that make trees of more than one level.
const FEW: u64 = 5_000;
/// Calls that are accepted together.
const BATCH: u64 = 64;
/// How often; all of it fits into the log before that is copied back.
const TIMES: u64 = 10;

/// Ids that grow with time, as those of a router do.
fn later(number: u64) -> NewCall {
    call(1 << 40 | number)
}

async fn accept(stores: &Stores, numbers: std::ops::Range<u64>) {
    for accepted in join_all(numbers.map(|number| stores.calls.accept(later(number)))).await {
        accepted.unwrap();
    }
}

/// Leases, runs and ends calls.
async fn run(stores: &Stores, most: u64) {
    let calls = &*stores.calls;
    let held = lease_lane(calls, &later(0), usize::try_from(most).unwrap()).await;
    assert_eq!(held.len() as u64, most);
    for running in join_all(held.iter().map(|held| calls.running(held.hold, held.call.id))).await {
        running.unwrap();
    }
    let done = || end(Final::Done);
    for finished in join_all(held.iter().map(|held| calls.finish(held.hold, held.call.id, done()))).await {
        finished.unwrap();
    }
}

/// Bytes that accepting and running add to the log of a queue with so many calls: the pages that they write.
async fn written(waiting: u64) -> [u64; 2] {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    for first in (0..waiting).step_by(512) {
        accept(&stores, first..(first + 512).min(waiting)).await;
    }
    stores.close().await;
    // A log that begins afresh.
    let stores = open(dir.path()).await;
    let log = || std::fs::metadata(dir.join("queue.db-wal")).map_or(0, |log| log.len());
    // What is remembered of the file is read with the first write.
    accept(&stores, waiting..waiting + 1).await;
    let before = log();
    for time in 0..TIMES {
        let first = waiting + 1 + time * BATCH;
        accept(&stores, first..first + BATCH).await;
    }
    let accepted = log();
    for _ in 0..TIMES {
        run(&stores, BATCH).await;
    }
    let ran = log();
    assert!(stores.calls.get(triplane_store::calls::Scope::All, id(0)).await.unwrap().is_none());
    stores.close().await;
    [accepted - before, ran - accepted]
}

#[tokio::test]
async fn writes_touch_as_many_pages_however_many_calls_wait() {
    let waiting = if std::env::var_os("TRIPLANE_SOAK").is_some() { WAITING_LONG } else { WAITING };
    let (few, many) = (written(FEW).await, written(waiting).await);
    println!(
        "bytes of log to accept and to run {}: {few:?} with {FEW} waiting, {many:?} with {waiting}",
        BATCH * TIMES
    );
    for (few, many) in few.into_iter().zip(many) {
        assert!(many <= few * 11 / 10, "{many} bytes instead of {few}");
    }
}
