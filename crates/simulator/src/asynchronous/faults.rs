//! What goes wrong, and what people ask for.

use triplane_core::asynchronous::{Final, State};

use super::message::Event;
use super::world::World;

impl World {
    /// Lets things go wrong, and people ask for things, now and then.
    pub(super) fn spoil(&mut self) {
        let faults = self.config.faults.clone();
        let dispatcher = self.any_of(self.dispatchers.len());
        let worker = self.any_of(self.workers.len());
        if self.rng.chance(faults.dispatcher_kill) {
            self.kill_dispatcher(dispatcher);
        }
        if self.rng.chance(faults.worker_kill) {
            self.kill_worker(worker);
        }
        if self.rng.chance(faults.server_kill) {
            self.fired("server killed");
            (0..self.dispatchers.len()).for_each(|dispatcher| self.kill_dispatcher(dispatcher));
            (0..self.workers.len()).for_each(|worker| self.kill_worker(worker));
        }
        if self.rng.chance(faults.freeze) {
            let frozen_ms = self.rng.between(1_000, super::dispatcher::LEASE_MS * 2);
            self.dispatchers[dispatcher].frozen_until_ms = self.now_ms + frozen_ms;
            self.fired("dispatcher stands still");
        }
        if self.rng.chance(faults.clock_jump) {
            let jump_ms = i64::try_from(self.rng.between(0, faults.jump_ms_max * 2)).unwrap_or(0);
            self.dispatchers[dispatcher].skew_ms = jump_ms.saturating_sub_unsigned(faults.jump_ms_max);
            self.last_jump_ms = self.now_ms;
            self.fired("clock jumps");
        }
        self.operate();
    }

    fn operate(&mut self) {
        let now_ms = self.now_ms;
        if self.rng.chance(80)
            && let Some(call) = self.any_call(|_| true)
        {
            self.queue.cancel(call);
            self.fired("cancellation asked for");
        }
        if self.rng.chance(20)
            && let Some(call) = self.any_call(|_| true)
        {
            self.queue.hasten(call);
        }
        if self.rng.chance(40)
            && let Some(call) = self.any_call(|state| matches!(state, State::Final(_)))
        {
            let is_dead = |state| state == State::Final(Final::Dead);
            let call = self.any_call(is_dead).unwrap_or(call);
            let new = self.new_id();
            self.queue.redrive(&self.config, call, new, now_ms);
            self.fired("redrive asked for");
        }
        if self.rng.chance(10) {
            self.queue.purge(0, 0);
            self.fired("rows purged");
        }
    }

    fn any_of(&mut self, count: usize) -> usize {
        let all: Vec<_> = (0..count).collect();
        self.rng.choose(&all).unwrap_or_default()
    }

    fn kill_dispatcher(&mut self, dispatcher: usize) {
        if !self.dispatchers[dispatcher].is_up {
            return;
        }
        self.dispatchers[dispatcher].kill();
        self.fired("dispatcher killed");
        let down_ms = self.rng.between(1, 3_000);
        self.agenda.plan(self.now_ms + down_ms, Event::DispatcherBack(dispatcher));
    }

    fn kill_worker(&mut self, worker: usize) {
        if !self.workers[worker].is_up {
            return;
        }
        for call in self.workers[worker].kill() {
            self.run_ended(call);
            self.fired("run lost with its worker");
        }
        self.fired("worker killed");
        let down_ms = self.rng.between(1, 8_000);
        self.agenda.plan(self.now_ms + down_ms, Event::WorkerBack(worker));
    }

    /// The faults are over: clocks are right, nobody stands still. Who was killed is back in its time.
    pub(super) fn mend(&mut self) {
        for dispatcher in &mut self.dispatchers {
            dispatcher.skew_ms = 0;
            dispatcher.frozen_until_ms = 0;
        }
        self.last_jump_ms = if self.last_jump_ms > 0 { self.now_ms } else { 0 };
    }

    /// Sends a message, with what can go wrong on its way.
    pub(super) fn send(&mut self, event: Event) {
        if self.is_lost() {
            return self.note(|| format!("LOST {event:?}"));
        }
        // A request to run comes on a connection, and so once.
        let may_double = !matches!(event, Event::AtWorker { .. });
        if may_double && !self.is_quiet() && self.rng.chance(self.config.faults.doubled) {
            let late_ms = self.rng.between(1, 10_000);
            self.agenda.plan(self.now_ms + late_ms, event.clone());
            self.fired("message doubled");
        }
        let store_ms = match event {
            Event::AtQueue { .. } if !self.is_quiet() => {
                self.rng.between(0, self.config.faults.slow_store_ms_max)
            }
            _ => 0,
        };
        let late_ms = self.delay_ms() + store_ms;
        self.agenda.plan(self.now_ms + late_ms, event);
    }

    pub(super) fn is_lost(&mut self) -> bool {
        let is_lost = !self.is_quiet() && self.rng.chance(self.config.faults.lost);
        if is_lost {
            self.fired("message lost");
        }
        is_lost
    }

    pub(super) fn delay_ms(&mut self) -> u64 {
        if self.is_quiet() {
            return 1;
        }
        // Now and then one takes very long, and is overtaken by all that follows.
        if self.rng.chance(10) {
            self.fired("message late");
            return self.rng.between(1_000, 12_000);
        }
        1 + self.rng.between(0, self.config.faults.delay_ms_max)
    }

    pub(super) fn fired(&mut self, fault: &'static str) {
        *self.report.faults.entry(fault).or_default() += 1;
    }
}
