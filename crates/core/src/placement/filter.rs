//! Which nodes take which containers at all, whatever room they have: kinds, labels, taints, and who shares a node with whom.
//!
//! What cannot change from one container to the next is the same for all nodes of a [`Class`], so that a pool is asked once
//! for each class and not once for each node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::node::Node;
use super::offer::{Offer, Traits};
use super::request::{Isolation, Request};
use super::resources::Resource;
use crate::id::NodeId;

/// Kinds of action that only one node runs, such as a Docker engine, which runs no others. All other nodes run all other
/// kinds.
pub type Pinned = BTreeMap<Box<str>, NodeId>;

/// Why a node does not take a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It takes no more containers.
    Draining,
    /// It does not run actions of this kind.
    Kind,
    /// It is reserved for another namespace.
    Reserved,
    /// It lacks a label that is asked for.
    Label,
    /// It has a taint that is not tolerated.
    Taint,
    /// It has none of a resource that is asked for.
    Resource,
    /// It would have to be shared with a namespace that is not shared with.
    Isolation,
    /// It is not large enough even when it is empty.
    TooSmall,
    /// There is not enough left.
    Full,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Draining => "takes no more containers",
            Self::Kind => "does not run actions of this kind",
            Self::Reserved => "is reserved for another namespace",
            Self::Label => "lacks a label that is asked for",
            Self::Taint => "has a taint that is not tolerated",
            Self::Resource => "has none of a resource that is asked for",
            Self::Isolation => "has containers of a namespace that it cannot be shared with",
            Self::TooSmall => "is too small",
            Self::Full => "has too little left",
        })
    }
}

/// All that decides whether a node takes a container, but for what is on the node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Class {
    traits: Traits,
    /// The kinds that only this node runs, if there are any.
    kinds: Option<BTreeSet<Box<str>>>,
    has_gpus: bool,
    extended: Vec<Arc<str>>,
}

impl Class {
    pub(super) fn of(id: NodeId, offer: &Offer, pinned: &Pinned) -> Self {
        let kinds: BTreeSet<_> =
            pinned.iter().filter(|(_, only)| **only == id).map(|(kind, _)| kind.clone()).collect();
        Self {
            traits: offer.traits.clone(),
            kinds: (!kinds.is_empty()).then_some(kinds),
            has_gpus: offer.capacity.resources.get(Resource::Gpu) > 0,
            extended: offer.capacity.resources.all_extended().map(|(name, _)| Arc::clone(name)).collect(),
        }
    }

    /// Whether its nodes take a container, as far as that can be said of all of them.
    pub(super) fn admits(&self, request: &Request, pinned: &Pinned) -> Result<(), Refusal> {
        self.runs(&request.kind, pinned)?;
        self.is_open_to(request)?;
        self.matches(request)?;
        self.offers(request)
    }

    fn runs(&self, kind: &str, pinned: &Pinned) -> Result<(), Refusal> {
        let runs = match &self.kinds {
            Some(kinds) => kinds.contains(kind),
            None => !pinned.contains_key(kind),
        };
        runs.then_some(()).ok_or(Refusal::Kind)
    }

    fn is_open_to(&self, request: &Request) -> Result<(), Refusal> {
        let reserved_for = self.traits.reserved_for.as_ref();
        if reserved_for.is_some_and(|namespace| *namespace != request.namespace) {
            return Err(Refusal::Reserved);
        }
        let tolerations = &request.constraints.tolerations;
        let is_tolerated = |taint| tolerations.iter().any(|toleration| toleration.tolerates(taint));
        self.traits.taints.iter().all(is_tolerated).then_some(()).ok_or(Refusal::Taint)
    }

    fn matches(&self, request: &Request) -> Result<(), Refusal> {
        let labels = &self.traits.labels;
        let has_all = request.constraints.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        has_all.then_some(()).ok_or(Refusal::Label)
    }

    fn offers(&self, request: &Request) -> Result<(), Refusal> {
        let resources = &request.asked.resources;
        let has_gpus = self.has_gpus || resources.get(Resource::Gpu) == 0;
        let has_extended = resources.all_extended().all(|(name, _)| self.extended.contains(name));
        (has_gpus && has_extended).then_some(()).ok_or(Refusal::Resource)
    }
}

/// Whether a container may be on a node with those that are there. Who wants to be apart gets a node on which there is nobody
/// else, and has it while it lives.
pub(super) fn may_share(node: &Node, request: &Request) -> Result<(), Refusal> {
    let is_apart = request.constraints.isolation == Isolation::Namespace || node.tenants.isolated() > 0;
    (!is_apart || node.tenants.are_all_of(&request.namespace)).then_some(()).ok_or(Refusal::Isolation)
}
