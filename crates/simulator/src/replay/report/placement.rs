//! The plots of placement strategies: for each that which it is for, beside all others.

use super::chart::{Chart, Legend, across, fill_class, line_class};
use super::plots::Plot;
use crate::placement::{Day, Measures};

const HOURS: f64 = 24.0;

/// What is drawn: the name of the file, the title, the unit, how to read it, and the value.
type Drawn = (&'static str, &'static str, &'static str, &'static str, fn(&Measures) -> f64);

const PLOTS: [Drawn; 6] = [
    (
        "placement-pack",
        "Nodes in use",
        "nodes",
        "Nodes with at least one container on them: the others could be switched off.",
        |it| it.nodes,
    ),
    (
        "placement-spread",
        "Load of the two busiest nodes",
        "% of the node",
        "Of what is taken most of, CPU or memory; above 100 the CPU is shared by weight.",
        |it| it.busiest_percent,
    ),
    (
        "placement-balanced",
        "What is left of CPU or memory where the other is taken",
        "nodes of it",
        "The difference of the shares that are taken of both, over all nodes.",
        |it| it.uneven_nodes,
    ),
    (
        "placement-fragmentation",
        "Free memory that is of no use",
        "% of what is free",
        "The share that no container of the demand fits into.",
        |it| it.fragmentation_percent,
    ),
    (
        "placement-locality",
        "Starts on a node that had the code",
        "% of starts",
        "What needs not be fetched.",
        |it| it.local_percent,
    ),
    (
        "placement-gpu",
        "Whole GPUs that can be had",
        "GPUs",
        "Nobody has a part of them, and beside them is memory for a container.",
        |it| it.gpus_whole,
    ),
];

/// One plot for each strategy.
#[must_use]
pub fn placement_plots(days: &[Day]) -> Vec<Plot> {
    PLOTS.map(|drawn| plot(days, drawn)).into()
}

fn plot(days: &[Day], (name, title, unit, caption, value): Drawn) -> Plot {
    let values = days.iter().flat_map(|day| day.moments.iter().map(|moment| value(&moment.measures)));
    let legend =
        Legend::of(days.iter().enumerate().map(|(index, day)| (day.strategy.as_str(), fill_class(index))));
    let (x, y) = (across(HOURS), legend.frame().linear(values.fold(0.0, f64::max)));
    let mut chart = Chart::new(title, unit, &legend, x, y);
    chart.below(legend.frame().bottom, "hours");
    for (index, day) in days.iter().enumerate() {
        let at = |it: &crate::placement::Moment| (x.at(it.until_h), y.at(value(&it.measures)));
        chart.svg.path(&line_class(index), &day.moments.iter().map(at).collect::<Vec<_>>(), false);
    }
    Plot::new(name, title, caption.to_owned(), chart.svg)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::assert_current;
    use super::*;
    use crate::placement::days;

    #[test]
    fn the_plots_of_the_documentation_are_current() {
        assert_current(&placement_plots(&days()), "triplane simulate placement");
    }
}
