//! The plots of collectors: for each what it holds of each action over a day, beside OpenWhisk's fixed idle time.

use super::chart::{Chart, Frame, Legend, across};
use super::plots::Plot;
use super::svg::Anchor;
use crate::replay::day::{DAY_MS, Day, LOOK_MS, Seen};
use crate::replay::outcome::Sample;

/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;
/// How high the strip of an action is, of which the name has the uppermost part, and that of a measure.
const ACTION: f64 = 46.0;
const MEASURE: f64 = 100.0;
/// How high a lane is, and the calls below the lanes; calls closer together than that are one stroke.
const LANE: f64 = 8.0;
const CALL: f64 = 4.0;
const STROKE: f64 = 2.5;

/// What is drawn of the collector that a plot is of, and of the one beside it.
const OWN: (&str, &str) = ("f0", "l0");
const BESIDE: (&str, &str) = ("f7", "l7");
const COLD: &str = "f1";

/// How each plot is to be read.
const CAPTIONS: [(&str, &str, &str); 5] = [
    (
        "fixed",
        "collector-fixed",
        "Each call is followed by ten minutes of holding; a timer of eleven minutes starts cold each time.",
    ),
    (
        "lru",
        "collector-lru",
        "Nothing goes until a large container needs the room: then what was used the longest ago.",
    ),
    (
        "greedy-dual",
        "collector-greedy-dual",
        "Nothing goes until a large container needs the room: then what is called seldom, large or quick to start.",
    ),
    (
        "histogram",
        "collector-histogram",
        "Timers are learned: their containers go with the call and come back ahead of the next one. What has no pattern is held as by fixed.",
    ),
    (
        "compacting",
        "collector-compacting",
        "What is cheap to hold for its calls stays, what is not goes at once, and nodes become empty.",
    ),
];

/// One plot for each collector.
#[must_use]
pub fn collector_plots(days: &[Day]) -> Vec<Plot> {
    let day = |name: &str| days.iter().find(|day| day.outcome.policy == name);
    let Some(fixed) = day("fixed") else { return Vec::new() };
    let plot = |(collector, name, caption): (&str, &'static str, &str)| {
        let own = day(collector)?;
        let beside = (collector != "fixed").then_some(fixed);
        Some(plot(name, caption, own, beside))
    };
    CAPTIONS.into_iter().filter_map(plot).collect()
}

fn plot(name: &'static str, caption: &str, own: &Day, beside: Option<&Day>) -> Plot {
    let collector = &own.outcome.policy;
    let title = format!("What {collector} holds over a day");
    let mut names = vec![(&**collector, OWN.0.to_owned())];
    names.extend(beside.map(|day| (&*day.outcome.policy, BESIDE.0.to_owned())));
    names.extend([("calls", "label".to_owned()), ("cold starts", COLD.to_owned())]);
    let legend = Legend::of(names);
    let (actions, measures) = strips(&legend, own.actions.len());
    let x = across(DAY_MS as f64 / HOUR_MS);
    let all: Vec<Frame> = actions.iter().chain(&measures).copied().collect();
    let mut chart = Chart::of_strips(&title, "", &legend, (x, measures[0].linear(1.0)), &all);
    for (index, strip) in actions.iter().enumerate() {
        let of = |day: &Day| day.actions[index].clone();
        lanes(&mut chart, *strip, &of(own), beside.map(of).as_ref());
    }
    measure(&mut chart, measures[0], "memory held idle, GB", own, beside, |it| it.idle_mb / 1_024.0);
    measure(&mut chart, measures[1], "nodes in use", own, beside, |it| it.nodes);
    chart.below(measures[1].bottom, "hours");
    Plot::new(name, title, caption.to_owned(), chart.svg)
}

/// The strips of the actions, and those of the two measures below them.
fn strips(legend: &Legend, actions: usize) -> (Vec<Frame>, [Frame; 2]) {
    let strips = legend.strips(actions, ACTION);
    let below = strips.last().map_or(0.0, |strip| strip.bottom + 8.0);
    let measure = |index: f64| Frame {
        top: below + index * MEASURE + 16.0,
        bottom: below + (index + 1.0) * MEASURE - 8.0,
    };
    (strips, [measure(0.0), measure(1.0)])
}

/// The containers of an action, held by the collector and by the one beside it; below them its calls.
fn lanes(chart: &mut Chart, strip: Frame, own: &Seen, beside: Option<&Seen>) {
    let most = own.held.iter().chain(beside.iter().flat_map(|seen| &seen.held)).copied().max().unwrap_or(1);
    chart.svg.text("label", (chart.x.at(0.0), strip.top - 3.0), Anchor::Start, &own.name);
    lane(chart, strip.top + LANE, OWN.0, own, most);
    if let Some(beside) = beside {
        lane(chart, strip.top + 2.0 * LANE + 2.0, BESIDE.0, beside, most);
    }
    let mut drawn = f64::NEG_INFINITY;
    for (at_ms, _) in &own.calls {
        let x = chart.x.at(*at_ms as f64 / HOUR_MS);
        if x - drawn >= STROKE {
            chart.svg.line("axis", (x, strip.bottom - CALL), (x, strip.bottom));
            drawn = x;
        }
    }
}

/// How many containers there are, as heights over a line; and the calls that had to wait for a start.
fn lane(chart: &mut Chart, bottom: f64, class: &str, seen: &Seen, most: usize) {
    let hour = |look: usize| look as f64 * LOOK_MS as f64 / HOUR_MS;
    let height = |held: usize| bottom - LANE * held as f64 / most.max(1) as f64;
    let (mut points, mut before) = (vec![(chart.x.at(0.0), bottom)], 0);
    for (look, &held) in seen.held.iter().enumerate() {
        if held != before {
            let x = chart.x.at(hour(look));
            points.extend([(x, height(before)), (x, height(held))]);
            before = held;
        }
    }
    let end = chart.x.at(hour(seen.held.len()));
    points.extend([(end, height(before)), (end, bottom)]);
    chart.svg.path(class, &points, true);
    for (at_ms, _) in seen.calls.iter().filter(|(_, is_cold)| *is_cold) {
        let x = chart.x.at(*at_ms as f64 / HOUR_MS);
        chart.svg.mark(COLD, (x - 0.7, bottom - LANE), (1.4, LANE));
    }
}

/// A measure of both over the day.
fn measure(
    chart: &mut Chart,
    strip: Frame,
    name: &str,
    own: &Day,
    beside: Option<&Day>,
    value: fn(&Sample) -> f64,
) {
    let series = |day: &'_ Day| day.outcome.series.iter().map(value).fold(0.0, f64::max);
    let y = strip.linear(beside.map_or(0.0, series).max(series(own)));
    chart.grid(y, strip);
    chart.svg.text("label", (chart.x.at(0.0), strip.top - 5.0), Anchor::Start, name);
    let drawn = beside.map(|day| (day, BESIDE.1)).into_iter().chain([(own, OWN.1)]);
    for (day, class) in drawn {
        let at = |sample: &Sample| (chart.x.at(sample.until_s / 3_600.0), y.at(value(sample)));
        let points: Vec<_> = day.outcome.series.iter().map(at).collect();
        chart.svg.path(class, &points, false);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::assert_current;
    use super::*;
    use crate::replay::day::days;

    #[test]
    fn the_plots_of_the_documentation_are_current() {
        let plots = collector_plots(&days().unwrap());
        assert_eq!(plots.len(), CAPTIONS.len());
        assert_current(&plots, "triplane simulate collectors");
    }
}
