//! OpenWhisk's API, sentence by sentence: one file for each area of the reference, readable by someone who knows OpenWhisk.
//!
//! A [`Scenario`] names the section and the sentence that it proves, and speaks HTTP to the built binary as a subject that
//! nobody else uses. All scenarios of an area share a server. A new area is a file with `pub(super) fn scenarios()` and a
//! line in the table of [`areas`], if need be with what the operator has set; `covered.txt` lists what has to occur in a sentence.
//!
//! `TRIPLANE_SCENARIO=WORDS` plays those only whose name holds these words.

mod action_limits;
mod actions;
mod activations;
mod conductors;
mod conventions;
mod coverage;
mod entities;
mod execute_only;
mod feeds;
mod guest;
mod info;
mod invocation;
mod limits;
mod operators;
mod packages;
mod play;
mod reply;
mod rules;
mod runtime;
mod scenario;
mod sequence_packages;
mod sequences;
mod sharing;
mod throttles;
mod triggers;
mod web;
mod web_hosts;
mod web_input;
mod web_output;
mod web_packages;
mod web_slow;

use guest::{Call, Guest, array, node, sh};
use reply::Reply;
use scenario::{Scenario, scenario};

/// Declares the areas: a test for each, with what the operator of its server has set, and the list of all.
macro_rules! areas {
    ($($area:ident $({$($key:literal: $value:literal)*})?)*) => {
        /// The scenarios of every area.
        fn areas() -> Vec<(&'static str, Vec<Scenario>)> {
            vec![$((stringify!($area), $area::scenarios())),*]
        }

        mod areas {
            $(
                #[tokio::test]
                async fn $area() {
                    let settings = &[$($(($key, $value)),*)?];
                    super::play::play(stringify!($area), super::$area::scenarios(), settings).await;
                }
            )*
        }
    };
}

areas! {
    conventions
    entities
    info
    actions
    action_limits
    invocation
    activations
    sequences
    sequence_packages
    conductors
    runtime
    packages
    triggers
    rules
    feeds
    sharing
    execute_only {"TRIPLANE__SHARED_PACKAGES_EXECUTE_ONLY": "true"}
    web
    web_input
    web_output
    web_packages
    web_slow {"TRIPLANE__LIMITS__BLOCKING_WAIT_MS_MAX": "300"}
    web_hosts {"TRIPLANE__WEB__VANITY_HOSTS": "[\"localhost\", \"api.example.org\"]"}
    limits
    throttles
    operators
}
