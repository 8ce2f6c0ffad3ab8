//! The unmodified npm client.

use std::process::Command;

use crate::platform::Platform;

#[tokio::test]
async fn the_npm_client_works_unmodified() {
    let Some(clients) = std::env::var_os("TRIPLANE_CLIENTS") else {
        panic!("TRIPLANE_CLIENTS is not set: run the tests by ./dev test, which installs the clients");
    };
    let platform = Platform::start().await;
    let node = std::env::var_os("TRIPLANE_NODE").unwrap_or_else(|| "node".into());
    let mut command = Command::new(node);
    command.current_dir(clients).args(["--test", "--test-reporter=tap", "."]);
    command.env("TRIPLANE_URL", platform.server.guest.base());
    command.env("TRIPLANE_AUTH", triplane_testkit::client::GUEST);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
