//! What the run of a queued call owes to the queue: it is noted before it is sent, and stopped when nobody wants it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use triplane_model::ActivationId;

use super::board::{Board, Held, Lane};
use crate::ports::{Noted, Queue};
use crate::run::Reason;

/// A call that is held, towards the phases that run it.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    queue: &'a dyn Queue,
    /// The call; attempts have ids of their own.
    id: ActivationId,
    held: &'a Arc<Held>,
    board: &'a Board,
    /// Its lane, if that rests until this call starts.
    resting: Option<&'a Lane>,
    /// It was noted that the call is sent; a composition is noted with its first run.
    is_noted: AtomicBool,
}

impl<'a> Holding<'a> {
    pub(crate) fn new(
        queue: &'a dyn Queue,
        id: ActivationId,
        held: &'a Arc<Held>,
        board: &'a Board,
        resting: Option<&'a Lane>,
    ) -> Self {
        Self { queue, id, held, board, resting, is_noted: AtomicBool::new(false) }
    }

    /// Notes that the call is about to be sent, once.
    pub(crate) async fn about_to_send(&self) -> Result<(), Reason> {
        if self.is_noted.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.held.may_be_sent() {
            return Err(Reason::Withdrawn);
        }
        match self.queue.running(self.id, self.held.number()).await {
            Ok(Noted::Noted) => self.is_noted.store(true, Ordering::Relaxed),
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

    /// Writes down how far its composition is.
    pub(crate) async fn progress(&self, progress: Vec<u8>) -> Result<(), Reason> {
        match self.queue.progress(self.id, self.held.number(), progress).await {
            Ok(Noted::Noted) => Ok(()),
            Ok(Noted::NotHeld) => Err(Reason::Withdrawn),
            Err(error) => {
                tracing::warn!(activation = %self.id, %error, "the queue cannot note how far a composition is");
                Err(Reason::NotNoted)
            }
        }
    }

    /// Whether the call may go on.
    pub(crate) fn may_be_sent(&self) -> bool {
        self.held.may_be_sent()
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
