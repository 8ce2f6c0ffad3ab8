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
    levels: Vec<Window>,
    /// What changes when: windows that are over begin and end.
    changes: Vec<(u64, Change)>,
    cold_start_ms: Option<u64>,
}

/// When the container at a level is to be there.
#[derive(Clone, Copy, Debug)]
struct Window {
    from_ms: u64,
    /// When the level was left last.
    left_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Begins,
    Ends,
}

impl Foresight {
    /// The next call in the order of arrival. Says whether a container has to be started for it.
    pub fn call(&mut self, call: Call) -> bool {
        self.pass(call.arrival_ms);
        self.cold_start_ms.get_or_insert(call.cold_start_ms);
        let level = self.ends_ms.len();
        self.ends_ms.push(Reverse(call.arrival_ms.saturating_add(call.duration_ms)));
        let ahead_ms = call.cold_start_ms.saturating_add(AHEAD_MS);
        let window = Window { from_ms: call.arrival_ms.saturating_sub(ahead_ms), left_ms: call.arrival_ms };
        let Some(before) = self.levels.get_mut(level) else {
            self.levels.push(window);
            return true;
        };
        let pause_ms = call.arrival_ms - before.left_ms;
        if pause_ms <= HOLD_MS.max(ahead_ms + HEARD_MS) {
            return false;
        }
        let over = std::mem::replace(before, window);
        self.close(over);
        true
    }

    /// How long the start takes that is made for the first call, if there is one.
    #[must_use]
    pub fn cold_start_ms(&self) -> Option<u64> {
        self.cold_start_ms
    }

    /// What is to be there, in the order of time; nothing before the first step.
    pub(super) fn into_steps(mut self) -> Vec<Step> {
        self.pass(u64::MAX);
        std::mem::take(&mut self.levels).into_iter().for_each(|window| self.close(window));
        self.changes.sort_unstable();
        let (mut steps, mut containers) = (Vec::<Step>::new(), 0);
        for together in self.changes.chunk_by(|(one_ms, _), (other_ms, _)| one_ms == other_ms) {
            let began = together.iter().filter(|(_, change)| *change == Change::Begins).count();
            containers = containers + began - (together.len() - began);
            if steps.last().map_or(0, |step| step.containers) != containers {
                steps.push(Step { at_ms: together[0].0, containers });
            }
        }
        steps
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

    fn close(&mut self, window: Window) {
        self.changes.push((window.from_ms, Change::Begins));
        self.changes.push((window.left_ms.saturating_add(HEARD_MS), Change::Ends));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps for calls that arrive and end then, with starts of 400 ms.
    fn steps(calls_ms: &[(u64, u64)]) -> Vec<(u64, usize)> {
        let mut foresight = Foresight::default();
        for &(arrival_ms, end_ms) in calls_ms {
            foresight.call(Call { arrival_ms, duration_ms: end_ms - arrival_ms, cold_start_ms: 400 });
        }
        foresight.into_steps().into_iter().map(|step| (step.at_ms, step.containers)).collect()
    }

    #[test]
    fn a_container_is_there_from_just_before_a_call_until_its_end_is_heard_of() {
        assert_eq!(steps(&[(60_000, 62_000)]), [(58_600, 1), (63_100, 0)]);
    }

    #[test]
    fn a_pause_is_held_if_it_is_shorter_than_what_a_start_costs() {
        assert_eq!(steps(&[(60_000, 62_000), (122_000, 122_500)]), [(58_600, 1), (123_600, 0)]);
        let anew = [(58_600, 1), (63_100, 0), (120_601, 1), (123_601, 0)];
        assert_eq!(steps(&[(60_000, 62_000), (122_001, 122_501)]), anew);
    }

    #[test]
    fn one_container_is_enough_for_calls_that_do_not_overlap() {
        let calls_ms: Vec<_> = (0..1_000).map(|call| (5_000 + call * 20, 5_000 + call * 20 + 20)).collect();
        assert_eq!(steps(&calls_ms), [(3_600, 1), (26_100, 0)]);
    }

    #[test]
    fn a_burst_needs_as_many_as_are_in_flight_and_each_as_long_as_its_level_is_reached() {
        let burst = [(60_000, 70_000), (60_000, 65_000), (61_000, 62_000)];
        let needed = [(58_600, 2), (59_600, 3), (63_100, 2), (66_100, 1), (71_100, 0)];
        assert_eq!(steps(&burst), needed);
    }

    #[test]
    fn what_is_needed_at_the_beginning_is_there_from_the_beginning() {
        assert_eq!(steps(&[(100, 200)]), [(0, 1), (1_300, 0)]);
    }

    #[test]
    fn starts_are_told_and_calls_that_find_a_container_are_not() {
        let mut foresight = Foresight::default();
        let call = |arrival_ms| Call { arrival_ms, duration_ms: 1_000, cold_start_ms: 400 };
        let starts = [0, 500, 10_000, 10_500, 90_000].map(|at_ms| foresight.call(call(at_ms)));
        assert_eq!(starts, [true, true, false, false, true]);
    }
}
