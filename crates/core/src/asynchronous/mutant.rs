//! Planted mistakes of calls that are not waited for. Those of engines and shells are planted in the models of the simulator.

crate::mutants::mutants! {
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
