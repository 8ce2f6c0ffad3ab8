//! From values to places on paper, and the values that are written at an axis.

/// The most labels at an axis.
const TICKS_MAX: f64 = 6.0;

/// An axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    /// Where `from` and `to` are.
    start: f64,
    end: f64,
    is_log: bool,
}

impl Scale {
    /// From 0 to a round number that is at least `max`.
    pub(super) fn linear(max: f64, start: f64, end: f64) -> Self {
        let step = step(max);
        Self { from: 0.0, to: (max / step).ceil().max(1.0) * step, start, end, is_log: false }
    }

    /// From 0 to exactly `max`, for times.
    pub(super) fn exact(max: f64, start: f64, end: f64) -> Self {
        Self { from: 0.0, to: if max > 0.0 { max } else { 1.0 }, start, end, is_log: false }
    }

    /// From 1 to a power of ten that is at least `max`; what is less than 1 is drawn at 1.
    pub(super) fn log(max: f64, start: f64, end: f64) -> Self {
        let mut to = 10.0;
        while to < max {
            to *= 10.0;
        }
        Self { from: 1.0, to, start, end, is_log: true }
    }

    /// Where a value is.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.clamp(self.from, self.to) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share * (self.end - self.start)
    }

    /// The values to write.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let mut ticks = vec![self.from];
        let step = step(self.to);
        while let Some(last) = ticks.last().copied() {
            let next = if self.is_log { last * 10.0 } else { last + step };
            if next > self.to * 1.000_001 {
                break;
            }
            ticks.push(next);
        }
        ticks
    }
}

/// A round step: 1, 2 or 5 times a power of ten.
fn step(max: f64) -> f64 {
    let mut power = 1e-6;
    loop {
        for step in [power, 2.0 * power, 5.0 * power] {
            if max / step <= TICKS_MAX {
                return step;
            }
        }
        power *= 10.0;
    }
}

/// A number for people: few digits, with separators.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        it if it == 0.0 || it >= 100.0 => 0,
        it if it >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let whole = grouped(whole);
    if rest.is_empty() { whole } else { format!("{whole}.{rest}") }
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        assert_eq!(Scale::linear(37.0, 0.0, 100.0).ticks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(Scale::log(2_500.0, 0.0, 100.0).ticks(), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        assert_eq!(Scale::linear(0.0, 0.0, 1.0).at(0.0), 0.0, "nothing at all has an axis too");
    }

    #[test]
    fn values_are_between_start_and_end() {
        let scale = Scale::log(1_000.0, 300.0, 0.0);
        let places: Vec<f64> =
            [0.0, 1.0, 10.0, 1_000.0].iter().map(|&value| scale.at(value).round()).collect();
        assert_eq!(places, [300.0, 300.0, 200.0, 0.0]);
        assert_eq!(Scale::exact(8.0, 0.0, 80.0).at(3.0), 30.0);
    }

    #[test]
    fn numbers_have_few_digits_and_separators() {
        let shown = [0.0, 0.5, 3.1234, 42.04, 1_234.5, 1_000_000.0, -1_234.0].map(number);
        assert_eq!(shown, ["0", "0.5", "3.12", "42", "1,234", "1,000,000", "-1,234"]);
    }
}
