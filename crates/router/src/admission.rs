//! Phase "limits": whether the caller may call now.

use triplane_core::limits::{InFlightGuard, MinuteWindow};
use triplane_model::{ApiError, NamespaceLimits, SystemLimits};

use crate::identity::Known;

const MINUTE_MS: u64 = 60_000;

/// Counts a fire of a trigger in its minute. `now_ms` is epoch milliseconds.
pub(crate) fn admit_fire(caller: &Known, now_ms: u64) -> Result<(), ApiError> {
    let limits = &caller.identity.limits;
    count(&caller.usage.fires, limits.fires_per_minute, now_ms)
}

/// Counts a call; first in its minute, then in flight (openwhisk-api.md 9.2). `now_ms` is epoch milliseconds.
pub(crate) fn admit(caller: &Known, now_ms: u64) -> Result<InFlightGuard, ApiError> {
    let limits = &caller.identity.limits;
    admit_in_minute(caller, now_ms)?;
    caller.usage.in_flight.admit(limits.concurrent_invocations).map_err(|exceeded| {
        ApiError::concurrency_limited(exceeded.count, exceeded.allowed).retry_after_ms(1000)
    })
}

/// Counts a call in its minute only. `now_ms` is epoch milliseconds.
pub(crate) fn admit_in_minute(caller: &Known, now_ms: u64) -> Result<(), ApiError> {
    count(&caller.usage.minute, caller.identity.limits.invocations_per_minute, now_ms)
}

/// A namespace calls actions of the kinds that the system or an operator allows it (openwhisk-api.md 9.2).
pub(crate) fn entitle_kind(
    limits: &NamespaceLimits,
    kind: &str,
    system: &SystemLimits,
) -> Result<(), ApiError> {
    if limits.allows_kind(kind, system) { Ok(()) } else { Err(ApiError::kind_not_allowed(kind)) }
}

fn count(minute: &MinuteWindow, allowed: u64, now_ms: u64) -> Result<(), ApiError> {
    minute.admit(now_ms, allowed).map_err(|exceeded| {
        ApiError::rate_limited(exceeded.count, exceeded.allowed)
            .retry_after_ms(MINUTE_MS - now_ms % MINUTE_MS)
    })
}
