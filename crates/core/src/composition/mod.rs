//! Compositions: sequences, conductors, and both within each other (openwhisk-api.md 4).
//!
//! A [`Composition`] is what a call of a sequence or of a conductor is made of. It says what is [`Next`]: find out what an action is,
//! run one, or write the record of a composition that is over; the shell does it and tells the outcome as an [`Event`]. What it knows
//! can be written down before each step, and read again by another process that goes on from there.
//!
//! [`inline`] decides at a PUT whether a sequence may be what it is to be, [`conductor`] reads what conductors say.

pub mod conductor;
mod frame;
pub mod inline;
mod machine;
#[cfg(test)]
mod tests;
pub mod text;

use serde::{Deserialize, Serialize};
use triplane_model::{ActivationId, EntityName, FullName};

use self::frame::Frame;
pub use self::frame::{Composed, Kind, Over, Response};

/// A call of a sequence or of a conductor, at any moment between its first step and its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composition {
    /// The caller's namespace, which names without one are of.
    caller: EntityName,
    /// The most components of a sequence, and of a composition.
    components_max: u32,
    /// Compositions within each other, the outermost first; the last one works.
    frames: Vec<Frame>,
    awaits: Awaits,
}

/// What the last frame waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Awaits {
    /// To know what its next component is.
    Found { name: FullName, input: Option<String> },
    /// The end of a component.
    Component { name: FullName, input: Option<String>, id: Option<ActivationId> },
    /// The end of a run of its conductor.
    Conductor { input: Option<String>, id: Option<ActivationId> },
    /// That its record is written.
    Recorded(Box<Over>),
    /// Nothing: all is over.
    Nothing,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Find out what an action is, then tell with [`Event::Found`].
    Find {
        /// Which.
        name: FullName,
        /// Whether the caller's right to call it has not been checked yet.
        is_to_be_entitled: bool,
    },
    /// Run an action, whatever it is by now, then tell with [`Event::Ran`], [`Event::Late`] or [`Event::NotRun`].
    Run {
        /// Which.
        name: FullName,
        /// The composition that it is run for.
        cause: ActivationId,
        /// Whether it is the conductor of that, and not a component.
        is_conductor: bool,
    },
    /// A composition is over: write its record, then tell with [`Event::Recorded`].
    Record(Box<Over>),
    /// All is over, and all is recorded.
    Nothing,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What the action is that was asked for.
    Found(Found),
    /// The run ended.
    Ran(Ran),
    /// The run did not end within its time and a minute.
    Late(ActivationId),
    /// The run could not be started, and left no record.
    NotRun,
    /// The record is written.
    Recorded,
}

/// What an action is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An action that runs in a container.
    Action,
    /// A composition.
    Composition(Box<Opened>),
    /// There is none.
    Missing,
    /// The caller may not call it.
    NotEntitled,
    /// Nobody could say, or there is no room for another composition.
    Unknown,
}

/// A composition that is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The id of its activation.
    pub id: ActivationId,
    /// The action.
    pub action: Composed,
    /// What it does.
    pub kind: Kind,
    /// How long it waited for its start, milliseconds.
    pub wait_ms: u64,
}

/// A run that ended, of an action or of a composition within another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its activation.
    pub id: ActivationId,
    /// What it answered.
    pub response: Response,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
    /// The memory that its record tells of, MB.
    pub memory_mb: Option<u64>,
}
