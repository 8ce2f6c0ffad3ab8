//! The pool: which containers there are, who owns them, what is asked for, what is collected.

pub mod message;
mod settings;
mod view;

pub use settings::Settings;
pub use view::{ContainerView, NodeSummary, State, States, Summary, Totals};

use crate::id::Epoch;
use message::{Action, Event};

/// The machine.
#[derive(Debug)]
pub struct Pool {
    epoch: Epoch,
    settings: Settings,
}

impl Pool {
    /// The pool of a new leader: empty.
    #[must_use]
    pub fn new(epoch: Epoch, settings: Settings) -> Self {
        Self { epoch, settings }
    }

    /// Takes in an event and adds what is to be done to `actions`. `now_ms` never goes back.
    pub fn step(&mut self, now_ms: u64, event: Event, actions: &mut Vec<Action>) {
        let _ = (now_ms, event, actions, &self.settings, self.epoch);
    }

    /// The counts of the pool.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::default()
    }

    /// Every container.
    pub fn containers(&self) -> impl Iterator<Item = ContainerView> {
        std::iter::empty()
    }
}
