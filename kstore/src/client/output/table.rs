//! Tables of ASCII: headings centred and in capitals, cells to the right, long cells wrapped.

use std::fmt::{Display, Formatter, Result as FmtResult};

/// A cell wider than this is wrapped at its spaces.
const WRAP: usize = 30;

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The names of the columns.
    pub(crate) headings: Vec<&'static str>,
    /// The rows, each with as many cells as there are headings.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// The rows without headings and frame, cells separated by commas.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|row| row.join(", "))
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> FmtResult {
        let headings: Vec<String> =
            self.headings.iter().map(|name| name.replace('_', " ").to_uppercase()).collect();
        let rows: Vec<Vec<Vec<String>>> =
            self.rows.iter().map(|row| row.iter().map(|cell| wrap(cell)).collect()).collect();
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                let cells = rows.iter().flat_map(|row| &row[column]);
                cells.chain([&headings[column]]).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        write_rule(out, &widths)?;
        write_line(out, headings.iter().zip(&widths).map(|(name, width)| centre(name, *width)))?;
        write_rule(out, &widths)?;
        for row in &rows {
            let height = row.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..height {
                let cells = row.iter().zip(&widths).map(|(cell, &width)| {
                    format!("{:>width$}", cell.get(line).map_or("", String::as_str))
                });
                write_line(out, cells)?;
            }
        }
        write_rule(out, &widths)
    }
}

fn write_rule(out: &mut Formatter<'_>, widths: &[usize]) -> FmtResult {
    for width in widths {
        write!(out, "+{}", "-".repeat(width + 2))?;
    }
    writeln!(out, "+")
}

fn write_line(out: &mut Formatter<'_>, cells: impl Iterator<Item = String>) -> FmtResult {
    for cell in cells {
        write!(out, "| {cell} ")?;
    }
    writeln!(out, "|")
}

/// An odd space goes to the right.
fn centre(name: &str, width: usize) -> String {
    format!("{name:^width$}")
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// The lines of a cell: as many words on each as fit.
fn wrap(cell: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in cell.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= WRAP => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_centred_and_cells_stand_to_the_right() {
        let table = Table {
            headings: vec!["name", "hash_revision"],
            rows: vec![vec!["default".to_owned(), "7".to_owned()]],
        };
        let wanted = "\
+---------+---------------+
|  NAME   | HASH REVISION |
+---------+---------------+
| default |             7 |
+---------+---------------+
";
        assert_eq!(table.to_string(), wanted);
    }

    #[test]
    fn a_long_cell_is_wrapped_at_its_spaces() {
        let table = Table {
            headings: vec!["errors"],
            rows: vec![vec!["one two three four five six seven eight".to_owned()]],
        };
        let wanted = "\
+-----------------------------+
|           ERRORS            |
+-----------------------------+
| one two three four five six |
|                 seven eight |
+-----------------------------+
";
        assert_eq!(table.to_string(), wanted);
    }
}
