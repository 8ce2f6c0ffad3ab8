//! Why a container goes, said to people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// Why the collector lets a container go, or has one started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was idle for that long, which is the most that its policy allows.
    Idle {
        /// How long.
        idle_ms: u64,
    },
    /// Its next call is expected so late that holding it until then is not worth its memory.
    Late {
        /// When the call is expected, from now.
        in_ms: u64,
    },
    /// After so long no call is likely to come soon.
    Unlikely {
        /// How long it was idle.
        idle_ms: u64,
    },
    /// It was started ahead of a call that did not come when it was expected.
    Unused {
        /// How long it waited.
        idle_ms: u64,
    },
    /// It is worth less than the node that becomes empty with it.
    Empties(NodeId),
    /// Others need its room, and it is the one that is missed least.
    Room {
        /// How long it was idle.
        idle_ms: u64,
    },
    /// It is thought busy, but nothing was heard of it for that long.
    Silent {
        /// How long.
        silent_ms: u64,
    },
    /// Started because calls come in bursts that need so many containers.
    Burst {
        /// How many.
        containers: u32,
    },
    /// Started because a call is expected.
    Expected {
        /// When, from the start.
        in_ms: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Idle { idle_ms } => write!(out, "idle for {}", Span(idle_ms)),
            Self::Late { in_ms } => write!(out, "its next call is expected in {}", Span(in_ms)),
            Self::Unlikely { idle_ms } => write!(out, "no call is likely soon after {}", Span(idle_ms)),
            Self::Unused { idle_ms } => {
                write!(out, "the expected call did not come within {}", Span(idle_ms))
            }
            Self::Empties(node) => write!(out, "empties node {}", node.0),
            Self::Room { idle_ms } => write!(out, "made room after {} of idleness", Span(idle_ms)),
            Self::Silent { silent_ms } => write!(out, "nothing was heard of it for {}", Span(silent_ms)),
            Self::Burst { containers } => write!(out, "such bursts need {containers} containers"),
            Self::Expected { in_ms } => write!(out, "a call is expected in {}", Span(in_ms)),
        }
    }
}

/// A time in the largest unit in which it is still told apart from its neighbours.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000;
        const MINUTE: u64 = 60 * SECOND;
        const HOUR: u64 = 60 * MINUTE;
        match self.0 {
            ms if ms < SECOND => write!(out, "{ms} ms"),
            ms if ms < 20 * MINUTE => write!(out, "{} s", ms / SECOND),
            ms if ms < 2 * HOUR => write!(out, "{} min", ms / MINUTE),
            ms => write!(out, "{} h", ms / HOUR),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences_with_times_that_people_use() {
        let said = [
            (Reason::Idle { idle_ms: 600_000 }, "idle for 600 s"),
            (Reason::Late { in_ms: 7_200_000 }, "its next call is expected in 2 h"),
            (Reason::Unlikely { idle_ms: 1_500_000 }, "no call is likely soon after 25 min"),
            (Reason::Unused { idle_ms: 90_000 }, "the expected call did not come within 90 s"),
            (Reason::Empties(NodeId(7)), "empties node 7"),
            (Reason::Room { idle_ms: 250 }, "made room after 250 ms of idleness"),
            (Reason::Silent { silent_ms: 900_000 }, "nothing was heard of it for 900 s"),
            (Reason::Burst { containers: 8 }, "such bursts need 8 containers"),
            (Reason::Expected { in_ms: 30_000 }, "a call is expected in 30 s"),
        ];
        for (reason, text) in said {
            assert_eq!(reason.to_string(), text);
        }
    }
}
