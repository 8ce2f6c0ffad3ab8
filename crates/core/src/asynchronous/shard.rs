//! Which dispatcher prefers which lane, so that dispatchers keep out of each other's way. What guards a call is its lease.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::call::Owner;
use crate::mix::mix;

/// Shards of the queue: many more than routers, so that shares are even.
pub const SHARDS: u64 = 64;

/// The shard of a lane.
#[must_use]
pub fn of_lane(lane: &impl Hash) -> u64 {
    // Without random keys: every router must come to the same.
    let mut hasher = DefaultHasher::new();
    lane.hash(&mut hasher);
    hasher.finish() % SHARDS
}

/// The dispatcher that prefers a shard, of those that live, in any order (rendezvous hashing: one that comes or goes moves its own
/// share only).
#[must_use]
pub fn owner_of(shard: u64, living: &[Owner]) -> Option<Owner> {
    living.iter().copied().max_by_key(|owner| (mix(mix(owner.0) ^ shard), *owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(living: &[Owner]) -> Vec<Owner> {
        (0..SHARDS).filter_map(|shard| owner_of(shard, living)).collect()
    }

    #[test]
    fn every_shard_has_one_owner_whatever_the_order() {
        let living = [Owner(1), Owner(2), Owner(3)];
        let reversed = [Owner(3), Owner(2), Owner(1)];
        assert_eq!(owners(&living), owners(&reversed));
        for owner in living {
            let share = owners(&living).into_iter().filter(|other| *other == owner).count();
            assert!((10..=36).contains(&share), "{owner:?} has {share} of 64");
        }
        assert_eq!(owner_of(7, &[]), None);
    }

    #[test]
    fn a_dispatcher_that_goes_moves_its_own_share_only() {
        let (before, after) = (owners(&[Owner(1), Owner(2), Owner(3)]), owners(&[Owner(1), Owner(3)]));
        for (before, after) in before.into_iter().zip(after) {
            assert!(before == after || before == Owner(2));
        }
    }

    #[test]
    fn lanes_are_spread_over_the_shards() {
        let mut lanes = [0_u32; 64];
        for lane in 0..6_400 {
            lanes[usize::try_from(of_lane(&("guest", lane))).unwrap()] += 1;
        }
        assert!(lanes.iter().all(|count| (50..160).contains(count)), "{lanes:?}");
    }
}
