//! Tables for people: columns as wide as what is in them.

/// One line for the head and one for each row.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["/guest/a", "private"], ["/guest/größer", "shared"]].map(|row| row.map(str::to_owned));
        let expected = "\
            actions        visibility\n\
            /guest/a       private\n\
            /guest/größer  shared\n";
        assert_eq!(table(["actions", "visibility"], rows), expected);
    }

    #[test]
    fn a_table_without_rows_has_its_head() {
        assert_eq!(table(["a", "b"], []), "a  b\n");
    }
}
