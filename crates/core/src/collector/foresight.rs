//! What a load needs, known ahead: how many containers of an action are to be there at any time.
//!
//! If no call waits, as many containers are in use as calls are in flight. The container at a level is needed when so many others
//! are in use: from then on until the last call that needs it is over, and over the pauses in between that are cheaper to hold
//! than to start anew. It takes the calls one by one, and keeps what is in flight and the windows of each level, no calls.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A start costs as much as holding its memory for that long: a shorter pause is held. Half of it makes for a third less idle memory
/// and half as many starts again.
const HOLD_MS: u64 = 60_000;
/// Steps of the pool, messages and other starts take their time: containers are ready so much ahead of their call.
pub(super) const AHEAD_MS: u64 = 1_000;
/// The pool hears that a container is idle within that time; before, it might let go of one that is in use.
const HEARD_MS: u64 = 1_100;

/// Starts that the pool makes ahead of calls at once, less than it may (half of `starts_max`).
const AT_ONCE_MAX: usize = 12;

/// A call that will come. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it arrives.
    pub arrival_ms: u64,
    /// How long it runs.
    pub duration_ms: u64,
    /// How long a start takes that is made for it.
    pub cold_start_ms: u64,
}

/// From then on so many containers are to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at_ms: u64,
    pub(super) containers: usize,
}

/// What the calls of an action need, as they are told.
#[derive(Debug, Default)]
pub struct Foresight {
    /// When the calls end that are in flight.
    ends_ms: BinaryHeap<Reverse<u64>>,
    /// The latest window of each level.
    levels: Vec<Window>,
    /// Those before.
    over: Vec<Window>,
    cold_start_ms: Option<u64>,
}

/// When the container at a level is to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// How long its start takes.
    start_ms: u64,
    ready_ms: u64,
    /// When the level was left last.
    left_ms: u64,
}

impl Window {
    fn begin_ms(&self) -> u64 {
        self.ready_ms.saturating_sub(self.start_ms)
    }
}

impl Foresight {
    /// The next call in the order of arrival. Says whether a container has to be started for it.
    pub fn call(&mut self, call: Call) -> bool {
        self.pass(call.arrival_ms);
        self.cold_start_ms.get_or_insert(call.cold_start_ms);
        let level = self.ends_ms.len();
        self.ends_ms.push(Reverse(call.arrival_ms.saturating_add(call.duration_ms)));
        let ready_ms = call.arrival_ms.saturating_sub(AHEAD_MS);
        let window = Window { start_ms: call.cold_start_ms, ready_ms, left_ms: call.arrival_ms };
        let Some(before) = self.levels.get_mut(level) else {
            self.levels.push(window);
            return true;
        };
        let pause_ms = call.arrival_ms - before.left_ms;
        if pause_ms <= HOLD_MS.max(call.cold_start_ms + AHEAD_MS + HEARD_MS) {
            return false;
        }
        self.over.push(std::mem::replace(before, window));
        true
    }

    /// How long the start takes that is made for the first call, if there is one.
    #[must_use]
    pub fn cold_start_ms(&self) -> Option<u64> {
        self.cold_start_ms
    }

    /// When its containers are to be there.
    pub(super) fn into_windows(mut self) -> Vec<Window> {
        self.pass(u64::MAX);
        self.over.append(&mut self.levels);
        self.over
    }

    /// Calls end up to then.
    fn pass(&mut self, until_ms: u64) {
        while let Some(&Reverse(end_ms)) = self.ends_ms.peek()
            && end_ms <= until_ms
        {
            self.ends_ms.pop();
            self.levels[self.ends_ms.len()].left_ms = end_ms;
        }
    }
}

/// Begins starts earlier that would be more than [`AT_ONCE_MAX`] at once, each as late as it can be: from the last to the first, each
/// is over when the pool has to begin one that comes later.
pub(super) fn stagger<'a>(windows: impl Iterator<Item = &'a mut Window>) {
    let mut windows: Vec<_> = windows.collect();
    windows.sort_by_key(|window| Reverse(window.ready_ms));
    let mut free_until_ms = BinaryHeap::from([u64::MAX; AT_ONCE_MAX]);
    for window in windows {
        let latest_ms = free_until_ms.pop().unwrap_or(u64::MAX);
        window.ready_ms = window.ready_ms.min(latest_ms);
        free_until_ms.push(window.begin_ms());
    }
}

/// What is to be there, in the order of time; nothing before the first step.
pub(super) fn steps(windows: &[Window]) -> Vec<Step> {
    let begins = windows.iter().map(|window| (window.begin_ms(), true));
    let ends = windows.iter().map(|window| (window.left_ms.saturating_add(HEARD_MS), false));
    let mut changes: Vec<_> = begins.chain(ends).collect();
    changes.sort_unstable();
    let (mut steps, mut containers) = (Vec::<Step>::new(), 0);
    for together in changes.chunk_by(|(one_ms, _), (other_ms, _)| one_ms == other_ms) {
        let began = together.iter().filter(|(_, begins)| *begins).count();
        containers = containers + began - (together.len() - began);
        if steps.last().map_or(0, |step| step.containers) != containers {
            steps.push(Step { at_ms: together[0].0, containers });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps for calls that arrive and end then, with starts of 400 ms.
    fn needed(calls_ms: &[(u64, u64)]) -> Vec<(u64, usize)> {
        let mut foresight = Foresight::default();
        for &(arrival_ms, end_ms) in calls_ms {
            foresight.call(Call { arrival_ms, duration_ms: end_ms - arrival_ms, cold_start_ms: 400 });
        }
        let mut windows = foresight.into_windows();
        stagger(windows.iter_mut());
        steps(&windows).into_iter().map(|step| (step.at_ms, step.containers)).collect()
    }

    #[test]
    fn a_container_is_there_from_just_before_a_call_until_its_end_is_heard_of() {
        assert_eq!(needed(&[(60_000, 62_000)]), [(58_600, 1), (63_100, 0)]);
    }

    #[test]
    fn a_pause_is_held_if_it_is_shorter_than_what_a_start_costs() {
        assert_eq!(needed(&[(60_000, 62_000), (122_000, 122_500)]), [(58_600, 1), (123_600, 0)]);
        let anew = [(58_600, 1), (63_100, 0), (120_601, 1), (123_601, 0)];
        assert_eq!(needed(&[(60_000, 62_000), (122_001, 122_501)]), anew);
    }

    #[test]
    fn one_container_is_enough_for_calls_that_do_not_overlap() {
        let calls_ms: Vec<_> = (0..1_000).map(|call| (5_000 + call * 20, 5_000 + call * 20 + 20)).collect();
        assert_eq!(needed(&calls_ms), [(3_600, 1), (26_100, 0)]);
    }

    #[test]
    fn a_burst_needs_as_many_as_are_in_flight_and_each_as_long_as_its_level_is_reached() {
        let burst = [(60_000, 70_000), (60_000, 65_000), (61_000, 62_000)];
        let expected = [(58_600, 2), (59_600, 3), (63_100, 2), (66_100, 1), (71_100, 0)];
        assert_eq!(needed(&burst), expected);
    }

    #[test]
    fn more_than_the_pool_starts_at_once_is_started_earlier() {
        let burst = [(60_000, 61_000); 2 * AT_ONCE_MAX + 1];
        let half = AT_ONCE_MAX;
        let expected = [(57_800, 1), (58_200, half + 1), (58_600, 2 * half + 1), (62_100, 0)];
        assert_eq!(needed(&burst), expected);
    }

    #[test]
    fn what_is_needed_at_the_beginning_is_there_from_the_beginning() {
        assert_eq!(needed(&[(100, 200)]), [(0, 1), (1_300, 0)]);
    }

    #[test]
    fn starts_are_told_and_calls_that_find_a_container_are_not() {
        let mut foresight = Foresight::default();
        let call = |arrival_ms| Call { arrival_ms, duration_ms: 1_000, cold_start_ms: 400 };
        let starts = [0, 500, 10_000, 10_500, 90_000].map(|at_ms| foresight.call(call(at_ms)));
        assert_eq!(starts, [true, true, false, false, true]);
    }
}
