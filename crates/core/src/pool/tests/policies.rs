//! Strategies and collectors, switched while the pool is at work; what is started ahead of calls; why things are as they are.

use super::*;
use crate::collector;
use crate::placement::{Capacity, Refusal, Resource, Resources, StrategyName};
use crate::pool::settings::Policy;

impl Scene {
    /// A pool of nodes with that much memory, and one router.
    fn of_nodes(memory_mb: &[u64]) -> Self {
        let mut scene = Self::new(memory_mb[0]);
        for (&memory_mb, id) in memory_mb.iter().zip(0..).skip(1) {
            scene.step(Event::NodeJoined { node: NodeId(id), offer: Offer::of_memory(memory_mb) });
        }
        scene
    }

    fn switches(&mut self, change: impl FnOnce(&mut Policy)) -> Vec<String> {
        let mut policy = self.pool.policy().clone();
        change(&mut policy);
        self.step(Event::PolicySwitched(policy))
    }

    /// Why the containers left, the first that left first.
    fn departures(&self) -> Vec<(u64, String)> {
        let said = |departure: &Departure| (departure.container.number, departure.cause.to_string());
        let mut departures: Vec<_> = self.pool.departures().map(said).collect();
        departures.reverse();
        departures
    }

    /// What each demand waits for.
    fn waits(&self) -> Vec<(String, Option<WaitsFor>)> {
        let said = |demand: DemandView| (demand.key.action.name.to_string(), demand.waits_for);
        self.pool.demands().into_iter().map(said).collect()
    }

    /// A container that was marked goes all the way.
    fn leaves(&mut self, number: u64) -> Vec<String> {
        self.says(ROUTER, Up::Released(container(number)));
        self.step(Event::CloseAnswered(container(number), true));
        self.step(Event::Stopped(container(number)))
    }

    fn rests(&mut self, number: u64) {
        let usage = Usage { container: container(number), in_flight: 0, used: true };
        self.says(ROUTER, Up::Usage(vec![usage]));
    }

    fn busy(&mut self, number: u64) {
        let usage = Usage { container: container(number), in_flight: 1, used: true };
        self.says(ROUTER, Up::Usage(vec![usage]));
    }
}

/// An action with that annotation.
fn annotated(name: &str, annotation: &str, value: &str) -> Arc<ContainerSpec> {
    let mut spec = ContainerSpec::clone(&plain(name));
    let mut action = triplane_model::Action::clone(&spec.action);
    action.annotations.set(annotation, serde_json::value::RawValue::from_string(value.to_owned()).unwrap());
    spec.action = Arc::new(action);
    Arc::new(spec)
}

#[test]
fn a_shorter_idle_time_holds_for_what_is_idle_already() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    assert_eq!(scene.after(5_000), nothing());
    scene.switches(|policy| policy.collector = Policy::idle(3_000).collector);
    assert_eq!(scene.after(0), ["tell 0: marked 1"]);
    scene.leaves(1);
    assert_eq!(scene.departures(), [(1, "idle for 5 s".to_owned())]);
}

#[test]
fn a_collector_without_an_idle_time_lets_go_only_for_others() {
    let mut scene = Scene::new(512);
    scene.switches(|policy| policy.collector = "lru".parse::<collector::Policy>().unwrap());
    let mut scene = scene.with_idle(&plain("a")).with_idle(&plain("b"));
    assert_eq!(scene.after(3_600_000), nothing());
    assert_eq!(scene.demands(&plain("c"), 1), ["tell 0: marked 1"]);
    scene.leaves(1);
    let (number, cause) = scene.departures().remove(0);
    assert!(number == 1 && cause.starts_with("made room"), "{cause}");
}

#[test]
fn a_namespace_has_a_strategy_of_its_own() {
    let mut scene = Scene::of_nodes(&[1024, 1024]);
    assert_eq!(scene.demands(&plain("a"), 1), ["start 1 a@1 on 0"]);
    assert_eq!(scene.demands(&plain("b"), 1), ["start 2 b@1 on 0"], "packed");
    let guest = plain("c").key.namespace.clone();
    scene.switches(|policy| policy.placement.namespaces.extend([(guest, StrategyName::Spread)]));
    assert_eq!(scene.demands(&plain("c"), 1), ["start 3 c@1 on 1"]);
}

#[test]
fn a_container_goes_where_there_is_what_its_action_asks_for() {
    let asks = |name| annotated(name, "resources", r#"{"example.com/fpga": 1}"#);
    let mut scene = Scene::new(1024);
    assert_eq!(scene.demands(&asks("a"), 1), ["tell 0: refused a NoNode"], "no node has one");
    let mut resources = Resources::of_memory(1024);
    resources.set_extended("example.com/fpga", 1).unwrap();
    let offer = Offer { capacity: Capacity::new(resources), ..Offer::default() };
    assert_eq!(scene.step(Event::NodeJoined { node: NodeId(1), offer }), nothing());
    assert_eq!(scene.demands(&asks("a"), 1), ["start 1 a@1 on 1"]);
    assert_eq!(scene.demands(&asks("b"), 1), nothing(), "there is one only");
    assert_eq!(scene.waits(), [("a".to_owned(), None), ("b".to_owned(), Some(WaitsFor::Room))]);
}

#[test]
fn what_no_node_has_room_for_says_nothing_of_another_place() {
    let at =
        |name, zone: &str| annotated(name, "placement", &format!(r#"{{"labels": {{"zone": "{zone}"}}}}"#));
    let mut scene = Scene::new(128);
    for (node, zone, memory_mb) in [(1, "a", 256), (2, "b", 256)] {
        let mut offer = Offer::of_memory(memory_mb);
        offer.traits.labels.insert("zone".into(), zone.into());
        scene.step(Event::NodeJoined { node: NodeId(node), offer });
    }
    assert_eq!(scene.demands(&at("fills", "a"), 1), ["start 1 fills@1 on 1"]);
    scene.step(Event::NodeDrained { node: NodeId(2), is_draining: true });
    assert_eq!(
        (scene.demands(&at("first", "a"), 1), scene.demands(&at("second", "b"), 1)),
        (nothing(), nothing())
    );
    let restored = scene.step(Event::NodeDrained { node: NodeId(2), is_draining: false });
    assert_eq!(restored, ["start 2 second@1 on 2"], "of the same code in one pass");
}

#[test]
fn what_no_node_would_ever_take_is_refused_with_the_reason_and_people_see_it() {
    let mut scene = Scene::of_nodes(&[1024, 512]);
    let mut why = |annotation, value| {
        scene.demands(&annotated("a", annotation, value), 1);
        scene.pool.inspect(9).refused[0].why.clone().unwrap()
    };
    let zone = r#"{"labels": {"zone": "a"}}"#;
    assert_eq!(
        &*why("resources", r#"{"gpu": 1, "example.com/fpga": 1}"#),
        "no node has enough example.com/fpga, gpu"
    );
    assert_eq!(&*why("placement", zone), "no node takes it: of 2 nodes each lacks a label that is asked for");
    assert_eq!(scene.pool.inspect(9).refused[0].times, 2);
    let mut offer = Offer::of_memory(128);
    offer.traits.labels.insert("zone".into(), "a".into());
    scene.step(Event::NodeJoined { node: NodeId(2), offer });
    scene.demands(&annotated("b", "placement", zone), 1);
    let said = "no node that takes it has enough memory: of 2 nodes each lacks a label that is asked for";
    assert_eq!(scene.pool.inspect(9).refused[0].why.as_deref(), Some(said));
}

#[test]
fn each_demand_says_what_it_waits_for() {
    let two = spec("two", 1, |limits| limits.instances = Some(1));
    let mut scene = Scene::new(512);
    scene.pool.settings.starts_max = 1;
    scene.demands_at(ROUTER, &two, 2, Some(10_000));
    scene.demands(&plain("later"), 1);
    let waits = scene.waits();
    assert_eq!(waits[0], ("two".to_owned(), Some(WaitsFor::Instances)));
    assert_eq!(waits[1], ("later".to_owned(), Some(WaitsFor::Starts)));
    assert_eq!(scene.started(1), ["tell 0: ready 1", "start 2 later@1 on 0"]);
    scene.started(2);
    [1, 2].iter().for_each(|&number| scene.busy(number));
    scene.demands(&plain("full"), 1);
    assert_eq!(scene.waits().last().unwrap(), &("full".to_owned(), Some(WaitsFor::Room)));
}

#[test]
fn a_demand_that_waits_for_room_says_why_no_node_takes_it() {
    let mut scene = Scene::of_nodes(&[256, 128, 1024]);
    let mut resources = Resources::of_memory(1024);
    resources.set_extended("example.com/fpga", 1).unwrap();
    scene.step(Event::NodeJoined {
        node: NodeId(3),
        offer: Offer { capacity: Capacity::new(resources), ..Offer::default() },
    });
    scene.step(Event::NodeDrained { node: NodeId(2), is_draining: true });
    let asks = |name| annotated(name, "resources", r#"{"example.com/fpga": 1}"#);
    scene.demands(&asks("has"), 1);
    scene.demands(&asks("waits"), 1);
    let seen = scene.pool.inspect(10);
    let [has, waits] = &seen.demands[..] else { panic!("{seen:?}") };
    assert!(has.refusals.is_empty() && has.short_of.is_empty(), "its container is starting");
    let refusals = [(Refusal::Draining, 1), (Refusal::Resource, 2), (Refusal::Full, 1)];
    assert_eq!(waits.refusals, refusals.into());
    assert_eq!(waits.short_of, [("example.com/fpga".to_owned(), 3), ("memory".to_owned(), 1)].into());
}

#[test]
fn people_see_what_of_the_free_space_is_of_no_use() {
    let mut scene = Scene::new(384);
    scene.demands(&plain("a"), 1);
    assert_eq!(
        scene.pool.inspect(0).fragmentation_ppm,
        [(Resource::Memory, 1_000_000)].into(),
        "128 of 256 MB"
    );
}

#[test]
fn a_demand_that_others_leave_for_says_so_until_it_has_its_container() {
    let mut scene = Scene::new(256).with_idle(&plain("a"));
    scene.now_ms += 1_000;
    scene.demands(&plain("b"), 1);
    assert_eq!(scene.waits(), [("b".to_owned(), Some(WaitsFor::Evictions))]);
    assert_eq!(scene.leaves(1), ["start 2 b@1 on 0"]);
    assert_eq!(scene.waits(), [("b".to_owned(), None)]);
}

#[test]
fn a_drained_node_gets_nothing_and_is_rid_of_what_it_has_when_that_has_ended() {
    let mut scene = Scene::of_nodes(&[1024, 1024]).with_idle(&plain("idle")).with_idle(&plain("busy"));
    scene.busy(2);
    let drained = Event::NodeDrained { node: NODE, is_draining: true };
    assert_eq!(scene.step(drained), ["tell 0: marked 1", "tell 0: marked 2"]);
    assert_eq!(scene.demands(&plain("idle"), 1), ["start 3 idle@1 on 1"], "what leaves does not come back");
    assert_eq!(scene.says(ROUTER, Up::Released(container(2))), ["close 2 idle 0"]);
    assert_eq!(scene.step(Event::CloseAnswered(container(2), false)), nothing(), "its call goes on");
    assert_eq!(scene.after(1_000), ["close 2 idle 0"], "the news of its end may be lost");
    scene.step(Event::CloseAnswered(container(2), true));
    scene.step(Event::Stopped(container(2)));
    scene.leaves(1);
    assert_eq!(scene.departures()[0], (2, "node 0 is drained".to_owned()));
    let node = scene.pool.summary().nodes.remove(0);
    assert_eq!((node.is_draining, node.containers), (true, 0));
    scene.step(Event::NodeDrained { node: NODE, is_draining: false });
    assert_eq!(scene.demands(&plain("new"), 1).len(), 1);
}

#[test]
fn what_starts_on_a_node_while_it_is_drained_serves_its_callers_and_goes() {
    let mut scene = Scene::new(1024);
    scene.demands(&plain("a"), 1);
    assert_eq!(scene.step(Event::NodeDrained { node: NODE, is_draining: true }), nothing());
    assert_eq!(scene.started(1), ["tell 0: ready 1", "tell 0: marked 1"]);
}

#[test]
fn an_action_keeps_the_least_number_of_containers_though_they_idle() {
    let two = annotated("a", "instances-min", "2");
    let mut scene = Scene::new(1024).with_idle(&two);
    assert_eq!(scene.after(1_000), ["start 2 a@1 on 0"], "the second one comes by itself");
    scene.started(2);
    for _ in 0..3 {
        assert_eq!(scene.after(700_000), nothing());
    }
    assert_eq!(scene.step(Event::Exited(container(1))), ["tell 0: removed 1", "stop 1"]);
    assert_eq!(scene.after(1_000), ["start 3 a@1 on 0"]);
    scene.step(Event::EntityChanged(Collection::Actions, action("a"), Some(Revision(2))));
    scene.leaves(2);
    assert_eq!(scene.after(1_000), nothing(), "an older revision keeps none");
}

#[test]
fn what_an_action_keeps_leaves_for_others_only_when_nothing_else_is_enough() {
    let one = annotated("a", "instances-min", "1");
    let scene = Scene::new(512).with_idle(&one);
    let mut scene = scene.with_idle(&plain("busy"));
    scene.after(10_000);
    scene.busy(2);
    assert_eq!(scene.demands(&plain("b"), 1), nothing(), "it does not idle");
    assert_eq!(scene.after(500), ["tell 0: marked 2"], "what is busy has had its turn");
    assert_eq!(scene.leaves(2), ["start 3 b@1 on 0"]);
    scene.started(3);
    scene.demands(&plain("b"), 0);
    scene.busy(3);
    scene.demands(&plain("c"), 1);
    assert_eq!(scene.after(500), ["tell 0: marked 1"], "the other one has not");
    assert_eq!(scene.departures().len(), 1);
    assert_eq!(scene.leaves(1), ["start 4 c@1 on 0"]);
    assert_eq!(scene.after(10_000), nothing(), "it comes back into what is free only");
    scene.step(Event::Exited(container(3)));
    assert_eq!(scene.after(1_000), ["start 5 a@1 on 0"]);
}

#[test]
fn what_a_namespace_keeps_beyond_its_share_goes_like_everything_else() {
    let mut scene = Scene::new(512);
    let guest = plain("a").key.namespace.clone();
    scene.step(Event::ShareSet(guest.clone(), 600));
    scene.step(Event::MinimumSet(annotated("a", "instances-min", "1")));
    scene.step(Event::MinimumSet(annotated("b", "instances-min", "100")));
    assert_eq!(scene.after(1_000), ["start 1 a@1 on 0", "start 2 b@1 on 0"], "without a call, 512 of 600 MB");
    scene.started(1);
    scene.started(2);
    assert_eq!(scene.after(700_000), nothing());
    scene.demands(&plain("c"), 1);
    assert_eq!(scene.after(400), nothing(), "within the share nothing idles");
    scene.step(Event::ShareSet(guest, 0));
    assert_eq!(scene.after(1), ["tell 0: marked 1"]);
}

#[test]
fn what_is_to_be_kept_is_forgotten_with_its_action_and_follows_its_revisions() {
    let mut scene = Scene::new(1024);
    let changed = |revision: Option<u64>| {
        Event::EntityChanged(Collection::Actions, action("a"), revision.map(Revision))
    };
    let of_revision = |revision| {
        let spec = annotated("a", "instances-min", "1");
        let key = ActionKey { revision: Revision(revision), ..(*spec.key).clone() };
        Arc::new(ContainerSpec { key: Arc::new(key), action: Arc::clone(&spec.action) })
    };
    scene.step(Event::MinimumSet(of_revision(1)));
    scene.step(changed(Some(2)));
    scene.step(Event::MinimumSet(of_revision(2)));
    scene.step(Event::MinimumSet(of_revision(1)));
    assert_eq!(scene.after(1_000), ["start 1 a@2 on 0"], "a late word of an older one counts for nothing");
    scene.started(1);
    assert_eq!(scene.step(changed(None)), ["tell 0: changed a None", "tell 0: marked 1"]);
    scene.leaves(1);
    assert_eq!(scene.after(1_000), nothing());
}

#[test]
fn who_calls_an_action_of_another_namespace_keeps_none_of_it() {
    let spec = annotated("a", "instances-min", "1");
    let namespace = triplane_model::EntityName::namespace("other").unwrap();
    let key = ActionKey { namespace, ..(*spec.key).clone() };
    let other = Arc::new(ContainerSpec { key: Arc::new(key), action: Arc::clone(&spec.action) });
    let mut scene = Scene::new(1024).with_idle(&other);
    assert_eq!(scene.after(700_000), ["tell 0: marked 1"]);
}

#[test]
fn what_is_kept_takes_nothing_of_the_headroom() {
    let mut scene = Scene::new(512);
    scene.switches(|policy| policy.headroom_mb = 256);
    scene.step(Event::MinimumSet(annotated("a", "instances-min", "2")));
    assert_eq!(scene.after(1_000), ["start 1 a@1 on 0"]);
}

#[test]
fn stem_cells_are_planned_within_their_budget_and_said_when_that_changes() {
    let mut scene = Scene::new(100_000);
    scene.switches(|policy| policy.stems_mb = 1_024);
    let mut said = Vec::new();
    for number in 1..=30 {
        scene.demands(&plain(&format!("action{number}")), 1);
        scene.started(number);
        scene.demands(&plain(&format!("action{number}")), 0);
        said.extend(scene.after(10_000).into_iter().filter(|words| words.starts_with("stems")));
    }
    assert!(said.last().is_some_and(|words| words.contains("nodejs:20")), "{said:?}");
    assert!(said.len() < 10, "only what changed is said: {said:?}");
    assert_eq!(scene.switches(|policy| policy.stems_mb = 0), nothing());
    assert!(scene.after(1_000).contains(&"stems []".to_owned()));
}

#[test]
fn a_rescued_container_stays_when_calls_need_it_often_and_is_replaced_when_not() {
    let mut scene = Scene::new(1024).with_idle(&plain("a"));
    assert_eq!(scene.after(600_000), ["tell 0: marked 1"]);
    assert_eq!(scene.says(ROUTER, Up::Rescue(container(1))), nothing(), "once in ten minutes is not often");
    assert_eq!(scene.demands(&plain("a"), 1), ["start 2 a@1 on 0"]);
    assert_eq!(scene.leaves(1), nothing());
    assert_eq!(scene.departures(), [(1, "another one is started in its place".to_owned())]);
    scene.started(2);
    scene.demands(&plain("a"), 0);
    scene.switches(|policy| policy.collector = Policy::idle(2_000).collector);
    let mut answers = Vec::new();
    for _ in 0..4 {
        scene.after(2_000);
        answers.push(scene.says(ROUTER, Up::Rescue(container(2))));
    }
    assert_eq!(answers.last().unwrap(), &["tell 0: unmarked 2"], "{answers:?}");
}

#[test]
fn a_rescued_container_stays_when_nothing_could_replace_it() {
    let one = spec("a", 1, |limits| limits.instances = Some(1));
    for (memory_mb, spec) in [(256, plain("a")), (1024, one)] {
        let mut scene = Scene::new(memory_mb).with_idle(&spec);
        scene.after(600_000);
        assert_eq!(scene.says(ROUTER, Up::Rescue(container(1))), ["tell 0: unmarked 1"]);
    }
}

#[test]
fn a_container_is_started_ahead_of_a_call_that_is_expected_and_goes_to_who_asked_last() {
    let mut scene = Scene::new(1024);
    scene.step(Event::RouterJoined(OTHER));
    scene.switches(|policy| policy.collector = "histogram".parse::<collector::Policy>().unwrap());
    let mut ahead = Vec::new();
    let mut next = 1;
    for _ in 0..60 {
        // a call every half hour
        scene.demands_at(OTHER, &plain("a"), 1, None);
        for _ in 0..180 {
            let wanted = scene.after(10_000);
            follow(&mut scene, wanted, &mut next, &mut ahead);
            if next > 1 {
                scene.demands_at(OTHER, &plain("a"), 0, None);
            }
        }
    }
    assert!(!ahead.is_empty(), "nothing was started ahead of {next} starts");
    assert!(ahead.iter().all(|said| said.starts_with("a call is expected in ")), "{ahead:?}");
}

#[test]
fn no_more_stem_cells_are_wanted_than_there_is_memory_without_a_container() {
    let mut scene = Scene::new(512);
    scene.switches(|policy| policy.stems_mb = 10_000);
    let mut scene = scene.with_idle(&plain("a"));
    scene.busy(1);
    let stems = |scene: &mut Scene| {
        let said = scene.after(1_000).into_iter().find(|words| words.starts_with("stems"));
        said.unwrap_or_default()
    };
    assert!(stems(&mut scene).contains("memory_mb: 256, count: 1"));
    assert_eq!(scene.demands(&plain("b"), 1), ["start 2 b@1 on 0"], "they are in nobody's way");
    assert_eq!(stems(&mut scene), "stems []");
}

#[test]
fn memory_that_is_to_be_kept_free_is_made_so_that_a_node_becomes_empty() {
    let mut scene = Scene::of_nodes(&[512, 512]);
    scene.switches(|policy| {
        policy.collector = "compacting:worth_s=1000000:node_mb=0".parse().unwrap();
        policy.placement.strategy = StrategyName::Spread;
    });
    let mut scene = scene.with_idle(&plain("a")).with_idle(&plain("b")).with_idle(&plain("c"));
    let nodes: Vec<_> = scene.pool.containers().map(|view| view.node.0).collect();
    assert_eq!(nodes, [0, 1, 0]);
    for _ in 0..20 {
        scene.now_ms += 2_000;
        [1, 2, 3].iter().for_each(|&number| scene.busy(number));
        [2, 3].iter().for_each(|&number| scene.rests(number));
    }
    assert_eq!(scene.after(1_000), nothing(), "256 MB are free");
    scene.switches(|policy| policy.headroom_mb = 512);
    assert_eq!(
        scene.after(1_000),
        ["tell 0: marked 2"],
        "the third was idle as long, beside one that is busy"
    );
    assert_eq!(scene.after(1_000), nothing(), "what is coming free counts");
    scene.leaves(2);
    assert_eq!(scene.departures(), [(2, "empties node 1".to_owned())]);
    scene.switches(|policy| policy.headroom_mb = 10_000);
    assert_eq!(scene.after(1_000), ["tell 0: marked 3"], "as much as can be had: a busy one stays");
}

#[test]
fn what_is_started_ahead_of_calls_takes_nothing_of_what_is_kept_free() {
    let mut scene = Scene::new(2_048);
    scene.switches(|policy| policy.headroom_mb = 1_536);
    assert_eq!(
        starts_of_a_burst(&mut scene, &plain("a"), 5).len(),
        2,
        "one for the call, one beside 1,536 MB"
    );
}

/// Bursts of so many long calls, with pauses that have no rhythm; their containers end with them. Then the first call of another
/// one comes: what is started.
fn starts_of_a_burst(scene: &mut Scene, spec: &Arc<ContainerSpec>, containers: u32) -> Vec<String> {
    scene.switches(|policy| policy.collector = "compacting".parse::<collector::Policy>().unwrap());
    for turn in 0..6 {
        scene.now_ms += 1_860_000 + turn * turn * 1_000;
        let first = scene.pool.last_container + 1;
        scene.demands_at(ROUTER, spec, containers, Some(10_000));
        let numbers = first..=scene.pool.last_container;
        numbers.clone().for_each(|number| drop(scene.started(number)));
        numbers.clone().for_each(|number| scene.busy(number));
        scene.demands(spec, 0);
        numbers.for_each(|number| drop(scene.step(Event::Exited(container(number)))));
    }
    scene.now_ms += 2_820_000;
    scene.demands_at(ROUTER, spec, 1, Some(10_000))
}

#[test]
fn the_first_call_of_a_burst_starts_all_containers_that_such_bursts_need() {
    let mut scene = Scene::new(4_096);
    assert_eq!(starts_of_a_burst(&mut scene, &plain("a"), 5).len(), 5);
    let ahead = scene.pool.containers().filter_map(|view| view.ahead).map(|why| why.to_string());
    assert_eq!(ahead.collect::<Vec<_>>(), ["such bursts need 5 containers"; 4], "one is for the call");
    assert_eq!(scene.demands_at(ROUTER, &plain("a"), 5, Some(10_000)), nothing(), "they are on their way");
}

#[test]
fn what_is_started_ahead_of_a_burst_leaves_room_and_starts_for_others() {
    let mut scene = Scene::new(768);
    scene.pool.settings.starts_max = 3;
    assert_eq!(starts_of_a_burst(&mut scene, &plain("a"), 5).len(), 1, "half of the starts are for calls");
    let mut scene = Scene::new(768);
    assert_eq!(starts_of_a_burst(&mut scene, &plain("a"), 5).len(), 3, "nothing leaves for it");
    let two = spec("a", 1, |limits| limits.instances = Some(2));
    assert_eq!(starts_of_a_burst(&mut Scene::new(4_096), &two, 5).len(), 2);
}

/// Does what the pool wants, at once; notes what it starts ahead of calls.
fn follow(scene: &mut Scene, mut wanted: Vec<String>, next: &mut u64, ahead: &mut Vec<String>) {
    while *next <= scene.pool.last_container {
        let view = scene.pool.containers().find(|view| view.container.number == *next);
        ahead.extend(view.and_then(|view| view.ahead).map(|why| why.to_string()));
        wanted.extend(scene.started(*next));
        *next += 1;
    }
    while let Some(words) = wanted.pop() {
        let number = |at: usize| words.split(' ').nth(at).unwrap().parse().unwrap();
        wanted.extend(match words.split(' ').next().unwrap() {
            "close" => scene.step(Event::CloseAnswered(container(number(1)), true)),
            "stop" => scene.step(Event::Stopped(container(number(1)))),
            "tell" if words.contains("marked") && !words.contains("un") => {
                let router = RouterId(words.split([' ', ':']).nth(1).unwrap().parse().unwrap());
                scene.says(router, Up::Released(container(number(3))))
            }
            _ => vec![],
        });
    }
}
