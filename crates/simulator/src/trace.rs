//! The last lines of what happened, for a run that is looked into.

use std::collections::VecDeque;

/// So many lines at most.
#[derive(Debug)]
pub(crate) struct Trace {
    lines_max: usize,
    lines: VecDeque<String>,
}

impl Trace {
    /// Of no lines costs nothing.
    pub(crate) fn new(lines_max: usize) -> Self {
        Self { lines_max, lines: VecDeque::new() }
    }

    /// A line, made only where it is kept; the oldest goes.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.lines_max > 0 {
            self.lines.push_back(line());
            if self.lines.len() > self.lines_max {
                self.lines.pop_front();
            }
        }
    }

    /// The lines, the oldest first.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let mut trace = Trace::new(2);
        for line in ["a", "b", "c"] {
            trace.note(|| line.to_owned());
        }
        assert_eq!(trace.into_lines(), ["b", "c"]);
    }

    #[test]
    fn a_line_that_is_not_kept_is_not_made() {
        Trace::new(0).note(|| unreachable!("nobody looks into this run"));
    }
}
