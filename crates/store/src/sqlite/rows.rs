//! Statements over many rows at once. Few different texts, so that each stays prepared.

use std::sync::Arc;

/// How many rows a statement takes, largest first. Each statement is a trip to the connection's thread and back, so that it pays to
/// have one for every power of two, and for what few clients write together.
const SIZES: [usize; 11] = [64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1];

/// A statement `head (?,...),(?,...) tail` for several numbers of rows.
#[derive(Debug)]
pub(crate) struct Rows([Arc<str>; SIZES.len()]);

impl Rows {
    /// `tuple` is one row's placeholders, such as `(?,?)`.
    pub(crate) fn new(head: &str, tuple: &str, tail: &str) -> Self {
        Self(SIZES.map(|size| {
            let tuples = vec![tuple; size].join(",");
            format!("{head} {tuples} {tail}").into()
        }))
    }

    fn following(head: &str, tuple: &str, (next, next_tuple): (&str, &str), tail: &str) -> Self {
        Self(SIZES.map(|size| match size - 1 {
            0 => format!("{head} {tuple} {tail}").into(),
            others => {
                let tuples = vec![next_tuple; others].join(",");
                format!("{head} {tuple}; {next} {tuples} {tail}").into()
            }
        }))
    }

    /// Cuts off the first items, as many as the largest statement that they fill takes: its text, those, and the rest.
    fn cut<'a, T>(&self, items: &'a [T]) -> Option<(Arc<str>, &'a [T], &'a [T])> {
        let position = SIZES.iter().position(|size| *size <= items.len())?;
        let (chunk, rest) = items.split_at(SIZES[position]);
        Some((self.0[position].clone(), chunk, rest))
    }

    /// Cuts the items into as few statements as there can be: the text for each, and its items.
    pub(crate) fn statements<'a, T>(&'a self, items: &'a [T]) -> impl Iterator<Item = (Arc<str>, &'a [T])> {
        let mut rest = items;
        std::iter::from_fn(move || {
            let (text, chunk, after) = self.cut(rest)?;
            rest = after;
            Some((text, chunk))
        })
    }
}

/// Statements over many rows that are all of a transaction: the first begins it, and the last commits it, which may be one.
#[derive(Debug)]
pub(crate) struct Bracketed {
    inner: Rows,
    first: Rows,
    last: Rows,
    only: Rows,
}

impl Bracketed {
    /// `tuple` is one row's placeholders.
    pub(crate) fn new(head: &str, tuple: &str) -> Self {
        Self::of(head, |head, tail| Rows::new(head, tuple, tail))
    }

    /// The first row of each statement by `head` and `tuple`, those that follow it by `next` in a statement of their own.
    pub(crate) fn following(head: &str, tuple: &str, next: (&str, &str)) -> Self {
        Self::of(head, |head, tail| Rows::following(head, tuple, next, tail))
    }

    fn of(head: &str, rows: impl Fn(&str, &str) -> Rows) -> Self {
        let begin = format!("BEGIN IMMEDIATE; {head}");
        let commit = "; COMMIT";
        Self {
            inner: rows(head, ""),
            first: rows(&begin, ""),
            last: rows(head, commit),
            only: rows(&begin, commit),
        }
    }

    /// Cuts the items into as few statements as there can be. `is_first` and `is_last` say of the first statement and of the last one
    /// whether it is that of the transaction.
    pub(crate) fn statements<'a, T>(
        &'a self,
        items: &'a [T],
        is_first: bool,
        is_last: bool,
    ) -> impl Iterator<Item = (Arc<str>, &'a [T])> {
        let (mut rest, mut is_first) = (items, is_first);
        std::iter::from_fn(move || {
            let (_, chunk, after) = self.inner.cut(rest)?;
            let rows = match (is_first, is_last && after.is_empty()) {
                (true, true) => &self.only,
                (true, false) => &self.first,
                (false, true) => &self.last,
                (false, false) => &self.inner,
            };
            (rest, is_first) = (after, false);
            rows.cut(chunk).map(|(text, chunk, _)| (text, chunk))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_begins_with_its_first_statement_and_is_committed_with_its_last() {
        let rows = Bracketed::new("VALUES", "(?)");
        let texts = |count, is_first, is_last| -> Vec<String> {
            let items = vec![(); count];
            rows.statements(&items, is_first, is_last).map(|(text, _)| text.to_string()).collect()
        };
        assert_eq!(texts(2, true, true), ["BEGIN IMMEDIATE; VALUES (?),(?) ; COMMIT"]);
        assert_eq!(texts(9, true, false)[1], "VALUES (?) ");
        let [first, last] = &texts(9, true, true)[..] else { panic!("two statements") };
        assert!(first.starts_with("BEGIN") && !first.ends_with("COMMIT"), "{first}");
        assert!(!last.starts_with("BEGIN") && last.ends_with("COMMIT"), "{last}");
        assert_eq!(texts(0, true, true).len(), 0);
    }

    #[test]
    fn every_item_is_in_one_statement_in_order() {
        let rows = Rows::new("VALUES", "(?)", "");
        for (count, statements) in [(0, 0), (1, 1), (7, 1), (15, 2), (63, 4), (64, 1), (65, 2), (300, 7)] {
            let items: Vec<usize> = (0..count).collect();
            let (mut seen, mut texts) = (Vec::new(), 0);
            for (text, chunk) in rows.statements(&items) {
                assert_eq!(text.matches('?').count(), chunk.len());
                seen.extend_from_slice(chunk);
                texts += 1;
            }
            assert_eq!((seen, texts), (items, statements));
        }
    }
}
