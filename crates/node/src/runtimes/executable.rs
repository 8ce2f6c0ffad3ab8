//! The kinds of action that need no interpreter: their launcher is this program in another role.

use std::path::Path;

use triplane_model::runtimes::{BLACKBOX, Runtime};

use super::kind::runtime;
use crate::native::{Mode, ROLE};

/// Where the launcher is inside a sandbox.
pub(super) const LAUNCHER: &str = "/runtime/triplane";

/// Family, version, and how its executables are talked to. Go and Rust stand for what OpenWhisk's runtimes make of sources:
/// binaries that speak the actionloop protocol.
const KINDS: [(&str, &str, Mode); 3] =
    [("go", "1.20", Mode::ActionLoop), ("native", "1", Mode::Skeleton), ("rust", "1.34", Mode::ActionLoop)];

/// The families, for the manifest.
pub(super) fn families() -> impl Iterator<Item = (String, Vec<Runtime>)> {
    KINDS.iter().map(|(family, version, _)| ((*family).to_owned(), vec![runtime(family, version, true)]))
}

/// The command of a kind's launcher, given where that is; nothing for other kinds. An image that the node is asked to run is the
/// one that stands for executables (`wsk action create --native`): others are an engine's.
pub(super) fn arguments(kind: &str, launcher: &Path) -> Option<Vec<String>> {
    let mode = if kind == BLACKBOX { Mode::Skeleton } else { mode(kind)? };
    Some([launcher.to_str()?, ROLE, mode.name()].map(str::to_owned).into())
}

fn mode(kind: &str) -> Option<Mode> {
    let (family, version) = kind.split_once(':')?;
    let (_, _, mode) = KINDS.iter().find(|(name, number, _)| (*name, *number) == (family, version))?;
    Some(*mode)
}
