//! The invariants, checked after everything that happens.

use std::collections::BTreeSet;

use crate::world::World;

impl World {
    /// The first invariant that does not hold, and how.
    pub(crate) fn broken(&mut self) -> Option<String> {
        let audit = self.leaders.pools().find_map(|pool| pool.audit().into_iter().next());
        audit
            .or_else(|| self.forgotten())
            .or_else(|| self.overfull())
            .or_else(|| self.broken_on_nodes())
            .or_else(|| self.broken_on_routers())
    }

    fn overfull(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.driver.has_changed) {
            return None;
        }
        let nodes = self.driver.nodes.iter();
        let overfull = nodes.filter_map(|(&id, node)| Some((id, self.driver.overfull(id, node)?))).next();
        let overfull = overfull.map(|(id, what)| format!("POOL-3: node {} holds {what}", id.0));
        let misplaced = || self.driver.misplaced();
        overfull.or_else(|| Some(format!("POOL-3: container {} may not be on its node", misplaced()?)))
    }

    fn broken_on_nodes(&self) -> Option<String> {
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
