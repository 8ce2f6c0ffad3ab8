//! What is replayed: invocations in the order of arrival.

/// A call. Times are milliseconds; arrivals count from the begin of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// When it arrives.
    pub arrival_ms: u64,
    /// What it calls: an index into [`Trace::actions`].
    pub action: u32,
    /// How long it runs.
    pub duration_ms: u32,
    /// How long a start takes, if one is made for it.
    pub cold_start_ms: u32,
}

/// An action that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceAction {
    /// Its name, as the trace has it.
    pub name: Box<str>,
    /// The memory of a container, MB.
    pub memory_mb: u32,
}

/// A source of invocations. It is read once, so it may be as long as it likes; what it keeps is bounded by its actions.
pub trait Trace {
    /// The next invocation; none arrives before the one before it. Nothing when the trace is over.
    ///
    /// # Errors
    /// When the trace cannot be read, or says what cannot be.
    fn next(&mut self) -> Result<Option<Invocation>, TraceError>;

    /// The actions that were called so far, at least.
    fn actions(&self) -> &[TraceAction];
}

/// Why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A line that is not what the header promises; the first line is 1.
    #[error("line {line}: {problem}")]
    Line {
        /// Which.
        line: u64,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The file could not be read on.
    #[error("cannot read the trace")]
    Read(#[from] std::io::Error),
}
