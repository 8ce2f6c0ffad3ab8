//! A small comparison for tests, and what plots of the documentation are held to.

use super::{Comparison, Plot, PoolSummary, TraceSummary};
use crate::replay::config::{Config, Policy};
use crate::replay::csv::Csv;
use crate::replay::outcome::Sample;
use crate::replay::replay;
use crate::replay::trace::TraceAction;
use triplane_core::pool::Settings;

const TRACE: &str = "arrival_s,action,duration_s,cold_start_s,memory_mb\n0,</script>,2,1,256\n5,</script>,2,1,256\n5.5,b,2,0.5,512\n";

/// The same policy under these names.
pub(super) fn comparison(policies: &[&str]) -> Comparison {
    let replayed = |name: &&str| {
        let policy = Policy { name: (*name).to_owned(), settings: Settings::default() };
        replay(&mut Csv::open(TRACE.as_bytes()).unwrap(), &Config::new(policy, 2, 1_024)).unwrap()
    };
    Comparison {
        trace: TraceSummary { source: "trace.csv".to_owned(), calls: 3, actions: 2, length_s: 7.0 },
        pool: PoolSummary { nodes: 2, node_mb: 1_024, routers: 1 },
        policies: policies.iter().map(replayed).collect(),
        actions: vec![action("</script>", 256), action("b", 512)],
    }
}

fn action(name: &str, memory_mb: u32) -> TraceAction {
    TraceAction { name: name.into(), memory_mb }
}

/// A time in which nothing happened.
pub(super) fn sample() -> Sample {
    Sample {
        until_s: 1.0,
        calls: 0,
        cold: 0,
        wait_ms: 0.0,
        busy_mb: 0.0,
        idle_mb: 0.0,
        starting_mb: 0.0,
        nodes: 0.0,
        fragmentation_percent: 0.0,
    }
}

/// Plots of the documentation are what they would be now; `command` makes them.
pub(super) fn assert_current(plots: &[Plot], command: &str) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies");
    for plot in plots {
        let written = std::fs::read_to_string(format!("{directory}/{}.svg", plot.name)).unwrap_or_default();
        assert!(
            written == plot.alone(),
            "{} is not what it would be now: {command} --plots docs/policies",
            plot.name
        );
    }
}
