//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that can be checked by looking at files and at cargo's metadata.
//!
//! Each rule is a pure function from what it looks at to the problems that it finds; a problem is a line that says where
//! it is and what to do.

mod adr;
mod edges;
mod layout;
mod source;
mod specification;
mod tree;

use std::path::Path;

use tree::Tree;

/// All problems of the workspace at `root`.
///
/// # Errors
/// When files or cargo's metadata cannot be read.
pub(crate) fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let tree = Tree::read(root)?;
    let packages = edges::packages(root)?;
    let found = [
        edges::crate_edges(&packages),
        edges::confined_dependencies(&packages),
        edges::mutants_are_not_shipped(&packages),
        source::core_is_pure(&tree),
        source::unsafe_code_is_in_node(&tree),
        source::file_sizes(&tree),
        source::nothing_left_to_do(&tree),
        layout::crates_have_docs(&tree),
        layout::crates_inherit_lints(&tree),
        layout::one_integration_binary(&tree),
        adr::decisions_are_numbered(&tree),
        adr::decisions_are_one_page(&tree),
        specification::named_tests_exist(&tree),
    ];
    Ok(found.concat())
}
