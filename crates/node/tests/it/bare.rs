//! Sandboxes of an ordinary user whom the machine gives no namespaces: what still holds, and what is told.
//!
//! The spawner runs in a user namespace in which it is an ordinary user without capabilities and that allows no further
//! namespaces, as `user.max_user_namespaces = 0` does for a whole machine. Run by root, its files are root's all the same, so
//! what cannot be read here is refused by the rules for files and not by permissions.

use std::fs;
use std::sync::Arc;

use rustix::process::{Pid, Signal};
use triplane_node::client::{SpawnerClient, SpawnerCommand};
use triplane_node::{Defence, NodeOptions, SandboxNetwork};
use triplane_proxy::runtime::{Exit, Sandbox};

use crate::actions::TestNode;
use crate::lifetimes::{children, until, until_gone};
use crate::support::{Scratch, Spawner, command, config, is_enforced, spec, start, system_call, within};

/// A spawner without a way to namespaces.
pub(crate) fn without_namespaces() -> SpawnerCommand {
    let SpawnerCommand { program, .. } = command();
    // first it gives up the right to make namespaces, then all rights
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
        exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all \"$0\"";
    let user = ["--user", "--map-user=65534", "--map-group=65534", "--keep-caps", "--"];
    let arguments = user.into_iter().chain(["sh", "-c", script]).map(Into::into);
    SpawnerCommand {
        program: "unshare".into(),
        arguments: arguments.chain([program.into_os_string()]).collect(),
        environment: vec![("PATH".into(), "/usr/bin:/bin:/usr/sbin:/sbin".into())],
    }
}

async fn spawner(without: &[Defence]) -> Spawner {
    let scratch = Scratch::new();
    let mut now = config(&scratch.0);
    now.without.extend(without);
    let mut ahead = now.clone();
    ahead.prebuilt = 1;
    // each has a directory for its sandboxes
    ahead.root = scratch.join("ahead").to_str().unwrap().to_owned();
    fs::create_dir(&ahead.root).unwrap();
    let client = SpawnerClient::start(without_namespaces(), now).await.unwrap();
    Spawner { client, ahead: SpawnerClient::start(without_namespaces(), ahead).await.unwrap(), scratch }
}

#[tokio::test]
async fn what_is_missing_without_namespaces_is_told() {
    let spawner = spawner(&[]).await;
    let missing = spawner.client.enforcement().missing();
    for name in ["namespaces", "users"] {
        assert!(missing.contains(&name), "{missing:?}");
    }
    for name in ["system_calls", "file_rules"] {
        is_enforced(&spawner, name);
    }
    let count = spawner.output("set -- /proc/[0-9]*; [ $# -gt 3 ] && echo many").await;
    assert_eq!(count, "many", "it sees the processes of others");
}

#[tokio::test]
async fn a_node_without_namespaces_runs_actions_unless_isolation_is_required() {
    let mut node = TestNode::with(|options| options.spawner = without_namespaces()).await;
    let code = "const fs = require('fs');
        function main(params) {
          fs.writeFileSync(require('os').tmpdir() + '/x', 'x');
          return { hello: params.name, home: process.env.HOME === process.cwd() };
        }";
    let container = node.container(code).await;
    assert_eq!(node.result(&container, r#"{"name":"you"}"#).await, r#"{"hello":"you","home":true}"#);
    let script = "#!/bin/sh\necho \"{\\\"arguments\\\": $1}\"\n";
    let native = node.spec(script, |action| action.exec.kind = "native:1".into());
    let native = node.launch(native).await.unwrap();
    assert_eq!(node.result(&native, r#"{"a":1}"#).await, r#"{"arguments": {"a":1}}"#);
    let scratch = Scratch::new();
    let mut options = NodeOptions::new(&scratch.0, without_namespaces());
    options.require_isolation = true;
    let refused = TestNode::try_start(options).await.err().unwrap().to_string();
    assert!(refused.starts_with("isolation is required") && refused.contains("namespaces"), "{refused}");
}

#[tokio::test]
async fn root_does_not_do_without_namespaces() {
    if !crate::support::is_root() {
        return;
    }
    let scratch = Scratch::new();
    let mut config = config(&scratch.0);
    config.without = vec![Defence::Namespaces];
    let refused = SpawnerClient::start(command(), config).await.unwrap_err().to_string();
    assert!(refused.contains("run as an ordinary user"), "{refused}");
}

#[tokio::test]
async fn files_of_the_host_and_of_others_are_not_read() {
    let look = "for f in /etc/shadow $SECRET /root /proc/1/root; do cat $f >/dev/null 2>&1 && echo $f; ls $f/ >/dev/null 2>&1 && echo $f; done; true";
    let bare = spawner(&[]).await;
    if !is_enforced(&bare, "file_rules") {
        return;
    }
    let secret = bare.scratch.join("secret");
    fs::write(&secret, "x").unwrap();
    let secret = secret.display().to_string();
    assert_eq!(bare.output(&look.replace("$SECRET", &secret)).await, "");
    let open = spawner(&[Defence::FileRules]).await;
    assert!(open.output(&look.replace("$SECRET", &secret)).await.contains(&secret));
}

#[tokio::test]
async fn only_its_own_directory_is_written_to_and_gone_with_it() {
    let bare = spawner(&[]).await;
    if !is_enforced(&bare, "file_rules") {
        return;
    }
    let scratch = bare.scratch.0.display().to_string();
    // what is there already can be touched: its times are no matter of landlock's
    let write = format!(
        "for d in / /tmp /dev/shm /etc {scratch} {scratch}/code; do touch $d/new.$$ 2>/dev/null && echo $d; done; true"
    );
    assert_eq!(bare.output(&write).await, "");
    let own = "cd && [ $HOME = $TMPDIR ] && mkdir -p a/b && chmod 0 a && echo x > x && ls -A";
    assert_eq!(bare.output(own).await, "a\nx");
    assert_eq!(bare.output(own).await, "a\nx", "the next one finds nothing");
    let is_empty = || fs::read_dir(bare.scratch.join("sandbox")).unwrap().count() == 0;
    crate::lifetimes::until(is_empty, "the directory of a sandbox is left").await;
}

#[tokio::test]
async fn code_is_read_where_it_is_and_that_of_others_is_not() {
    let bare = spawner(&[]).await;
    for name in ["mine", "other"] {
        fs::create_dir(bare.scratch.join("code").join(name)).unwrap();
        fs::write(bare.scratch.join("code").join(name).join("source"), name).unwrap();
    }
    let code = bare.scratch.join("code").display().to_string();
    let mut mine = spec(&format!(
        "cat {code}/*/source 2>/dev/null; touch {code}/mine/x 2>/dev/null && echo written; true"
    ));
    mine.code = Some("mine".into());
    let stdout = bare.run_ahead(mine.clone()).await.finish().await.1;
    assert!(is_enforced(&bare, "file_rules"));
    assert_eq!(
        (stdout.as_str(), bare.run(mine).await.finish().await.1.as_str()),
        ("", ""),
        "it cannot list the others"
    );
    let mut named = spec(&format!("cat {code}/mine/source {code}/other/source 2>/dev/null; true"));
    named.code = Some("mine".into());
    assert_eq!(bare.run(named).await.finish().await.1, "mine");
}

#[tokio::test]
async fn calls_signals_and_descriptors_are_limited_as_ever() {
    let bare = spawner(&[]).await;
    if is_enforced(&bare, "system_calls") {
        assert_eq!(bare.output(&system_call(libc::SYS_ptrace, "0, 0, 0, 0")).await, "1");
        assert_eq!(bare.output(&system_call(libc::SYS_unshare, &libc::CLONE_NEWUSER.to_string())).await, "1");
    }
    if is_enforced(&bare, "abstract_sockets") {
        let signal = format!("kill -0 {} 2>/dev/null && echo reached || echo refused", std::process::id());
        assert_eq!(bare.output(&signal).await, "refused");
    }
    assert_eq!(
        bare.output("ulimit -Hn; ulimit -Hc; ls /proc/$$/fd | head -4 | xargs").await,
        "1024\n0\n0 1 2 3"
    );
    let fill = "head -c 70000000 /dev/zero 2>/dev/null > x; stat -c %s x";
    assert_eq!(bare.output(fill).await, "67108864", "one file is as large as a whole /tmp at most");
    let caps = "grep -e ^CapEff -e ^CapPrm -e ^NoNewPrivs /proc/self/status | cut -f2 | xargs";
    assert_eq!(bare.output(caps).await, "0000000000000000 0000000000000000 1");
}

#[tokio::test]
async fn a_network_that_is_to_be_none_is_none() {
    let bare = spawner(&[]).await;
    let sockets =
        [1, 2, 10].map(|family| system_call(libc::SYS_socket, &format!("{family}, 1, 0"))).join("; echo; ");
    bare.ahead.until_prebuilt(1).await.unwrap();
    let alone = start(&bare.ahead, spec(&sockets), &SandboxNetwork::loopback()).await.unwrap();
    assert_eq!(alone.finish().await.1, "done\n97\n97");
    assert_eq!(bare.output(&sockets).await, "done\ndone\ndone", "others have the host's");
    let unfiltered = spawner(&[Defence::SystemCalls]).await;
    let refused = start(&unfiltered.client, spec("true"), &SandboxNetwork::loopback()).await.unwrap_err();
    assert!(refused.starts_with("cannot enter the network"), "{refused}");
}

#[tokio::test]
async fn whatever_a_sandbox_leaves_behind_ends_with_its_first_process() {
    let bare = spawner(&[]).await;
    let daemons = "sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; (trap '' TERM HUP; sleep 1000) & sleep 0.1; exit 3";
    // the pipes end only when the last process that holds them is gone
    assert_eq!(bare.finish(spec(daemons)).await.0, Exit::Code(3));
    let running = bare.script("setsid sleep 1000 & echo ready; sleep 1000").await;
    let mut line = [0; 8];
    rustix::io::read(&running.stdout, &mut line).unwrap();
    running.sandbox.kill();
    assert_eq!(running.finish().await.0, Exit::Signal(9));
    let spawner = bare.client.process().unwrap();
    until(|| children(spawner).len() <= 1, "more is left than one that removes directories").await;
}

#[tokio::test]
async fn one_sandbox_that_ends_takes_nothing_of_another_with_it() {
    let bare = spawner(&[]).await;
    // its grandchildren lose their parent while it lives
    let other = bare
        .script("orphan=$(sleep 1000 > /dev/null & echo $!); echo $orphan; read line <&3; kill -0 $orphan && echo alive")
        .await;
    let mut line = [0; 16];
    rustix::io::read(&other.stdout, &mut line).unwrap();
    for _ in 0..3 {
        assert_eq!(bare.script("sleep 1000 & exit 0").await.finish().await.0, Exit::Code(0));
    }
    rustix::io::write(&other.socket, b"\n").unwrap();
    assert_eq!(other.finish().await.1, "alive\n");
}

#[tokio::test]
async fn the_sandboxes_end_with_the_spawner() {
    let bare = spawner(&[]).await;
    let running = bare.script("exec sleep 1000").await;
    let process = bare.client.process().unwrap();
    let sandboxes = children(process);
    assert_eq!(sandboxes.len(), 1);
    rustix::process::kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(within(running.sandbox.exited()).await, Exit::Lost);
    until_gone(&sandboxes).await;
    assert_eq!(bare.script("echo next").await.finish().await.1, "next\n");
    let client = Arc::clone(&bare.client);
    within(client.close()).await;
    assert_eq!(
        fs::read_dir(bare.scratch.join("sandbox")).unwrap().count(),
        0,
        "and nothing is left on the disk"
    );
}
