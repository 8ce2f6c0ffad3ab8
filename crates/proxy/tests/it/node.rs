//! The launcher of the Node.js runtime itself, without a sandbox.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::watch;
use triplane_model::Status;
use triplane_model::activation::text;
use triplane_proxy::runtime::{CodeMount, Exit, Runtime, Sandbox};
use triplane_proxy::{Proxy, Shared};

use crate::world::{CONTAINER, SECRET, World, annotation, call, done, error_of, soon, spec};

#[derive(Debug)]
struct Process {
    pid: rustix::process::Pid,
    exit: watch::Sender<Option<Exit>>,
}

impl Sandbox for Process {
    fn kill(&self) {
        // It may be gone already.
        if self.exit.borrow().is_none() {
            rustix::process::kill_process(self.pid, rustix::process::Signal::KILL).ok();
        }
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut exit = self.exit.subscribe();
        async move { exit.wait_for(Option::is_some).await.unwrap().unwrap() }.boxed()
    }
}

fn blocking(sender: pipe::Sender) -> Stdio {
    Stdio::from(sender.into_blocking_fd().unwrap())
}

/// Node.js with its socket at descriptor 3.
fn launch(code: &Path) -> Runtime {
    // at run time, as cargo tells it: the checkout in which this was compiled may be another
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let launcher = Path::new(&own).join("../../runtimes/nodejs/launcher.js");
    let (socket, far) = UnixStream::pair().unwrap();
    let far = OwnedFd::from(far.into_std().unwrap());
    let (stdout_sender, stdout) = pipe::pipe().unwrap();
    let (stderr_sender, stderr) = pipe::pipe().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "exec node \"$0\" 3<&0 0</dev/null"])
        .arg(launcher)
        .stdin(Stdio::from(far))
        .stdout(blocking(stdout_sender))
        .stderr(blocking(stderr_sender))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    let process = Arc::new(Process { pid, exit: watch::Sender::new(None) });
    let sandbox = Arc::clone(&process);
    tokio::spawn(async move {
        let status = child.wait().await.unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        let exit = signal.map_or_else(|| Exit::Code(status.code().unwrap_or(-1)), Exit::Signal);
        process.exit.send_replace(Some(exit));
    });
    let code = CodeMount { path: code.to_str().unwrap().into(), archive: false, fault: None };
    Runtime { socket, stdout, stderr, sandbox, code }
}

/// A container with this code.
async fn start(world: &World, code: &str, concurrency: u64) -> Arc<Proxy> {
    let file = world.dir.path().join("action.js");
    std::fs::write(&file, code).unwrap();
    let spec = Arc::new(spec(|action| {
        action.limits.concurrency = concurrency;
        action.limits.timeout_ms = 10_000;
    }));
    let shared = Shared::new(world.settings.clone(), Arc::clone(&world.spool));
    soon(Proxy::start(CONTAINER, spec, SECRET, launch(&file), shared)).await.unwrap()
}

#[tokio::test]
async fn node_runs_cold_and_warm_with_its_logs() {
    let world = World::new().await;
    let code = "let n = 0; function main(p) { console.log('call', ++n, process.env.__OW_ACTIVATION_ID); \
                console.error('e'); return { n, name: p.name } }";
    let proxy = start(&world, code, 1).await;
    for id in 1..=5_u128 {
        let finished = done(proxy.run(call(id, r#"{"name":"ü"}"#))).await;
        assert_eq!(finished.status, Status::Success, "{finished:?}");
        let result: serde_json::Value = serde_json::from_slice(&finished.result).unwrap();
        assert_eq!(result, json!({"n": id, "name": "ü"}));
        let record = world.record(id).await;
        assert_eq!(annotation(&record, "initTime").is_null(), id > 1);
        let mut logs = world.logs(id).await;
        logs.sort();
        assert_eq!(logs, ["stderr: e".to_owned(), format!("stdout: call {id} {id:032x}")]);
    }
    soon(proxy.stop()).await;
}

#[tokio::test]
async fn node_overlaps_calls_and_tells_their_lines_apart() {
    let world = World::new().await;
    let code = "let waiting = []; async function main(p) { console.log('start', p.id); \
                await new Promise(go => { waiting.push(go); if (waiting.length === 4) waiting.forEach(g => g()) }); \
                console.log('end', p.id); return { id: p.id } }";
    let proxy = start(&world, code, 4).await;
    let replies: Vec<_> = (1..=4).map(|id| proxy.run(call(id, &json!({ "id": id }).to_string()))).collect();
    for (reply, id) in replies.into_iter().zip(1_u128..) {
        assert_eq!(done(reply).await.status, Status::Success);
        assert_eq!(world.logs(id).await, [format!("stdout: start {id}"), format!("stdout: end {id}")]);
    }
}

#[tokio::test]
async fn node_that_exits_in_a_call_is_recorded_with_its_output() {
    let world = World::new().await;
    let proxy = start(&world, "function main() { console.log('bye'); process.exit(3) }", 1).await;
    let finished = done(proxy.run(call(1, "{}"))).await;
    assert_eq!(error_of(&finished), text::ABNORMAL_RUN);
    assert_eq!(world.logs(1).await[0], "stdout: bye");
    assert_eq!(soon(proxy.exited()).await, Exit::Code(3));
}

#[tokio::test]
async fn node_that_never_answers_is_killed() {
    let world = World::new().await;
    let file = world.dir.path().join("action.js");
    std::fs::write(&file, "function main() { for (;;) {} }").unwrap();
    let spec = Arc::new(spec(|action| action.limits.timeout_ms = 300));
    let shared = Shared::new(world.settings.clone(), Arc::clone(&world.spool));
    let proxy = soon(Proxy::start(CONTAINER, spec, SECRET, launch(&file), shared)).await.unwrap();
    let finished = done(proxy.run(call(1, "{}"))).await;
    assert_eq!(error_of(&finished), text::timed_out(300));
    assert_eq!(soon(proxy.exited()).await, Exit::Signal(9));
}
