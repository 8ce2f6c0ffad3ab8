//! The one task of a container that speaks HTTP: performs the requests, takes the output, watches the time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use triplane_wire::run::{NotStarted, RunReply};

use crate::container::{Call, Container};
use crate::desk::{Desk, Ending};
use crate::http::exchange::{self, Exchange, Reply};
use crate::http::logs::Console;
use crate::http::rest::{Awake, Rest};
use crate::logs::Output;
use crate::outcome::{self, Outcome, Payload, ResultSizes};
use crate::runtime::{Exit, OutputPiece};

/// See the module.
pub(crate) struct Pump {
    container: Arc<Container>,
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Exchange>,
    exchanges: FuturesUnordered<BoxFuture<'static, (u32, Reply)>>,
    output: mpsc::Receiver<OutputPiece>,
    output_open: bool,
    console: Console,
    /// Calls that have their answers and wait for the rest of their output; one, below concurrency 2.
    settling: VecDeque<Settling>,
    rest: Rest,
    desk: Desk,
    /// Until when an exit is waited for after a connection was lost.
    grace: Option<Pin<Box<Sleep>>>,
}

struct Settling {
    call: Call,
    stream: u32,
    ended: Instant,
    outcome: Outcome,
    until: Pin<Box<Sleep>>,
}

/// What a pump needs beside its container.
pub(crate) struct Ends {
    pub(crate) address: SocketAddr,
    pub(crate) requests: mpsc::UnboundedReceiver<Exchange>,
    pub(crate) output: mpsc::Receiver<OutputPiece>,
    pub(crate) writes_markers: bool,
    pub(crate) pause_after: Option<Duration>,
}

impl Pump {
    pub(crate) fn new(container: Arc<Container>, ends: Ends) -> Self {
        Self {
            address: ends.address,
            requests: ends.requests,
            exchanges: FuturesUnordered::new(),
            output: ends.output,
            output_open: true,
            console: Console::new(container.collector(), ends.writes_markers),
            settling: VecDeque::new(),
            rest: Rest::new(Arc::clone(&container.sandbox), ends.pause_after),
            desk: Desk::new(Arc::clone(&container)),
            grace: None,
            container,
        }
    }

    /// Runs until the container is gone and all its calls have their answers.
    pub(crate) async fn run(mut self) {
        tokio::spawn(Arc::clone(&self.container).watch_sandbox());
        let exit = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.end(exit);
        self.desk.finish(exit).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        self.container.signal.waker.register(cx.waker());
        loop {
            // looked at before the last read, so that no answer or output of a container that is gone is missed
            let exit = self.container.signal.exit.get().copied();
            let mut progress = self.poll_requests(cx);
            progress |= self.poll_rest(cx);
            progress |= self.poll_exchanges(cx);
            progress |= self.poll_output(cx);
            self.end_late_calls(cx);
            progress |= self.poll_settling(cx);
            if let Some(exit) = exit.or_else(|| self.poll_grace(cx)) {
                return Poll::Ready(exit);
            }
            // a rest that begins sets a timer, which has to be polled
            if !progress && !self.begin_rest_if_idle() {
                return Poll::Pending;
            }
        }
    }

    // --- requests ------------------------------------------------------------------------------------------------

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(Some(exchange)) = self.requests.poll_recv(cx) else { return false };
        if let Some(exchange) = self.rest.wake(exchange) {
            self.perform(exchange);
        }
        true
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> bool {
        match self.rest.poll(cx) {
            Poll::Pending => return false,
            Poll::Ready(Awake::Send(held)) => held.into_iter().for_each(|exchange| self.perform(exchange)),
            Poll::Ready(Awake::Lost(held)) => {
                held.into_iter().for_each(|exchange| self.answered(exchange.stream, Reply::Unreachable));
            }
        }
        true
    }

    fn begin_rest_if_idle(&mut self) -> bool {
        let is_idle = self.exchanges.is_empty() && self.settling.is_empty() && self.container.is_ready();
        is_idle && self.rest.begin()
    }

    fn perform(&mut self, exchange: Exchange) {
        let limits = &self.container.shared.settings.limits;
        let kept_max = limits.result_bytes_max.max(limits.truncation_bytes);
        let kept_max = usize::try_from(kept_max).unwrap_or(usize::MAX);
        if self.settling.is_empty() {
            self.console.forget_markers();
        }
        self.exchanges.push(Box::pin(exchange::perform(self.address, exchange, kept_max)));
    }

    fn poll_exchanges(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(Some((stream, reply))) = self.exchanges.poll_next_unpin(cx) else { return false };
        self.answered(stream, reply);
        true
    }

    fn answered(&mut self, stream: u32, reply: Reply) {
        match reply {
            // the calls stay where they are: how the container ends says what became of them
            Reply::Dropped => self.lose_container(),
            Reply::Declined | Reply::Unreachable => self.send_away(stream),
            Reply::WithoutLength => {
                let outcome = self.container.outcome_of_exit(stream, Exit::Code(0));
                self.take_call(stream, outcome);
            }
            Reply::Answered { ok: true, .. } if stream == 0 => {
                self.container.initialised();
            }
            Reply::Answered { payload, .. } if stream == 0 => {
                self.take_call(stream, outcome::of_failed_init(&payload));
            }
            Reply::Answered { ok, payload } => self.take_answer(stream, !ok, payload),
        }
    }

    fn take_answer(&mut self, stream: u32, failed: bool, payload: Payload) {
        // none: it was answered before, because it was late
        let Some(call) = self.container.take_running(stream) else { return };
        let outcome = outcome::of_run(failed, payload, ResultSizes::of(&call, &self.container));
        self.settle(call, stream, outcome);
    }

    /// A call has its outcome: its record waits for its output.
    fn take_call(&mut self, stream: u32, outcome: Outcome) {
        let taken = match stream {
            0 => self.container.take_initialising(),
            stream => self.container.take_running(stream),
        };
        let Some(call) = taken else { return };
        self.settle(call, stream, outcome);
    }

    /// The runtime does not take the call, which may run elsewhere; it will not take others either.
    fn send_away(&mut self, stream: u32) {
        let call = match stream {
            0 => self.container.take_initialising(),
            stream => self.container.take_running(stream),
        };
        self.container.retire(false);
        match (call, stream) {
            (None, _) => {}
            (Some(call), 0) => self.container.give_back(call, RunReply::NotStarted(NotStarted::Closed)),
            (Some(call), _) => self.container.withdraw(call),
        }
    }

    /// A runtime that breaks off is ended or of no use, so it is killed; its exit says why.
    fn lose_container(&mut self) {
        self.container.retire(true);
        let grace = Duration::from_millis(self.container.shared.settings.exit_grace_ms);
        self.grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(grace)));
    }

    // --- output --------------------------------------------------------------------------------------------------

    fn poll_output(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.output_open {
            return false;
        }
        match self.output.poll_recv(cx) {
            Poll::Pending => false,
            Poll::Ready(Some(piece)) => {
                self.take_output(&piece);
                true
            }
            Poll::Ready(None) => {
                self.output_open = false;
                true
            }
        }
    }

    fn take_output(&mut self, piece: &OutputPiece) {
        let output = if piece.is_stderr { Output::Stderr } else { Output::Stdout };
        self.console.push(output, &piece.bytes);
    }

    fn settle(&mut self, call: Call, stream: u32, outcome: Outcome) {
        let patience = self.console.patience(outcome.is_reusable());
        let until = Box::pin(tokio::time::sleep(patience));
        self.settling.push_back(Settling { call, stream, ended: Instant::now(), outcome, until });
    }

    /// Concludes the calls whose output is complete, or is not waited for any longer.
    fn poll_settling(&mut self, cx: &mut Context<'_>) -> bool {
        // above concurrency 1 the calls' output is mixed, and each gets what is there when it ends
        let is_mixed = self.container.concurrency > 1;
        let Some(first) = self.settling.front_mut() else { return false };
        let is_complete = is_mixed || !self.output_open || self.console.is_complete();
        if !is_complete && first.until.as_mut().poll(cx).is_pending() {
            return false;
        }
        let Some(settled) = self.settling.pop_front() else { return false };
        let incomplete = !is_mixed && settled.outcome.is_reusable() && self.console.is_incomplete();
        self.conclude(settled, incomplete);
        true
    }

    fn conclude(&mut self, settled: Settling, incomplete: bool) {
        let Settling { call, stream, ended, outcome, .. } = settled;
        let mut logs = self.console.take(self.container.collector());
        if incomplete {
            // its late output must not become another call's
            logs.mark_incomplete();
            self.container.retire(false);
        }
        self.desk.conclude(call, stream, ended, Ending::Known(outcome), logs);
    }

    // --- time and end --------------------------------------------------------------------------------------------

    fn end_late_calls(&mut self, cx: &mut Context<'_>) {
        for (stream, call) in self.desk.poll_late(cx) {
            let outcome = self.container.outcome_of_late(stream, &call);
            self.settle(call, stream, outcome);
        }
    }

    fn poll_grace(&mut self, cx: &mut Context<'_>) -> Option<Exit> {
        let grace = self.grace.as_mut()?;
        if grace.as_mut().poll(cx).is_pending() {
            return None;
        }
        self.grace = None;
        tracing::error!(container = %self.container.id(), "a container without a connection does not end");
        self.end(Exit::Signal(9));
        None
    }

    /// Ends all calls: their container is gone, or as good as gone.
    fn end(&mut self, exit: Exit) {
        while let Ok(piece) = self.output.try_recv() {
            self.take_output(&piece);
        }
        while let Some(settled) = self.settling.pop_front() {
            self.conclude(settled, false);
        }
        // these were never sent, so they may run elsewhere
        let mut unsent = self.rest.take_held();
        unsent.extend(std::iter::from_fn(|| self.requests.try_recv().ok()));
        unsent.into_iter().for_each(|exchange| self.send_away(exchange.stream));
        for (stream, call) in self.container.take_all() {
            let outcome = self.container.outcome_of_exit(stream, exit);
            let logs = self.console.take(self.container.collector());
            self.desk.conclude(call, stream, Instant::now(), Ending::Known(outcome), logs);
        }
    }
}
