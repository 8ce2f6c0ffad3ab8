//! The life of an asynchronous call (ASYNC-1).
//!
//! A call is accepted when it is stored: from then on it ends in exactly one final state. A dispatcher leases it, notes that it is
//! about to be sent, sends it, and ends it, or puts it back, under its hold on it. When a dispatcher is lost, what was not sent goes
//! back into the line; what was sent is adopted by a recoverer, which finds out how it ended, or decides that nobody knows.
//!
//! The store's statements mirror [`Call::take_in`]: each names the state, and the hold, that it leaves. An event that does
//! not fit the state is late or doubled and changes nothing.

use super::mutant::{Mutant, is_planted};
use super::said::CallState;

/// Which dispatcher holds a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// A dispatcher's lease on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose.
    pub owner: Owner,
    /// It lapses after this time unless it is renewed, epoch milliseconds.
    pub until_ms: u64,
}

/// What a dispatcher names when it says something of a call that it leased. The number tells its leases of the same call apart, so that
/// an answer to an earlier one, however late, changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Who.
    pub owner: Owner,
    /// [`Call::leases`] as it was leased.
    pub number: u32,
}

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for a dispatcher; it was not sent.
    Accepted {
        /// Not to be leased earlier, epoch milliseconds.
        due_ms: u64,
    },
    /// A dispatcher holds it; this attempt was not sent.
    Leased(Lease),
    /// It is about to be sent, or was.
    Running(Lease),
    /// An attempt failed; it waits for the next.
    Retry {
        /// Not to be leased earlier, epoch milliseconds.
        due_ms: u64,
    },
    /// It is over.
    Final(Final),
}

/// How a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Final {
    /// An attempt ended, and its answer, good or bad, is the call's.
    Done,
    /// Given up: attempts used up, lost, or it could not be started.
    Dead,
    /// Cancelled before or while it ran.
    Cancelled,
    /// Too old to be started, or started again.
    Expired,
}

impl State {
    /// Its name in lists, metrics and errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        CallState::from(self).name()
    }
}

impl Final {
    /// Its name in lists, metrics and errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where it is.
    pub state: State,
    /// How often it was leased or adopted.
    pub leases: u32,
    /// How often it was, or may have been, sent.
    pub attempts: u32,
    /// Someone asked for its cancellation: it is not sent any more.
    pub cancel_asked: bool,
}

/// What happened to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A dispatcher asked for calls that are due.
    Leased {
        /// When, epoch milliseconds.
        now_ms: u64,
        /// What it gets.
        lease: Lease,
    },
    /// The owner extended its lease.
    Renewed {
        /// Who.
        hold: Hold,
        /// Until when, epoch milliseconds.
        until_ms: u64,
    },
    /// The owner is about to send it to a container.
    SendingRun(Hold),
    /// The owner puts it back: no container took it, so it did not start.
    Released {
        /// Who.
        hold: Hold,
        /// Not to be leased again earlier, epoch milliseconds.
        due_ms: u64,
    },
    /// The attempt failed, and another is to follow.
    Retried {
        /// Who.
        hold: Hold,
        /// Not to be leased again earlier, epoch milliseconds.
        due_ms: u64,
    },
    /// The owner ended it; its record is spooled.
    Ended {
        /// Who.
        hold: Hold,
        /// How.
        end: Final,
    },
    /// Someone wants it cancelled.
    CancelAsked,
    /// Someone wants it tried now.
    Hastened,
    /// Time passed.
    LeaseLapsed {
        /// To when, epoch milliseconds.
        now_ms: u64,
    },
    /// The owner is dead.
    OwnerLost(Owner),
    /// A recoverer takes over what a dead or silent owner was running, to find out how it ended.
    Adopted {
        /// Whose it was.
        lost: Owner,
        /// What the recoverer gets.
        lease: Lease,
    },
    /// No proxy that could have got the call under that lease has noted that it was sent, nor will any more.
    NeverSent {
        /// [`Call::leases`] then.
        number: u32,
    },
    /// A record of an attempt is in the spool or in the store, and it is not followed by another attempt.
    RecordFound {
        /// Which attempt it is of, from 1.
        attempt: u32,
        /// What the record makes of the call.
        end: Final,
    },
}

/// What an event makes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in another state, or something else of it changed.
    Changed,
    /// The event was late or doubled, or says nothing new.
    Unchanged,
    /// It may have run and nobody knows how it ended: adopt it and look into the spools. Without a record and without a note that
    /// it was sent, tell [`Event::NeverSent`]; else take the verdict over the record, or over [`super::Failure::Lost`].
    Unresolved,
}

impl Call {
    /// A call that was just stored.
    #[must_use]
    pub fn accepted(due_ms: u64) -> Self {
        Self { state: State::Accepted { due_ms }, leases: 0, attempts: 0, cancel_asked: false }
    }

    /// Takes in an event.
    pub fn take_in(&mut self, event: Event) -> Outcome {
        let before = *self;
        match self.state {
            State::Accepted { due_ms } | State::Retry { due_ms } => self.while_waiting(due_ms, event),
            State::Leased(lease) => self.while_leased(lease, event),
            State::Running(lease) if is_lost(lease, event) && is_planted(Mutant::LapsedIsUnsent) => {
                self.unsend(0);
            }
            State::Running(lease) if is_lost(lease, event) => return Outcome::Unresolved,
            State::Running(lease) => self.while_running(lease, event),
            State::Final(_) if is_planted(Mutant::OverIsPutBack) => self.put_back_again(event),
            State::Final(_) => {}
        }
        if *self == before { Outcome::Unchanged } else { Outcome::Changed }
    }

    fn while_waiting(&mut self, due_ms: u64, event: Event) {
        match event {
            Event::Leased { now_ms, lease } if due_ms <= now_ms => {
                self.leases = self.leases.saturating_add(1);
                self.state = State::Leased(lease);
            }
            Event::CancelAsked => {
                self.cancel_asked = true;
                self.wait_until(0);
            }
            Event::Hastened => self.wait_until(0),
            event => self.if_recorded(event),
        }
    }

    fn while_leased(&mut self, lease: Lease, event: Event) {
        match event {
            Event::Renewed { hold, until_ms } if self.is_held(lease, hold) => {
                self.state = State::Leased(Lease { until_ms, ..lease });
            }
            // Who asked for the cancellation was told that it will not be sent any more.
            Event::SendingRun(hold)
                if self.is_held(lease, hold)
                    && (!self.cancel_asked || is_planted(Mutant::CancelledIsSent)) =>
            {
                self.attempts = self.attempts.saturating_add(1);
                self.state = State::Running(lease);
            }
            Event::Released { hold, due_ms } if self.is_held(lease, hold) => self.wait_until(due_ms),
            // Nothing was sent, so that there is no answer.
            Event::Ended { hold, end } if self.is_held(lease, hold) && end != Final::Done => self.end(end),
            Event::NeverSent { number } if number == self.leases => self.wait_until(0),
            Event::CancelAsked => self.cancel_asked = true,
            event if is_lost(lease, event) && !is_planted(Mutant::LapsedStaysLeased) => self.wait_until(0),
            event => self.if_recorded(event),
        }
    }

    fn while_running(&mut self, lease: Lease, event: Event) {
        match event {
            Event::Renewed { hold, until_ms } if self.is_held(lease, hold) => {
                self.state = State::Running(Lease { until_ms, ..lease });
            }
            // Its owner alone knows that no container took it.
            Event::Released { hold, due_ms } if self.is_held(lease, hold) => self.unsend(due_ms),
            Event::Retried { hold, due_ms }
                if self.is_held(lease, hold) && is_planted(Mutant::UncountedRetry) =>
            {
                self.unsend(due_ms);
            }
            Event::Retried { hold, due_ms } if self.is_held(lease, hold) => self.wait_until(due_ms),
            // It was started, so that it did not expire.
            Event::Ended { hold, end } if self.is_held(lease, hold) && end != Final::Expired => self.end(end),
            Event::NeverSent { number } if number == self.leases => self.unsend(0),
            Event::Adopted { lost, lease: adopted } if lease.owner == lost => {
                self.leases = self.leases.saturating_add(1);
                self.state = State::Running(adopted);
            }
            Event::CancelAsked => self.cancel_asked = true,
            event => self.if_recorded(event),
        }
    }

    /// A record of the last attempt, or of a later one that a restored queue knows nothing of, says that it ran, whatever else was
    /// noted: it never runs again.
    fn if_recorded(&mut self, event: Event) {
        if let Event::RecordFound { attempt, end } = event
            && attempt >= self.attempts
        {
            self.attempts = attempt;
            self.state = State::Final(end);
        }
    }

    fn is_held(&self, lease: Lease, hold: Hold) -> bool {
        lease.owner == hold.owner && (self.leases == hold.number || is_planted(Mutant::HoldWithoutNumber))
    }

    /// What is cancelled is not kept waiting: a dispatcher is to end it.
    fn wait_until(&mut self, due_ms: u64) {
        let due_ms = if self.cancel_asked { 0 } else { due_ms };
        self.state = if self.attempts == 0 { State::Accepted { due_ms } } else { State::Retry { due_ms } };
    }

    fn unsend(&mut self, due_ms: u64) {
        self.attempts = self.attempts.saturating_sub(1);
        self.wait_until(due_ms);
    }

    fn put_back_again(&mut self, event: Event) {
        if let Event::Released { due_ms, .. } | Event::Retried { due_ms, .. } = event {
            self.wait_until(due_ms);
        }
    }

    fn end(&mut self, end: Final) {
        if end != Final::Cancelled || self.cancel_asked {
            self.state = State::Final(end);
        }
    }
}

fn is_lost(held: Lease, event: Event) -> bool {
    match event {
        Event::OwnerLost(owner) => held.owner == owner,
        Event::LeaseLapsed { now_ms } => held.until_ms < now_ms,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asynchronous::Counters;
    use proptest::prelude::*;

    const ME: Owner = Owner(1);
    const OTHER: Owner = Owner(2);
    const LEASE: Lease = Lease { owner: ME, until_ms: 100 };
    const LEASED: Event = Event::Leased { now_ms: 0, lease: LEASE };
    const HOLD: Hold = Hold { owner: ME, number: 1 };
    const SENDING: Event = Event::SendingRun(HOLD);
    const DONE: Event = Event::Ended { hold: HOLD, end: Final::Done };

    fn after(events: &[Event]) -> (Call, Outcome) {
        let mut call = Call::accepted(0);
        let outcomes: Vec<_> = events.iter().map(|&event| call.take_in(event)).collect();
        (call, outcomes.last().copied().unwrap_or(Outcome::Unchanged))
    }

    fn state_after(events: &[Event]) -> State {
        after(events).0.state
    }

    /// The events change a call, and one more does not.
    fn refuses(events: &[Event], refused: Event) {
        let before = after(events).0;
        assert_eq!(after(&[events, &[refused]].concat()), (before, Outcome::Unchanged), "{refused:?}");
    }

    #[test]
    fn a_call_is_leased_sent_and_done() {
        let call = after(&[LEASED, SENDING, DONE]).0;
        let state = State::Final(Final::Done);
        assert_eq!(call, Call { state, leases: 1, attempts: 1, cancel_asked: false });
    }

    #[test]
    fn a_call_is_not_leased_before_its_time_nor_twice() {
        let mut call = Call::accepted(50);
        assert_eq!(call.take_in(Event::Leased { now_ms: 49, lease: LEASE }), Outcome::Unchanged);
        assert_eq!(call.take_in(Event::Leased { now_ms: 50, lease: LEASE }), Outcome::Changed);
        let other = Lease { owner: OTHER, until_ms: 900 };
        assert_eq!(call.take_in(Event::Leased { now_ms: 60, lease: other }), Outcome::Unchanged);
        assert_eq!(call.state, State::Leased(LEASE));
    }

    /// Everything that only the holder may say.
    fn sayings(hold: Hold) -> [Event; 6] {
        [
            Event::Renewed { hold, until_ms: 900 },
            Event::SendingRun(hold),
            Event::Released { hold, due_ms: 0 },
            Event::Retried { hold, due_ms: 0 },
            Event::Ended { hold, end: Final::Done },
            Event::Ended { hold, end: Final::Dead },
        ]
    }

    #[test]
    fn only_the_owner_renews_sends_puts_back_and_ends() {
        for saying in sayings(Hold { owner: OTHER, ..HOLD }) {
            refuses(&[LEASED], saying);
            refuses(&[LEASED, SENDING], saying);
        }
        refuses(&[LEASED], Event::OwnerLost(OTHER));
    }

    #[test]
    fn what_the_owner_says_of_an_earlier_lease_changes_nothing() {
        let again = [LEASED, Event::LeaseLapsed { now_ms: 101 }, LEASED];
        let sent_again = [&again[..], &[Event::SendingRun(Hold { number: 2, ..HOLD })]].concat();
        for saying in sayings(HOLD) {
            refuses(&again, saying);
            refuses(&sent_again, saying);
        }
        refuses(&sent_again, Event::NeverSent { number: 1 });
    }

    #[test]
    fn a_call_that_was_not_sent_goes_back_when_its_owner_is_lost_or_silent() {
        for lost in [Event::OwnerLost(ME), Event::LeaseLapsed { now_ms: 101 }] {
            let call = after(&[LEASED, lost]).0;
            assert_eq!((call.state, call.attempts), (State::Accepted { due_ms: 0 }, 0));
        }
        refuses(&[LEASED], Event::LeaseLapsed { now_ms: 100 });
    }

    #[test]
    fn a_call_that_was_sent_and_whose_owner_is_lost_is_unresolved_until_it_is_adopted() {
        for lost in [Event::OwnerLost(ME), Event::LeaseLapsed { now_ms: 101 }] {
            let (call, outcome) = after(&[LEASED, SENDING, lost]);
            assert_eq!((call.state, outcome), (State::Running(LEASE), Outcome::Unresolved));
        }
    }

    #[test]
    fn of_two_recoverers_and_a_slow_owner_the_one_that_adopted_decides() {
        let adopted = Event::Adopted { lost: ME, lease: Lease { owner: OTHER, until_ms: 300 } };
        let events = [LEASED, SENDING, Event::OwnerLost(ME), adopted];
        refuses(&events, DONE);
        refuses(&events, Event::Adopted { lost: ME, lease: Lease { owner: Owner(3), until_ms: 300 } });
        let recoverer = Hold { owner: OTHER, number: 2 };
        let dead = Event::Ended { hold: recoverer, end: Final::Dead };
        assert_eq!(state_after(&[&events[..], &[dead]].concat()), State::Final(Final::Dead));
        let retried = Event::Retried { hold: recoverer, due_ms: 7 };
        assert_eq!(state_after(&[&events[..], &[retried]].concat()), State::Retry { due_ms: 7 });
    }

    #[test]
    fn a_call_that_was_about_to_be_sent_and_provably_was_not_goes_back_without_an_attempt() {
        let call = after(&[LEASED, SENDING, Event::OwnerLost(ME), Event::NeverSent { number: 1 }]).0;
        assert_eq!((call.state, call.attempts), (State::Accepted { due_ms: 0 }, 0));
    }

    #[test]
    fn a_call_that_no_container_took_goes_back_after_a_while_without_an_attempt() {
        let call = after(&[LEASED, SENDING, Event::Released { hold: HOLD, due_ms: 70 }]).0;
        assert_eq!((call.state, call.attempts), (State::Accepted { due_ms: 70 }, 0));
    }

    #[test]
    fn a_failed_attempt_counts_and_the_next_one_waits_for_its_time() {
        let call = after(&[LEASED, SENDING, Event::Retried { hold: HOLD, due_ms: 70 }]).0;
        assert_eq!((call.state, call.attempts), (State::Retry { due_ms: 70 }, 1));
    }

    #[test]
    fn a_call_that_waits_for_its_time_is_due_when_it_is_hastened() {
        let failed = [LEASED, SENDING, Event::Retried { hold: HOLD, due_ms: 70 }];
        assert_eq!(state_after(&[&failed[..], &[Event::Hastened]].concat()), State::Retry { due_ms: 0 });
        refuses(&[LEASED], Event::Hastened);
    }

    #[test]
    fn a_restored_call_that_has_a_record_is_not_run() {
        let found = Event::RecordFound { attempt: 1, end: Final::Done };
        assert_eq!(state_after(&[found, LEASED]), State::Final(Final::Done));
    }

    #[test]
    fn a_record_of_an_earlier_attempt_says_nothing_of_the_present_one() {
        let again = [LEASED, SENDING, Event::Retried { hold: HOLD, due_ms: 0 }, LEASED];
        let sent = [&again[..], &[Event::SendingRun(Hold { number: 2, ..HOLD })]].concat();
        refuses(&sent, Event::RecordFound { attempt: 1, end: Final::Done });
    }

    #[test]
    fn a_cancelled_call_that_waits_is_due_at_once_and_never_sent() {
        let mut call = Call::accepted(5_000);
        assert_eq!(call.take_in(Event::CancelAsked), Outcome::Changed);
        assert_eq!(call.take_in(LEASED), Outcome::Changed);
        assert_eq!(call.take_in(SENDING), Outcome::Unchanged);
        call.take_in(Event::Ended { hold: HOLD, end: Final::Cancelled });
        assert_eq!((call.state, call.attempts), (State::Final(Final::Cancelled), 0));
    }

    #[test]
    fn a_cancelled_call_that_runs_may_still_be_done_but_is_not_sent_again() {
        let asked = [LEASED, SENDING, Event::CancelAsked];
        let again = [&asked[..], &[Event::Retried { hold: HOLD, due_ms: 70 }, LEASED]].concat();
        refuses(&again, Event::SendingRun(Hold { number: 2, ..HOLD }));
        for end in [Final::Done, Final::Cancelled] {
            let ended = Event::Ended { hold: HOLD, end };
            assert_eq!(state_after(&[&asked[..], &[ended]].concat()), State::Final(end));
        }
    }

    #[test]
    fn a_call_ends_only_in_what_it_can_have_come_to() {
        refuses(&[LEASED], DONE);
        refuses(&[LEASED], Event::Ended { hold: HOLD, end: Final::Cancelled });
        refuses(&[LEASED, SENDING], Event::Ended { hold: HOLD, end: Final::Expired });
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let owner = || prop_oneof![Just(ME), Just(OTHER)];
        let lease = || (owner(), 0_u64..50).prop_map(|(owner, until_ms)| Lease { owner, until_ms });
        let hold = || (owner(), 0_u32..5).prop_map(|(owner, number)| Hold { owner, number });
        let end = || {
            prop_oneof![Just(Final::Done), Just(Final::Dead), Just(Final::Cancelled), Just(Final::Expired)]
        };
        prop_oneof![
            4 => (0_u64..50, lease()).prop_map(|(now_ms, lease)| Event::Leased { now_ms, lease }),
            1 => (hold(), 0_u64..50).prop_map(|(hold, until_ms)| Event::Renewed { hold, until_ms }),
            4 => hold().prop_map(Event::SendingRun),
            2 => (hold(), 0_u64..50).prop_map(|(hold, due_ms)| Event::Released { hold, due_ms }),
            2 => (hold(), 0_u64..50).prop_map(|(hold, due_ms)| Event::Retried { hold, due_ms }),
            1 => (hold(), end()).prop_map(|(hold, end)| Event::Ended { hold, end }),
            1 => Just(Event::CancelAsked),
            1 => Just(Event::Hastened),
            1 => (0_u64..50).prop_map(|now_ms| Event::LeaseLapsed { now_ms }),
            1 => owner().prop_map(Event::OwnerLost),
            1 => (owner(), lease()).prop_map(|(lost, lease)| Event::Adopted { lost, lease }),
            1 => (0_u32..5).prop_map(|number| Event::NeverSent { number }),
            1 => (0_u32..3, end()).prop_map(|(attempt, end)| Event::RecordFound { attempt, end }),
        ]
    }

    fn is_waiting(state: State) -> bool {
        matches!(state, State::Accepted { .. } | State::Retry { .. })
    }

    proptest! {
        #[test]
        fn the_counts_add_up_and_every_send_is_counted(
            events in prop::collection::vec((0_usize..3, any_event()), 0..200),
        ) {
            let mut calls = [Call::accepted(0), Call::accepted(10), Call::accepted(20)];
            let mut counters = Counters::default();
            calls.iter().for_each(|_| counters.accept());
            for (which, event) in events {
                let before = calls[which];
                let outcome = calls[which].take_in(event);
                let after = calls[which];
                counters.moved(before.state, after.state);
                prop_assert_eq!(counters.drift(), 0, "ASYNC-1");
                prop_assert_eq!(outcome == Outcome::Changed, before != after);
                prop_assert!(!matches!(before.state, State::Final(_)) || after == before, "a second end");
                let was_sent = !matches!(before.state, State::Running(_)) && matches!(after.state, State::Running(_));
                prop_assert!(!was_sent || !before.cancel_asked, "sent after it was cancelled");
                prop_assert!(!was_sent || after.attempts == before.attempts + 1);
                let went_back = matches!(before.state, State::Running(_)) && is_waiting(after.state);
                let is_uncounted = after.attempts + 1 == before.attempts;
                let proves = matches!(event, Event::Released { .. } | Event::NeverSent { .. });
                prop_assert!(!went_back || is_uncounted == proves, "{:?} {:?}", before, event);
                prop_assert!(before.leases <= after.leases);
            }
        }
    }
}
