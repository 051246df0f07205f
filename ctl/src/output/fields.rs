//! Columns: what `--fields` may name and how a row fills them.
//!
//! Owns the parsing of `--fields` and the printing of a list in either form. It never fetches.

use std::io;

use serde::Serialize;

use super::console::Console;
use super::{json, table};
use crate::cli::ListArgs;

/// A kind of row with its columns.
pub(crate) trait TableRow: Serialize {
    /// Every column there is, in alphabetical order.
    const FIELDS: &'static [&'static str];
    /// The columns shown when none are named.
    const DEFAULT: &'static str;

    /// The cell of one of [`Self::FIELDS`].
    fn cell_text(&self, field: &str, full: bool) -> String;
}

/// A column that does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no field {field:?}; valid fields are {valid}")]
pub(crate) struct UnknownField {
    field: String,
    valid: String,
}

/// The columns to show, checked; call it before anything is asked of the daemon.
pub(crate) fn parse_columns<R: TableRow>(
    arguments: &ListArgs,
) -> Result<Vec<String>, UnknownField> {
    let named = arguments.fields.as_deref().unwrap_or(R::DEFAULT);
    named
        .split(',')
        .map(|field| {
            let field = field.trim();
            if R::FIELDS.contains(&field) {
                Ok(field.to_owned())
            } else {
                Err(UnknownField { field: field.to_owned(), valid: R::FIELDS.join(",") })
            }
        })
        .collect()
}

/// Prints a list: a table of the columns, or all there is as JSON.
pub(crate) fn print_list<R: TableRow>(
    console: &Console,
    arguments: &ListArgs,
    columns: &[String],
    rows: &[R],
) -> io::Result<()> {
    if console.is_json() {
        return console.print_data(&json::pretty_json(rows)?);
    }
    let legend = (!arguments.no_legend).then(|| columns.iter().map(|c| c.to_uppercase()).collect());
    let cells =
        rows.iter().map(|row| columns.iter().map(|c| row.cell_text(c, arguments.full)).collect());
    let table: Vec<Vec<String>> = legend.into_iter().chain(cells).collect();
    console.print_text(&table::lay_out(&table))
}
