//! Limits of calls per minute that hold over many routers together (LIMIT-1).
//!
//! One [`Authority`], at the leader of the control plane, hands out batches of tokens; each router keeps them with a [`Holder`] and admits calls
//! from a [`Wallet`], with a single atomic operation and without asking anybody. Half of what is left is handed out in batches, so that
//! these become smaller as the limit comes nearer, and what one router holds in vain is called back when another has none: also a
//! limit of a few calls is divided well. What a router will need of the next minute it gets before that begins.
//!
//! **Messages** say how much there is since contact began, not how much more, so that one that is lost, comes twice or comes late does no
//! harm: the next one says it again. Those of an earlier contact are not heard.
//!
//! **A router that lost contact** goes on by itself with its last fair share. Together these shares are never more than a fifth of the limit;
//! while they may be used the authority sets aside what of them exceeds a tenth, the error that is allowed in either direction. The
//! authority must notice a lost contact before the router does.
//!
//! **A new leader** knows nothing of what an earlier one handed out of the minute that runs. It learns from the roster, which each leader
//! has written down beside its lease before anybody gets tokens from it, who may hold some; and each router says when it
//! joins what it has had. Until all of them have, what nobody told counts as handed out: then the new leader only moves tokens from one
//! router to another. So at a change of leader the least that is admitted, 0.9 of the limit, is given within a moment when all routers are still
//! there; where one is gone, or began anew in that very minute, what it used is known to nobody, and the minute may admit less (the next
//! one too, where the leader changed so late that the earlier one may have handed out half of it). No minute admits more.

mod account;
mod authority;
mod holder;
mod message;
mod takeover;
mod wallet;

#[cfg(test)]
mod tests;

pub use authority::{Authority, Settings};
pub use holder::Holder;
pub use message::{Action, Contact, Grant, Had, Recall, Report, Roster, Told};
pub use wallet::Wallet;

/// A wall-clock minute: the whole minutes since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(pub u32);

const MINUTE_MS: u64 = 60_000;

/// The error that is allowed in either direction, as a part of the limit.
const ERROR_PARTS: u64 = 10;

impl Minute {
    /// The minute of a time, epoch milliseconds.
    #[must_use]
    pub fn of(now_ms: u64) -> Self {
        Self(u32::try_from(now_ms / MINUTE_MS).unwrap_or(u32::MAX))
    }

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// When it begins, epoch milliseconds.
    fn start_ms(self) -> u64 {
        u64::from(self.0) * MINUTE_MS
    }
}

/// What all routers without contact may admit of a limit together, in each minute.
fn shares_max(limit: u64) -> u64 {
    limit * 2 / ERROR_PARTS
}
