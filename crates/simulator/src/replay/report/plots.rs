//! The plots of a comparison.

use super::Comparison;
use super::chart::{Chart, Legend, across, across_rounded, fill_class, line_class, place};
use super::scale::number;
use super::svg::{Anchor, Svg, escaped};
use crate::replay::outcome::{Outcome, Percentiles, Sample};

/// Points of a line that are drawn: cold starts in shorter times than that are noise.
const RATES_MAX: usize = 48;
/// How high the strip of a policy is.
const STRIP: f64 = 118.0;
/// MB-seconds in a GB-hour.
pub(super) const MB_S_PER_GB_H: f64 = 1_024.0 * 3_600.0;

/// A plot.
#[derive(Debug)]
pub struct Plot {
    /// The name of its file, without an end.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    svg: Svg,
}

impl Plot {
    pub(super) fn new(name: &'static str, title: impl Into<String>, caption: String, svg: Svg) -> Self {
        Self { name, title: title.into(), caption, svg }
    }

    /// As a file.
    #[must_use]
    pub fn alone(&self) -> String {
        self.svg.alone(&self.title)
    }

    /// As a part of the page.
    pub(super) fn inline(&self) -> String {
        self.svg.inline(&self.title)
    }
}

/// All plots.
#[must_use]
pub fn plots(comparison: &Comparison) -> Vec<Plot> {
    let policies = &comparison.policies;
    let caption = str::to_owned;
    vec![
        Plot::new(
            "tradeoff",
            "Cold starts against wasted memory",
            tradeoff_caption(policies),
            tradeoff(policies),
        ),
        Plot::new(
            "cold-starts",
            "Cold starts over time",
            caption("The share of calls that had to wait for a start of a container."),
            cold_starts(policies),
        ),
        Plot::new(
            "waiting",
            "How long calls waited",
            caption(
                "Of 100 calls that ran, 99 waited no longer than what is above 99. The scale is logarithmic; a wait of less than \
                 1 ms is drawn as 1 ms.",
            ),
            waiting(policies),
        ),
        Plot::new(
            "memory",
            "What memory was held for",
            caption("Idle memory is kept for calls that may come; what of it is never used was wasted."),
            memory(policies),
        ),
        Plot::new(
            "nodes",
            "Nodes in use over time",
            caption("Nodes with at least one container on them. What is never in use need not be there."),
            over_time(policies, "Nodes in use over time", "nodes", |sample| sample.nodes),
        ),
        Plot::new(
            "fragmentation",
            "Fragmentation over time",
            caption(
                "Of the free memory on nodes in use: the share that no container fits into, of the sizes that are asked for.",
            ),
            over_time(policies, "Fragmentation over time", "% of free memory", |sample| {
                sample.fragmentation_percent
            }),
        ),
    ]
}

/// A choice is judged beside choices only: the floor is none, and to lose calls is not to save anything.
fn tradeoff_caption(policies: &[Outcome]) -> String {
    let mut caption =
        "Down and to the left is better on both. A policy that has another one below and to the left of it, \
                       which loses no more calls, is never the right choice for this load."
            .to_owned();
    for floor in policies.iter().filter(|outcome| outcome.is_floor) {
        caption += &format!(
            " {} is no choice but the floor: it knows the load before it comes, and shows what is left to gain.",
            escaped(&floor.policy)
        );
    }
    if policies.iter().any(|outcome| outcome.calls.lost() > 0) {
        caption += " Calls that were lost are not in it: the table has them.";
    }
    caption
}

/// The policies in their colors.
fn legend(policies: &[Outcome]) -> Legend {
    let names: Vec<String> = policies.iter().map(named).collect();
    Legend::of(names.iter().enumerate().map(|(index, name)| (&**name, fill_class(index))))
}

fn named(outcome: &Outcome) -> String {
    match outcome.is_floor {
        true => format!("{} (the floor)", outcome.policy),
        false => outcome.policy.clone(),
    }
}

fn tradeoff(policies: &[Outcome]) -> Svg {
    let wasted_gb_h = |outcome: &Outcome| outcome.memory_mb_s.idle as f64 / MB_S_PER_GB_H;
    let x = across_rounded(largest(policies.iter().map(wasted_gb_h)));
    let legend = legend(policies);
    let y = legend.frame().linear(largest(policies.iter().map(|it| it.calls.cold_percent)));
    let mut chart = Chart::new("Cold starts against wasted memory", "cold starts, % of calls", &legend, x, y);
    chart.below(legend.frame().bottom, "memory held idle, GB-hours");
    for (index, outcome) in policies.iter().enumerate() {
        let (wasted, cold) = (wasted_gb_h(outcome), outcome.calls.cold_percent);
        let mut said =
            format!("{}: {} % cold, {} GB-hours idle", named(outcome), number(cold), number(wasted));
        if outcome.calls.lost() > 0 {
            said += &format!(", {} calls lost", number(outcome.calls.lost() as f64));
        }
        chart.svg.dot(&fill_class(index), (x.at(wasted), y.at(cold)), 7.0, &said);
    }
    chart.svg
}

fn cold_starts(policies: &[Outcome]) -> Svg {
    let rates: Vec<Vec<(f64, f64)>> = policies.iter().map(|it| cold_rates(&it.series)).collect();
    lines(policies, "Cold starts over time", "% of calls", &rates)
}

/// The share of cold calls in a number of longer times.
fn cold_rates(series: &[Sample]) -> Vec<(f64, f64)> {
    let together = series.len().div_ceil(RATES_MAX).max(1);
    let rate = |samples: &[Sample]| {
        let until_h = samples.last().map_or(0.0, |last| last.until_s / 3_600.0);
        let calls: u64 = samples.iter().map(|sample| sample.calls).sum();
        let cold: u64 = samples.iter().map(|sample| sample.cold).sum();
        (until_h, 100.0 * cold as f64 / calls.max(1) as f64)
    };
    series.chunks(together).map(rate).collect()
}

fn over_time(policies: &[Outcome], title: &str, unit: &str, value: impl Fn(&Sample) -> f64) -> Svg {
    let points = |outcome: &Outcome| -> Vec<(f64, f64)> {
        outcome.series.iter().map(|sample| (sample.until_s / 3_600.0, value(sample))).collect()
    };
    let points: Vec<_> = policies.iter().map(points).collect();
    lines(policies, title, unit, &points)
}

/// A line for each policy, over the hours.
fn lines(policies: &[Outcome], title: &str, unit: &str, points: &[Vec<(f64, f64)>]) -> Svg {
    let legend = legend(policies);
    let x = across(hours(policies));
    let y = legend.frame().linear(largest(points.iter().flatten().map(|&(_, value)| value)));
    let mut chart = Chart::new(title, unit, &legend, x, y);
    chart.below(legend.frame().bottom, "hours");
    for (index, points) in points.iter().enumerate() {
        let placed: Vec<_> = points.iter().map(|&(at, value)| (chart.x.at(at), chart.y.at(value))).collect();
        chart.svg.path(&line_class(index), &placed, false);
    }
    chart.svg
}

fn waiting(policies: &[Outcome]) -> Svg {
    const NAMES: [&str; 6] = ["50", "90", "95", "99", "99.9", "100"];
    let values = |waits: &Percentiles| [waits.p50, waits.p90, waits.p95, waits.p99, waits.p999, waits.max];
    let legend = legend(policies);
    let bottom = legend.frame().bottom;
    let y = legend.frame().log(largest(policies.iter().map(|it| it.wait_ms.max as f64)));
    let mut chart = Chart::new("How long calls waited", "ms", &legend, across(1.0), y);
    for (index, name) in NAMES.iter().enumerate() {
        chart.svg.text("label", (place(index, NAMES.len()), bottom + 17.0), Anchor::Middle, name);
    }
    chart.svg.text(
        "label",
        (place(NAMES.len() - 1, NAMES.len()), bottom + 34.0),
        Anchor::Middle,
        "% of calls",
    );
    for (policy, outcome) in policies.iter().enumerate() {
        let places: Vec<_> = values(&outcome.wait_ms)
            .iter()
            .enumerate()
            .map(|(index, &wait_ms)| (place(index, NAMES.len()), y.at(wait_ms as f64), wait_ms))
            .collect();
        let line: Vec<_> = places.iter().map(|&(x, y, _)| (x, y)).collect();
        chart.svg.path(&line_class(policy), &line, false);
        for (x, y, wait_ms) in places {
            let said = format!("{}: {} ms", named(outcome), number(wait_ms as f64));
            chart.svg.dot(&fill_class(policy), (x, y), 4.0, &said);
        }
    }
    chart.svg
}

/// A part of the memory: from what to what it is drawn.
type Layer = (&'static str, fn(&Sample) -> f64, fn(&Sample) -> f64);

const LAYERS: [Layer; 3] = [
    ("busy", |_| 0.0, |it| it.busy_mb),
    ("starting", |it| it.busy_mb, |it| it.busy_mb + it.starting_mb),
    ("idle", |it| it.busy_mb + it.starting_mb, |it| it.busy_mb + it.starting_mb + it.idle_mb),
];

/// One strip for each policy, all to the same scale.
fn memory(policies: &[Outcome]) -> Svg {
    let gb = |mb: f64| mb / 1_024.0;
    let all = |sample: &Sample| gb(sample.busy_mb + sample.starting_mb + sample.idle_mb);
    let max_gb = largest(policies.iter().flat_map(|it| it.series.iter().map(all)));
    let x = across(hours(policies));
    let legend = Legend::of(LAYERS.map(|(name, ..)| (name, name.to_owned())));
    let (strips, y) = (legend.strips(policies.len(), STRIP), legend.frame().linear(max_gb));
    let mut chart = Chart::of_strips("What memory was held for", "GB", &legend, (x, y), &strips);
    for (outcome, strip) in policies.iter().zip(&strips) {
        let y = strip.linear(max_gb);
        chart.grid(y, *strip);
        for (class, low, high) in LAYERS {
            let at = |sample: &Sample, mb: f64| (x.at(sample.until_s / 3_600.0), y.at(gb(mb)));
            let upper = outcome.series.iter().map(|sample| at(sample, high(sample)));
            let lower = outcome.series.iter().rev().map(|sample| at(sample, low(sample)));
            chart.svg.path(class, &upper.chain(lower).collect::<Vec<_>>(), true);
        }
        chart.svg.text("", (x.at(0.0) + 8.0, strip.top - 4.0), Anchor::Start, &named(outcome));
    }
    chart.below(strips.last().map_or(0.0, |strip| strip.bottom), "hours");
    chart.svg
}

fn hours(policies: &[Outcome]) -> f64 {
    largest(policies.iter().map(|it| it.measured_s / 3_600.0))
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::comparison;
    use super::*;

    #[test]
    fn every_policy_is_drawn_and_named_in_every_plot() {
        let comparison = comparison(&["fixed", "a<b"]);
        for plot in plots(&comparison) {
            let drawn = plot.alone();
            assert!(
                drawn.contains("fixed") && drawn.contains("a&lt;b") && !drawn.contains("a<b"),
                "{}",
                plot.name
            );
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{}", plot.name);
            assert_eq!(drawn.matches("<svg").count(), drawn.matches("</svg>").count());
        }
    }

    /// The values of an attribute of the texts of a drawing, and the texts.
    fn texts(drawn: &str) -> impl Iterator<Item = (f64, &str, &str)> {
        drawn.split("<text ").skip(1).map(|text| {
            let attribute = |name: &str| {
                text.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"')).unwrap().0
            };
            let said = text.split_once('>').and_then(|(_, rest)| rest.split_once('<')).unwrap().0;
            (attribute(" x").parse().unwrap(), attribute("text-anchor"), said)
        })
    }

    #[test]
    fn no_text_is_beyond_the_drawing_however_many_policies_there_are() {
        let names: Vec<String> =
            (0..12).map(|number| format!("compacting:worth_s={number}:node_mb=0, pack")).collect();
        for plot in plots(&comparison(&names.iter().map(|name| &**name).collect::<Vec<_>>())) {
            let drawn = plot.alone();
            for (x, anchor, said) in texts(&drawn) {
                let width = 6.6 * said.chars().count() as f64;
                let right = if anchor == "start" { x + width } else { x };
                assert!(x >= 0.0 && right <= 860.0, "{}: {said} ends at {right}", plot.name);
            }
        }
    }

    #[test]
    fn the_caption_judges_choices_only() {
        let mut comparison = comparison(&["fixed", "clairvoyant"]);
        let caption = |comparison: &Comparison| plots(comparison)[0].caption.clone();
        assert!(!caption(&comparison).contains("floor") && !caption(&comparison).contains("lost"));
        comparison.policies[1].is_floor = true;
        comparison.policies[0].calls.refused = 1;
        let caption = caption(&comparison);
        assert!(caption.contains("clairvoyant is no choice but the floor"), "{caption}");
        assert!(caption.contains("Calls that were lost are not in it"), "{caption}");
    }

    #[test]
    fn a_comparison_of_nothing_can_be_drawn() {
        for plot in plots(&comparison(&[])) {
            assert!(!plot.alone().contains("NaN"), "{}", plot.name);
        }
    }

    #[test]
    fn cold_starts_are_a_share_of_the_calls_of_their_time() {
        let sample = |calls, cold| Sample { calls, cold, ..super::super::fixture::sample() };
        let rates = cold_rates(&[sample(10, 5), sample(0, 0)]);
        assert_eq!(rates.iter().map(|&(_, rate)| rate).collect::<Vec<_>>(), [50.0, 0.0]);
    }
}
