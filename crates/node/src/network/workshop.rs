//! Makes the gateway and the sandboxes' network namespaces. All of it happens on one thread, which goes in and out of them.
//!
//! The gateway is a network namespace without a process: the server's listeners are in it, and the wires to all sandboxes.
//! One wire leads from it to the host. Everything but the host's firewall table goes with the process, however it ends.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::thread::LinkNameSpaceType;
use triplane_core::egress::{Egress, Network};
use triplane_net::nft;

use super::layout::{Layout, WIRES};
use super::netlink::{Batch, End, LOOPBACK, Netlink};
use super::rules::{self, UPLINK};
use crate::sys;

/// What the host's ends of wires and its tables start with; a number follows.
const PREFIX: &str = "triplane";
/// The number of a sandbox's network device: beyond those that the kernel may put into every namespace.
const DEVICE: u32 = 50;
/// Ranges that are tried when none is set.
const RANGES: [&str; 3] = ["10.233.0.0/16", "172.29.0.0/16", "192.168.224.0/20"];
const MTU: u32 = 1500;
/// What the gateway's namespace is set to; the last lets go of connections whose ends were lost.
const SETTINGS: [(&str, &str, bool); 9] = [
    ("net/ipv6/conf/all/disable_ipv6", "1", false),
    ("net/ipv6/conf/default/disable_ipv6", "1", false),
    ("net/ipv4/ip_forward", "1", true),
    ("net/ipv4/conf/all/rp_filter", "1", true),
    ("net/ipv4/conf/default/rp_filter", "1", true),
    ("net/ipv4/conf/all/send_redirects", "0", true),
    ("net/ipv4/conf/default/send_redirects", "0", true),
    ("net/ipv4/conf/all/accept_redirects", "0", true),
    ("net/netfilter/nf_conntrack_tcp_timeout_established", "3600", false),
];

/// The tools and what was made with them.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) layout: Layout,
    pub(crate) nft: PathBuf,
    pub(crate) namespace: OwnedFd,
    host: Netlink,
    gateway: Netlink,
    /// The host's namespace.
    outside: OwnedFd,
    mtu: u32,
    /// The name of the host's end of the wire, and of its table.
    pub(crate) link: String,
    /// Tells other servers on this host that the number is taken.
    _claim: UnixDatagram,
}

/// Sockets in the gateway's namespace.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) api: TcpListener,
    pub(crate) dns_connections: TcpListener,
    pub(crate) dns_datagrams: UdpSocket,
}

impl Workshop {
    /// Makes the gateway; leaves this thread in its namespace.
    ///
    /// # Errors
    /// Why networks cannot be separated here; nothing is left then.
    pub(crate) fn open(
        range: Option<Network>,
        policies: &[Egress],
        api_port: u16,
    ) -> Result<(Self, Listeners), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("the server does not run as root".to_owned());
        }
        let nft = nft::find().ok_or("nft is not installed (Debian package nftables)")?;
        let layout = choose_range(range, policies.len())?;
        let (number, claim) = claim().ok_or("too many servers on this host")?;
        remove_leftovers(&nft, number);
        let at = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
        let outside = own_namespace().map_err(at("open the host's network namespace"))?;
        let host = Netlink::open().map_err(at("speak to the kernel"))?;
        sys::new_network_namespace().map_err(at("make a network namespace"))?;
        let namespace = own_namespace().map_err(at("open the gateway's namespace"))?;
        let gateway = Netlink::open().map_err(at("speak to the kernel"))?;
        let (mtu, link) = (host_mtu(), format!("{PREFIX}{number}"));
        let workshop = Self { layout, nft, namespace, host, gateway, outside, mtu, link, _claim: claim };
        let made = workshop.furnish(number, policies, api_port);
        match made {
            Ok(listeners) => Ok((workshop, listeners)),
            Err(error) => {
                workshop.close();
                Err(error.to_string())
            }
        }
    }

    fn furnish(&self, number: u32, policies: &[Egress], api_port: u16) -> io::Result<Listeners> {
        let wire = self.layout.wire(number);
        for (name, value, needed) in SETTINGS {
            set(name, value).or_else(|error| if needed { Err(error) } else { Ok(()) })?;
        }
        self.enter(&self.outside)?;
        let mut batch = Batch::default();
        let (here, there) = (End { name: &self.link, index: 0 }, End { name: UPLINK, index: 0 });
        batch.veth(here, there, self.namespace.as_fd(), self.mtu);
        self.host.run(&batch)?;
        let index = link_index(&self.link)?;
        let mut batch = Batch::default();
        batch.address(index, wire.host, 30);
        batch.up_named(&self.link);
        self.host.run(&batch)?;
        nft::run(&self.nft, &rules::host(&self.link, &self.link, wire))?;
        forward_on_this_host()?;
        self.enter(&self.namespace)?;
        let index = link_index(UPLINK)?;
        let mut batch = Batch::default();
        batch.up(LOOPBACK);
        batch.address(LOOPBACK, self.layout.gateway(), 32);
        batch.address(index, wire.gateway, 30);
        batch.up(index);
        batch.default_route(index, wire.host);
        self.gateway.run(&batch)?;
        nft::run(&self.nft, &rules::gateway(&self.layout, policies, api_port))?;
        self.listen(api_port)
    }

    fn listen(&self, api_port: u16) -> io::Result<Listeners> {
        let at = |port| SocketAddr::from((self.layout.gateway(), port));
        let listeners = Listeners {
            api: TcpListener::bind(at(api_port))?,
            dns_connections: TcpListener::bind(at(53))?,
            dns_datagrams: UdpSocket::bind(at(53))?,
        };
        listeners.api.set_nonblocking(true)?;
        listeners.dns_connections.set_nonblocking(true)?;
        listeners.dns_datagrams.set_nonblocking(true)?;
        Ok(listeners)
    }

    /// Makes the namespace of a sandbox with this address, with a wire to the gateway.
    ///
    /// # Errors
    /// What the kernel says; nothing is left then.
    pub(crate) fn build(&self, address: Ipv4Addr) -> io::Result<OwnedFd> {
        let built = self.build_inside(address);
        self.enter(&self.namespace)?;
        let namespace = built?;
        let (name, index) = self.layout.wire_to(address);
        let mut batch = Batch::default();
        batch.up(index);
        batch.route(index, address);
        self.gateway.run(&batch).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        Ok(namespace)
    }

    fn build_inside(&self, address: Ipv4Addr) -> io::Result<OwnedFd> {
        sys::new_network_namespace()?;
        let namespace = own_namespace()?;
        for (name, value, _) in &SETTINGS[..2] {
            // a kernel without IPv6 has none to switch off
            let _ = set(name, value);
        }
        let (name, index) = self.layout.wire_to(address);
        let gateway = self.layout.gateway();
        let mut batch = Batch::default();
        batch.up(LOOPBACK);
        let (here, there) = (End { name: "eth0", index: DEVICE }, End { name: &name, index });
        batch.veth(here, there, self.namespace.as_fd(), self.mtu);
        batch.address(DEVICE, address, 32);
        batch.up(DEVICE);
        batch.route(DEVICE, gateway);
        batch.default_route(DEVICE, gateway);
        Netlink::open()?.run(&batch)?;
        Ok(namespace)
    }

    /// Cuts a sandbox's wire; its namespace goes with the last that holds it.
    pub(crate) fn cut(&self, address: Ipv4Addr) {
        let mut batch = Batch::default();
        batch.remove_named(&self.layout.wire_to(address).0);
        if let Err(error) = self.gateway.run(&batch) {
            // the kernel removes it with the namespace at its other end, and may have been first
            tracing::debug!(%address, %error, "a wire is gone already");
        }
    }

    /// Removes what the host has of this server.
    pub(crate) fn close(&self) {
        let mut batch = Batch::default();
        batch.remove_named(&self.link);
        // it may never have been made
        let _ = self.host.run(&batch);
        if let Err(error) = self.enter(&self.outside).and_then(|()| drop_table(&self.nft, &self.link)) {
            tracing::warn!(%error, table = self.link, "the host's firewall table is left");
        }
    }

    fn enter(&self, namespace: &OwnedFd) -> io::Result<()> {
        Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

/// The network namespace of this thread.
fn own_namespace() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/proc/thread-self/ns/net", flags, Mode::empty())?)
}

/// Changes a setting of this thread's network namespace.
fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new("/proc/sys").join(name), value)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot set {name}: {error}")))
}

/// The host must pass packets on. It is left so, because others may rely on it by the time of the shutdown.
fn forward_on_this_host() -> io::Result<()> {
    let name = "net/ipv4/ip_forward";
    if fs::read_to_string(Path::new("/proc/sys").join(name))?.trim() == "1" {
        return Ok(());
    }
    tracing::info!("switches net.ipv4.ip_forward on, which actions need to reach anything");
    set(name, "1")
}

/// The number of a link in this thread's namespace.
fn link_index(name: &str) -> io::Result<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    Ok(rustix::net::netdevice::name_to_index(socket, name)?)
}

/// A number that no other server on this host has, and what keeps it so until this process ends.
fn claim() -> Option<(u32, UnixDatagram)> {
    (0..WIRES).find_map(|number| Some((number, claim_number(number)?)))
}

fn claim_number(number: u32) -> Option<UnixDatagram> {
    let name = format!("{PREFIX}-network-{number}");
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).ok()?;
    UnixDatagram::bind_addr(&address).ok()
}

/// Removes what servers left that were killed: their tables, and links that the kernel should have removed itself.
fn remove_leftovers(program: &Path, own: u32) {
    let tables = nft::list(program, &["list", "tables", "ip"]).unwrap_or_default();
    let tables = tables.lines().filter_map(|line| line.strip_prefix("table ip triplane")?.parse().ok());
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let links = links.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok());
    let mut numbers: Vec<u32> = tables.chain(links).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let claim = claim_number(number);
        if number != own && claim.is_none() {
            continue;
        }
        let name = format!("{PREFIX}{number}");
        tracing::info!(name, "removes what a server left that was killed");
        let mut batch = Batch::default();
        batch.remove_named(&name);
        let _ = Netlink::open().and_then(|netlink| netlink.run(&batch));
        let _ = drop_table(program, &name);
    }
}

fn drop_table(program: &Path, name: &str) -> io::Result<()> {
    nft::run(program, &format!("add table ip {name}\ndelete table ip {name}\n"))
}

/// The range that was set, or the first that nothing on this host uses.
fn choose_range(set: Option<Network>, policies: usize) -> Result<Layout, String> {
    let text = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let routes = routes(&text);
    let candidates: Vec<Network> = set
        .map_or_else(|| RANGES.iter().filter_map(|range| range.parse().ok()).collect(), |range| vec![range]);
    let mut reason = "there is no range to choose from".to_owned();
    for range in candidates {
        match routes.iter().find(|(_, network)| network.prefix() > 0 && network.overlaps(range)) {
            Some((link, network)) => {
                reason = format!(
                    "the range {range} overlaps with the route to {network} on {link}; set network.range"
                );
            }
            None => match Layout::new(range, policies) {
                Ok(layout) => return Ok(layout),
                Err(error) => reason = error,
            },
        }
    }
    Err(reason)
}

/// The routes of `/proc/net/route` but for those of servers like this one.
fn routes(text: &str) -> Vec<(String, Network)> {
    let hexadecimal = |text: &str| Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes());
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, mask) = (hexadecimal(fields.get(1)?)?, hexadecimal(fields.get(7)?)?);
        let prefix = u8::try_from(u32::from_be_bytes(mask).leading_ones()).ok()?;
        Some(((*fields.first()?).to_owned(), Network::new(Ipv4Addr::from(address), prefix)?))
    };
    let routes = text.lines().skip(1).filter_map(route);
    routes.filter(|(link, _)| !link.starts_with(PREFIX)).collect()
}

/// The size of packets on the way out, so that nothing needs to be told that its packets are too long.
fn host_mtu() -> u32 {
    let text = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let default = routes(&text).into_iter().find(|(_, network)| network.prefix() == 0);
    let mtu = default.and_then(|(link, _)| fs::read_to_string(format!("/sys/class/net/{link}/mtu")).ok());
    mtu.and_then(|text| text.trim().parse().ok()).unwrap_or(MTU).clamp(576, 9000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_routes_are_read() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            triplane0\t00FFE90A\t00000000\t0001\t0\t0\t0\tFCFFFFFF\t0\t0\t0\ngarbage\n";
        let found: Vec<String> =
            routes(text).iter().map(|(link, network)| format!("{link} {network}")).collect();
        assert_eq!(found, ["eth0 0.0.0.0/0", "eth0 192.0.2.0/24"]);
    }
}
