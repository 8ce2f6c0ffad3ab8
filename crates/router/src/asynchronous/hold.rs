//! What the run of a queued call owes to the queue: it is noted before it is sent, and stopped when nobody wants it any more.

use std::sync::Arc;

use triplane_model::ActivationId;

use super::board::{Board, Held, Lane};
use crate::ports::{Noted, Queue};
use crate::run::Reason;

/// A call that is held, towards the phases that run it.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    pub(crate) queue: &'a dyn Queue,
    /// The call; attempts have ids of their own.
    pub(crate) id: ActivationId,
    pub(crate) held: &'a Arc<Held>,
    pub(crate) board: &'a Board,
    /// Its lane, if that rests until this call starts.
    pub(crate) resting: Option<&'a Lane>,
}

impl Holding<'_> {
    /// Notes that the call is about to be sent.
    pub(crate) async fn about_to_send(&self) -> Result<(), Reason> {
        if !self.held.may_be_sent() {
            return Err(Reason::Withdrawn);
        }
        match self.queue.running(self.id, self.held.number()).await {
            Ok(Noted::Noted) => {}
            Ok(Noted::NotHeld) => return Err(Reason::Withdrawn),
            Err(error) => {
                tracing::warn!(activation = %self.id, %error, "the queue cannot note that a call is sent");
                return Err(Reason::NotNoted);
            }
        }
        if let Some(lane) = self.resting {
            self.board.started(lane.clone());
        }
        Ok(())
    }

    /// Waits until its cancellation is asked for.
    pub(crate) async fn stopped(&self) {
        self.held.stopped().await;
    }
}

/// Waits until a call is not to be sent any more; calls that clients wait for always are.
pub(crate) async fn not_to_be_sent(holding: Option<&Holding<'_>>) {
    match holding {
        Some(holding) => holding.held.not_to_be_sent().await,
        None => std::future::pending().await,
    }
}
