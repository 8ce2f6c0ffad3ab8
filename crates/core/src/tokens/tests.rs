//! An authority and routers with their wallets, and messages that take their time.

use std::collections::BTreeMap;

use triplane_model::EntityName;

use super::{Action, Authority, Minute, Settings, Wallet};
use crate::fixture::guest;
use crate::id::RouterId;
use crate::mix::mix;

const START_MS: u64 = 1_800_000_000_000;

enum Message {
    Wanted(RouterId),
    Returned(RouterId, Minute, u64),
    ToRouter(Action),
}

#[derive(Default)]
struct Router {
    wallet: Wallet,
    share: u64,
    is_lost: bool,
    asked_ms: u64,
}

struct World {
    seed: u64,
    now_ms: u64,
    limit: u64,
    authority: Authority,
    routers: BTreeMap<RouterId, Router>,
    agenda: BTreeMap<(u64, u64), Message>,
    messages: u64,
    /// By minute.
    admitted: BTreeMap<Minute, u64>,
}

impl World {
    fn new(seed: u64, limit: u64, routers: u32) -> Self {
        let mut authority = Authority::new(Settings::default());
        let ids = (0..routers).map(RouterId);
        ids.clone().for_each(|router| authority.joined(START_MS, router));
        let routers = ids.map(|id| (id, Router::default())).collect();
        let (agenda, admitted) = (BTreeMap::new(), BTreeMap::new());
        Self { seed, now_ms: START_MS, limit, authority, routers, agenda, messages: 0, admitted }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.seed = mix(self.seed);
        self.seed % bound
    }

    fn send(&mut self, message: Message) {
        self.messages += 1;
        let at_ms = self.now_ms + 1 + self.below(30);
        self.agenda.insert((at_ms, self.messages), message);
    }

    fn loses(&mut self, id: u32) {
        self.authority.lost(self.now_ms, RouterId(id));
        if let Some(router) = self.routers.get_mut(&RouterId(id)) {
            router.is_lost = true;
            router.wallet.goes_alone(router.share);
        }
    }

    /// A call comes to a router; it asks for more when it has few tokens or none.
    fn call(&mut self, id: RouterId) {
        let minute = Minute::of(self.now_ms);
        let Some(router) = self.routers.get_mut(&id) else { return };
        let left = router.wallet.take(minute);
        *self.admitted.entry(minute).or_default() += u64::from(left.is_some());
        if left.unwrap_or(0) < 2 && !router.is_lost && self.now_ms >= router.asked_ms + 50 {
            router.asked_ms = self.now_ms;
            self.send(Message::Wanted(id));
        }
    }

    fn take_in(&mut self, message: Message) {
        let mut actions = Vec::new();
        match message {
            Message::Wanted(id) => self.authority.wanted(self.now_ms, id, &guest(), self.limit, &mut actions),
            Message::Returned(id, minute, tokens) => {
                self.authority.returned(self.now_ms, id, &guest(), minute, tokens, &mut actions);
            }
            Message::ToRouter(Action::Grant { router, minute, tokens, share, .. }) => {
                if let Some(router) = self.routers.get_mut(&router).filter(|router| !router.is_lost) {
                    router.wallet.add(minute, tokens);
                    router.share = share;
                }
            }
            Message::ToRouter(Action::Recall { router, minute, .. }) => {
                let tokens =
                    self.routers.get(&router).filter(|it| !it.is_lost).map(|it| it.wallet.give_back(minute));
                if let Some(tokens) = tokens {
                    self.send(Message::Returned(router, minute, tokens));
                }
            }
        }
        actions.into_iter().for_each(|action| self.send(Message::ToRouter(action)));
    }

    /// Lets minutes pass in which this many calls come, to routers by weight.
    fn minutes(&mut self, minutes: u64, calls: u64, weights: &[u64]) {
        let total: u64 = weights.iter().sum();
        let end_ms = self.now_ms + minutes * 60_000;
        let mut due = 0;
        while self.now_ms < end_ms {
            self.now_ms += 1;
            while let Some(entry) = self.agenda.first_entry().filter(|it| it.key().0 <= self.now_ms) {
                let message = entry.remove();
                self.take_in(message);
            }
            if self.now_ms.is_multiple_of(50) {
                let mut actions = Vec::new();
                self.authority.ticked(self.now_ms, &mut actions);
                actions.into_iter().for_each(|action| self.send(Message::ToRouter(action)));
            }
            due += calls;
            while due >= 60_000 {
                due -= 60_000;
                let mut at = self.below(total);
                let router = weights.iter().position(|&weight| match at < weight {
                    true => true,
                    false => {
                        at -= weight;
                        false
                    }
                });
                self.call(RouterId(u32::try_from(router.unwrap_or(0)).unwrap_or(0)));
            }
        }
    }

    /// What each full minute admitted but for the first.
    fn later_minutes(&self) -> Vec<u64> {
        let last = Minute::of(self.now_ms);
        self.admitted
            .iter()
            .skip(1)
            .filter(|(minute, _)| **minute < last)
            .map(|(_, &admitted)| admitted)
            .collect()
    }
}

#[test]
fn the_limit_holds_over_all_routers_and_is_reached_when_there_is_demand() {
    for (seed, limit) in [(1, 3), (2, 10), (3, 60), (4, 1_000), (5, 30_000)] {
        for weights in [&[1, 1, 1, 1][..], &[1, 2, 10, 100], &[1], &[1, 1, 1, 1, 1, 1, 1, 50]] {
            let mut world = World::new(seed, limit, u32::try_from(weights.len()).unwrap());
            world.minutes(4, limit * 3 + 60, weights);
            for admitted in world.later_minutes() {
                let bounds = limit * 9 / 10..=limit;
                assert!(bounds.contains(&admitted), "{admitted} of {limit} with {weights:?}");
            }
        }
    }
}

#[test]
fn tokens_follow_the_demand_from_one_router_to_another() {
    let mut world = World::new(7, 600, 2);
    world.minutes(2, 2_000, &[1, 0]);
    world.minutes(2, 2_000, &[0, 1]);
    assert!(
        world.later_minutes().iter().all(|admitted| (540..=600).contains(admitted)),
        "{:?}",
        world.admitted
    );
}

#[test]
fn calls_below_the_limit_are_admitted_at_the_first_moment_of_a_minute_too() {
    let mut world = World::new(8, 6_000, 3);
    world.minutes(3, 2_000, &[1, 1, 1]);
    assert!(world.later_minutes().iter().all(|&admitted| admitted >= 1_998), "{:?}", world.admitted);
}

#[test]
fn a_router_without_contact_goes_on_and_the_limit_still_holds_within_a_tenth() {
    for limit in [20, 300, 6_000] {
        let mut world = World::new(9, limit, 3);
        world.minutes(2, limit * 4, &[1, 1, 1]);
        world.loses(2);
        let share = world.routers[&RouterId(2)].share;
        assert!(share > 0, "it has no share of {limit}");
        world.minutes(3, limit * 4, &[1, 1, 1]);
        for admitted in world.later_minutes() {
            assert!((limit * 9 / 10..=limit * 11 / 10).contains(&admitted), "{admitted} of {limit}");
        }
    }
}

#[test]
fn what_a_lost_router_might_use_is_set_aside_no_longer_than_it_may_go_on() {
    let mut world = World::new(10, 300, 3);
    world.minutes(1, 1_200, &[1, 1, 1]);
    world.loses(2);
    world.routers.remove(&RouterId(2));
    world.minutes(7, 1_200, &[1, 1]);
    // What it had got of the minute that came next, it may have used.
    let admitted = world.later_minutes().split_off(1);
    assert!(
        admitted.iter().all(|&admitted| admitted >= 270) && admitted.last() == Some(&300),
        "{admitted:?}"
    );
}

#[test]
fn namespaces_that_nobody_calls_are_forgotten_and_their_number_is_bounded() {
    let settings = Settings { namespaces_max: 2, ..Settings::default() };
    let mut authority = Authority::new(settings);
    authority.joined(START_MS, RouterId(1));
    let names = ["first", "second", "third"].map(|name| EntityName::namespace(name).unwrap());
    let mut granted_at = |now_ms: u64| {
        let mut actions = Vec::new();
        names.iter().for_each(|name| authority.wanted(now_ms, RouterId(1), name, 10, &mut actions));
        actions.len()
    };
    assert_eq!(granted_at(START_MS), 2);
    assert_eq!(granted_at(START_MS + 120_000), 2, "others have their turn");
}
