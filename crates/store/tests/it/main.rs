//! The store on real files.

mod actions;
mod activations;
mod calls;
mod support;
