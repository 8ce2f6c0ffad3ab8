//! Replays whose figures a person can check, and the properties of all of them.

use triplane_core::collector;
use triplane_core::pool::{self, Settings};

use super::csv::Csv;
use super::generator::{Generator, Profile};
use super::trace::{Invocation, TraceAction};
use super::*;

/// Containers leave after ten seconds without a call.
fn config() -> Config {
    let settings = Settings { policy: pool::Policy::idle(10_000), ..Settings::default() };
    let policy = Policy { name: "fixed".to_owned(), settings };
    Config { message_ms: 0, stop_ms: 0, ..Config::new(policy, 2, 1_024) }
}

fn replay_csv(lines: &str, config: &Config) -> Outcome {
    let csv = format!("arrival_s,action,duration_s,cold_start_s,memory_mb\n{lines}");
    replay(&mut Csv::open(csv.as_bytes()).unwrap(), config).unwrap()
}

#[test]
fn one_call_waits_for_its_start_and_the_next_finds_the_container_warm() {
    let outcome = replay_csv("0,a,2,1,256\n5,a,2,1,256\n", &config());
    let Calls { arrived, ran, cold, waited, .. } = outcome.calls;
    assert_eq!((arrived, ran, cold, waited, outcome.starts), (2, 2, 1, 1, 1));
    assert_eq!((outcome.wait_ms.p50, outcome.wait_ms.max, outcome.wait_ms.mean), (0, 1_000, 500.0));
    // From 0 to 7 s: it starts for 1 s, runs for 2 s, is idle for 2 s and runs for 2 s.
    assert_eq!(outcome.measured_s, 7.0);
    assert_eq!(outcome.memory_mb_s, MemorySeconds { starting: 256, busy: 4 * 256, idle: 2 * 256 });
    assert_eq!(outcome.nodes, NodesOccupied { mean: 1.0, max: 1, seconds: 7 });
    assert_eq!(outcome.calls.cold_percent, 50.0);
}

#[test]
fn a_container_that_is_idle_for_too_long_is_gone_and_its_action_starts_cold() {
    let outcome = replay_csv("0,a,2,1,256\n60,a,1,1,256\n", &config());
    assert_eq!((outcome.calls.cold, outcome.starts), (2, 2));
    // Idle from 3 s until the sweep that finds it 10 s later: the pool hears of the use within a second, and looks each second.
    let idle_s = outcome.memory_mb_s.idle / 256;
    assert!((10..=12).contains(&idle_s), "{idle_s}");
    assert_eq!(outcome.memory_mb_s.busy, 256 * 2, "the last call would end at 61 s but for its start");
    assert_eq!(outcome.nodes.max, 1);
}

#[test]
fn calls_at_once_take_a_container_each() {
    let outcome = replay_csv("0,a,5,1,256\n0,a,5,1,256\n0,b,5,1,256\n", &config());
    // The second call of an action is told with the next word about its demand.
    assert_eq!(
        (outcome.calls.cold, outcome.starts, outcome.wait_ms.p50, outcome.wait_ms.max),
        (3, 3, 1_000, 1_005)
    );
}

/// A trace with all its actions from the beginning, as generated ones are.
struct Listed(Option<Invocation>, Vec<TraceAction>);

impl Trace for Listed {
    fn next(&mut self) -> Result<Option<Invocation>, TraceError> {
        Ok(self.0.take())
    }

    fn actions(&self) -> &[TraceAction] {
        &self.1
    }
}

#[test]
fn the_first_call_may_be_of_any_action_and_before_the_router_has_heard_anything() {
    let action = |name: &str| TraceAction { name: name.into(), memory_mb: 256 };
    let call = Invocation { arrival_ms: 0, action: 1, duration_ms: 10, cold_start_ms: 400 };
    let mut trace = Listed(Some(call), vec![action("never"), action("called")]);
    let outcome = replay(&mut trace, &Config { message_ms: 1, ..config() }).unwrap();
    assert_eq!((outcome.calls.ran, outcome.calls.cold), (1, 1));
}

#[test]
fn what_does_not_fit_is_refused() {
    let outcome = replay_csv("0,a,5,1,2048\n0,b,5,1,1024\n", &config());
    assert_eq!((outcome.calls.refused, outcome.calls.ran), (1, 1));
}

#[test]
fn a_call_that_never_gets_room_is_given_up() {
    let config = Config { nodes: 1, wait_ms_max: 3_000, ..config() };
    let outcome = replay_csv("0,a,60,0,1024\n1,b,1,0,1024\n", &config);
    assert_eq!((outcome.calls.ran, outcome.calls.timed_out), (1, 1));
}

#[test]
fn a_full_pool_evicts_what_is_idle() {
    let config = Config { nodes: 1, ..config() };
    let outcome = replay_csv("0,a,1,1,1024\n5,b,1,1,1024\n", &config);
    assert_eq!((outcome.calls.ran, outcome.calls.cold, outcome.evicted), (2, 2, 1));
}

#[test]
fn the_map_shows_what_containers_do() {
    let outcome = replay_csv("0.5,a,3,1,256\n20,b,1,1,128\n", &config());
    let at = |at_ms: u64| {
        let instant = outcome.instants.iter().find(|instant| instant.at_ms == at_ms).unwrap();
        instant
            .nodes
            .iter()
            .flatten()
            .map(|cell| (cell.state, cell.action, cell.memory_mb))
            .collect::<Vec<_>>()
    };
    assert_eq!(at(0), []);
    assert_eq!(at(1_000), [(CellState::Starting, 0, 256)]);
    assert_eq!(at(3_000), [(CellState::Busy, 0, 256)]);
    assert_eq!(at(8_000), [(CellState::Idle, 0, 256)]);
    assert_eq!(at(19_000), []);
}

/// A container on a map: its node, what it does, its action and its memory.
type Mapped = (usize, CellState, u32, u32);

/// All containers at these times of a small trace.
fn mapped(at_ms: &[u64]) -> Result<Vec<Vec<Mapped>>, MapError> {
    let csv = "arrival_s,action,duration_s,cold_start_s,memory_mb\n0.5,a,3,1,256\n20,b,1,1,128\n";
    let maps = maps(&mut Csv::open(csv.as_bytes()).unwrap(), &config(), at_ms)?;
    let cells = |instant: &Instant| {
        let of_node = |(node, cells): (usize, &Vec<Cell>)| -> Vec<_> {
            cells.iter().map(|cell| (node, cell.state, cell.action, cell.memory_mb)).collect()
        };
        instant.nodes.iter().enumerate().flat_map(of_node).collect()
    };
    Ok(maps.iter().map(cells).collect())
}

#[test]
fn a_map_is_of_any_millisecond() {
    let (starting, busy, idle) = (CellState::Starting, CellState::Busy, CellState::Idle);
    let maps = mapped(&[0, 499, 500, 1_499, 1_500, 4_499, 4_500, 4_500, 21_000]).unwrap();
    let expected = [
        vec![],
        vec![],
        vec![(0, starting, 0, 256)],
        vec![(0, starting, 0, 256)],
        vec![(0, busy, 0, 256)],
        vec![(0, busy, 0, 256)],
        vec![(0, idle, 0, 256)],
        vec![(0, idle, 0, 256)],
        vec![(0, busy, 1, 128)],
    ];
    assert_eq!(maps, expected);
}

#[test]
fn there_is_no_map_of_a_time_after_the_last_call() {
    let error = mapped(&[0, 21_001]).unwrap_err();
    assert_eq!(error.to_string(), "the trace is over at 21000 ms, before 21001 ms");
}

#[test]
fn the_maps_of_a_part_are_close_together_and_those_of_any_time_agree_with_them() {
    let trace = "0.5,a,3,1,256\n20,b,1,1,128\n";
    let outcome = replay_csv(trace, &Config { maps_ms: Some(1_000..=1_950), ..config() });
    let at: Vec<u64> = outcome.instants.iter().map(|instant| instant.at_ms).collect();
    assert!(at.first() == Some(&1_000) && at.iter().all(|at_ms| (1_000..=1_950).contains(at_ms)), "{at:?}");
    let csv = format!("arrival_s,action,duration_s,cold_start_s,memory_mb\n{trace}");
    let again = maps(&mut Csv::open(csv.as_bytes()).unwrap(), &config(), &at).unwrap();
    assert_eq!(outcome.instants, again);
}

/// What is the same whether ticks are left out or not.
fn but_for_events(outcome: Outcome) -> Outcome {
    Outcome { events: 0, ..outcome }
}

#[test]
fn idle_time_is_left_out_and_changes_nothing() {
    // Calls with gaps of hours to days between them: of a rhythm, and of none.
    let at_h = [0, 1, 2, 3, 10, 34, 58, 59, 82];
    let calls: Vec<(u64, &str)> =
        at_h.iter().flat_map(|hour| [(hour * 3_600, "a"), (hour * 3_600 + hour % 7, "b")]).collect();
    let lines: String = calls.iter().map(|(at_s, action)| format!("{at_s},{action},2,1,256\n")).collect();
    for collector in collector::Policy::all() {
        let mut config = config();
        config.policy.settings.policy.collector = collector;
        let csv = format!("arrival_s,action,duration_s,cold_start_s,memory_mb\n{lines}");
        let read = || Csv::open(csv.as_bytes()).unwrap();
        let skipped = replay(&mut read(), &config).unwrap();
        let all = World::new(&mut read(), &config).with_all_ticks().run().unwrap();
        assert!(skipped.events * 2 < all.events, "{} and {} events", skipped.events, all.events);
        let is_equal = but_for_events(skipped) == but_for_events(all);
        assert!(is_equal, "{}", config.policy.settings.policy.collector);
    }
}

#[test]
fn calls_that_are_ten_thousand_days_apart_take_no_time() {
    for collector in collector::Policy::all() {
        let mut config = config();
        config.policy.settings.policy.collector = collector;
        let outcome = replay_csv("0,a,2,1,256\n864000000,a,2,1,256\n", &config);
        assert_eq!((outcome.calls.ran, outcome.measured_s), (2, 864_000_002.0));
        assert!(outcome.events < 200_000, "{} events", outcome.events);
        assert!(outcome.series.len() <= 360 && outcome.instants.len() <= 96);
    }
}

#[test]
fn calls_that_no_node_can_hold_are_counted_apart() {
    let outcome = replay_csv("0,a,5,1,2048\n0,b,5,1,1024\n1,a,5,1,2048\n", &config());
    assert_eq!((outcome.calls.too_large, &*outcome.too_large), (2, &[0][..]));
    assert_eq!((outcome.calls.lost(), outcome.calls.ran), (2, 1));
}

fn generated(seed: u64, config: &Config) -> Outcome {
    let profile =
        Profile { actions: 20, length_ms: 900_000, calls_per_day_max: 20_000.0, ..Profile::default() };
    replay(&mut Generator::new(seed, &profile), config).unwrap()
}

#[test]
fn equal_seeds_make_equal_outcomes_and_others_do_not() {
    let config = Config { routers: 2, message_ms: 1, ..Config::new(config().policy, 3, 4_096) };
    let outcome = generated(1, &config);
    assert_eq!(outcome, generated(1, &config));
    assert_ne!(outcome, generated(2, &config));
}

#[test]
fn every_call_has_an_answer_and_the_parts_add_up() {
    for (nodes, node_mb) in [(1, 512), (2, 2_048), (8, 8_192)] {
        let outcome = generated(
            3,
            &Config { message_ms: 1, stop_ms: 10, ..Config::new(config().policy, nodes, node_mb) },
        );
        let calls = outcome.calls;
        assert_eq!(calls.arrived, calls.ran + calls.refused + calls.timed_out, "{nodes} nodes: {calls:?}");
        assert!(calls.cold <= calls.waited && calls.cold <= outcome.starts, "{calls:?}");
        assert_eq!(outcome.series.iter().map(|sample| sample.calls).sum::<u64>(), calls.ran);
        assert_eq!(outcome.series.iter().map(|sample| sample.cold).sum::<u64>(), calls.cold);
        assert!(outcome.nodes.max <= u64::from(nodes) && outcome.nodes.mean <= f64::from(nodes));
    }
}

/// The same by the collector that knows the trace.
fn replay_known(lines: &str) -> Outcome {
    let csv = format!("arrival_s,action,duration_s,cold_start_s,memory_mb\n{lines}");
    let mut config = config();
    config.policy.settings.policy.collector = clairvoyant(&mut Csv::open(csv.as_bytes()).unwrap()).unwrap();
    replay_csv(lines, &config)
}

#[test]
fn who_knows_the_future_has_a_container_just_in_time_and_none_in_between() {
    let outcome = replay_known("0,a,2,1,256\n600,a,1,1,256\n1200,a,1,1,256\n");
    assert_eq!((outcome.calls.cold, outcome.starts), (1, 3), "what comes at once cannot be started ahead");
    assert!(outcome.memory_mb_s.idle < 256 * 8, "{}", outcome.memory_mb_s.idle);
}

#[test]
fn who_knows_the_future_is_ready_for_bursts_and_for_the_first_calls_of_actions() {
    let burst = ["b", "a", "a", "a"].map(|action| format!("60,{action},5,1,128\n")).concat();
    let outcome = replay_known(&burst);
    assert_eq!((outcome.calls.waited, outcome.starts), (0, 4));
}

#[test]
fn who_knows_the_future_holds_one_container_for_calls_that_do_not_overlap() {
    let calls: String = (10..100).map(|second| format!("{second},a,0.9,1,256\n")).collect();
    let outcome = replay_known(&calls);
    assert_eq!((outcome.calls.cold, outcome.starts), (0, 1));
}

#[test]
fn who_knows_the_future_has_fewer_cold_starts_and_less_idle_memory_than_all_others() {
    let profile =
        Profile { actions: 40, length_ms: 7_200_000, calls_per_day_max: 20_000.0, ..Profile::default() };
    let by = |collector| {
        let policy = pool::Policy { collector, ..pool::Policy::default() };
        let settings = Settings { policy, ..Settings::default() };
        let policy = Policy { name: String::new(), settings };
        replay(&mut Generator::new(4, &profile), &Config::new(policy, 3, 8_192)).unwrap()
    };
    let floor = by(clairvoyant(&mut Generator::new(4, &profile)).unwrap());
    for other in collector::Policy::all() {
        let name = other.name();
        let other = by(other);
        let idle = (floor.memory_mb_s.idle, other.memory_mb_s.idle);
        assert!(
            floor.calls.cold < other.calls.cold && idle.0 < idle.1,
            "{name}: {:?}, {idle:?}",
            other.calls
        );
    }
}

#[test]
fn a_trace_that_breaks_off_says_where() {
    let csv = "arrival_s,action,duration_s,cold_start_s,memory_mb\n0,a,1,1,128\nwhat\n";
    let error = replay(&mut Csv::open(csv.as_bytes()).unwrap(), &config()).unwrap_err();
    assert_eq!(error.to_string(), "line 3: 1 values, but the header names 5 columns");
}

#[test]
fn an_empty_trace_is_over_at_once() {
    let outcome = replay_csv("", &config());
    assert_eq!((outcome.calls, outcome.measured_s, outcome.series.len()), (Calls::default(), 0.0, 0));
}
