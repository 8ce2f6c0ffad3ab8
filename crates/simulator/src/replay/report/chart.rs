//! The ground of a plot: title, axes, grid and legend.

use super::scale::{Scale, number};
use super::svg::{Anchor, Svg};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 340.0;
/// Colors that there are; more policies than that share them.
const COLORS: usize = 8;
const LEFT: f64 = 68.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 44.0;
/// How wide a letter of a legend is, about.
const LETTER: f64 = 6.6;

/// A plot that is being drawn.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) svg: Svg,
    pub(super) x: Scale,
    pub(super) y: Scale,
}

/// The place of a chart, and of the grid in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Frame {
    /// The whole drawing.
    pub(super) fn whole() -> Self {
        Self { top: TOP, bottom: HEIGHT - BOTTOM }
    }

    /// So many of this height below each other, and how high the drawing is with them.
    pub(super) fn strips(count: usize, height: f64) -> (Vec<Self>, f64) {
        let top = |index: usize| TOP + index as f64 * height;
        let strip = |index| Self { top: top(index) + 16.0, bottom: top(index + 1) - 8.0 };
        ((0..count).map(strip).collect(), top(count) + BOTTOM)
    }

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
    /// A chart with its title, what its height measures, and the grid of that.
    pub(super) fn new(title: &str, unit: &str, x: Scale, y: Scale) -> Self {
        let mut chart = Self::bare(title, unit, x, y, HEIGHT);
        chart.grid(y, Frame::whole());
        chart
    }

    /// A chart of this height without a grid.
    pub(super) fn bare(title: &str, unit: &str, x: Scale, y: Scale, height: f64) -> Self {
        let mut svg = Svg::new(WIDTH, height);
        svg.text("title", (LEFT, 24.0), Anchor::Start, title);
        svg.text("label", (RIGHT, 24.0), Anchor::End, unit);
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

    /// The names of what is drawn, in their colors.
    pub(super) fn legend<'a>(&mut self, names: impl IntoIterator<Item = (&'a str, String)>) {
        let mut left = LEFT;
        for (name, class) in names {
            self.svg.rect(&class, (left, 37.0), (11.0, 11.0), name);
            self.svg.text("", (left + 17.0, 47.0), Anchor::Start, name);
            left += 40.0 + LETTER * name.chars().count() as f64;
        }
    }
}

/// The class of a line of this policy.
pub(super) fn line_class(policy: usize) -> String {
    format!("l{}", policy % COLORS)
}

/// The class of what is filled of this policy.
pub(super) fn fill_class(policy: usize) -> String {
    format!("f{}", policy % COLORS)
}
