//! A call comes in: permits, the buffer, init once, the note, the frame.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;
use triplane_core::gate::Entry;
use triplane_wire::run::{NotStarted, RunReply, RunRequest};

use crate::container::{Call, Container, Phase, State};
use crate::link::Fault;
use crate::outbox::Written;
use crate::record::Times;
use crate::shared::millis;
use crate::spool::{Sent, SpoolError};

impl Container {
    /// Takes a call in; the answer comes whether or not anybody waits for it.
    pub(crate) fn run(&self, request: RunRequest) -> oneshot::Receiver<RunReply> {
        let (reply, answer) = oneshot::channel();
        let call = Call::new(request, reply);
        let now_ms = self.shared.monotonic_ms(call.started);
        let mut state = self.lock();
        match state.gate.enter(now_ms) {
            Entry::Run => self.proceed(state, call),
            Entry::Queue(_) => state.queued.push_back(call),
            Entry::Full { retry_after_ms } => {
                self.shared.metrics.refusals.inc();
                call.answer(RunReply::Busy { retry_after_ms });
            }
            Entry::Closed => call.answer(RunReply::NotStarted(NotStarted::Closed)),
        }
        answer
    }

    /// A call has a permit.
    pub(crate) fn proceed(&self, mut state: MutexGuard<'_, State>, call: Call) {
        match state.phase {
            Phase::Ready => {
                drop(state);
                self.send(call);
            }
            Phase::Fresh => {
                state.phase = Phase::Initialising;
                self.initialise(state, call);
            }
            Phase::Initialising => state.awaiting_init.push(call),
            Phase::Retired => {
                drop(state);
                self.give_back(call, RunReply::NotStarted(NotStarted::Closed));
            }
        }
    }

    fn initialise(&self, mut state: MutexGuard<'_, State>, mut call: Call) {
        call.begin();
        self.shared.metrics.inits.inc();
        if let Some(fault) = self.link.fault() {
            drop(state);
            return self.fail(call, &fault);
        }
        let deadline_ms = call.start_ms.saturating_add(millis(self.timeout));
        let payload = self.link.init(&self.messages, &self.spec, &call.request, deadline_ms);
        state.initialising = Some(call);
        let arm = !std::mem::replace(&mut state.armed, true);
        drop(state);
        let written = self.link.send_init(payload);
        if self.settle_write(written, arm) {
            return;
        }
        let call = self.lock().initialising.take();
        self.retire(true);
        if let Some(call) = call {
            self.give_back(call, RunReply::NotStarted(NotStarted::Closed));
        }
    }

    /// Ends a call that is known to fail as the runtime would, or the start of its container.
    fn fail(&self, call: Call, fault: &Fault) {
        let logs = self.collector().take(fault.of_init);
        let stream = u32::from(!fault.of_init);
        self.conclude(call, stream, Instant::now(), &fault.outcome, &logs);
    }

    /// Sends a call that has a permit to the initialised runtime; answers its stream if it was sent.
    pub(crate) fn send(&self, mut call: Call) -> Option<u32> {
        if call.cancelled {
            self.give_back(call, RunReply::Busy { retry_after_ms: 0 });
            return None;
        }
        call.begin();
        // 0 is the launcher's own; a stream is free again long before the counter comes round.
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed).max(1);
        let deadline_ms = call.start_ms.saturating_add(millis(self.timeout));
        let Some(frame) = self.messages.run(stream, &call.request, deadline_ms) else {
            let RunRequest { activation_id, transaction_id, .. } = &call.request;
            tracing::error!(activation = %activation_id, transaction = %transaction_id, "parameters do not fit into a frame");
            self.give_back(call, RunReply::NotStarted(NotStarted::Mismatch));
            return None;
        };
        if let Err(error) = self.note_sent(&mut call) {
            let transaction = &call.request.transaction_id;
            tracing::warn!(container = %self.id, %transaction, %error, "call is sent away");
            self.shared.metrics.refusals.inc();
            self.give_back(call, RunReply::NotStarted(NotStarted::NotNoted));
            return None;
        }
        call.request.parameters = Bytes::new();
        let mut state = self.lock();
        if state.phase != Phase::Ready {
            drop(state);
            self.withdraw(call);
            return None;
        }
        state.running.insert(stream, call);
        let arm = !std::mem::replace(&mut state.armed, true);
        drop(state);
        let written = self.link.send_run(stream, frame);
        if self.settle_write(written, arm) {
            return Some(stream);
        }
        let call = self.lock().running.remove(&stream);
        self.retire(true);
        if let Some(call) = call {
            let RunRequest { activation_id, transaction_id, .. } = &call.request;
            tracing::debug!(container = %self.id, activation = %activation_id, transaction = %transaction_id, "call was not sent, the runtime is gone");
            self.withdraw(call);
        }
        None
    }

    /// Tells the pump what a write left for it; false when the launcher cannot have got the frame.
    fn settle_write(&self, written: std::io::Result<Written>, arm: bool) -> bool {
        if arm {
            self.signal.arm.store(true, Ordering::Release);
        }
        if arm || matches!(written, Ok(Written::Part)) {
            self.signal.waker.wake();
        }
        written.is_ok()
    }

    fn note_sent(&self, call: &mut Call) -> Result<(), SpoolError> {
        let init_ms = call.init.map(millis);
        let head = self.head(call);
        let annotations = self.annotations(call, init_ms, false);
        self.shared.spool.sent(&Sent {
            id: call.request.activation_id,
            start_ms: call.start_ms.saturating_sub(init_ms.unwrap_or(0)),
            namespace: self.spec.key.namespace.as_str(),
            name: &self.filter_name,
            head: &head,
            annotations: &annotations,
        })?;
        call.noted = Some((head, annotations));
        Ok(())
    }

    pub(crate) fn annotations(&self, call: &Call, init_ms: Option<u64>, timed_out: bool) -> String {
        let times = Times { wait_ms: call.wait_ms.unwrap_or(0), init_ms };
        self.template.annotations(&times, timed_out, call.request.is_component)
    }

    pub(crate) fn head(&self, call: &Call) -> String {
        let request = &call.request;
        self.template.head(&request.caller.subject, request.activation_id, request.cause)
    }
}
