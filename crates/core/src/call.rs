//! The life of an asynchronous call (ASYNC-1).
//!
//! A call is accepted when it is stored: from then on it is executed, or its record says why not. A dispatcher leases it,
//! notes that it is about to be sent, sends it, and removes it when its record is spooled. When a dispatcher is lost, what
//! was not sent goes back into the line; what was sent is not run again, because its effects may be there: it ends with
//! the record that is found, or else with one that says so (whisk internal error).
//!
//! The store's statements mirror [`Call::take_in`]: each names the state, and the owner, that it leaves. An event that does
//! not fit the state is late or doubled and changes nothing.

/// Which dispatcher holds a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// Where a call is in its life. Times are epoch milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for a dispatcher.
    Accepted {
        /// Not to be leased earlier.
        not_before_ms: u64,
    },
    /// A dispatcher holds it; it was not sent.
    Leased(Lease),
    /// It is about to be sent, or was.
    Running(Lease),
    /// Its record says how it ended.
    Done,
}

/// A dispatcher's hold on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose.
    pub owner: Owner,
    /// It lapses after this time unless it is renewed.
    pub until_ms: u64,
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where it is.
    pub state: State,
    /// How often it was leased.
    pub attempt: u32,
}

/// What happened to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A dispatcher asked for calls that are due.
    Leased {
        /// When.
        now_ms: u64,
        /// The hold that it gets.
        lease: Lease,
    },
    /// The owner extended its lease.
    Renewed(Lease),
    /// The owner is about to send it to a container.
    SendingRun(Owner),
    /// The owner puts it back: no container took it, so it did not start.
    Released {
        /// Who.
        owner: Owner,
        /// Not to be leased again earlier.
        not_before_ms: u64,
    },
    /// Its record is spooled.
    Finished,
    /// Time passed.
    LeaseLapsed {
        /// To when.
        now_ms: u64,
    },
    /// The owner is dead.
    OwnerLost(Owner),
    /// A record of it is in the spool or in the store.
    RecordFound,
    /// The owner is dead, and no proxy that could have got the call has noted that it was sent, nor will any more.
    NeverSent,
}

/// What an event makes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in another state, or its lease was extended.
    Changed,
    /// The event was late or doubled, or says nothing new.
    Unchanged,
    /// It may have run and nobody knows how it ended. Look into the spools: tell [`Event::RecordFound`], or
    /// [`Event::NeverSent`]; else write a record that says so and tell [`Event::Finished`]. Doing so twice is harmless,
    /// because records are idempotent by activation.
    Unresolved,
}

impl Call {
    /// A call that was just stored.
    #[must_use]
    pub fn accepted(not_before_ms: u64) -> Self {
        Self { state: State::Accepted { not_before_ms }, attempt: 0 }
    }

    /// Takes in an event.
    pub fn take_in(&mut self, event: Event) -> Outcome {
        let Some((state, outcome)) = next(self.state, event) else { return Outcome::Unchanged };
        if matches!((self.state, state), (State::Accepted { .. }, State::Leased(_))) {
            self.attempt = self.attempt.saturating_add(1);
        }
        self.state = state;
        outcome
    }
}

fn next(state: State, event: Event) -> Option<(State, Outcome)> {
    use State::{Accepted, Done, Leased, Running};
    let changed = |state| Some((state, Outcome::Changed));
    match (state, event) {
        (Accepted { not_before_ms }, Event::Leased { now_ms, lease }) if not_before_ms <= now_ms => {
            changed(Leased(lease))
        }
        (Leased(held), Event::Renewed(lease)) if held.owner == lease.owner => changed(Leased(lease)),
        (Running(held), Event::Renewed(lease)) if held.owner == lease.owner => changed(Running(lease)),
        (Leased(held), Event::SendingRun(owner)) if held.owner == owner => changed(Running(held)),
        // Also when it was about to be sent: its owner alone knows that no container took it.
        (Leased(held) | Running(held), Event::Released { owner, not_before_ms }) if held.owner == owner => {
            changed(Accepted { not_before_ms })
        }
        (Leased(_) | Running(_), Event::NeverSent) => changed(Accepted { not_before_ms: 0 }),
        (Leased(held), event) if is_lost(held, event) => changed(Accepted { not_before_ms: 0 }),
        (Running(held), event) if is_lost(held, event) => Some((state, Outcome::Unresolved)),
        // A record says that it ran, whatever else was noted: it never runs again.
        (Accepted { .. } | Leased(_) | Running(_), Event::Finished | Event::RecordFound) => changed(Done),
        _ => None,
    }
}

fn is_lost(held: Lease, event: Event) -> bool {
    match event {
        Event::OwnerLost(owner) => held.owner == owner,
        Event::LeaseLapsed { now_ms } => held.until_ms < now_ms,
        _ => false,
    }
}

/// The calls of a queue by state (ASYNC-1: `accepted = waiting + running + done`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All that were ever accepted.
    pub accepted: u64,
    /// Accepted or leased now.
    pub waiting: u64,
    /// About to be sent, or sent, now.
    pub running: u64,
    /// All that were ever done.
    pub done: u64,
}

impl Counters {
    /// A call was stored.
    pub fn accept(&mut self) {
        self.accepted += 1;
        self.waiting += 1;
    }

    /// A call went from one state to another.
    pub fn moved(&mut self, before: State, after: State) {
        *self.of(before) -= 1;
        *self.of(after) += 1;
    }

    /// Whether ASYNC-1 holds.
    #[must_use]
    pub fn add_up(&self) -> bool {
        self.accepted == self.waiting + self.running + self.done
    }

    fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Accepted { .. } | State::Leased(_) => &mut self.waiting,
            State::Running(_) => &mut self.running,
            State::Done => &mut self.done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ME: Owner = Owner(1);
    const OTHER: Owner = Owner(2);
    const LEASE: Lease = Lease { owner: ME, until_ms: 100 };

    fn after(events: &[Event]) -> (Call, Outcome) {
        let mut call = Call::accepted(0);
        let outcomes: Vec<_> = events.iter().map(|&event| call.take_in(event)).collect();
        (call, outcomes.last().copied().unwrap_or(Outcome::Unchanged))
    }

    fn leased(lease: Lease) -> Event {
        Event::Leased { now_ms: 0, lease }
    }

    #[test]
    fn a_call_is_leased_sent_and_done() {
        let (call, _) = after(&[leased(LEASE), Event::SendingRun(ME), Event::Finished]);
        assert_eq!(call, Call { state: State::Done, attempt: 1 });
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

    #[test]
    fn only_the_owner_renews_sends_and_releases() {
        let strangers = [
            Event::Renewed(Lease { owner: OTHER, until_ms: 900 }),
            Event::SendingRun(OTHER),
            Event::Released { owner: OTHER, not_before_ms: 0 },
            Event::OwnerLost(OTHER),
        ];
        for stranger in strangers {
            for before in [&[leased(LEASE)][..], &[leased(LEASE), Event::SendingRun(ME)]] {
                let (call, outcome) = after(&[before, &[stranger]].concat());
                assert_eq!((call, outcome), (after(before).0, Outcome::Unchanged), "{stranger:?}");
            }
        }
    }

    #[test]
    fn a_call_that_was_not_sent_goes_back_when_its_owner_is_lost_or_silent() {
        for lost in [Event::OwnerLost(ME), Event::LeaseLapsed { now_ms: 101 }] {
            let (call, _) = after(&[leased(LEASE), lost]);
            assert_eq!(call, Call { state: State::Accepted { not_before_ms: 0 }, attempt: 1 });
        }
        let (call, _) = after(&[leased(LEASE), Event::LeaseLapsed { now_ms: 100 }]);
        assert_eq!(call.state, State::Leased(LEASE), "until its time it is held");
    }

    #[test]
    fn a_call_that_was_sent_is_not_run_again_but_ends_with_a_record() {
        for lost in [Event::OwnerLost(ME), Event::LeaseLapsed { now_ms: 101 }] {
            let sent = [leased(LEASE), Event::SendingRun(ME), lost];
            let (call, outcome) = after(&sent);
            assert_eq!((call.state, outcome), (State::Running(LEASE), Outcome::Unresolved));
            for end in [Event::Finished, Event::RecordFound] {
                assert_eq!(after(&[&sent[..], &[end]].concat()).0.state, State::Done);
            }
        }
    }

    #[test]
    fn a_call_that_was_about_to_be_sent_and_provably_was_not_goes_back() {
        let (call, _) =
            after(&[leased(LEASE), Event::SendingRun(ME), Event::OwnerLost(ME), Event::NeverSent]);
        assert_eq!(call.state, State::Accepted { not_before_ms: 0 });
    }

    #[test]
    fn a_call_that_no_container_took_goes_back_after_a_while() {
        let release = Event::Released { owner: ME, not_before_ms: 70 };
        let (call, _) = after(&[leased(LEASE), Event::SendingRun(ME), release]);
        assert_eq!(call.state, State::Accepted { not_before_ms: 70 });
    }

    #[test]
    fn a_restored_call_that_has_a_record_is_not_run() {
        assert_eq!(after(&[Event::RecordFound, leased(LEASE)]).0.state, State::Done);
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let owner = prop_oneof![Just(ME), Just(OTHER)];
        let lease = (owner.clone(), 0_u64..50).prop_map(|(owner, until_ms)| Lease { owner, until_ms });
        prop_oneof![
            (0_u64..50, lease.clone()).prop_map(|(now_ms, lease)| Event::Leased { now_ms, lease }),
            lease.prop_map(Event::Renewed),
            owner.clone().prop_map(Event::SendingRun),
            (owner.clone(), 0_u64..50)
                .prop_map(|(owner, not_before_ms)| Event::Released { owner, not_before_ms }),
            Just(Event::Finished),
            (0_u64..50).prop_map(|now_ms| Event::LeaseLapsed { now_ms }),
            owner.prop_map(Event::OwnerLost),
            Just(Event::RecordFound),
            Just(Event::NeverSent),
        ]
    }

    proptest! {
        #[test]
        fn the_counts_add_up_and_what_was_sent_is_never_sent_again(
            events in prop::collection::vec((0_usize..3, any_event()), 0..200),
        ) {
            let mut calls = [Call::accepted(0), Call::accepted(10), Call::accepted(20)];
            let mut counters = Counters::default();
            calls.iter().for_each(|_| counters.accept());
            for (which, event) in events {
                let before = calls[which];
                calls[which].take_in(event);
                counters.moved(before.state, calls[which].state);
                prop_assert!(counters.add_up(), "ASYNC-1");
                let was_sent = matches!(before.state, State::Running(_) | State::Done);
                let may_run = matches!(calls[which].state, State::Accepted { .. } | State::Leased(_));
                let was_not_sent = matches!(event, Event::Released { .. } | Event::NeverSent);
                prop_assert!(!(was_sent && may_run) || was_not_sent, "{before:?} {event:?}");
                prop_assert!(before.state != State::Done || calls[which] == before);
            }
        }
    }
}
