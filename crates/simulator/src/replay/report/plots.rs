//! The plots of a comparison.

use super::Comparison;
use super::chart::{Chart, Frame, across, across_rounded, fill_class, line_class, place};
use super::scale::number;
use super::svg::{Anchor, Svg};
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
    pub title: &'static str,
    /// How to read it.
    pub caption: &'static str,
    svg: Svg,
}

impl Plot {
    pub(super) fn new(name: &'static str, title: &'static str, caption: &'static str, svg: Svg) -> Self {
        Self { name, title, caption, svg }
    }

    /// As a file.
    #[must_use]
    pub fn alone(&self) -> String {
        self.svg.alone(self.title)
    }

    /// As a part of the page.
    pub(super) fn inline(&self) -> String {
        self.svg.inline(self.title)
    }
}

/// All plots.
#[must_use]
pub fn plots(comparison: &Comparison) -> Vec<Plot> {
    let policies = &comparison.policies;
    vec![
        Plot {
            name: "tradeoff",
            title: "Cold starts against wasted memory",
            caption: "Down and to the left is better on both. A policy that has another one below and to the left of it is \
                      never the right choice for this load.",
            svg: tradeoff(policies),
        },
        Plot {
            name: "cold-starts",
            title: "Cold starts over time",
            caption: "The share of calls that had to wait for a start of a container.",
            svg: cold_starts(policies),
        },
        Plot {
            name: "waiting",
            title: "How long calls waited",
            caption: "Of 100 calls, 99 waited no longer than what is above 99. The scale is logarithmic; a wait of less than 1 ms \
                      is drawn as 1 ms.",
            svg: waiting(policies),
        },
        Plot {
            name: "memory",
            title: "What memory was held for",
            caption: "Idle memory is kept for calls that may come; what of it is never used was wasted.",
            svg: memory(policies),
        },
        Plot {
            name: "nodes",
            title: "Nodes in use over time",
            caption: "Nodes with at least one container on them. What is never in use need not be there.",
            svg: over_time(policies, "Nodes in use over time", "nodes", |sample| sample.nodes),
        },
        Plot {
            name: "fragmentation",
            title: "Fragmentation over time",
            caption: "Of the free memory on nodes in use: the share that no container fits into, of the sizes that are asked for.",
            svg: over_time(policies, "Fragmentation over time", "% of free memory", |sample| {
                sample.fragmentation_percent
            }),
        },
    ]
}

fn tradeoff(policies: &[Outcome]) -> Svg {
    let wasted_gb_h = |outcome: &Outcome| outcome.memory_mb_s.idle as f64 / MB_S_PER_GB_H;
    let x = across_rounded(largest(policies.iter().map(wasted_gb_h)));
    let y = Frame::whole().linear(largest(policies.iter().map(|it| it.calls.cold_percent)));
    let mut chart = Chart::new("Cold starts against wasted memory", "cold starts, % of calls", x, y);
    chart.below(Frame::whole().bottom, "memory held idle, GB-hours");
    chart.legend(policies.iter().enumerate().map(|(index, it)| (&*it.policy, fill_class(index))));
    for (index, outcome) in policies.iter().enumerate() {
        let (wasted, cold) = (wasted_gb_h(outcome), outcome.calls.cold_percent);
        let said = format!("{}: {} % cold, {} GB-hours idle", outcome.policy, number(cold), number(wasted));
        chart.svg.dot(&fill_class(index), (x.at(wasted), y.at(cold)), 7.0, &said);
    }
    chart.svg
}

fn cold_starts(policies: &[Outcome]) -> Svg {
    let rates: Vec<Vec<(f64, f64)>> = policies.iter().map(|it| cold_rates(&it.series)).collect();
    let x = across(hours(policies));
    let y = Frame::whole().linear(largest(rates.iter().flatten().map(|&(_, rate)| rate)));
    let mut chart = Chart::new("Cold starts over time", "% of calls", x, y);
    lines(&mut chart, policies, &rates);
    chart.svg
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
    let x = across(hours(policies));
    let y = Frame::whole().linear(largest(points.iter().flatten().map(|&(_, value)| value)));
    let mut chart = Chart::new(title, unit, x, y);
    lines(&mut chart, policies, &points);
    chart.svg
}

fn lines(chart: &mut Chart, policies: &[Outcome], points: &[Vec<(f64, f64)>]) {
    chart.below(Frame::whole().bottom, "hours");
    chart.legend(policies.iter().enumerate().map(|(index, it)| (&*it.policy, fill_class(index))));
    for (index, points) in points.iter().enumerate() {
        let placed: Vec<_> = points.iter().map(|&(at, value)| (chart.x.at(at), chart.y.at(value))).collect();
        chart.svg.path(&line_class(index), &placed, false);
    }
}

fn waiting(policies: &[Outcome]) -> Svg {
    const NAMES: [&str; 6] = ["50", "90", "95", "99", "99.9", "100"];
    let values = |waits: &Percentiles| [waits.p50, waits.p90, waits.p95, waits.p99, waits.p999, waits.max];
    let y = Frame::whole().log(largest(policies.iter().map(|it| it.wait_ms.max as f64)));
    let mut chart = Chart::new("How long calls waited", "ms", across(1.0), y);
    chart.legend(policies.iter().enumerate().map(|(index, it)| (&*it.policy, fill_class(index))));
    let bottom = Frame::whole().bottom;
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
            let said = format!("{}: {} ms", outcome.policy, number(wait_ms as f64));
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
    let (strips, height) = Frame::strips(policies.len(), STRIP);
    let mut chart = Chart::bare("What memory was held for", "GB", x, Frame::whole().linear(max_gb), height);
    chart.legend(LAYERS.map(|(name, ..)| (name, name.to_owned())));
    for (outcome, strip) in policies.iter().zip(&strips) {
        let y = strip.linear(max_gb);
        chart.grid(y, *strip);
        for (class, low, high) in LAYERS {
            let at = |sample: &Sample, mb: f64| (x.at(sample.until_s / 3_600.0), y.at(gb(mb)));
            let upper = outcome.series.iter().map(|sample| at(sample, high(sample)));
            let lower = outcome.series.iter().rev().map(|sample| at(sample, low(sample)));
            chart.svg.path(class, &upper.chain(lower).collect::<Vec<_>>(), true);
        }
        chart.svg.text("", (x.at(0.0) + 8.0, strip.top - 4.0), Anchor::Start, &outcome.policy);
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
