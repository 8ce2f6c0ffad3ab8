//! Rules about where things are.

use super::tree::Tree;

/// Every crate opens with what it is for.
pub(crate) fn crates_have_docs(tree: &Tree) -> Vec<String> {
    let roots = tree
        .crates()
        .flat_map(|directory| ["lib.rs", "main.rs"].map(|file| format!("{directory}/src/{file}")));
    let without = roots.filter(|path| tree.get(path).is_some_and(|text| !opens_with_docs(text)));
    without
        .map(|path| format!("{path}: open it with //! lines: purpose, entry point, what it must never do"))
        .collect()
}

/// Whether the first line that is neither empty nor an attribute of the crate is documentation.
fn opens_with_docs(text: &str) -> bool {
    let mut rest = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    rest.next().is_some_and(|line| line.starts_with("//! "))
}

/// Every crate takes its lints from the workspace.
pub(crate) fn crates_inherit_lints(tree: &Tree) -> Vec<String> {
    let manifests = tree.crates().map(|directory| format!("{directory}/Cargo.toml"));
    let without = manifests
        .filter(|path| tree.get(path).is_some_and(|text| !text.contains("[lints]\nworkspace = true")));
    without.map(|path| format!("{path}: add [lints] with workspace = true")).collect()
}

/// Integration tests of a crate are one binary, `tests/it`, because linking is what they cost. What counts instructions runs itself
/// under Valgrind, without the harness of tests, and is another.
pub(crate) fn one_integration_binary(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for directory in tree.crates() {
        let tests = format!("{directory}/tests");
        let (one, counting) = (format!("{tests}/it/"), format!("{tests}/instructions.rs"));
        for (path, _) in tree
            .under(&tests)
            .filter(|(path, _)| path.ends_with(".rs") && !path.starts_with(&one) && *path != counting)
        {
            problems.push(format!("{path}: a test binary of its own; make it a module of {one}main.rs"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_docs_is_a_problem() {
        let tree = Tree::from([
            ("crates/a/Cargo.toml", ""),
            ("crates/a/src/lib.rs", "mod x;\n"),
            ("crates/b/Cargo.toml", ""),
            ("crates/b/src/main.rs", "#![allow(x)]\n\n//! What it is.\n"),
        ]);
        let problems = crates_have_docs(&tree);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("crates/a/src/lib.rs: "));
    }

    #[test]
    fn a_crate_with_lints_of_its_own_is_a_problem() {
        let tree = Tree::from([
            ("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("b/Cargo.toml", "[package]\n"),
        ]);
        assert_eq!(crates_inherit_lints(&tree), ["b/Cargo.toml: add [lints] with workspace = true"]);
    }

    #[test]
    fn a_second_test_binary_is_a_problem() {
        let tree = Tree::from([
            ("crates/a/Cargo.toml", ""),
            ("crates/a/tests/it/main.rs", ""),
            ("crates/a/tests/it/part.rs", ""),
            ("crates/a/tests/other.rs", ""),
        ]);
        assert_eq!(one_integration_binary(&tree).len(), 1);
    }
}
