//! The calls of a container: permits, the buffer, init once, records, answers.
//!
//! Everything here is short and does not wait; the pump and the callers' threads drive it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{oneshot, watch};
use triplane_core::gate::{Entry, Gate, Handover};
use triplane_core::id::{ContainerId, Secret};
use triplane_core::pool::message::ContainerSpec;
use triplane_model::activation::text;
use triplane_model::{ActivationId, Revision};
use triplane_wire::framed::{FrameType, Header};
use triplane_wire::run::{Finished, NotStarted, RunReply, RunRequest};

use crate::message::Messages;
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Written};
use crate::outcome::Outcome;
use crate::record::{self, Ending, Template};
use crate::runtime::{CodeMount, Exit, Sandbox};
use crate::shared::{Shared, epoch_ms, micros, millis};
use crate::spool::{Record, Sent, Spool, SpoolError};

/// What a caller is told to wait when the spool takes nothing.
const SPOOL_RETRY_MS: u64 = 1_000;

/// What the record of a call says whose container the platform stopped.
const STOPPED: &str = "the platform stopped the container while the action ran; the action was not run again";

/// A container and its calls.
#[derive(Debug)]
pub(crate) struct Container {
    id: ContainerId,
    spec: Arc<ContainerSpec>,
    secret: Secret,
    code: CodeMount,
    sandbox: Arc<dyn Sandbox>,
    pub(crate) shared: Arc<Shared>,
    messages: Messages,
    template: Template,
    /// `action` or `pkg/action`.
    filter_name: String,
    pub(crate) timeout: Duration,
    pub(crate) concurrency: u32,
    pub(crate) outbox: Outbox,
    state: Mutex<State>,
    next_stream: AtomicU32,
    pub(crate) signal: Signal,
    stopping: AtomicBool,
    gone: watch::Sender<Option<Exit>>,
}

/// How others reach the pump.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    pub(crate) waker: AtomicWaker,
    /// The first call since the timer was off was sent.
    pub(crate) arm: AtomicBool,
    /// The sandbox is gone.
    pub(crate) exit: OnceLock<Exit>,
}

#[derive(Debug)]
struct State {
    gate: Gate,
    phase: Phase,
    /// The call that init is for.
    initialising: Option<Call>,
    /// Calls with a permit that wait for init.
    awaiting_init: Vec<Call>,
    /// Calls that were sent.
    running: HashMap<u32, Call>,
    /// Calls without a permit, as many as the gate says.
    queued: VecDeque<Call>,
    /// The pump watches the time, or was told to.
    armed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not initialised.
    Fresh,
    Initialising,
    Ready,
    /// Nothing is sent any more; it is killed when nothing runs.
    Retired,
}

impl State {
    /// Whether the launcher has nothing to do.
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.initialising.is_none()
    }
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    request: RunRequest,
    reply: oneshot::Sender<RunReply>,
    /// From arrival to the start of init or run.
    wait_ms: Option<u64>,
    init: Option<Duration>,
    /// What its record starts with, and its annotations: once for the note and the record.
    noted: Option<(String, String)>,
    /// When init or run was sent, epoch milliseconds.
    start_ms: u64,
    /// The same moment.
    started: Instant,
}

impl Call {
    fn new(request: RunRequest, reply: oneshot::Sender<RunReply>) -> Self {
        Self { request, reply, wait_ms: None, init: None, noted: None, start_ms: 0, started: Instant::now() }
    }

    /// Init or run begins now.
    fn begin(&mut self) {
        self.started = Instant::now();
        self.start_ms = epoch_ms();
        self.wait_ms.get_or_insert(self.start_ms.saturating_sub(self.request.arrived_ms));
    }

    fn answer(self, reply: RunReply) {
        // The caller may be gone; its run was not cancelled for that.
        drop(self.reply.send(reply));
    }
}

impl Container {
    pub(crate) fn new(
        id: ContainerId,
        spec: Arc<ContainerSpec>,
        secret: Secret,
        shared: Arc<Shared>,
        sandbox: Arc<dyn Sandbox>,
        code: CodeMount,
        writer: OwnedWriteHalf,
    ) -> Arc<Self> {
        let limits = &spec.action.limits;
        let concurrency = u32::try_from(limits.concurrency).unwrap_or(u32::MAX).max(1);
        let name = &spec.action.name;
        let filter_name = match &name.package {
            Some(package) => format!("{package}/{}", name.name),
            None => name.name.to_string(),
        };
        let state = State {
            gate: Gate::new(concurrency, shared.settings.buffer_max),
            phase: Phase::Fresh,
            initialising: None,
            awaiting_init: Vec::new(),
            running: HashMap::new(),
            queued: VecDeque::new(),
            armed: false,
        };
        Arc::new(Self {
            id,
            secret,
            code,
            sandbox,
            messages: Messages::new(&spec, &shared.settings.api_host),
            template: Template::new(&spec),
            filter_name,
            timeout: Duration::from_millis(limits.timeout_ms),
            concurrency,
            outbox: Outbox::new(writer),
            state: Mutex::new(state),
            next_stream: AtomicU32::new(1),
            signal: Signal::default(),
            stopping: AtomicBool::new(false),
            gone: watch::Sender::new(None),
            shared,
            spec,
        })
    }

    // --- a call comes in -----------------------------------------------------------------------------------------

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
    fn proceed(&self, mut state: MutexGuard<'_, State>, call: Call) {
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
        let deadline_ms = call.start_ms.saturating_add(millis(self.timeout));
        let payload = self.messages.init(&self.spec, &self.code, &call.request, deadline_ms);
        let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let header = Header { kind: FrameType::Init, stream: 0, payload_bytes }.encode();
        state.initialising = Some(call);
        let arm = !std::mem::replace(&mut state.armed, true);
        drop(state);
        let written = self.outbox.send([Bytes::copy_from_slice(&header), Bytes::from(payload)]);
        if self.settle_write(written, arm) {
            return;
        }
        let call = self.lock().initialising.take();
        if let Some(call) = call {
            self.give_back(call, RunReply::NotStarted(NotStarted::Closed));
        }
        self.retire(true);
    }

    /// Sends a call that has a permit to the initialised runtime; answers its stream.
    fn send(&self, mut call: Call) -> u32 {
        call.begin();
        // 0 is the launcher's own; a stream is free again long before the counter comes round.
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed).max(1);
        let deadline_ms = call.start_ms.saturating_add(millis(self.timeout));
        let Some(frame) = self.messages.run(stream, &call.request, deadline_ms) else {
            tracing::error!(activation = %call.request.activation_id, "parameters do not fit into a frame");
            self.give_back(call, RunReply::NotStarted(NotStarted::Mismatch));
            return stream;
        };
        if let Err(error) = self.note_sent(&mut call) {
            tracing::warn!(container = %self.id, %error, "call is sent away");
            self.shared.metrics.refusals.inc();
            self.give_back(call, RunReply::Busy { retry_after_ms: SPOOL_RETRY_MS });
            return stream;
        }
        let id = call.request.activation_id;
        call.request.parameters = Bytes::new();
        let mut state = self.lock();
        if state.phase != Phase::Ready {
            drop(state);
            self.withdraw(call);
            return stream;
        }
        state.running.insert(stream, call);
        let arm = !std::mem::replace(&mut state.armed, true);
        drop(state);
        let head = Bytes::copy_from_slice(&frame.head);
        let written = self.outbox.send([head, frame.parameters, Bytes::from(frame.tail)]);
        if !self.settle_write(written, arm) {
            tracing::debug!(container = %self.id, activation = %id, "call was not sent, the runtime is gone");
            let call = self.lock().running.remove(&stream);
            if let Some(call) = call {
                self.withdraw(call);
            }
            self.retire(true);
        }
        stream
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
        let annotations = self.template.annotations(call.wait_ms.unwrap_or(0), init_ms, false);
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

    fn head(&self, call: &Call) -> String {
        let request = &call.request;
        self.template.head(&request.caller.subject, request.activation_id, request.cause)
    }

    // --- a call ends ---------------------------------------------------------------------------------------------

    /// A call was noted as sent but was not.
    fn withdraw(&self, call: Call) {
        self.shared.spool.void(call.request.activation_id);
        self.give_back(call, RunReply::NotStarted(NotStarted::Closed));
    }

    /// A call that did not run gives its permit back.
    fn give_back(&self, call: Call, reply: RunReply) {
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

    /// Init is done: the calls that waited for it run. Answers the stream of the call that it was for.
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
        Some(stream)
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

    /// Calls beyond their time limit, with their streams (0 for init), and when the next one will be.
    pub(crate) fn overdue(&self) -> (Vec<(u32, Call)>, Option<Instant>) {
        let now = Instant::now();
        let late = |call: &Call| now.duration_since(call.started) >= self.timeout;
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

    /// Writes the record of a call that ended, hands its permit on, and answers it. Writes to a file: when the record
    /// is longer than [`Spool::LARGE_BYTES`], not on an async thread.
    pub(crate) fn conclude(&self, mut call: Call, stream: u32, outcome: &Outcome, logs: &str) {
        let took = call.started.elapsed();
        // Init has a start of its own; a run's start is moved back by the time of init.
        let (init, run) = if stream == 0 { (Some(took), None) } else { (call.init, Some(took)) };
        let init_ms = init.map(millis);
        let start_ms = call.start_ms.saturating_sub(run.and(init_ms).unwrap_or(0));
        let duration_ms = init_ms.unwrap_or(0) + run.map_or(0, millis);
        let (head, annotations) = match call.noted.take() {
            Some(noted) if !outcome.timed_out => noted,
            _ => {
                let wait_ms = call.wait_ms.unwrap_or(0);
                (self.head(&call), self.template.annotations(wait_ms, init_ms, outcome.timed_out))
            }
        };
        let ending = Ending { status: outcome.status, result: &outcome.result, start_ms, duration_ms };
        let (record, result) = record::write(&head, &ending, &annotations);
        self.spool(call.request.activation_id, start_ms, &record, logs);
        self.shared.metrics.ended(outcome.status, run, outcome.timed_out);
        if !outcome.is_reusable() {
            self.retire(false);
        }
        let reusable = self.lock().phase != Phase::Retired;
        let (record, service_us) = (Bytes::from(record), micros(took));
        let result = record.slice(result);
        let finished = Finished { status: outcome.status, result, record, service_us, reusable };
        // The first call of a process is slower than those to come.
        let is_typical = reusable && call.init.is_none();
        self.leave(is_typical.then_some(service_us), || call.answer(RunReply::Done(finished)));
    }

    fn spool(&self, id: ActivationId, start_ms: u64, record: &str, logs: &str) {
        let namespace = self.spec.key.namespace.as_str();
        let entry = Record { id, start_ms, namespace, name: &self.filter_name, record, logs };
        if let Err(error) = self.shared.spool.record_now(&entry) {
            // The answer is worth more than its record; after a restart the note of the call becomes one.
            self.shared.metrics.records_lost.inc();
            tracing::error!(activation = %id, %error, "record is lost");
        }
    }

    // --- the container ends --------------------------------------------------------------------------------------

    pub(crate) fn close(&self, idle_ms: u64) -> bool {
        let now_ms = self.shared.monotonic_ms(Instant::now());
        self.lock().gate.close(idle_ms, now_ms)
    }

    /// Starts nothing any more, sends waiting calls away, and kills the container, at once or when nothing runs.
    pub(crate) fn retire(&self, at_once: bool) {
        let mut state = self.lock();
        state.phase = Phase::Retired;
        state.gate.shut();
        let queued = std::mem::take(&mut state.queued);
        let awaiting = std::mem::take(&mut state.awaiting_init);
        let kill = at_once || state.is_idle();
        drop(state);
        for call in queued {
            call.answer(RunReply::NotStarted(NotStarted::Closed));
        }
        for call in awaiting {
            self.give_back(call, RunReply::NotStarted(NotStarted::Closed));
        }
        if kill {
            self.sandbox.kill();
        }
    }

    /// Kills the container because the platform wants so.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.retire(true);
    }

    /// The container is gone and every call has its answer.
    pub(crate) fn set_gone(&self, exit: Exit) {
        self.gone.send_replace(Some(exit));
    }

    pub(crate) fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut gone = self.gone.subscribe();
        async move { gone.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).unwrap_or(Exit::Lost) }
            .boxed()
    }

    /// Wakes the pump when the sandbox is gone.
    pub(crate) async fn watch_sandbox(self: Arc<Self>) {
        let exit = self.sandbox.exited().await;
        self.signal.exit.get_or_init(|| exit);
        self.signal.waker.wake();
    }

    // --- small things --------------------------------------------------------------------------------------------

    pub(crate) fn id(&self) -> ContainerId {
        self.id
    }

    pub(crate) fn secret(&self) -> Secret {
        self.secret
    }

    pub(crate) fn revision(&self) -> Revision {
        self.spec.key.revision
    }

    pub(crate) fn logs_bytes_max(&self) -> u64 {
        self.spec.action.limits.logs_mb.saturating_mul(1 << 20)
    }

    pub(crate) fn timeout_ms(&self) -> u64 {
        self.spec.action.limits.timeout_ms
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn load(&self) -> (u32, u32) {
        let state = self.lock();
        (state.gate.in_flight(), state.gate.queued())
    }

    /// The state holds after a panic: every change of it is one statement.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a record of these parts is to be written off the async threads.
pub(crate) fn is_large(outcome: &Outcome, logs: &str) -> bool {
    outcome.result.len() + logs.len() > Spool::LARGE_BYTES
}
