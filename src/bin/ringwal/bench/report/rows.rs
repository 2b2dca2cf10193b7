//! Rows and cells of the tables.

use std::fmt;

pub(crate) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// The range over all rounds, which shows how far to trust a median.
pub(crate) fn range(rounds: impl Iterator<Item = Option<f64>>) -> String {
    let values: Option<Vec<f64>> = rounds.collect();
    let mut values = values.unwrap_or_default();
    values.sort_by(f64::total_cmp);
    match (values.first(), values.last()) {
        (Some(least), Some(greatest)) => format!("{least:.2}..{greatest:.2}"),
        _ => "-".to_owned(),
    }
}

/// Writes a heading and rows, with each column as wide as its widest cell.
pub(crate) fn write_rows(
    f: &mut fmt::Formatter<'_>,
    heading: &[impl AsRef<str>],
    rows: Vec<Vec<String>>,
) -> fmt::Result {
    let heading: Vec<String> = heading.iter().map(|name| name.as_ref().to_owned()).collect();
    let mut widths: Vec<usize> = heading.iter().map(String::len).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    for row in std::iter::once(heading).chain(rows) {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if at == 0 {
                write!(f, "{cell:<width$}")?;
            } else {
                write!(f, "  {cell:>width$}")?;
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_could_not_be_had_is_a_dash() {
        assert_eq!(range([Some(0.5), None].into_iter()), "-");
        assert_eq!(range([Some(2.0), Some(0.5), Some(1.0)].into_iter()), "0.50..2.00");
        assert_eq!((number(None, 2), number(Some(1.005), 1)), ("-".to_owned(), "1.0".to_owned()));
    }
}
