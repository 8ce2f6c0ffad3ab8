//! What `--help` of simulations has to say at length.

use std::fmt::Write;

use triplane_core::collector;
use triplane_core::collector::clairvoyant::Clairvoyant;
use triplane_core::placement::StrategyName;

const TRACE: &str = "A trace is a CSV file (RFC 4180). Its first line names the columns, in any order; calls stand in the order of arrival:

  arrival_ms,action,duration_ms,cold_start_ms,memory_mb
  0,/guest/hello,12,350,256
  1500,/guest/resize,820,600,512

  arrival     when it is called, since the begin of the trace     _ms, _s or _us
  action      which; in quotes if there is a comma in its name
  duration    how long the call runs                              _ms, _s or _us
  cold_start  how long a start takes, if one is needed for it     _ms, _s or _us
  memory      its limit, the same in all lines of an action       _mb or _gb

Other columns, empty lines and lines that begin with # are passed over.";

const EXAMPLES: &str = "Examples:
  triplane simulate                                        a day of a generated load on 8 nodes
  triplane simulate --collector fixed,histogram,compacting --report report.html
  triplane simulate --trace calls.csv --nodes 10..50 --wait-p99 500
  triplane simulate --trace calls.csv --report noon.html --map-from 11:55 --map-to 12:05
  triplane simulate map --trace calls.csv --at 12:00:03    every container at that time
  triplane simulate --seed 7 --hours 2 --save calls.csv    write the generated load to a file";

const MAP_EXAMPLES: &str = "Examples:
  triplane simulate map --at 12:00                         at noon of a day of a generated load
  triplane simulate map --trace calls.csv --collector fixed,compacting --at 90s,1500ms --json";

/// What a collector does, in a line.
fn in_short(name: &str) -> &'static str {
    match name {
        "fixed" => "lets go what was idle for so long, as OpenWhisk",
        "lru" => "lets go only for room: the least recently used first",
        "greedy-dual" => {
            "lets go only for room: what is missed least first (FaasCache); idle_ms=0: never for its age"
        }
        "histogram" => {
            "holds within windows learned for each action, and starts ahead of them (Serverless in the Wild)"
        }
        "compacting" => {
            "lets go what is worth less than its memory, so that nodes become empty, and starts ahead"
        }
        _ => "",
    }
}

/// The format of traces, the policies, and examples.
pub(super) fn of_replays() -> String {
    format!("{}\n{TRACE}\n\n{EXAMPLES}", policies())
}

/// The same for maps; the format is told elsewhere.
pub(super) fn of_maps() -> String {
    format!("{MAP_EXAMPLES}\n\nWhat a trace and a policy are: triplane simulate --help")
}

/// Collectors with their parameters, and strategies.
fn policies() -> String {
    let mut text =
        "Collectors, with their parameters and what those are if they are not said:\n\n".to_owned();
    for collector in collector::Policy::all() {
        let parameters = collector.parameters().into_iter().map(|(name, number)| format!(":{name}={number}"));
        let said: String = std::iter::once(collector.name().to_owned()).chain(parameters).collect();
        let _ = writeln!(text, "  {said}\n      {}", in_short(collector.name()));
    }
    let strategies = StrategyName::ALL.map(StrategyName::as_str).join(", ");
    let _ = write!(
        text,
        "  {}\n      is told the load before it comes: the floor for all others, and no choice\n\n\
         As in --collector fixed:idle_ms=60000,compacting:worth_s=300:node_mb=0,clairvoyant.\n\n\
         Placement strategies: {strategies}; docs/policies.md explains all of them.\n",
        Clairvoyant::NAME
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_named_with_its_parameters() {
        let help = of_replays();
        for collector in collector::Policy::all() {
            assert!(help.contains(&format!("\n  {}", collector.name())), "{}", collector.name());
            assert!(!in_short(collector.name()).is_empty(), "{}", collector.name());
            for (name, number) in collector.parameters() {
                assert!(help.contains(&format!(":{name}={number}")), "{name}");
            }
        }
        assert!(help.contains(Clairvoyant::NAME));
        StrategyName::ALL.iter().for_each(|strategy| assert!(help.contains(strategy.as_str())));
    }
}
