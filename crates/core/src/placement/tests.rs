//! The allocator as a whole: filters, room that is held, and random histories against a plain search.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{self, Table, node, request};
use super::{
    Allocator, Charge, DEVICES_MAX, Hold, Node, Pinned, Policy, Refusal, Request, Resources, StrategyName,
    node::Tally,
};
use crate::id::NodeId;

fn on(node: u32) -> Option<NodeId> {
    Some(NodeId(node))
}

#[test]
fn labels_select_nodes_and_taints_keep_away_who_does_not_tolerate_them() {
    let nodes =
        [node(1000).label("zone", "a"), node(900).label("zone", "b").taint("batch", "night"), node(100)];
    Table::of("pack", nodes).chooses(&[
        (request(500), Some(0)),
        (request(500).selects("zone", "b"), None),
        (request(500).selects("zone", "b").tolerates("batch", None), Some(1)),
        (request(500).tolerates("batch", Some("night")), Some(1)),
        (request(500).tolerates("batch", Some("day")), Some(0)),
        (request(50).selects("zone", "a"), Some(0)),
        (request(50).selects("zone", "a").selects("disk", "ssd"), None),
    ]);
}

#[test]
fn a_reserved_node_takes_its_namespace_only() {
    Table::of("pack", [node(1000), node(500).reserved_for("acme")]).chooses(&[
        (request(100), Some(0)),
        (request(100).of("acme"), Some(1)),
        (request(600).of("acme"), Some(0)),
    ]);
}

#[test]
fn a_pinned_kind_goes_to_its_node_and_nothing_else_does() {
    let mut table = Table::of("pack", [node(1000), node(500)]);
    let pinned = Pinned::from([("blackbox".into(), NodeId(1)), ("later".into(), NodeId(7))]);
    table.allocator.set_policy(Policy { pinned, ..Policy::default() });
    table.chooses(&[
        (request(100), Some(0)),
        (request(100).kind("blackbox"), Some(1)),
        (request(600).kind("blackbox"), None),
        (request(100).kind("later"), None),
    ]);
}

#[test]
fn who_wants_to_be_apart_shares_a_node_with_its_namespace_only() {
    let table = Table::of("pack", [node(1000), node(2000), node(3000)]);
    let table = table.with(0, request(100).of("other")).with(1, request(100).of("acme").isolated());
    table.chooses(&[
        (request(100).of("acme").isolated(), Some(1)),
        (request(100).of("acme"), Some(0)),
        (request(950).of("acme"), Some(1)),
        (request(100).of("third").isolated(), Some(2)),
        (request(950).of("third"), Some(2)),
    ]);
}

#[test]
fn cpu_is_a_weight_but_for_who_reserves_it_and_where_it_is_enforced() {
    let table =
        Table::of("pack", [node(1000).cpu(1000), node(2000).enforced_cpu(1000), node(4000).cpu(1000)]);
    let table = table.with(0, request(100).cpu(900)).with(1, request(100).cpu(900));
    table.with(2, request(100).reserved_cpu(900)).chooses(&[
        (request(100).cpu(500), Some(0)),
        (request(100).reserved_cpu(500), Some(0)),
        (request(1000).cpu(500), Some(2)),
        (request(1000).reserved_cpu(500), None),
        (request(1000).reserved_cpu(100), Some(1)),
    ]);
}

#[test]
fn named_resources_are_counted() {
    let table = Table::of("pack", [node(1000), node(2000).fpgas(2)]).with(1, request(100).fpgas(1));
    table.chooses(&[
        (request(100).fpgas(1), Some(1)),
        (request(100).fpgas(2), None),
        (request(100), Some(0)),
    ]);
}

#[test]
fn a_namespace_may_have_a_strategy_of_its_own() {
    let mut table = Table::of("pack", [node(1000), node(500)]);
    let namespaces = BTreeMap::from([(fixture::namespace("acme"), StrategyName::Spread)]);
    table.allocator.set_policy(Policy { namespaces, ..Policy::default() });
    table.chooses(&[(request(100), Some(1)), (request(100).of("acme"), Some(0))]);
}

#[test]
fn a_draining_node_keeps_what_it_has_and_takes_no_more() {
    let mut table = Table::of("pack", [node(500), node(1000)]).with(0, request(100));
    table.allocator.drain(NodeId(0), true);
    assert_eq!(table.allocator.choose(&request(100)), on(1));
    assert_eq!(table.allocator.charge(NodeId(0), &request(100)).unwrap_err(), Refusal::Draining);
    assert_eq!(table.allocator.node(NodeId(0)).map(Node::containers), Some(1));
    table.allocator.drain(NodeId(0), false);
    assert_eq!(table.allocator.choose(&request(100)), on(0));
}

#[test]
fn a_node_that_was_lost_and_came_back_owes_nothing() {
    let mut allocator = Table::of("pack", [node(500)]).allocator;
    let charge = allocator.charge(NodeId(0), &request(400)).unwrap();
    allocator.remove(NodeId(0));
    assert_eq!(allocator.choose(&request(100)), None);
    allocator.offer(NodeId(0), node(500));
    let later = allocator.charge(NodeId(0), &request(300)).unwrap();
    allocator.release(charge);
    assert_eq!(allocator.node(NodeId(0)).map(|node| node.charged().clone()), Some(Resources::of_memory(300)));
    allocator.release(later);
}

#[test]
fn a_container_is_not_charged_where_it_does_not_fit() {
    let mut allocator = Table::of("pack", [node(500)]).allocator;
    assert_eq!(allocator.charge(NodeId(0), &request(501)).unwrap_err(), Refusal::Full);
    assert_eq!(allocator.charge(NodeId(0), &request(100).gpu(1000)).unwrap_err(), Refusal::Resource);
    assert_eq!(allocator.charge(NodeId(9), &request(100)).unwrap_err(), Refusal::Full);
}

#[test]
fn what_comes_free_is_held_for_whom_it_was_cleared() {
    let mut allocator = Table::of("pack", [node(512)]).allocator;
    let mut charge = allocator.charge(NodeId(0), &request(412)).unwrap();
    assert!(allocator.hold(NodeId(0), &request(256)).is_none(), "nothing is coming free");
    allocator.leaves(&mut charge);
    allocator.leaves(&mut charge);
    let hold = allocator.hold(NodeId(0), &request(256)).unwrap();
    assert_eq!(allocator.choose(&request(100)), on(0), "what is free and not needed for it");
    assert_eq!(allocator.hold(NodeId(0), &request(300)).map(|hold| hold.node()), None);
    allocator.release(charge);
    assert_eq!(allocator.choose(&request(256)), on(0), "there is room for both");
    assert_eq!(allocator.choose(&request(257)), None, "but not for more beside what is held");
    allocator.release_hold(hold);
    assert_eq!(allocator.choose(&request(512)), on(0));
}

#[test]
fn a_container_that_stays_after_all_keeps_its_room() {
    let mut allocator = Table::of("pack", [node(512)]).allocator;
    let mut charge = allocator.charge(NodeId(0), &request(512)).unwrap();
    allocator.leaves(&mut charge);
    allocator.stays(&mut charge);
    assert!(allocator.hold(NodeId(0), &request(256)).is_none());
    allocator.release(charge);
}

#[test]
fn each_node_says_why_it_does_not_take_a_container() {
    let nodes = [
        node(100),
        node(1000).taint("batch", ""),
        node(1000),
        node(1000).reserved_for("acme"),
        node(1000),
        node(1000),
    ];
    let mut table = Table::of("pack", nodes).with(2, request(600)).with(5, request(1).of("other").isolated());
    table.allocator.drain(NodeId(4), true);
    let expected = [
        Refusal::Draining,
        Refusal::Reserved,
        Refusal::Taint,
        Refusal::Isolation,
        Refusal::TooSmall,
        Refusal::Full,
    ];
    assert_eq!(table.allocator.refusals(&request(500)), expected.map(|refusal| (refusal, 1)).into());
    assert_eq!(table.allocator.short_of(&request(500)), [("memory".to_owned(), 2)].into());
}

#[test]
fn what_no_node_could_ever_take_is_known_at_once() {
    let table = Table::of("pack", [node(1000), node(2000).label("zone", "a")]).with(1, request(2000));
    let could = |request| table.allocator.could_ever_take(&request);
    assert!(could(request(2000)), "it is full, but will not be for ever");
    assert!(!could(request(2001)));
    assert!(!could(request(100).gpu(100)));
    assert!(!could(request(100).selects("zone", "b")));
    assert!(Table::of("pack", []).allocator.could_ever_take(&request(1)), "nobody knows");
}

#[test]
fn more_classes_of_nodes_than_are_told_apart_are_looked_at_one_by_one() {
    let hosts = || (0..100).map(|host| format!("host-{host}"));
    let mut table = Table::of("pack", hosts().map(|host| node(1000).label("host", &host)));
    for (number, host) in (0..).zip(hosts()) {
        assert_eq!(table.allocator.choose(&request(1000).selects("host", &host)), on(number));
    }
    (0..100).for_each(|id| table.allocator.remove(NodeId(id)));
    table.allocator.offer(NodeId(7), node(1000).label("host", "new"));
    table.chooses(&[
        (request(1).selects("host", "new"), Some(7)),
        (request(1).selects("host", "host-7"), None),
    ]);
}

/// What may happen to a pool.
#[derive(Clone, Debug)]
enum Step {
    Offer(u32, u64, u64),
    Remove(u32),
    Drain(u32, bool),
    Place(u64, u64, u8),
    Leave(usize),
    Stay(usize),
    Release(usize),
    Hold(u32, u64),
    ReleaseHold(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_u32..30, 0_u64..1000, 0_u64..3).prop_map(|(id, memory, gpus)| Step::Offer(id, memory, gpus)),
        1 => (0_u32..30).prop_map(Step::Remove),
        1 => (0_u32..30, any::<bool>()).prop_map(|(id, is_draining)| Step::Drain(id, is_draining)),
        12 => (1_u64..400, 0_u64..5, 0_u8..6).prop_map(|(memory, gpu, who)| Step::Place(memory, gpu * 500, who)),
        3 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Stay),
        4 => any::<usize>().prop_map(Step::Release),
        2 => (0_u32..30, 1_u64..400).prop_map(|(id, memory)| Step::Hold(id, memory)),
        1 => any::<usize>().prop_map(Step::ReleaseHold),
    ]
}

/// A pool with what is charged and held on it.
struct History {
    allocator: Allocator,
    charges: Vec<Charge>,
    holds: Vec<Hold>,
}

impl History {
    fn step(&mut self, step: Step) {
        let Self { allocator, charges, holds } = self;
        match step {
            Step::Offer(id, memory, gpus) => {
                // an offer that shrinks may be less than what is charged, which is another test's
                if allocator.node(NodeId(id)).is_none() {
                    allocator.offer(NodeId(id), node(memory).gpus(gpus));
                }
            }
            Step::Remove(id) => allocator.remove(NodeId(id)),
            Step::Drain(id, is_draining) => allocator.drain(NodeId(id), is_draining),
            Step::Place(memory, gpu, who) => {
                let request = request(memory).gpu(if gpu == 1500 { 2000 } else { gpu });
                let request = match who {
                    0 => request.of("acme").isolated(),
                    1 => request.of("acme"),
                    _ => request,
                };
                self.place(&request);
            }
            Step::Leave(at) if !charges.is_empty() => {
                let at = at % charges.len();
                allocator.leaves(&mut charges[at]);
            }
            Step::Stay(at) if !charges.is_empty() && holds.is_empty() => {
                let at = at % charges.len();
                allocator.stays(&mut charges[at]);
            }
            Step::Release(at) if !charges.is_empty() => {
                let charge = charges.swap_remove(at % charges.len());
                allocator.release(charge);
            }
            Step::Hold(id, memory) => holds.extend(allocator.hold(NodeId(id), &request(memory))),
            Step::ReleaseHold(at) if !holds.is_empty() => {
                let hold = holds.swap_remove(at % holds.len());
                allocator.release_hold(hold);
            }
            Step::Leave(_) | Step::Stay(_) | Step::Release(_) | Step::ReleaseHold(_) => {}
        }
    }

    /// A node is found exactly when there is one, and it is one that takes the container.
    fn place(&mut self, request: &Request) {
        let nodes = &self.allocator.nodes;
        let open = |id| nodes.get(id).is_some_and(|node| nodes.refusal(node, request).is_none());
        let is_any = nodes.iter().any(|node| open(node.id()));
        let open: Vec<_> = nodes.iter().map(Node::id).filter(|id| open(*id)).collect();
        let chosen = self.allocator.choose(request);
        assert_eq!(chosen.is_some(), is_any);
        if let Some(id) = chosen {
            assert!(open.contains(&id), "{id:?} does not take {request:?}");
            self.charges.push(self.allocator.charge(id, request).unwrap());
        }
    }

    /// POOL-3, and that what the nodes know is the sum of what is charged.
    fn check(&self) {
        for node in self.allocator.nodes() {
            let here = self
                .charges
                .iter()
                .filter(|charge| charge.node() == node.id() && charge.incarnation == node.incarnation);
            let mut sum = Resources::default();
            here.clone().for_each(|charge| sum.add(&charge.asked().resources));
            assert_eq!(node.charged(), &sum);
            assert_eq!(node.containers() as usize, here.clone().count());
            assert!(sum.fits(&node.offer().capacity.resources), "POOL-3: {sum:?} on {node:?}");
            let mut of_gpus = [0; DEVICES_MAX];
            here.for_each(|charge| charge.gpus.add_to(&mut of_gpus));
            assert!(of_gpus.iter().all(|used| *used <= 1000), "POOL-3: {of_gpus:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_node_is_found_exactly_when_there_is_one_and_none_is_ever_overcharged(
        strategy in proptest::sample::select(StrategyName::ALL.to_vec()),
        steps in proptest::collection::vec(any_step(), 1..200),
    ) {
        let allocator = Allocator::new(Policy { strategy, ..Policy::default() });
        let mut history = History { allocator, charges: Vec::new(), holds: Vec::new() };
        for id in 0..20 {
            history.step(Step::Offer(id, 500 + u64::from(id) * 20, u64::from(id % 3)));
        }
        for step in steps {
            history.step(step);
            history.check();
        }
        for charge in std::mem::take(&mut history.charges) {
            history.allocator.release(charge);
        }
        for hold in std::mem::take(&mut history.holds) {
            history.allocator.release_hold(hold);
        }
        for node in history.allocator.nodes() {
            prop_assert!(node.charged().is_empty() && node.leaving().is_empty(), "{node:?}");
            prop_assert_eq!(node.space().free, node.space_beside(&Tally::default()).free);
        }
    }
}
