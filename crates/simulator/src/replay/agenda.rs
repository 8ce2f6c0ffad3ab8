//! What will happen, in the order of time.
//!
//! All messages take equally long, so those on their way are a queue, and so are calls that will have waited long enough.
//! Only what takes its own time is in a heap, and that is as small as what is running.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use triplane_core::id::ContainerId;
use triplane_core::pool::message::{Action, Event as PoolEvent};

/// Where a message goes.
#[derive(Debug)]
pub(super) enum Message {
    /// To the pool.
    ToPool(PoolEvent),
    /// From the pool, to a router or a node.
    FromPool(Action),
}

/// What takes its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// A call has run.
    RunOver { call: u32 },
    /// A container is ready.
    StartOver(ContainerId),
    /// A container is gone.
    StopOver(ContainerId),
    /// A router may say the demand of an action again.
    DemandDue { router: u32, action: u32 },
    /// A router tells which containers of an action are used that were not.
    NewsDue { router: u32, action: u32 },
}

/// What happens next. Of what happens at the same time, what is named first here comes first, and of equals what was
/// planned first.
#[derive(Debug)]
pub(super) enum Next {
    /// A message arrives.
    Message(Message),
    /// Something is over.
    Deed(Deed),
    /// The next call of the trace arrives.
    Arrival,
    /// A call has waited long enough, if it still waits: its place, and which call of that place.
    GiveUp(u32, u64),
    /// The routers report use.
    RouterTick,
    /// The pool's clock.
    PoolTick,
}

/// What will happen.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    messages: VecDeque<(u64, Message)>,
    deeds: BinaryHeap<Reverse<(u64, u64, Deed)>>,
    planned: u64,
    give_ups: VecDeque<(u64, (u32, u64))>,
    /// When the next call arrives; never, when the trace is over.
    pub(super) arrival_ms: Option<u64>,
    pub(super) router_tick_ms: u64,
    pub(super) pool_tick_ms: u64,
}

impl Agenda {
    /// A message arrives then; not before any that was sent earlier.
    pub(super) fn send(&mut self, at_ms: u64, message: Message) {
        self.messages.push_back((at_ms, message));
    }

    /// Something is over then.
    pub(super) fn plan(&mut self, at_ms: u64, deed: Deed) {
        self.planned += 1;
        self.deeds.push(Reverse((at_ms, self.planned, deed)));
    }

    /// A call will have waited long enough then; not before any that began to wait earlier.
    pub(super) fn give_up(&mut self, at_ms: u64, place: u32, number: u64) {
        self.give_ups.push_back((at_ms, (place, number)));
    }

    /// What happens next, and when.
    pub(super) fn next(&mut self) -> (u64, Next) {
        let at_ms = self.next_ms();
        let is_now = |due_ms: Option<u64>| due_ms == Some(at_ms);
        let next = if is_now(self.message_ms()) {
            self.messages.pop_front().map(|(_, message)| Next::Message(message))
        } else if is_now(self.deed_ms()) {
            self.deeds.pop().map(|Reverse((_, _, deed))| Next::Deed(deed))
        } else if is_now(self.arrival_ms) {
            Some(Next::Arrival)
        } else if is_now(self.give_up_ms()) {
            self.give_ups.pop_front().map(|(_, (place, number))| Next::GiveUp(place, number))
        } else if self.router_tick_ms == at_ms {
            Some(Next::RouterTick)
        } else {
            None
        };
        (at_ms, next.unwrap_or(Next::PoolTick))
    }

    /// When the next thing happens.
    pub(super) fn next_ms(&self) -> u64 {
        let own = [self.message_ms(), self.deed_ms(), self.arrival_ms, self.give_up_ms()];
        own.into_iter().flatten().fold(self.router_tick_ms.min(self.pool_tick_ms), u64::min)
    }

    /// Whether nothing but clocks will go on until the next call arrives.
    pub(super) fn is_still(&self) -> bool {
        self.messages.is_empty() && self.deeds.is_empty() && self.give_ups.is_empty()
    }

    /// Leaves out the ticks of all clocks before this time, so that those behind it come when they would have come: a clock that
    /// nothing has to be done at keeps its period.
    pub(super) fn skip_ticks_until(&mut self, until_ms: u64, router_ms: u64, pool_ms: u64) {
        let skip = |at_ms: &mut u64, period_ms: u64| {
            *at_ms += until_ms.saturating_sub(*at_ms) / period_ms * period_ms;
        };
        skip(&mut self.router_tick_ms, router_ms);
        skip(&mut self.pool_tick_ms, pool_ms);
    }

    fn message_ms(&self) -> Option<u64> {
        self.messages.front().map(|(at_ms, _)| *at_ms)
    }

    fn deed_ms(&self) -> Option<u64> {
        self.deeds.peek().map(|Reverse((at_ms, ..))| *at_ms)
    }

    fn give_up_ms(&self) -> Option<u64> {
        self.give_ups.front().map(|(at_ms, _)| *at_ms)
    }
}
