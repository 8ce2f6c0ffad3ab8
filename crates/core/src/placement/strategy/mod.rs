//! How one of the nodes that take a container is chosen. A strategy says what a choice costs; the cheapest one is taken, of
//! equally cheap ones that with the lower id. Which nodes it is asked about is [`Look`]'s.

mod pack;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::mix::Mix;
use super::node::Node;
use super::request::Request;
use super::space::{Need, Space};

/// The strategies that there are, by the names that a configuration has for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyName {
    /// Fills a node before it begins another: whole nodes stay empty.
    #[default]
    Pack,
}

impl StrategyName {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Pack];

    /// As a configuration writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pack => "pack",
        }
    }

    /// What it does.
    #[must_use]
    pub(super) fn strategy(self) -> &'static dyn Strategy {
        match self {
            Self::Pack => &pack::Pack,
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
#[error("there is no placement strategy {0}; there is pack")]
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
    /// Those with the most free memory.
    pub(super) roomiest: usize,
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
}

/// A way to choose.
pub(super) trait Strategy: fmt::Debug + Sync {
    /// Which nodes it wants to be asked about.
    fn look(&self) -> Look;

    /// What it costs to place the container there.
    fn cost(&self, candidate: &Candidate<'_>) -> Cost;
}
