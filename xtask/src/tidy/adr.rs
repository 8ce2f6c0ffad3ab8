//! Rules about decision records, `docs/adr/NNNN-what-was-decided.md`.

use super::tree::Tree;

/// Where they are.
const DIRECTORY: &str = "docs/adr";
/// One page.
const LINES_MAX: usize = 60;

/// Decisions are numbered from 0000 (the template) without a gap, and their titles carry the number.
pub(crate) fn decisions_are_numbered(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (expected, (path, text)) in decisions(tree).enumerate() {
        let name = path.trim_start_matches(DIRECTORY).trim_start_matches('/');
        if !name.starts_with(&format!("{expected:04}-")) {
            problems.push(format!("{path}: number it {expected:04}; numbers have no gaps and are used once"));
        } else if !text.starts_with(&format!("# {expected:04}: ")) {
            problems.push(format!("{path}: open it with the title '# {expected:04}: what was decided'"));
        }
    }
    problems
}

/// Decisions fit one page, so that they are read.
pub(crate) fn decisions_are_one_page(tree: &Tree) -> Vec<String> {
    let counted = decisions(tree).map(|(path, text)| (path, text.lines().count()));
    let long = counted.filter(|(_, count)| *count > LINES_MAX);
    long.map(|(path, count)| format!("{path}: {count} lines, at most {LINES_MAX}; cut it to the decision"))
        .collect()
}

fn decisions(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.under(DIRECTORY).filter(|(path, _)| path.ends_with(".md"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_gap_are_fine() {
        let tree = Tree::from([
            ("docs/adr/0000-template.md", "# 0000: template\n"),
            ("docs/adr/0001-first.md", "# 0001: first\n"),
        ]);
        assert!(decisions_are_numbered(&tree).is_empty());
    }

    #[test]
    fn a_gap_and_a_title_without_number_are_problems() {
        let tree = Tree::from([
            ("docs/adr/0000-template.md", "# Template\n"),
            ("docs/adr/0002-second.md", "# 0002: x\n"),
        ]);
        assert_eq!(decisions_are_numbered(&tree).len(), 2);
    }

    #[test]
    fn a_decision_of_two_pages_is_a_problem() {
        let long = "line\n".repeat(LINES_MAX + 1);
        assert_eq!(decisions_are_one_page(&Tree::from([("docs/adr/0000-x.md", long.as_str())])).len(), 1);
    }
}
