//! The contracts between the planes that are not the pool stream: run requests ([`run`]) and the framed protocol
//! between a proxy and a runtime ([`framed`]). The messages of the pool stream are in `triplane_core::pool::message`
//! until the planes become processes. This crate holds no logic.

pub mod framed;
pub mod run;
