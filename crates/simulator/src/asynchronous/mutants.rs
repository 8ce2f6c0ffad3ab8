//! Each planted mistake is found within the seeds that are run each time.

use triplane_core::asynchronous::mutant::{Mutant, plant};

use super::tests::{CALLS, SEEDS};
use super::*;
use crate::mutants::all_are_found;

#[test]
fn every_planted_mistake_is_found() {
    all_are_found(Mutant::ALL, SEEDS, |mutant, seed| {
        let _planted = plant(mutant);
        run(seed, &Config::stormy(seed, CALLS)).violation
    });
}
