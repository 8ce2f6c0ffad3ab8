//! What an action takes too much of, with each limit and without it.

use triplane_node::Defence;
use triplane_proxy::runtime::Exit;

use crate::support::{Spawner, is_enforced, spec};

#[tokio::test]
async fn memory_beyond_the_limit_ends_the_sandbox() {
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "memory") {
        return;
    }
    let take = "exec perl -e 'my $x = q(a) x 200_000_000; print length $x'";
    assert_eq!(spawner.script(take).await.finish().await.0, Exit::OutOfMemory);
    let bare = Spawner::without(&[Defence::MemoryGroup]).await;
    assert_eq!(bare.output(take).await, "200000000");
    assert!(bare.client.enforcement().missing().contains(&"memory"), "and it is told");
}

#[tokio::test]
async fn without_a_cgroup_one_process_does_not_take_all_memory() {
    let take = "perl -e 'my $x = q(a) x 900_000_000; print length $x' 2>/dev/null || echo refused";
    let bare = Spawner::without(&[Defence::MemoryGroup]).await;
    assert_eq!(bare.output(take).await, "refused");
    let barer = Spawner::without(&[Defence::MemoryGroup, Defence::Limits]).await;
    assert_eq!(barer.output(take).await, "900000000");
}

#[tokio::test]
async fn a_fork_bomb_meets_a_limit() {
    let forks = "for i in $(seq 100); do sleep 1000 & done 2>/dev/null; echo all";
    let (exit, stdout, _) = Spawner::start().await.script(forks).await.finish().await;
    assert_eq!((exit, stdout.as_str()), (Exit::Code(2), ""), "it ends at the limit");
    let bare = Spawner::without(&[Defence::ProcessGroup]).await;
    assert_eq!(bare.output(forks).await, "all");
}

#[tokio::test]
async fn a_process_does_not_take_all_descriptors() {
    let open = "ulimit -n $(ulimit -Hn); perl -e 'my @f; my $n = 0; while ($n < 1500 && open($f[$n], q(<), q(/dev/null))) { $n++ } print $n'";
    let spawner = Spawner::start().await;
    let opened: u32 = spawner.output(open).await.parse().unwrap();
    assert!((1000..1024).contains(&opened), "{opened}");
    assert_eq!(
        spawner
            .output("ulimit -Hn; ulimit -Hc; ulimit -Hl; ulimit -n 2048 2>/dev/null || echo refused")
            .await,
        "1024\n0\n1024\nrefused"
    );
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    if hard.is_some_and(|hard| hard < 2000) {
        println!("SKIPPED: this process may not open more itself");
        return;
    }
    let bare = Spawner::without(&[Defence::Limits]).await;
    assert_eq!(bare.output(open).await, "1500");
}

#[tokio::test]
async fn cpu_is_shared_in_proportion_to_memory() {
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "cpu") {
        return;
    }
    let own = "grep -e ':cpu:' -e ':cpu,' -e '^0::' /proc/self/cgroup | head -1 | cut -d: -f3; sleep 1000";
    for (memory_mb, shares) in [(128, "512"), (512, "2048")] {
        let mut spec = spec(own);
        spec.memory_mb = memory_mb;
        let running = spawner.run(spec).await;
        let mut line = [0; 256];
        let length = rustix::io::read(&running.stdout, &mut line).unwrap();
        let group = String::from_utf8_lossy(&line[..length]).trim().to_owned();
        let Ok(text) = std::fs::read_to_string(format!("/sys/fs/cgroup/cpu{group}/cpu.shares")) else {
            println!("SKIPPED: the cpu cgroups are not where this test looks");
            return;
        };
        assert_eq!(text.trim(), shares);
    }
    let bare = Spawner::without(&[Defence::CpuGroup]).await;
    assert!(!bare.output("grep -e ':cpu:' /proc/self/cgroup; true").await.contains("triplane-"));
}
