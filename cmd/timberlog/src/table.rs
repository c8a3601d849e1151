//! Tables for people: one thin rule under the header, as wide as the terminal at most.

use crate::output::say;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// A table with a header; columns whose name begins with `#` hold numbers and stand to the right.
pub fn with_header<'a>(names: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = bare();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    let names: Vec<&str> = names.into_iter().collect();
    table.set_header(names.iter().map(|name| name.trim_start_matches('#')));
    for (index, _) in names.iter().enumerate().filter(|(_, name)| name.starts_with('#')) {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A table of names and values.
pub fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Prints a table without the white space at the ends of its lines.
pub fn print(table: &Table) {
    for line in table.lines() {
        say!("{}", line.trim_end());
    }
}
