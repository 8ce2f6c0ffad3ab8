//! The future of a trace, for the collector that knows it.

use triplane_core::collector;
use triplane_core::collector::clairvoyant::{Call, Clairvoyant, Foresight};

use super::catalog::action_spec;
use super::trace::{Trace, TraceError};

/// The most starts of a trace that are known ahead; each takes at most 100 bytes: 500 MB. A trace that needs more is known so far only,
/// and what is called later comes as a surprise.
const STARTS_MAX: u64 = 5_000_000;

/// The collector that knows a trace: what is left to gain for those that do not. It reads the trace to its end.
///
/// # Errors
/// When the trace cannot be read.
pub fn clairvoyant(trace: &mut dyn Trace) -> Result<collector::Policy, TraceError> {
    let mut calls: Vec<Foresight> = Vec::new();
    let mut starts = 0;
    while starts < STARTS_MAX
        && let Some(call) = trace.next()?
    {
        let index = call.action as usize;
        if calls.len() <= index {
            calls.resize_with(index + 1, Foresight::default);
        }
        starts += u64::from(calls[index].call(Call {
            arrival_ms: call.arrival_ms,
            duration_ms: call.duration_ms.into(),
            cold_start_ms: call.cold_start_ms.into(),
        }));
    }
    let known = (0..).zip(calls).zip(trace.actions()).map(|((number, calls), action)| {
        let cold_start_ms = u32::try_from(calls.cold_start_ms().unwrap_or(0)).unwrap_or(u32::MAX);
        (action_spec(number, action.memory_mb, cold_start_ms), calls)
    });
    Ok(collector::Policy::Clairvoyant(Clairvoyant::new(known)))
}
