//! Any steps make of the queue what `triplane_core::asynchronous` says: the life of each call, the order of partitions, the counts.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestRunner};
use triplane_core::asynchronous::{
    Call, CallState, Counters, Destination, Event, Failure, Final, Hold, Lease, Order, Outcome, Owner, Pick,
    State,
};
use triplane_store::StoreError;
use triplane_store::calls::{CallQuery, Calls, End, NewCall, Scope};

use crate::support::{TempDir, call, id, named, ns, open, policy};

#[derive(Clone, Copy, Debug)]
enum Said {
    Running,
    Released { after_ms: u64 },
    Retried { after_ms: u64 },
    Renewed { for_ms: u64 },
    Ended(Final),
}

#[derive(Clone, Debug)]
enum Step {
    Accept {
        id: u64,
        delay_ms: u64,
        priority: u8,
        partition: Option<u8>,
    },
    Lease {
        owner: Owner,
        for_ms: u64,
        calls: usize,
    },
    /// By who holds the call, or by who does not.
    Say {
        id: u64,
        is_holder: bool,
        said: Said,
    },
    Adopt {
        owner: Owner,
        living: Vec<Owner>,
        limit: u64,
    },
    Cancel(u64),
    Hasten(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, id, time) = (|| (0..3_u64).prop_map(Owner), || 0..12_u64, || 0..20_u64);
    let said = proptest::prop_oneof![
        4 => proptest::strategy::Just(Said::Running),
        1 => time().prop_map(|after_ms| Said::Released { after_ms }),
        1 => time().prop_map(|after_ms| Said::Retried { after_ms }),
        1 => time().prop_map(|for_ms| Said::Renewed { for_ms }),
        3 => (0..4_usize).prop_map(|which| {
            Said::Ended([Final::Done, Final::Dead, Final::Cancelled, Final::Expired][which])
        }),
    ];
    proptest::prop_oneof![
        6 => (id(), prop::option::weighted(0.3, 1..20_u64), 3..6_u8, prop::option::of(0..2_u8))
            .prop_map(|(id, delay, priority, partition)| {
                Step::Accept { id, delay_ms: delay.unwrap_or(0), priority, partition }
            }),
        5 => (owner(), time(), 0..5_usize).prop_map(|(owner, for_ms, calls)| Step::Lease { owner, for_ms, calls }),
        14 => (id(), prop::bool::weighted(0.8), said)
            .prop_map(|(id, is_holder, said)| Step::Say { id, is_holder, said }),
        1 => (owner(), prop::collection::vec(owner(), 0..4), 0..4_u64)
            .prop_map(|(owner, living, limit)| Step::Adopt { owner, living, limit }),
        1 => id().prop_map(Step::Cancel),
        1 => id().prop_map(Step::Hasten),
        1 => any::<bool>().prop_map(|_| Step::Reopen),
    ]
}

/// The priority of a call that is cancelled: nothing is left to be run of it.
const CANCELLED: u8 = 10;

/// What is known of a call.
#[derive(Debug)]
struct Known {
    machine: Call,
    /// Its place among the accepts.
    place: usize,
    priority: u8,
    partition: Option<u8>,
    /// It is let go by the order of its partition.
    may_go: bool,
    /// It leaves a row when it is done.
    is_kept: bool,
}

impl Known {
    fn has_row(&self) -> bool {
        self.is_kept || self.machine.state != State::Final(Final::Done)
    }
}

/// All that the pure machines know.
#[derive(Debug, Default)]
struct Model {
    now_ms: u64,
    calls: BTreeMap<u64, Known>,
    order: Order<u8, u64>,
    counters: Counters,
}

impl Model {
    fn tell(&mut self, id: u64, event: Event) -> Outcome {
        let Some(known) = self.calls.get_mut(&id) else { return Outcome::Unchanged };
        let before = known.machine.state;
        let outcome = known.machine.take_in(event);
        let (after, partition) = (known.machine.state, known.partition);
        if before != after {
            self.counters.moved(before, after);
        }
        if let (State::Final(_), false, Some(partition)) = (after, before == after, partition) {
            let next = self.order.end(&partition, id);
            if let Some(next) = next.and_then(|next| self.calls.get_mut(&next)) {
                next.may_go = true;
            }
        }
        outcome
    }

    fn accept(&mut self, id: u64, delay_ms: u64, priority: u8, partition: Option<u8>) {
        let place = self.calls.len();
        let may_go = partition.is_none_or(|partition| self.order.accept(partition, id));
        let due_ms = if delay_ms == 0 { 0 } else { self.now_ms + delay_ms };
        let is_kept = delay_ms > 0 || priority != 4 || partition.is_some();
        let known = Known { machine: Call::accepted(due_ms), place, priority, partition, may_go, is_kept };
        self.counters.accept();
        self.calls.insert(id, known);
    }

    /// Leases as the queue is to do it: what is cancelled first, whatever its priority was, then by priority, and the older of
    /// equals.
    fn lease(&mut self, lease: Lease, calls: usize) -> Vec<(u128, u32)> {
        let mut line: Vec<_> = self.calls.iter().filter(|(_, known)| known.may_go).collect();
        line.sort_by_key(|(_, known)| {
            let priority = if known.machine.cancel_asked { CANCELLED } else { known.priority };
            (std::cmp::Reverse(priority), known.place)
        });
        let line: Vec<u64> = line.into_iter().map(|(id, _)| *id).collect();
        let mut leased = Vec::new();
        for id in line {
            let event = Event::Leased { now_ms: self.now_ms, lease };
            if leased.len() < calls && self.tell(id, event) == Outcome::Changed {
                leased.push((u128::from(id), self.calls[&id].machine.leases));
            }
        }
        leased
    }

    fn adopt(&mut self, lease: Lease, living: &[Owner], limit: u64) -> Vec<(u128, u32)> {
        let mut line: Vec<_> = self.calls.iter().map(|(id, known)| (known.place, *id)).collect();
        line.sort_unstable();
        let mut adopted = Vec::new();
        for (_, id) in line {
            let (State::Leased(held) | State::Running(held)) = self.calls[&id].machine.state else {
                continue;
            };
            let event = match living.contains(&held.owner) {
                true => Event::LeaseLapsed { now_ms: self.now_ms },
                false => Event::OwnerLost(held.owner),
            };
            if self.tell(id, event) == Outcome::Unresolved && (adopted.len() as u64) < limit {
                self.tell(id, Event::Adopted { lost: held.owner, lease });
                adopted.push((u128::from(id), self.calls[&id].machine.leases));
            }
        }
        adopted
    }

    fn cancel(&mut self, id: u64) {
        self.tell(id, Event::CancelAsked);
        let Some(known) = self.calls.get_mut(&id) else { return };
        if let Some(partition) = known.partition
            && self.order.leave(&partition, id)
        {
            known.may_go = true;
        }
    }

    /// The hold on a call, or one that is not.
    fn hold(&self, id: u64, is_holder: bool) -> Hold {
        let machine = self.calls.get(&id).map(|known| known.machine);
        let lease = match machine.map(|machine| machine.state) {
            Some(State::Leased(lease) | State::Running(lease)) => lease,
            _ => Lease { owner: Owner(0), until_ms: 0 },
        };
        let number = machine.map_or(0, |machine| machine.leases);
        match (is_holder, id % 2) {
            (true, _) => Hold { owner: lease.owner, number },
            (false, 0) => Hold { owner: lease.owner, number: number.wrapping_sub(1) },
            (false, _) => Hold { owner: Owner(99), number },
        }
    }
}

fn new_call(model: &Model, number: u64, delay_ms: u64, priority: u8, partition: Option<u8>) -> NewCall {
    let (delay, priority) = (delay_ms.to_string(), priority.to_string());
    NewCall {
        accepted_ms: model.now_ms,
        policy: policy(&[("async-delay", &delay), ("async-priority", &priority)]),
        partition: partition.map(|partition| partition.to_string()),
        ..call(number)
    }
}

/// Queue and machines take a step; they must say the same of it.
async fn take(calls: &dyn Calls, model: &mut Model, step: &Step) {
    let pairs = |held: Vec<triplane_store::calls::HeldCall>| {
        held.iter().map(|held| (held.call.id.bits(), held.hold.number)).collect::<Vec<_>>()
    };
    match step {
        Step::Accept { id, delay_ms, priority, partition } => {
            let known = model.calls.get(id);
            if known.is_some_and(|known| matches!(known.machine.state, State::Final(_))) {
                // Nobody uses an id again.
                return;
            }
            if known.is_none() {
                model.accept(*id, *delay_ms, *priority, *partition);
            }
            calls.accept(new_call(model, *id, *delay_ms, *priority, *partition)).await.unwrap();
        }
        Step::Lease { owner, for_ms, calls: most } => {
            let lease = Lease { owner: *owner, until_ms: model.now_ms + for_ms };
            let target = Destination::Action(named("hello"));
            let pick = Pick { namespace: ns("guest"), action: target, calls: *most };
            let leased = calls.lease(lease, model.now_ms, vec![pick]).await.unwrap();
            assert_eq!(pairs(leased), model.lease(lease, *most));
        }
        Step::Say { id, is_holder, said } => say(calls, model, *id, *is_holder, *said).await,
        Step::Adopt { owner, living, limit } => {
            let lease = Lease { owner: *owner, until_ms: model.now_ms + 10 };
            let adopted = calls.adopt(lease, model.now_ms, living.clone(), *limit).await.unwrap();
            assert_eq!(pairs(adopted), model.adopt(lease, living, *limit));
        }
        Step::Cancel(id) => {
            calls.cancel(Scope::All, self::id(*id)).await.unwrap();
            model.cancel(*id);
        }
        Step::Hasten(id) => {
            calls.hasten(Scope::All, self::id(*id)).await.unwrap();
            model.tell(*id, Event::Hastened);
        }
        Step::Reopen => {}
    }
}

async fn say(calls: &dyn Calls, model: &mut Model, number: u64, is_holder: bool, said: Said) {
    let (hold, id, now_ms) = (model.hold(number, is_holder), id(number), model.now_ms);
    let (event, outcome) = match said {
        Said::Running => (Event::SendingRun(hold), calls.running(hold, id).await),
        Said::Released { after_ms } => {
            let due_ms = now_ms + after_ms;
            (Event::Released { hold, due_ms }, calls.release(hold, id, due_ms).await)
        }
        Said::Retried { after_ms } => {
            let due_ms = now_ms + after_ms;
            (Event::Retried { hold, due_ms }, calls.retry(hold, id, Failure::TimedOut, due_ms).await)
        }
        Said::Renewed { for_ms } => {
            let lease = Lease { owner: hold.owner, until_ms: now_ms + for_ms };
            calls.renew(lease, vec![(id, hold.number)]).await.unwrap();
            model.tell(number, Event::Renewed { hold, until_ms: lease.until_ms });
            return;
        }
        Said::Ended(state) => {
            let end = End { state, failure: None, ended_ms: now_ms, destinations: Vec::new() };
            (Event::Ended { hold, end: state }, calls.finish(hold, id, end).await)
        }
    };
    let expected = model.tell(number, event);
    match outcome {
        Ok(()) => assert_eq!(expected, Outcome::Changed, "{event:?}"),
        Err(StoreError::Conflict) => assert_eq!(expected, Outcome::Unchanged, "{event:?}"),
        Err(error) => panic!("{error}"),
    }
}

/// Every call and all counts are what the machines say.
async fn agrees(calls: &dyn Calls, model: &Model) {
    let summary = calls.summary(Scope::All).await.unwrap();
    assert_eq!(summary.counters, model.counters);
    assert_eq!(summary.counters.drift(), 0);
    lists_agree(calls, model).await;
    for (number, known) in &model.calls {
        let view = calls.get(Scope::All, id(*number)).await.unwrap();
        if !known.has_row() {
            assert_eq!(view, None);
            continue;
        }
        let view = view.unwrap();
        let shown = (CallState::from(view.state), view.attempts, view.cancel_asked);
        let machine = known.machine;
        assert_eq!(
            shown,
            (CallState::from(machine.state), machine.attempts, machine.cancel_asked),
            "{number}"
        );
        if let State::Leased(lease) | State::Running(lease) = machine.state {
            assert!(matches!(view.state, State::Leased(shown) | State::Running(shown) if shown == lease));
        }
    }
}

/// The lists of the namespace have the calls in the order of their accepts, on each page.
async fn lists_agree(calls: &dyn Calls, model: &Model) {
    let mut line: Vec<_> = model.calls.iter().filter(|(_, known)| known.has_row()).collect();
    line.sort_by_key(|(_, known)| known.place);
    for state in [None, Some(CallState::Accepted)] {
        let is_in = |known: &Known| state.is_none_or(|state| state == CallState::from(known.machine.state));
        let of_state = || line.iter().filter(|(_, known)| is_in(known)).map(|(id, _)| u128::from(**id));
        for skip in [0_u8, 2] {
            let scope = Scope::Namespace(ns("guest"));
            let query = CallQuery { scope, state, target: None, since_ms: None, upto_ms: None };
            let page = calls.list(query, skip.into(), 3).await.unwrap();
            let page: Vec<u128> = page.iter().map(|view| view.id.bits()).collect();
            assert_eq!(
                page,
                of_state().skip(skip.into()).take(3).collect::<Vec<_>>(),
                "{state:?} from {skip}"
            );
        }
    }
}

/// Takes the steps with a queue and with the machines, and looks after each.
async fn take_all(steps: &[Step]) {
    let dir = TempDir::new();
    let mut stores = open(dir.path()).await;
    let mut model = Model { now_ms: 1_000, ..Model::default() };
    for step in steps {
        model.now_ms += 3;
        if matches!(step, Step::Reopen) {
            stores.close().await;
            stores = open(dir.path()).await;
        }
        take(&*stores.calls, &mut model, step).await;
        agrees(&*stores.calls, &model).await;
    }
    stores.close().await;
}

#[test]
fn any_steps_agree_with_the_machines() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = if std::env::var_os("TRIPLANE_SOAK").is_some() { 512 } else { 48 };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&prop::collection::vec(step(), 1..80), |steps| {
        runtime.block_on(take_all(&steps));
        Ok(())
    });
    outcome.unwrap();
}

/// Steps that once did not agree: the machines had the priority of a call outlive its cancellation.
#[tokio::test]
async fn of_two_cancelled_calls_the_older_is_leased_first() {
    let accept = |id, priority| Step::Accept { id, delay_ms: 0, priority, partition: None };
    let lease = Step::Lease { owner: Owner(0), for_ms: 0, calls: 1 };
    take_all(&[accept(1, 3), Step::Cancel(1), accept(11, 4), Step::Cancel(11), lease]).await;
}
