//! Who gets the processors when they are all wanted: the server before the actions.

use serde_json::json;
use triplane_testkit::{Signal, kill_9, wait_until};

use crate::platform::{Platform, SOON, process_titled};

/// The cgroup of a process in the version 1 hierarchy of the cpu controller.
fn cpu_group(pid: u32) -> Option<String> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.lines().find_map(|line| Some(line.split_once(":cpu:")?.1.to_owned()))
}

fn shares(group: &str) -> String {
    std::fs::read_to_string(format!("/sys/fs/cgroup/cpu{group}/cpu.shares")).unwrap().trim().to_owned()
}

/// A platform whose server and actions have cgroups that weigh, where this test can look at them.
async fn weighing_platform() -> Option<(Platform, String)> {
    let platform = Platform::start().await;
    let ready = platform.server.admin.get("/readyz").await.expect(200).json();
    let is_enforced = ready["roles"]["node"]["isolation"]["cpu"] == json!("enforced");
    match cpu_group(platform.server.process.pid()) {
        Some(group) if is_enforced => Some((platform, group)),
        _ => {
            println!("SKIPPED: this machine has no cpu cgroups of version 1 that can be used");
            None
        }
    }
}

#[tokio::test]
async fn a_server_weighs_more_than_an_action_also_after_the_death_of_its_spawner() {
    let Some((platform, server)) = weighing_platform().await else { return };
    assert!(server.ends_with("-server"), "{server}");
    assert_eq!(shares(&server), "10240");

    let killed = platform.spawner().unwrap();
    kill_9(killed);
    wait_until(SOON, "there is another spawner", async || {
        platform.spawner().is_some_and(|spawner| spawner != killed)
    })
    .await;
    let guest = platform.guest();
    let marker = format!("weighed-{}", std::process::id());
    guest.create("weighed", &format!("function main() {{ process.title = '{marker}'; return {{}} }}")).await;
    wait_until(SOON, "a call succeeds", async || guest.invoke("weighed", json!({})).await.status == 200)
        .await;
    let action = cpu_group(process_titled(&marker).await).unwrap();
    assert_eq!(shares(&action), "1024");
    let (beside, _) = server.rsplit_once('/').unwrap();
    assert_eq!(action.rsplit_once('/').unwrap().0, beside, "side by side");
    assert_eq!(cpu_group(platform.server.process.pid()), Some(server));
}

#[tokio::test]
async fn a_server_that_ends_leaves_no_cgroup() {
    let Some((mut platform, group)) = weighing_platform().await else { return };
    platform.server.process.signal(Signal::TERM);
    let _ = platform.server.process.exited(SOON).await;
    assert!(!std::path::Path::new(&format!("/sys/fs/cgroup/cpu{group}")).exists(), "{group}");
}
