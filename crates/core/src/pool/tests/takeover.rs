//! A new leader, and what runs since an earlier one.

use super::*;
use crate::placement::Gpus;
use crate::pool::message::Found;

/// Container NUMBER of the leader before, on the node of all tests.
fn old(number: u64) -> ContainerId {
    ContainerId { epoch: Epoch(0), number }
}

impl Scene {
    fn finds(&mut self, number: u64, name: &str) -> Vec<String> {
        let endpoint = endpoint(number);
        let gpus = Gpus::default();
        self.step(Event::Found(Found {
            container: old(number),
            node: NODE,
            spec: plain(name),
            endpoint,
            gpus,
        }))
    }

    fn joins(&mut self, router: RouterId, has: &[u64]) -> Vec<String> {
        let has = has.iter().map(|&number| old(number)).collect();
        let held = self.step(Event::Held(router, has));
        assert_eq!(held, nothing());
        self.step(Event::RouterJoined(router))
    }
}

#[test]
fn what_runs_goes_on_at_the_router_that_has_it() {
    let mut scene = Scene::new(1024);
    assert_eq!(
        (scene.finds(1, "a"), scene.finds(2, "b"), scene.finds(1, "a")),
        (nothing(), nothing(), nothing())
    );
    assert_eq!(scene.joins(OTHER, &[1]), ["tell 1: snapshot [1]"]);
    assert_eq!(scene.states(), [(1, State::Ready), (2, State::Marked)]);
    assert_eq!(scene.joins(ROUTER, &[1, 2]), ["tell 0: snapshot [2]"], "1 is another's");
}

#[test]
fn what_nobody_claims_is_asked_to_close_and_goes_to_nobody_else() {
    let mut scene = Scene::new(1024);
    let release_ms = scene.pool.settings.release_ms_max;
    scene.finds(1, "a");
    scene.finds(2, "b");
    assert_eq!(scene.demands(&plain("a"), 1), nothing(), "it may be claimed yet");
    let close = |number| format!("close {number} idle {release_ms}");
    assert_eq!(scene.after(release_ms), [close(1), close(2), "start 1 a@1 on 0".to_owned()]);
    assert_eq!(scene.step(Event::CloseAnswered(old(1), false)), nothing(), "somebody's call is in it");
    assert_eq!(scene.demands(&plain("a"), 2), ["start 2 a@1 on 0"]);
}

#[test]
fn what_is_asked_to_close_is_its_routers_still_if_that_says_so_late() {
    let mut scene = Scene::new(1024);
    let release_ms = scene.pool.settings.release_ms_max;
    for number in 1..=3 {
        scene.finds(number, "a");
    }
    let close = |number| format!("close {number} idle {release_ms}");
    assert_eq!(scene.after(release_ms), [close(1), close(2), close(3)]);
    assert_eq!(scene.step(Event::CloseAnswered(old(1), false)), nothing(), "a call is in it");
    assert_eq!(scene.joins(OTHER, &[1, 2, 3]), ["tell 1: snapshot [1, 2 marked, 3 marked]"]);
    assert_eq!(scene.step(Event::CloseAnswered(old(2), false)), ["tell 1: unmarked 2"]);
    assert_eq!(scene.step(Event::CloseAnswered(old(3), true)), ["tell 1: removed 3", "stop 3"]);
    scene.joins(ROUTER, &[]);
    assert_eq!(scene.demands(&plain("a"), 1), ["start 1 a@1 on 0"], "1 and 2 are another's");
}

#[test]
fn what_has_no_place_any_more_ends_its_calls_first() {
    let mut scene = Scene::new(256);
    scene.finds(1, "a");
    assert_eq!(scene.finds(2, "b"), nothing(), "the node is full");
    scene.step(Event::Exited(old(1)));
    assert_eq!(scene.finds(2, "b"), nothing(), "it has been asked to close");
    assert_eq!(scene.states(), []);
    for _ in 0..2 {
        assert_eq!(scene.after(1_000), ["close 2 idle 0"]);
        assert_eq!(scene.step(Event::CloseAnswered(old(2), false)), nothing());
    }
    assert_eq!(scene.step(Event::CloseAnswered(old(2), true)), ["stop 2"]);
    assert_eq!(scene.after(1_000), nothing());
}
