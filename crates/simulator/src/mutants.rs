//! Each planted mistake of the pool is found within the seeds that are run each time.

use triplane_core::pool::mutant::{Mutant, plant};

use super::tests::{CALLS, MINIMISE_RUNS, SEEDS, burst, cold_1_max};
use super::*;

#[test]
fn every_planted_mistake_is_found() {
    let storm = |seed| run(seed, &Config::stormy(seed, CALLS)).violation;
    all_are_found(Mutant::ALL, SEEDS, |mutant, seed| {
        let _planted = plant(mutant);
        match mutant {
            // what many starts cost is seen where nothing else goes wrong
            Mutant::OneForEachCall => cold_1(seed),
            Mutant::AheadIsForgotten | Mutant::EarlierIsForgotten | Mutant::DoubledCountsTwice => {
                crate::limits::run(seed).violation
            }
            _ => storm(seed),
        }
    });
}

#[test]
fn a_failing_script_is_made_small_and_still_fails() {
    let _planted = plant(Mutant::StoppedInUse);
    let fails = |seed: &u64| run(*seed, &Config::stormy(*seed, CALLS)).violation.is_some();
    let seed = (0..SEEDS).find(fails).expect("it is found");
    let script = Script::of(&run(seed, &Config::stormy(seed, CALLS)), CALLS).minimised(MINIMISE_RUNS);
    println!("{script}");
    assert!(script.run(0).violation.is_some_and(|violation| violation.starts_with("GC-1")));
    assert!(script.calls < CALLS, "{} calls", script.calls);
}

fn cold_1(seed: u64) -> Option<String> {
    let config = burst(seed);
    let starts = run(seed, &config).starts;
    (starts > cold_1_max(&config)).then(|| format!("COLD-1: {starts} containers"))
}

/// Each of these mistakes breaks something with one of the first seeds; says with which, and what.
pub(crate) fn all_are_found<M: Copy + std::fmt::Debug>(
    mutants: impl IntoIterator<Item = M>,
    seeds: u64,
    violation: impl Fn(M, u64) -> Option<String>,
) {
    let mut missed = Vec::new();
    for mutant in mutants {
        match (0..seeds).find_map(|seed| Some((seed, violation(mutant, seed)?))) {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}: {violation:.160}"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "nobody found {missed:?}");
}
