//! The collector as the pool sees it.

use super::*;
use crate::fixture::{container, spec};

const NODE: NodeId = NodeId(1);
const MINUTE: u64 = 60_000;

/// A collector whose containers do what the test says.
struct Pool {
    collector: Collector,
    now_ms: u64,
}

impl Pool {
    fn new(policy: &str) -> Self {
        Self { collector: Collector::new(policy.parse().unwrap(), 100), now_ms: 0 }
    }

    fn starts(&mut self, action: &str, number: u64, cause: Cause) {
        self.collector.started(self.now_ms, container(number), &spec(action, 1, |_| {}), NODE, cause);
        self.collector.ready(self.now_ms, container(number));
    }

    /// A call comes to a container and ends at once.
    fn calls(&mut self, number: u64) {
        self.collector.reported(self.now_ms, container(number), true, 0);
    }

    /// A container is started for a call.
    fn misses(&mut self, action: &str, number: u64) {
        self.starts(action, number, Cause::Call);
        self.calls(number);
    }

    /// The same, and then calls of 100 ms come 20 to 44 s apart; the last has just ended.
    fn misses_and_calls_unevenly(&mut self, action: &str, number: u64) {
        self.misses(action, number);
        let mut next_ms = self.now_ms;
        for call in 0..60 {
            self.now_ms = next_ms;
            self.collector.reported(self.now_ms, container(number), true, 1);
            self.now_ms += 100;
            self.collector.reported(self.now_ms, container(number), false, 0);
            next_ms += 20_000 + call % 7 * 4_000;
        }
    }

    /// Time passes up to then; what is due meanwhile.
    fn passes(&mut self, until_ms: u64) -> Vec<(u64, u64, String)> {
        let mut due = Vec::new();
        while let Some(at_ms) = self.collector.next_due_ms().filter(|&at_ms| at_ms <= until_ms) {
            self.now_ms = at_ms.max(self.now_ms);
            for Due { container, reason } in self.collector.due(self.now_ms, 100) {
                due.push((self.now_ms, container.number, reason.to_string()));
                self.collector.gone(self.now_ms, container);
            }
            self.collector.prewarm(self.now_ms, 100);
        }
        self.now_ms = until_ms;
        due
    }
}

fn numbers(due: &[Due]) -> Vec<u64> {
    due.iter().map(|due| due.container.number).collect()
}

#[test]
fn a_container_goes_when_it_was_idle_for_the_fixed_time_since_its_last_use() {
    let mut pool = Pool::new("fixed");
    pool.misses("a", 1);
    assert_eq!(pool.passes(5 * MINUTE), []);
    pool.calls(1);
    assert_eq!(pool.passes(20 * MINUTE), [(15 * MINUTE, 1, "idle for 600 s".into())]);
    assert_eq!(pool.collector.next_due_ms(), None, "nothing is left to look at");
}

#[test]
fn a_busy_container_stays_until_its_router_is_silent_for_too_long() {
    let mut pool = Pool::new("fixed:idle_ms=1000");
    pool.starts("a", 1, Cause::Call);
    pool.collector.reported(0, container(1), true, 1);
    assert_eq!(pool.passes(29_000), []);
    pool.collector.reported(29_000, container(1), false, 1);
    assert_eq!(pool.passes(58_000), []);
    assert_eq!(pool.passes(60_000), [(59_000, 1, "nothing was heard of it for 30 s".into())]);
}

#[test]
fn a_new_container_has_time_for_its_first_call() {
    let mut pool = Pool::new("fixed:idle_ms=0");
    pool.starts("a", 1, Cause::Call);
    assert_eq!(pool.passes(2 * MINUTE), [(1_000, 1, "idle for 1 s".into())]);
}

#[test]
fn what_is_due_is_told_once_and_no_more_than_asked_for() {
    let mut pool = Pool::new("fixed");
    (1..=5).for_each(|number| pool.misses("a", number));
    assert_eq!(numbers(&pool.collector.due(10 * MINUTE, 2)), [1, 2]);
    assert_eq!(numbers(&pool.collector.due(10 * MINUTE, 9)), [3, 4, 5]);
    assert_eq!(numbers(&pool.collector.due(20 * MINUTE, 9)), [] as [u64; 0]);
}

#[test]
fn a_container_that_refused_to_close_is_idle_anew() {
    let mut pool = Pool::new("fixed");
    pool.misses("a", 1);
    pool.collector.due(10 * MINUTE, 9);
    pool.now_ms = 11 * MINUTE;
    pool.collector.returned(pool.now_ms, container(1));
    assert_eq!(pool.passes(30 * MINUTE), [(21 * MINUTE, 1, "idle for 600 s".into())]);
}

#[test]
fn under_pressure_the_idle_ones_leave_in_order_and_no_more_than_needed() {
    let mut pool = Pool::new("lru");
    for number in 1..=4 {
        pool.misses("a", number);
        pool.now_ms += 1_000;
    }
    pool.calls(1);
    pool.collector.reported(pool.now_ms, container(2), true, 1);
    let order: Vec<_> = pool.collector.idle_on(NODE).map(|one| one.container.number).collect();
    assert_eq!(order, [3, 4, 1], "a busy one is not among them");
    pool.now_ms = 10_000;
    let victims = pool.collector.relieve(300, |_| true);
    assert_eq!(victims.iter().map(|victim| victim.container.number).collect::<Vec<_>>(), [3, 4]);
    let may_go = |id| id != container(3);
    assert_eq!(pool.collector.relieve(300, may_go)[0].container, container(4), "the pool needs the first");
    let reason = pool.collector.evicted(pool.now_ms, container(3));
    assert_eq!(reason.to_string(), "made room after 8 s of idleness");
    assert_eq!(pool.passes(30_000), [], "nothing goes for its age");
}

#[test]
fn a_switched_policy_judges_what_is_idle_already() {
    let mut pool = Pool::new("lru");
    pool.misses("a", 1);
    assert_eq!(pool.passes(30 * MINUTE), []);
    pool.collector.switch(pool.now_ms, "fixed".parse().unwrap());
    assert_eq!(pool.passes(31 * MINUTE), [(30 * MINUTE, 1, "idle for 30 min".into())]);
}

#[test]
fn what_is_not_known_is_ignored() {
    let mut pool = Pool::new("fixed");
    pool.collector.ready(0, container(1));
    pool.collector.reported(0, container(1), true, 1);
    pool.collector.left(0, container(1));
    pool.collector.returned(0, container(1));
    pool.collector.gone(0, container(1));
    assert_eq!((pool.collector.next_due_ms(), pool.collector.due(u64::MAX, 9)), (None, vec![]));
}

#[test]
fn a_container_is_started_ahead_of_a_call_that_comes_every_half_hour() {
    let mut pool = Pool::new("histogram");
    let spec = spec("a", 1, |_| {});
    for number in 1..=6 {
        pool.now_ms = number * 30 * MINUTE;
        pool.misses("a", number);
        pool.collector.gone(pool.now_ms, container(number));
    }
    let at_ms = pool.collector.next_due_ms().unwrap();
    assert_eq!(at_ms, 207 * MINUTE, "27 of 30 minutes after the last");
    let prewarm = pool.collector.prewarm(at_ms, 9);
    assert_eq!(prewarm.len(), 1);
    assert_eq!(prewarm[0].spec.key, spec.key);
    pool.now_ms = at_ms;
    pool.starts("a", 7, Cause::Expected { until_ms: prewarm[0].until_ms });
    assert_eq!(pool.passes(210 * MINUTE), []);
    pool.calls(7);
    assert_eq!(pool.passes(211 * MINUTE), [(210 * MINUTE, 7, "its next call is expected in 27 min".into())]);
}

/// One call of `containers` containers at once, `number` being the first of them; all go when they have ended.
fn burst(pool: &mut Pool, number: u64, containers: u64) {
    let ids = || (number..number + containers).map(container);
    for id in ids() {
        pool.collector.started(pool.now_ms, id, &spec("a", 1, |_| {}), NODE, Cause::Call);
    }
    pool.now_ms += 1_000;
    ids().for_each(|id| pool.collector.ready(pool.now_ms, id));
    ids().for_each(|id| pool.collector.reported(pool.now_ms, id, true, 0));
    ids().for_each(|id| pool.collector.gone(pool.now_ms, id));
}

#[test]
fn the_first_call_of_a_burst_has_the_containers_of_the_whole_burst_started() {
    let mut pool = Pool::new("compacting");
    for minute in 0..6 {
        pool.now_ms = minute * 31 * MINUTE + minute * minute * 1_000;
        burst(&mut pool, 1 + minute * 10, 5);
    }
    pool.now_ms += 47 * MINUTE;
    let now_ms = pool.now_ms;
    pool.collector.prewarm(now_ms, 100);
    pool.collector.started(now_ms, container(100), &spec("a", 1, |_| {}), NODE, Cause::Call);
    assert!(pool.collector.next_due_ms() <= Some(now_ms), "it asks at once");
    let ahead = pool.collector.prewarm(now_ms, 100);
    assert_eq!(
        (ahead.len(), ahead[0].containers, ahead[0].reason.to_string()),
        (1, 5, "such bursts need 5 containers".into())
    );
    pool.collector.started(
        now_ms,
        container(101),
        &ahead[0].spec,
        NODE,
        Cause::Expected { until_ms: ahead[0].until_ms },
    );
    pool.collector.ready(now_ms + 400, container(101));
    let due = pool.passes(now_ms + MINUTE);
    assert_eq!(due, [(ahead[0].until_ms, 101, "the expected call did not come within 5 s".into())]);
}

#[test]
fn a_call_that_waits_for_a_container_started_ahead_is_its_call_and_asks_for_the_next() {
    let mut pool = Pool::new("compacting");
    for minute in 0..6 {
        pool.now_ms = minute * 31 * MINUTE + minute * minute * 1_000;
        burst(&mut pool, 1 + minute * 10, 5);
    }
    pool.now_ms += 47 * MINUTE;
    let (now_ms, key) = (pool.now_ms, spec("a", 1, |_| {}).key.clone());
    pool.collector.prewarm(now_ms, 100);
    pool.collector.started(now_ms, container(100), &spec("a", 1, |_| {}), NODE, Cause::Call);
    let ahead = pool.collector.prewarm(now_ms, 100).remove(0);
    let cause = Cause::Expected { until_ms: ahead.until_ms };
    pool.collector.started(now_ms, container(101), &ahead.spec, NODE, cause);
    pool.collector.awaited(now_ms + 100, &key, Awaited { starting: 2, ..Awaited::default() });
    let next = pool.collector.prewarm(now_ms + 100, 100);
    assert_eq!(next[0].containers, 5, "three more are likely");
    pool.collector.awaited(now_ms + 150, &key, Awaited { starting: 2, ..Awaited::default() });
    assert_eq!(pool.collector.prewarm(now_ms + 150, 100).len(), 0, "nothing has changed");
}

#[test]
fn a_node_on_which_nothing_is_busy_is_emptied_when_it_is_worth_more() {
    for (node_mb, reason) in [(1_000_000, "empties node 1"), (0, "no call is likely soon after 45 s")] {
        let mut pool = Pool::new(&format!("compacting:node_mb={node_mb}"));
        pool.misses_and_calls_unevenly("a", 1);
        let due = pool.passes(pool.now_ms + 10 * MINUTE);
        assert_eq!(due.len(), 1, "{due:?}");
        assert_eq!(due[0].2, reason);
    }
}

#[test]
fn the_last_node_is_not_emptied_for_calls_that_no_other_node_would_take() {
    let emptied = |others: bool| {
        let mut pool = Pool::new("compacting");
        if others {
            pool.collector.started(0, container(7), &spec("busy", 1, |_| {}), NodeId(2), Cause::Call);
        }
        pool.misses_and_calls_unevenly("a", 1);
        pool.passes(pool.now_ms + 40_000).iter().any(|(.., reason)| reason == "empties node 1")
    };
    assert_eq!([true, false].map(emptied), [true, false]);
}

#[test]
fn of_containers_that_are_alike_the_one_on_the_emptier_node_goes() {
    let mut pool = Pool::new("compacting:node_mb=0:worth_s=0");
    let started = |pool: &mut Pool, action: &str, number, node| {
        pool.collector.started(0, container(number), &spec(action, 1, |_| {}), NodeId(node), Cause::Call);
        pool.collector.ready(0, container(number));
    };
    started(&mut pool, "a", 1, 1);
    started(&mut pool, "b", 2, 1);
    started(&mut pool, "a", 3, 2);
    pool.collector.reported(10, container(2), true, 1);
    pool.collector.reported(10, container(1), true, 0);
    pool.collector.reported(20, container(3), true, 1);
    pool.collector.reported(30, container(3), false, 0);
    assert_eq!(
        numbers(&pool.collector.due(6_000, 1)),
        [3],
        "the first was idle longer, on a node that stays"
    );
    assert_eq!(numbers(&pool.collector.due(6_010, 9)), [1]);
}

#[test]
fn under_pressure_compacting_empties_the_node_that_it_can() {
    let mut pool = Pool::new("compacting");
    for (number, node) in [(1, 1), (2, 1), (3, 2)] {
        pool.collector.started(0, container(number), &spec("a", 1, |_| {}), NodeId(node), Cause::Call);
        pool.collector.ready(0, container(number));
        pool.collector.reported(0, container(number), true, u32::from(number == 1));
    }
    let victims = pool.collector.relieve(256, |_| true);
    assert_eq!(victims, [Victim { container: container(3), empties: Some(NodeId(2)) }]);
    let victims = pool.collector.relieve(256, |id| id != container(3));
    assert_eq!(victims, [Victim { container: container(2), empties: None }]);
}

#[test]
fn a_kept_container_is_judged_anew_as_if_it_had_been_used() {
    let mut pool = Pool::new("fixed");
    pool.misses("a", 1);
    pool.collector.due(10 * MINUTE, 9);
    pool.now_ms = 10 * MINUTE;
    pool.collector.kept(pool.now_ms, container(1));
    assert_eq!(pool.passes(30 * MINUTE), [(20 * MINUTE, 1, "idle for 600 s".into())]);
}
