//! What the authority and the routers say to each other.

use std::collections::BTreeSet;

use triplane_model::EntityName;

use super::Minute;
use crate::id::RouterId;

/// One connection between a router and an authority; a later one of the same router has a greater number, also over its restarts.
/// What was said in an earlier one is not heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact(pub u64);

/// What a router says when contact begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which contact begins.
    pub contact: Contact,
    /// When the process began that says so, epoch milliseconds: what an earlier one has used it cannot know.
    pub began_ms: u64,
    /// What it has had, by namespace.
    pub had: Vec<Had>,
}

/// What a router has had for the calls of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Had {
    /// Whose calls.
    pub namespace: EntityName,
    /// The limit of the namespace.
    pub limit: u64,
    /// The tokens of this minute and of the next, used or not.
    pub tokens: [(Minute, u64); 2],
    /// What it admits in each minute without contact, and the minute up to which that holds.
    pub share: (u64, Minute),
}

/// How a router stands with a namespace, said when it has few tokens left, and when tokens are called back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In which contact.
    pub contact: Contact,
    /// Whose calls.
    pub namespace: EntityName,
    /// The limit of the namespace.
    pub limit: u64,
    /// Of which minute.
    pub minute: Minute,
    /// The tokens that it got of that minute since contact began.
    pub granted: u64,
    /// Those that it has given back since.
    pub returned: u64,
    /// The number of the last share that it has heard of.
    pub share: u64,
    /// Whether it needs more.
    pub is_hungry: bool,
}

/// Tokens of a minute for a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// In which contact.
    pub contact: Contact,
    /// For whose calls.
    pub namespace: EntityName,
    /// For which minute.
    pub minute: Minute,
    /// How many it has got since contact began, with these.
    pub total: u64,
    /// What it may admit in each minute if it loses contact.
    pub share: u64,
    /// The number of that share: a later one has a greater number.
    pub share_number: u64,
}

/// A router is to give back what it has left of a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recall {
    /// In which contact.
    pub contact: Contact,
    /// Whose.
    pub namespace: EntityName,
    /// Of which minute.
    pub minute: Minute,
}

/// Who may hold tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Counted up by the authority.
    pub number: u64,
    /// The routers.
    pub routers: BTreeSet<RouterId>,
}

/// What the authority wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say this to a router.
    Grant(RouterId, Grant),
    /// Say this to a router.
    Recall(RouterId, Recall),
    /// Write this down, over the one before and only while this leader leads, where the next leader reads it; then say so with
    /// [`Authority::enrolled`](super::Authority::enrolled). It is wanted again until that is said.
    Enrol(Roster),
}
