//! Statements over many rows at once. Few different texts, so that each stays prepared.

use std::sync::Arc;

/// How many rows a statement takes, largest first. Each statement is a trip to the connection's thread and back, so that it pays to
/// have one for every power of two.
const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

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

    /// Cuts the items into as few statements as there can be: the text for each, and its items.
    pub(crate) fn statements<'a, T>(&'a self, items: &'a [T]) -> impl Iterator<Item = (Arc<str>, &'a [T])> {
        let mut rest = items;
        std::iter::from_fn(move || {
            let position = SIZES.iter().position(|size| *size <= rest.len())?;
            let (chunk, after) = rest.split_at(SIZES[position]);
            rest = after;
            Some((self.0[position].clone(), chunk))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_statement_in_order() {
        let rows = Rows::new("VALUES", "(?)", "");
        for (count, statements) in [(0, 0), (1, 1), (3, 2), (8, 1), (63, 6), (64, 1), (65, 2), (300, 7)] {
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
