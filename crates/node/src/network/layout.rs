//! Which address is whose, in the range that sandboxes have to themselves. Pure code.
//!
//! The lower half of the range is for sandboxes of the first policy, the upper half is cut into blocks for the others, so that
//! a sandbox's address tells its policy. Of the last 256 addresses, one is the gateway that all sandboxes see and the others are
//! for the wires between the host and the gateways of the servers that run on it.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use triplane_core::egress::Network;

/// How many servers a host may have.
pub(crate) const WIRES: u32 = 63;
/// The least addresses in a block.
const BLOCK_MIN: u32 = 256;
/// The shortest and longest prefix of a range.
const PREFIX_MIN: u8 = 12;
const PREFIX_MAX: u8 = 22;

/// A range, cut up.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    range: Network,
    /// One for each policy.
    blocks: Vec<Network>,
}

/// The two ends of the wire between the host and a gateway, with a prefix of 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) host: Ipv4Addr,
    pub(crate) gateway: Ipv4Addr,
}

impl Layout {
    /// Cuts a range up for so many policies.
    ///
    /// # Errors
    /// When it is too small or too large.
    pub(crate) fn new(range: Network, policies: usize) -> Result<Self, String> {
        if !(PREFIX_MIN..=PREFIX_MAX).contains(&range.prefix()) {
            return Err(format!("the range {range} must have a prefix of {PREFIX_MIN} to {PREFIX_MAX} bits"));
        }
        let half = size(range) / 2;
        // the last block stays free: it has the gateway and the wires
        let others = u32::try_from(policies).unwrap_or(u32::MAX).max(1);
        let block = half / others.checked_next_power_of_two().unwrap_or(u32::MAX);
        if block < BLOCK_MIN {
            return Err(format!("the range {range} is too small for {policies} policies"));
        }
        let first = range.address().to_bits();
        let upper = (0..others - 1).map(|number| (first + half + number * block, block));
        let blocks = std::iter::once((first, half)).chain(upper);
        let blocks = blocks.map(|(first, size)| {
            let prefix = 32 - u8::try_from(size.trailing_zeros()).unwrap_or(0);
            Network::new(Ipv4Addr::from_bits(first), prefix)
        });
        let blocks = blocks.collect::<Option<_>>().ok_or("the range cannot be cut up")?;
        Ok(Self { range, blocks })
    }

    pub(crate) fn range(&self) -> Network {
        self.range
    }

    /// The address of the gateway as all sandboxes see it.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(last(self.range) - 1)
    }

    /// The wire of the server with this number.
    pub(crate) fn wire(&self, number: u32) -> Wire {
        let first = last(self.range) - 255 + 4 * number.min(WIRES - 1);
        Wire { host: Ipv4Addr::from_bits(first + 1), gateway: Ipv4Addr::from_bits(first + 2) }
    }

    /// The addresses of a policy's sandboxes.
    pub(crate) fn blocks(&self) -> &[Network] {
        &self.blocks
    }

    /// The policy of the sandbox with this address.
    pub(crate) fn policy_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.blocks.iter().position(|block| block.contains(address))
    }

    /// The name and the number of the gateway's end of the wire to this sandbox.
    pub(crate) fn wire_to(&self, address: Ipv4Addr) -> (String, u32) {
        let offset = address.to_bits() - self.range.address().to_bits();
        (format!("s{offset}"), 100 + offset)
    }
}

fn size(network: Network) -> u32 {
    1 << (32 - u32::from(network.prefix()))
}

fn last(network: Network) -> u32 {
    network.address().to_bits() + (size(network) - 1)
}

/// Hands out the addresses of a block in turn, so that one is used again as late as possible: what may still be on its way to
/// a sandbox that is gone meets nobody.
#[derive(Debug)]
pub(crate) struct Addresses {
    block: Network,
    next: u32,
    taken: HashSet<Ipv4Addr>,
}

impl Addresses {
    pub(crate) fn new(block: Network) -> Self {
        Self { block, next: 1, taken: HashSet::new() }
    }

    /// An address that nobody has.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        let size = size(self.block);
        // the first and last of a block look like those of a network and its broadcast
        for _ in 0..size - 2 {
            let address = Ipv4Addr::from_bits(self.block.address().to_bits() + self.next);
            self.next = if self.next >= size - 2 { 1 } else { self.next + 1 };
            if self.taken.insert(address) {
                return Some(address);
            }
        }
        None
    }

    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(range: &str, policies: usize) -> Result<Layout, String> {
        Layout::new(range.parse().unwrap(), policies)
    }

    #[test]
    fn blocks_gateway_and_wires_are_apart() {
        for policies in 1..=100 {
            let layout = layout("10.233.0.0/16", policies).unwrap();
            assert_eq!(layout.blocks().len(), policies);
            let mut special: Vec<Ipv4Addr> = (0..WIRES).map(|number| layout.wire(number).gateway).collect();
            special.extend((0..WIRES).map(|number| layout.wire(number).host));
            special.push(layout.gateway());
            assert_eq!(special.iter().collect::<HashSet<_>>().len(), special.len());
            for (number, block) in layout.blocks().iter().enumerate() {
                assert!(layout.blocks()[..number].iter().all(|other| !other.overlaps(*block)));
                assert!(special.iter().all(|address| !block.contains(*address)));
                assert_eq!(layout.policy_of(block.address()), Some(number));
            }
            assert!(special.iter().all(|address| layout.range().contains(*address)));
            assert!(special.iter().all(|address| layout.policy_of(*address).is_none()));
        }
    }

    #[test]
    fn a_range_that_cannot_do_is_refused() {
        assert!(layout("10.233.0.0/24", 1).is_err());
        assert!(layout("10.0.0.0/8", 1).is_err());
        assert!(layout("10.233.0.0/22", 1).is_ok());
        assert!(layout("10.233.0.0/22", 2).is_ok());
        assert!(layout("10.233.0.0/22", 3).is_err());
        assert!(layout("10.233.0.0/16", 1000).is_err());
    }

    #[test]
    fn an_address_is_used_again_as_late_as_possible() {
        let mut addresses = Addresses::new("10.0.0.0/29".parse().unwrap());
        let first: Vec<Ipv4Addr> = (0..6).filter_map(|_| addresses.take()).collect();
        assert_eq!(first.first().unwrap().to_string(), "10.0.0.1");
        assert_eq!(first.last().unwrap().to_string(), "10.0.0.6");
        assert_eq!(addresses.take(), None);
        addresses.give_back(first[4]);
        addresses.give_back(first[2]);
        assert_eq!(addresses.take(), Some(first[2]));
        assert_eq!(addresses.take(), Some(first[4]));
        assert_eq!(addresses.take(), None);
    }
}
