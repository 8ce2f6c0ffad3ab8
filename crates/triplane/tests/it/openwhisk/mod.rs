//! OpenWhisk's API, sentence by sentence: one file for each area of the reference, readable by someone who knows OpenWhisk.
//!
//! A [`Scenario`] names the section and the sentence that it proves, and speaks HTTP to the built binary as a subject that
//! nobody else uses. All scenarios of an area share a server. A new area is a file with `pub(super) fn scenarios()` and a
//! line in the table of [`areas`]; `covered.txt` lists what has to occur in a sentence.
//!
//! `TRIPLANE_SCENARIO=WORDS` plays those only whose name holds these words.

mod action_limits;
mod actions;
mod activations;
mod conductors;
mod conventions;
mod coverage;
mod entities;
mod guest;
mod info;
mod invocation;
mod play;
mod reply;
mod runtime;
mod scenario;
mod sequences;

use guest::{Guest, array, node, sh};
use reply::Reply;
use scenario::{Scenario, scenario};

/// Declares the areas: a test for each, and the list of all.
macro_rules! areas {
    ($($area:ident)*) => {
        /// The scenarios of every area.
        fn areas() -> Vec<(&'static str, Vec<Scenario>)> {
            vec![$((stringify!($area), $area::scenarios())),*]
        }

        mod areas {
            $(
                #[tokio::test]
                async fn $area() {
                    super::play::play(stringify!($area), super::$area::scenarios()).await;
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
    conductors
    runtime
}
