//! Rules about what is written in source files.

use super::tree::Tree;

/// How long a file may be; above 500 lines it should be split already.
const LINES_MAX: usize = 700;

/// What no decision may touch: clocks, randomness, the outside, other threads.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::io",
    "tokio",
    "rand::",
    "Mutex",
    "RwLock",
    "println!",
];

/// Code of `core`, tests apart, must not look at the world.
pub(crate) fn core_is_pure(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in
        tree.under("crates/core/src").filter(|(path, _)| is_rust(path) && !path.ends_with("tests.rs"))
    {
        for (number, line) in code(text) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                problems
                    .push(format!("{path}:{number}: {word} in core; pass the value in, or return an action"));
            }
        }
    }
    problems
}

/// Unsafe code lives in `node` only, and nobody switches the lint off elsewhere.
pub(crate) fn unsafe_code_is_in_node(tree: &Tree) -> Vec<String> {
    // Split, so that this file does not find itself.
    let words = [
        concat!("uns", "afe {"),
        concat!("uns", "afe fn"),
        concat!("uns", "afe impl"),
        concat!("uns", "afe extern"),
    ];
    let allowed = concat!("allow(uns", "afe_code");
    let mut problems = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| is_rust(path) && !path.starts_with("crates/node/")) {
        for (number, line) in lines(text).filter(|(_, line)| !is_comment(line)) {
            if words.iter().any(|word| line.contains(word)) || line.contains(allowed) {
                problems.push(format!(
                    "{path}:{number}: unsafe code outside crates/node; use a safe call, or move it there"
                ));
            }
        }
    }
    problems
}

/// Files have one concern, and so an end. Generated ones say so in their first line.
pub(crate) fn file_sizes(tree: &Tree) -> Vec<String> {
    let prose = |path: &str| path.ends_with(".md") || path.ends_with(".toml");
    let source = tree.files().filter(|(path, _)| !prose(path));
    let written = source.filter(|(_, text)| !text.lines().take(3).any(|line| line.contains("@generated")));
    let counted = written.map(|(path, text)| (path, text.lines().count()));
    let long = counted.filter(|(_, count)| *count > LINES_MAX);
    long.map(|(path, count)| format!("{path}: {count} lines, at most {LINES_MAX}; split it by concern"))
        .collect()
}

/// What is to be done is an issue, not a comment.
pub(crate) fn nothing_left_to_do(tree: &Tree) -> Vec<String> {
    // Split, so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut problems = Vec::new();
    for (path, text) in tree.files() {
        for (number, line) in lines(text) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{path}:{number}: {word}; do it now or open an issue"));
            }
        }
    }
    problems
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Lines with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// The lines before the tests that are no comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    lines(text).take_while(|(_, line)| line.trim() != "#[cfg(test)]").filter(|(_, line)| !is_comment(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_core_is_a_problem() {
        let tree = Tree::from([("crates/core/src/pool.rs", "fn f() {\n    let t = Instant::now();\n}\n")]);
        let problems = core_is_pure(&tree);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("crates/core/src/pool.rs:2: Instant::now in core"));
    }

    #[test]
    fn comments_tests_and_other_crates_may_name_clocks() {
        let tree = Tree::from([
            (
                "crates/core/src/pool.rs",
                "/// Never tokio.\nfn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n",
            ),
            ("crates/store/src/lib.rs", "use std::sync::Mutex;\n"),
        ]);
        assert!(core_is_pure(&tree).is_empty());
    }

    #[test]
    fn unsafe_code_is_a_problem_but_in_node() {
        let block = concat!("let x = uns", "afe { y() };\n");
        let allow = concat!("#![allow(uns", "afe_code, reason = \"r\")]\n");
        let tree = Tree::from([
            ("crates/node/src/a.rs", block),
            ("crates/net/src/a.rs", block),
            ("bench/src/b.rs", allow),
        ]);
        assert_eq!(unsafe_code_is_in_node(&tree).len(), 2);
    }

    #[test]
    fn a_long_file_is_a_problem_unless_generated() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let generated = format!("// @generated\n{long}");
        let tree =
            Tree::from([("a.rs", long.as_str()), ("b.rs", generated.as_str()), ("c.md", long.as_str())]);
        assert_eq!(
            file_sizes(&tree),
            [format!("a.rs: {} lines, at most 700; split it by concern", LINES_MAX + 1)]
        );
    }

    #[test]
    fn work_left_in_a_comment_is_a_problem() {
        let tree = Tree::from([("a.js", concat!("// FIX", "ME later\n")), ("b.js", "// done\n")]);
        assert_eq!(nothing_left_to_do(&tree).len(), 1);
    }
}
