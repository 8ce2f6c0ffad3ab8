//! Compositions of the unmodified npm `openwhisk-composer`; those that run in parallel meet at a Redis in a network namespace, which
//! actions reach because the egress policy says so.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use triplane_testkit::process::Process;
use triplane_testkit::{TempDir, wait_until};

use crate::platform::{Platform, SOON};

const PORT: u16 = 6379;

/// A network namespace with a Redis in it and a wire to the host.
struct Redis {
    name: String,
    link: String,
    address: Ipv4Addr,
    _server: Process,
}

impl Redis {
    /// Nothing where there can be none.
    async fn start() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/redis-server").exists() {
            println!("SKIPPED: not root, or no redis-server");
            return None;
        }
        let number = std::process::id() % 100_000;
        // of TEST-NET-3, so that nothing else on this machine has them
        let base = u8::try_from(8 * (number % 31)).unwrap();
        let (near, address) = (Ipv4Addr::new(203, 0, 113, base + 1), Ipv4Addr::new(203, 0, 113, base + 2));
        let (name, link) = (format!("triplane-redis-{number}"), format!("tr{number}"));
        ip(&format!("netns add {name}"));
        ip(&format!("link add {link} type veth peer name far netns {name}"));
        ip(&format!("addr add {near}/29 dev {link}"));
        ip(&format!("link set {link} up"));
        ip(&format!("-n {name} addr add {address}/29 dev far"));
        ip(&format!("-n {name} link set far up"));
        ip(&format!("-n {name} route add default via {near}"));
        let mut command = Command::new("ip");
        let (address_text, port) = (address.to_string(), PORT.to_string());
        command.args(["netns", "exec", &name, "redis-server", "--bind", &address_text, "--port", &port]);
        command.args(["--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", "/tmp"]);
        let redis = Self { name, link, address, _server: Process::start(&mut command) };
        wait_until(SOON, "Redis listens", async || {
            tokio::net::TcpStream::connect((address, PORT)).await.is_ok()
        })
        .await;
        Some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.link]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

#[tokio::test]
async fn compositions_of_the_npm_composer_deploy_and_run() {
    let Some(clients) = std::env::var_os("TRIPLANE_CLIENTS") else {
        panic!("TRIPLANE_CLIENTS is not set: run the tests by ./dev test, which installs the clients");
    };
    let Some(redis) = Redis::start().await else { return };
    let directory = TempDir::new("composer");
    let file = directory.path().join("triplane.toml");
    let modules = Path::new(&clients).join("node_modules");
    let configuration =
        format!("[node]\nnodejs_modules = {modules:?}\n[network]\negress = [\"{}:{PORT}\"]\n", redis.address);
    std::fs::write(&file, configuration).unwrap();
    let platform = Platform::with(&["--config", file.to_str().unwrap()]).await;
    let node = std::env::var_os("TRIPLANE_NODE").unwrap_or_else(|| "node".into());
    let mut command = Command::new(node);
    command.current_dir(clients).args(["--test", "--test-reporter=tap", "compositions.js"]);
    command.env("TRIPLANE_URL", platform.server.guest.base());
    command.env("TRIPLANE_AUTH", triplane_testkit::client::GUEST);
    command.env("TRIPLANE_REDIS", format!("redis://{}:{PORT}", redis.address));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
