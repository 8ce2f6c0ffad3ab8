//! The invariants, checked after everything that happens.

use std::collections::BTreeSet;

use crate::world::World;

impl World {
    /// The first invariant that does not hold, and how.
    pub(crate) fn broken(&self) -> Option<String> {
        let audit = self.leaders.pools().find_map(|pool| pool.audit().into_iter().next());
        audit.or_else(|| self.broken_on_nodes()).or_else(|| self.broken_on_routers())
    }

    fn broken_on_nodes(&self) -> Option<String> {
        for (id, node) in &self.driver.nodes {
            let held_mb = self.driver.held_mb(*id) + self.driver.stems_mb(*id);
            if held_mb > node.memory_mb {
                return Some(format!("POOL-3: node {} holds {held_mb} of {} MB", id.0, node.memory_mb));
            }
        }
        for (id, container) in &self.driver.containers {
            let (running, max) = (container.running.len() as u64, container.spec.action.limits.concurrency);
            if running > max || running != u64::from(container.gate.in_flight()) {
                return Some(format!("POOL-1: container {id} runs {running} of {max}: {:?}", container.gate));
            }
            if container.gate.is_closed() && running > 0 {
                return Some(format!("GC-1: container {id} closed with {running} in flight"));
            }
        }
        None
    }

    fn broken_on_routers(&self) -> Option<String> {
        let mut in_service = BTreeSet::new();
        for router in self.routers.values().filter(|router| router.is_up) {
            for container in router.table.containers() {
                let lease = container.lease();
                if container.in_flight() > lease.concurrency {
                    return Some(format!(
                        "POOL-1: {} calls at container {}",
                        container.in_flight(),
                        lease.container
                    ));
                }
                let real = self.driver.containers.get(&lease.container);
                if real.is_some_and(|real| real.spec.key != lease.key) {
                    return Some(format!(
                        "POOL-2: container {} is leased for {:?}",
                        lease.container, lease.key
                    ));
                }
                if container.is_in_service() && !in_service.insert(lease.container) {
                    return Some(format!("POOL-4: two routers choose container {}", lease.container));
                }
            }
        }
        None
    }
}
