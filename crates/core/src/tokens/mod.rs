//! Limits of calls per minute that hold over many routers together (LIMIT-1).
//!
//! One [`Authority`], at the leader of the control plane, hands out batches of tokens; each router admits calls from its [`Wallet`], with a
//! single atomic operation and without asking anybody. Half of what is left is handed out in batches, so that these become smaller as the
//! limit comes nearer, and what one router holds in vain is called back when another has none: also a limit of a few calls is divided well.
//! What a router will need of the next minute it gets before that begins.
//!
//! A router that lost contact goes on by itself with its last fair share. While it may do so the authority sets most of that share aside;
//! a tenth of the limit is the error that is allowed in either direction.

mod authority;
mod wallet;

#[cfg(test)]
mod tests;

pub use authority::{Action, Authority, Settings};
pub use wallet::Wallet;

/// A wall-clock minute: the whole minutes since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(pub u32);

const MINUTE_MS: u64 = 60_000;

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

    /// How long it lasts still, milliseconds.
    fn left_ms(now_ms: u64) -> u64 {
        MINUTE_MS - now_ms % MINUTE_MS
    }
}
