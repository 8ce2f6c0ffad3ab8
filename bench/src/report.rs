//! What was measured: medians, the table, and the result files.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// One number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    /// What was measured.
    pub(crate) name: String,
    /// The median over the rounds.
    pub(crate) value: f64,
    /// Of `value` and `baseline`.
    pub(crate) unit: &'static str,
    /// The same of what it is compared with.
    pub(crate) baseline: Option<f64>,
    /// `value` divided by `baseline`.
    pub(crate) ratio: Option<f64>,
    /// What we promise.
    pub(crate) target: Option<Target>,
    /// Whether the promise is kept.
    pub(crate) met: Option<bool>,
}

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The ratio is at most this.
    RatioMax(f64),
    /// The ratio is at least this.
    RatioMin(f64),
    /// The value is at most this.
    ValueMax(f64),
    /// The value is at least this.
    ValueMin(f64),
}

impl Measurement {
    /// A number without comparison.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, baseline: None, ratio: None, target: None, met: None }
    }

    /// Compares with a baseline.
    pub(crate) fn beside(self, baseline: f64) -> Self {
        Self { ratio: Some(self.value / baseline), baseline: Some(baseline), ..self }
    }

    /// The same without its promise.
    pub(crate) fn without_promise(self) -> Self {
        Self { target: None, met: None, ..self }
    }

    /// Compares with a promise.
    pub(crate) fn promised(self, target: Target) -> Self {
        let met = match target {
            Target::RatioMax(max) => self.ratio.is_some_and(|ratio| ratio <= max),
            Target::RatioMin(min) => self.ratio.is_some_and(|ratio| ratio >= min),
            Target::ValueMax(max) => self.value <= max,
            Target::ValueMin(min) => self.value >= min,
        };
        Self { target: Some(target), met: Some(met), ..self }
    }
}

/// The value in the middle; of an even number of values the mean of the two.
///
/// # Panics
/// When there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The value below which `percent` of the values lie.
///
/// # Panics
/// When there is none.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Prints the table, writes `DIRECTORY/NAME.json`, and returns how many promises were not kept.
pub(crate) fn publish(directory: &Path, name: &str, measurements: &[Measurement]) -> anyhow::Result<usize> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join(format!("{name}.json"));
    let json = serde_json::to_string_pretty(measurements)?;
    std::fs::write(&path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    println!("\n{name} → {}\n", path.display());
    for line in table(measurements) {
        println!("{line}");
    }
    Ok(measurements.iter().filter(|measurement| measurement.met == Some(false)).count())
}

fn table(measurements: &[Measurement]) -> Vec<String> {
    let width =
        measurements.iter().map(|measurement| measurement.name.chars().count()).max().unwrap_or(0).max(4);
    let head = row(width, "name", "value", "unit", "baseline", "ratio", "target", "met");
    let rows = measurements.iter().map(|measurement| {
        let optional = |value: Option<f64>| value.map_or_else(String::new, number);
        let target = measurement.target.map_or_else(String::new, describe);
        let met = measurement.met.map_or("", |met| if met { "yes" } else { "NO" });
        let (value, baseline) = (number(measurement.value), optional(measurement.baseline));
        let ratio = measurement.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        row(width, &measurement.name, &value, measurement.unit, &baseline, &ratio, &target, met)
    });
    std::iter::once(head).chain(rows).collect()
}

#[expect(clippy::too_many_arguments, reason = "one for each column")]
fn row(
    width: usize,
    name: &str,
    value: &str,
    unit: &str,
    baseline: &str,
    ratio: &str,
    target: &str,
    met: &str,
) -> String {
    format!("{name:width$}  {value:>10} {unit:6} {baseline:>10} {ratio:>7}  {target:14} {met}")
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn describe(target: Target) -> String {
    match target {
        Target::RatioMax(max) => format!("ratio ≤ {max}"),
        Target::RatioMin(min) => format!("ratio ≥ {min}"),
        Target::ValueMax(max) => format!("value ≤ {max}"),
        Target::ValueMin(min) => format!("value ≥ {min}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_outlier() {
        assert!((median(&[3.0, 900.0, 1.0, 2.0, 2.5]) - 2.5).abs() < 1e-9);
        assert!((median(&[4.0, 2.0]) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        assert!((percentile(&values, 50) - 50.0).abs() < 1e-9);
        assert!((percentile(&values, 99) - 99.0).abs() < 1e-9);
        assert!((percentile(&[7.0], 99) - 7.0).abs() < 1e-9);
    }

    #[test]
    fn a_promise_is_judged_in_its_direction() {
        let measured = || Measurement::new("x", 60.0, "us").beside(40.0);
        assert_eq!(measured().promised(Target::RatioMax(1.5)).met, Some(true));
        assert_eq!(measured().promised(Target::RatioMax(1.4)).met, Some(false));
        assert_eq!(measured().promised(Target::RatioMin(1.6)).met, Some(false));
        assert_eq!(measured().promised(Target::ValueMax(60.0)).met, Some(true));
        assert_eq!(measured().promised(Target::ValueMin(60.1)).met, Some(false));
    }

    #[test]
    fn a_result_file_is_a_list_of_seven_fields() {
        let measurement = Measurement::new("x", 60.0, "us").beside(40.0).promised(Target::RatioMax(2.0));
        let json = serde_json::to_value([measurement]).unwrap();
        let expected = serde_json::json!([{"name": "x", "value": 60.0, "unit": "us", "baseline": 40.0, "ratio": 1.5,
            "target": {"ratio_max": 2.0}, "met": true}]);
        assert_eq!(json, expected);
    }
}
