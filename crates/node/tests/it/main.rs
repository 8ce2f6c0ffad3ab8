//! Tests of the node agent with real processes. Those of sandboxes need namespaces: root, or unprivileged user namespaces.

mod sandboxes;
mod support;
