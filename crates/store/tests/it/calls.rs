//! The queue: transitions, owners, bounds.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::prelude::{Strategy, prop};
use proptest::test_runner::{Config, TestRunner};
use triplane_core::asynchronous::{self, Event, Final, Hold, Lease, Outcome, Owner, State};
use triplane_store::{Call, CallState, Calls, Options, Sqlite, StoreError};

use crate::support::{TempDir, call as stored, id, ns, numbers, open, raw};

const LATER: u64 = 1_000_000;

#[tokio::test]
async fn a_call_is_accepted_leased_run_and_done() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &stores.calls;
    calls.accept(stored(1)).await.unwrap();
    calls.accept(stored(2)).await.unwrap();
    let leased = calls.lease(7, 5_000, 6_000, 10).await.unwrap();
    assert_eq!(numbers(&leased), [1, 2]);
    assert_eq!((leased[0].attempt, leased[0].state), (1, CallState::Leased));
    assert_eq!(calls.depth().await.unwrap(), [0, 2, 0]);
    calls.running(7, id(1)).await.unwrap();
    assert_eq!(calls.depth().await.unwrap(), [0, 1, 1]);
    calls.done(id(1)).await.unwrap();
    calls.done(id(2)).await.unwrap();
    calls.done(id(2)).await.unwrap();
    assert_eq!(calls.depth().await.unwrap(), [0, 0, 0]);
    stores.close().await;
}

#[tokio::test]
async fn a_call_is_leased_as_it_was_accepted() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let accepted = Call {
        traceparent: Some("00-trace".into()),
        partition: Some("orders".into()),
        payload: vec![0, 159, 146, 150],
        ..stored(1)
    };
    stores.calls.accept(accepted.clone()).await.unwrap();
    let leased = stores.calls.lease(u64::MAX, LATER, LATER, 1).await.unwrap().remove(0);
    let expected = Call { attempt: 1, state: CallState::Leased, ..accepted };
    assert_eq!(format!("{leased:?}"), format!("{expected:?}"));
    stores.calls.running(u64::MAX, id(1)).await.unwrap();
    stores.close().await;
}

#[tokio::test]
async fn the_oldest_that_are_due_are_leased_first() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    for (number, accepted_ms, not_before_ms) in [(1, 30, 30), (2, 10, 10), (3, 20, 500), (4, 40, 40)] {
        stores.calls.accept(Call { accepted_ms, not_before_ms, ..stored(number) }).await.unwrap();
    }
    assert_eq!(numbers(&stores.calls.lease(1, 100, 200, 2).await.unwrap()), [2, 1]);
    assert_eq!(numbers(&stores.calls.lease(1, 100, 200, 9).await.unwrap()), [4]);
    assert_eq!(numbers(&stores.calls.lease(1, 499, 600, 9).await.unwrap()), [0; 0]);
    assert_eq!(numbers(&stores.calls.lease(1, 500, 600, 9).await.unwrap()), [3]);
    stores.close().await;
}

#[tokio::test]
async fn a_call_is_leased_to_one_of_many_dispatchers() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    for accepted in join_all((0..100).map(|number| stores.calls.accept(stored(number)))).await {
        accepted.unwrap();
    }
    let leases = join_all((0..20).map(|owner| stores.calls.lease(owner, LATER, LATER, 7))).await;
    let mut leased: Vec<u128> = leases.into_iter().flat_map(|lease| numbers(&lease.unwrap())).collect();
    leased.sort_unstable();
    assert_eq!(leased, (0..100).collect::<Vec<_>>());
    stores.close().await;
}

#[tokio::test]
async fn transitions_of_calls_that_are_not_held_are_refused() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &stores.calls;
    let refused = |outcome: Result<(), StoreError>| matches!(outcome, Err(StoreError::Conflict));
    calls.accept(stored(1)).await.unwrap();
    assert!(refused(calls.running(7, id(1)).await), "nobody leased it");
    assert!(refused(calls.release(7, id(1), 0).await), "nobody holds it");
    assert!(refused(calls.reclaim(id(1)).await), "it waits already");
    calls.lease(7, LATER, LATER, 1).await.unwrap();
    assert!(refused(calls.running(8, id(1)).await), "another holds it");
    assert!(refused(calls.release(8, id(1), 0).await), "another holds it");
    calls.running(7, id(1)).await.unwrap();
    assert!(refused(calls.running(7, id(1)).await), "it runs already");
    assert!(refused(calls.running(7, id(2)).await), "there is none");
    assert!(refused(calls.reclaim(id(2)).await), "there is none");
    assert!(calls.lease(8, LATER, LATER, 9).await.unwrap().is_empty(), "it runs");
    stores.close().await;
}

#[tokio::test]
async fn a_released_call_waits_for_its_time_and_counts_its_attempts() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &stores.calls;
    calls.accept(stored(1)).await.unwrap();
    calls.lease(7, LATER, LATER, 1).await.unwrap();
    calls.release(7, id(1), LATER + 10).await.unwrap();
    assert!(calls.lease(8, LATER, LATER, 1).await.unwrap().is_empty());
    let again = calls.lease(8, LATER + 10, LATER, 1).await.unwrap();
    assert_eq!(again[0].attempt, 2);
    calls.running(8, id(1)).await.unwrap();
    calls.release(8, id(1), 0).await.unwrap();
    assert_eq!(calls.depth().await.unwrap(), [1, 0, 0], "a run that was not started is put back too");
    stores.close().await;
}

#[tokio::test]
async fn orphans_are_what_others_hold_or_whose_lease_lapsed() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &stores.calls;
    for number in 1..=4 {
        calls.accept(stored(number)).await.unwrap();
    }
    calls.lease(7, LATER, 100, 2).await.unwrap();
    calls.lease(8, LATER, 300, 1).await.unwrap();
    calls.running(7, id(2)).await.unwrap();
    assert_eq!(numbers(&calls.orphans(7, 100, 9).await.unwrap()), [3], "of another owner");
    assert_eq!(numbers(&calls.orphans(7, 101, 9).await.unwrap()), [1, 2, 3], "lapsed as well");
    assert_eq!(numbers(&calls.orphans(7, 101, 2).await.unwrap()), [1, 2]);
    assert_eq!(calls.orphans(7, 101, 9).await.unwrap()[1].state, CallState::Running);
    calls.renew(7, vec![id(1), id(3)], 200).await.unwrap();
    assert_eq!(numbers(&calls.orphans(7, 101, 9).await.unwrap()), [2, 3], "one was renewed");
    assert_eq!(numbers(&calls.orphans(8, 250, 9).await.unwrap()), [1, 2], "nobody renews another's");
    calls.reclaim(id(3)).await.unwrap();
    assert_eq!(numbers(&calls.lease(7, LATER, LATER, 9).await.unwrap()), [3, 4]);
    stores.close().await;
}

#[tokio::test]
async fn an_accept_that_is_repeated_changes_nothing() {
    let dir = TempDir::new();
    let options = Options { calls_max: 2, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let calls = &stores.calls;
    for accepted in join_all((0..1).chain(0..1).map(|number| calls.accept(stored(number)))).await {
        accepted.unwrap();
    }
    calls.accept(Call { payload: b"other".to_vec(), ..stored(0) }).await.unwrap();
    calls.accept(stored(1)).await.unwrap();
    let leased = calls.lease(1, LATER, LATER, 9).await.unwrap();
    assert_eq!(numbers(&leased), [0, 1], "and it does not count against the bound");
    assert_eq!(leased[0].payload, stored(0).payload);
    stores.close().await;
}

#[tokio::test]
async fn the_queue_is_bounded_and_has_room_again_when_calls_are_done() {
    let dir = TempDir::new();
    let options = Options { calls_per_namespace_max: 2, calls_max: 3, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options.clone()).await.unwrap();
    let of = |number, namespace| Call { namespace: ns(namespace), ..stored(number) };
    let outcomes = join_all((0..3).map(|number| stores.calls.accept(stored(number)))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2, "the namespace has two");
    assert!(matches!(outcomes[2], Err(StoreError::Full(_))));
    stores.calls.accept(of(10, "other")).await.unwrap();
    assert!(matches!(stores.calls.accept(of(11, "third")).await, Err(StoreError::Full(_))), "all have three");
    stores.close().await;

    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    assert!(matches!(stores.calls.accept(stored(20)).await, Err(StoreError::Full(_))), "after a restart too");
    stores.calls.done(id(0)).await.unwrap();
    stores.calls.accept(stored(20)).await.unwrap();
    stores.close().await;
}

#[tokio::test]
async fn the_bytes_of_the_queue_are_bounded() {
    let dir = TempDir::new();
    let options = Options { calls_bytes_max: 100, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let of = |number, bytes| Call { payload: vec![b'x'; bytes], ..stored(number) };
    stores.calls.accept(of(1, 60)).await.unwrap();
    assert!(matches!(stores.calls.accept(of(2, 41)).await, Err(StoreError::Full(_))));
    stores.calls.accept(of(3, 40)).await.unwrap();
    stores.close().await;
}

#[tokio::test]
async fn a_call_that_cannot_be_read_does_not_hold_up_the_others() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    for number in 1..=3 {
        stores.calls.accept(stored(number)).await.unwrap();
    }
    let mut file = raw(&dir.join("queue.db")).await;
    for spoil in [
        "UPDATE calls SET action = 'nonsense' WHERE place = 1",
        "UPDATE calls SET transaction_id = CAST(x'ff' AS TEXT) WHERE place = 2",
    ] {
        sqlx::query(spoil).execute(&mut file).await.unwrap();
    }
    let mut leased = Vec::new();
    for _ in 0..3 {
        leased.push(numbers(&stores.calls.lease(1, LATER, LATER, 1).await.unwrap()));
    }
    assert_eq!(leased, [vec![], vec![], vec![3]]);
    assert_eq!(numbers(&stores.calls.orphans(2, 0, 9).await.unwrap()), [3]);
    stores.close().await;
}

#[derive(Clone, Debug)]
enum Step {
    Accept(u64),
    Lease { lease: Lease, now_ms: u64, limit: u64 },
    Renew { lease: Lease, id: u64 },
    Running { owner: Owner, id: u64 },
    Release { owner: Owner, id: u64, not_before_ms: u64 },
    Reclaim(u64),
    Done(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, id, time) = (|| (0..3_u64).prop_map(Owner), || 0..12_u64, || 0..50_u64);
    let lease = || (owner(), time()).prop_map(|(owner, until_ms)| Lease { owner, until_ms });
    proptest::prop_oneof![
        3 => id().prop_map(Step::Accept),
        3 => (lease(), time(), 0..9_u64)
            .prop_map(|(lease, now_ms, limit)| Step::Lease { lease, now_ms, limit }),
        1 => (lease(), id()).prop_map(|(lease, id)| Step::Renew { lease, id }),
        2 => (owner(), id()).prop_map(|(owner, id)| Step::Running { owner, id }),
        1 => (owner(), id(), time())
            .prop_map(|(owner, id, not_before_ms)| Step::Release { owner, id, not_before_ms }),
        1 => id().prop_map(Step::Reclaim),
        1 => id().prop_map(Step::Done),
    ]
}

/// The machine of every call that is not done, by number.
type Machines = BTreeMap<u64, asynchronous::Call>;

/// Tells one machine; says whether that changed it.
fn tell(machines: &mut Machines, id: u64, event: Event) -> bool {
    let changed = machines.get_mut(&id).is_some_and(|machine| machine.take_in(event) == Outcome::Changed);
    machines.retain(|_, machine| !matches!(machine.state, State::Final(_)));
    changed
}

/// How often a call was leased: the queue knows owners by name, and their leases by nothing else yet.
fn number(machines: &Machines, id: u64) -> u32 {
    machines.get(&id).map_or(0, |machine| machine.leases)
}

/// The queue takes a step; the outcome is the one of the machines.
async fn take(calls: &dyn Calls, machines: &mut Machines, step: Step) {
    let (outcome, expected) = match step {
        Step::Accept(id) => {
            machines.entry(id).or_insert(asynchronous::Call::accepted(id * 4));
            let accepted = Call { accepted_ms: id, not_before_ms: id * 4, ..stored(id) };
            (calls.accept(accepted).await, true)
        }
        Step::Lease { lease, now_ms, limit } => {
            let leased = calls.lease(lease.owner.0, now_ms, lease.until_ms, limit).await.unwrap();
            let mut expected = Vec::new();
            for id in machines.keys().copied().collect::<Vec<_>>() {
                if (expected.len() as u64) < limit && tell(machines, id, Event::Leased { now_ms, lease }) {
                    expected.push((u128::from(id), machines[&id].leases));
                }
            }
            let leased: Vec<_> = leased.iter().map(|call| (call.id.bits(), call.attempt)).collect();
            assert_eq!(leased, expected);
            return;
        }
        Step::Renew { lease, id } => {
            let hold = Hold { owner: lease.owner, number: number(machines, id) };
            tell(machines, id, Event::Renewed { hold, until_ms: lease.until_ms });
            (calls.renew(lease.owner.0, vec![self::id(id)], lease.until_ms).await, true)
        }
        Step::Running { owner, id } => {
            let hold = Hold { owner, number: number(machines, id) };
            (calls.running(owner.0, self::id(id)).await, tell(machines, id, Event::SendingRun(hold)))
        }
        Step::Release { owner, id, not_before_ms } => {
            let released = calls.release(owner.0, self::id(id), not_before_ms).await;
            let hold = Hold { owner, number: number(machines, id) };
            (released, tell(machines, id, Event::Released { hold, due_ms: not_before_ms }))
        }
        Step::Reclaim(id) => {
            let number = number(machines, id);
            (calls.reclaim(self::id(id)).await, tell(machines, id, Event::NeverSent { number }))
        }
        Step::Done(id) => {
            tell(machines, id, Event::RecordFound { attempt: 1, end: Final::Done });
            (calls.done(self::id(id)).await, true)
        }
    };
    assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
}

/// Depth and orphans are what the machines say.
async fn agrees(calls: &dyn Calls, machines: &Machines) {
    let count =
        |wanted: fn(State) -> bool| machines.values().filter(|call| wanted(call.state)).count() as u64;
    let depth = [
        count(|state| matches!(state, State::Accepted { .. })),
        count(|state| matches!(state, State::Leased(_))),
        count(|state| matches!(state, State::Running(_))),
    ];
    assert_eq!(calls.depth().await.unwrap(), depth);
    let is_orphan = |lease: Lease| lease.owner != Owner(1) || lease.until_ms < 25;
    let orphan = |(id, call): (&u64, &asynchronous::Call)| match call.state {
        State::Leased(lease) | State::Running(lease) => is_orphan(lease).then_some(u128::from(*id)),
        State::Accepted { .. } | State::Retry { .. } | State::Final(_) => None,
    };
    let orphans: Vec<u128> = machines.iter().filter_map(orphan).collect();
    assert_eq!(numbers(&calls.orphans(1, 25, 99).await.unwrap()), orphans);
}

#[test]
fn any_steps_agree_with_the_machine_of_a_call() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 32, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&prop::collection::vec(step(), 1..60), |steps| {
        runtime.block_on(async {
            let dir = TempDir::new();
            let stores = open(dir.path()).await;
            let mut machines = Machines::new();
            for step in steps {
                take(&*stores.calls, &mut machines, step).await;
                agrees(&*stores.calls, &machines).await;
            }
            stores.close().await;
        });
        Ok(())
    });
    outcome.unwrap();
}
