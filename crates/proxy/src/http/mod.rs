//! Runtimes in containers: OpenWhisk's `/init` and `/run` over HTTP (openwhisk-api.md 11). Entry point: [`pump::Pump`].
//!
//! What is about permits, records, time limits and texts is where the framed protocol has it too: `container`, `calls`,
//! `answers`, `outcome`, `desk`.

pub(crate) mod exchange;
pub(crate) mod logs;
pub(crate) mod pump;
mod rest;
