//! What actions may reach: everything public, nothing, or what a list names. Parsing and evaluation only; who enforces it
//! asks here.

use core::net::Ipv4Addr;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest list; the firewall walks it for each new connection.
pub const ENTRIES_MAX: usize = 256;
/// The longest host name, and the longest part of one (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Out of every action's reach, whatever a list says: this host, link-local addresses with the cloud's metadata, multicast.
pub const NEVER: [Network; 6] = [
    Network::of([0, 0, 0, 0], 8),
    Network::of([127, 0, 0, 0], 8),
    Network::of([169, 254, 0, 0], 16),
    Network::of([192, 0, 0, 0], 24),
    Network::of([224, 0, 0, 0], 4),
    Network::of([240, 0, 0, 0], 4),
];
/// Reached only by those whose list says so: the platform's own machines and others that are not public.
pub const PRIVATE: [Network; 5] = [
    Network::of([10, 0, 0, 0], 8),
    Network::of([100, 64, 0, 0], 10),
    Network::of([172, 16, 0, 0], 12),
    Network::of([192, 168, 0, 0], 16),
    Network::of([198, 18, 0, 0], 15),
];

/// What an action may reach beside the platform's API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub enum Egress {
    /// Every public address.
    #[default]
    All,
    /// Nothing at all, not even the platform's API: its network is a loopback device.
    None,
    /// What one of these allows.
    List(Vec<Entry>),
}

/// One line of a list: `10.1.0.0/16`, `192.0.2.7:443`, `example.com:8000-8100`, `*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Where to.
    pub target: Target,
    /// To which ports.
    pub ports: Ports,
}

/// Where an entry leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Every address of a network.
    Network(Network),
    /// The addresses of a name, in lower case, while the resolver's answer holds.
    Host(String),
    /// The same for every name below this one.
    Below(String),
}

/// A range of ports of TCP and UDP, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// A network of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: Ipv4Addr,
    prefix: u8,
}

/// Why a text says nothing about egress.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// A word that is neither.
    #[error("{0:?} is neither \"all\" nor \"none\" nor a list")]
    Word(String),
    /// Not a network.
    #[error("{0:?} is not an IPv4 network such as 10.1.0.0/16")]
    Network(String),
    /// Not a name.
    #[error("{0:?} is neither an IPv4 address or network nor a host name or *.suffix")]
    Name(String),
    /// Not a port or range of ports.
    #[error("{0:?} is not a port or a range of ports such as 8000-8100")]
    Ports(String),
    /// More than [`ENTRIES_MAX`].
    #[error("the list has more than {ENTRIES_MAX} entries")]
    TooMany,
}

impl Egress {
    /// Whether a host name may be looked up.
    #[must_use]
    pub fn allows_name(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::List(_) => self.entries().iter().any(|entry| entry.names(name)),
        }
    }

    /// Whether an address is reached without having been looked up.
    #[must_use]
    pub fn allows_address(&self, address: Ipv4Addr, port: u16) -> bool {
        let any = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        let listed = |entry: &Entry| {
            matches!(entry.target, Target::Network(network) if network.contains(address))
                && entry.ports.contains(port)
        };
        let allowed = match self {
            Self::All => !any(&PRIVATE),
            Self::None => false,
            Self::List(entries) => entries.iter().any(listed),
        };
        allowed && !any(&NEVER)
    }

    /// Whether an address is reached that was looked up under a name.
    #[must_use]
    pub fn allows_looked_up(&self, name: &str, address: Ipv4Addr, port: u16) -> bool {
        let any = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        let is_named = self.entries().iter().any(|entry| entry.names(name) && entry.ports.contains(port));
        self.allows_address(address, port) || (is_named && !any(&PRIVATE) && !any(&NEVER))
    }

    /// The ranges of ports that some name opens, each once; addresses are kept for each of them.
    #[must_use]
    pub fn named_ports(&self) -> Vec<Ports> {
        let named = self.entries().iter().filter(|entry| !matches!(entry.target, Target::Network(_)));
        let mut ports: Vec<Ports> = named.map(|entry| entry.ports).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The ranges of ports that this name opens, as positions in [`Egress::named_ports`].
    #[must_use]
    pub fn ports_of(&self, name: &str) -> Vec<usize> {
        let open =
            |ports: &Ports| self.entries().iter().any(|entry| entry.ports == *ports && entry.names(name));
        let all = self.named_ports();
        (0..all.len()).filter(|&position| open(&all[position])).collect()
    }

    /// The entries of a list.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match self {
            Self::All | Self::None => &[],
            Self::List(entries) => entries,
        }
    }
}

impl Entry {
    /// Whether this is about the name, whose case does not matter and which may end with a dot.
    fn names(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match &self.target {
            Target::Network(_) => false,
            Target::Host(host) => *host == name,
            Target::Below(suffix) => {
                name.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }
}

impl FromStr for Entry {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        let (target, ports) = match text.split_once(':') {
            Some((target, ports)) => (target, ports.parse()?),
            None => (text, Ports::ALL),
        };
        let bare: Vec<&str> = target.splitn(2, '/').collect();
        if bare.len() == 2 || bare[0].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Ok(Self { target: Target::Network(target.parse()?), ports });
        }
        let name = target.strip_prefix("*.").unwrap_or(target);
        let name = host_name(name).ok_or_else(|| EgressError::Name(text.to_owned()))?;
        let target = if target.starts_with("*.") { Target::Below(name) } else { Target::Host(name) };
        Ok(Self { target, ports })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Network(network) => write!(f, "{network}")?,
            Target::Host(host) => write!(f, "{host}")?,
            Target::Below(suffix) => write!(f, "*.{suffix}")?,
        }
        if self.ports == Ports::ALL { Ok(()) } else { write!(f, ":{}", self.ports) }
    }
}

/// A name in lower case without its last dot; `None` for what can be none.
fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| !label.is_empty() && label.len() <= LABEL_BYTES_MAX && label.bytes().all(good);
    (name.len() <= NAME_BYTES_MAX && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for Ports {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last && first > 0 => Ok(Self { first, last }),
            _ => Err(EgressError::Ports(text.to_owned())),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Network {
    const fn of([a, b, c, d]: [u8; 4], prefix: u8) -> Self {
        Self { address: Ipv4Addr::new(a, b, c, d), prefix }
    }

    /// The network with this first address; `None` when the address has bits beyond the prefix.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32 && address.to_bits() & !mask(prefix) == 0).then_some(Self { address, prefix })
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

impl FromStr for Network {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let network = address.parse().ok().zip(prefix.parse().ok());
        let network = network.and_then(|(address, prefix)| Self::new(address, prefix));
        network.ok_or_else(|| EgressError::Network(text.to_owned()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl TryFrom<String> for Network {
    type Error = EgressError;

    fn try_from(text: String) -> Result<Self, EgressError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// How it is written in a configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Word(String),
    List(Vec<String>),
}

impl TryFrom<Text> for Egress {
    type Error = EgressError;

    fn try_from(text: Text) -> Result<Self, EgressError> {
        match text {
            Text::Word(word) if word == "all" => Ok(Self::All),
            Text::Word(word) if word == "none" => Ok(Self::None),
            Text::Word(word) => Err(EgressError::Word(word)),
            Text::List(list) if list.len() > ENTRIES_MAX => Err(EgressError::TooMany),
            Text::List(list) => {
                Ok(Self::List(list.iter().map(|entry| entry.parse()).collect::<Result<_, _>>()?))
            }
        }
    }
}

impl From<Egress> for Text {
    fn from(egress: Egress) -> Self {
        match egress {
            Egress::All => Self::Word("all".to_owned()),
            Egress::None => Self::Word("none".to_owned()),
            Egress::List(entries) => Self::List(entries.iter().map(ToString::to_string).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(entries: &[&str]) -> Egress {
        let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Egress::try_from(Text::List(entries)).unwrap()
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn all_is_what_is_public() {
        assert!(Egress::All.allows_address(address("192.0.2.1"), 80));
        for out in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "100.100.100.200", "224.0.0.1"]
        {
            assert!(!Egress::All.allows_address(address(out), 80), "{out}");
        }
        assert!(Egress::All.allows_name("example.com"));
        assert!(!Egress::None.allows_address(address("192.0.2.1"), 80) && !Egress::None.allows_name("a.b"));
    }

    #[test]
    fn a_name_on_the_list_leads_to_public_addresses_only() {
        let list = list(&["example.com:443", "10.0.0.0/8"]);
        let reaches = |name, to, port| list.allows_looked_up(name, address(to), port);
        assert!(reaches("example.com", "192.0.2.1", 443));
        assert!(!reaches("example.com", "192.0.2.1", 80) && !reaches("example.org", "192.0.2.1", 443));
        assert!(!reaches("example.com", "192.168.0.1", 443) && !reaches("example.com", "127.0.0.1", 443));
        assert!(reaches("example.org", "10.0.0.1", 443), "the list says so");
        assert!(Egress::All.allows_looked_up("example.com", address("192.0.2.1"), 443));
        assert!(!Egress::All.allows_looked_up("example.com", address("10.0.0.1"), 443));
    }

    #[test]
    fn a_list_opens_networks_and_ports_even_private_ones() {
        let egress = list(&["10.1.0.0/16:80-90", "192.0.2.7", "0.0.0.0/0:443"]);
        assert!(egress.allows_address(address("10.1.2.3"), 80));
        assert!(egress.allows_address(address("10.1.2.3"), 90));
        assert!(!egress.allows_address(address("10.1.2.3"), 91));
        assert!(!egress.allows_address(address("10.2.0.1"), 80));
        assert!(egress.allows_address(address("192.0.2.7"), 9));
        assert!(egress.allows_address(address("203.0.113.9"), 443));
        assert!(!egress.allows_address(address("169.254.169.254"), 443), "no list opens that");
        assert!(!egress.allows_address(address("127.0.0.1"), 443));
    }

    #[test]
    fn names_are_compared_as_dns_does() {
        let egress = list(&["Example.com:443", "*.example.org", "example.com:80"]);
        for name in ["example.com", "EXAMPLE.com.", "a.example.org", "b.a.example.org."] {
            assert!(egress.allows_name(name), "{name}");
        }
        for name in ["example.org", ".example.org", "a.example.com", "badexample.org", "example.com.evil", ""]
        {
            assert!(!egress.allows_name(name), "{name}");
        }
        assert_eq!(egress.named_ports(), [Ports::ALL, "80".parse().unwrap(), "443".parse().unwrap()]);
        assert_eq!(egress.ports_of("example.com"), [1, 2]);
        assert_eq!(egress.ports_of("x.example.org"), [0]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for entry in [
            "",
            "10.1.2.3/16",
            "10.0.0.0/33",
            "1.2.3",
            "a..b",
            "a b",
            "*",
            "*.",
            "x:0",
            "x:9-8",
            "x:",
            "x:70000",
            "::1",
        ] {
            assert!(entry.parse::<Entry>().is_err(), "{entry}");
        }
        assert!(Egress::try_from(Text::Word("some".to_owned())).is_err());
        assert!(Egress::try_from(Text::List(vec!["a".to_owned(); ENTRIES_MAX + 1])).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same_way(text in "[a-z0-9.*/:-]{0,24}") {
            if let Ok(entry) = text.parse::<Entry>() {
                prop_assert_eq!(entry.to_string().parse::<Entry>().unwrap(), entry);
            }
        }

        #[test]
        fn networks_overlap_when_they_share_an_address(a: u32, b: u32, x in 0_u8..=32, y in 0_u8..=32) {
            let network = |bits: u32, prefix| {
                Network::new(Ipv4Addr::from_bits(bits & mask(prefix)), prefix).unwrap()
            };
            let (a, b) = (network(a, x), network(b, y));
            let narrow = if x > y { a } else { b };
            prop_assert_eq!(a.overlaps(b), a.contains(narrow.address()) && b.contains(narrow.address()));
        }
    }
}
