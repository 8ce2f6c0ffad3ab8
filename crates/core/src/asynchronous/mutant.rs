//! Planted mistakes, by which the simulation shows that it would find such a one. They are there with the feature `mutants` only, which
//! the shipped binary does not have; without it [`is_planted`] is false when it is compiled, and nothing of them is left.

/// Whether mistakes can be planted in this build.
pub const MUTANTS: bool = cfg!(feature = "mutants");

/// A mistake, named by what is wrong with it. Those of engines and shells are planted in the models of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutant {
    /// What an owner says of an earlier lease of its own is taken for the present one.
    HoldWithoutNumber,
    /// A running call whose lease lapsed goes back as if it was never sent.
    LapsedIsUnsent,
    /// A leased call whose lease lapsed stays leased.
    LapsedStaysLeased,
    /// A call that was cancelled after it was leased is sent.
    CancelledIsSent,
    /// A call that is over is put back by a late word of who held it.
    OverIsPutBack,
    /// A retry does not count the attempt that failed.
    UncountedRetry,
    /// An attempt that failed is followed by one more than the policy allows.
    OneAttemptMore,
    /// A lost attempt is repeated whatever the policy says.
    LostIsRepeated,
    /// A call that is too old is started.
    ExpiredIsStarted,
    /// Of namespaces and lanes the first always comes first.
    FirstLaneFirst,
    /// A dispatcher holds more calls than it has places.
    PlacesWithoutBound,
    /// No place is kept for the call that tells a destination.
    NoPlaceForDestination,
    /// A chain of destinations does not end.
    EndlessDestinations,
    /// An idempotency key is forgotten at once.
    KeyIsForgotten,
    /// What is not dead is redriven too.
    AnythingIsRedriven,
    /// The next call of a partition is let go at a retry of the one before.
    NextGoesAtRetry,
    /// The count of a call goes with its purged row.
    CountGoesWithRow,
    /// A call is finished before its record is spooled.
    FinishBeforeRecord,
    /// A destination is accepted though the end of its call was refused.
    DestinationWithoutEnd,
    /// A call ends and its destination is not accepted.
    EndWithoutDestination,
    /// A call is sent before it is noted that it will be.
    SentBeforeNoted,
    /// Who says that a call was never sent does not keep a late request from being taken.
    UnfencedRecovery,
}

impl Mutant {
    /// All there are.
    pub const ALL: [Self; 22] = [
        Self::HoldWithoutNumber,
        Self::LapsedIsUnsent,
        Self::LapsedStaysLeased,
        Self::CancelledIsSent,
        Self::OverIsPutBack,
        Self::UncountedRetry,
        Self::OneAttemptMore,
        Self::LostIsRepeated,
        Self::ExpiredIsStarted,
        Self::FirstLaneFirst,
        Self::PlacesWithoutBound,
        Self::NoPlaceForDestination,
        Self::EndlessDestinations,
        Self::KeyIsForgotten,
        Self::AnythingIsRedriven,
        Self::NextGoesAtRetry,
        Self::CountGoesWithRow,
        Self::FinishBeforeRecord,
        Self::DestinationWithoutEnd,
        Self::EndWithoutDestination,
        Self::SentBeforeNoted,
        Self::UnfencedRecovery,
    ];
}

#[cfg(feature = "mutants")]
mod planted {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this mistake is planted in this thread.
    #[must_use]
    pub fn is_planted(mutant: Mutant) -> bool {
        PLANTED.get() == Some(mutant)
    }

    /// Plants a mistake in this thread until what this returns is dropped.
    #[must_use]
    pub fn plant(mutant: Mutant) -> Planted {
        PLANTED.set(Some(mutant));
        Planted(())
    }

    /// A mistake is planted in the thread that has this.
    #[derive(Debug)]
    pub struct Planted(());

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
}

#[cfg(feature = "mutants")]
pub use planted::{Planted, is_planted, plant};

/// Whether this mistake is planted: in this build none is.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is_planted(_: Mutant) -> bool {
    false
}
