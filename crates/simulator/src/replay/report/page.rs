//! The HTML page: a table, the plots, and a map of the nodes at any instant that was kept. It needs nothing but itself.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::Comparison;
use super::chart::swatch_class;
use super::plots::{MB_S_PER_GB_H, Plot, plots};
use super::scale::number;
use super::svg::escaped;
use crate::replay::instants::{Cell, CellState, Instant};
use crate::replay::outcome::Outcome;
use crate::replay::trace::TraceAction;

const PLOT_STYLE: &str = include_str!("plot.css");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of a comparison.
#[must_use]
pub fn page(comparison: &Comparison) -> String {
    let (trace, pool) = (&comparison.trace, &comparison.pool);
    let facts = [
        ("calls", number(trace.calls as f64)),
        ("actions", number(trace.actions as f64)),
        ("hours", number(trace.length_s / 3_600.0)),
        ("nodes", number(pool.nodes.into())),
        ("GB each", number(f64::from(pool.node_mb) / 1_024.0)),
        ("routers", number(pool.routers.into())),
    ];
    let facts: String = facts.iter().map(|(name, value)| format!("<li><b>{value}</b> {name}</li>")).collect();
    let source = escaped(&trace.source);
    let (table, figures) = (table(&comparison.policies), figures(&plots(comparison)));
    let (warning, map, data) = (warning(comparison), map_section(comparison), data(comparison));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Triplane: policies on {source}</title>\n<style>\n{PLOT_STYLE}{STYLE}</style>\n</head>\n<body>\n\
         <header><div><h1>Which policy for this load</h1><p>Triplane's pool, replaying {source}</p></div>\
         <button id=\"theme\" type=\"button\">light or dark</button></header>\n<main>\n\
         <ul class=\"facts\">{facts}</ul>\n{warning}<section>{table}</section>\n{figures}{map}</main>\n\
         <script id=\"data\" type=\"application/json\">{data}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

const MAP_HEAD: &str = r#"<section id="map"><h2>Nodes and containers</h2>
<p class="caption">Each box is a node, filled from the bottom by the memory of its containers. Point at a container to see whose it is. "#;
const MAP_BODY: &str = r#"</p>
<div class="controls"><span id="tabs"></span>
<label>at <output id="at" for="time"></output> <input id="time" type="range" min="0" value="0" aria-label="time"></label>
<button id="play" type="button">play</button></div>
<ul class="key"><li class="busy">busy</li><li class="starting">starting</li><li class="idle">idle</li><li class="leaving">leaving</li></ul>
<div id="canvas"><canvas></canvas><div id="tip" hidden></div></div></section>
"#;

/// The map, and how to see what lies between two of its instants.
fn map_section(comparison: &Comparison) -> String {
    let gap_s = |outcome: &Outcome| {
        outcome
            .instants
            .windows(2)
            .map(|pair| pair[1].at_ms - pair[0].at_ms)
            .min()
            .map(|ms| ms as f64 / 1_000.0)
    };
    let gap_s = comparison.policies.iter().filter_map(gap_s).fold(f64::INFINITY, f64::min);
    let shown = if gap_s.is_finite() {
        format!("One is shown for each {} s. ", number(gap_s))
    } else {
        String::new()
    };
    let closer = "Closer together: <code>triplane simulate --map-from TIME --map-to TIME</code>; at any time: \
                  <code>triplane simulate map --at TIME</code>.";
    format!("{MAP_HEAD}{shown}{closer}{MAP_BODY}")
}

fn figures(plots: &[Plot]) -> String {
    let mut figures = String::new();
    for plot in plots {
        let _ = writeln!(
            figures,
            "<figure id=\"{}\">{}<figcaption class=\"caption\">{}</figcaption></figure>",
            plot.name,
            plot.inline(),
            plot.caption
        );
    }
    figures
}

/// A measure: its name, what it is, whose it is, and its value. Less is better in all of them.
type Measure = (&'static str, &'static str, Of, fn(&Outcome) -> f64);

/// What a measure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Calls that ran: without any it says nothing.
    Runs,
    /// Calls that did not.
    Lost,
    /// The pool.
    Pool,
}

const MEASURES: [Measure; 9] = [
    ("cold starts", "%", Of::Runs, |it| it.calls.cold_percent),
    ("mean wait", "ms", Of::Runs, |it| it.wait_ms.mean),
    ("99 % waited up to", "ms", Of::Runs, |it| it.wait_ms.p99 as f64),
    ("lost", "calls refused or given up", Of::Lost, |it| it.calls.lost() as f64),
    ("started", "containers", Of::Pool, |it| it.starts as f64),
    ("memory held idle", "GB-hours", Of::Pool, |it| it.memory_mb_s.idle as f64 / MB_S_PER_GB_H),
    ("nodes in use", "on average", Of::Pool, |it| it.nodes.mean),
    ("nodes in use", "at most", Of::Pool, |it| it.nodes.max as f64),
    ("fragmentation", "% of free memory", Of::Pool, |it| it.fragmentation_percent),
];

fn table(policies: &[Outcome]) -> String {
    let mut table =
        String::from("<h2>Side by side</h2>\n<div class=\"wide\"><table><thead><tr><th>policy</th>");
    for (name, unit, ..) in MEASURES {
        let _ = write!(table, "<th>{name}<small>{unit}</small></th>");
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for (index, outcome) in policies.iter().enumerate() {
        let (swatch, policy) = (swatch_class(index), escaped(&outcome.policy));
        let floor = if outcome.is_floor { "<small>the floor</small>" } else { "" };
        let _ = write!(table, "<tr><th><i class=\"swatch {swatch}\"></i>{policy}{floor}</th>");
        MEASURES.iter().for_each(|measure| cell(&mut table, measure, outcome, policies));
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody></table></div>\n<p class=\"caption\">");
    table.push_str(judged_by(policies));
    table.push_str("</p>");
    table
}

/// What the marks mean.
fn judged_by(policies: &[Outcome]) -> &'static str {
    match (policies.iter().any(|it| it.is_floor), policies.iter().any(|it| it.calls.lost() > 0)) {
        (false, false) => "Less is better in every column; the best is marked.",
        (true, false) => {
            "Less is better in every column; the best is marked. The floor is no choice: it knows the load before it comes."
        }
        (false, true) => {
            "Less is better in every column; the best is marked, of the policies that lose the fewest calls: what is lost \
             costs nothing here."
        }
        (true, true) => {
            "Less is better in every column; the best is marked, of the policies that lose the fewest calls: what is lost \
             costs nothing here. The floor is no choice: it knows the load before it comes."
        }
    }
}

fn cell(table: &mut String, (_, _, of, value): &Measure, outcome: &Outcome, policies: &[Outcome]) {
    if *of == Of::Runs && outcome.calls.ran == 0 {
        table.push_str("<td class=\"lost\">none ran</td>");
        return;
    }
    let (own, worst) = (value(outcome), policies.iter().map(value).fold(0.0, f64::max));
    let class = match *of {
        Of::Lost if own > 0.0 => " class=\"lost\"",
        _ if is_best(outcome, policies, *value) => " class=\"best\"",
        _ => "",
    };
    let share = if worst > 0.0 { 100.0 * own / worst } else { 0.0 };
    let part = match *of {
        Of::Lost if own > 0.0 => format!(" ({} %)", number(outcome.calls.lost_percent())),
        _ => String::new(),
    };
    let _ = write!(
        table,
        "<td{class}>{}{part}<span class=\"bar\"><i style=\"width:{share:.0}%\"></i></span></td>",
        number(own)
    );
}

/// Whether a policy is the best choice by a measure, and another one is worse. The floor is no choice, and neither is a policy that
/// loses more calls than another: what is lost costs nothing.
fn is_best(outcome: &Outcome, policies: &[Outcome], value: fn(&Outcome) -> f64) -> bool {
    let real = || policies.iter().filter(|it| !it.is_floor);
    let fewest_lost = real().map(|it| it.calls.lost()).min();
    let may_be = |it: &&Outcome| Some(it.calls.lost()) == fewest_lost && it.calls.ran > 0;
    let best = real().filter(may_be).map(value).fold(f64::INFINITY, f64::min);
    let is_candidate = !outcome.is_floor && may_be(&outcome);
    is_candidate && value(outcome) <= best && real().any(|it| value(it) > best)
}

/// What no policy can help, above everything else.
fn warning(comparison: &Comparison) -> String {
    match comparison.too_large() {
        Some(said) => format!("<p class=\"warning\">{}</p>", escaped(&said)),
        None => String::new(),
    }
}

/// What the script draws the maps from. Only actions that are on one are named.
fn data(comparison: &Comparison) -> String {
    let mut names = Names { all: &comparison.actions, numbers: HashMap::new(), named: Vec::new() };
    let policies: Vec<Value> = comparison
        .policies
        .iter()
        .map(|outcome| {
            let instants: Vec<Value> =
                outcome.instants.iter().map(|instant| map(instant, &mut names)).collect();
            json!({"name": outcome.policy, "instants": instants})
        })
        .collect();
    let data = json!({"node_mb": comparison.pool.node_mb, "policies": policies, "actions": names.named});
    // Within a script nothing may look like its end.
    data.to_string().replace('<', "\\u003c")
}

struct Names<'a> {
    all: &'a [TraceAction],
    numbers: HashMap<u32, usize>,
    named: Vec<&'a str>,
}

impl Names<'_> {
    fn number(&mut self, action: u32) -> usize {
        let (all, named) = (self.all, &mut self.named);
        *self.numbers.entry(action).or_insert_with(|| {
            named.push(all.get(action as usize).map_or("", |action| &action.name));
            named.len() - 1
        })
    }
}

/// An instant: its time, and for each node the state, action and memory of its containers one after the other.
fn map(instant: &Instant, names: &mut Names<'_>) -> Value {
    let mut cells = |cells: &Vec<Cell>| -> Vec<usize> {
        let state = |cell: &Cell| match cell.state {
            CellState::Busy => 0,
            CellState::Starting => 1,
            CellState::Idle => 2,
            CellState::Leaving => 3,
        };
        cells.iter().flat_map(|it| [state(it), names.number(it.action), it.memory_mb as usize]).collect()
    };
    let nodes: Vec<Vec<usize>> = instant.nodes.iter().map(&mut cells).collect();
    json!({"at_ms": instant.at_ms, "nodes": nodes})
}

#[cfg(test)]
mod tests {
    use super::super::fixture::comparison;
    use super::*;
    use crate::replay::outcome::Calls;

    /// The elements that are opened and never closed, as a reader of HTML would find them.
    fn unclosed(html: &str) -> Vec<String> {
        const VOID: [&str; 3] = ["meta", "input", "!DOCTYPE"];
        let (mut open, mut rest) = (Vec::new(), html);
        while let Some((_, after)) = rest.split_once('<') {
            let (tag, after) = after.split_once('>').expect("a tag ends");
            rest = after;
            let name =
                tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default().to_owned();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "after {tag}");
            } else if !tag.ends_with('/') && !VOID.contains(&&*name) {
                if ["script", "style"].contains(&&*name) {
                    rest = &rest[rest.find(&format!("</{name}")).expect("it ends")..];
                }
                open.push(name);
            }
        }
        open
    }

    #[test]
    fn the_page_is_well_formed_whatever_actions_and_policies_are_called() {
        let page = page(&comparison(&["fixed", "<b>bold"]));
        assert_eq!(unclosed(&page), Vec::<String>::new());
        assert!(page.contains("&lt;b&gt;bold") && !page.contains("<b>bold"));
        assert_eq!(page.matches("</script>").count(), 2, "the action of that name ends no script");
    }

    #[test]
    fn the_page_refers_to_nothing_outside() {
        let page = page(&comparison(&["fixed"]));
        let namespace = "http://www.w3.org/2000/svg";
        assert!(!page.replace(namespace, "").contains("http"));
        assert!(!page.contains("src=") && !page.contains("@import") && !page.contains("url("));
    }

    #[test]
    fn the_best_of_each_measure_is_marked_where_they_differ() {
        let mut comparison = comparison(&["a", "b"]);
        assert!(!table(&comparison.policies).contains("class=\"best\""));
        comparison.policies[1].starts += 1;
        assert_eq!(table(&comparison.policies).matches("class=\"best\"").count(), 1);
    }

    #[test]
    fn the_floor_is_never_the_best_and_does_not_keep_others_from_it() {
        let mut comparison = comparison(&["a", "b", "clairvoyant"]);
        comparison.policies[0].starts = 7;
        comparison.policies[1].starts = 8;
        comparison.policies[2].is_floor = true;
        let table = table(&comparison.policies);
        assert_eq!(table.matches("class=\"best\"").count(), 1);
        assert!(
            table.contains("<td class=\"best\">7<") && table.contains("The floor is no choice"),
            "{table}"
        );
    }

    #[test]
    fn who_loses_more_calls_is_the_best_at_nothing() {
        let mut comparison = comparison(&["a", "b"]);
        comparison.policies[0].calls.timed_out = 1;
        comparison.policies[0].starts = 0;
        let table = table(&comparison.policies);
        let best: Vec<_> = table.split("<tr>").map(|row| row.matches("class=\"best\"").count()).collect();
        assert_eq!(best.last(), Some(&1), "only that nothing is lost: {table}");
        assert!(table.contains("<td class=\"lost\">1 (33.3 %)"), "{table}");
        assert_eq!(best.iter().sum::<usize>(), 1);
    }

    #[test]
    fn what_can_run_nowhere_is_said_before_all_else() {
        let mut comparison = comparison(&["a"]);
        assert!(!page(&comparison).contains("class=\"warning\""));
        comparison.policies[0].calls = Calls { arrived: 3, refused: 3, too_large: 3, ..Calls::default() };
        comparison.policies[0].too_large = vec![0];
        let page = page(&comparison);
        assert!(page.contains("class=\"warning\">3 of 3 calls can run on no node"), "{page}");
        assert!(page.contains(">none ran<"));
    }

    #[test]
    fn the_maps_name_the_actions_that_are_on_them() {
        let data: Value = serde_json::from_str(&data(&comparison(&["fixed"]))).unwrap();
        assert_eq!(data["actions"], json!(["</script>", "b"]));
        let instants = data["policies"][0]["instants"].as_array().unwrap();
        assert!(instants.iter().any(|instant| instant["nodes"][0] == json!([0, 0, 256])), "{instants:?}");
    }
}
