//! Planted mistakes of the pool, of the routers' tables and of their limits: one for each invariant, so that the simulation shows that it
//! would find such a one.

crate::mutants::mutants! {
    /// POOL-1: a router takes one slot more of a container than there are.
    OneSlotMore,
    /// POOL-2: a container is leased for the action that waits first, whichever it was started for.
    LeasedForAnother,
    /// POOL-3: a container is charged half of its memory.
    HalfIsCharged,
    /// POOL-3: stem cells stay where a container needs their memory.
    StemsStay,
    /// POOL-4: a spare container goes to another router before its owner has let go of it.
    MovedWithoutMark,
    /// GC-1: a proxy that refuses to close is stopped all the same.
    StoppedInUse,
    /// GC-2: a proxy whose answer was lost is not asked again.
    AskedOnce,
    /// GC-3: of the sets of victims that free enough the one that is missed least goes, however many nodes it leaves occupied.
    NodesStayOccupied,
    /// LEASE-1: a router obeys a leader that was.
    OlderLeaderIsObeyed,
    /// ROUTE-1: a router takes in a message that is older than its table.
    OlderIsTakenIn,
    /// ROUTE-2: a router that misses messages forgets what it owns.
    GapEmptiesTable,
    /// LIMIT-1: what was handed out ahead of a minute counts for nothing in it.
    AheadIsForgotten,
    /// LIMIT-1: a new leader takes the whole limit for its own, though an earlier one has handed out of it.
    EarlierIsForgotten,
    /// LIMIT-1: tokens are counted once more with each message that says them again.
    DoubledCountsTwice,
    /// COLD-1: each call that waits gets a container of its own.
    OneForEachCall,
}
