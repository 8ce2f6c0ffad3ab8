//! Unmodified clients from npm, each on a platform of its own.

use std::process::Command;

use crate::platform::Platform;

/// Runs the tests that `./dev test` has installed in the directory which a variable names.
async fn run(variable: &str) {
    let Some(directory) = std::env::var_os(variable) else {
        panic!("{variable} is not set: run the tests by ./dev test, which installs the clients");
    };
    let platform = Platform::start().await;
    let node = std::env::var_os("TRIPLANE_NODE").unwrap_or_else(|| "node".into());
    let mut command = Command::new(node);
    command.current_dir(directory).args(["--test", "--test-reporter=tap", "."]);
    command.env("TRIPLANE_URL", platform.server.guest.base());
    command.env("TRIPLANE_AUTH", triplane_testkit::client::GUEST);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn the_npm_client_works_unmodified() {
    run("TRIPLANE_CLIENTS").await;
}

#[tokio::test]
async fn adobes_command_line_plugin_works_unmodified() {
    run("TRIPLANE_TOOL_AIO").await;
}

#[tokio::test]
async fn the_serverless_framework_works_unmodified() {
    run("TRIPLANE_TOOL_SERVERLESS").await;
}
