//! A 202 is answered after the call was synced: what the system calls of the server say, as strace sees them.

use std::process::Command;

use serde_json::json;
use triplane_testkit::{Process, Signal, TempDir, wait_until};

use crate::platform::{Platform, SOON};

/// What is looked at: reading, writing and syncing.
const TRACED: &str =
    "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync,sync_file_range";

/// strace on all threads of a process, or why that is not possible here.
async fn trace(pid: u32, log: &TempDir) -> Result<Process, String> {
    if Command::new("strace").arg("-V").output().is_err() {
        return Err("there is no strace".into());
    }
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-s", "256", "-e", TRACED, "-o"])
        .arg(log.join("trace"))
        .args(["-p", &pid.to_string()]);
    let mut strace = Process::start(&mut command);
    wait_until(SOON, "strace is attached, or says why not", async || {
        strace.output().contains("attached") || !strace.is_running()
    })
    .await;
    if strace.is_running() {
        Ok(strace)
    } else {
        Err(format!("strace may not trace: {}", strace.output().trim()))
    }
}

/// A sync of a file that began and ended between two lines, by the name of the file.
fn was_synced(lines: &[&str], file: &str) -> bool {
    let thread = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let is_begin =
        |line: &str| (line.contains(" fsync(") || line.contains(" fdatasync(")) && line.contains(file);
    lines.iter().enumerate().any(|(number, line)| {
        if !is_begin(line) {
            return false;
        }
        // One that was interrupted by the line of another thread ends in a line of its own.
        let end = match line.contains("<unfinished") {
            false => Some(line),
            true => lines[number + 1..]
                .iter()
                .find(|later| thread(later) == thread(line) && later.contains("sync resumed>")),
        };
        end.is_some_and(|end| end.trim_end().ends_with("= 0"))
    })
}

#[tokio::test]
async fn a_202_is_written_after_a_completed_sync_of_the_queue() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("later", "function main() { return {} }").await;
    let log = TempDir::new("strace");
    let mut strace = match trace(platform.server.process.pid(), &log).await {
        Ok(strace) => strace,
        Err(reason) => {
            println!("SKIPPED: {reason}");
            return;
        }
    };
    guest.fire("later", json!({"mark": "of this test"})).await;
    strace.signal(Signal::INT);
    strace.exited(SOON).await;

    let trace = std::fs::read_to_string(log.join("trace")).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let position = |wanted: &str| lines.iter().position(|line| line.contains(wanted));
    let request = position("POST /api/v1/namespaces/_/actions/later").expect("the request was read");
    let answer = position("HTTP/1.1 202").expect("the answer was written");
    assert!(request < answer);
    assert!(was_synced(&lines[request..answer], "queue.db-wal"), "{}", lines[request..=answer].join("\n"));
}

#[test]
fn a_sync_counts_only_when_it_is_of_the_file_and_has_ended() {
    let whole = ["7 fdatasync(9</d/queue.db-wal>) = 0"];
    let cut = [
        "7 fsync(9</d/queue.db-wal> <unfinished ...>",
        "8 read(3</x>, \"\", 1) = 0",
        "7 <... fsync resumed>) = 0",
    ];
    assert!(was_synced(&whole, "queue.db-wal") && was_synced(&cut, "queue.db-wal"));
    assert!(!was_synced(&cut[..2], "queue.db-wal"), "it has not ended");
    assert!(!was_synced(&whole, "entities.db-wal"));
    assert!(!was_synced(&["7 fsync(9</d/queue.db-wal>) = -1 EIO (Input/output error)"], "queue.db-wal"));
}
