//! What an action tries with files, with each defence and without it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use triplane_node::Defence;

use crate::support::{Spawner, is_enforced, spec};

/// What a script prints that sees code in a directory that everybody may write to.
async fn with_open_code(without: &[Defence], script: &str) -> (String, bool) {
    let spawner = Spawner::without(without).await;
    let code = spawner.scratch.join("code/abc");
    fs::create_dir(&code).unwrap();
    fs::set_permissions(&code, fs::Permissions::from_mode(0o777)).unwrap();
    let mut spec = spec(script);
    spec.code = Some("abc".into());
    let (_, stdout, _) = spawner.run(spec).await.finish().await;
    (stdout.trim().to_owned(), code.join("x").exists())
}

#[tokio::test]
async fn code_stays_as_it_is_even_where_permissions_would_let_it_be_changed() {
    let write = "touch /action/x 2>&1 | grep -o -e Read-only -e 'Permission denied'";
    assert_eq!(with_open_code(&[], write).await, ("Read-only".into(), false));
    assert_eq!(with_open_code(&[Defence::FileRules], write).await, ("Read-only".into(), false));
    assert_eq!(with_open_code(&[Defence::FileRules, Defence::ReadOnly], write).await, (String::new(), true));
    if is_enforced(&Spawner::start().await, "file_rules") {
        assert_eq!(with_open_code(&[Defence::ReadOnly], write).await, ("Permission denied".into(), false));
    }
}

#[tokio::test]
async fn the_hosts_files_are_not_there() {
    let look =
        "for path in /etc/shadow /sys/fs /root /home /var/lib; do test -e $path && echo $path; done | wc -l";
    assert_eq!(Spawner::start().await.output(look).await, "0");
    let bare = Spawner::without(&[Defence::Root]).await;
    assert_ne!(bare.output(look).await, "0");
}

#[tokio::test]
async fn no_way_leads_out_of_the_root() {
    let spawner = Spawner::start().await;
    let data = spawner.scratch.0.display();
    for root in ["/proc/1/root", "/proc/self/root", "/proc/self/cwd/..", "/..", "/proc/self/fd/0/../.."] {
        let look = format!("ls -d {root}{data} {root}/root {root}/sandbox {root}/code 2>/dev/null | wc -l");
        assert_eq!(spawner.output(&look).await, "0", "{root}");
    }
    // nothing that the spawner has open came along
    let links = spawner
        .output(
            "for f in /proc/1/fd/*; do readlink $f; done | grep -v -e ^pipe: -e ^socket: -e ^/dev/null; true",
        )
        .await;
    assert_eq!(links, "");
}

#[tokio::test]
async fn tmp_and_shared_memory_do_not_fill_the_machine() {
    let space = "head -c 70000000 /dev/zero 2>/dev/null > /dev/shm/x; stat -c %s /dev/shm/x";
    let files =
        "i=0; while [ $i -lt 1100 ] && : > /dev/shm/$i; do i=$((i+1)); done 2>/dev/null; echo $i; true";
    let spawner = Spawner::start().await;
    assert_eq!(spawner.output(space).await, "67108864");
    let made: u32 = spawner
        .output(&format!("({files}) | tail -1; ls /dev/shm | wc -l"))
        .await
        .lines()
        .last()
        .unwrap()
        .parse()
        .unwrap();
    assert!(made < 1100, "{made} files");
    let bare = Spawner::without(&[Defence::Sizes]).await;
    assert_eq!(bare.output(space).await, "70000000");
    assert_eq!(bare.output(files).await, "1100");
}

#[tokio::test]
async fn proc_tells_nothing_of_the_kernel_and_changes_nothing() {
    let read = "head -c 1 /proc/kallsyms | wc -c; head -c 1 /proc/key-users | wc -c";
    let mounted = "grep -c '^proc /proc/sys proc ro' /proc/mounts; true";
    let spawner = Spawner::start().await;
    assert_eq!(spawner.output(read).await, "0\n0");
    assert_eq!(spawner.output(mounted).await, "1");
    let write = "for f in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/irq/default_smp_affinity; do (echo 1 > $f) 2>/dev/null && echo $f; done; true";
    assert_eq!(spawner.output(write).await, "");
    let needed = "cat /proc/meminfo /proc/cpuinfo /proc/stat /proc/loadavg /proc/sys/kernel/pid_max > /dev/null && echo 500 > /proc/self/oom_score_adj && echo fine";
    assert_eq!(spawner.output(needed).await, "fine", "what runtimes read and write");
    let bare = Spawner::without(&[Defence::MaskedProc]).await;
    assert_ne!(bare.output(read).await, "0\n0");
    assert_eq!(bare.output(mounted).await, "0");
}
