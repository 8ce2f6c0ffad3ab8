use triplane_proxy::runtime::{Exit, Sandbox};

use crate::support::{Spawner, spec, within};

#[tokio::test]
async fn a_sandbox_is_alone_with_its_processes() {
    let spawner = Spawner::start().await;
    assert_eq!(spawner.output("echo $$").await, "1");
    assert_eq!(spawner.output("ls -d /proc/[0-9]* | wc -l").await, "3", "the shell, ls and wc");
    assert_eq!(spawner.output("hostname").await, "sandbox");
    assert_eq!(spawner.output("id -un").await, "sandbox");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_reported() {
    let spawner = Spawner::start().await;
    let mut absent = spec("");
    absent.arguments = vec!["/no/such/program".into()];
    let reason = spawner.try_run(absent).await.unwrap_err();
    assert_eq!(reason, "cannot execute the runtime: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_memory_bomb_ends_as_out_of_memory() {
    let spawner = Spawner::start().await;
    let bomb = spawner.script("tail /dev/zero; sleep 1000").await;
    assert_eq!(within(bomb.sandbox.exited()).await, Exit::OutOfMemory);
}
