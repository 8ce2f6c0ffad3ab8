//! A container that nobody calls is paused after a while, and resumed before it is called again (openwhisk-api.md 11.4).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Sleep;

use crate::http::exchange::Exchange;
use crate::runtime::Sandbox;

/// Whether its processes run.
pub(crate) struct Rest {
    sandbox: Arc<dyn Sandbox>,
    after: Option<Duration>,
    timer: Pin<Box<Sleep>>,
    state: State,
    /// What came while they did not: bounded by the permits.
    held: Vec<Exchange>,
}

enum State {
    Busy,
    /// The timer runs.
    Idle,
    Pausing(BoxFuture<'static, bool>),
    Paused,
    Resuming(BoxFuture<'static, bool>),
}

/// What may be sent now.
pub(crate) enum Awake {
    /// These.
    Send(Vec<Exchange>),
    /// The container does not come back: these were not sent.
    Lost(Vec<Exchange>),
}

impl Rest {
    pub(crate) fn new(sandbox: Arc<dyn Sandbox>, after: Option<Duration>) -> Self {
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { sandbox, after, timer, state: State::Busy, held: Vec::new() }
    }

    /// Nothing is to be done from now on; says whether the timer was started for that.
    pub(crate) fn begin(&mut self) -> bool {
        let (State::Busy, Some(after)) = (&self.state, self.after) else { return false };
        self.timer.as_mut().reset(tokio::time::Instant::now() + after);
        self.state = State::Idle;
        true
    }

    /// Something is to be sent: answers it when that may be done at once, else keeps it.
    pub(crate) fn wake(&mut self, exchange: Exchange) -> Option<Exchange> {
        match self.state {
            State::Busy | State::Idle => {
                self.state = State::Busy;
                return Some(exchange);
            }
            State::Paused => self.state = State::Resuming(self.sandbox.resume()),
            State::Pausing(_) | State::Resuming(_) => {}
        }
        self.held.push(exchange);
        None
    }

    /// What was kept and is not to be sent any more.
    pub(crate) fn take_held(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.held)
    }

    /// Pauses and resumes; ready when something can be sent, or never will be.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Awake> {
        loop {
            match &mut self.state {
                State::Busy | State::Paused => return Poll::Pending,
                State::Idle => {
                    std::task::ready!(self.timer.as_mut().poll(cx));
                    self.state = State::Pausing(self.sandbox.pause());
                }
                State::Pausing(pausing) => {
                    let paused = std::task::ready!(pausing.as_mut().poll(cx));
                    self.state = match (paused, self.held.is_empty()) {
                        (true, true) => State::Paused,
                        (true, false) => State::Resuming(self.sandbox.resume()),
                        (false, _) => State::Busy,
                    };
                    if !paused {
                        // it cannot be paused; what is left of the wait would be in vain too
                        self.after = None;
                        return Poll::Ready(Awake::Send(std::mem::take(&mut self.held)));
                    }
                }
                State::Resuming(resuming) => {
                    let resumed = std::task::ready!(resuming.as_mut().poll(cx));
                    self.state = State::Busy;
                    let held = std::mem::take(&mut self.held);
                    return Poll::Ready(if resumed { Awake::Send(held) } else { Awake::Lost(held) });
                }
            }
        }
    }
}
