//! What every pump does, whatever its runtime speaks: watches the time limits and concludes calls.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::container::{Call, Container};
use crate::logs::Collector;
use crate::outcome::{self, Outcome, Payload, ResultSizes};
use crate::runtime::Exit;
use crate::spool::Spool;

/// See the module.
pub(crate) struct Desk {
    container: Arc<Container>,
    timer: Pin<Box<Sleep>>,
    timer_on: bool,
    /// Calls whose records are written off the async threads.
    large: Vec<JoinHandle<()>>,
}

/// How a call ended: what the platform says, or what is to be read from the runtime's answer.
pub(crate) enum Ending {
    Known(Outcome),
    Answered { failed: bool, payload: Payload },
}

impl Desk {
    pub(crate) fn new(container: Arc<Container>) -> Self {
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { container, timer, timer_on: false, large: Vec::new() }
    }

    /// The calls that are late by now, with their streams. Watches for the one that is late next: while calls come and
    /// go the timer stays where it is, since all have the same limit and no later call can be late earlier.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Vec<(u32, Call)> {
        let mut late = Vec::new();
        if self.container.signal.arm.load(Ordering::Acquire) {
            self.container.signal.arm.store(false, Ordering::Release);
            late.extend(self.take_late());
        }
        while self.timer_on && self.timer.as_mut().poll(cx).is_ready() {
            late.extend(self.take_late());
        }
        late
    }

    fn take_late(&mut self) -> Vec<(u32, Call)> {
        let (late, next) = self.container.overdue();
        self.timer_on = next.is_some();
        if let Some(next) = next {
            self.timer.as_mut().reset(tokio::time::Instant::from_std(next));
        }
        late
    }

    /// Gives a call its logs, its record and its answer. What is large takes too long for an async thread.
    pub(crate) fn conclude(
        &mut self,
        call: Call,
        stream: u32,
        ended: Instant,
        ending: Ending,
        mut logs: Collector,
    ) {
        let large = ending.bytes() + logs.held_bytes() > Spool::LARGE_BYTES;
        let container = Arc::clone(&self.container);
        let conclude = move || {
            let outcome = ending.outcome(&container, &call);
            let logs = logs.take(!outcome.is_reusable());
            container.conclude(call, stream, ended, &outcome, &logs);
        };
        if large {
            self.large.retain(|task| !task.is_finished());
            self.large.push(tokio::task::spawn_blocking(conclude));
        } else {
            conclude();
        }
    }

    /// The container is gone: says so when all records are written.
    pub(crate) async fn finish(&mut self, exit: Exit) {
        for large in self.large.drain(..) {
            if let Err(panic) = large.await {
                tracing::error!(container = %self.container.id(), %panic, "a record was not written");
            }
        }
        self.container.set_gone(exit);
    }
}

impl Ending {
    fn bytes(&self) -> usize {
        match self {
            Self::Known(outcome) => outcome.result.len(),
            Self::Answered { payload, .. } => payload.bytes.len(),
        }
    }

    /// What it means. Looks at the whole answer.
    pub(crate) fn outcome(self, container: &Container, call: &Call) -> Outcome {
        match self {
            Self::Known(outcome) => outcome,
            Self::Answered { failed, payload } => {
                outcome::of_run(failed, payload, ResultSizes::of(call, container))
            }
        }
    }
}
