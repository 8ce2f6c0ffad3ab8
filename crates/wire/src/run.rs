//! What a router asks of a container's proxy, and what it gets back.

use bytes::Bytes;
use triplane_core::id::{ContainerId, Secret};
use triplane_model::{ActivationId, Identity, Revision, Status, StoreLevel, TransactionId};

/// Which container a request is meant for. A proxy that is not exactly this answers [`RunReply::NotStarted`].
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The container; its epoch is part of the id.
    pub container: ContainerId,
    /// The revision of the action that the caller expects.
    pub revision: Revision,
    /// The container's secret.
    pub secret: Secret,
}

/// One call.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Which container.
    pub target: Target,
    /// The id of the activation.
    pub activation_id: ActivationId,
    /// The id of the request that caused it.
    pub transaction_id: TransactionId,
    /// Who calls.
    pub caller: std::sync::Arc<Identity>,
    /// The activation that caused this one.
    pub cause: Option<ActivationId>,
    /// Whether that is a composition, which its record tells.
    pub is_component: bool,
    /// The merged parameters: a JSON object, or an array between components of a sequence.
    pub parameters: Bytes,
    /// When the request arrived, epoch milliseconds: `waitTime` counts from here.
    pub arrived_ms: u64,
    /// W3C trace context to hand on, if the caller sent one.
    pub traceparent: Option<String>,
    /// How it must end for its record to be stored.
    pub store: StoreLevel,
}

/// What became of a call.
#[derive(Debug)]
pub enum RunReply {
    /// It did not start here: safe to send elsewhere.
    NotStarted(NotStarted),
    /// It did not start here because everything is taken; safe to send elsewhere, or here after a while.
    Busy {
        /// When a place may be free, from observed response times, milliseconds.
        retry_after_ms: u64,
    },
    /// It ran, or failed for good; its record is spooled, if it is to be stored.
    Done(Finished),
}

/// Why a call did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// Another container, revision, epoch or secret lives here.
    Mismatch,
    /// The container is closed, or died before the call was sent.
    Closed,
    /// The node cannot note that the call is sent, because its disk is full or its store is away. Its other containers
    /// cannot either, and this one is not to blame.
    NotNoted,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How.
    pub status: Status,
    /// Whether it ran longer than its limit.
    pub timed_out: bool,
    /// The result as JSON; `{"error": ...}` for errors.
    pub result: Bytes,
    /// The activation record as JSON, with empty logs.
    pub record: Bytes,
    /// What it says of the time that init and run took, milliseconds.
    pub duration_ms: u64,
    /// Microseconds that it held its slot, for estimates.
    pub service_us: u64,
    /// Whether the container can take further calls.
    pub reusable: bool,
}
