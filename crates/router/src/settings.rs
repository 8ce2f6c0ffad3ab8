//! What an operator can set, and what bounds the router.

use std::time::Duration;

use triplane_core::id::RouterId;
use triplane_model::SystemLimits;

/// The settings of a router.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which router this is, among those that the control plane serves.
    pub router: RouterId,
    /// The limits of the system: payloads and blocking waits are held against them.
    pub limits: SystemLimits,
    /// Calls that wait for a container of one action; one more gets 503.
    pub waiting_per_action_max: usize,
    /// Calls that wait for a container of any action; one more gets 503.
    pub waiting_total_max: usize,
    /// How long a call waits for a container before it ends as a failure of the platform.
    pub wait_time_max: Duration,
    /// How long a client may take to send the body of a call.
    pub body_time_max: Duration,
    /// Compositions that clients wait for, or that went on without them; one more gets 503. Each may keep a few MB between its steps.
    pub compositions_max: usize,
    /// Queued calls that this router holds at once.
    pub dispatch_concurrency_max: usize,
    /// The period in which the queue is looked at for calls that no notice was given of.
    pub dispatch_period: Duration,
    /// How long the router watches for what a lone call waits for, instead of sleeping; see [`Router::watch`].
    ///
    /// [`Router::watch`]: crate::Router::watch
    pub watch_time_max: Duration,
    /// The limits of the listener.
    pub http: triplane_net::Options,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            router: RouterId(0),
            limits: SystemLimits::default(),
            // As many as OpenWhisk keeps for an action.
            waiting_per_action_max: 10_000,
            waiting_total_max: 20_000,
            wait_time_max: Duration::from_secs(60),
            body_time_max: Duration::from_secs(65),
            compositions_max: 2_048,
            dispatch_concurrency_max: 512,
            dispatch_period: Duration::from_secs(1),
            watch_time_max: Duration::from_micros(150),
            http: triplane_net::Options::default(),
        }
    }
}
