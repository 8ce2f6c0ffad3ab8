//! What the router tells the control plane by itself: demand that changed, what was kept, and what its containers did.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use triplane_core::pool::message::{Up, Usage};
use triplane_net::Shutdown;

use crate::router::Router;

/// The period of usage reports.
const USAGE_PERIOD: Duration = Duration::from_secs(1);
/// News is gathered for so long, so that a burst of calls is one message: short beside any cold start.
const GATHER: Duration = Duration::from_millis(5);
/// What could not be said is tried again after this time.
const RETRY: Duration = Duration::from_millis(10);

impl Router {
    /// Reports until the shutdown.
    pub async fn report(&self, shutdown: Shutdown) {
        let mut usage = tokio::time::interval(USAGE_PERIOD);
        usage.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut all_said = true;
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                _ = usage.tick() => {
                    self.report_usage();
                    self.lines.all().iter().for_each(|line| line.say_again());
                }
                () = self.uplink().later.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(RETRY), if !all_said => {}
            }
            all_said = self.uplink().flush() && self.lines.shared().flush();
        }
    }

    /// Containers that were idle since the last report are left out; when all were, nothing is said.
    fn report_usage(&self) {
        let usage: Vec<Usage> = self.lines.table.load().usage().collect();
        if !usage.is_empty() {
            self.uplink().say(Up::Usage(usage));
        }
    }
}
