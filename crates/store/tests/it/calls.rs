//! The queue: transitions, owners, bounds.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::prelude::{Just, Strategy, prop};
use proptest::test_runner::{Config, TestRunner};
use triplane_model::ActivationId;
use triplane_store::{Call, CallState, Calls, Options, Sqlite, StoreError};

use crate::support::{TempDir, call, id, ns, numbers, open, raw};

const LATER: u64 = 1_000_000;

#[tokio::test]
async fn a_call_is_accepted_leased_run_and_done() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = &stores.calls;
    calls.accept(call(1)).await.unwrap();
    calls.accept(call(2)).await.unwrap();
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
        ..call(1)
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
        stores.calls.accept(Call { accepted_ms, not_before_ms, ..call(number) }).await.unwrap();
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
    for accepted in join_all((0..100).map(|number| stores.calls.accept(call(number)))).await {
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
    calls.accept(call(1)).await.unwrap();
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
    calls.accept(call(1)).await.unwrap();
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
        calls.accept(call(number)).await.unwrap();
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
    for accepted in join_all((0..1).chain(0..1).map(|number| calls.accept(call(number)))).await {
        accepted.unwrap();
    }
    calls.accept(Call { payload: b"other".to_vec(), ..call(0) }).await.unwrap();
    calls.accept(call(1)).await.unwrap();
    let leased = calls.lease(1, LATER, LATER, 9).await.unwrap();
    assert_eq!(numbers(&leased), [0, 1], "and it does not count against the bound");
    assert_eq!(leased[0].payload, call(0).payload);
    stores.close().await;
}

#[tokio::test]
async fn the_queue_is_bounded_and_has_room_again_when_calls_are_done() {
    let dir = TempDir::new();
    let options = Options { calls_per_namespace_max: 2, calls_max: 3, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options.clone()).await.unwrap();
    let of = |number, namespace| Call { namespace: ns(namespace), ..call(number) };
    let outcomes = join_all((0..3).map(|number| stores.calls.accept(call(number)))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2, "the namespace has two");
    assert!(matches!(outcomes[2], Err(StoreError::Full(_))));
    stores.calls.accept(of(10, "other")).await.unwrap();
    assert!(matches!(stores.calls.accept(of(11, "third")).await, Err(StoreError::Full(_))), "all have three");
    stores.close().await;

    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    assert!(matches!(stores.calls.accept(call(20)).await, Err(StoreError::Full(_))), "after a restart too");
    stores.calls.done(id(0)).await.unwrap();
    stores.calls.accept(call(20)).await.unwrap();
    stores.close().await;
}

#[tokio::test]
async fn the_bytes_of_the_queue_are_bounded() {
    let dir = TempDir::new();
    let options = Options { calls_bytes_max: 100, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let of = |number, bytes| Call { payload: vec![b'x'; bytes], ..call(number) };
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
        stores.calls.accept(call(number)).await.unwrap();
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
    Lease { owner: u64, limit: u64 },
    Running { owner: u64, id: u64 },
    Release { owner: u64, id: u64 },
    Reclaim(u64),
    Done(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, number) = (0..3_u64, 0..12_u64);
    let held = (owner.clone(), number.clone());
    proptest::prop_oneof![
        3 => number.clone().prop_map(Step::Accept),
        2 => (owner, 0..4_u64).prop_map(|(owner, limit)| Step::Lease { owner, limit }),
        2 => held.clone().prop_map(|(owner, id)| Step::Running { owner, id }),
        1 => held.prop_map(|(owner, id)| Step::Release { owner, id }),
        1 => number.clone().prop_map(Step::Reclaim),
        1 => number.prop_map(Step::Done),
        1 => Just(Step::Lease { owner: 0, limit: 100 }),
    ]
}

/// A queue as a plain map: by number the state, the owner and the attempts.
#[derive(Debug, Default)]
struct Model(BTreeMap<u64, (CallState, u64, u32)>);

impl Model {
    fn transit(&mut self, id: u64, from: impl Fn(CallState, u64) -> bool, to: CallState) -> bool {
        match self.0.get_mut(&id) {
            Some((state, owner, _)) if from(*state, *owner) => {
                *state = to;
                true
            }
            _ => false,
        }
    }

    fn lease(&mut self, by: u64, limit: u64) -> Vec<u128> {
        let waiting = self.0.iter_mut().filter(|(_, (state, ..))| *state == CallState::Accepted);
        let mut leased = Vec::new();
        for (id, call) in waiting.take(usize::try_from(limit).unwrap()) {
            *call = (CallState::Leased, by, call.2 + 1);
            leased.push(u128::from(*id));
        }
        leased
    }

    fn depth(&self) -> [u64; 3] {
        [CallState::Accepted, CallState::Leased, CallState::Running]
            .map(|wanted| self.0.values().filter(|(state, ..)| *state == wanted).count() as u64)
    }
}

fn held(state: CallState) -> bool {
    state != CallState::Accepted
}

async fn apply(calls: &dyn Calls, model: &mut Model, step: Step) {
    let number = |id: u64| -> ActivationId { crate::support::id(id) };
    let (outcome, expected) = match step {
        Step::Accept(id) => {
            model.0.entry(id).or_insert((CallState::Accepted, 0, 0));
            (calls.accept(call(id)).await, true)
        }
        Step::Lease { owner, limit } => {
            let leased = calls.lease(owner, LATER, LATER, limit).await.unwrap();
            assert_eq!(numbers(&leased), model.lease(owner, limit));
            for call in leased {
                let id = u64::try_from(call.id.bits()).unwrap();
                assert_eq!(call.attempt, model.0[&id].2);
            }
            return;
        }
        Step::Running { owner, id } => {
            let from = |state, holder| state == CallState::Leased && holder == owner;
            (calls.running(owner, number(id)).await, model.transit(id, from, CallState::Running))
        }
        Step::Release { owner, id } => {
            let from = |state, holder| held(state) && holder == owner;
            (calls.release(owner, number(id), 0).await, model.transit(id, from, CallState::Accepted))
        }
        Step::Reclaim(id) => {
            let from = |state, _| held(state);
            (calls.reclaim(number(id)).await, model.transit(id, from, CallState::Accepted))
        }
        Step::Done(id) => {
            model.0.remove(&id);
            (calls.done(number(id)).await, true)
        }
    };
    assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
}

#[test]
fn any_steps_follow_a_plain_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 32, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&prop::collection::vec(step(), 1..60), |steps| {
        runtime.block_on(async {
            let dir = TempDir::new();
            let stores = open(dir.path()).await;
            let mut model = Model::default();
            for step in steps {
                apply(&*stores.calls, &mut model, step).await;
                assert_eq!(stores.calls.depth().await.unwrap(), model.depth());
            }
            stores.close().await;
        });
        Ok(())
    });
    outcome.unwrap();
}
