//! What is said between clients, dispatchers, the queue and workers, and what else happens.

use triplane_core::asynchronous::{Failure, Final, Hold, Owner, Pick};
use triplane_model::ActivationId;

use super::queue::{Depth, NewCall, Row};
use super::worker::Request;
use crate::event::Life;

/// A dispatcher, or a worker, in one of its lives: what is meant for an earlier one does not reach a later one.
pub(super) type Party = (usize, Life);

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The next call of a client arrives.
    Arrival,
    /// A call reaches the queue, accepted by this dispatcher.
    Accept(NewCall, usize),
    /// A question or a word reaches the queue.
    AtQueue { from: Party, ask: u64, op: Op },
    /// An answer reaches a dispatcher.
    AtDispatcher { to: Party, word: Word },
    /// A request to run reaches a worker.
    AtWorker { to: Party, request: Request },
    /// The wish to end a run reaches a worker.
    Stop { to: Party, attempt: ActivationId },
    /// A run is over.
    RunOver { worker: Party, request: Request },
    /// A dispatcher's clock.
    Tick(usize),
    /// A killed dispatcher is back, empty and under another name.
    DispatcherBack(usize),
    /// A killed worker is back, with its spool.
    WorkerBack(usize),
}

/// What a dispatcher asks of the queue, or tells it.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Lease { now_ms: u64, picks: Vec<Pick<u8, u8>> },
    Running(Hold, ActivationId),
    Release(Hold, ActivationId, u64),
    Retry(Hold, ActivationId, u64),
    NeverSent(Hold, ActivationId),
    Finish(Hold, ActivationId, Final, Option<Failure>),
    Renew { until_ms: u64, holds: Vec<(ActivationId, u32)> },
    Lanes { now_ms: u64, living: Vec<Owner> },
    Alive { now_ms: u64 },
    Adopt { now_ms: u64 },
}

/// What a dispatcher hears.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// Calls that it leased, by pick, in answer to a question.
    Leased(u64, Vec<(Pick<u8, u8>, Vec<Row>)>),
    /// Whether a call may be sent, and which attempt that is.
    Noted(ActivationId, u32, Option<u32>),
    /// What it said was taken, or changed nothing.
    Heard(ActivationId, u32),
    /// Calls to stop: not held any more, or held and cancelled.
    Stops(Vec<(ActivationId, u32, bool)>),
    Lanes(Vec<Depth>),
    Living(Vec<Owner>),
    Adopted(Vec<Row>),
    /// A worker took a request, and so began the run.
    Began(ActivationId, u32),
    /// A worker did not take it.
    Busy(ActivationId, u32),
    /// The run of an attempt ended so.
    Ended(ActivationId, u32, Option<Failure>),
}
