//! An authority and routers with their wallets, and messages that take their time.

use std::collections::BTreeMap;

use triplane_model::EntityName;

use super::{Action, Authority, Grant, Holder, Minute, Recall, Report, Roster, Settings};
use crate::fixture::guest;
use crate::id::{Epoch, RouterId};
use crate::mix::mix;

const START_MS: u64 = 1_800_000_000_000;

enum Message {
    Reported(RouterId, Report),
    Granted(RouterId, Grant),
    Recalled(RouterId, Recall),
}

struct Router {
    holder: Holder,
    is_lost: bool,
    asked_ms: u64,
}

struct World {
    seed: u64,
    now_ms: u64,
    limit: u64,
    authority: Authority,
    roster: Roster,
    routers: BTreeMap<RouterId, Router>,
    agenda: BTreeMap<(u64, u64), Message>,
    messages: u64,
    /// By minute.
    admitted: BTreeMap<Minute, u64>,
}

impl World {
    fn new(seed: u64, limit: u64, routers: u32) -> Self {
        let holder = || Holder::new(Settings::default(), START_MS - 1);
        let routers = (0..routers).map(|id| (RouterId(id), holder()));
        let routers = routers.map(|(id, holder)| (id, Router { holder, is_lost: false, asked_ms: 0 }));
        let mut world = Self {
            seed,
            now_ms: START_MS,
            limit,
            authority: Authority::new(Settings::default()),
            roster: Roster::default(),
            routers: routers.collect(),
            agenda: BTreeMap::new(),
            messages: 0,
            admitted: BTreeMap::new(),
        };
        let ids: Vec<_> = world.routers.keys().copied().collect();
        ids.into_iter().for_each(|id| world.joins(id, 1));
        world
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

    /// Lets the authority decide; what is to be written down is.
    fn decide(&mut self, decide: &dyn Fn(&mut Authority, u64, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        decide(&mut self.authority, self.now_ms, &mut actions);
        for action in actions {
            match action {
                Action::Grant(id, grant) => self.send(Message::Granted(id, grant)),
                Action::Recall(id, recall) => self.send(Message::Recalled(id, recall)),
                Action::Enrol(roster) => {
                    let number = roster.number;
                    self.roster = roster;
                    self.decide(&|authority, now_ms, out| authority.enrolled(now_ms, number, out));
                }
            }
        }
    }

    fn joins(&mut self, id: RouterId, epoch: u64) {
        let now_ms = self.now_ms;
        let Some(router) = self.routers.get_mut(&id) else { return };
        let told = router.holder.follow(now_ms, Epoch(epoch)).expect("it is no earlier leader");
        self.decide(&|authority, now_ms, out| authority.joined(now_ms, id, &told, out));
    }

    fn loses(&mut self, id: u32) {
        self.authority.lost(self.now_ms, RouterId(id));
        if let Some(router) = self.routers.get_mut(&RouterId(id)) {
            router.is_lost = true;
            router.holder.lost(self.now_ms);
        }
    }

    /// The leader dies, and what is on its way with it; routers have not found the new one yet.
    fn leader_changes(&mut self) {
        self.agenda.clear();
        self.authority = Authority::takes_over(Settings::default(), self.now_ms, self.roster.clone());
    }

    /// A call comes to a router; it asks for more when it has few tokens or none.
    fn call(&mut self, id: RouterId) {
        let (now_ms, minute) = (self.now_ms, Minute::of(self.now_ms));
        let Some(router) = self.routers.get_mut(&id) else { return };
        let left = router.holder.wallet(&guest(), self.limit).take(minute);
        *self.admitted.entry(minute).or_default() += u64::from(left.is_some());
        if left.unwrap_or(0) < 2 && now_ms >= router.asked_ms + 50 {
            router.asked_ms = now_ms;
            let wish = router.holder.wish(now_ms, &guest());
            wish.into_iter().for_each(|wish| self.send(Message::Reported(id, wish)));
        }
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Reported(id, report) => {
                self.decide(&|authority, now_ms, out| authority.reported(now_ms, id, &report, out));
            }
            Message::Granted(id, grant) => {
                if let Some(router) = self.routers.get_mut(&id) {
                    router.holder.granted(&grant);
                }
            }
            Message::Recalled(id, recall) => {
                let report = self.routers.get_mut(&id).and_then(|router| router.holder.recalled(&recall));
                report.into_iter().for_each(|report| self.send(Message::Reported(id, report)));
            }
        }
    }

    /// A call comes in vain or not, and time passes for the answer.
    fn wait_for(&mut self, id: RouterId) {
        self.nothing_for(200);
        let wish = self.routers.get_mut(&id).and_then(|router| router.holder.wish(self.now_ms, &guest()));
        wish.into_iter().for_each(|wish| self.send(Message::Reported(id, wish)));
        self.nothing_for(200);
    }

    fn nothing_for(&mut self, ms: u64) {
        self.pass(ms, 0, &[1]);
    }

    /// Lets minutes pass in which this many calls come, to routers by weight.
    fn minutes(&mut self, minutes: u64, calls: u64, weights: &[u64]) {
        self.pass(minutes * 60_000, calls, weights);
    }

    fn pass(&mut self, ms: u64, calls: u64, weights: &[u64]) {
        let total: u64 = weights.iter().sum();
        let end_ms = self.now_ms + ms;
        let mut due = 0;
        while self.now_ms < end_ms {
            self.now_ms += 1;
            while let Some(entry) = self.agenda.first_entry().filter(|it| it.key().0 <= self.now_ms) {
                let message = entry.remove();
                self.take_in(message);
            }
            if self.now_ms.is_multiple_of(50) {
                self.decide(&|authority, now_ms, out| authority.ticked(now_ms, out));
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
        assert!(world.routers[&RouterId(2)].is_lost);
        world.minutes(3, limit * 4, &[1, 1, 1]);
        let minute = Minute::of(world.now_ms).next();
        let wallet = world.routers.get_mut(&RouterId(2)).unwrap().holder.wallet(&guest(), limit);
        assert!(wallet.take(minute).is_some(), "it has no share of {limit}");
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
fn a_new_leader_moves_tokens_only_until_all_have_told_what_they_had() {
    let mut world = World::new(11, 100, 3);
    world.minutes(1, 400, &[1, 1, 1]);
    world.now_ms += 10_000;
    world.leader_changes();
    let left = |world: &mut World, id: u32| {
        let minute = Minute::of(world.now_ms);
        let wallet = world.routers.get_mut(&RouterId(id)).unwrap().holder.wallet(&guest(), 100);
        std::iter::from_fn(|| wallet.take(minute)).count() as u64
    };
    // ahead of the minute each got its part of half of it
    let admitted = world.admitted.get(&Minute::of(world.now_ms)).copied().unwrap_or(0);
    let half = admitted + (0..3).map(|id| left(&mut world, id)).sum::<u64>();
    assert!((40..=50).contains(&half), "{half}");
    world.joins(RouterId(0), 2);
    world.joins(RouterId(1), 2);
    (0..20).for_each(|_| world.wait_for(RouterId(0)));
    assert_eq!(left(&mut world, 0), 0, "nobody knows what the third has had");
    world.joins(RouterId(2), 2);
    (0..60).for_each(|_| world.wait_for(RouterId(0)));
    assert_eq!(half + left(&mut world, 0), 100, "the rest is handed out");
}

#[test]
fn a_router_that_is_on_no_roster_has_no_tokens() {
    let mut authority = Authority::new(Settings::default());
    let mut holder = Holder::new(Settings::default(), START_MS);
    let _ = holder.wallet(&guest(), 10);
    let told = holder.follow(START_MS, Epoch(1)).unwrap();
    let mut actions = Vec::new();
    authority.joined(START_MS, RouterId(1), &told, &mut actions);
    authority.reported(START_MS, RouterId(1), &holder.wish(START_MS, &guest()).unwrap(), &mut actions);
    let Some(Action::Enrol(roster)) = actions.pop() else { panic!("{actions:?}") };
    assert_eq!((roster.routers.first(), actions.as_slice()), (Some(&RouterId(1)), &[] as &[Action]));
    authority.enrolled(START_MS, roster.number, &mut actions);
    assert!(matches!(&actions[..], [Action::Grant(RouterId(1), grant)] if grant.total == 5), "{actions:?}");
}

#[test]
fn what_comes_twice_or_is_of_an_earlier_contact_gives_no_tokens() {
    let mut holder = Holder::new(Settings::default(), START_MS);
    let minute = Minute::of(START_MS);
    let wallet = holder.wallet(&guest(), 10);
    let contact = holder.follow(START_MS, Epoch(2)).unwrap().contact;
    let grant = |total| Grant { contact, namespace: guest(), minute, total, share: 1, share_number: 1 };
    [3, 3, 5, 3].into_iter().for_each(|total| holder.granted(&grant(total)));
    assert_eq!(std::iter::from_fn(|| wallet.take(minute)).count(), 5);
    assert_eq!(holder.follow(START_MS, Epoch(1)), None, "an earlier leader");
    let told = holder.follow(START_MS, Epoch(3)).unwrap();
    assert_eq!(told.had[0].tokens[0], (minute, 5));
    holder.granted(&grant(9));
    assert_eq!(wallet.take(minute), None);
    let recall = |contact| Recall { contact, namespace: guest(), minute };
    assert_eq!(holder.recalled(&recall(contact)), None);
    assert!(holder.recalled(&recall(told.contact)).is_some_and(|report| report.returned == 0));
}

#[test]
fn namespaces_that_nobody_calls_are_forgotten_and_their_number_is_bounded() {
    let mut world = World::new(12, 10, 1);
    world.authority = Authority::new(Settings { namespaces_max: 2, ..Settings::default() });
    world.joins(RouterId(0), 1);
    let names = ["first", "second", "third"].map(|name| EntityName::namespace(name).unwrap());
    let mut granted_at = |now_ms: u64| {
        let router = world.routers.get_mut(&RouterId(0)).unwrap();
        let mut actions = Vec::new();
        for name in &names {
            let _ = router.holder.wallet(name, 10);
            let wish = router.holder.wish(now_ms, name).unwrap();
            world.authority.reported(now_ms, RouterId(0), &wish, &mut actions);
        }
        actions.iter().filter(|action| matches!(action, Action::Grant(..))).count()
    };
    assert_eq!(granted_at(START_MS), 2);
    assert_eq!(granted_at(START_MS + 120_000), 2, "others have their turn");
}
