//! The ground of a plot: title, axes, grid and legend.

use super::scale::{Scale, number};
use super::svg::{Anchor, Svg};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 340.0;
/// Colors that there are; from the ninth on policies have them again, with dashes.
const COLORS: usize = 8;
/// Kinds of dashes.
const DASHES: usize = 3;
const LEFT: f64 = 68.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 44.0;
/// How wide a letter of a legend is, about; how far its text is from its left, and the next entry from its text.
const LETTER: f64 = 6.6;
const KEY: f64 = 17.0;
const GAP: f64 = 23.0;
/// The most letters of a name that fit into a row.
const LETTERS_MAX: usize = 114;
/// How high a row of a legend is; the drawing has room for the first.
const ROW: f64 = 18.0;

/// A plot that is being drawn.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) svg: Svg,
    pub(super) x: Scale,
    pub(super) y: Scale,
}

/// The names of what is drawn, in their colors, in as many rows as they need. Everything else of the chart is below them.
#[derive(Debug)]
pub(super) struct Legend {
    entries: Vec<Entry>,
    rows: usize,
}

#[derive(Debug)]
struct Entry {
    name: String,
    class: String,
    left: f64,
    row: usize,
}

impl Legend {
    /// Names with the classes of their keys.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let (mut left, mut row, mut entries) = (LEFT, 0, Vec::new());
        for (name, class) in names {
            let width = KEY + LETTER * shown(name).chars().count() as f64;
            if left > LEFT && left + width > RIGHT {
                (left, row) = (LEFT, row + 1);
            }
            entries.push(Entry { name: name.to_owned(), class, left, row });
            left += width + GAP;
        }
        Self { entries, rows: row + 1 }
    }

    /// The place of a chart's only grid.
    pub(super) fn frame(&self) -> Frame {
        Frame { top: TOP + self.extra(), bottom: HEIGHT - BOTTOM + self.extra() }
    }

    /// So many grids of this height below each other.
    pub(super) fn strips(&self, count: usize, height: f64) -> Vec<Frame> {
        let top = |index: usize| TOP + self.extra() + index as f64 * height;
        (0..count).map(|index| Frame { top: top(index) + 16.0, bottom: top(index + 1) - 8.0 }).collect()
    }

    fn extra(&self) -> f64 {
        ROW * (self.rows - 1) as f64
    }

    fn draw(&self, svg: &mut Svg) {
        for Entry { name, class, left, row } in &self.entries {
            let down = ROW * *row as f64;
            svg.rect(class, (*left, 37.0 + down), (11.0, 11.0), name);
            svg.text("", (left + KEY, 47.0 + down), Anchor::Start, &shown(name));
        }
    }
}

/// A name as far as it fits into a row.
fn shown(name: &str) -> String {
    let (most, letters) = (LETTERS_MAX, name.chars().count());
    if letters <= most { name.to_owned() } else { name.chars().take(most - 1).chain(['…']).collect() }
}

/// The place of a chart, and of the grid in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Frame {
    pub(super) fn linear(self, max: f64) -> Scale {
        Scale::linear(max, self.bottom, self.top)
    }

    pub(super) fn log(self, max: f64) -> Scale {
        Scale::log(max, self.bottom, self.top)
    }
}

/// Across the drawing, from 0 to this value.
pub(super) fn across(max: f64) -> Scale {
    Scale::exact(max, LEFT, RIGHT)
}

/// Across the drawing, from 0 to a round value.
pub(super) fn across_rounded(max: f64) -> Scale {
    Scale::linear(max, LEFT, RIGHT)
}

/// Across the drawing, so many places of equal width; where the middle of one is.
pub(super) fn place(index: usize, places: usize) -> f64 {
    LEFT + (index as f64 + 0.5) * (RIGHT - LEFT) / places.max(1) as f64
}

impl Chart {
    /// A chart with its title, what its height measures, its legend, and the grid of that height.
    pub(super) fn new(title: &str, unit: &str, legend: &Legend, x: Scale, y: Scale) -> Self {
        let frame = legend.frame();
        let mut chart = Self::bare(title, unit, legend, (x, y), frame.bottom + BOTTOM);
        chart.grid(y, frame);
        chart
    }

    /// A chart of these strips, one below the other, without grids.
    pub(super) fn of_strips(
        title: &str,
        unit: &str,
        legend: &Legend,
        scales: (Scale, Scale),
        strips: &[Frame],
    ) -> Self {
        let bottom = strips.last().map_or(TOP + legend.extra(), |strip| strip.bottom + 8.0);
        Self::bare(title, unit, legend, scales, bottom + BOTTOM)
    }

    fn bare(title: &str, unit: &str, legend: &Legend, (x, y): (Scale, Scale), height: f64) -> Self {
        let mut svg = Svg::new(WIDTH, height);
        svg.text("title", (LEFT, 24.0), Anchor::Start, title);
        svg.text("label", (RIGHT, 24.0), Anchor::End, unit);
        legend.draw(&mut svg);
        Self { svg, x, y }
    }

    /// The lines and numbers of a height.
    pub(super) fn grid(&mut self, y: Scale, frame: Frame) {
        for tick in y.ticks() {
            let height = y.at(tick);
            self.svg.line("grid", (LEFT, height), (RIGHT, height));
            self.svg.text("label", (LEFT - 8.0, height + 4.0), Anchor::End, &number(tick));
        }
        self.svg.line("axis", (LEFT, frame.bottom), (RIGHT, frame.bottom));
    }

    /// The numbers below, and what they are.
    pub(super) fn below(&mut self, bottom: f64, unit: &str) {
        for tick in self.x.ticks() {
            self.svg.text("label", (self.x.at(tick), bottom + 17.0), Anchor::Middle, &number(tick));
        }
        self.svg.text("label", (RIGHT, bottom + 34.0), Anchor::End, unit);
    }
}

/// The class of a line of this policy.
pub(super) fn line_class(policy: usize) -> String {
    format!("l{}{}", policy % COLORS, dash_class(policy))
}

/// The class of what is filled of this policy; with dashes it is a ring of its color.
pub(super) fn fill_class(policy: usize) -> String {
    match dash_class(policy) {
        "" => format!("f{}", policy % COLORS),
        dash => format!("f{0} l{0}{dash}", policy % COLORS),
    }
}

/// The class of the swatch of this policy in a table.
pub(super) fn swatch_class(policy: usize) -> String {
    format!("s{}{}", policy % COLORS, dash_class(policy))
}

fn dash_class(policy: usize) -> &'static str {
    match policy / COLORS {
        0 => "",
        again => [" d1", " d2", " d3"][(again - 1) % DASHES],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_has_as_many_rows_as_it_needs_and_the_chart_is_below_it() {
        let names: Vec<String> = (0..40).map(|number| format!("compacting:worth_s={number}")).collect();
        let legend = |count: usize| Legend::of(names[..count].iter().map(|name| (&**name, String::new())));
        assert_eq!((legend(0).rows, legend(2).rows), (1, 1));
        let many = legend(40);
        assert!(many.entries.iter().all(|it| it.left + KEY + LETTER * it.name.len() as f64 <= RIGHT));
        let lowest = 47.0 + ROW * many.entries.last().unwrap().row as f64;
        assert!(lowest < many.frame().top && many.frame().top - many.frame().bottom == TOP + BOTTOM - HEIGHT);
    }

    #[test]
    fn a_name_that_no_row_holds_is_cut() {
        assert!(shown(&"x".repeat(500)).ends_with('…') && shown(&"x".repeat(500)).chars().count() < 120);
        assert_eq!(shown("fixed"), "fixed");
    }

    #[test]
    fn no_two_of_many_policies_look_the_same() {
        let looks =
            |class: fn(usize) -> String| (0..32).map(class).collect::<std::collections::BTreeSet<_>>();
        assert_eq!([line_class, fill_class, swatch_class].map(|class| looks(class).len()), [32; 3]);
        assert_eq!((&*fill_class(7), &*fill_class(8), &*line_class(17)), ("f7", "f0 l0 d1", "l1 d2"));
    }
}
