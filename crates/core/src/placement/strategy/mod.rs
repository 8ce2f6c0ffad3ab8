//! How one of the nodes that take a container is chosen. A strategy says what a choice costs; the cheapest one is taken, of
//! equally cheap ones that with the lower id. Which nodes it is asked about is [`Look`]'s.

mod balanced;
mod fragmentation;
mod gpu;
mod locality;
mod pack;
mod spread;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(super) use balanced::Shares;

use super::mix::Mix;
use super::node::Node;
use super::request::Request;
use super::resources::{Resource, Resources, share_ppm};
use super::space::{MEMORY, Need, Space};

/// The strategies that there are, by the names that a configuration has for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyName {
    /// Fills a node before it begins another: whole nodes stay empty.
    #[default]
    Pack,
    /// Loads all nodes alike.
    Spread,
    /// Uses the resources of each node alike, so that none runs out while others are left over.
    Balanced,
    /// Leaves free what the demand that was seen can use.
    Fragmentation,
    /// Goes where the code or the image is already.
    Locality,
    /// Keeps nodes with GPUs for those that need them, and GPUs whole.
    Gpu,
}

impl StrategyName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pack, Self::Spread, Self::Balanced, Self::Fragmentation, Self::Locality, Self::Gpu];

    /// As a configuration writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Spread => "spread",
            Self::Balanced => "balanced",
            Self::Fragmentation => "fragmentation",
            Self::Locality => "locality",
            Self::Gpu => "gpu",
        }
    }

    /// What it does.
    #[must_use]
    pub(super) fn strategy(self) -> &'static dyn Strategy {
        match self {
            Self::Pack => &pack::Pack,
            Self::Spread => &spread::Spread,
            Self::Balanced => &balanced::Balanced,
            Self::Fragmentation => &fragmentation::Fragmentation,
            Self::Locality => &locality::Locality,
            Self::Gpu => &gpu::Gpu,
        }
    }
}

impl fmt::Display for StrategyName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A strategy that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no placement strategy {0}; it is pack, spread, balanced, fragmentation, locality or gpu")]
pub struct UnknownStrategy(pub String);

impl FromStr for StrategyName {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        let named = Self::ALL.into_iter().find(|name| name.as_str() == text);
        named.ok_or_else(|| UnknownStrategy(text.chars().take(64).collect()))
    }
}

/// What a choice costs: the first number decides, the others between equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost(pub(super) [u64; 3]);

/// How many nodes of a large pool a strategy is asked about, and where they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Those with the least free memory that is enough.
    pub(super) tightest: usize,
    /// The least loaded ones.
    pub(super) calmest: usize,
    /// Those that have the code already.
    pub(super) holders: usize,
    /// Any. At least one: that look goes through the whole pool before it says that there is no node.
    pub(super) random: usize,
}

/// A node that would take the container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) node: &'a Node,
    pub(super) request: &'a Request,
    pub(super) need: &'a Need,
    /// What the node has left.
    pub(super) space: &'a Space,
    /// What demand has been seen.
    pub(super) mix: &'a Mix,
    /// What a node of this pool has on average.
    pub(super) typical: &'a Resources,
}

impl Candidate<'_> {
    /// The share of a resource that is charged on the node, and that which will be, in millionths; nothing when the node
    /// does not have it.
    fn share_ppm(&self, resource: Resource) -> Option<(u64, u64)> {
        let has = self.node.offer().capacity.resources.get(resource);
        let charged = self.node.charged().get(resource);
        let asked = self.request.asked.resources.get(resource);
        (has > 0).then(|| (share_ppm(charged, has), share_ppm(charged + asked, has)))
    }

    /// What is free of memory: the least is the best fit.
    fn free_memory(&self) -> u64 {
        self.space.free[MEMORY]
    }
}

/// A number that grows with the difference of two others, which may be negative.
fn difference(after: u64, before: u64) -> u64 {
    (1 << 60) + after.min(1 << 59) - before.min(1 << 59)
}

/// A way to choose.
pub(super) trait Strategy: fmt::Debug + Sync {
    /// Which nodes it wants to be asked about.
    fn look(&self) -> Look;

    /// What it costs to place the container there.
    fn cost(&self, candidate: &Candidate<'_>) -> Cost;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in StrategyName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{name}\""));
        }
    }

    #[test]
    fn an_unknown_strategy_is_named_with_those_that_there_are() {
        let error = "best".parse::<StrategyName>().unwrap_err().to_string();
        for name in StrategyName::ALL {
            assert!(error.contains(name.as_str()), "{error}");
        }
    }
}
