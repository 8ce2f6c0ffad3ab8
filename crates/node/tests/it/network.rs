//! What sandboxes reach and what not. "The internet" is a network namespace that the tests make; nothing else is contacted.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::LinkNameSpaceType;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};
use triplane_node::{NetworkOptions, Networks, SandboxNetwork};
use triplane_proxy::runtime::{Exit, Sandbox};

use crate::support::{Running, Spawner, long, spec, within};

/// One test at a time, because they look into the one gateway of this process.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// A network namespace with a web server and a wire to the host.
struct Internet {
    name: String,
    link: String,
    address: Ipv4Addr,
    near: Ipv4Addr,
}

impl Internet {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // a part of TEST-NET-2 for each, also of tests that run beside these
        let number =
            std::process::id().wrapping_mul(7) % 100_000 * 10 + COUNT.fetch_add(1, Ordering::Relaxed) % 10;
        let base = 8 * (number % 31);
        let octet = |add| u8::try_from(base + add).unwrap();
        let (name, link) = (format!("triplane-test-{number}"), format!("tt{number}"));
        let (near, address) = (Ipv4Addr::new(198, 51, 100, octet(1)), Ipv4Addr::new(198, 51, 100, octet(2)));
        ip(&format!("netns add {name}"));
        let internet = Self { name, link, address, near };
        let Self { name, link, .. } = &internet;
        ip(&format!("link add {link} type veth peer name far netns {name}"));
        ip(&format!("addr add {near}/29 dev {link}"));
        ip(&format!("link set {link} up"));
        ip(&format!("-n {name} addr add {address}/29 dev far"));
        ip(&format!("-n {name} link set far up"));
        ip(&format!("-n {name} link set lo up"));
        internet
    }

    /// Starts a server there that says hello and who called; its port.
    fn serve(&self, port: u16) -> u16 {
        let (path, address) = (format!("/run/netns/{}", self.name), self.address);
        let listen = move || {
            let namespace = std::fs::File::open(path).unwrap();
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            TcpListener::bind((address, port)).unwrap()
        };
        greet(std::thread::spawn(listen).join().unwrap())
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.link]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Says hello to everybody that connects.
fn greet(listener: TcpListener) -> u16 {
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let caller = stream.peer_addr().unwrap().ip();
            let _ = writeln!(stream, "hello {caller}");
        }
    });
    port
}

/// A name server on loopback that knows these names; it ends with the process.
fn name_server(names: &[(&str, Ipv4Addr, u32)]) -> SocketAddr {
    let names: Vec<_> =
        names.iter().map(|(name, address, ttl)| ((*name).to_owned(), *address, *ttl)).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            let (mut at, mut labels) = (12, Vec::new());
            while answer[at] != 0 {
                let end = at + 1 + usize::from(answer[at]);
                labels.push(String::from_utf8_lossy(&answer[at + 1..end]).into_owned());
                at = end;
            }
            answer.truncate(at + 5);
            answer[2] = 0x81;
            answer[6..12].fill(0);
            let name = labels.join(".");
            match names.iter().find(|(known, ..)| *known == name) {
                Some((_, address, ttl)) => {
                    answer[3] = 0x80;
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1]);
                    answer.extend(ttl.to_be_bytes());
                    answer.extend([0, 4]);
                    answer.extend(address.octets());
                }
                None => answer[3] = 0x83,
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    own
}

/// A spawner, networks, and an API that says hello on the host's loopback.
struct World {
    spawner: Spawner,
    networks: Arc<Networks>,
    api_port: u16,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// `None` where networks cannot be made.
    async fn new(change: impl FnOnce(&mut NetworkOptions)) -> Option<Self> {
        let turn = TURN.lock().await;
        let api_port = greet(TcpListener::bind("127.0.0.1:0").unwrap());
        let mut options = NetworkOptions::new(([127, 0, 0, 1], api_port).into());
        change(&mut options);
        let networks = Arc::new(Networks::start(options).await);
        if let Some(reason) = networks.not_isolated() {
            println!("SKIPPED: networks are not isolated here: {reason}");
            return None;
        }
        let server = networks.name_server().unwrap();
        let spawner = Spawner::with(|config| {
            let file = std::path::Path::new(&config.root).parent().unwrap().join("resolv.conf");
            std::fs::write(&file, format!("nameserver {server}\n")).unwrap();
            config.binds.push((file.to_str().unwrap().to_owned(), "/etc/resolv.conf".to_owned()));
        })
        .await;
        Some(Self { spawner, networks, api_port, _turn: turn })
    }

    async fn take(&self, namespace: &str) -> SandboxNetwork {
        self.networks.take(namespace).await.unwrap()
    }

    async fn start(&self, script: &str, network: &SandboxNetwork) -> Running {
        let mut spec = spec("");
        spec.arguments = vec!["/bin/bash".into(), "-c".into(), script.into()];
        self.spawner.try_run_in(spec, network).await.unwrap()
    }

    async fn output_in(&self, script: &str, network: &SandboxNetwork) -> String {
        let (exit, stdout, stderr) = self.start(script, network).await.finish().await;
        assert_eq!(exit, Exit::Code(0), "{script}: {stdout} {stderr}");
        stdout.trim().to_owned()
    }

    /// What a script of a new sandbox of this namespace prints.
    async fn output(&self, namespace: &str, script: &str) -> String {
        let network = self.take(namespace).await;
        self.output_in(script, &network).await
    }

    /// Whether a new sandbox is greeted there.
    async fn reaches(&self, namespace: &str, address: Ipv4Addr, port: u16) -> bool {
        self.output(namespace, &call(&address.to_string(), port)).await.starts_with("hello")
    }

    fn gateway(&self) -> Ipv4Addr {
        self.networks.name_server().unwrap()
    }

    async fn close(self) {
        self.spawner.client.close().await;
        self.networks.close().await;
    }
}

/// Waits until a script has printed something.
async fn wait_for_output(running: &Running) {
    let stdout = running.stdout.try_clone().unwrap();
    let read = tokio::task::spawn_blocking(move || rustix::io::read(&stdout, &mut [0; 100]).unwrap());
    assert!(within(read).await.unwrap() > 0, "it ended without a word");
}

/// A script that calls an address and prints what it is told, or that it was told nothing.
fn call(host: &str, port: u16) -> String {
    format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{host}/{port} && head -n 1 <&3' 2>/dev/null || echo nothing")
}

fn egress(value: serde_json::Value) -> triplane_core::egress::Egress {
    serde_json::from_value(value).unwrap()
}

fn namespaces(list: &[(&str, serde_json::Value)]) -> BTreeMap<String, triplane_core::egress::Egress> {
    list.iter().map(|(name, value)| ((*name).to_owned(), egress(value.clone()))).collect()
}

#[tokio::test]
async fn a_sandbox_reaches_the_internet_and_the_api() {
    let Some(world) = World::new(|_| ()).await else { return };
    let internet = Internet::new();
    let port = internet.serve(0);
    let greeting = world.output("guest", &call(&internet.address.to_string(), port)).await;
    assert_eq!(greeting, format!("hello {}", internet.near), "under the host's address");
    assert!(world.reaches("guest", world.gateway(), world.api_port).await);
    let host = world.networks.api_host().unwrap();
    assert_eq!(host, format!("http://{}:{}", world.gateway(), world.api_port));
    world.close().await;
}

#[tokio::test]
async fn a_sandbox_reaches_nothing_of_the_host_or_of_others() {
    let Some(world) = World::new(|_| ()).await else { return };
    let internet = Internet::new();
    let port = greet(TcpListener::bind("0.0.0.0:0").unwrap());
    let gateway: u32 = world.gateway().to_bits();
    let mut others: Vec<Ipv4Addr> = (gateway - 254..gateway - 246).map(Ipv4Addr::from_bits).collect();
    others.extend([world.gateway(), internet.near, Ipv4Addr::LOCALHOST, Ipv4Addr::new(169, 254, 169, 254)]);
    for address in others {
        assert!(!world.reaches("guest", address, port).await, "{address}");
    }
    let script = "perl -MIO::Socket -e 'my $s = IO::Socket::INET->new(Listen => 5, LocalPort => 8080) or die; \
                  syswrite STDOUT, \"ready\\n\"; while (my $c = $s->accept) { print $c \"hello\\n\"; close $c }'";
    let network = world.take("guest").await;
    let server = world.start(script, &network).await;
    wait_for_output(&server).await;
    assert!(!world.reaches("guest", network.address().unwrap(), 8080).await, "another sandbox");
    assert_eq!(world.output("guest", &call("[::1]", 8080)).await, "nothing", "there is no IPv6");
    server.sandbox.kill();
    within(server.sandbox.exited()).await;
    drop((server, network));
    world.close().await;
}

#[tokio::test]
async fn names_resolve_and_private_addresses_behind_them_stay_closed() {
    let internet = Ipv4Addr::new(198, 51, 100, 7);
    let server = name_server(&[("web.test", internet, 60)]);
    let Some(world) = World::new(|options| options.nameservers = vec![server]).await else { return };
    assert_eq!(
        world.output("guest", "getent ahostsv4 web.test | head -n 1 | cut -d' ' -f1").await,
        "198.51.100.7"
    );
    assert_eq!(world.output("guest", "getent hosts none.test || echo none").await, "none");
    assert_eq!(world.output("guest", "grep -c . /etc/resolv.conf").await, "1");
    world.close().await;
}

#[tokio::test]
async fn a_name_server_that_is_away_is_an_error_and_not_silence() {
    let away = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Some(world) = World::new(|options| options.nameservers = vec![away]).await else { return };
    let began = Instant::now();
    assert_eq!(world.output("guest", "getent ahostsv4 web.test || echo none").await, "none");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    world.close().await;
}

#[tokio::test]
async fn a_list_opens_networks_ports_and_names_for_their_time_to_live() {
    let Some(()) = root() else { return };
    let internet = Internet::new();
    let (a, b) = (internet.serve(0), internet.serve(0));
    let address = internet.address;
    let server = name_server(&[
        ("web.test", address, 1),
        ("sub.web.test", address, 60),
        ("other.test", address, 60),
        ("meta.test", Ipv4Addr::new(169, 254, 169, 254), 60),
    ]);
    let world = World::new(|options| {
        options.nameservers = vec![server];
        options.namespaces = namespaces(&[
            ("cidr", json!([format!("{address}/32:{a}")])),
            ("named", json!([format!("web.test:{a}"), "meta.test"])),
            ("below", json!(["*.web.test"])),
            ("nothing", json!([])),
        ]);
    });
    let Some(world) = world.await else { return };
    assert!(world.reaches("cidr", address, a).await);
    assert!(!world.reaches("cidr", address, b).await, "another port");
    assert!(!world.reaches("nothing", address, a).await);
    assert!(world.reaches("nothing", world.gateway(), world.api_port).await, "the API is always there");
    // by name
    assert!(!world.reaches("named", address, a).await, "nobody asked for the name yet");
    let network = world.take("named").await;
    let by_name = |host: &str, port| call(host, port);
    assert!(world.output_in(&by_name("web.test", a), &network).await.starts_with("hello"));
    assert!(world.output_in(&by_name(&address.to_string(), a), &network).await.starts_with("hello"));
    assert_eq!(world.output_in(&by_name("web.test", b), &network).await, "nothing", "another port");
    assert_eq!(world.output_in(&by_name("other.test", a), &network).await, "nothing", "another name");
    assert_eq!(world.output_in(&by_name("meta.test", 80), &network).await, "nothing", "a name for metadata");
    assert!(!world.reaches("named", address, a).await, "another sandbox has not asked");
    let expired = async {
        while world.output_in(&by_name(&address.to_string(), a), &network).await != "nothing" {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    within(expired).await;
    drop(network);
    let below = world.take("below").await;
    assert!(world.output_in(&by_name("sub.web.test", b), &below).await.starts_with("hello"));
    assert_eq!(world.output_in(&by_name("web.test", b), &below).await, "nothing");
    drop(below);
    world.close().await;
}

#[tokio::test]
async fn none_is_a_loopback_device_and_nothing_else() {
    let spawner = Spawner::start().await;
    let network = SandboxNetwork::loopback();
    let script = "cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /proc/net/route | tail -n +2; \
                  perl -MIO::Socket -e 'my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => \"127.0.0.1\") or die; \
                  IO::Socket::INET->new(PeerAddr => \"127.0.0.1\", PeerPort => $s->sockport) or die; print \"loops\\n\"'";
    let (exit, stdout, stderr) = spawner.try_run_in(spec(script), &network).await.unwrap().finish().await;
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    assert!(stdout.trim().ends_with("loops"), "{stdout}");
    assert!(!stdout.contains("eth"), "{stdout}");
}

#[tokio::test]
async fn none_is_enforced_where_networks_are_not_isolated_and_a_list_falls_back_to_it() {
    let mut options = NetworkOptions::new(([127, 0, 0, 1], 1).into());
    options.isolate = false;
    options.namespaces = namespaces(&[("none", json!("none")), ("list", json!(["0.0.0.0/0"]))]);
    let networks = Networks::start(options).await;
    assert_eq!(networks.not_isolated(), Some("network.isolate is false"));
    let spawner = Spawner::start().await;
    let port = greet(TcpListener::bind("127.0.0.1:0").unwrap());
    for (namespace, expected) in [("none", "nothing"), ("list", "nothing"), ("guest", "hello 127.0.0.1")] {
        let network = networks.take(namespace).await.unwrap();
        let mut script = spec("");
        script.arguments = vec!["/bin/bash".into(), "-c".into(), call("127.0.0.1", port)];
        let (_, stdout, _) = spawner.try_run_in(script, &network).await.unwrap().finish().await;
        assert_eq!(stdout.trim(), expected, "{namespace}");
    }
}

#[tokio::test]
async fn nothing_of_a_former_sandbox_is_found_by_the_next() {
    // a range with few addresses, so that they come back soon
    let server = name_server(&[("web.test", Ipv4Addr::new(198, 51, 100, 1), 3600)]);
    let world = World::new(|options| {
        options.nameservers = vec![server];
        options.egress = egress(json!(["web.test"]));
        options.ready = 1;
    });
    let Some(world) = world.await else { return };
    let network = world.take("guest").await;
    let listen = "perl -MIO::Socket -e 'IO::Socket::INET->new(Listen => 5, LocalPort => 8080) or die; sleep 1000' & \
                  getent ahostsv4 web.test >/dev/null; echo ready; sleep 1000";
    let running = world.start(listen, &network).await;
    wait_for_output(&running).await;
    let address = network.address().unwrap();
    let gateway = world.gateway().to_string();
    assert!(opened(&world, address), "it is open to {gateway}");
    running.sandbox.kill();
    within(running.sandbox.exited()).await;
    drop(network);
    let seen = world.output("guest", "tail -qn +2 /proc/net/tcp /proc/net/udp /proc/net/unix | wc -l").await;
    assert_eq!(seen, "0");
    let gone = async {
        while opened(&world, address) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(gone).await;
    world.close().await;
}

/// Whether a name has opened something to this sandbox.
fn opened(_world: &World, sandbox: Ipv4Addr) -> bool {
    in_gateway("nft list ruleset").contains(&format!("{sandbox} . "))
}

/// What a command prints in the gateway's namespace, which a thread of this process is in.
fn in_gateway(command: &str) -> String {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let task = tasks.into_iter().find(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "firewall")
    });
    let namespace = std::fs::File::open(task.unwrap().path().join("ns/net")).unwrap();
    let command = command.to_owned();
    let run = move || {
        let kind = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
        let words: Vec<&str> = command.split(' ').collect();
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    std::thread::spawn(run).join().unwrap()
}

#[tokio::test]
async fn fifty_sandboxes_or_a_thousand_leave_nothing() {
    const AT_ONCE: usize = 50;
    let Some(world) = World::new(|_| ()).await else { return };
    let count = long(AT_ONCE, 1000);
    let started = AtomicU32::new(0);
    let one = |_| async {
        let network = world.take("guest").await;
        let output = world.output_in("cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' \\n'", &network).await;
        assert!(output.contains("eth0"), "{output}");
        started.fetch_add(1, Ordering::Relaxed);
        network.address().unwrap()
    };
    let mut different = std::collections::BTreeSet::new();
    for _ in 0..count / AT_ONCE {
        different.extend(futures_util::future::join_all((0..AT_ONCE).map(one)).await);
    }
    assert_eq!(different.len(), count, "no address comes round again so soon");
    assert_eq!(started.into_inner() as usize, count);
    let settled = async {
        // what is in stock remains
        while in_gateway("ip -o link").matches(": s").count() > 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(settled).await;
    let link = world.networks.link().unwrap().to_owned();
    assert!(own_links().contains(&link) && tables().contains(&link));
    world.close().await;
    assert!(!own_links().contains(&link) && !tables().contains(&link), "{link} is left");
}

#[tokio::test]
async fn what_a_killed_server_left_is_removed_at_the_next_start() {
    let Some(world) = World::new(|_| ()).await else { return };
    let name = "triplane61";
    let table = Command::new("nft").args(["add", "table", "ip", name]).status().unwrap();
    assert!(table.success());
    world.close().await;
    let Some(world) = World::new(|_| ()).await else { return };
    assert!(!tables().iter().any(|table| table == name));
    world.close().await;
}

fn own_links() -> Vec<String> {
    let links = std::fs::read_dir("/sys/class/net").unwrap().flatten();
    let links = links.map(|entry| entry.file_name().to_string_lossy().into_owned());
    links.filter(|name| name.starts_with("triplane")).collect()
}

fn tables() -> Vec<String> {
    let output = Command::new("nft").args(["list", "tables", "ip"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| Some(line.strip_prefix("table ip ")?.to_owned())).collect()
}

/// Says so where a test is of no use.
fn root() -> Option<()> {
    let root = rustix::process::geteuid().is_root() && Command::new("ip").arg("-V").output().is_ok();
    if !root {
        println!("SKIPPED: not root, or no ip");
    }
    root.then_some(())
}
