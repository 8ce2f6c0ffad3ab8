//! The machine as a whole: what it wants done, in words, for each thing that happens.

mod policies;
mod sizing;
mod takeover;

use std::sync::Arc;

use triplane_model::{Collection, FullName};

use super::*;
use crate::fixture::{action, container, endpoint, spec};
use crate::id::{ActionKey, ContainerId};
use crate::placement::Offer;
use crate::pool::message::{ContainerSpec, Demand as Said, Numbered};

const NODE: NodeId = NodeId(0);
const ROUTER: RouterId = RouterId(0);
const OTHER: RouterId = RouterId(1);

/// A pool of one node and one router, its clock, and words for what it wants.
struct Scene {
    pool: Pool,
    now_ms: u64,
}

impl Scene {
    fn new(memory_mb: u64) -> Self {
        let mut scene = Self { pool: Pool::new(Epoch(1), Settings::default()), now_ms: 1_000 };
        scene.step(Event::NodeJoined { node: NODE, offer: Offer::of_memory(memory_mb) });
        scene.step(Event::RouterJoined(ROUTER));
        scene
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let mut actions = Vec::new();
        self.pool.step(self.now_ms, event, &mut actions);
        assert_eq!(self.pool.audit(), Vec::<String>::new());
        actions.iter().map(words).collect()
    }

    fn says(&mut self, router: RouterId, up: Up) -> Vec<String> {
        self.step(Event::Said(router, up))
    }

    fn demands(&mut self, spec: &Arc<ContainerSpec>, waiting: u32) -> Vec<String> {
        self.demands_at(ROUTER, spec, waiting, None)
    }

    fn demands_at(
        &mut self,
        router: RouterId,
        spec: &Arc<ContainerSpec>,
        waiting: u32,
        service_ms: Option<u64>,
    ) -> Vec<String> {
        let service_us = service_ms.map(|service_ms| service_ms * 1000);
        self.says(router, Up::Demand(Said { spec: Arc::clone(spec), waiting, service_us, ended: 0 }))
    }

    fn started(&mut self, number: u64) -> Vec<String> {
        self.step(Event::Started(container(number), endpoint(number)))
    }

    fn after(&mut self, ms: u64) -> Vec<String> {
        self.now_ms += ms;
        self.step(Event::Ticked)
    }

    /// A container of the action that is in service and that nobody waits for.
    fn with_idle(mut self, spec: &Arc<ContainerSpec>) -> Self {
        self.demands(spec, 1);
        let number = self.pool.last_container;
        self.now_ms += 150;
        self.started(number);
        self.demands(spec, 0);
        self
    }

    fn states(&self) -> Vec<(u64, State)> {
        self.pool.containers().map(|view| (view.container.number, view.state)).collect()
    }
}

fn words(action: &Action) -> String {
    match action {
        Action::Start { container, node, spec, .. } => {
            format!(
                "start {} {}@{} on {}",
                container.number, spec.key.action.name, spec.key.revision.0, node.0
            )
        }
        Action::Close { container, idle_ms } => format!("close {} idle {idle_ms}", container.number),
        Action::Stop(container) => format!("stop {}", container.number),
        Action::Stems(stems) => format!("stems {stems:?}"),
        Action::Tell(router, message) => format!("tell {}: {}", router.0, delta_words(message)),
    }
}

fn delta_words(message: &Numbered) -> String {
    match &message.delta {
        Delta::Snapshot(snapshot) => {
            let numbers = snapshot.leases.iter().map(|lease| lease.container);
            let words = numbers.map(|id| match snapshot.marked.contains(&id) {
                true => format!("{} marked", id.number),
                false => id.number.to_string(),
            });
            format!("snapshot [{}]", words.collect::<Vec<_>>().join(", "))
        }
        Delta::Ready(lease) => format!("ready {}", lease.container.number),
        Delta::Marked(id) => format!("marked {}", id.number),
        Delta::Unmarked(id) => format!("unmarked {}", id.number),
        Delta::Removed(id) => format!("removed {}", id.number),
        Delta::Refused(refusal) => format!("refused {} {:?}", refusal.key.action.name, refusal.reason),
        Delta::EntityChanged(_, name, revision) => {
            format!("changed {} {:?}", name.name, revision.map(|it| it.0))
        }
        Delta::IdentityRevoked(uuid) => format!("revoked {uuid}"),
    }
}

fn plain(name: &str) -> Arc<ContainerSpec> {
    spec(name, 1, |_| {})
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_demand_starts_a_container_that_goes_to_the_router_that_asked() {
    let mut scene = Scene::new(1024);
    assert_eq!(scene.demands(&plain("a"), 1), ["start 1 a@1 on 0"]);
    assert_eq!(scene.demands(&plain("a"), 1), nothing(), "it is on its way");
    assert_eq!(scene.started(1), ["tell 0: ready 1"]);
    assert_eq!(scene.demands(&plain("a"), 0), nothing());
    assert_eq!(scene.states(), [(1, State::Ready)]);
}

#[test]
fn a_line_of_short_calls_that_never_ends_gets_few_containers_one_after_the_other() {
    let mut scene = Scene::new(100_000).with_idle(&plain("a"));
    let cold_start_ms = scene.pool.settings.cold_start_ms_default;
    let (mut ended, mut starts_ms) = (0, Vec::new());
    let began_ms = scene.now_ms;
    while scene.now_ms < began_ms + 100 * cold_start_ms {
        ended += 100;
        let said = Said { spec: plain("a"), waiting: 60, service_us: Some(200), ended };
        let mut words = scene.says(ROUTER, Up::Acknowledged(Sequence(u64::MAX)));
        words.extend(scene.says(ROUTER, Up::Demand(said)));
        for number in words.iter().filter_map(|word| word.strip_prefix("start ")?.split(' ').next()) {
            starts_ms.push(scene.now_ms - began_ms);
            drop(scene.started(number.parse().unwrap()));
        }
        scene.now_ms += 20;
    }
    assert_eq!(scene.states().len(), 8, "{starts_ms:?}");
    assert!(starts_ms.windows(2).all(|two| two[1] - two[0] >= 4 * cold_start_ms), "{starts_ms:?}");
}

#[test]
fn a_line_that_does_not_move_gets_more_containers_whatever_calls_took_before() {
    let mut scene = Scene::new(100_000).with_idle(&plain("a"));
    assert_eq!(scene.demands_at(ROUTER, &plain("a"), 10, Some(10)), nothing(), "one serves them in time");
    assert_eq!(scene.after(149), nothing());
    assert_eq!(scene.after(1).len(), 9, "calls take longer than a start");
}

#[test]
fn an_action_never_has_more_containers_than_its_instances() {
    let two = spec("a", 1, |limits| limits.instances = Some(2));
    let mut scene = Scene::new(100_000);
    assert_eq!(scene.demands_at(ROUTER, &two, 100, Some(10_000)).len(), 2);
    scene.started(1);
    assert_eq!(scene.after(5_000), nothing());
}

#[test]
fn what_is_charged_never_exceeds_the_node_and_is_free_when_the_container_is_gone() {
    let mut scene = Scene::new(512);
    assert_eq!(scene.demands_at(ROUTER, &plain("a"), 5, Some(10_000)).len(), 2);
    scene.started(1);
    assert_eq!(scene.step(Event::Exited(container(1))), ["tell 0: removed 1", "stop 1", "start 3 a@1 on 0"]);
}

#[test]
fn a_full_pool_evicts_the_least_recently_used_idle_container_of_another_action() {
    let mut scene = Scene::new(512).with_idle(&plain("a")).with_idle(&plain("b"));
    scene.now_ms += 1_000;
    let used = Usage { container: container(1), in_flight: 0, used: true };
    scene.says(ROUTER, Up::Usage(vec![used]));
    assert_eq!(scene.demands(&plain("c"), 1), ["tell 0: marked 2"]);
    assert_eq!(scene.demands(&plain("d"), 1), nothing(), "nothing is evicted at once after its use");
    scene.now_ms += 250;
    assert_eq!(scene.after(0), ["tell 0: marked 1"]);
    assert_eq!(scene.says(ROUTER, Up::Released(container(2))), ["close 2 idle 250"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(2), true)), ["tell 0: removed 2", "stop 2"]);
    assert_eq!(scene.step(Event::Stopped(container(2))), ["start 3 c@1 on 0"]);
}

#[test]
fn room_that_was_cleared_goes_to_the_demand_that_came_first() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    scene.now_ms += 1_000;
    assert_eq!(scene.demands(&plain("first"), 1), ["tell 0: marked 1"]);
    assert_eq!(scene.demands(&plain("second"), 1), nothing());
    scene.says(ROUTER, Up::Released(container(1)));
    scene.step(Event::CloseAnswered(container(1), true));
    assert_eq!(scene.step(Event::Stopped(container(1))), ["start 2 first@1 on 0"]);
}

#[test]
fn a_container_that_stays_in_use_is_not_removed_and_the_demand_is_refused_in_the_end() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    scene.now_ms += 1_000;
    let busy = Usage { container: container(1), in_flight: 1, used: true };
    scene.says(ROUTER, Up::Usage(vec![busy]));
    assert_eq!(scene.demands(&plain("b"), 3), nothing());
    assert_eq!(scene.after(500), nothing());
    assert_eq!(scene.after(500), ["tell 0: marked 1"], "it has had its turn");
    assert_eq!(scene.says(ROUTER, Up::Released(container(1))), ["close 1 idle 0"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), nothing());
    assert_eq!(scene.after(28_999), ["close 1 idle 0"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), nothing());
    assert_eq!(scene.after(1), ["tell 0: refused b PoolFull"]);
}

#[test]
fn a_container_that_never_serves_again_goes_with_the_end_of_its_last_call() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    let usage = |in_flight| Up::Usage(vec![Usage { container: container(1), in_flight, used: true }]);
    let answer = |closed| Event::CloseAnswered(container(1), closed);
    scene.says(ROUTER, usage(1));
    assert_eq!(scene.step(Event::NodeDrained { node: NODE, is_draining: true }), ["tell 0: marked 1"]);
    scene.now_ms += 40;
    assert_eq!(scene.says(ROUTER, usage(0)), nothing(), "it is not let go of");
    assert_eq!(
        scene.says(ROUTER, Up::Released(container(1))),
        ["close 1 idle 0"],
        "a use since is no reason"
    );
    assert_eq!(scene.step(answer(false)), nothing());
    assert_eq!(scene.says(ROUTER, usage(1)), nothing());
    assert_eq!(scene.says(ROUTER, usage(0)), ["close 1 idle 0"]);
    assert_eq!(scene.says(ROUTER, usage(0)), nothing(), "doubled");
    assert_eq!(scene.step(answer(false)), ["close 1 idle 0"], "it ended while the answer was on its way");
    assert_eq!(scene.step(answer(false)), nothing(), "asked once for each end");
    assert_eq!(scene.says(ROUTER, usage(0)), ["close 1 idle 0"]);
    assert_eq!(scene.step(answer(true)), ["tell 0: removed 1", "stop 1"]);
}

#[test]
fn an_end_is_no_reason_to_close_what_may_serve_again() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    scene.after(600_000);
    scene.says(ROUTER, Up::Released(container(1)));
    let ended = Usage { container: container(1), in_flight: 0, used: true };
    assert_eq!(scene.says(ROUTER, Up::Usage(vec![ended])), nothing());
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), ["tell 0: unmarked 1"]);
}

#[test]
fn an_action_that_no_node_can_hold_is_refused_at_once() {
    let mut scene = Scene::new(128);
    assert_eq!(scene.demands(&plain("a"), 1), ["tell 0: refused a NoNode"]);
}

#[test]
fn starts_are_bounded_and_what_is_past_the_bound_is_refused() {
    let mut scene = Scene::new(100_000);
    scene.pool.settings.starts_max = 2;
    scene.pool.settings.pending_starts_max = 3;
    assert_eq!(scene.demands(&plain("a"), 1).len(), 1);
    assert_eq!(scene.demands(&plain("b"), 1).len(), 1);
    assert_eq!(scene.demands(&plain("c"), 1), nothing(), "it waits for its turn");
    assert_eq!(scene.demands(&plain("d"), 1), ["tell 0: refused d TooManyStarts"]);
    assert_eq!(scene.started(1), ["tell 0: ready 1", "start 3 c@1 on 0"]);
}

#[test]
fn no_demand_gets_a_second_container_before_each_has_one() {
    let mut scene = Scene::new(512);
    scene.step(Event::NodeLost(NODE));
    scene.demands_at(ROUTER, &plain("a"), 10, Some(10_000));
    scene.demands(&plain("b"), 1);
    let starts = scene.step(Event::NodeJoined { node: NODE, offer: Offer::of_memory(512) });
    assert_eq!(starts, ["start 1 a@1 on 0", "start 2 b@1 on 0"]);
}

#[test]
fn a_start_that_fails_is_tried_again_and_then_refused() {
    let mut scene = Scene::new(1024);
    scene.demands(&plain("a"), 1);
    assert_eq!(scene.step(Event::StartFailed(container(1))), ["start 2 a@1 on 0"]);
    assert_eq!(scene.step(Event::StartFailed(container(2))), ["start 3 a@1 on 0"]);
    assert_eq!(scene.step(Event::StartFailed(container(3))), ["tell 0: refused a StartFailed"]);
    assert_eq!(scene.states(), []);
}

#[test]
fn a_start_that_takes_too_long_is_stopped_and_whatever_comes_of_it_too() {
    let mut scene = Scene::new(256);
    scene.demands(&plain("a"), 1);
    assert_eq!(scene.after(60_000), ["stop 1"], "its memory is not free yet");
    scene.demands(&plain("a"), 1);
    assert_eq!(scene.step(Event::Stopped(container(1))), ["start 2 a@1 on 0"]);
    assert_eq!(scene.started(1), ["stop 1"], "nobody knows it any more");
}

#[test]
fn an_idle_container_is_marked_released_closed_and_stopped() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    assert_eq!(scene.after(599_999), nothing());
    assert_eq!(scene.after(1_000), ["tell 0: marked 1"]);
    scene.now_ms += 30;
    assert_eq!(scene.says(ROUTER, Up::Released(container(1))), ["close 1 idle 30"]);
    assert_eq!(scene.says(ROUTER, Up::Released(container(1))), nothing(), "doubled");
    assert_eq!(scene.step(Event::CloseAnswered(container(1), true)), ["tell 0: removed 1", "stop 1"]);
    assert_eq!(scene.pool.summary().nodes[0].charged_mb(), 256);
    scene.step(Event::Stopped(container(1)));
    assert_eq!((scene.states().len(), scene.pool.summary().nodes[0].charged_mb()), (0, 0));
}

#[test]
fn a_container_that_was_used_is_not_idle() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    for _ in 0..10 {
        assert_eq!(scene.after(300_000), nothing());
        let used = Usage { container: container(1), in_flight: 0, used: true };
        scene.says(ROUTER, Up::Usage(vec![used]));
    }
}

#[test]
fn a_proxy_that_is_in_use_brings_its_container_back() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    scene.after(600_000);
    scene.says(ROUTER, Up::Released(container(1)));
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), ["tell 0: unmarked 1"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), nothing(), "doubled");
    assert_eq!(scene.after(1_000), nothing(), "that was a use");
}

#[test]
fn silence_of_router_proxy_or_driver_is_not_waited_for_for_ever() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    scene.after(600_000);
    assert_eq!(scene.after(10_000), ["close 1 idle 10000"]);
    assert_eq!(scene.after(5_000), ["close 1 idle 15000"]);
    scene.step(Event::CloseAnswered(container(1), true));
    assert_eq!(scene.after(5_000), ["stop 1"]);
    assert_eq!(scene.step(Event::Stopped(container(1))), nothing());
    assert_eq!(scene.after(5_000), nothing());
}

#[test]
fn a_demand_or_a_rescue_brings_a_marked_container_back() {
    for rescue in [
        Up::Rescue(container(1)),
        Up::Demand(Said { spec: plain("a"), waiting: 1, service_us: None, ended: 0 }),
    ] {
        let mut scene = Scene::new(256).with_idle(&plain("a"));
        scene.after(600_000);
        assert_eq!(scene.says(ROUTER, rescue), ["tell 0: unmarked 1"]);
        assert_eq!(scene.says(ROUTER, Up::Released(container(1))), nothing(), "late");
    }
}

#[test]
fn a_container_that_is_closing_is_not_rescued_but_replaced() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    scene.after(600_000);
    scene.says(ROUTER, Up::Released(container(1)));
    assert_eq!(scene.says(ROUTER, Up::Rescue(container(1))), nothing());
    assert_eq!(scene.demands(&plain("a"), 1), ["start 2 a@1 on 0"]);
}

#[test]
fn a_changed_action_is_told_to_all_and_marks_older_revisions() {
    let mut scene = Scene::new(1024).with_idle(&plain("a")).with_idle(&plain("b"));
    scene.step(Event::RouterJoined(OTHER));
    let changed = Event::EntityChanged(Collection::Actions, action("a"), Some(Revision(2)));
    assert_eq!(
        scene.step(changed.clone()),
        ["tell 0: changed a Some(2)", "tell 1: changed a Some(2)", "tell 0: marked 1"]
    );
    assert_eq!(scene.demands(&spec("a", 2, |_| {}), 1), ["start 3 a@2 on 0"]);
    scene.started(3);
    assert_eq!(scene.step(changed).len(), 2, "read twice, it marks nothing new");
    let deleted = scene.step(Event::EntityChanged(Collection::Actions, action("a"), None));
    assert_eq!(deleted[2], "tell 0: marked 3");
}

#[test]
fn a_changed_package_or_binding_marks_what_was_started_of_it() {
    let of = |name: &str, binding: Option<&str>| {
        let plain = plain(name);
        let package = Some(action("pkg").name);
        let name = FullName { package, ..plain.action.name.clone() };
        let key = ActionKey { action: name, binding: binding.map(action), ..(*plain.key).clone() };
        Arc::new(ContainerSpec { key: Arc::new(key), action: Arc::clone(&plain.action) })
    };
    let scene = Scene::new(1024).with_idle(&of("a", None)).with_idle(&of("a", Some("bound")));
    let mut scene = scene.with_idle(&plain("a"));
    let changed = |name: &str, revision| {
        Event::EntityChanged(Collection::Packages, action(name), Some(Revision(revision)))
    };
    assert_eq!(scene.step(changed("bound", 2)), ["tell 0: changed bound Some(2)", "tell 0: marked 2"]);
    assert_eq!(scene.step(changed("pkg", 3)), ["tell 0: changed pkg Some(3)", "tell 0: marked 1"]);
    let trigger = Event::EntityChanged(Collection::Triggers, action("a"), Some(Revision(4)));
    assert_eq!(scene.step(trigger), ["tell 0: changed a Some(4)"], "no container is of a trigger");
}

#[test]
fn calls_that_wait_for_an_older_revision_are_still_served_and_then_it_leaves() {
    let mut scene = Scene::new(1024);
    scene.demands(&plain("a"), 1);
    scene.step(Event::EntityChanged(Collection::Actions, action("a"), Some(Revision(2))));
    assert_eq!(scene.started(1), ["tell 0: ready 1"]);
    assert_eq!(scene.after(50), nothing(), "a sweep spares it");
    scene.demands(&plain("a"), 0);
    assert_eq!(scene.after(1_000), ["tell 0: marked 1"]);
    scene.says(ROUTER, Up::Released(container(1)));
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), nothing(), "its call goes on");
    let ended = Usage { container: container(1), in_flight: 0, used: true };
    assert_eq!(scene.says(ROUTER, Up::Usage(vec![ended])), ["close 1 idle 0"]);
    scene.step(Event::CloseAnswered(container(1), false));
    assert_eq!(scene.after(1_000), ["close 1 idle 1000"]);
}

#[test]
fn a_router_that_joins_gets_what_it_owns_and_the_numbers_have_no_gap() {
    let mut scene = Scene::new(1024).with_idle(&plain("a")).with_idle(&plain("b"));
    scene.now_ms += 600_000;
    scene.says(ROUTER, Up::Usage(vec![Usage { container: container(1), in_flight: 0, used: true }]));
    assert_eq!(scene.after(1_000), ["tell 0: marked 2"]);
    assert_eq!(scene.step(Event::RouterJoined(ROUTER)), ["tell 0: snapshot [1, 2 marked]"]);
    let mut actions = Vec::new();
    scene.pool.step(scene.now_ms, Event::IdentityRevoked("uuid".into()), &mut actions);
    let Action::Tell(_, message) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(message.sequence, Sequence(6), "snapshot, ready, ready, marked, snapshot");
}

#[test]
fn a_router_that_comes_back_is_numbered_on_from_where_it_was() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    scene.step(Event::RouterLost(ROUTER));
    let mut actions = Vec::new();
    scene.pool.step(scene.now_ms, Event::RouterJoined(ROUTER), &mut actions);
    let Action::Tell(_, message) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(message.sequence, Sequence(3), "snapshot and ready were told before");
}

#[test]
fn acknowledgements_only_grow_and_never_beyond_what_was_told() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    let mut applied = |upto| {
        scene.says(ROUTER, Up::Acknowledged(Sequence(upto)));
        scene.pool.applied(ROUTER)
    };
    assert_eq!(applied(1), Some(Sequence(1)));
    assert_eq!(applied(99), Some(Sequence(2)));
    assert_eq!(applied(1), Some(Sequence(2)));
}

#[test]
fn a_lost_routers_containers_move_to_a_router_that_waits_or_are_collected() {
    let mut scene = Scene::new(512).with_idle(&plain("a")).with_idle(&plain("b"));
    scene.step(Event::RouterJoined(OTHER));
    scene.demands_at(OTHER, &plain("a"), 1, None);
    assert_eq!(scene.step(Event::RouterLost(ROUTER)), ["tell 1: ready 1", "close 2 idle 0"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(2), false)), nothing(), "a call of it is in flight");
    assert_eq!(scene.says(ROUTER, Up::Released(container(1))), nothing(), "it is not heard any more");
    assert_eq!(scene.demands_at(OTHER, &plain("b"), 1, None), ["tell 1: ready 2"]);
}

#[test]
fn an_idle_container_moves_to_another_router_that_waits_for_one() {
    let one = spec("a", 1, |limits| limits.instances = Some(1));
    let mut scene = Scene::new(1024).with_idle(&one);
    scene.step(Event::RouterJoined(OTHER));
    scene.now_ms += 1_000;
    assert_eq!(scene.demands_at(OTHER, &one, 1, None), ["tell 0: marked 1"]);
    assert_eq!(scene.says(ROUTER, Up::Released(container(1))), nothing(), "it may answer an earlier mark");
    let applied = scene.says(ROUTER, Up::Acknowledged(Sequence(3)));
    assert_eq!(applied, ["tell 0: removed 1", "tell 1: ready 1"]);
}

#[test]
fn what_a_silent_router_may_still_use_moves_only_once_it_has_let_go_of_it() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    scene.step(Event::RouterJoined(OTHER));
    let changed = scene.step(Event::EntityChanged(Collection::Actions, action("a"), Some(Revision(2))));
    assert_eq!(changed, ["tell 0: changed a Some(2)", "tell 1: changed a Some(2)", "tell 0: marked 1"]);
    let release_ms = scene.pool.settings.release_ms_max;
    assert_eq!(scene.after(release_ms), [format!("close 1 idle {release_ms}")]);
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), nothing(), "it is in use");
    let wanted = scene.demands_at(OTHER, &plain("a"), 1, None);
    assert_eq!(
        wanted,
        ["tell 0: unmarked 1", "tell 0: marked 1"],
        "its router has not said that it heard the first mark"
    );
    let applied = scene.says(ROUTER, Up::Acknowledged(Sequence(6)));
    assert_eq!(applied, ["tell 0: removed 1", "tell 1: ready 1"]);
}

#[test]
fn what_moves_from_a_lost_router_is_idle_whatever_that_said_last() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    scene.step(Event::PolicySwitched(Policy::idle(5_000)));
    scene.step(Event::RouterJoined(OTHER));
    let usage = Usage { container: container(1), in_flight: 1, used: true };
    scene.says(ROUTER, Up::Usage(vec![usage]));
    scene.demands_at(OTHER, &plain("a"), 1, None);
    assert_eq!(scene.step(Event::RouterLost(ROUTER)), ["tell 1: ready 1"]);
    scene.demands_at(OTHER, &plain("a"), 0, None);
    assert_eq!(scene.after(5_000), ["tell 1: marked 1"]);
}

#[test]
fn a_disowned_container_goes_but_not_before_its_proxy_agrees() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    assert_eq!(scene.says(ROUTER, Up::Disowned(container(1))), ["tell 0: removed 1", "close 1 idle 0"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), nothing());
    assert_eq!(scene.demands(&plain("a"), 1), ["start 2 a@1 on 0"], "it never comes back");
    assert_eq!(scene.after(1_000), ["close 1 idle 0"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(1), true)), ["stop 1"]);
}

#[test]
fn a_lost_node_takes_its_containers_along() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    assert_eq!(scene.step(Event::NodeLost(NODE)), ["tell 0: removed 1"]);
    assert_eq!(scene.states(), []);
    assert_eq!(scene.demands(&plain("a"), 1), nothing(), "no room anywhere");
}

#[test]
fn pinned_kinds_go_to_their_node_and_nothing_else_does() {
    let engine = NodeId(1);
    let mut image = ContainerSpec::clone(&plain("image"));
    let mut action = triplane_model::Action::clone(&image.action);
    action.exec.kind = "blackbox".into();
    image.action = Arc::new(action);
    let image = Arc::new(image);
    let mut scene = Scene::new(256);
    let mut policy = scene.pool.policy().clone();
    policy.placement.pinned.insert("blackbox".into(), engine);
    scene.step(Event::PolicySwitched(policy));
    assert_eq!(scene.demands(&image, 1), nothing(), "its node may come yet");
    assert_eq!(
        scene.step(Event::NodeJoined { node: engine, offer: Offer::of_memory(256) }),
        ["start 1 image@1 on 1"]
    );
    assert_eq!(scene.demands(&plain("a"), 1), ["start 2 a@1 on 0"]);
    assert_eq!(scene.demands(&plain("b"), 1), nothing(), "the engine has room for none of them");
    assert_eq!(scene.started(1), ["tell 0: ready 1"]);
    assert_eq!(scene.demands(&image, 0), nothing());
    assert_eq!(scene.after(1_000), nothing(), "nor is the engine's container evicted for them");
}

#[test]
fn messages_about_unknown_containers_are_ignored() {
    let mut scene = Scene::new(1024);
    let unknown = ContainerId { epoch: Epoch(0), number: 7 };
    let said = [Up::Released(unknown), Up::Rescue(unknown), Up::Disowned(unknown)];
    let events = [Event::Exited(unknown), Event::StartFailed(unknown), Event::Stopped(unknown)];
    let closes = [true, false].map(|closed| Event::CloseAnswered(unknown, closed));
    let said = said.map(|up| Event::Said(ROUTER, up));
    for event in said.into_iter().chain(events).chain(closes) {
        assert_eq!(scene.step(event.clone()), nothing(), "{event:?}");
    }
    assert_eq!(scene.step(Event::Started(unknown, endpoint(7))), ["stop 7"], "nobody will ever refer to it");
}

#[test]
fn a_demand_that_is_not_said_again_is_forgotten() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    scene.demands_at(ROUTER, &plain("a"), 1, Some(1));
    assert_eq!(scene.pool.summary().waiting, 1);
    scene.after(600_001);
    assert_eq!(scene.pool.summary().waiting, 0);
}

/// Two busy containers of "a", which has more calls waiting, fill the pool.
fn saturated() -> Scene {
    let mut scene = Scene::new(512);
    scene.demands(&plain("a"), 2);
    scene.now_ms += 100;
    scene.started(1);
    scene.started(2);
    scene.demands_at(ROUTER, &plain("a"), 20, Some(50));
    scene
}

#[test]
fn an_action_without_a_container_gets_one_though_another_never_rests() {
    let mut scene = saturated();
    scene.after(1_900);
    assert_eq!(scene.demands(&plain("b"), 1), nothing(), "nothing is idle");
    assert_eq!(scene.after(499), nothing(), "something may fall idle yet");
    assert_eq!(scene.after(1), ["tell 0: marked 1"]);
    assert_eq!(scene.after(1), nothing(), "one is enough");
    assert_eq!(scene.says(ROUTER, Up::Released(container(1))), ["close 1 idle 0"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(1), false)), nothing(), "it ends what it has");
    assert_eq!(scene.demands_at(ROUTER, &plain("a"), 21, Some(50)), nothing(), "and does not come back");
    assert_eq!(scene.after(1_000), ["close 1 idle 0"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(1), true)), ["tell 0: removed 1", "stop 1"]);
    assert_eq!(scene.step(Event::Stopped(container(1))), ["start 3 b@1 on 0"]);
}

#[test]
fn a_busy_container_does_not_go_before_it_has_had_its_turn() {
    let mut scene = saturated();
    scene.demands(&plain("b"), 1);
    assert_eq!(scene.after(1_999), nothing());
    assert_eq!(scene.after(1), ["tell 0: marked 1"]);
}

#[test]
fn an_action_that_has_a_container_takes_none_of_a_busy_one() {
    let mut scene = Scene::new(512);
    for (number, name) in [(1, "a"), (2, "b")] {
        scene.demands(&plain(name), 1);
        scene.started(number);
    }
    for _ in 0..100 {
        scene.demands_at(ROUTER, &plain("a"), 20, Some(50));
        scene.demands_at(ROUTER, &plain("b"), 20, Some(50));
        assert_eq!(scene.after(100), nothing());
    }
}

#[test]
fn one_idle_container_leaves_for_one_that_is_needed() {
    let mut scene = Scene::new(512).with_idle(&plain("a")).with_idle(&plain("b"));
    scene.after(300);
    assert_eq!(scene.demands(&plain("c"), 1), ["tell 0: marked 1"]);
    assert_eq!(scene.after(10), nothing());
}

#[test]
fn three_actions_that_never_rest_take_turns_on_one_place() {
    let mut scene = Scene::new(256);
    let names = ["a", "b", "c"];
    let mut turns = vec![];
    for _ in 0..200 {
        let mut wanted = scene.after(50);
        for name in names {
            wanted.extend(scene.demands_at(ROUTER, &plain(name), 5, Some(50)));
        }
        while let Some(words) = wanted.pop() {
            let words: Vec<_> = words.split([' ', '@']).collect();
            let number = |at: usize| words[at].parse().unwrap();
            wanted.extend(match words[0] {
                "start" => {
                    turns.push(words[2].to_owned());
                    scene.started(number(1))
                }
                "close" => scene.step(Event::CloseAnswered(container(number(1)), true)),
                "stop" => scene.step(Event::Stopped(container(number(1)))),
                "tell" if words[2] == "marked" => scene.says(ROUTER, Up::Released(container(number(3)))),
                _ => vec![],
            });
        }
    }
    assert_eq!(turns, ["a", "b", "c", "a", "b"]);
}
