//! What a dispatcher leases next: lanes in turn, so that nobody waits behind another's calls.
//!
//! A lane is the calls of one namespace for one action. Namespaces take turns, and within a namespace its lanes. A lane whose calls
//! find no room rests, longer each time, and is then tried with one call; the others go on. A namespace gets three quarters of the
//! places that the others leave, and a lane of it three quarters of what its other lanes leave of that, so that who comes finds one
//! even when the calls of all who came before do not end.
//!
//! It is told what is ready by listings and by accepts, both of which may be wrong: a lane that is believed to have more than it has
//! costs a lease that brings less.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::mutant::{Mutant, is_planted};

/// The most lanes that are kept; a listing brings the others when these are empty.
pub const LANES_MAX: usize = 10_000;
/// How long a lane rests at first, milliseconds.
const REST_MS: u64 = 100;
/// How long it rests at most, milliseconds.
const REST_MS_MAX: u64 = 30_000;

/// How many calls to lease of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick<N, A> {
    /// The lane's namespace.
    pub namespace: N,
    /// The lane's action.
    pub action: A,
    /// How many.
    pub calls: usize,
}

/// The lanes and what is held of them.
#[derive(Clone, Debug)]
pub struct Turns<N, A> {
    places_max: usize,
    held: usize,
    lanes: usize,
    namespaces: BTreeMap<N, Namespace<A>>,
    /// Who had the last turn.
    last: Option<N>,
}

#[derive(Clone, Debug)]
struct Namespace<A> {
    held: usize,
    lanes: BTreeMap<A, Lane>,
    last: Option<A>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    ready: u64,
    held: usize,
    rest: Option<Rest>,
}

/// A lane that found no room, until one of its calls starts.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until_ms: u64,
    times: u32,
    /// The one call that tries it is on its way.
    is_tried: bool,
}

impl Lane {
    fn may_go(&self, now_ms: u64) -> bool {
        self.ready > 0 && self.rest.is_none_or(|rest| rest.is_over(now_ms) && !rest.is_tried)
    }
}

impl Rest {
    /// One that ends later than any rest can was begun before the clock went back.
    fn is_over(&self, now_ms: u64) -> bool {
        self.until_ms <= now_ms || now_ms.saturating_add(REST_MS_MAX) < self.until_ms
    }
}

impl<A: Ord + Clone> Namespace<A> {
    /// The lane whose turn it is, of a namespace that may hold so many.
    fn next(&self, now_ms: u64, share: usize) -> Option<A> {
        let has_place = |lane: &Lane| lane.held < share_of(share, self.held - lane.held);
        after(&self.lanes, self.last.as_ref())
            .find(|(_, lane)| lane.may_go(now_ms) && has_place(lane))
            .map(|(action, _)| action.clone())
    }
}

/// The share of one, of places of which the others hold some.
fn share_of(places: usize, of_others: usize) -> usize {
    (places.saturating_sub(of_others) * 3 / 4).max(1)
}

/// All entries, beginning behind the one that had the last turn.
fn after<'a, K: Ord, V>(
    map: &'a BTreeMap<K, V>,
    last: Option<&'a K>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let last = last.filter(|_| !is_planted(Mutant::FirstLaneFirst));
    let behind = last.map(|last| map.range((Excluded(last), Unbounded)));
    let up_to = move |key: &&'a K| last.is_none_or(|last| *key <= last);
    behind.into_iter().flatten().chain(map.iter().take_while(move |(key, _)| up_to(key)))
}

impl<N: Ord + Clone, A: Ord + Clone> Turns<N, A> {
    /// Of a dispatcher that holds so many calls at most.
    #[must_use]
    pub fn new(places_max: usize) -> Self {
        Self { places_max, held: 0, lanes: 0, namespaces: BTreeMap::new(), last: None }
    }

    /// How many calls are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many lanes are kept.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// A call was accepted. One of a lane too many is left to a listing.
    pub fn accepted(&mut self, namespace: &N, action: &A) {
        if let Some(lane) = self.lane(namespace, action) {
            lane.ready = lane.ready.saturating_add(1);
        }
    }

    /// A listing of lanes says how many calls of each are ready. Lanes that a complete one leaves out have none.
    pub fn listed(&mut self, listing: impl IntoIterator<Item = (N, A, u64)>, is_complete: bool) {
        if is_complete {
            let lanes = self.namespaces.values_mut().flat_map(|namespace| namespace.lanes.values_mut());
            lanes.for_each(|lane| lane.ready = 0);
        }
        let listing: Vec<_> = listing.into_iter().collect();
        for (namespace, action, ready) in &listing {
            if let Some(lane) = self.known(namespace, action) {
                lane.ready = *ready;
            }
        }
        // Before new lanes are added, so that there is room for them; known ones keep their rests.
        self.forget_empty();
        for (namespace, action, ready) in listing.into_iter().filter(|(.., ready)| *ready > 0) {
            if let Some(lane) = self.lane(&namespace, &action) {
                lane.ready = ready;
            }
        }
    }

    /// Chooses up to `most` calls to lease, each as if it were leased already; tell [`Turns::leased`] what came of each pick.
    pub fn take(&mut self, now_ms: u64, most: usize) -> Vec<Pick<N, A>> {
        let mut picks: Vec<Pick<N, A>> = Vec::new();
        let places = match is_planted(Mutant::PlacesWithoutBound) {
            true => self.places_max,
            false => self.places_max.saturating_sub(self.held),
        };
        for _ in 0..most.min(places) {
            let Some((namespace, action)) = self.next(now_ms) else { break };
            self.hold(&namespace, &action);
            match picks.iter_mut().find(|pick| pick.namespace == namespace && pick.action == action) {
                Some(pick) => pick.calls += 1,
                None => picks.push(Pick { namespace, action, calls: 1 }),
            }
        }
        picks
    }

    /// A lease brought so many of the calls that were picked; the lane has no more if that is less.
    pub fn leased(&mut self, pick: &Pick<N, A>, calls: usize) {
        let missing = pick.calls.saturating_sub(calls);
        if missing > 0 {
            self.give_back(&pick.namespace, &pick.action, missing, |lane| {
                lane.ready = 0;
                lane.untry();
            });
        }
    }

    /// The lease of a pick failed, so that nobody knows what the lane has.
    pub fn not_leased(&mut self, pick: &Pick<N, A>) {
        self.give_back(&pick.namespace, &pick.action, pick.calls, |lane| {
            lane.ready = lane.ready.saturating_add(pick.calls as u64);
            lane.untry();
        });
    }

    /// Whether a lane found no room, and none of its calls has started since.
    #[must_use]
    pub fn rests(&self, namespace: &N, action: &A) -> bool {
        let of_namespace = self.namespaces.get(namespace);
        of_namespace.and_then(|of| of.lanes.get(action)).is_some_and(|lane| lane.rest.is_some())
    }

    /// A call of the lane started: there is room for it again.
    pub fn started(&mut self, namespace: &N, action: &A) {
        if let Some(lane) = self.known(namespace, action) {
            lane.rest = None;
        }
    }

    /// A call of the lane ended.
    pub fn ended(&mut self, namespace: &N, action: &A) {
        self.give_back(namespace, action, 1, Lane::untry);
    }

    /// A call of the lane found no room and was put back: the lane rests, as long as the hint says and longer each time.
    pub fn turned_away(&mut self, namespace: &N, action: &A, now_ms: u64, retry_after_ms: u64) {
        self.give_back(namespace, action, 1, |lane| {
            lane.ready = lane.ready.saturating_add(1);
            lane.untry();
            // Calls that went out together and come back together are one experience.
            let times = match lane.rest {
                Some(rest) if !rest.is_over(now_ms) => return,
                Some(rest) => rest.times.saturating_add(1),
                None => 0,
            };
            let rest_ms = REST_MS.saturating_mul(1 << times.min(32)).max(retry_after_ms).min(REST_MS_MAX);
            lane.rest = Some(Rest { until_ms: now_ms.saturating_add(rest_ms), times, is_tried: false });
        });
    }

    /// When a lane that rests may be tried again, if there is one with calls, epoch milliseconds.
    #[must_use]
    pub fn next_try_ms(&self) -> Option<u64> {
        let lanes = self.namespaces.values().flat_map(|namespace| namespace.lanes.values());
        let rests = lanes.filter(|lane| lane.ready > 0).filter_map(|lane| lane.rest);
        rests.filter(|rest| !rest.is_tried).map(|rest| rest.until_ms).min()
    }

    /// Whose turn it is.
    fn next(&self, now_ms: u64) -> Option<(N, A)> {
        after(&self.namespaces, self.last.as_ref()).find_map(|(name, namespace)| {
            let share = share_of(self.places_max, self.held - namespace.held);
            let has_place = namespace.held < share;
            let action = has_place.then(|| namespace.next(now_ms, share)).flatten()?;
            Some((name.clone(), action))
        })
    }

    fn hold(&mut self, namespace: &N, action: &A) {
        if let Some(lane) = self.known(namespace, action) {
            lane.ready = lane.ready.saturating_sub(1);
            lane.held += 1;
            if let Some(rest) = &mut lane.rest {
                rest.is_tried = true;
            }
        }
        if let Some(of_namespace) = self.namespaces.get_mut(namespace) {
            of_namespace.held += 1;
            of_namespace.last = Some(action.clone());
        }
        self.held += 1;
        self.last = Some(namespace.clone());
    }

    fn give_back(&mut self, namespace: &N, action: &A, calls: usize, change: impl FnOnce(&mut Lane)) {
        let Some(of_namespace) = self.namespaces.get_mut(namespace) else { return };
        let Some(lane) = of_namespace.lanes.get_mut(action) else { return };
        let calls = calls.min(lane.held);
        lane.held -= calls;
        of_namespace.held -= calls;
        self.held -= calls;
        change(lane);
        if lane.ready == 0 && lane.held == 0 {
            of_namespace.lanes.remove(action);
            self.lanes -= 1;
            if of_namespace.lanes.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    fn known(&mut self, namespace: &N, action: &A) -> Option<&mut Lane> {
        self.namespaces.get_mut(namespace)?.lanes.get_mut(action)
    }

    /// A lane, made if there is room for it.
    fn lane(&mut self, namespace: &N, action: &A) -> Option<&mut Lane> {
        let is_known = self.known(namespace, action).is_some();
        if !is_known {
            if self.lanes >= LANES_MAX {
                return None;
            }
            self.lanes += 1;
        }
        let new = || Namespace { held: 0, lanes: BTreeMap::new(), last: None };
        let of_namespace = self.namespaces.entry(namespace.clone()).or_insert_with(new);
        Some(of_namespace.lanes.entry(action.clone()).or_default())
    }

    fn forget_empty(&mut self) {
        for namespace in self.namespaces.values_mut() {
            namespace.lanes.retain(|_, lane| lane.ready > 0 || lane.held > 0);
        }
        self.namespaces.retain(|_, namespace| !namespace.lanes.is_empty());
        self.lanes = self.namespaces.values().map(|namespace| namespace.lanes.len()).sum();
    }
}

impl Lane {
    /// The call that tried the lane came to no experience, or to a good one that was told before.
    fn untry(&mut self) {
        if let Some(rest) = &mut self.rest {
            rest.is_tried = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Few = Turns<&'static str, u32>;

    fn turns(places_max: usize, ready: &[(&'static str, u32, u64)]) -> Few {
        let mut turns = Turns::new(places_max);
        turns.listed(ready.iter().copied(), true);
        turns
    }

    fn take(turns: &mut Few, now_ms: u64, most: usize) -> Vec<(&'static str, u32, usize)> {
        turns.take(now_ms, most).into_iter().map(|pick| (pick.namespace, pick.action, pick.calls)).collect()
    }

    #[test]
    fn namespaces_take_turns_and_so_do_the_actions_of_each() {
        let mut turns = turns(100, &[("a", 1, 1_000), ("a", 2, 1_000), ("b", 1, 1_000)]);
        assert_eq!(take(&mut turns, 0, 8), [("a", 1, 2), ("b", 1, 4), ("a", 2, 2)]);
    }

    #[test]
    fn a_turn_goes_on_where_the_last_one_ended() {
        let mut turns = turns(100, &[("a", 1, 9), ("b", 1, 9), ("c", 1, 9)]);
        let singles: Vec<_> =
            (0..4).flat_map(|_| take(&mut turns, 0, 1)).map(|(namespace, ..)| namespace).collect();
        assert_eq!(singles, ["a", "b", "c", "a"]);
    }

    #[test]
    fn one_who_comes_finds_a_place_beside_a_million_calls() {
        let mut turns = turns(8, &[("a", 1, 1_000_000), ("b", 1, 1)]);
        assert_eq!(take(&mut turns, 0, 8), [("a", 1, 3), ("b", 1, 1)]);
        turns.accepted(&"c", &1);
        assert_eq!(take(&mut turns, 0, 8), [("c", 1, 1)]);
    }

    #[test]
    fn who_is_alone_leaves_places_for_who_comes() {
        let mut turns = turns(16, &[("a", 1, 1_000_000)]);
        assert_eq!(take(&mut turns, 0, 100), [("a", 1, 9)]);
        assert_eq!(take(&mut turns, 0, 100), []);
        turns.ended(&"a", &1);
        assert_eq!(take(&mut turns, 0, 100), [("a", 1, 1)]);
    }

    #[test]
    fn lanes_whose_calls_do_not_end_leave_a_place_for_the_next() {
        let mut turns = turns(64, &[]);
        for action in 1..=4 {
            (0..1_000).for_each(|_| turns.accepted(&"a", &action));
            let taken = take(&mut turns, 0, 100);
            assert!(matches!(taken[..], [("a", taken, 1..)] if taken == action), "{taken:?}");
        }
        turns.accepted(&"b", &1);
        assert_eq!(take(&mut turns, 0, 100), [("b", 1, 1)]);
    }

    #[test]
    fn a_lane_without_room_rests_and_the_others_go_on() {
        let mut turns = turns(100, &[("a", 1, 50), ("a", 2, 50)]);
        assert_eq!(take(&mut turns, 0, 4), [("a", 1, 2), ("a", 2, 2)]);
        turns.turned_away(&"a", &1, 0, 0);
        turns.turned_away(&"a", &1, 1, 0);
        assert_eq!(take(&mut turns, REST_MS - 1, 4), [("a", 2, 4)]);
        assert_eq!(turns.next_try_ms(), Some(REST_MS));
        assert_eq!(take(&mut turns, REST_MS, 4), [("a", 1, 1), ("a", 2, 3)], "it is tried with one call");
    }

    #[test]
    fn a_lane_that_finds_no_room_again_rests_longer_until_a_call_of_it_starts() {
        let mut turns = turns(100, &[("a", 1, 50)]);
        let mut now_ms = 0;
        for rest_ms in [100, 200, 400, 800] {
            assert_eq!(take(&mut turns, now_ms, 1), [("a", 1, 1)]);
            turns.turned_away(&"a", &1, now_ms, 0);
            assert_eq!(take(&mut turns, now_ms + rest_ms - 1, 9), []);
            now_ms += rest_ms;
        }
        assert_eq!(take(&mut turns, now_ms, 9), [("a", 1, 1)]);
        turns.started(&"a", &1);
        assert_eq!(take(&mut turns, now_ms, 9), [("a", 1, 9)]);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_keep_a_lane_at_rest() {
        for back_ms in [REST_MS / 2, 1_000_000] {
            let now_ms = 2_000_000;
            let mut turns = turns(100, &[("a", 1, 50)]);
            take(&mut turns, now_ms, 1);
            turns.turned_away(&"a", &1, now_ms, 0);
            assert_eq!(take(&mut turns, now_ms + REST_MS, 9), [("a", 1, 1)]);
            turns.turned_away(&"a", &1, now_ms + REST_MS - back_ms, 0);
            let rested_ms = now_ms + REST_MS - back_ms + REST_MS_MAX;
            assert_eq!(take(&mut turns, rested_ms, 9), [("a", 1, 1)], "{back_ms}");
        }
    }

    #[test]
    fn a_hint_is_obeyed_up_to_a_bound() {
        let mut turns = turns(100, &[("a", 1, 50)]);
        for (hint_ms, rest_ms) in [(5_000, 5_000), (u64::MAX, REST_MS_MAX)] {
            take(&mut turns, 0, 1);
            turns.turned_away(&"a", &1, 0, hint_ms);
            assert_eq!(turns.next_try_ms(), Some(rest_ms));
            turns.started(&"a", &1);
        }
    }

    #[test]
    fn a_lease_that_brings_less_than_was_believed_gives_its_places_back() {
        let mut turns = turns(4, &[("a", 1, 50)]);
        let picks = turns.take(0, 4);
        turns.leased(&picks[0], 1);
        assert_eq!((turns.held(), turns.lanes()), (1, 1));
        assert_eq!(take(&mut turns, 0, 4), [], "it has no more");
        turns.ended(&"a", &1);
        assert_eq!((turns.held(), turns.lanes()), (0, 0));
    }

    #[test]
    fn a_lease_that_failed_is_made_again() {
        let mut turns = turns(8, &[("a", 1, 4)]);
        let picks = turns.take(0, 4);
        turns.not_leased(&picks[0]);
        assert_eq!(take(&mut turns, 0, 4), [("a", 1, 4)]);
    }

    #[test]
    fn lanes_are_bounded_and_a_listing_brings_the_others() {
        let mut turns: Turns<u32, u32> = Turns::new(1);
        turns.listed((0..20_000).map(|lane| (lane, 1, 1)), false);
        turns.accepted(&30_000, &1);
        assert_eq!(turns.lanes(), LANES_MAX);
        turns.listed([(30_000, 1, 1)], true);
        assert_eq!(turns.lanes(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Accept(u8, u8),
        Take(usize),
        Start(usize),
        End(usize),
        TurnAway(usize),
        List,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..4, 0_u8..3).prop_map(|(namespace, action)| Step::Accept(namespace, action)),
            2 => (0_usize..12).prop_map(Step::Take),
            1 => any::<usize>().prop_map(Step::Start),
            2 => any::<usize>().prop_map(Step::End),
            1 => any::<usize>().prop_map(Step::TurnAway),
            1 => Just(Step::List),
        ]
    }

    /// The calls that the queue has ready and those that the dispatcher holds, by lane.
    #[derive(Default)]
    struct World {
        ready: BTreeMap<(u8, u8), u64>,
        held: Vec<(u8, u8)>,
        now_ms: u64,
    }

    impl World {
        fn take(&mut self, turns: &mut Turns<u8, u8>, most: usize) {
            for pick in turns.take(self.now_ms, most) {
                let lane = (pick.namespace, pick.action);
                let ready = self.ready.entry(lane).or_default();
                let got = usize::try_from(*ready).unwrap().min(pick.calls);
                *ready -= got as u64;
                self.held.extend(std::iter::repeat_n(lane, got));
                turns.leased(&pick, got);
            }
        }

        fn holder(&self, which: usize) -> Option<usize> {
            which.checked_rem(self.held.len())
        }

        fn apply(&mut self, turns: &mut Turns<u8, u8>, step: &Step) {
            self.now_ms += 7;
            match *step {
                Step::Accept(namespace, action) => {
                    *self.ready.entry((namespace, action)).or_default() += 1;
                    turns.accepted(&namespace, &action);
                }
                Step::Take(most) => self.take(turns, most),
                Step::Start(which) => {
                    let Some(which) = self.holder(which) else { return };
                    let (namespace, action) = self.held[which];
                    turns.started(&namespace, &action);
                }
                Step::End(which) => {
                    let Some(which) = self.holder(which) else { return };
                    let (namespace, action) = self.held.remove(which);
                    turns.ended(&namespace, &action);
                }
                Step::TurnAway(which) => {
                    let Some(which) = self.holder(which) else { return };
                    let lane @ (namespace, action) = self.held.remove(which);
                    *self.ready.entry(lane).or_default() += 1;
                    turns.turned_away(&namespace, &action, self.now_ms, 0);
                }
                Step::List => {
                    let listing = self.ready.iter().filter(|(_, ready)| **ready > 0);
                    turns.listed(
                        listing.map(|(&(namespace, action), &ready)| (namespace, action, ready)),
                        true,
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn places_are_kept_and_every_call_gets_its_turn(
            places_max in 1_usize..10, steps in prop::collection::vec(step(), 0..200),
        ) {
            let (mut world, mut turns) = (World::default(), Turns::new(places_max));
            for step in &steps {
                world.apply(&mut turns, step);
                prop_assert_eq!(turns.held(), world.held.len());
                prop_assert!(turns.held() <= places_max);
                let lanes: usize = turns.namespaces.values().map(|namespace| namespace.lanes.len()).sum();
                prop_assert_eq!(turns.lanes(), lanes);
            }
            // Each call ends when it is held: then nothing may be left, whatever happened before.
            for _ in 0..steps.len() + 1 {
                world.now_ms += REST_MS_MAX;
                world.take(&mut turns, places_max);
                for (namespace, action) in world.held.drain(..) {
                    turns.started(&namespace, &action);
                    turns.ended(&namespace, &action);
                }
            }
            prop_assert!(world.ready.values().all(|ready| *ready == 0), "{:?}", world.ready);
            prop_assert_eq!((turns.held(), turns.lanes()), (0, 0));
        }
    }
}
