//! Unmodified clients from npm, each on a platform of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use triplane_testkit::docker::NODEJS;
use triplane_testkit::json::text;

use crate::docker::with_platform;
use crate::platform::Platform;

/// Runs the tests that `./dev test` has installed in the directory which a variable names.
async fn run(variable: &str) {
    let platform = Platform::start().await;
    let mut command = tests(&installed(variable), &platform);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn installed(variable: &str) -> PathBuf {
    let Some(directory) = std::env::var_os(variable) else {
        panic!("{variable} is not set: run the tests by ./dev test, which installs the clients");
    };
    directory.into()
}

/// The tests of a directory against a platform.
fn tests(directory: &Path, platform: &Platform) -> Command {
    let node = std::env::var_os("TRIPLANE_NODE").unwrap_or_else(|| "node".into());
    let mut command = Command::new(node);
    command.current_dir(directory).args(["--test", "--test-reporter=tap", "."]);
    command.env("TRIPLANE_URL", platform.server.guest.base());
    command.env("TRIPLANE_AUTH", triplane_testkit::client::GUEST);
    command
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

#[test]
fn wskdebug_works_unmodified() {
    let directory = installed("TRIPLANE_TOOL_WSKDEBUG");
    // Its agents require the npm client, as actions in OpenWhisk's images may.
    let modules = directory.join("node_modules");
    let lines = format!("[node]\nnodejs_modules = \"{}\"", modules.display());
    with_platform(&lines, |engine, platform| async move {
        engine.make_published();
        let info = platform.server.guest.get("/").await.expect(200).json();
        let mut nodejs = info["runtimes"]["nodejs"].as_array().unwrap().iter();
        let image = text(nodejs.find(|runtime| runtime["kind"] == "nodejs:20").unwrap(), "image");
        engine.ask(&["tag", NODEJS, image]);
        let mut command = tests(&directory, &platform);
        // This thread is in the engine's network, where the ports of containers are; so is what it starts.
        let output = command.env("DOCKER_HOST", engine.host()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    });
}
