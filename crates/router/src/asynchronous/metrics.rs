//! What is counted of asynchronous calls in the router; the queue counts the calls themselves.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use triplane_core::asynchronous::{Delivery, Destination, Failure};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    kind: &'static str,
    outcome: &'static str,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct AsyncMetrics {
    attempts: Family<Class, Counter>,
    destinations: Family<Outcome, Counter>,
}

impl AsyncMetrics {
    /// Registers everything under `triplane_async_`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("triplane_async");
        registry.register("attempts", "Attempts that ended, by how", self.attempts.clone());
        registry.register("destinations", "Destinations by what became of them", self.destinations.clone());
    }

    /// An attempt ended.
    pub(crate) fn attempted(&self, failure: Option<Failure>) {
        let class = failure.map_or("success", Failure::name);
        self.attempts.get_or_create(&Class { class }).inc();
    }

    /// A destination became a call.
    pub(crate) fn told(&self, destination: &Destination) {
        let kind = match destination {
            Destination::Action(_) => "action",
            Destination::Trigger(_) => "trigger",
            Destination::Callback(_) => "callback",
        };
        self.count(kind, "accepted");
    }

    /// A destination was one too many in a row.
    pub(crate) fn left_out(&self) {
        self.count("any", "left-out");
    }

    /// A callback was posted.
    pub(crate) fn delivered(&self, delivery: Delivery) {
        let outcome = match delivery {
            Delivery::Delivered => "delivered",
            Delivery::Again => "failed",
            Delivery::Refused => "refused",
        };
        self.count("callback", outcome);
    }

    fn count(&self, kind: &'static str, outcome: &'static str) {
        self.destinations.get_or_create(&Outcome { kind, outcome }).inc();
    }
}
