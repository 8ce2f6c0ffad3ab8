//! What an operator can set, and what bounds the router.

use std::time::Duration;

use http::HeaderName;
use triplane_core::id::RouterId;
use triplane_model::{StoreLevels, SystemLimits};

/// The settings of a router.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which router this is, among those that the control plane serves.
    pub router: RouterId,
    /// The limits of the system: payloads and blocking waits are held against them.
    pub limits: SystemLimits,
    /// Which calls leave a record.
    pub store_levels: StoreLevels,
    /// The header with the transaction id, in requests and answers.
    pub transaction_header: HeaderName,
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
    /// Host names of the API: `NS.HOST` leads to the web actions of a namespace; see `web::vanity`.
    pub vanity_hosts: Vec<String>,
    /// The limits of the listener.
    pub http: triplane_net::Options,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            router: RouterId(0),
            limits: SystemLimits::default(),
            store_levels: StoreLevels::default(),
            transaction_header: HeaderName::from_static("x-request-id"),
            // As many as OpenWhisk keeps for an action.
            waiting_per_action_max: 10_000,
            waiting_total_max: 20_000,
            wait_time_max: Duration::from_secs(60),
            body_time_max: Duration::from_secs(65),
            compositions_max: 2_048,
            dispatch_concurrency_max: 512,
            dispatch_period: Duration::from_secs(1),
            watch_time_max: Duration::from_micros(150),
            vanity_hosts: Vec::new(),
            http: triplane_net::Options::default(),
        }
    }
}
