//! The future of a trace, for the collector that knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use triplane_core::collector;
use triplane_core::collector::clairvoyant::Clairvoyant;

use super::catalog::action_spec;
use super::trace::{Trace, TraceError};

/// The most calls of a trace that are known ahead: 800 MB of times. A longer trace is known so far only, and what is called
/// later comes as a surprise.
const CALLS_MAX: u64 = 100_000_000;

/// The collector that knows a trace: what is left to gain for those that do not. It reads the trace to its end.
///
/// # Errors
/// When the trace cannot be read.
pub fn clairvoyant(trace: &mut dyn Trace) -> Result<collector::Policy, TraceError> {
    let mut calls_ms: Vec<Vec<u64>> = Vec::new();
    for _ in 0..CALLS_MAX {
        let Some(call) = trace.next()? else { break };
        let index = call.action as usize;
        if calls_ms.len() <= index {
            calls_ms.resize_with(index + 1, Vec::new);
        }
        calls_ms[index].push(call.arrival_ms);
    }
    // of the specification only the key matters here
    let key = |number| Arc::unwrap_or_clone(Arc::clone(&action_spec(number, 1, 1).key));
    let known: BTreeMap<_, _> =
        (0..).zip(calls_ms).map(|(number, calls_ms)| (key(number), calls_ms)).collect();
    Ok(collector::Policy::Clairvoyant(Clairvoyant::new(known)))
}
