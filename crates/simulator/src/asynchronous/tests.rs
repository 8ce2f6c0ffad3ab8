//! Seeds.

use std::collections::BTreeMap;

use super::*;

/// Seeds that are run each time; more with `TRIPLANE_SEEDS`, and in the long form.
pub(super) const SEEDS: u64 = 300;
const SEEDS_SOAK: u64 = 10_000;
pub(super) const CALLS: u64 = 120;
/// What must go wrong, and be found out, in the seeds of each time.
const FAULTS: [&str; 14] = [
    "call adopted",
    "client calls again",
    "clock jumps",
    "dispatcher killed",
    "dispatcher stands still",
    "end found in a spool",
    "hold lost",
    "late request refused",
    "message doubled",
    "message late",
    "message lost",
    "proved to be never sent",
    "run lost with its worker",
    "server killed",
];

fn seeds() -> u64 {
    let asked = std::env::var("TRIPLANE_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let is_soak = std::env::var_os("TRIPLANE_SOAK").is_some();
    asked.unwrap_or(if is_soak { SEEDS_SOAK } else { SEEDS })
}

fn check(seed: u64, config: &Config) -> Report {
    let report = run(seed, config);
    if let Some(violation) = &report.violation {
        let trace = run_traced(seed, config, 200).trace.join("\n");
        panic!("seed {seed}: {violation}\n{trace}\nseed {seed}: {violation}");
    }
    assert_eq!(report.calls.ended(), report.calls.accepted, "seed {seed}");
    report
}

#[test]
fn every_accepted_call_ends_once_whatever_goes_wrong() {
    let (mut events, mut calls, mut faults) = (0, Calls::default(), BTreeMap::<_, u64>::new());
    for seed in 0..seeds() {
        let report = check(seed, &Config::stormy(seed, CALLS));
        events += report.events;
        calls.add(&report.calls);
        report.faults.into_iter().for_each(|(fault, times)| *faults.entry(fault).or_default() += times);
    }
    println!("{} seeds, {events} events, {calls:?}\n{faults:#?}", seeds());
    assert!(calls.done > calls.accepted / 3, "many calls end well: {calls:?}");
    let all = [calls.dead, calls.cancelled, calls.expired, calls.refused, calls.destinations, calls.redrives];
    assert!(all.iter().all(|count| *count > 0), "everything happens: {calls:?}");
    for fault in FAULTS {
        assert!(faults.contains_key(fault), "nothing is shown of this: {fault}");
    }
}

/// Seeds that broke an invariant once: 1180 by a lane that rested for too long after the clock of its dispatcher had gone back.
const BROKE: [u64; 1] = [1_180];

#[test]
fn seeds_that_broke_an_invariant_once_break_none() {
    for seed in BROKE {
        let _ = check(seed, &Config::stormy(seed, CALLS));
    }
}

#[test]
fn equal_seeds_make_equal_runs_and_others_do_not() {
    let run = |seed| super::run(seed, &Config::stormy(7, CALLS));
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).digest, run(8).digest);
}
