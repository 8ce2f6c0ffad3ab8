//! A sandbox: what the spawner prepares once ([`template`]), and what a cloned child does to itself ([`child`]) before and after it
//! is told what to become ([`order`]).

pub(crate) mod child;
pub(crate) mod confine;
pub(crate) mod order;
pub(crate) mod report;
mod seccomp;
pub(crate) mod template;
