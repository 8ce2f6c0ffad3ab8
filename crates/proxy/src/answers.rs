//! A call ends: its record, its permit, its answer.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use triplane_core::gate::Handover;
use triplane_model::activation::text;
use triplane_wire::run::{Finished, NotStarted, RunReply, RunRequest};

use crate::container::{Call, Container, Phase};
use crate::outcome::Outcome;
use crate::record::{self, Ending};
use crate::runtime::Exit;
use crate::shared::{micros, millis};
use crate::spool::Record;

/// What the record of a call says whose container the platform stopped.
const STOPPED: &str = "the platform stopped the container while the action ran; the action was not run again";

impl Container {
    /// A call was noted as sent but was not.
    pub(crate) fn withdraw(&self, call: Call) {
        self.shared.spool.void(call.request.activation_id);
        self.give_back(call, RunReply::NotStarted(NotStarted::Closed));
    }

    /// A call that did not run gives its permit back.
    pub(crate) fn give_back(&self, call: Call, reply: RunReply) {
        self.leave(None, || call.answer(reply));
    }

    /// A permit is free: the call that waits longest gets it. The answer goes out in between.
    fn leave(&self, service_us: Option<u64>, answer: impl FnOnce()) {
        let now_ms = self.shared.monotonic_ms(Instant::now());
        let mut state = self.lock();
        let next = match state.gate.leave(now_ms, service_us) {
            Handover::ToFirst => state.queued.pop_front(),
            Handover::Free => None,
        };
        let kill = state.phase == Phase::Retired && state.is_idle();
        drop(state);
        if kill {
            self.sandbox.kill();
        }
        answer();
        if let Some(next) = next {
            self.proceed(self.lock(), next);
        }
    }

    /// Init is done: the calls that waited for it run. Answers the stream of the call that it was for, if that was sent.
    pub(crate) fn initialised(&self) -> Option<u32> {
        let mut state = self.lock();
        let mut first = state.initialising.take()?;
        if state.phase == Phase::Initialising {
            state.phase = Phase::Ready;
        }
        let awaiting = std::mem::take(&mut state.awaiting_init);
        drop(state);
        let init = first.started.elapsed();
        self.shared.metrics.initialised(init);
        first.init = Some(init);
        let stream = self.send(first);
        for call in awaiting {
            self.send(call);
        }
        stream
    }

    /// The call that init is for, when it failed.
    pub(crate) fn take_initialising(&self) -> Option<Call> {
        self.lock().initialising.take()
    }

    /// A call that was sent.
    pub(crate) fn take_running(&self, stream: u32) -> Option<Call> {
        self.lock().running.remove(&stream)
    }

    /// Whether this call was sent and has no answer yet.
    pub(crate) fn is_running(&self, stream: u32) -> bool {
        self.lock().running.contains_key(&stream)
    }

    /// Whether init was sent and has no answer yet.
    pub(crate) fn is_initialising(&self) -> bool {
        self.lock().phase == Phase::Initialising
    }

    /// Calls beyond their time limit or cancelled, with their streams (0 for init), and when the next one will be.
    pub(crate) fn overdue(&self) -> (Vec<(u32, Call)>, Option<Instant>) {
        let now = Instant::now();
        let late = |call: &Call| call.cancelled || now.duration_since(call.started) >= self.timeout;
        let mut state = self.lock();
        let init = state.initialising.take_if(|call| late(call)).map(|call| (0, call));
        let runs = state.running.extract_if(|_, call| late(call));
        let calls: Vec<_> = init.into_iter().chain(runs).collect();
        let left = state.initialising.iter().chain(state.running.values());
        let next = left.map(|call| call.started + self.timeout).min();
        state.armed = next.is_some();
        (calls, next)
    }

    /// All calls that have no answer, with their streams: the container is gone.
    pub(crate) fn take_all(&self) -> Vec<(u32, Call)> {
        self.retire(false);
        let mut state = self.lock();
        let init = state.initialising.take().map(|call| (0, call));
        init.into_iter().chain(state.running.drain()).collect()
    }

    /// What the record of a call says whose container is gone.
    pub(crate) fn outcome_of_exit(&self, stream: u32, exit: Exit) -> Outcome {
        let stopped = self.stopping.load(Ordering::Acquire) || exit == Exit::Lost;
        match (exit, stream) {
            (Exit::OutOfMemory, _) => Outcome::developer_error(text::MEMORY_EXHAUSTED),
            _ if stopped => Outcome::whisk_error(STOPPED),
            (_, 0) => Outcome::developer_error(text::ABNORMAL_INIT),
            _ => Outcome::developer_error(text::ABNORMAL_RUN),
        }
    }

    /// What the record of a call says that took too long or was cancelled.
    pub(crate) fn outcome_of_late(&self, stream: u32, call: &Call) -> Outcome {
        if call.cancelled {
            return Outcome::whisk_error(text::CANCELLED);
        }
        let limit_ms = self.spec.action.limits.timeout_ms;
        let text = if stream == 0 { text::init_timed_out(limit_ms) } else { text::timed_out(limit_ms) };
        Outcome::timed_out(&text)
    }

    /// Writes the record of a call that ended, hands its permit on, and answers it. Writes to a file: when the record
    /// is longer than [`Spool::LARGE_BYTES`], not on an async thread.
    pub(crate) fn conclude(
        &self,
        mut call: Call,
        stream: u32,
        ended: Instant,
        outcome: &Outcome,
        logs: &str,
    ) {
        let took = ended.saturating_duration_since(call.started);
        // Init has a start of its own; a run's start is moved back by the time of init.
        let (init, run) = if stream == 0 { (Some(took), None) } else { (call.init, Some(took)) };
        let init_ms = init.map(millis);
        let start_ms = call.start_ms.saturating_sub(run.and(init_ms).unwrap_or(0));
        let duration_ms = init_ms.unwrap_or(0) + run.map_or(0, millis);
        let (head, annotations) = match call.noted.take() {
            Some(noted) if !outcome.timed_out => noted,
            _ => (self.head(&call), self.annotations(&call, init_ms, outcome.timed_out)),
        };
        let ending = Ending { status: outcome.status, result: &outcome.result, start_ms, duration_ms };
        let (record, result) = record::write(&head, &ending, &annotations);
        match call.request.store.keeps(outcome.status) {
            true => self.spool(&call.request, start_ms, &record, logs),
            // The note of its start must not become a record of a call that nobody heard of again.
            false => self.shared.spool.void(call.request.activation_id),
        }
        self.shared.metrics.ended(outcome.status, run, outcome.timed_out);
        if !outcome.is_reusable() {
            self.retire(false);
        }
        let reusable = self.lock().phase != Phase::Retired;
        let (record, service_us) = (Bytes::from(record), micros(took));
        let result = record.slice(result);
        let Outcome { status, timed_out, .. } = *outcome;
        let finished = Finished { status, timed_out, result, record, duration_ms, service_us, reusable };
        // The first call of a process is slower than those to come.
        let is_typical = reusable && call.init.is_none();
        self.leave(is_typical.then_some(service_us), || call.answer(RunReply::Done(finished)));
    }

    fn spool(&self, request: &RunRequest, start_ms: u64, record: &str, logs: &str) {
        let id = request.activation_id;
        let namespace = self.spec.key.namespace.as_str();
        let entry = Record { id, start_ms, namespace, name: &self.filter_name, record, logs };
        if let Err(error) = self.shared.spool.record_now(&entry) {
            // The answer is worth more than its record; after a restart the note of the call becomes one.
            self.shared.metrics.records_lost.inc();
            tracing::error!(activation = %id, transaction = %request.transaction_id, %error, "record is lost");
        }
    }
}
