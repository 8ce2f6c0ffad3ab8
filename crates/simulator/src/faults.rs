//! What goes wrong in the world, and the actions that are called.

use std::sync::Arc;

use serde_json::value::RawValue;
use triplane_core::id::{ContainerId, NodeId, RouterId};
use triplane_core::pool::message::{ContainerSpec, Event as PoolEvent};
use triplane_model::{ActionLimits, Collection, Parameters, Revision};

use crate::chaos::Fault;
use crate::config::{ActionConfig, Config};
use crate::demand::INSTANCES_MIN;
use crate::event::Event;
use crate::world::{End, World};

/// How far the clock that a pool is decided by jumps at most: past most of what it waits for.
const CLOCK_JUMP_MS_MAX: u64 = 5_000;

impl World {
    /// Lets things go wrong now and then.
    pub(crate) fn spoil(&mut self) {
        if self.strikes(Fault::ContainerDies) {
            self.kill_container();
        }
        if self.strikes(Fault::RouterLost) {
            self.lose_router();
        }
        if self.strikes(Fault::NodeLost) {
            self.lose_node();
        }
        if self.strikes(Fault::ActionChanged) {
            self.change_action(|_| {});
        }
        if self.strikes(Fault::LimitsChanged) {
            let (memory_mb, concurrency) = (128 << self.rng.between(0, 2), self.rng.between(1, 3));
            self.change_action(|action| {
                (action.memory_mb, action.concurrency) = (memory_mb, concurrency);
            });
        }
        if self.strikes(Fault::ActionDeleted) {
            self.delete_action();
        }
        self.spoil_leaders();
        if self.strikes(Fault::NodeDrained) {
            self.drain_node();
        }
        if self.strikes(Fault::PolicySwitched) {
            let policy = crate::config::policy(&mut self.rng);
            self.step_newest(PoolEvent::PolicySwitched(policy));
        }
        if self.strikes(Fault::ClockJumps) {
            let by_ms = self.rng.between(1, CLOCK_JUMP_MS_MAX);
            self.leaders.jump(by_ms);
        }
    }

    fn kill_container(&mut self) {
        let ready = self.driver.containers.iter().filter(|(_, container)| container.is_ready);
        let ready: Vec<ContainerId> = ready.map(|(&id, _)| id).collect();
        let Some(id) = self.rng.choose(&ready) else { return };
        let Some(container) = self.driver.stop(id) else { return };
        self.note(|| format!("DEAD {id}"));
        self.bury(container);
        self.send(Event::Known(PoolEvent::Exited(id)));
    }

    /// Its calls die with it, as far as their callers are concerned; what runs in containers goes on.
    fn lose_router(&mut self) {
        let up: Vec<RouterId> = self.routers.iter().filter(|(_, it)| it.is_up).map(|(&id, _)| id).collect();
        let Some(id) = self.rng.choose(&up) else { return };
        self.note(|| format!("LOST ROUTER {id:?}"));
        if let Some(epoch) = self.routers.get(&id).map(|router| router.epoch) {
            self.falls_silent(epoch, id);
        }
        if let Some(router) = self.routers.get_mut(&id) {
            router.is_up = false;
            router.life += 1;
            router.lines.clear();
            router.table = triplane_core::route::Table::default();
        }
        let of_router = self.calls.iter().filter(|(_, call)| call.router == id);
        let calls: Vec<_> = of_router.map(|(&call, _)| call).collect();
        calls.into_iter().for_each(|call| self.end(call, End::Died));
        let back_ms = self.rng.between(1, 1_300);
        self.agenda.plan(self.now_ms + back_ms, Event::RouterBack(id));
    }

    fn lose_node(&mut self) {
        let up: Vec<NodeId> =
            self.driver.nodes.iter().filter(|(_, it)| it.is_up).map(|(&id, _)| id).collect();
        let Some(id) = self.rng.choose(&up) else { return };
        self.note(|| format!("LOST NODE {id:?}"));
        if let Some(node) = self.driver.nodes.get_mut(&id) {
            node.is_up = false;
            node.life += 1;
        }
        let on_node = self.driver.containers.iter().filter(|(_, container)| container.node == id);
        let on_node: Vec<_> = on_node.map(|(&id, _)| id).collect();
        for container in on_node {
            if let Some(container) = self.driver.stop(container) {
                self.bury(container);
            }
        }
        let noticed_ms = self.rng.between(0, 300);
        let back_ms = noticed_ms + self.rng.between(1, 1_000);
        self.agenda.plan(self.now_ms + noticed_ms, Event::Known(PoolEvent::NodeLost(id)));
        self.agenda.plan(self.now_ms + back_ms, Event::NodeBack(id));
    }

    fn change_action(&mut self, change: impl Fn(&mut ActionConfig)) {
        let indices: Vec<_> = (0..self.specs.len()).collect();
        if let Some(index) = self.rng.choose(&indices) {
            let told = self.rewrite_action(index, change);
            self.send(told);
        }
    }

    /// No action keeps containers that idle any more. That is the last change of each: it comes after what is on its way, which a
    /// pool would take for the newest after a deletion.
    pub(crate) fn keep_none(&mut self) {
        for index in 0..self.specs.len() {
            if self.config.actions[index].annotations.contains_key(INSTANCES_MIN) {
                let told =
                    self.rewrite_action(index, |action| drop(action.annotations.remove(INSTANCES_MIN)));
                self.agenda.plan(self.now_ms + self.all_heard_ms(), told);
            }
        }
    }

    /// Says what is to be told of it.
    fn rewrite_action(&mut self, index: usize, change: impl Fn(&mut ActionConfig)) -> Event {
        change(&mut self.config.actions[index]);
        let revision = Revision(self.specs[index].key.revision.0 + 1);
        self.specs[index] = spec(&self.config, index, revision.0);
        let name = self.specs[index].key.action.clone();
        Event::Known(PoolEvent::EntityChanged(Collection::Actions, name, Some(revision)))
    }

    /// It is created again at once, under the same name; the pool may hear of that first.
    fn delete_action(&mut self) {
        let indices: Vec<_> = (0..self.specs.len()).collect();
        let Some(index) = self.rng.choose(&indices) else { return };
        let name = self.specs[index].key.action.clone();
        self.send(Event::Known(PoolEvent::EntityChanged(Collection::Actions, name.clone(), None)));
        let revision = Revision(self.specs[index].key.revision.0 + 2);
        self.specs[index] = spec(&self.config, index, revision.0);
        self.send(Event::Known(PoolEvent::EntityChanged(Collection::Actions, name, Some(revision))));
    }

    fn drain_node(&mut self) {
        let ids: Vec<NodeId> = self.driver.nodes.keys().copied().collect();
        let Some(node) = self.rng.choose(&ids) else { return };
        self.step_newest(PoolEvent::NodeDrained { node, is_draining: true });
        let again = PoolEvent::NodeDrained { node, is_draining: false };
        let again_ms = self.now_ms + self.rng.between(1, 3_000);
        self.agenda.plan(again_ms, Event::Known(again));
    }
}

/// A revision of the action with this index.
pub(crate) fn spec(config: &Config, index: usize, revision: u64) -> Arc<ContainerSpec> {
    let chosen = &config.actions[index];
    let limits = ActionLimits {
        timeout_ms: 60_000,
        memory_mb: chosen.memory_mb,
        logs_mb: 10,
        concurrency: chosen.concurrency,
        instances: chosen.instances,
    };
    let mut annotations = Parameters::default();
    for (name, value) in &chosen.annotations {
        let value = RawValue::from_string(value.clone()).expect("the annotations of the simulation are JSON");
        annotations.set(name, value);
    }
    crate::spec::annotated(index, revision, "nodejs:20".into(), limits, annotations)
}
