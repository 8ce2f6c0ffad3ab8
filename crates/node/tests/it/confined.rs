//! What starts in sandboxes are compared with: a process under the same defences without namespaces.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::lifetimes::cgroups_of;
use crate::support::{Scratch, command, config, spec};

#[test]
fn a_confined_process_waits_for_the_word_and_is_held_as_a_sandbox_is() {
    let scratch = Scratch::new();
    let script = "grep -e ^NoNewPrivs -e ^Seccomp: /proc/self/status | cut -f2 | xargs
        grep -q :memory:.*/triplane- /proc/self/cgroup && echo memory
        touch /usr/x 2>&1 | grep -o 'Permission denied'; unshare -r true 2>&1 | grep -o 'Operation not permitted'; true";
    let (mut near, far) = UnixStream::pair().unwrap();
    // the shell puts the socket where launchers find theirs
    let process = Command::new("/bin/sh")
        .args(["-c", "exec 3<&0 </dev/null \"$@\"", "sh"])
        .arg(command().program)
        .arg("confined")
        .arg(serde_json::to_string(&config(&scratch.0)).unwrap())
        .arg(serde_json::to_string(&spec(script)).unwrap())
        .stdin(Stdio::from(OwnedFd::from(far)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = process.id();
    near.read_exact(&mut [0]).unwrap();
    let has_memory_group = !cgroups_of(pid).is_empty();
    near.write_all(&[0]).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    let memory = if has_memory_group { "memory\n" } else { "" };
    let expected = format!("1 2\n{memory}Permission denied\nOperation not permitted\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert!(cgroups_of(pid).is_empty(), "a cgroup is left");
}
