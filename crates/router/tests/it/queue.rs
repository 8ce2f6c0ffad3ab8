//! The queue in memory: the machine of the core for each call, without the order of partitions.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use triplane_core::asynchronous::{
    Call, Destination, Event, Failure, Final, Hold, LaneDepth, Lease, Outcome, Owner, Pick, State, Stop,
};
use triplane_model::{ActivationId, EntityName};
use triplane_router::ports::{
    self, Accepted, End, Future, LeasedCall, NotAccepted, Noted, QueuedCall, Unavailable,
};

use crate::planes::{Gate, lock};

const ME: Owner = Owner(1);

/// What tests look into and change.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    rows: Mutex<Vec<Row>>,
    /// The ends, in their order.
    pub(crate) ends: Mutex<Vec<(ActivationId, End)>>,
    /// Calls that were noted as about to be sent.
    pub(crate) running: Mutex<HashSet<ActivationId>>,
    pub(crate) released: AtomicUsize,
    pub(crate) is_broken: AtomicBool,
    pub(crate) is_full: AtomicBool,
    pub(crate) gate: Gate,
}

#[derive(Clone, Debug)]
struct Row {
    call: QueuedCall,
    machine: Call,
    last_failure: Option<Failure>,
    progress: Option<Bytes>,
}

impl Row {
    fn due_ms(&self) -> Option<u64> {
        match self.machine.state {
            State::Accepted { due_ms } | State::Retry { due_ms } => Some(due_ms),
            _ => None,
        }
    }

    fn may_be_leased(&self) -> bool {
        self.due_ms().is_some_and(|due_ms| due_ms <= now_ms())
    }

    fn is_of(&self, pick: &Pick<EntityName, Destination>) -> bool {
        self.call.namespace == pick.namespace && self.call.target == pick.action
    }
}

impl Queue {
    /// Every call that was ever accepted.
    pub(crate) fn calls(&self) -> Vec<QueuedCall> {
        lock(&self.rows).iter().map(|row| row.call.clone()).collect()
    }

    /// The ids of calls that are over, in the order of their ends.
    pub(crate) fn over(&self) -> Vec<ActivationId> {
        lock(&self.ends).iter().map(|(id, _)| *id).collect()
    }

    /// How a call ended.
    pub(crate) fn end_of(&self, id: ActivationId) -> Option<Final> {
        lock(&self.ends).iter().find(|(ended, _)| *ended == id).map(|(_, end)| end.state)
    }

    pub(crate) fn state_of(&self, id: ActivationId) -> State {
        let rows = lock(&self.rows);
        rows.iter().find(|row| row.call.id == id).expect("it was accepted").machine.state
    }

    /// What is written down of how far a call is.
    pub(crate) fn progress_of(&self, id: ActivationId) -> Option<Bytes> {
        let rows = lock(&self.rows);
        rows.iter().find(|row| row.call.id == id).expect("it was accepted").progress.clone()
    }

    /// An earlier holder wrote down how far a call is.
    pub(crate) fn write_down(&self, id: ActivationId, progress: Vec<u8>) {
        let mut rows = lock(&self.rows);
        let row = rows.iter_mut().find(|row| row.call.id == id).expect("it was accepted");
        row.progress = Some(progress.into());
    }

    /// Someone asks for the cancellation of a call.
    pub(crate) fn cancel(&self, id: ActivationId) {
        self.tell(id, Event::CancelAsked);
    }

    /// A call became so much older.
    pub(crate) fn age(&self, id: ActivationId, by_ms: u64) {
        let mut rows = lock(&self.rows);
        let row = rows.iter_mut().find(|row| row.call.id == id).expect("it was accepted");
        row.call.accepted_ms -= by_ms;
    }

    /// What a recoverer gets of a call that another was running.
    pub(crate) fn adopt(&self, id: ActivationId) -> LeasedCall {
        let other = Owner(9);
        let lease = Lease { owner: other, until_ms: u64::MAX };
        self.tell(id, Event::Leased { now_ms: now_ms(), lease });
        self.tell(id, Event::SendingRun(Hold { owner: other, number: 1 }));
        self.adopt_of(id, other)
    }

    /// What a recoverer gets of a call that this router runs, whose lease lapsed.
    pub(crate) fn adopt_own(&self, id: ActivationId) -> LeasedCall {
        self.adopt_of(id, ME)
    }

    fn adopt_of(&self, id: ActivationId, lost: Owner) -> LeasedCall {
        self.tell(id, Event::Adopted { lost, lease: Lease { owner: ME, until_ms: u64::MAX } });
        let rows = lock(&self.rows);
        let row = rows.iter().find(|row| row.call.id == id).expect("it was accepted");
        let Call { leases: number, attempts, cancel_asked, .. } = row.machine;
        LeasedCall {
            call: row.call.clone(),
            number,
            attempts,
            cancel_asked,
            last_failure: row.last_failure,
            progress: row.progress.clone(),
        }
    }

    fn tell(&self, id: ActivationId, event: Event) -> Noted {
        let mut rows = lock(&self.rows);
        let row = rows.iter_mut().find(|row| row.call.id == id).expect("it was accepted");
        match row.machine.take_in(event) {
            Outcome::Changed => Noted::Noted,
            Outcome::Unchanged | Outcome::Unresolved => Noted::NotHeld,
        }
    }

    fn add(&self, call: QueuedCall) {
        let machine = Call::accepted(call.policy.due_ms(call.accepted_ms));
        lock(&self.rows).push(Row { call, machine, last_failure: None, progress: None });
    }

    fn accept(&self, call: QueuedCall) -> Result<Accepted, NotAccepted> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(NotAccepted::Full("the queue is full".to_owned()));
        }
        let earlier = self.calls().into_iter().find_map(|before| {
            let (one, other) = (before.idempotency?, call.idempotency.as_ref()?);
            (one.key == other.key && before.target == call.target)
                .then_some((before.id, one.fingerprint == other.fingerprint))
        });
        match earlier {
            Some((id, true)) => Ok(Accepted::Before(id)),
            Some((_, false)) => Err(NotAccepted::KeyReused),
            None => {
                self.add(call);
                Ok(Accepted::Stored)
            }
        }
    }

    fn lease(&self, picks: &[Pick<EntityName, Destination>]) -> Vec<LeasedCall> {
        let mut rows = lock(&self.rows);
        let lease = Lease { owner: ME, until_ms: u64::MAX };
        let mut leased = Vec::new();
        for pick in picks {
            let mut ready: Vec<_> =
                rows.iter_mut().filter(|row| row.is_of(pick) && row.may_be_leased()).collect();
            ready.sort_by_key(|row| std::cmp::Reverse(row.call.policy.priority));
            for row in ready.into_iter().take(pick.calls) {
                assert_eq!(row.machine.take_in(Event::Leased { now_ms: now_ms(), lease }), Outcome::Changed);
                let Call { leases: number, attempts, cancel_asked, .. } = row.machine;
                let (call, last_failure, progress) =
                    (row.call.clone(), row.last_failure, row.progress.clone());
                leased.push(LeasedCall { call, number, attempts, cancel_asked, last_failure, progress });
            }
        }
        leased
    }

    fn note_progress(&self, id: ActivationId, hold: Hold, progress: Bytes) -> Noted {
        let mut rows = lock(&self.rows);
        let row = rows.iter_mut().find(|row| row.call.id == id).expect("it was accepted");
        if row.machine.leases != hold.number {
            return Noted::NotHeld;
        }
        row.progress = Some(progress);
        Noted::Noted
    }

    fn lanes(&self) -> Vec<LaneDepth> {
        let mut depths: HashMap<(EntityName, Destination), u64> = HashMap::new();
        for row in lock(&self.rows).iter().filter(|row| row.may_be_leased()) {
            *depths.entry((row.call.namespace.clone(), row.call.target.clone())).or_default() += 1;
        }
        depths
            .into_iter()
            .map(|((namespace, target), ready)| LaneDepth { namespace, target, ready })
            .collect()
    }

    fn finish(&self, id: ActivationId, hold: Hold, end: End) -> Noted {
        let noted = self.tell(id, Event::Ended { hold, end: end.state });
        if noted == Noted::Noted {
            end.destinations.iter().cloned().for_each(|call| self.add(call));
            lock(&self.ends).push((id, end));
        }
        noted
    }
}

/// The port over it.
#[derive(Debug)]
pub(crate) struct ScriptedQueue(pub(crate) Arc<Queue>);

impl ScriptedQueue {
    fn change<T: Send + 'static>(&self, change: impl FnOnce(&Queue) -> T + Send + 'static) -> Future<T> {
        let queue = Arc::clone(&self.0);
        Box::pin(async move {
            queue.gate.pass().await;
            match queue.is_broken.load(Ordering::SeqCst) {
                true => Err(Unavailable("broken".to_owned())),
                false => Ok(change(&queue)),
            }
        })
    }
}

fn hold(number: u32) -> Hold {
    Hold { owner: ME, number }
}

impl ports::Queue for ScriptedQueue {
    fn accept(&self, call: QueuedCall) -> BoxFuture<'static, Result<Accepted, NotAccepted>> {
        let accepted = self.change(move |queue| queue.accept(call));
        Box::pin(async move { accepted.await? })
    }

    fn accept_all(&self, calls: Vec<QueuedCall>) -> BoxFuture<'static, Result<(), NotAccepted>> {
        let accepted =
            self.change(move |queue| calls.into_iter().try_for_each(|call| queue.accept(call).map(drop)));
        Box::pin(async move { accepted.await? })
    }

    fn lanes(&self, _: usize) -> Future<Vec<LaneDepth>> {
        self.change(Queue::lanes)
    }

    fn lease(&self, picks: Vec<Pick<EntityName, Destination>>) -> Future<Vec<LeasedCall>> {
        self.change(move |queue| queue.lease(&picks))
    }

    fn renew(&self, _: Vec<(ActivationId, u32)>) -> Future<Vec<Stop>> {
        self.change(|_| Vec::new())
    }

    fn running(&self, id: ActivationId, number: u32) -> Future<Noted> {
        self.change(move |queue| {
            lock(&queue.running).insert(id);
            queue.tell(id, Event::SendingRun(hold(number)))
        })
    }

    fn progress(&self, id: ActivationId, number: u32, progress: Vec<u8>) -> Future<Noted> {
        self.change(move |queue| queue.note_progress(id, hold(number), progress.into()))
    }

    fn release(&self, id: ActivationId, number: u32, due_ms: u64) -> Future<Noted> {
        self.change(move |queue| {
            queue.released.fetch_add(1, Ordering::SeqCst);
            queue.tell(id, Event::Released { hold: hold(number), due_ms })
        })
    }

    fn retry(&self, id: ActivationId, number: u32, failure: Failure, due_ms: u64) -> Future<Noted> {
        self.change(move |queue| {
            let noted = queue.tell(id, Event::Retried { hold: hold(number), due_ms });
            let mut rows = lock(&queue.rows);
            rows.iter_mut().filter(|row| row.call.id == id).for_each(|row| row.last_failure = Some(failure));
            noted
        })
    }

    fn finish(&self, id: ActivationId, number: u32, end: End) -> Future<Noted> {
        self.change(move |queue| queue.finish(id, hold(number), end))
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
