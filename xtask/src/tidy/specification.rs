//! A rule about documents that promise something: what is said to be shown is shown.

use super::tree::Tree;

/// Where promises are.
const FILES: [&str; 2] = ["SPECIFICATION.md", "docs/security.md"];

/// Every test that is named as `crate: name` exists in that crate.
pub(crate) fn named_tests_exist(tree: &Tree) -> Vec<String> {
    FILES.iter().flat_map(|file| missing_tests(tree, file)).collect()
}

fn missing_tests(tree: &Tree, file: &str) -> Vec<String> {
    let text = tree.get(file).unwrap_or_default();
    let missing = named_tests(text).filter(|(name, test)| !exists(tree, name, test));
    missing
        .map(|(name, test)| {
            format!("{file}: crates/{name} has no test {test}; name the one that shows it, or say pending")
        })
        .collect()
}

/// The pairs in backticks, `crate: name_of_a_test`.
fn named_tests(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted
        .filter_map(|quoted| quoted.split_once(": "))
        .filter(|(_, test)| test.contains('_') && !test.contains(' '))
}

fn exists(tree: &Tree, name: &str, test: &str) -> bool {
    let function = format!("fn {test}(");
    tree.under(&format!("crates/{name}")).any(|(_, text)| text.contains(&function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_does_not_exist_is_a_problem() {
        let tree = Tree::from([
            (
                "SPECIFICATION.md",
                "| fast | `core: it_is_fast`, `core: it_is_small` |\n| run | `./dev test` |\n",
            ),
            ("docs/security.md", "| a bomb | `node: bombs_fail`, `core: it_is_fast` |\n"),
            ("crates/core/src/a.rs", "fn it_is_fast() {}\n"),
        ]);
        let problems = named_tests_exist(&tree);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("SPECIFICATION.md") && problems[0].contains("it_is_small"));
        assert!(problems[1].starts_with("docs/security.md") && problems[1].contains("bombs_fail"));
    }
}
