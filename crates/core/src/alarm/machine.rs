//! The machine of one alarm: which due times are fired, and when the next one is.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::schedule::{DeleteAfterFire, Schedule};

/// How long ago a due time may have been to be caught up, milliseconds: long enough for a restart or a move of the platform, short
/// enough that nobody gets yesterday's alarms.
pub const CATCH_UP_MS: u64 = 10 * 60 * 1_000;
/// How many due times are caught up at a time.
pub const CATCH_UP_MAX: usize = 100;

/// An alarm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// When it fires.
    pub schedule: Schedule,
    /// What the trigger is fired with: a JSON object.
    pub payload: Box<RawValue>,
    /// Not before, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// Not after, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_ms: Option<u64>,
    /// How often at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fires_max: Option<u64>,
    /// How often it has fired.
    pub fired: u64,
    /// Whether it is not paused.
    pub active: bool,
    /// When `active` changed, epoch milliseconds.
    pub changed_ms: u64,
    /// Why it is not active, when the platform decided that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The due time that fires next, epoch milliseconds; nothing when there is none any more.
    pub next_ms: Option<u64>,
}

/// What is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The due times to fire, in order, epoch milliseconds.
    pub times_ms: Vec<u64>,
    /// How many due times are not fired, because they are too long ago or too many.
    pub skipped: u64,
}

impl Alarm {
    /// An alarm that begins now, or at its start.
    #[must_use]
    pub fn new(schedule: Schedule, payload: Box<RawValue>, bounds: Bounds, now_ms: u64) -> Self {
        let alarm = Self {
            schedule,
            payload,
            start_ms: bounds.start_ms,
            stop_ms: bounds.stop_ms,
            fires_max: bounds.fires_max,
            fired: 0,
            active: true,
            changed_ms: now_ms,
            reason: None,
            next_ms: None,
        };
        alarm.rescheduled(now_ms)
    }

    /// The same alarm with its next due time after this moment: after its schedule changed, or after a pause.
    #[must_use]
    pub fn rescheduled(mut self, now_ms: u64) -> Self {
        self.next_ms = self.following(now_ms);
        self
    }

    /// What is due now, and the alarm as it is when all of that has fired.
    #[must_use]
    pub fn due(mut self, now_ms: u64) -> (Due, Self) {
        let mut due = Due::default();
        if !self.active {
            return (due, self);
        }
        let oldest = now_ms.saturating_sub(CATCH_UP_MS);
        // A long pause of the platform may have missed very many: those before `oldest` are not walked through one by one.
        if self.next_ms.is_some_and(|next| next < oldest) && !matches!(self.schedule, Schedule::Once { .. }) {
            due.skipped += 1;
            self.next_ms = self.following(oldest.saturating_sub(1));
        }
        while let Some(next) = self.next_ms.filter(|next| *next <= now_ms) {
            if due.times_ms.len() == CATCH_UP_MAX {
                due.skipped += 1;
                self.next_ms = self.following(now_ms);
                break;
            }
            due.times_ms.push(next);
            self.fired += 1;
            self.next_ms = self.following(next);
        }
        (due, self)
    }

    /// Stops or continues it. What was due in a pause does not fire.
    #[must_use]
    pub fn set_active(mut self, active: bool, reason: Option<String>, now_ms: u64) -> Self {
        (self.active, self.reason, self.changed_ms) = (active, reason, now_ms);
        if active { self.rescheduled(now_ms) } else { self }
    }

    /// What goes with an alarm that has fired for the last time.
    #[must_use]
    pub fn deletes(&self) -> DeleteAfterFire {
        match self.schedule {
            Schedule::Once { delete, .. } if self.next_ms.is_none() && self.fired > 0 => delete,
            _ => DeleteAfterFire::False,
        }
    }

    /// When somebody must look at it next, epoch milliseconds: it is due, or has what goes with its last fire.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        match self.schedule {
            Schedule::Once { at_ms, .. } if self.deletes() != DeleteAfterFire::False => Some(at_ms),
            _ => self.next_ms.filter(|_| self.active),
        }
    }

    /// The first due time after a moment within the bounds.
    fn following(&self, after_ms: u64) -> Option<u64> {
        if self.fires_max.is_some_and(|most| self.fired >= most) {
            return None;
        }
        let before_start = self.start_ms.map_or(0, |start| start.saturating_sub(1));
        let next = self.schedule.next_after(after_ms.max(before_start))?;
        self.stop_ms.is_none_or(|stop| next <= stop).then_some(next)
    }
}

/// Between when and when an alarm fires, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Not before, epoch milliseconds.
    pub start_ms: Option<u64>,
    /// Not after, epoch milliseconds.
    pub stop_ms: Option<u64>,
    /// How often at most.
    pub fires_max: Option<u64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::schedule::Cron;
    use super::*;

    const SECOND: u64 = 1_000;
    /// A full hour.
    const NOON: u64 = 1_800_000_000_000;

    fn nothing() -> Box<RawValue> {
        RawValue::from_string("{}".into()).unwrap()
    }

    fn every_second(bounds: Bounds) -> Alarm {
        Alarm::new(Schedule::Cron(Cron::parse("* * * * * *", None).unwrap()), nothing(), bounds, NOON)
    }

    #[test]
    fn nothing_is_due_before_its_time_and_each_time_is_due_once() {
        let alarm = every_second(Bounds::default());
        let (due, alarm) = alarm.due(NOON + SECOND - 1);
        assert_eq!(due, Due::default());
        let (due, alarm) = alarm.due(NOON + SECOND);
        assert_eq!(due.times_ms, [NOON + SECOND]);
        let (due, alarm) = alarm.due(NOON + SECOND);
        assert_eq!(due, Due::default());
        let (due, _) = alarm.due(NOON + 3 * SECOND);
        assert_eq!(due.times_ms, [NOON + 2 * SECOND, NOON + 3 * SECOND]);
    }

    #[test]
    fn what_passed_while_nobody_watched_is_caught_up_within_bounds() {
        let alarm = every_second(Bounds::default());
        let (due, alarm) = alarm.due(NOON + 24 * 60 * 60 * SECOND);
        assert_eq!((due.times_ms.len(), due.skipped), (CATCH_UP_MAX, 2));
        assert!(due.times_ms[0] >= NOON + 24 * 60 * 60 * SECOND - CATCH_UP_MS);
        assert_eq!(alarm.next_ms, Some(NOON + (24 * 60 * 60 + 1) * SECOND), "it goes on from now");
    }

    #[test]
    fn one_that_fires_once_fires_however_late() {
        let once = Schedule::Once { at_ms: NOON + 1, delete: DeleteAfterFire::Rules };
        let alarm = Alarm::new(once, nothing(), Bounds::default(), NOON);
        assert_eq!(alarm.deletes(), DeleteAfterFire::False, "it has not fired");
        let (due, alarm) = alarm.due(NOON + 365 * 24 * 60 * 60 * SECOND);
        assert_eq!((due.times_ms, due.skipped), (vec![NOON + 1], 0));
        assert_eq!((alarm.next_ms, alarm.deletes()), (None, DeleteAfterFire::Rules));
        assert_eq!(alarm.wake_ms(), Some(NOON + 1), "somebody must still delete");
    }

    #[test]
    fn it_fires_from_its_start_to_its_stop_both_included() {
        let bounds = Bounds {
            start_ms: Some(NOON + 10 * SECOND),
            stop_ms: Some(NOON + 12 * SECOND),
            ..Bounds::default()
        };
        let (due, alarm) = every_second(bounds).due(NOON + 60 * SECOND);
        assert_eq!(due.times_ms, [10, 11, 12].map(|second| NOON + second * SECOND));
        assert_eq!(alarm.next_ms, None);
    }

    #[test]
    fn it_fires_no_more_often_than_it_may() {
        let (due, alarm) =
            every_second(Bounds { fires_max: Some(2), ..Bounds::default() }).due(NOON + 9 * SECOND);
        assert_eq!((due.times_ms.len(), alarm.next_ms), (2, None));
    }

    #[test]
    fn what_is_due_in_a_pause_does_not_fire() {
        let paused = every_second(Bounds::default()).set_active(false, None, NOON);
        assert_eq!(paused.wake_ms(), None);
        let (due, paused) = paused.due(NOON + 5 * SECOND);
        assert_eq!(due, Due::default());
        let (due, _) = paused.set_active(true, None, NOON + 5 * SECOND).due(NOON + 6 * SECOND);
        assert_eq!(due.times_ms, [NOON + 6 * SECOND]);
    }

    proptest! {
        /// However often somebody looks, the same due times fire, each once and in order.
        #[test]
        fn looks_at_any_moments_fire_the_same(mut looks in proptest::collection::vec(0_u64..90_000, 0..40)) {
            looks.sort_unstable();
            let end = NOON + 90_000;
            let (all, _) = every_second(Bounds::default()).due(end);
            let mut alarm = every_second(Bounds::default());
            let mut fired = Vec::new();
            for now in looks.into_iter().map(|look| NOON + look).chain([end]) {
                let (due, next) = alarm.due(now);
                fired.extend(due.times_ms);
                alarm = next;
            }
            prop_assert_eq!(fired, all.times_ms);
        }
    }
}
