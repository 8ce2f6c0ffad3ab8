//! The ids of fires by the clock.

use triplane_model::{ActivationId, FullName};

use crate::mix::mix;

/// The id of the activation of a trigger for a due time: always the same, so that a fire that is repeated after a crash is known.
#[must_use]
pub fn fire_id(trigger: &FullName, due_ms: u64) -> ActivationId {
    let hash = |seed| trigger.to_string().bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)));
    let random = u128::from(hash(due_ms)) << 64 | u128::from(hash(!due_ms));
    ActivationId::timed(due_ms, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_time_of_a_trigger_has_one_id_and_no_other_has_it() {
        let id = |trigger: &str, due_ms| fire_id(&trigger.parse().unwrap(), due_ms);
        assert_eq!(id("ns/t", 5), id("ns/t", 5));
        assert_ne!(id("ns/t", 5), id("ns/t", 6));
        assert_ne!(id("ns/t", 5), id("ns/u", 5));
    }
}
