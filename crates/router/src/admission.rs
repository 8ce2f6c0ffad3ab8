//! Phase "limits": whether the caller may call now.

use triplane_core::limits::InFlightGuard;
use triplane_model::ApiError;

use crate::identity::Known;

const MINUTE_MS: u64 = 60_000;

/// Counts a call; first in its minute, then in flight (openwhisk-api.md 9.2). `now_ms` is epoch milliseconds.
pub(crate) fn admit(caller: &Known, now_ms: u64) -> Result<InFlightGuard, ApiError> {
    let limits = &caller.identity.limits;
    caller.usage.minute.admit(now_ms, limits.invocations_per_minute).map_err(|exceeded| {
        ApiError::rate_limited(exceeded.count, exceeded.allowed)
            .retry_after_ms(MINUTE_MS - now_ms % MINUTE_MS)
    })?;
    caller.usage.in_flight.admit(limits.concurrent_invocations).map_err(|exceeded| {
        ApiError::concurrency_limited(exceeded.count, exceeded.allowed).retry_after_ms(1000)
    })
}
