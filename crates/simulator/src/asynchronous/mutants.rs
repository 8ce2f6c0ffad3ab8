//! Each planted mistake is found within the seeds that are run each time.

use triplane_core::asynchronous::mutant::{Mutant, plant};

use super::tests::{CALLS, SEEDS};
use super::*;

#[test]
fn every_planted_mistake_is_found() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let planted = plant(mutant);
        let found = (0..SEEDS).find_map(|seed| {
            let violation = run(seed, &Config::stormy(seed, CALLS)).violation?;
            Some((seed, violation))
        });
        drop(planted);
        match found {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}: {violation:.160}"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "nobody found {missed:?}");
}
