//! The policies that a load can be replayed by, by their names.

use std::str::FromStr;

use triplane_core::pool::Settings;
use triplane_simulator::replay::Policy;

/// Which idle containers go, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Collector {
    /// After a fixed time without a call.
    Fixed {
        /// How long.
        idle_ms_max: u64,
    },
}

/// Where containers are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Where they leave the smallest gap.
    Pack,
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "fixed" => Ok(Self::Fixed { idle_ms_max: Settings::default().idle_ms_max }),
            Some(("fixed", seconds)) => {
                let seconds: u64 = seconds.parse().map_err(|_| format!("'{seconds}' are no seconds"))?;
                Ok(Self::Fixed { idle_ms_max: seconds.saturating_mul(1_000) })
            }
            _ => Err("there is 'fixed', or 'fixed:SECONDS'".to_owned()),
        }
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pack" => Ok(Self::Pack),
            _ => Err("there is 'pack'".to_owned()),
        }
    }
}

/// All combinations, named by what differs.
pub(super) fn policies(collectors: &[Collector], placements: &[Placement]) -> Vec<Policy> {
    let combined = collectors.iter().flat_map(|collector| placements.iter().map(move |it| (collector, it)));
    let policy = |(collector, placement): (&Collector, &Placement)| {
        let Collector::Fixed { idle_ms_max } = *collector;
        let Placement::Pack = placement;
        let settings = Settings { idle_ms_max, ..Settings::default() };
        Policy { name: format!("fixed:{}", idle_ms_max / 1_000), settings }
    };
    combined.map(policy).collect()
}
