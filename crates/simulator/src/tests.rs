//! Seeds, and scenarios whose outcome is known.

use std::collections::BTreeMap;

use super::*;

/// Seeds that are run each time, and in the long form of the tests; as many as `TRIPLANE_SEEDS` says when that is set.
pub(crate) const SEEDS: u64 = 2_000;
const SEEDS_SOAK: u64 = 100_000;
pub(crate) const CALLS: u32 = 100;
/// Kinds of faults.
const FAULTS: usize = 13;

fn seeds() -> u64 {
    let said = std::env::var("TRIPLANE_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let is_soak = std::env::var_os("TRIPLANE_SOAK").is_some();
    said.unwrap_or(if is_soak { SEEDS_SOAK } else { SEEDS })
}

fn action(service_ms: u64) -> ActionConfig {
    ActionConfig { memory_mb: 128, concurrency: 1, instances: None, service_ms: (service_ms, service_ms) }
}

/// 100 calls of 10 ms at once.
pub(crate) fn burst() -> Config {
    Config { pause_ms_max: 0, ..Config::calm(vec![action(10)], 100) }
}

fn check(seed: u64, config: &Config) -> Report {
    let report = run(seed, config);
    if let Some(violation) = &report.violation {
        let script = Script { seed, config: config.clone() }.minimised();
        let trace = run_traced(seed, &script.config, 120).trace.join("\n");
        panic!("seed {seed}: {violation}\n{trace}\nagain: {script}");
    }
    assert_eq!(report.calls.ended(), report.calls.arrived, "seed {seed}: a call has no answer");
    report
}

#[test]
fn the_invariants_hold_whatever_goes_wrong() {
    let seeds = seeds();
    let (mut events, mut done, mut fired) = (0, 0, BTreeMap::<&str, u64>::new());
    for seed in 0..seeds {
        let report = check(seed, &Config::stormy(seed, CALLS));
        assert!(report.events >= 500, "seed {seed} is too short: {}", report.events);
        events += report.events;
        done += report.calls.done;
        for (fault, count) in report.fired {
            *fired.entry(fault).or_default() += count;
        }
    }
    println!("{seeds} seeds, {events} events");
    for (fault, count) in &fired {
        println!("{count:>9} {fault}");
    }
    assert_eq!(fired.len(), FAULTS, "each fault happens: {fired:?}");
    assert!(done > seeds * u64::from(CALLS) / 2, "most calls end well: {done} in {events} events");
}

/// Runs the script that a failure printed.
#[test]
fn replay() {
    let Some(json) = std::env::var_os("TRIPLANE_REPLAY") else { return };
    let script: Script = serde_json::from_str(&json.to_string_lossy()).expect("it is a script");
    check(script.seed, &script.config);
}

#[test]
fn a_script_that_was_written_down_makes_the_same_run() {
    let script = Script { seed: 7, config: Config::stormy(7, CALLS) };
    let again: Script = serde_json::from_str(&serde_json::to_string(&script).unwrap()).unwrap();
    assert_eq!(again.run(), script.run());
    assert_eq!(again.clone().minimised(), again, "it breaks nothing");
}

#[test]
fn equal_seeds_make_equal_runs_and_others_do_not() {
    let run = |seed| super::run(seed, &Config::stormy(7, CALLS));
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).digest, run(8).digest);
}

#[test]
fn a_burst_of_short_calls_starts_few_containers() {
    let report = check(1, &burst());
    assert_eq!(report.calls.done, 100);
    assert!(report.starts <= 15, "COLD-1: {} containers", report.starts);
}

#[test]
fn a_burst_of_long_calls_gets_about_a_container_each_within_a_few_cold_starts() {
    let config = Config { pause_ms_max: 0, ..Config::calm(vec![action(10_000)], 100) };
    let report = check(1, &config);
    assert_eq!(report.calls.done, 100);
    assert!((90..=110).contains(&report.starts), "{} containers", report.starts);
    let config = Config { wait_ms_max: 1_500, ..config };
    assert_eq!(check(1, &config).calls.timed_out, 0, "none waits longer than that");
}

#[test]
fn with_ample_room_and_nothing_wrong_every_call_ends_well() {
    for seed in 0..6 {
        let actions = [1, 20, 300, 2_000].map(action).to_vec();
        let report = check(seed, &Config { wait_ms_max: 3_000, ..Config::calm(actions, 200) });
        assert_eq!(report.calls.done, 200, "seed {seed}: {:?}", report.calls);
    }
}

#[test]
fn in_a_pool_for_one_container_actions_take_turns() {
    let mut config = Config::calm([50, 50, 50].map(action).to_vec(), 60);
    (config.nodes_mb, config.pause_ms_max) = (vec![128], 1_000);
    let report = check(3, &config);
    assert_eq!(report.calls.done, 60, "{:?}", report.calls);
    assert_eq!(report.containers_max, 1);
}

#[test]
fn what_can_never_be_placed_is_refused() {
    let mut config = Config::calm(vec![action(10)], 5);
    config.nodes_mb = vec![64];
    let report = check(1, &config);
    assert_eq!(report.calls.refused, 5);
}
