//! The launchers' files: their texts, and where they are inside a sandbox.

use std::path::Path;

/// Where the launchers are inside a sandbox.
pub(super) const LAUNCHERS: &str = "/triplane";

/// The text of a file in `runtimes/`.
macro_rules! text {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtimes/", $path))
    };
}
pub(super) use text;

/// The path of a launcher's file, for the place where the launchers are.
pub(super) fn file(launchers: &Path, name: &str) -> String {
    launchers.join(name).to_string_lossy().into_owned()
}
