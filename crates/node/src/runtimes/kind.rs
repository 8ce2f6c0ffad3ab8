//! Kinds as the manifest shows them.

use triplane_model::runtimes::Runtime;

/// A kind of an image that OpenWhisk publishes under this name.
pub(super) fn runtime(family: &str, version: &str, default: bool) -> Runtime {
    Runtime {
        kind: format!("{family}:{version}"),
        image: format!("openwhisk/action-{family}-v{version}:nightly"),
        deprecated: false,
        default,
        attached: true,
        require_main: false,
    }
}
