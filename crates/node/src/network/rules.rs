//! The firewall's rules as text for `nft`. Pure code.

use std::fmt::Write;
use std::net::Ipv4Addr;

use triplane_core::egress::{Egress, Entry, NEVER, Network, PRIVATE, Ports, Target};

use super::layout::{Layout, Wire};

/// The table in a gateway's namespace.
pub(crate) const GATEWAY_TABLE: &str = "triplane";
/// The gateway's end of the wire to the host.
pub(crate) const UPLINK: &str = "up";
const REFUSE: &str = "goto refuse";
/// Who connects is told at once. An ICMP error would be heard at the second attempt only, one second later: during the first
/// one the socket is busy connecting.
const REFUSE_CHAIN: &str =
    "chain refuse {\nmeta l4proto tcp reject with tcp reset\nreject with icmp type admin-prohibited\n}\n";
const DNS: u16 = 53;
/// The most connections of a sandbox that the kernel keeps track of; as many as its descriptors, so that only floods meet it.
const FLOWS_MAX: u32 = 1024;

/// The host's part: nothing on the host is reached from the wire; what the gateway lets out leaves under the host's address.
pub(crate) fn host(table: &str, link: &str, wire: Wire) -> String {
    format!(
        "add table ip {table}\n\
         delete table ip {table}\n\
         table ip {table} {{\n\
         {REFUSE_CHAIN}\
         chain before {{ type filter hook prerouting priority -150; policy accept;\n\
         iifname \"{link}\" fib daddr type != unicast {REFUSE}\n\
         }}\n\
         chain input {{ type filter hook input priority -150; policy accept;\n\
         iifname \"{link}\" drop\n\
         }}\n\
         chain forward {{ type filter hook forward priority -150; policy accept;\n\
         oifname \"{link}\" ct state established,related accept\n\
         oifname \"{link}\" drop\n\
         iifname \"{link}\" ip saddr != {gateway} drop\n\
         }}\n\
         chain leave {{ type nat hook postrouting priority srcnat; policy accept;\n\
         ip saddr {gateway} masquerade\n\
         }}\n\
         }}\n",
        gateway = wire.gateway,
    )
}

/// The rules in the gateway's namespace, for one policy for each block of the layout.
pub(crate) fn gateway(layout: &Layout, policies: &[Egress], api_port: u16) -> String {
    let own = layout.gateway();
    let mut text = format!("table ip {GATEWAY_TABLE} {{\n{REFUSE_CHAIN}");
    let _ = writeln!(
        text,
        "set never {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {}, {} }}; }}",
        joined(&NEVER),
        layout.range()
    );
    let _ = writeln!(
        text,
        "set private {{ type ipv4_addr; flags interval; elements = {{ {} }}; }}",
        joined(&PRIVATE)
    );
    let _ = write!(
        text,
        "chain input {{ type filter hook input priority 0; policy drop;\n\
         iifname \"lo\" accept\n\
         ct state established,related accept\n\
         iifname \"s*\" ip daddr {own} udp dport {DNS} accept\n\
         iifname \"s*\" ip daddr {own} tcp dport {{ {DNS}, {api_port} }} accept\n\
         iifname \"s*\" {REFUSE}\n\
         }}\n"
    );
    let _ = writeln!(text, "set flows {{ type ipv4_addr; flags dynamic; size 65536; }}");
    for (number, policy) in policies.iter().enumerate() {
        chain(&mut text, number, policy);
    }
    let jumps = layout.blocks().iter().enumerate().map(|(number, block)| format!("{block} : goto p{number}"));
    let _ = write!(
        text,
        "chain forward {{ type filter hook forward priority 0; policy drop;\n\
         ct state established,related accept\n\
         iifname != \"s*\" drop\n\
         ct state new add @flows {{ ip saddr ct count over {FLOWS_MAX} }} {REFUSE}\n\
         ip daddr @never {REFUSE}\n\
         oifname != \"{UPLINK}\" {REFUSE}\n\
         ip saddr vmap {{ {} }}\n\
         }}\n\
         chain leave {{ type nat hook postrouting priority srcnat; policy accept;\n\
         oifname \"{UPLINK}\" masquerade\n\
         }}\n\
         }}\n",
        jumps.collect::<Vec<_>>().join(", ")
    );
    text
}

/// A policy: what it lets through; the rest is refused.
fn chain(text: &mut String, number: usize, policy: &Egress) {
    let named = policy.named_ports();
    for position in 0..named.len() {
        let set = set(number, position);
        let _ = writeln!(text, "set {set} {{ type ipv4_addr . ipv4_addr; flags timeout; size 65536; }}");
    }
    let _ = writeln!(text, "chain p{number} {{");
    if *policy == Egress::All {
        let _ = writeln!(text, "ip daddr @private {REFUSE}\naccept");
    }
    for Entry { target, ports } in policy.entries() {
        if let Target::Network(network) = target {
            let _ = writeln!(text, "ip daddr {network} {}accept", port_match(*ports));
        }
    }
    for (position, ports) in named.into_iter().enumerate() {
        let set = set(number, position);
        let _ = writeln!(text, "ip saddr . ip daddr @{set} {}accept", port_match(ports));
    }
    let _ = writeln!(text, "{REFUSE}\n}}");
}

fn joined(networks: &[Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn port_match(ports: Ports) -> String {
    if ports == Ports::ALL { String::new() } else { format!("meta l4proto {{ tcp, udp }} th dport {ports} ") }
}

/// The set of the addresses that a policy's names have, for one range of ports.
fn set(policy: usize, position: usize) -> String {
    format!("n{policy}x{position}")
}

/// An address that a sandbox may reach for a while, because a name has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opening {
    pub(crate) policy: usize,
    /// In [`Egress::named_ports`].
    pub(crate) position: usize,
    pub(crate) sandbox: Ipv4Addr,
    pub(crate) address: Ipv4Addr,
}

impl Opening {
    fn element(self) -> String {
        format!(
            "ip {GATEWAY_TABLE} {} {{ {} . {}",
            set(self.policy, self.position),
            self.sandbox,
            self.address
        )
    }

    /// Opens it anew for so many seconds: the time of an element that is there is not changed by every kernel.
    pub(crate) fn open(self, seconds: u32) -> String {
        let (close, element) = (self.close(), self.element());
        format!("{close}add element {element} timeout {seconds}s }}\n")
    }

    /// Closes it, whether it is open or not.
    pub(crate) fn close(self) -> String {
        let element = self.element();
        format!("add element {element} timeout 1s }}\ndelete element {element} }}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies() -> Vec<Egress> {
        let list = ["10.1.0.0/16:80", "example.com:443", "*.example.org"];
        let list = list.iter().map(|entry| entry.parse().unwrap()).collect();
        vec![Egress::All, Egress::List(list), Egress::None]
    }

    #[test]
    fn the_rules_of_a_policy_let_through_what_it_lists_and_refuse_the_rest() {
        let layout = Layout::new("10.233.0.0/16".parse().unwrap(), 3).unwrap();
        let text = gateway(&layout, &policies(), 3233);
        let chain = text.split("chain p1 {\n").nth(1).unwrap().split('}').collect::<Vec<_>>().join("}");
        let lines: Vec<&str> = chain.lines().take(4).collect();
        assert_eq!(
            lines,
            [
                "ip daddr 10.1.0.0/16 meta l4proto { tcp, udp } th dport 80 accept",
                "ip saddr . ip daddr @n1x0 accept",
                "ip saddr . ip daddr @n1x1 meta l4proto { tcp, udp } th dport 443 accept",
                "goto refuse"
            ]
        );
        assert!(text.contains("10.233.0.0/17 : goto p0"), "{text}");
        assert!(text.contains("chain p2 {\ngoto refuse"), "{text}");
    }

    #[test]
    fn what_is_never_reached_is_refused_before_any_policy() {
        let layout = Layout::new("10.233.0.0/16".parse().unwrap(), 1).unwrap();
        let text = gateway(&layout, &[Egress::All], 3233);
        assert!(text.find("ip daddr @never").unwrap() < text.find("ip saddr vmap").unwrap());
        assert!(text.contains("169.254.0.0/16") && text.contains("240.0.0.0/4, 10.233.0.0/16"), "{text}");
    }
}
