//! The node agent: spawner, sandboxes, code cache.
