//! How many stem cells wait for which kind and memory: containers that are started without an action, so that a cold start
//! is the second half of one only.
//!
//! Cold starts are counted in windows as long as a stem cell takes to be replaced. A class's recent windows say how likely
//! it is that one needs at least `k`; the `k`-th stem cell of a class is worth that, and the budget goes to those that are
//! worth most for their memory (the newsvendor's rule, without a model of arrivals). The window before counts extra, for
//! a burst goes on more often than not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::pool::mutant::{Mutant, is_planted};

/// How long a window is: stem cells that were taken are replaced within it.
const WINDOW_MS: u64 = 10_000;
/// The most stem cells of a class.
const STEMS_MAX: usize = 16;
/// Windows that are remembered; then all is halved. An hour's.
const WINDOWS_MAX: u64 = 360;
/// What the window before counts for, of as many windows as there are: one in so many.
const LAST_SHARE: u64 = 8;
/// Classes that are remembered.
const CLASSES_MAX: usize = 256;
/// The least chance that is worth a stem cell: one window in so many.
const CHANCE_ONE_IN: u64 = 100;

/// Stem cells that one class should have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stems {
    /// The kind of action.
    pub kind: Arc<str>,
    /// Their memory, MB.
    pub memory_mb: u64,
    /// How many.
    pub count: u32,
}

impl Stems {
    /// What of these there is room for: each class has its first before any has a second, as the forecast ranks them.
    #[must_use]
    pub fn within(stems: &[Self], room_mb: u64) -> Vec<Self> {
        let room_mb = if is_planted(Mutant::StemsStay) { u64::MAX } else { room_mb };
        let mut left_mb = room_mb;
        let mut fitting: Vec<_> = stems.iter().map(|stems| Self { count: 0, ..stems.clone() }).collect();
        for round in 1..=stems.iter().map(|stems| stems.count).max().unwrap_or(0) {
            for (wanted, fits) in stems.iter().zip(&mut fitting).filter(|(wanted, _)| wanted.count >= round) {
                if wanted.memory_mb <= left_mb {
                    left_mb -= wanted.memory_mb;
                    fits.count += 1;
                }
            }
        }
        fitting.retain(|fits| fits.count > 0);
        fitting
    }

    /// As many of these as there are beyond those among others.
    #[must_use]
    pub fn without(&self, others: &[Self]) -> Self {
        let is_like = |other: &&Self| (&other.kind, other.memory_mb) == (&self.kind, self.memory_mb);
        let count = others.iter().find(is_like).map_or(0, |other| other.count);
        Self { count: self.count.saturating_sub(count), ..self.clone() }
    }

    /// The memory that they have, MB.
    #[must_use]
    pub fn sum_mb(stems: &[Self]) -> u64 {
        stems.iter().map(|stems| stems.memory_mb * u64::from(stems.count)).sum()
    }
}

/// Cold starts, by kind and memory.
#[derive(Debug, Default)]
pub(super) struct Forecast(BTreeMap<(Arc<str>, u64), Class>);

/// The recent windows of a class.
#[derive(Debug)]
struct Class {
    window: u64,
    /// Cold starts in it so far.
    now: usize,
    /// Cold starts in the one before.
    last: usize,
    /// Windows by their cold starts; the last entry has those with more.
    windows: [u64; STEMS_MAX + 1],
}

impl Forecast {
    /// A call needed a container of that kind and memory to be started.
    pub(super) fn cold_started(&mut self, kind: &str, memory_mb: u64, now_ms: u64) {
        let key = (Arc::<str>::from(kind), memory_mb);
        if !self.0.contains_key(&key) && self.0.len() >= CLASSES_MAX {
            let coldest = self.0.iter().min_by_key(|(_, class)| class.window).map(|(key, _)| key.clone());
            coldest.map(|key| self.0.remove(&key));
        }
        let class = self.0.entry(key).or_insert_with(|| Class::new(now_ms));
        class.advance(now_ms);
        class.now = (class.now + 1).min(STEMS_MAX);
    }

    /// What to hold within so much memory.
    pub(super) fn stems(&mut self, now_ms: u64, budget_mb: u64) -> Vec<Stems> {
        let mut offers = Vec::new();
        for ((kind, memory_mb), class) in &mut self.0 {
            class.advance(now_ms);
            for count in 1..=STEMS_MAX {
                let Some(chance) = class.chance_millionths(count) else { break };
                offers.push((chance / (*memory_mb).max(1), count, Arc::clone(kind), *memory_mb));
            }
        }
        // worth falls with the count, so that a class's first stem cell always comes before its second
        offers.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        let mut left_mb = budget_mb;
        let mut held: BTreeMap<(Arc<str>, u64), u32> = BTreeMap::new();
        for (_, _, kind, memory_mb) in offers {
            if memory_mb <= left_mb {
                left_mb -= memory_mb;
                *held.entry((kind, memory_mb)).or_default() += 1;
            }
        }
        held.into_iter().map(|((kind, memory_mb), count)| Stems { kind, memory_mb, count }).collect()
    }
}

impl Class {
    fn new(now_ms: u64) -> Self {
        Self { window: now_ms / WINDOW_MS, now: 0, last: 0, windows: [0; STEMS_MAX + 1] }
    }

    /// Closes the windows that are over.
    fn advance(&mut self, now_ms: u64) {
        let passed = (now_ms / WINDOW_MS).saturating_sub(self.window);
        if passed == 0 {
            return;
        }
        self.windows[self.now] += 1;
        let quiet = passed - 1;
        let halvings = (quiet / WINDOWS_MAX).min(u64::BITS.into());
        self.windows.iter_mut().for_each(|count| *count = (0..halvings).fold(*count, |count, _| count / 2));
        self.windows[0] += quiet.min(WINDOWS_MAX);
        self.last = if passed == 1 { self.now } else { 0 };
        self.now = 0;
        self.window += passed;
        while self.windows.iter().sum::<u64>() > WINDOWS_MAX {
            self.windows.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// How likely the next window has at least so many cold starts, in millionths; nothing if that is too little.
    fn chance_millionths(&self, count: usize) -> Option<u64> {
        let all: u64 = self.windows.iter().sum::<u64>().max(1);
        let last = if self.last.max(self.now) >= count { all.div_ceil(LAST_SHARE) } else { 0 };
        let hits = self.windows[count..].iter().sum::<u64>() + last;
        (hits * CHANCE_ONE_IN >= all).then(|| hits * 1_000_000 / (all + all.div_ceil(LAST_SHARE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_024;

    fn stems(forecast: &mut Forecast, now_ms: u64, budget_mb: u64) -> Vec<(String, u64, u32)> {
        let stems = forecast.stems(now_ms, budget_mb).into_iter();
        stems.map(|stems| (stems.kind.to_string(), stems.memory_mb, stems.count)).collect()
    }

    #[test]
    fn where_there_is_little_room_each_class_has_one_before_any_has_two() {
        let wanted = |kind: &str, memory_mb, count| Stems { kind: kind.into(), memory_mb, count };
        let all = [wanted("java:21", 1_024, 1), wanted("nodejs:20", 256, 3), wanted("python:3", 128, 2)];
        let within = |room_mb| Stems::within(&all, room_mb);
        assert_eq!(within(2_048), all);
        assert_eq!(
            within(1_024 + 256 + 128 + 300),
            [all[0].clone(), wanted("nodejs:20", 256, 2), wanted("python:3", 128, 1)]
        );
        assert_eq!(within(600), [wanted("nodejs:20", 256, 1), wanted("python:3", 128, 2)]);
        assert_eq!((within(100), Stems::sum_mb(&all)), (Vec::new(), 2_048));
    }

    /// `count` cold starts in every `nth` window, for an hour.
    fn feed(forecast: &mut Forecast, kind: &str, memory_mb: u64, nth: usize, count: usize) {
        for window in (0..360).step_by(nth) {
            (0..count).for_each(|_| forecast.cold_started(kind, memory_mb, window * WINDOW_MS));
        }
    }

    #[test]
    fn a_class_has_as_many_as_its_windows_need() {
        let mut forecast = Forecast::default();
        assert_eq!(stems(&mut forecast, 0, GB), []);
        feed(&mut forecast, "nodejs:20", 256, 1, 3);
        assert_eq!(stems(&mut forecast, 3_600_000, 10 * GB), [("nodejs:20".into(), 256, 3)]);
    }

    #[test]
    fn the_budget_goes_to_what_is_worth_most_for_its_memory() {
        let mut forecast = Forecast::default();
        feed(&mut forecast, "nodejs:20", 256, 1, 1);
        feed(&mut forecast, "python:3", 512, 1, 1);
        feed(&mut forecast, "java:8", 128, 5, 1);
        let held = |forecast: &mut _, budget_mb| {
            stems(forecast, 3_600_000, budget_mb).into_iter().map(|(kind, ..)| kind).collect::<Vec<_>>()
        };
        assert_eq!(held(&mut forecast, 1_024), ["java:8", "nodejs:20", "python:3"]);
        assert_eq!(held(&mut forecast, 600), ["java:8", "nodejs:20"]);
        assert_eq!(held(&mut forecast, 100), [] as [&str; 0]);
    }

    #[test]
    fn a_burst_is_expected_to_go_on_for_a_moment() {
        let mut forecast = Forecast::default();
        feed(&mut forecast, "nodejs:20", 256, 2, 1);
        (0..5).for_each(|_| forecast.cold_started("nodejs:20", 256, 3_600_000));
        assert_eq!(stems(&mut forecast, 3_610_000, 10 * GB)[0].2, 5);
        assert_eq!(stems(&mut forecast, 3_900_000, 10 * GB)[0].2, 1);
    }

    #[test]
    fn what_is_not_called_any_more_has_none_after_some_hours() {
        let mut forecast = Forecast::default();
        feed(&mut forecast, "nodejs:20", 256, 1, 3);
        assert_eq!(stems(&mut forecast, 8 * 3_600_000, 10 * GB), []);
    }
}
