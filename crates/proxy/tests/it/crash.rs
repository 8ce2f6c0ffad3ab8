//! A process that is killed between the note of a call and its record.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use triplane_proxy::spool::{Spool, SpoolOptions};

use crate::world::{Store, TempDir, World, call, done, soon};

const DIR: &str = "TRIPLANE_TEST_SPOOL_DIR";
const SENT: &str = "the second call is sent";

/// Not a test: the process that is killed. It runs one call to its end, sends another, and says so.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = Arc::new(Store::default());
    // Nothing is uploaded, so that the next process finds everything.
    let options = SpoolOptions { gather_ms: 3_600_000, ..SpoolOptions::default() };
    let mut world = World::new().await;
    world.spool = Spool::open(dir.into(), store, options).await.unwrap();
    let mut started = world.start_warm(|_| {}).await;
    let unanswered = started.proxy.run(call(2, "{}"));
    started.launcher.next().await;
    println!("{SENT}");
    done(unanswered).await;
}

#[tokio::test]
async fn a_call_that_was_sent_before_a_kill_gets_a_record_that_blames_the_platform() {
    let dir = TempDir::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::child", "--nocapture"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let told = tokio::task::spawn_blocking(move || output.lines().any(|line| line.unwrap().contains(SENT)));
    assert!(soon(told).await.unwrap(), "the child ended early");
    child.kill().unwrap();
    child.wait().unwrap();

    let store = Arc::new(Store::default());
    let spool = Spool::open(dir.path().to_owned(), store.clone(), SpoolOptions::default()).await.unwrap();
    soon(spool.flush()).await.unwrap();
    assert_eq!(store.record(1).unwrap()["response"]["status"], "success");
    let lost = store.record(2).unwrap();
    assert_eq!(lost["response"]["status"], "whisk internal error");
    assert_eq!(lost["subject"], "guest");
    assert_eq!(lost["version"], "0.0.1");
    let record: triplane_model::ActivationRecord = serde_json::from_value(lost).unwrap();
    assert_eq!(record.filter_name(), "pkg/hello");
}
