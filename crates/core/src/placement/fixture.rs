//! Short ways to say what the tests of placing talk about.

use triplane_model::EntityName;

use super::request::{Asked, Constraints, Isolation, Request, Toleration};
use super::resources::{Enforcement, Resource, Resources};
use super::{Allocator, Artifact, Charge, Offer, Policy, Taint};
use crate::id::NodeId;

/// A node of this much memory.
pub(crate) fn node(memory_mb: u64) -> Offer {
    Offer::of_memory(memory_mb)
}

impl Offer {
    fn has(mut self, resource: Resource, amount: u64) -> Self {
        self.capacity.resources.set(resource, amount);
        self
    }

    pub(crate) fn cpu(self, milli: u64) -> Self {
        self.has(Resource::Cpu, milli)
    }

    pub(crate) fn enforced_cpu(mut self, milli: u64) -> Self {
        self.capacity.enforcement.insert(Resource::Cpu, Enforcement::Enforced);
        self.cpu(milli)
    }

    pub(crate) fn gpus(self, count: u64) -> Self {
        self.has(Resource::Gpu, count * 1000)
    }

    pub(crate) fn fpgas(mut self, count: u64) -> Self {
        self.capacity.resources.set_extended("example.com/fpga", count).unwrap();
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.traits.labels.insert(key.into(), value.into());
        self
    }

    pub(crate) fn taint(mut self, key: &str, value: &str) -> Self {
        self.traits.taints.push(Taint { key: key.into(), value: value.into() });
        self
    }

    pub(crate) fn reserved_for(mut self, namespace: &str) -> Self {
        self.traits.reserved_for = Some(self::namespace(namespace));
        self
    }
}

/// A namespace.
pub(crate) fn namespace(name: &str) -> EntityName {
    EntityName::namespace(name).unwrap()
}

/// A container of this much memory and no CPU.
pub(crate) fn request(memory_mb: u64) -> Request {
    Request {
        asked: Asked { resources: Resources::of_memory(memory_mb), reserves_cpu: false },
        namespace: namespace("guest"),
        kind: "nodejs:20".into(),
        code: Artifact::of("code"),
        image: None,
        constraints: Constraints::default(),
    }
}

impl Request {
    fn asks(mut self, resource: Resource, amount: u64) -> Self {
        self.asked.resources.set(resource, amount);
        self
    }

    pub(crate) fn cpu(self, milli: u64) -> Self {
        self.asks(Resource::Cpu, milli)
    }

    pub(crate) fn reserved_cpu(mut self, milli: u64) -> Self {
        self.asked.reserves_cpu = true;
        self.cpu(milli)
    }

    pub(crate) fn gpu(self, milli: u64) -> Self {
        self.asks(Resource::Gpu, milli)
    }

    pub(crate) fn fpgas(mut self, count: u64) -> Self {
        self.asked.resources.set_extended("example.com/fpga", count).unwrap();
        self
    }

    pub(crate) fn of(mut self, namespace: &str) -> Self {
        self.namespace = self::namespace(namespace);
        self
    }

    pub(crate) fn kind(mut self, kind: &str) -> Self {
        self.kind = kind.into();
        self
    }

    pub(crate) fn code(mut self, name: &str) -> Self {
        self.code = Artifact::of(name);
        self
    }

    pub(crate) fn image(mut self, name: &str) -> Self {
        self.image = Some(Artifact::of(name));
        self
    }

    pub(crate) fn selects(mut self, key: &str, value: &str) -> Self {
        self.constraints.labels.insert(key.into(), value.into());
        self
    }

    pub(crate) fn tolerates(mut self, key: &str, value: Option<&str>) -> Self {
        self.constraints.tolerations.push(Toleration { key: key.into(), value: value.map(Into::into) });
        self
    }

    pub(crate) fn isolated(mut self) -> Self {
        self.constraints.isolation = Isolation::Namespace;
        self
    }
}

/// A pool, and what a strategy chooses in it. Nodes are numbered from 0.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) allocator: Allocator,
    charges: Vec<Charge>,
}

impl Table {
    pub(crate) fn of(strategy: &str, nodes: impl IntoIterator<Item = Offer>) -> Self {
        let policy = Policy { strategy: strategy.parse().unwrap(), ..Policy::default() };
        let mut allocator = Allocator::new(policy);
        (0..).zip(nodes).for_each(|(id, offer)| allocator.offer(NodeId(id), offer));
        Self { allocator, charges: Vec::new() }
    }

    /// The same with a container on a node, which does not count as demand.
    pub(crate) fn with(mut self, node: u32, request: Request) -> Self {
        self.charges.push(self.allocator.nodes.charge(NodeId(node), &request, None).unwrap());
        self
    }

    /// The same after this demand.
    pub(crate) fn seen(mut self, request: Request, times: u32) -> Self {
        (0..times).for_each(|_| self.allocator.mix.observe(&request.asked));
        self
    }

    /// The same with a code or image on a node.
    pub(crate) fn cached(mut self, node: u32, name: &str) -> Self {
        self.allocator.notice(NodeId(node), Artifact::of(name));
        self
    }

    /// Checks what is chosen, each time with nothing placed.
    pub(crate) fn chooses(mut self, cases: &[(Request, Option<u32>)]) {
        for (request, expected) in cases {
            let chosen = self.allocator.choose(request);
            assert_eq!(chosen, expected.map(NodeId), "{request:?}");
        }
    }
}
