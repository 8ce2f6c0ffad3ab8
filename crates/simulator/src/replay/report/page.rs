//! The HTML page: a table, the plots, and a map of the nodes at any instant that was kept. It needs nothing but itself.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::Comparison;
use super::plots::{MB_S_PER_GB_H, Plot, plots};
use super::scale::number;
use super::svg::escaped;
use crate::replay::instants::{Cell, CellState, Instant};
use crate::replay::outcome::Outcome;

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
    let (table, figures, data) = (table(&comparison.policies), figures(&plots(comparison)), data(comparison));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Triplane: policies on {source}</title>\n<style>\n{PLOT_STYLE}{STYLE}</style>\n</head>\n<body>\n\
         <header><div><h1>Which policy for this load</h1><p>Triplane's pool, replaying {source}</p></div>\
         <button id=\"theme\" type=\"button\">light or dark</button></header>\n<main>\n\
         <ul class=\"facts\">{facts}</ul>\n<section>{table}</section>\n{figures}{MAP}</main>\n\
         <script id=\"data\" type=\"application/json\">{data}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

const MAP: &str = r#"<section id="map"><h2>Nodes and containers</h2>
<p class="caption">Each box is a node, filled from the bottom by the memory of its containers. Point at a container to see whose it is.</p>
<div class="controls"><span id="tabs"></span>
<label>at <output id="at" for="time"></output> <input id="time" type="range" min="0" value="0" aria-label="time"></label>
<button id="play" type="button">play</button></div>
<ul class="key"><li class="busy">busy</li><li class="starting">starting</li><li class="idle">idle</li><li class="leaving">leaving</li></ul>
<div id="canvas"><canvas></canvas><div id="tip" hidden></div></div></section>
"#;

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

/// A measure: its name, what it is, and how many digits of it count. Less is better in all of them.
type Measure = (&'static str, &'static str, fn(&Outcome) -> f64);

const MEASURES: [Measure; 9] = [
    ("cold starts", "%", |it| it.calls.cold_percent),
    ("mean wait", "ms", |it| it.wait_ms.mean),
    ("99 % waited up to", "ms", |it| it.wait_ms.p99 as f64),
    ("refused or given up", "calls", |it| (it.calls.refused + it.calls.timed_out) as f64),
    ("started", "containers", |it| it.starts as f64),
    ("memory held idle", "GB-hours", |it| it.memory_mb_s.idle as f64 / MB_S_PER_GB_H),
    ("nodes in use", "on average", |it| it.nodes.mean),
    ("nodes in use", "at most", |it| it.nodes.max as f64),
    ("fragmentation", "% of free memory", |it| it.fragmentation_percent),
];

fn table(policies: &[Outcome]) -> String {
    let mut table =
        String::from("<h2>Side by side</h2>\n<div class=\"wide\"><table><thead><tr><th>policy</th>");
    for (name, unit, _) in MEASURES {
        let _ = write!(table, "<th>{name}<small>{unit}</small></th>");
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for (index, outcome) in policies.iter().enumerate() {
        let _ =
            write!(table, "<tr><th><i class=\"swatch s{}\"></i>{}</th>", index % 8, escaped(&outcome.policy));
        for (_, _, value) in MEASURES {
            let own = value(outcome);
            let others = || policies.iter().map(value);
            let (best, worst) = (others().fold(f64::INFINITY, f64::min), others().fold(0.0, f64::max));
            let class = if own <= best && best < worst { " class=\"best\"" } else { "" };
            let share = if worst > 0.0 { 100.0 * own / worst } else { 0.0 };
            let _ = write!(
                table,
                "<td{class}>{}<span class=\"bar\"><i style=\"width:{share:.0}%\"></i></span></td>",
                number(own)
            );
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody></table></div>\n<p class=\"caption\">Less is better in every column; the best is marked.</p>");
    table
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
    all: &'a [Box<str>],
    numbers: HashMap<u32, usize>,
    named: Vec<&'a str>,
}

impl Names<'_> {
    fn number(&mut self, action: u32) -> usize {
        let (all, named) = (self.all, &mut self.named);
        *self.numbers.entry(action).or_insert_with(|| {
            named.push(all.get(action as usize).map_or("", |name| name));
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
    fn the_maps_name_the_actions_that_are_on_them() {
        let data: Value = serde_json::from_str(&data(&comparison(&["fixed"]))).unwrap();
        assert_eq!(data["actions"], json!(["</script>", "b"]));
        let instants = data["policies"][0]["instants"].as_array().unwrap();
        assert!(instants.iter().any(|instant| instant["nodes"][0] == json!([0, 0, 256])), "{instants:?}");
    }
}
