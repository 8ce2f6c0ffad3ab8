//! Whose lines are whose.

use std::fmt::Write as _;

use serde_json::json;
use triplane_wire::framed::FrameType;

use crate::world::{Started, World, call, done};

#[tokio::test]
async fn what_a_call_wrote_before_its_result_is_in_its_logs() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    for id in 2..30 {
        let reply = proxy.run(call(id, "{}"));
        let run = launcher.next().await;
        launcher.print(&format!("out {id}\nno end")).await;
        launcher.print_error(&format!("err {id}\n")).await;
        launcher.result(run.stream, 0, "{}").await;
        done(reply).await;
        let mut logs = world.logs(id).await;
        logs.sort();
        assert_eq!(logs, [format!("stderr: err {id}"), "stdout: no end".into(), format!("stdout: out {id}")]);
    }
}

#[tokio::test]
async fn a_line_has_a_time_of_30_characters() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    launcher.print("text\n").await;
    launcher.serve("{}").await;
    done(reply).await;
    let record = world.record(2).await;
    let line = record["logs"][0].as_str().unwrap();
    let (time, rest) = line.split_at(30);
    assert_eq!(rest, " stdout: text");
    assert!(time.starts_with("20") && time.ends_with('Z') && time.contains('T'), "{time}");
}

#[tokio::test]
async fn output_of_init_and_between_calls_belongs_to_the_next_call() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start(|_| {}).await;
    launcher.print("boot\n").await;
    let reply = proxy.run(call(1, "{}"));
    launcher.print("init\n").await;
    launcher.initialise().await;
    launcher.serve("{}").await;
    done(reply).await;
    assert_eq!(world.logs(1).await, ["stdout: boot", "stdout: init"]);
    launcher.print("between\n").await;
    let reply = proxy.run(call(2, "{}"));
    launcher.serve("{}").await;
    done(reply).await;
    assert_eq!(world.logs(2).await, ["stdout: between"]);
}

#[tokio::test]
async fn calls_that_overlap_have_their_own_lines_and_raw_output_belongs_to_none() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|action| action.limits.concurrency = 2).await;
    let replies = [proxy.run(call(2, "{}")), proxy.run(call(3, "{}"))];
    let (a, b) = (launcher.next().await, launcher.next().await);
    launcher.log(a.stream, 1, "a1\na").await;
    launcher.log(b.stream, 2, "b1\n").await;
    launcher.print("from a child\n").await;
    launcher.log(a.stream, 1, "2\n").await;
    launcher.log(99, 1, "of nobody\n").await;
    launcher.result(b.stream, 0, "{}").await;
    launcher.result(a.stream, 0, "{}").await;
    for reply in replies {
        done(reply).await;
    }
    assert_eq!(world.logs(2).await, ["stdout: a1", "stdout: a2"]);
    assert_eq!(world.logs(3).await, ["stderr: b1"]);
}

#[tokio::test]
async fn above_concurrency_one_output_of_init_belongs_to_the_call_that_caused_it() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start(|action| action.limits.concurrency = 2).await;
    let reply = proxy.run(call(1, "{}"));
    launcher.next().await;
    launcher.print("loading\n").await;
    launcher.send(FrameType::InitDone, 0, b"\0{}").await;
    launcher.serve("{}").await;
    done(reply).await;
    assert_eq!(world.logs(1).await, ["stdout: loading"]);
}

#[tokio::test]
async fn logs_beyond_their_limit_are_cut_and_say_so() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|action| action.limits.logs_mb = 1).await;
    let reply = proxy.run(call(2, "{}"));
    let run = launcher.next().await;
    let block = (0..4096).fold(String::new(), |mut block, line| {
        writeln!(block, "{line:015}").unwrap();
        block
    });
    for _ in 0..40 {
        launcher.print(&block).await;
    }
    launcher.result(run.stream, 0, &json!({}).to_string()).await;
    done(reply).await;
    let logs = world.logs(2).await;
    assert_eq!(logs.len(), (1 << 20) / 16 + 1);
    assert_eq!(
        logs.last().unwrap(),
        "stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes."
    );
}

#[tokio::test]
async fn a_flood_that_nobody_ends_does_not_keep_the_answer() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|action| action.limits.logs_mb = 1).await;
    let reply = proxy.run(call(2, "{}"));
    let run = launcher.next().await;
    let mut stdout = std::mem::replace(&mut launcher.stdout, tokio::net::unix::pipe::pipe().unwrap().0);
    let flood = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while stdout.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    launcher.result(run.stream, 0, "{}").await;
    done(reply).await;
    let reply = proxy.run(call(3, "{}"));
    launcher.serve("{}").await;
    done(reply).await;
    flood.abort();
}

#[tokio::test]
async fn a_limit_of_zero_collects_nothing() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|action| action.limits.logs_mb = 0).await;
    let reply = proxy.run(call(2, "{}"));
    launcher.print("unheard\n").await;
    launcher.serve("nonsense").await;
    done(reply).await;
    assert!(world.logs(2).await.is_empty());
}
