//! A sandbox: what the spawner prepares once ([`template`]) and what a cloned child does to itself ([`child`]).

pub(crate) mod child;
pub(crate) mod confine;
mod seccomp;
pub(crate) mod template;
