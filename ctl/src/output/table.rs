//! Tables as fleetctl prints them: Go's `text/tabwriter` with tabs of 8 and one tab at least between columns.
//!
//! Owns the layout and the abbreviations of cells. It never fetches and never prints.

use muster_common::machine::MachineId;
use muster_common::text::clean_text;

/// Width of a tab stop.
const TAB: usize = 8;

/// Lays out rows of equal length. Each column but the last is filled with tabs up to the tab stop behind its longest
/// cell; hidden characters, which would break the layout or drive the terminal, are made visible.
pub(crate) fn lay_out(rows: &[Vec<String>]) -> String {
    let cleaned = |row: &Vec<String>| row.iter().map(|cell| clean_text(cell).to_string()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(cleaned).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            // One more than the text, rounded up to a tab stop: the text itself never reaches the next column.
            *width = (*width).max((cell.chars().count() + 1).next_multiple_of(TAB));
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(cell);
            if i + 1 < row.len() {
                let tabs = (width - cell.chars().count()).div_ceil(TAB);
                text.extend(std::iter::repeat_n('\t', tabs));
            }
        }
        text.push('\n');
    }
    text
}

/// A machine as tables show it: the first 8 characters of its id and `...`, or all of it.
pub(crate) fn machine_id(id: &MachineId, full: bool) -> String {
    if full { id.to_string() } else { format!("{}...", id.short_id()) }
}

/// A machine with its address, if it is known.
pub(crate) fn machine_name(id: &MachineId, address: &str, full: bool) -> String {
    let id = machine_id(id, full);
    if address.is_empty() { id } else { format!("{id}/{}", clean_text(address)) }
}

/// A hash as tables show it: its first 7 characters, or all of it.
pub(crate) fn short_hash(hash: &str, full: bool) -> String {
    let shown = if full { hash } else { hash.get(..7).unwrap_or(hash) };
    or_dash(shown)
}

/// `-` where there is nothing.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|r| r.iter().map(|c| (*c).to_owned()).collect()).collect()
    }

    /// By the rules of `tabwriter.NewWriter(os.Stdout, 0, 8, 1, '\t', 0)`: longest cell plus one, up to the tab stop.
    #[test]
    fn columns_end_where_gos_tabwriter_ends_them() {
        let table = rows(&[
            &["UNIT", "MACHINE", "ACTIVE", "SUB"],
            &["hello.service", "1a2b3c4d.../10.0.0.1", "active", "running"],
            &["web@1.service", "-", "-", "-"],
        ]);
        assert_eq!(
            lay_out(&table),
            "UNIT\t\tMACHINE\t\t\tACTIVE\tSUB\n\
             hello.service\t1a2b3c4d.../10.0.0.1\tactive\trunning\n\
             web@1.service\t-\t\t\t-\t-\n"
        );
    }

    #[test]
    fn a_cell_that_fills_its_tab_stop_gets_another() {
        let table = rows(&[&["1234567", "x"], &["12345678", "y"], &["", "z"]]);
        assert_eq!(lay_out(&table), "1234567\t\tx\n12345678\ty\n\t\tz\n");
    }

    #[test]
    fn characters_count_not_bytes() {
        let table = rows(&[&["ééééééé", "x"]]);
        assert_eq!(lay_out(&table), "ééééééé\tx\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let table = rows(&[&["a\tb\u{1b}[31m\nc", "x"]]);
        assert_eq!(lay_out(&table), "a\\tb\\u{1b}[31m\\nc\tx\n");
    }
}
