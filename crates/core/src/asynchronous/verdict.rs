//! What follows for a call: when it was leased, when an attempt ended, when it could not be started.

use triplane_model::ActivationId;

use super::backoff::Backoff;
use super::call::Final;
use super::failure::Failure;
use super::mutant::{Mutant, is_planted};
use super::policy::Policy;

/// Between two tries to start a call, when nothing better is known. Free of charge, so that it may be short.
const UNSTARTED: Backoff = Backoff { first_ms: 500, most_ms: 30_000 };

/// A call that no node would take is given up when it was leased so often: after a quarter of a minute or more.
const NO_NODE_LEASES_MAX: u32 = 4;

/// What is known of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which it is.
    pub id: ActivationId,
    /// When it was accepted, epoch milliseconds.
    pub accepted_ms: u64,
    /// How often it was leased.
    pub leases: u32,
    /// How often it was, or may have been, sent.
    pub attempts: u32,
    /// Someone asked for its cancellation.
    pub cancel_asked: bool,
}

/// What to do with a call that was leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leased {
    /// Send it.
    Run,
    /// End it: its record first, then the queue.
    End(Final),
}

/// What to do with a call whose attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// End it.
    End(Final),
    /// Put it back for another attempt.
    Retry {
        /// Not earlier, epoch milliseconds.
        due_ms: u64,
    },
}

/// Why a call did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No room now: the platform's fault, or a limit of the namespace.
    NoRoom {
        /// Better not earlier, milliseconds; 0 when nobody knows.
        retry_after_ms: u64,
    },
    /// No node would take its containers; one may join yet, so that it is tried a few times.
    NoNode {
        /// Better not earlier, milliseconds.
        retry_after_ms: u64,
    },
    /// Its containers do not start.
    Broken,
    /// Its action or its namespace is gone.
    Gone,
    /// What it would call is more than is taken at once.
    TooLarge,
}

/// What to do with a call that did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstarted {
    /// End it: its record first, then the queue.
    End(Final),
    /// Put it back; no attempt is counted.
    Release {
        /// Not earlier, epoch milliseconds.
        due_ms: u64,
    },
}

/// What to do with a call that was just leased. A wish to cancel it and its age are looked at here, in one place, so that who wishes only
/// has to make it due.
#[must_use]
pub fn on_lease(policy: &Policy, facts: &Facts, now_ms: u64) -> Leased {
    if facts.cancel_asked {
        Leased::End(Final::Cancelled)
    } else if now_ms > policy.expires_ms(facts.accepted_ms) && !is_planted(Mutant::ExpiredIsStarted) {
        Leased::End(Final::Expired)
    } else if facts.attempts >= attempts_max(policy) {
        // The last attempt was lost on the way to its verdict; to send it again would be one too many.
        Leased::End(Final::Dead)
    } else {
        Leased::Run
    }
}

/// What follows an attempt that ended well, or failed so. The same facts give the same verdict, so that a recoverer may repeat it.
#[must_use]
pub fn after_attempt(policy: &Policy, facts: &Facts, failure: Option<Failure>, now_ms: u64) -> Ended {
    let Some(failure) = failure else { return Ended::End(Final::Done) };
    if facts.cancel_asked {
        return Ended::End(Final::Cancelled);
    }
    let is_repeated = failure == Failure::Lost && is_planted(Mutant::LostIsRepeated);
    if !policy.retries(failure) && !is_repeated {
        // Nobody saw a lost one end, so that its record is no answer.
        return Ended::End(if failure == Failure::Lost { Final::Dead } else { Final::Done });
    }
    let due_ms = now_ms.saturating_add(policy.backoff.after(facts.id, facts.attempts));
    if facts.attempts >= attempts_max(policy) || due_ms > policy.expires_ms(facts.accepted_ms) {
        return Ended::End(Final::Dead);
    }
    Ended::Retry { due_ms }
}

/// What follows a try to start a call that was not sent. It is tried again whatever its policy; one that is cancelled or too old is due
/// at once, so that [`on_lease`] ends it.
#[must_use]
pub fn not_started(policy: &Policy, facts: &Facts, obstacle: Obstacle, now_ms: u64) -> Unstarted {
    match obstacle {
        _ if facts.cancel_asked => Unstarted::Release { due_ms: now_ms },
        Obstacle::Broken | Obstacle::Gone | Obstacle::TooLarge => Unstarted::End(Final::Dead),
        Obstacle::NoNode { .. } if facts.leases >= NO_NODE_LEASES_MAX => Unstarted::End(Final::Dead),
        Obstacle::NoRoom { retry_after_ms } | Obstacle::NoNode { retry_after_ms } => {
            let wait_ms = retry_after_ms.clamp(UNSTARTED.after(facts.id, facts.leases), UNSTARTED.most_ms);
            let too_old_ms = policy.expires_ms(facts.accepted_ms).saturating_add(1);
            Unstarted::Release { due_ms: now_ms.saturating_add(wait_ms).min(too_old_ms.max(now_ms)) }
        }
    }
}

fn attempts_max(policy: &Policy) -> u32 {
    policy.attempts_max + u32::from(is_planted(Mutant::OneAttemptMore) || is_planted(Mutant::LostIsRepeated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asynchronous::{Call, Event, Hold, Lease, Outcome, Owner, State};
    use proptest::prelude::*;

    const FACTS: Facts = Facts {
        id: ActivationId::from_bits(7),
        accepted_ms: 1_000,
        leases: 1,
        attempts: 1,
        cancel_asked: false,
    };

    fn policy(attempts: &str, retry_on: &str) -> Policy {
        let settings =
            [("async-attempts", attempts), ("async-retry-on", retry_on), ("async-max-age", "60000")];
        Policy::default().with(settings).unwrap()
    }

    fn waiting(attempts: u32) -> Facts {
        Facts { attempts, ..FACTS }
    }

    #[test]
    fn a_leased_call_runs_unless_it_is_cancelled_too_old_or_used_up() {
        let policy = policy("2", "all");
        assert_eq!(on_lease(&policy, &waiting(1), 61_000), Leased::Run);
        assert_eq!(on_lease(&policy, &waiting(1), 61_001), Leased::End(Final::Expired));
        assert_eq!(on_lease(&policy, &waiting(2), 61_000), Leased::End(Final::Dead));
        let cancelled = Facts { cancel_asked: true, ..waiting(0) };
        assert_eq!(on_lease(&policy, &cancelled, 90_000), Leased::End(Final::Cancelled));
    }

    #[test]
    fn by_default_an_attempt_is_the_only_one_and_its_answer_is_the_calls() {
        for failure in
            [None, Some(Failure::ApplicationError), Some(Failure::TimedOut), Some(Failure::InternalError)]
        {
            let verdict = after_attempt(&Policy::default(), &FACTS, failure, 2_000);
            assert_eq!(verdict, Ended::End(Final::Done), "{failure:?}");
        }
    }

    #[test]
    fn by_default_a_lost_attempt_is_not_repeated_but_kept_as_a_dead_letter() {
        let verdict = after_attempt(&Policy::default(), &FACTS, Some(Failure::Lost), 2_000);
        assert_eq!(verdict, Ended::End(Final::Dead));
    }

    #[test]
    fn a_call_that_no_node_would_take_is_tried_a_few_times_and_ends_as_a_dead_letter() {
        let tried = |leases| {
            let obstacle = Obstacle::NoNode { retry_after_ms: 5_000 };
            not_started(&Policy::default(), &Facts { leases, ..FACTS }, obstacle, 2_000)
        };
        assert_eq!([1, 2, 3].map(tried), [Unstarted::Release { due_ms: 7_000 }; 3]);
        assert_eq!(tried(4), Unstarted::End(Final::Dead));
    }

    #[test]
    fn what_the_policy_names_is_retried_until_the_attempts_are_used_up() {
        let policy = policy("3", "timeout");
        let timed_out = |attempts| after_attempt(&policy, &waiting(attempts), Some(Failure::TimedOut), 2_000);
        assert!(matches!(timed_out(1), Ended::Retry { due_ms } if (2_500..=3_000).contains(&due_ms)));
        assert!(matches!(timed_out(2), Ended::Retry { due_ms } if (3_000..=4_000).contains(&due_ms)));
        assert_eq!(timed_out(3), Ended::End(Final::Dead));
        let other = after_attempt(&policy, &FACTS, Some(Failure::ApplicationError), 2_000);
        assert_eq!(other, Ended::End(Final::Done));
        assert_eq!(after_attempt(&policy, &FACTS, None, 2_000), Ended::End(Final::Done));
    }

    #[test]
    fn a_retry_that_would_come_too_late_is_not_made() {
        let verdict = after_attempt(&policy("3", "all"), &FACTS, Some(Failure::TimedOut), 60_900);
        assert_eq!(verdict, Ended::End(Final::Dead));
    }

    #[test]
    fn a_cancelled_attempt_is_cancelled_unless_it_succeeded() {
        let cancelled = Facts { cancel_asked: true, ..FACTS };
        let verdict = |failure| after_attempt(&policy("3", "all"), &cancelled, failure, 2_000);
        assert_eq!(verdict(Some(Failure::DeveloperError)), Ended::End(Final::Cancelled));
        assert_eq!(verdict(Some(Failure::Lost)), Ended::End(Final::Cancelled));
        assert_eq!(verdict(None), Ended::End(Final::Done));
    }

    #[test]
    fn a_call_without_room_is_tried_again_until_it_is_too_old() {
        let release = |retry_after_ms, now_ms| {
            not_started(&policy("1", "all"), &waiting(0), Obstacle::NoRoom { retry_after_ms }, now_ms)
        };
        assert_eq!(release(4_000, 2_000), Unstarted::Release { due_ms: 6_000 });
        assert!(
            matches!(release(0, 2_000), Unstarted::Release { due_ms } if (2_250..=2_500).contains(&due_ms))
        );
        assert_eq!(
            release(u64::MAX, 2_000),
            Unstarted::Release { due_ms: 32_000 },
            "a hint is not a sentence"
        );
        assert_eq!(
            release(4_000, 60_000),
            Unstarted::Release { due_ms: 61_001 },
            "then it is found to be too old"
        );
        assert_eq!(release(4_000, 90_000), Unstarted::Release { due_ms: 90_000 });
    }

    #[test]
    fn a_call_that_can_never_start_is_a_dead_letter() {
        for obstacle in [Obstacle::Broken, Obstacle::Gone] {
            let verdict = not_started(&Policy::default(), &waiting(0), obstacle, 2_000);
            assert_eq!(verdict, Unstarted::End(Final::Dead));
        }
    }

    /// What happens to a call that was sent, or was to be.
    #[derive(Clone, Copy, Debug)]
    enum Luck {
        NoRoom,
        Gone,
        Ends(Option<Failure>),
        IsCancelled(Option<Failure>),
    }

    fn luck() -> impl Strategy<Value = Luck> {
        let ending = || prop::option::of((0_usize..5).prop_map(|which| Failure::ALL[which]));
        prop_oneof![
            3 => Just(Luck::NoRoom),
            1 => Just(Luck::Gone),
            5 => ending().prop_map(Luck::Ends),
            1 => ending().prop_map(Luck::IsCancelled),
        ]
    }

    /// A dispatcher takes a call through one lease; says what the machine makes of each thing that it is told.
    fn dispatch(call: &mut Call, policy: &Policy, now_ms: u64, luck: Luck) -> Vec<Outcome> {
        let lease = Lease { owner: Owner(1), until_ms: u64::MAX };
        let mut outcomes = vec![call.take_in(Event::Leased { now_ms, lease })];
        let hold = Hold { owner: Owner(1), number: call.leases };
        let facts = |call: &Call| Facts {
            leases: call.leases,
            attempts: call.attempts,
            cancel_asked: call.cancel_asked,
            ..FACTS
        };
        let last = match on_lease(policy, &facts(call), now_ms) {
            Leased::End(end) => Event::Ended { hold, end },
            Leased::Run => {
                outcomes.push(call.take_in(Event::SendingRun(hold)));
                if let Luck::IsCancelled(_) = luck {
                    outcomes.push(call.take_in(Event::CancelAsked));
                }
                what_follows(hold, policy, &facts(call), now_ms, luck)
            }
        };
        outcomes.push(call.take_in(last));
        outcomes
    }

    fn what_follows(hold: Hold, policy: &Policy, facts: &Facts, now_ms: u64, luck: Luck) -> Event {
        let unstarted = |obstacle| match not_started(policy, facts, obstacle, now_ms) {
            Unstarted::End(end) => Event::Ended { hold, end },
            Unstarted::Release { due_ms } => Event::Released { hold, due_ms },
        };
        match luck {
            Luck::NoRoom => unstarted(Obstacle::NoRoom { retry_after_ms: 0 }),
            Luck::Gone => unstarted(Obstacle::Gone),
            Luck::Ends(failure) | Luck::IsCancelled(failure) => {
                match after_attempt(policy, facts, failure, now_ms) {
                    Ended::End(end) => Event::Ended { hold, end },
                    Ended::Retry { due_ms } => Event::Retried { hold, due_ms },
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_verdict_is_one_that_the_machine_takes_and_every_call_ends(
            attempts_max in 1_u32..5, lucks in prop::collection::vec(luck(), 1..8),
        ) {
            let policy = policy(&attempts_max.to_string(), "all");
            let mut call = Call::accepted(FACTS.accepted_ms);
            let mut sent = 0;
            // Without room it is tried every half second at first, and half a minute at last, until it is too old.
            for luck in lucks.iter().cycle().take(500) {
                let (State::Accepted { due_ms } | State::Retry { due_ms }) = call.state else { break };
                let outcomes = dispatch(&mut call, &policy, due_ms, *luck);
                prop_assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Changed), "{:?}", outcomes);
                let was_sent = outcomes.len() > 2 && matches!(luck, Luck::Ends(_) | Luck::IsCancelled(_));
                sent += u32::from(was_sent);
            }
            prop_assert!(matches!(call.state, State::Final(_)), "{:?}", call);
            prop_assert!(sent <= attempts_max);
        }

        #[test]
        fn no_verdict_allows_more_attempts_than_the_policy(
            attempts_max in 1_u32..5, attempts in 0_u32..7, age_ms in 0_u64..100_000,
            failure in prop::option::of(0_usize..5), cancel_asked: bool,
        ) {
            let policy = policy(&attempts_max.to_string(), "all");
            let facts = Facts { attempts, cancel_asked, ..FACTS };
            let now_ms = facts.accepted_ms + age_ms;
            let failure = failure.map(|which| Failure::ALL[which]);
            if let Ended::Retry { due_ms } = after_attempt(&policy, &facts, failure, now_ms) {
                prop_assert!(attempts < attempts_max && !cancel_asked && failure.is_some());
                prop_assert!(now_ms < due_ms && due_ms <= policy.expires_ms(facts.accepted_ms));
                prop_assert_eq!(on_lease(&policy, &facts, due_ms), Leased::Run, "promised and not kept");
            }
            if on_lease(&policy, &facts, now_ms) == Leased::Run {
                prop_assert!(attempts < attempts_max && !cancel_asked);
            }
        }
    }
}
