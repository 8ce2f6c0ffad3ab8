//! The waiting line of one action, and the slots that its calls hold.
//!
//! A call that finds a slot takes it without a lock. One that finds none, or finds others waiting, joins the line. A slot
//! that is given back goes to the call that waits longest: newcomers do not overtake.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::oneshot;
use triplane_core::id::ContainerId;
use triplane_core::pool::message::{ContainerSpec, Demand, Lease, Refusal, Up};
use triplane_core::route::{Group, Slot};
use triplane_core::service::ServiceTimes;

use crate::lines::Shared;

/// The shortest time between two messages about one action's demand, milliseconds.
const DEMAND_PERIOD_MS: u64 = 5;
/// A demand that does not change is told again when a call comes or goes after so many milliseconds.
const DEMAND_AGAIN_MS: u64 = 20;
/// A refused demand is raised again after at most this time, milliseconds.
const REFUSED_MS_MAX: u64 = 5_000;

/// The calls of one action for one namespace that wait for a slot.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) spec: Arc<ContainerSpec>,
    /// The containers, as of the latest table.
    group: ArcSwapOption<Group>,
    /// The length of the queue.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
    service: ServiceTimes,
    demanded: Mutex<Demanded>,
    is_dirty: AtomicBool,
    /// A container is used that had been idle; the control plane is to hear of it before the next report.
    has_news: AtomicBool,
    /// The marked container that the control plane was asked for; it is asked for once.
    rescued: Mutex<Option<ContainerId>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The action has changed: nobody waits here any more.
    is_over: bool,
    ticket: u64,
    calls: VecDeque<(u64, oneshot::Sender<Handed>)>,
}

/// What a waiting call is handed.
pub(crate) type Handed = Result<Held, Refusal>;

/// What the control plane was told last.
#[derive(Debug)]
struct Demanded {
    /// How many wait; nothing when it must be told again whatever the number.
    waiting: Option<usize>,
    at_ms: u64,
    not_before_ms: u64,
}

impl Demanded {
    /// Whether the control plane should be told that so many wait. It is told again now and then while any do, because it
    /// takes a line that it hears nothing of for one that does not move.
    fn is_news(&self, waiting: usize, now_ms: u64) -> bool {
        self.waiting != Some(waiting) || (waiting > 0 && now_ms >= self.at_ms + DEMAND_AGAIN_MS)
    }
}

impl Default for Demanded {
    fn default() -> Self {
        Self { waiting: Some(0), at_ms: 0, not_before_ms: 0 }
    }
}

/// There is no room for another waiting call.
#[derive(Debug)]
pub(crate) struct LineFull;

impl Line {
    pub(crate) fn new(spec: Arc<ContainerSpec>, shared: Arc<Shared>) -> Self {
        Self {
            spec,
            group: ArcSwapOption::empty(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            service: ServiceTimes::default(),
            demanded: Mutex::default(),
            is_dirty: AtomicBool::new(false),
            has_news: AtomicBool::new(false),
            rescued: Mutex::default(),
            shared,
        }
    }

    /// Takes a free slot, unless others wait for one.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Held> {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return None;
        }
        self.choose()
    }

    /// Joins the line, at its end or, with a call that was sent away by a container, at its front.
    pub(crate) fn join(self: &Arc<Self>, at_front: bool) -> Result<Waiter, LineFull> {
        let place = self.shared.enter()?;
        let (sender, handed) = oneshot::channel();
        let ticket = {
            let mut queue = self.queue();
            if queue.calls.len() >= self.shared.waiting_per_action_max {
                return Err(LineFull);
            }
            queue.ticket += 1;
            let entry = (queue.ticket, sender);
            match at_front {
                // the sender is dropped: there is nothing to wait for
                _ if queue.is_over => {}
                true => queue.calls.push_front(entry),
                false => queue.calls.push_back(entry),
            }
            self.waiting.store(queue.calls.len(), Ordering::SeqCst);
            queue.ticket
        };
        let waiter = Waiter { line: Arc::clone(self), ticket, handed, _place: place };
        self.serve();
        self.raise();
        Ok(waiter)
    }

    /// Hands free slots to those who wait longest.
    pub(crate) fn serve(self: &Arc<Self>) {
        // Pairs with the fence of a slot that is given back: one of the two sees the other.
        fence(Ordering::SeqCst);
        let mut unclaimed = None;
        let mut queue = self.queue();
        while !queue.calls.is_empty() {
            let Some(held) = unclaimed.take().or_else(|| self.choose()) else { break };
            let Some((_, call)) = queue.calls.pop_front() else { break };
            // A call that just left gives the slot back, for the next one.
            if let Err(Ok(held)) = call.send(Ok(held)) {
                unclaimed = Some(held);
            }
        }
        self.waiting.store(queue.calls.len(), Ordering::SeqCst);
        drop(queue);
        // Only now: giving a slot back may serve the line again.
        drop(unclaimed);
    }

    /// The containers changed.
    pub(crate) fn regroup(self: &Arc<Self>, group: Option<Arc<Group>>) {
        self.group.store(group);
        if self.lost_service().is_none() {
            // what is marked again is asked for again
            *self.rescued() = None;
        }
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.serve();
            self.raise();
        }
    }

    /// The demand cannot be met: waiting calls are answered, unless the action has containers whose slots they may get.
    pub(crate) fn refuse(self: &Arc<Self>, refusal: &Refusal) {
        let now_ms = self.shared.clock.now_ms();
        {
            let mut demanded = self.demanded();
            demanded.waiting = Some(0);
            demanded.not_before_ms = now_ms + refusal.retry_after_ms.min(REFUSED_MS_MAX);
        }
        if self.has_containers() {
            return self.shared.mark_dirty(self);
        }
        let refused = {
            let mut queue = self.queue();
            self.waiting.store(0, Ordering::SeqCst);
            self.demanded().not_before_ms = 0;
            std::mem::take(&mut queue.calls)
        };
        for (_, call) in refused {
            // One that left meanwhile needs no answer.
            let _ = call.send(Err(refusal.clone()));
        }
    }

    /// The action has another revision, or none: those who wait are sent away, and go to the line of the new one.
    pub(crate) fn end(self: &Arc<Self>) {
        let sent_away = {
            let mut queue = self.queue();
            queue.is_over = true;
            self.waiting.store(0, Ordering::SeqCst);
            std::mem::take(&mut queue.calls)
        };
        if !sent_away.is_empty() {
            drop(sent_away);
            self.raise();
        }
    }

    /// Asks for a marked container back when calls wait and nothing else is left for them.
    pub(crate) fn rescue(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let Some(marked) = self.lost_service() else { return };
        let mut rescued = self.rescued();
        if *rescued != Some(marked) {
            *rescued = Some(marked);
            self.shared.uplink.say(Up::Rescue(marked));
        }
    }

    /// A new control plane knows of no demand, and of no rescue.
    pub(crate) fn forget_demand(self: &Arc<Self>) {
        *self.rescued() = None;
        self.rescue();
        *self.demanded() = Demanded::default();
        self.say_again();
    }

    /// Tells the control plane again how many wait, if any do: that mends a demand that was lost.
    pub(crate) fn say_again(self: &Arc<Self>) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.demanded().waiting = None;
            self.shared.mark_dirty(self);
        }
    }

    /// Tells the control plane what is used and how many wait, as far as that is news; tells whether it heard.
    pub(crate) fn flush(&self) -> bool {
        self.is_dirty.store(false, Ordering::SeqCst);
        self.tell_news();
        let mut demanded = self.demanded();
        let now_ms = self.shared.clock.now_ms();
        let waiting = self.waiting.load(Ordering::SeqCst);
        if !demanded.is_news(waiting, now_ms) {
            return true;
        }
        if now_ms < demanded.not_before_ms {
            return false;
        }
        let demand = Demand {
            spec: Arc::clone(&self.spec),
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
            service_us: self.service.mean_us(),
            ended: self.service.ended(),
        };
        let heard = self.shared.uplink.try_say(Up::Demand(demand)).is_ok();
        if heard {
            (demanded.waiting, demanded.at_ms) = (Some(waiting), now_ms);
        }
        heard
    }

    pub(crate) fn set_dirty(&self) -> bool {
        !self.is_dirty.swap(true, Ordering::SeqCst)
    }

    /// Takes in how long a call held its slot.
    pub(crate) fn observe(&self, service_us: u64) {
        self.service.observe(self.shared.clock.now_ms(), service_us);
    }

    fn tell_news(&self) {
        if !self.has_news.swap(false, Ordering::AcqRel) {
            return;
        }
        let news: Vec<_> = self.group.load().iter().flat_map(|group| group.news()).collect();
        if !news.is_empty() {
            self.shared.uplink.say(Up::Usage(news));
        }
    }

    #[cold]
    fn note_news(self: &Arc<Self>) {
        self.has_news.store(true, Ordering::Release);
        self.shared.mark_dirty(self);
    }

    fn choose(self: &Arc<Self>) -> Option<Held> {
        let group = self.group.load();
        let slot = group.as_ref()?.choose(self.shared.clock.now_ms())?;
        if slot.is_news() {
            self.note_news();
        }
        Some(Held { slot: Some(slot), line: Arc::clone(self) })
    }

    fn has_containers(&self) -> bool {
        let group = self.group.load();
        group
            .as_ref()
            .is_some_and(|group| group.containers().iter().any(|container| container.is_in_service()))
    }

    /// A marked container, where none is in service.
    fn lost_service(&self) -> Option<ContainerId> {
        let group = self.group.load();
        let group = group.as_ref()?;
        let is_served = group.containers().iter().any(|container| container.is_in_service());
        if is_served { None } else { group.marked() }
    }

    /// The first call of an action without a container is news at once. Everything else is gathered for a few
    /// milliseconds: where containers are, most waits are over by then, and nothing need be said.
    fn raise(self: &Arc<Self>) {
        // before the demand, by which another one might be started in its place
        self.rescue();
        let is_first = {
            let demanded = self.demanded();
            let (waiting, now_ms) = (self.waiting.load(Ordering::SeqCst), self.shared.clock.now_ms());
            if !demanded.is_news(waiting, now_ms) {
                return;
            }
            let pause_over = demanded.at_ms + DEMAND_PERIOD_MS <= now_ms;
            demanded.waiting == Some(0) && (pause_over || demanded.at_ms == 0) && !self.has_containers()
        };
        if !(is_first && self.flush()) {
            self.shared.mark_dirty(self);
        }
    }

    fn leave(self: &Arc<Self>, ticket: u64) {
        let was_waiting = {
            let mut queue = self.queue();
            let place = queue.calls.iter().position(|(other, _)| *other == ticket);
            let left = place.and_then(|place| queue.calls.remove(place));
            self.waiting.store(queue.calls.len(), Ordering::SeqCst);
            left.is_some()
        };
        if was_waiting {
            self.raise();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rescued(&self) -> MutexGuard<'_, Option<ContainerId>> {
        self.rescued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn demanded(&self) -> MutexGuard<'_, Demanded> {
        self.demanded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that a call holds; dropping it gives it to the call that waits longest.
#[derive(Debug)]
pub(crate) struct Held {
    slot: Option<Slot>,
    line: Arc<Line>,
}

impl Held {
    /// The container.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.slot.as_ref().map(Slot::lease)
    }

    /// No further call goes to this container.
    pub(crate) fn disown(&self) {
        if let Some(slot) = &self.slot {
            slot.disown();
        }
    }

    /// No further call goes to this container for a while; then the line is served again.
    pub(crate) fn rest(&self, rest_ms: u64) {
        let Some(slot) = &self.slot else { return };
        let rest_ms = rest_ms.max(1);
        slot.rest_until(self.line.shared.clock.now_ms() + rest_ms);
        let line = Arc::clone(&self.line);
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(rest_ms + 1)).await;
            line.serve();
            line.raise();
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(last) = self.slot.take().and_then(Slot::give_back) {
            self.line.shared.uplink.say(Up::Usage(vec![last]));
        }
        fence(Ordering::SeqCst);
        if self.line.waiting.load(Ordering::SeqCst) > 0 {
            self.line.serve();
            self.line.raise();
        }
    }
}

/// A call's place in the line; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Waiter {
    line: Arc<Line>,
    ticket: u64,
    handed: oneshot::Receiver<Handed>,
    _place: crate::lines::Place,
}

impl Waiter {
    /// Waits for a slot or a refusal; nothing when the line is over, because the action has changed.
    pub(crate) async fn wait(&mut self) -> Option<Handed> {
        (&mut self.handed).await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.line.leave(self.ticket);
        // A slot that was handed over in the last moment goes back with the receiver, to the next in line.
    }
}
