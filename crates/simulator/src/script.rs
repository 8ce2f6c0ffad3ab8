//! A run as a line of text, and the smallest that still breaks what a longer one broke.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::chaos::Strike;
use crate::config::Config;
use crate::report::Report;

/// A run that can be repeated: a seed of [`Config::stormy`], how many calls arrive, and what goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The seed.
    pub seed: u64,
    /// Calls that arrive in all.
    pub calls: u32,
    /// What goes wrong, and nothing else.
    pub strikes: BTreeSet<Strike>,
}

impl Script {
    /// The script of what a run did.
    #[must_use]
    pub fn of(report: &Report, calls: u32) -> Self {
        Self { seed: report.seed, calls, strikes: report.struck.iter().copied().collect() }
    }

    /// Repeats it; the report keeps the last `lines` of what happened.
    #[must_use]
    pub fn run(&self, lines: usize) -> Report {
        let config = Config::stormy(self.seed, self.calls);
        crate::run_with(self.seed, &config, Some(self.strikes.clone()), lines)
    }

    /// Leaves out as much as possible such that the same invariant breaks: calls after the last that matters, then faults, in
    /// halves, quarters and so on ("Simplifying and Isolating Failure-Inducing Input", Zeller and Hildebrandt, TSE 2002).
    /// At most `runs_max` runs.
    #[must_use]
    pub fn minimised(self, mut runs_max: u32) -> Self {
        let Some(broken) = invariant(&self.run(0)) else { return self };
        let mut breaks = |script: &Self| {
            let Some(left) = runs_max.checked_sub(1) else { return false };
            runs_max = left;
            invariant(&script.run(0)).as_ref() == Some(&broken)
        };
        let mut smallest = self;
        let mut cut = smallest.calls / 2;
        while cut > 0 {
            let shorter = Self { calls: smallest.calls.saturating_sub(cut), ..smallest.clone() };
            match shorter.calls > 0 && breaks(&shorter) {
                true => smallest = shorter,
                false => cut /= 2,
            }
        }
        let mut chunk = smallest.strikes.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < smallest.strikes.len() {
                match smallest.without(from, chunk) {
                    fewer if breaks(&fewer) => smallest = fewer,
                    _ => from += chunk,
                }
            }
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
        smallest
    }

    fn without(&self, from: usize, count: usize) -> Self {
        let kept = self.strikes.iter().enumerate().filter(|(index, _)| !(from..from + count).contains(index));
        Self { strikes: kept.map(|(_, &strike)| strike).collect(), ..self.clone() }
    }
}

/// The id of what broke.
fn invariant(report: &Report) -> Option<String> {
    let words = report.violation.as_ref()?;
    Some(words.split(':').next().unwrap_or_default().to_owned())
}

impl fmt::Display for Script {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "seed {} calls {}", self.seed, self.calls)?;
        self.strikes.iter().try_for_each(|strike| write!(out, " {strike}"))
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let mut number = |name: &str| {
            let is_named = words.next() == Some(name);
            let number = words.next().filter(|_| is_named).and_then(|word| word.parse().ok());
            number.ok_or_else(|| {
                format!("a script begins with \"seed NUMBER calls NUMBER\", not with {text:.40?}")
            })
        };
        let (seed, calls) = (number("seed")?, number("calls")?);
        let calls = u32::try_from(calls).map_err(|_| format!("{calls} calls are too many"))?;
        Ok(Self { seed, calls, strikes: words.map(str::parse).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_as_it_is_written() {
        let script: Script = "seed 7 calls 100 NodeLost#2 MessageLost#31".parse().unwrap();
        assert_eq!((script.seed, script.calls, script.strikes.len()), (7, 100, 2));
        assert_eq!(script.to_string().parse(), Ok(script));
        assert!("seed 7".parse::<Script>().is_err() && "seed 1 calls 2 Rain#1".parse::<Script>().is_err());
    }

    #[test]
    fn a_script_of_all_that_struck_makes_the_run_again() {
        let report = crate::run(11, &Config::stormy(11, 60));
        let again = Script::of(&report, 60).run(0);
        assert_eq!((again.digest, again.struck), (report.digest, report.struck));
    }
}
