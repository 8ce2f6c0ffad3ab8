//! Mixed demand: containers of many sizes, of which some want much CPU for their memory and a few want GPUs; few codes are hot and many
//! are rare.

use triplane_core::placement::{Artifact, Asked, Constraints, Request, Resource, Resources};
use triplane_model::EntityName;

use crate::rng::Rng;

/// A shape of container: memory (MB), CPU and GPU (thousandths), and how many of a hundred are like that.
type Shape = (u64, u64, u64, u64);

/// Most are small. Some wait and some compute; a few are large, and a few want a GPU or a part of one.
const SHAPES: [Shape; 12] = [
    (128, 60, 0, 15),
    (256, 60, 0, 20),
    (256, 250, 0, 20),
    (512, 125, 0, 10),
    (512, 500, 0, 10),
    (1_024, 250, 0, 6),
    (1_024, 1_000, 0, 4),
    (2_048, 500, 0, 5),
    (3_072, 750, 0, 4),
    (512, 250, 250, 2),
    (512, 250, 500, 2),
    (MEMORY_MB_OF_WHOLE_GPU, 500, 1_000, 2),
];
/// The memory of a container that wants a whole GPU.
pub(super) const MEMORY_MB_OF_WHOLE_GPU: u64 = 1_024;
/// Codes that six of ten containers are of, and all others.
const HOT_CODES: u64 = 10;
const RARE_CODES: u64 = 400;

/// What is asked for, container by container.
#[derive(Debug)]
pub(super) struct Demand {
    rng: Rng,
    namespace: EntityName,
}

impl Demand {
    pub(super) fn new(seed: u64) -> Self {
        let namespace = EntityName::namespace("guest").expect("it is a legal name");
        Self { rng: Rng::new(seed), namespace }
    }

    /// True once in so many times.
    pub(super) fn is_one_in(&mut self, times: u64) -> bool {
        self.rng.between(1, times) == 1
    }

    /// The next container.
    pub(super) fn next(&mut self) -> Request {
        let (memory_mb, cpu_milli, gpu_milli, _) = self.shape();
        let mut resources = Resources::of_memory(memory_mb).with(Resource::Cpu, cpu_milli);
        resources.set(Resource::Gpu, gpu_milli);
        Request {
            asked: Asked { resources, reserves_cpu: false },
            namespace: self.namespace.clone(),
            kind: "nodejs:20".into(),
            code: self.code(),
            image: None,
            constraints: Constraints::default(),
        }
    }

    fn shape(&mut self) -> Shape {
        let mut left = self.rng.between(1, SHAPES.iter().map(|(.., often)| often).sum());
        let is_it = |(.., often): &&Shape| {
            let is_it = left <= *often;
            left = left.saturating_sub(*often);
            is_it
        };
        SHAPES.iter().find(is_it).copied().unwrap_or(SHAPES[0])
    }

    fn code(&mut self) -> Artifact {
        let number = match self.rng.between(1, 10) {
            ..=6 => self.rng.between(1, HOT_CODES),
            _ => HOT_CODES + self.rng.between(1, RARE_CODES),
        };
        Artifact::of(&format!("code-{number}"))
    }
}
